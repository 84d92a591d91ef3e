//! Unicode's normal forms.

use unicode_normalization::{UnicodeNormalization, is_nfc, is_nfd, is_nfkc, is_nfkd};

use super::build2;
use crate::error::{Error, Kind, Result};
use crate::sql::kernel::Kernel;

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("unicode_normalize_func", |c| {
        build2(c, |text: &str, form: &str, out| {
            match self::form(form)? {
                _ if text.is_ascii() => out.push_str(text),
                Form::C => out.extend(text.nfc()),
                Form::D => out.extend(text.nfd()),
                Form::Kc => out.extend(text.nfkc()),
                Form::Kd => out.extend(text.nfkd()),
            }
            Ok(())
        })
    }),
    ("unicode_is_normalized", |c| {
        c.two(|text: &str, form: &str| {
            Ok(match self::form(form)? {
                Form::C => is_nfc(text),
                Form::D => is_nfd(text),
                Form::Kc => is_nfkc(text),
                Form::Kd => is_nfkd(text),
            })
        })
    }),
];

enum Form {
    C,
    D,
    Kc,
    Kd,
}

fn form(name: &str) -> Result<Form> {
    Ok(match name.to_ascii_uppercase().as_str() {
        "NFC" => Form::C,
        "NFD" => Form::D,
        "NFKC" => Form::Kc,
        "NFKD" => Form::Kd,
        _ => return Err(Error::new(Kind::InvalidParameter, format!("invalid normalization form: {name}"))),
    })
}
