//! Bytes that a client says are text.

use crate::error::{Error, Kind, Result};

/// UTF-8 without U+0000, which PostgreSQL's text does not have; 22021 with the bytes that are none.
pub(crate) fn text(bytes: &[u8]) -> Result<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Err(invalid(bytes.get(error.valid_up_to()..).unwrap_or_default())),
    };
    if bytes.contains(&0) {
        return Err(invalid(&[0]));
    }
    Ok(text)
}

/// Shows as many bytes as the first one says that its character has (`report_invalid_encoding`).
fn invalid(from: &[u8]) -> Error {
    let length = match from.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    };
    let shown: Vec<String> = from.iter().take(length).map(|byte| format!("0x{byte:02x}")).collect();
    let text = format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "));
    Error::new(Kind::InvalidEncoding, text)
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn the_bytes_of_the_character_that_is_none_are_shown() {
        let told = |bytes: &[u8]| text(bytes).unwrap_err().message().to_owned();
        assert_eq!(text("é".as_bytes()).unwrap(), "é");
        for (bytes, shown) in [
            (&b"a\xff"[..], "0xff"),
            (b"\xc3(", "0xc3 0x28"),
            (b"\xe2\x28\xa1", "0xe2 0x28 0xa1"),
            (b"\xc3", "0xc3"),
            (b"a\0", "0x00"),
        ] {
            assert_eq!(told(bytes), format!("invalid byte sequence for encoding \"UTF8\": {shown}"));
        }
    }
}
