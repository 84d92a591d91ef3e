//! The one table: error kind → SQLSTATE and whether the same statement may be sent again. It decides no retry itself.
//! Codes are those of PostgreSQL's `errcodes.txt`.

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $code:literal, $retry:literal;)*) => {
        /// What the reader of an error can do about it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// Every kind, in the order of the table.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind,)*];

            /// The five characters a client matches on.
            pub fn sqlstate(self) -> &'static str {
                match self { $(Kind::$kind => $code,)* }
            }

            /// The same statement may succeed later without a change by its author.
            pub fn retryable(self) -> bool {
                match self { $(Kind::$kind => $retry,)* }
            }
        }
    };
}

kinds! {
    // --- the statement is wrong
    Syntax = "42601", false;
    UndefinedTable = "42P01", false;
    UndefinedSchema = "3F000", false;
    UndefinedDatabase = "3D000", false;
    UndefinedColumn = "42703", false;
    AmbiguousColumn = "42702", false;
    UndefinedFunction = "42883", false;
    UndefinedObject = "42704", false;
    UndefinedParameter = "42P02", false;
    IndeterminateType = "42P18", false;
    DuplicateTable = "42P07", false;
    DuplicateSchema = "42P06", false;
    DuplicateObject = "42710", false;
    ReservedName = "42939", false;
    DuplicateColumn = "42701", false;
    DuplicateAlias = "42712", false;
    TypeMismatch = "42804", false;
    Grouping = "42803", false;
    InvalidTableDefinition = "42P16", false;
    InvalidDefinition = "42P17", false;
    DependentObjects = "2BP01", false;
    AmbiguousFunction = "42725", false;
    AmbiguousParameter = "42P08", false;
    AmbiguousAlias = "42P09", false;
    CannotCoerce = "42846", false;
    Collation = "42P21", false;
    Windowing = "42P20", false;
    Recursion = "42P19", false;
    InvalidColumnReference = "42P10", false;
    WrongObjectType = "42809", false;
    InvalidName = "42602", false;
    TooManyArguments = "54023", false;
    NotInState = "55000", false;
    GeneratedAlways = "428C9", false;
    SequenceLimit = "2200H", false;
    InvalidParameter = "22023", false;
    /// A prepared statement's result changed its type.
    CachedPlanChanged = "0A000", false;
    Unsupported = "0A000", false;
    // --- the data do not fit
    NumericRange = "22003", false;
    DateRange = "22008", false;
    ZoneRange = "22009", false;
    IntervalRange = "22015", false;
    DivisionByZero = "22012", false;
    InvalidText = "22P02", false;
    InvalidDate = "22007", false;
    InvalidBinary = "22P03", false;
    InvalidEncoding = "22021", false;
    UntranslatableText = "22P05", false;
    BadCopyFormat = "22P04", false;
    StringTooLong = "22001", false;
    NotNull = "23502", false;
    Cardinality = "21000", false;
    NullNotAllowed = "22004", false;
    Substring = "22011", false;
    FrameOffset = "22013", false;
    NtileArgument = "22014", false;
    NthValueArgument = "22016", false;
    InvalidEscapeCharacter = "22019", false;
    InvalidEscapeSequence = "22025", false;
    EscapeCharacterUse = "2200C", false;
    StringLengthMismatch = "22026", false;
    ZeroLengthString = "2200F", false;
    InvalidRegex = "2201B", false;
    LogArgument = "2201E", false;
    PowerArgument = "2201F", false;
    WidthBucketArgument = "2201G", false;
    LimitValue = "2201W", false;
    OffsetValue = "2201X", false;
    SampleArgument = "2202H", false;
    SampleRepeat = "2202G", false;
    ArraySubscript = "2202E", false;
    DataException = "22000", false;
    DuplicateJsonKey = "22030", false;
    InvalidJsonArgument = "22031", false;
    InvalidJson = "22032", false;
    JsonSubscript = "22033", false;
    MoreThanOneJsonItem = "22034", false;
    NoJsonItem = "22035", false;
    NonNumericJsonItem = "22036", false;
    NonUniqueJsonKeys = "22037", false;
    SingletonJsonItem = "22038", false;
    JsonArrayNotFound = "22039", false;
    JsonMemberNotFound = "2203A", false;
    JsonNumberNotFound = "2203B", false;
    JsonObjectNotFound = "2203C", false;
    JsonScalarRequired = "2203F", false;
    // --- not allowed
    PermissionDenied = "42501", false;
    WrongPassword = "28P01", false;
    NotAllowedIn = "28000", false;
    ReadOnly = "25006", false;
    // --- session and transaction
    InFailedTransaction = "25P02", false;
    ActiveTransaction = "25001", false;
    NoActiveTransaction = "25P01", false;
    UndefinedStatement = "26000", false;
    DuplicateStatement = "42P05", false;
    UndefinedCursor = "34000", false;
    DuplicateCursor = "42P03", false;
    InvalidCursorDefinition = "42P11", false;
    UndefinedSavepoint = "3B001", false;
    /// A setting that is not to be changed now, or ever.
    FixedParameter = "55P02", false;
    Protocol = "08P01", false;
    IdleTimeout = "57P05", false;
    IdleInTransaction = "25P03", false;
    // --- limits
    TooManyConnections = "53300", true;
    OutOfMemory = "53200", true;
    DiskFull = "53100", true;
    TooLarge = "54000", false;
    TooComplex = "54001", false;
    TooManyColumns = "54011", false;
    // --- time and place
    Cancelled = "57014", true;
    ShuttingDown = "57P01", true;
    StartingUp = "57P03", true;
    /// Two writers met; the loser may try again.
    Conflict = "40001", true;
    Deadlock = "40P01", true;
    LockNotAvailable = "55P03", true;
    /// The source cannot be reached; the message names it.
    SourceUnreachable = "08006", true;
    /// The source answered with an error; the message names it, the source's text stays in the log.
    SourceFailed = "HV000", false;
    /// Data that should be there is not (retention passed, a file is gone).
    DataGone = "58000", false;
    // --- the operator's side
    /// A file in `catalog/`, `policies/` or the configuration: the message carries file:line:column.
    Config = "F0000", false;
    /// Our bug.
    Internal = "XX000", false;
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn every_code_is_five_characters_of_the_standard_alphabet() {
        for kind in Kind::ALL {
            let code = kind.sqlstate();
            assert!(
                code.len() == 5 && code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()),
                "{kind:?} {code}"
            );
        }
    }
}
