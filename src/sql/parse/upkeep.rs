//! Statements that keep a database in order, as they are written: LOCK, VACUUM, ANALYZE, REINDEX, CLUSTER, CHECKPOINT. There is
//! little here to keep in order; what they come to is `engine`'s.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

#[derive(Clone, Debug)]
pub(crate) enum Upkeep {
    Lock(Vec<ObjectName>),
    Vacuum {
        analyze: bool,
        tables: Vec<Columns>,
    },
    Analyze(Vec<Columns>),
    Reindex {
        target: Target,
        concurrently: bool,
    },
    /// `None`: whatever was clustered before.
    Cluster(Option<(ObjectName, Option<Ident>)>),
    Checkpoint,
}

/// A table and some of its columns; none are all.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    pub(crate) table: ObjectName,
    pub(crate) columns: Vec<Ident>,
}

#[derive(Clone, Debug)]
pub(crate) enum Target {
    Index(ObjectName),
    Table(ObjectName),
    Schema(Ident),
    Database(Ident),
    System(Ident),
}
