//! Names as parts of an address. A namespace of several levels is one text here, its levels joined by dots, as in the SQL
//! catalog; a level that has a dot in its name has no such text.

/// What stands between the levels of a namespace in an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Separator(String);

impl Separator {
    /// `given`: as the server's configuration has it, encoded already.
    pub(super) fn of(given: Option<String>) -> Self {
        let safe = |text: &String| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "%.-_~$!*'()+,;:@".contains(c);
            !text.is_empty() && text.len() <= 16 && text.chars().all(plain)
        };
        Self(given.filter(safe).unwrap_or_else(|| "%1F".into()))
    }

    /// Before it is encoded, for a query.
    pub(super) fn plain(&self, namespace: &str) -> String {
        let between = match self.0.as_str() {
            "%1F" | "%1f" => "\u{1f}".to_string(),
            "%2E" | "%2e" => ".".to_string(),
            other => other.to_string(),
        };
        namespace.replace('.', &between)
    }

    pub(super) fn path(&self, namespace: &str) -> String {
        levels(namespace).map(encoded).collect::<Vec<_>>().join(&self.0)
    }
}

pub(super) fn levels(namespace: &str) -> impl Iterator<Item = &str> {
    namespace.split('.')
}

/// The text of a namespace; `None` where its levels could not be told apart again.
pub(super) fn joined(levels: &[&str]) -> Option<String> {
    let plain = |level: &&str| !level.is_empty() && !level.contains('.');
    (!levels.is_empty() && levels.iter().all(plain)).then(|| levels.join("."))
}

/// Percent-encoded but for what RFC 3986 calls unreserved.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_place_in_an_address() {
        assert_eq!(encoded("a/b?c#d%41 é"), "a%2Fb%3Fc%23d%2541%20%C3%A9");
        let unit = Separator::of(None);
        assert_eq!(unit.path("sales.eu/north"), "sales%1Feu%2Fnorth");
        assert_eq!(Separator::of(Some("%2E".into())).path("a.b"), "a%2Eb");
        // what would change the address is not taken
        assert_eq!(Separator::of(Some("/../".into())), unit);
        assert_eq!(Separator::of(Some(String::new())), unit);
    }

    #[test]
    fn levels_are_joined_where_they_can_be_told_apart_again() {
        assert_eq!(joined(&["a", "b"]).as_deref(), Some("a.b"));
        assert_eq!(joined(&["a.b"]), None);
        assert_eq!(joined(&[]), None);
        assert_eq!(joined(&["a", ""]), None);
    }
}
