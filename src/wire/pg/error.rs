//! Errors as the protocol spells them, and the one debug line each leaves in the log. Sources stay in the log.

use std::any::Any;

use pgwire::messages::response::{ErrorResponse, NoticeResponse};

use crate::engine::Notice;
use crate::error::{Error, Kind};

/// The first field of an ErrorResponse. After `Fatal` the server closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Error,
    Fatal,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

/// The peer is gone, or takes no more bytes: there is nobody to tell.
#[derive(Debug)]
pub(crate) struct Gone;

/// Why a message could not be answered to its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The client is told.
    Failed(Error),
    /// The client is told, and let go.
    Lost(Error),
    Gone,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Gone> for Stop {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

/// Logs the error with its sources and makes of it what the client may read. Our bugs get an id that stands in both.
pub(crate) fn response(error: &Error, severity: Severity) -> ErrorResponse {
    let detail = match (error.kind(), error.detail()) {
        (Kind::Internal, None) => Some(format!("query id {}", uuid::Uuid::now_v7())),
        (_, detail) => detail.map(str::to_owned),
    };
    let id = detail.as_deref().filter(|_| error.kind() == Kind::Internal);
    if error.kind() == Kind::Internal {
        tracing::error!(error = ?error, id, "statement failed by our fault");
    } else {
        tracing::debug!(error = ?error, severity = severity.word(), "error sent");
    }
    let fields = [
        (b'S', Some(severity.word().to_owned())),
        (b'V', Some(severity.word().to_owned())),
        (b'C', Some(error.sqlstate().to_owned())),
        (b'M', Some(error.message().to_owned())),
        (b'D', detail),
        (b'H', error.hint().map(str::to_owned)),
        (b'P', error.position().map(|p| p.to_string())),
        (b'W', error.context().map(str::to_owned)),
        (b's', error.column().map(|about| about.schema.clone())),
        (b't', error.column().map(|about| about.table.clone())),
        (b'c', error.column().map(|about| about.column.clone())),
    ];
    // A NUL would end the field and turn the rest into fields of its own.
    let fields = fields.into_iter().filter_map(|(code, text)| Some((code, text?.replace('\0', "")))).collect();
    ErrorResponse::new(fields)
}

/// What a statement said beside its answer.
pub(crate) fn notice(notice: &Notice) -> NoticeResponse {
    let word = notice.severity.word();
    let fields = [
        (b'S', Some(word)),
        (b'V', Some(word)),
        (b'C', Some(notice.sqlstate)),
        (b'M', Some(notice.message.as_ref())),
        (b'D', notice.detail.as_deref()),
        (b'H', notice.hint.as_deref()),
    ];
    // as in an error
    let fields = fields.into_iter().filter_map(|(code, text)| Some((code, text?.replace('\0', "")))).collect();
    NoticeResponse::new(fields)
}

/// What a panic said, as an error of ours.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|s| s.to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Error::internal(format!("panic: {}", text.as_deref().unwrap_or("of an unknown kind")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(error: &Error) -> Vec<(char, String)> {
        response(error, Severity::Error).fields.into_iter().map(|(code, text)| (char::from(code), text)).collect()
    }

    #[test]
    fn every_field_a_client_may_read_and_no_source() {
        let error = Error::new(Kind::UndefinedColumn, "column \"a\" does not exist")
            .with_detail("d")
            .with_hint("h")
            .at(8)
            .in_context("c")
            .about("s", "t", "c")
            .with_source("host db7.internal");
        let told = fields(&error);
        let codes: String = told.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes, "SVCMDHPWstc");
        assert_eq!((told[2].1.as_str(), told[6].1.as_str()), ("42703", "8"));
        assert!(!format!("{told:?}").contains("internal"));
    }

    #[test]
    fn our_bugs_carry_an_id_and_nothing_else() {
        let told = fields(&panicked(&"index out of bounds: secret"));
        assert!(told.iter().any(|(code, text)| *code == 'D' && text.starts_with("query id ")), "{told:?}");
        assert!(!format!("{told:?}").contains("secret"));
    }

    #[test]
    fn a_nul_does_not_end_a_field() {
        assert_eq!(fields(&Error::new(Kind::Syntax, "a\0Mb"))[3].1, "aMb");
    }
}
