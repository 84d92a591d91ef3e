//! What a source says in the place of an answer, and what follows from it: the one place where its SQLSTATE becomes a kind. It
//! talks to no server and knows no retry.

use crate::error::{Error, Kind};

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server's own answer; the conversation goes on.
    Refused { code: String, message: String },
    /// The conversation is over.
    Broken(Error),
}

/// When the server said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Amid {
    /// In answer to a request, a login among them.
    Request,
    /// Instead of the next change: the same change comes again however often it is asked for.
    Stream,
}

impl Trouble {
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Broken(_) => "",
        }
    }

    /// In the words of the source's readers; the server's stay in the log, but for its SQLSTATE.
    pub(super) fn error(self, source: &str, amid: Amid) -> Error {
        let (code, message) = match self {
            Self::Broken(error) => return error,
            Self::Refused { code, message } => (code, message),
        };
        let kind = kind(&code, amid);
        let error = match kind {
            Kind::SourceUnreachable => unreachable(source),
            Kind::PermissionDenied if is_login(&code) => {
                Error::new(kind, format!("source \"{source}\" refuses the login"))
            }
            Kind::PermissionDenied => Error::new(kind, format!("source \"{source}\" denies its role a right")),
            Kind::DataGone => {
                Error::new(kind, format!("changes of source \"{source}\" cannot be read from its log any more"))
            }
            _ => Error::new(kind, format!("source \"{source}\" failed")),
        };
        let said = format!("{code}: {message}");
        // Anybody could have written it: five letters or digits are no words.
        let is_code = code.len() == 5 && code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
        match is_code {
            true => error.with_detail(format!("the server's SQLSTATE is {code}")).with_source(said),
            false => error.with_source(said),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

fn kind(code: &str, amid: Amid) -> Kind {
    match code {
        // It goes down, comes up, or has no room for another connection.
        _ if code.starts_with("08") || code.starts_with("57P") || code == "53300" => Kind::SourceUnreachable,
        _ if is_login(code) || code == "42501" => Kind::PermissionDenied,
        // The log is read as the catalog was then: a publication that was not there at a change is never there at it, however
        // often it has been made since. And a segment that was removed does not come back.
        "42704" | "58P01" if amid == Amid::Stream => Kind::DataGone,
        _ => Kind::SourceFailed,
    }
}

fn is_login(code: &str) -> bool {
    code.starts_with("28") || code == "3D000"
}

/// The fields of an ErrorResponse that are of use.
pub(super) fn refusal(body: &[u8]) -> Trouble {
    let (mut code, mut message) = (String::new(), String::new());
    for field in body.split(|byte| *byte == 0) {
        match field.split_first() {
            Some((b'C', text)) => code = String::from_utf8_lossy(text).into_owned(),
            Some((b'M', text)) => message = String::from_utf8_lossy(text).into_owned(),
            _ => {}
        }
    }
    Trouble::Refused { code, message }
}

/// The wording that all sources share.
pub(super) fn unreachable(source: &str) -> Error {
    Error::new(Kind::SourceUnreachable, format!("source \"{source}\" cannot be reached"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_judged_by_its_code_and_when_it_was_said() {
        let check = |code: &str, amid: Amid, expect: Kind| {
            let body = format!("SERROR\0C{code}\0Mpublication \"secret\" does not exist\0\0");
            let error = refusal(body.as_bytes()).error("crm", amid);
            assert_eq!(error.kind(), expect, "{code} {amid:?}");
            let told = format!("{} {:?} {:?}", error.message(), error.detail(), error.hint());
            assert!(!told.contains("secret"), "{told}");
            assert!(error.detail().is_some_and(|d| d.contains(code)), "{told}");
        };
        for amid in [Amid::Request, Amid::Stream] {
            check("57P01", amid, Kind::SourceUnreachable);
            check("57P03", amid, Kind::SourceUnreachable);
            check("08006", amid, Kind::SourceUnreachable);
            check("53300", amid, Kind::SourceUnreachable);
            check("28P01", amid, Kind::PermissionDenied);
            check("3D000", amid, Kind::PermissionDenied);
            check("42501", amid, Kind::PermissionDenied);
            check("55000", amid, Kind::SourceFailed);
            check("XX000", amid, Kind::SourceFailed);
        }
        check("42704", Amid::Request, Kind::SourceFailed);
        check("42704", Amid::Stream, Kind::DataGone);
        check("58P01", Amid::Stream, Kind::DataGone);
    }

    #[test]
    fn a_code_that_is_none_is_not_repeated() {
        let error = refusal(b"SERROR\0Cit's me\0Mx\0\0").error("crm", Amid::Request);
        assert_eq!((error.kind(), error.detail()), (Kind::SourceFailed, None));
    }
}
