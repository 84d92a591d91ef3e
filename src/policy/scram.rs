//! SCRAM-SHA-256 verifiers in the text form that Postgres stores. The exchange itself belongs to `wire`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

/// Postgres's default; the mock verifier claims the same, so that a stranger cannot tell one from the other.
pub const ITERATIONS: u32 = 4096;
/// Bytes of a new salt, as Postgres makes them.
pub const SALT_BYTES: usize = 16;

const SCHEME: &str = "SCRAM-SHA-256";

/// `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>` of a password (RFC 5802, RFC 7677).
pub fn scram_verifier(password: &str, salt: &[u8], iterations: u32) -> String {
    let mut salted = [0u8; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(normalized(password).as_bytes(), salt, iterations, &mut salted);
    let stored = Sha256::digest(hmac(&salted, b"Client Key"));
    let server = hmac(&salted, b"Server Key");
    text(iterations, salt, &stored, &server)
}

/// A verifier for a user that does not exist: no password fits it, and it is the same at every attempt.
pub fn mock_verifier(server_key: &[u8], user: &str) -> String {
    let part = |what: &str| hmac(server_key, format!("{what} {user}").as_bytes());
    let salt = part("salt");
    text(ITERATIONS, salt.get(..SALT_BYTES).unwrap_or(&salt), &part("stored"), &part("server"))
}

/// What is wrong with a verifier's text, if anything is.
pub(in crate::policy) fn check_verifier(verifier: &str) -> Result<(), String> {
    let rest = verifier.strip_prefix(SCHEME).and_then(|r| r.strip_prefix('$'));
    let rest = rest.ok_or_else(|| format!("a verifier begins with `{SCHEME}$`"))?;
    let shape = || format!("a verifier is `{SCHEME}$iterations:salt$stored key:server key`");
    let (salted, keys) = rest.split_once('$').ok_or_else(shape)?;
    let (iterations, salt) = salted.split_once(':').ok_or_else(shape)?;
    let (stored, server) = keys.split_once(':').ok_or_else(shape)?;
    match iterations.parse::<u32>() {
        Ok(n) if (ITERATIONS..=10_000_000).contains(&n) => {}
        _ => return Err(format!("the iterations are a number from {ITERATIONS} to 10000000")),
    }
    let decoded = |name: &str, text: &str| STANDARD.decode(text).map_err(|_| format!("the {name} is not base64"));
    if decoded("salt", salt)?.len() < 8 {
        return Err("the salt is shorter than 8 bytes".into());
    }
    for (name, text) in [("stored key", stored), ("server key", server)] {
        if decoded(name, text)?.len() != 32 {
            return Err(format!("the {name} is not 32 bytes"));
        }
    }
    Ok(())
}

fn text(iterations: u32, salt: &[u8], stored: &[u8], server: &[u8]) -> String {
    let encode = |bytes: &[u8]| STANDARD.encode(bytes);
    format!("{SCHEME}${iterations}:{}${}:{}", encode(salt), encode(stored), encode(server))
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// SASLprep as Postgres does it: other blanks become blanks, soft hyphens and their like go, NFKC; a password with
/// characters SASLprep forbids is taken as it is.
fn normalized(password: &str) -> String {
    if password.is_ascii() {
        return password.to_owned();
    }
    let mapped: String = password
        .chars()
        .filter(|c| {
            !matches!(c, '\u{AD}' | '\u{34F}' | '\u{1806}' | '\u{180B}'..='\u{180D}' | '\u{200B}'..='\u{200D}'
            | '\u{2060}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}')
        })
        .map(|c| if c.is_whitespace() && !c.is_control() { ' ' } else { c })
        .nfkc()
        .collect();
    if mapped.chars().any(char::is_control) { password.to_owned() } else { mapped }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_verifier_is_that_of_the_rfc() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = scram_verifier("pencil", &salt, 4096);
        assert_eq!(
            verifier,
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
        check_verifier(&verifier).unwrap();
    }

    #[test]
    fn a_mock_is_stable_well_formed_and_of_one_user() {
        let mock = mock_verifier(b"key", "nobody");
        check_verifier(&mock).unwrap();
        assert_eq!(mock, mock_verifier(b"key", "nobody"));
        assert_ne!(mock, mock_verifier(b"key", "nobody2"));
        assert_ne!(mock, mock_verifier(b"other key", "nobody"));
    }

    #[test]
    fn what_is_no_verifier_is_said_to_be_none() {
        let good = scram_verifier("x", &[7; 16], 4096);
        for (from, to) in [("SCRAM-SHA-256", "MD5"), (":", ";"), ("4096", "1"), ("4096", "many"), ("=", "")] {
            assert!(check_verifier(&good.replacen(from, to, 1)).is_err(), "{from} → {to}");
        }
    }
}
