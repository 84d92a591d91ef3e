//! Passwords that are said as they are, by clients of the HTTP door: the same users, the same verifiers.
//! Whether a password may be said on a connection is not decided here.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use pgwire::api::auth::sasl::scram::{ScramSecret, gen_salted_password};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{parse_verifier, wrong_password};
use crate::error::{Error, Result};
use crate::secret::Secret;

/// User and password of `Authorization: Basic`; `None` where it is anything else.
pub(crate) fn said(header: &[u8]) -> Option<(String, Secret<String>)> {
    let (scheme, rest) = header.split_at_checked("Basic ".len())?;
    let given = scheme.eq_ignore_ascii_case(b"Basic ").then_some(rest.trim_ascii())?;
    let text = String::from_utf8(STANDARD.decode(given).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    // As a startup packet could not say them either.
    (!user.is_empty() && !text.contains('\0')).then(|| (user.to_string(), Secret::new(password.to_string())))
}

/// 28P01 for any password but the verifier's, and for the mock verifier always. It takes as long as the verifier's rounds do:
/// not for a thread that others wait for.
pub(crate) fn judge(user: &str, password: &Secret<String>, verifier: &str) -> Result<()> {
    let ScramSecret::Verifier { salt, iterations, stored_key, .. } = parse_verifier(verifier)? else {
        return Err(Error::internal("a verifier that is none"));
    };
    let salted = gen_salted_password(password.reveal(), &salt, iterations);
    let stored = Sha256::digest(keyed(&salted, &[b"Client Key"]));
    if bool::from(stored.as_slice().ct_eq(&stored_key)) { Ok(()) } else { Err(wrong_password(user)) }
}

fn keyed(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Logins remembered; beyond, all are forgotten.
const PROVEN_MAX: usize = 1_000;

/// Passwords that were right a moment ago: each request says its own, and thousands of rounds for each would be most of
/// what it costs. Kept as hashes under a key of this process, with the verifier: a changed password is another one.
#[derive(Debug)]
pub(crate) struct Proven {
    key: Secret<[u8; 32]>,
    known: Mutex<HashSet<[u8; 32]>>,
}

impl Proven {
    pub(crate) fn new() -> Self {
        Self { key: Secret::new(rand::random()), known: Mutex::default() }
    }

    fn mark(&self, user: &str, password: &Secret<String>, verifier: &str) -> [u8; 32] {
        let lengths = [user.len(), password.reveal().len()].map(|length| (length as u64).to_be_bytes());
        let [first, second] = &lengths;
        let parts = [first, user.as_bytes(), second, password.reveal().as_bytes(), verifier.as_bytes()];
        keyed(self.key.reveal(), &parts)
    }

    pub(crate) fn has(&self, user: &str, password: &Secret<String>, verifier: &str) -> bool {
        let mark = self.mark(user, password, verifier);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&mark)
    }

    pub(crate) fn add(&self, user: &str, password: &Secret<String>, verifier: &str) {
        let mark = self.mark(user, password, verifier);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PROVEN_MAX {
            known.clear();
        }
        known.insert(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::verifier;
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_string())
    }

    #[test]
    fn what_is_said_is_a_user_and_a_password() {
        let said = |text: &str| said(text.as_bytes()).map(|(user, password)| (user, password.reveal().clone()));
        let encoded = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let pair = |user: &str, password: &str| Some((user.to_string(), password.to_string()));
        assert_eq!(said(&encoded("ann:pass:word")), pair("ann", "pass:word"));
        assert_eq!(said(&encoded("ann:").replace("Basic", "bAsIc")), pair("ann", ""));
        for wrong in
            ["", "Basic", "Basic ", "Basic ?", "Bearer YW5uOmE=", &encoded("ann"), &encoded(":x"), &encoded("a\0:x")]
        {
            assert_eq!(said(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_the_verifiers_password_fits() {
        let stored = verifier("secret");
        assert!(judge("ann", &secret("secret"), &stored).is_ok());
        for wrong in ["Secret", "", "secret "] {
            let error = judge("ann", &secret(wrong), &stored).unwrap_err();
            assert_eq!(error.kind().sqlstate(), "28P01", "{wrong:?}");
        }
    }

    #[test]
    fn a_login_is_known_until_its_password_changes() {
        let (proven, before, after) = (Proven::new(), verifier("secret"), verifier("other"));
        proven.add("ann", &secret("secret"), &before);
        assert!(proven.has("ann", &secret("secret"), &before));
        assert!(!proven.has("ann", &secret("secret"), &after));
        assert!(!proven.has("ann", &secret("Secret"), &before));
        assert!(!proven.has("bob", &secret("secret"), &before));
    }
}
