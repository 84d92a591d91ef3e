//! A value that must not be printed: no `Display`, a redacted `Debug`, no serialisation. It does not encrypt.

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
