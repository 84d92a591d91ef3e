//! A value that must not be printed: no `Display`, a redacted `Debug`, no serialisation; and the one way in which a file
//! names one that it does not hold. It does not encrypt.

use std::fmt;

use serde::{Deserialize, Serializer};

/// Wraps a password or key; [`Secret::reveal`] is the only way to the value, easy to search for.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    pub fn reveal(&self) -> &T {
        &self.0
    }
}

/// A secret as `key` gives it, or the environment's variable that `key_env` names in its place. `Err`: what is wrong with
/// the two, without either's value.
pub fn given(
    key: &str,
    written: &Option<Secret<String>>,
    variable: &Option<String>,
) -> Result<Option<Secret<String>>, String> {
    match (written, variable) {
        (Some(_), Some(_)) => Err(format!("`{key}` and `{key}_env` are both set; keep one")),
        (Some(secret), None) => Ok(Some(secret.clone())),
        (None, None) => Ok(None),
        (None, Some(name)) => match std::env::var(name) {
            Ok(value) => Ok(Some(Secret::new(value))),
            Err(_) => Err(format!("`{key}_env` names {name}, which is not set in the environment")),
        },
    }
}

/// What a printed configuration shows of one: that it is there.
pub fn redacted<T, S: Serializer>(secret: &Option<Secret<T>>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(_) => serializer.serialize_some("********"),
        None => serializer.serialize_none(),
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}
