//! Statements that are commands to the session: its transaction, its settings, its cursors. They stand here as PostgreSQL's
//! grammar means them, names folded; sqlparser's tree has no part in them but for a cursor's query. What a command does is
//! the engine's to say.

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Transaction(Transaction),
    Setting(Setting),
    Cursor(Cursor),
    Discard(Discard),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Transaction {
    /// BEGIN, or START TRANSACTION.
    Begin {
        start: bool,
        modes: Vec<Mode>,
    },
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    /// PREPARE TRANSACTION.
    Prepare,
    /// COMMIT PREPARED or ROLLBACK PREPARED of this identifier.
    EndPrepared(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Isolation(Isolation),
    ReadOnly(bool),
    Deferrable(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Isolation {
    /// As the setting spells it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "read uncommitted",
            Self::ReadCommitted => "read committed",
            Self::RepeatableRead => "repeatable read",
            Self::Serializable => "serializable",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    Set {
        name: String,
        to: To,
        local: bool,
    },
    Transaction {
        modes: Vec<Mode>,
    },
    TransactionSnapshot(String),
    Characteristics {
        modes: Vec<Mode>,
    },
    /// `None`: ALL.
    Constraints(Option<Vec<String>>),
    Role {
        name: Option<String>,
        local: bool,
    },
    /// `None`: DEFAULT.
    SessionAuthorization {
        name: Option<String>,
        local: bool,
    },
    Reset(String),
    ResetAll,
    Show(String),
    ShowAll,
}

/// What a setting is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Default,
    /// FROM CURRENT, which means something in a function's definition only.
    Current,
    Values(Vec<Value>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A word or a string.
    Text(String),
    /// As it is written.
    Number(String),
    /// `INTERVAL '-08:00' HOUR TO MINUTE` of SET TIME ZONE.
    Interval(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// The query stands beside the command.
    Declare(Declare),
    Fetch(Fetch),
    /// `None`: ALL.
    Close(Option<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declare {
    pub(crate) name: String,
    pub(crate) binary: bool,
    /// `None`: as the plan has it.
    pub(crate) scroll: Option<bool>,
    pub(crate) hold: bool,
}

/// FETCH, or MOVE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) name: String,
    pub(crate) direction: Direction,
    /// MOVE: rows are counted and not shown.
    pub(crate) moves: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// `i64::MAX` is ALL. Negative counts go the other way.
    Forward(i64),
    Backward(i64),
    Absolute(i64),
    Relative(i64),
}

impl Direction {
    pub(crate) const ALL: i64 = i64::MAX;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Discard {
    All,
    Plans,
    Sequences,
    Temp,
}
