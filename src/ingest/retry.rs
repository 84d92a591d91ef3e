//! What a pipeline does about an error: one match over the kinds. It counts no attempts and waits for nothing; nor does it
//! judge a commit, which `lake` does.
#![warn(clippy::wildcard_enum_match_arm)]

use crate::error::Kind;

/// What follows from an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may pass: begin again from the table's position, after a pause.
    Retry,
    /// It stays until somebody changes something, and then the pipeline goes on where it was: `Paused`.
    Stop,
    /// Going on would lose or double changes unless a person decides from where: `NeedsResync`.
    Ask,
}

pub(super) fn judge(kind: Kind) -> Verdict {
    match kind {
        // A topic that is not there yet, a right that is not given yet: both may come.
        Kind::SourceUnreachable
        | Kind::SourceFailed
        | Kind::TooManyConnections
        | Kind::OutOfMemory
        | Kind::DiskFull
        | Kind::Cancelled
        | Kind::ShuttingDown
        | Kind::StartingUp
        | Kind::Deadlock
        | Kind::LockNotAvailable
        | Kind::Conflict => Verdict::Retry,

        Kind::DataGone => Verdict::Ask,

        // The table, the files or the data are not as they should be, or we are not.
        Kind::UndefinedTable
        | Kind::UndefinedSchema
        | Kind::UndefinedColumn
        | Kind::UndefinedObject
        | Kind::DuplicateTable
        | Kind::DuplicateSchema
        | Kind::DuplicateObject
        | Kind::ReservedName
        | Kind::DuplicateColumn
        | Kind::TypeMismatch
        | Kind::InvalidDefinition
        | Kind::DependentObjects
        | Kind::InvalidTableDefinition
        | Kind::Unsupported
        | Kind::NumericRange
        | Kind::DateRange
        | Kind::ZoneRange
        | Kind::IntervalRange
        | Kind::DivisionByZero
        | Kind::InvalidText
        | Kind::InvalidDate
        | Kind::InvalidBinary
        | Kind::BadCopyFormat
        | Kind::InvalidEncoding
        | Kind::UntranslatableText
        | Kind::StringTooLong
        | Kind::NotNull
        | Kind::Cardinality
        | Kind::TooLarge
        | Kind::TooComplex
        | Kind::TooManyColumns
        | Kind::PermissionDenied
        | Kind::WrongPassword
        | Kind::NotAllowedIn
        | Kind::ReadOnly
        | Kind::Config
        | Kind::Internal => Verdict::Stop,

        // Errors of statements and sessions, of which a pipeline has none.
        Kind::Syntax
        | Kind::UndefinedDatabase
        | Kind::AmbiguousColumn
        | Kind::UndefinedFunction
        | Kind::UndefinedParameter
        | Kind::IndeterminateType
        | Kind::DuplicateAlias
        | Kind::Grouping
        | Kind::InvalidParameter
        | Kind::SampleRepeat
        | Kind::ZeroLengthString
        | Kind::CachedPlanChanged
        | Kind::InFailedTransaction
        | Kind::ActiveTransaction
        | Kind::NoActiveTransaction
        | Kind::UndefinedStatement
        | Kind::DuplicateStatement
        | Kind::UndefinedCursor
        | Kind::DuplicateCursor
        | Kind::InvalidCursorDefinition
        | Kind::UndefinedSavepoint
        | Kind::FixedParameter
        | Kind::Protocol
        | Kind::IdleTimeout
        | Kind::IdleInTransaction
        | Kind::AmbiguousFunction
        | Kind::AmbiguousParameter
        | Kind::AmbiguousAlias
        | Kind::CannotCoerce
        | Kind::Collation
        | Kind::Windowing
        | Kind::Recursion
        | Kind::InvalidColumnReference
        | Kind::GeneratedAlways
        | Kind::SequenceLimit
        | Kind::WrongObjectType
        | Kind::InvalidName
        | Kind::TooManyArguments
        | Kind::NotInState
        | Kind::NullNotAllowed
        | Kind::Substring
        | Kind::FrameOffset
        | Kind::NtileArgument
        | Kind::NthValueArgument
        | Kind::InvalidEscapeCharacter
        | Kind::InvalidEscapeSequence
        | Kind::StringLengthMismatch
        | Kind::InvalidRegex
        | Kind::LogArgument
        | Kind::PowerArgument
        | Kind::WidthBucketArgument
        | Kind::LimitValue
        | Kind::OffsetValue
        | Kind::SampleArgument
        | Kind::ArraySubscript
        | Kind::DuplicateJsonKey
        | Kind::InvalidJsonArgument
        | Kind::InvalidJson
        | Kind::JsonSubscript
        | Kind::MoreThanOneJsonItem
        | Kind::NoJsonItem
        | Kind::NonNumericJsonItem
        | Kind::NonUniqueJsonKeys
        | Kind::SingletonJsonItem
        | Kind::JsonArrayNotFound
        | Kind::JsonMemberNotFound
        | Kind::JsonNumberNotFound
        | Kind::JsonObjectNotFound
        | Kind::JsonScalarRequired
        | Kind::EscapeCharacterUse
        | Kind::DataException => Verdict::Stop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let again: Vec<Kind> = Kind::ALL.iter().copied().filter(|k| judge(*k) == Verdict::Retry).collect();
        for kind in Kind::ALL.iter().filter(|k| k.retryable()) {
            assert!(again.contains(kind), "{kind:?} may succeed later");
        }
        assert_eq!(judge(Kind::DataGone), Verdict::Ask);
        assert_eq!(judge(Kind::Internal), Verdict::Stop);
    }
}
