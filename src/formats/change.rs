//! Changes of one table as columns: what the envelopes of Debezium, keyed topics and logical replication all come to. It
//! knows neither where they come from nor how far along their origin they stand.

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// It is there from now on; rows of an initial copy too.
    Insert,
    Update,
    Delete,
    /// All rows of the table are gone. Its own row holds NULLs and nothing else.
    Truncate,
}

impl Op {
    /// As `_op` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Op::Insert => "insert",
            Op::Update => "update",
            Op::Delete => "delete",
            Op::Truncate => "truncate",
        }
    }
}

/// Changes in the order in which they happened; `ops` and all columns have one length.
#[derive(Clone, Debug)]
pub struct Changed {
    pub ops: Vec<Op>,
    /// The row as it is after its change, in the table's columns. Of a delete the key's columns are right and all others
    /// may be NULL; fields are therefore nullable here, whatever the table says.
    pub rows: RecordBatch,
    /// Values the origin left out because they did not change (unchanged TOAST); they are NULL in `rows`, which is not
    /// what they are.
    pub unchanged: Vec<Unchanged>,
    /// Where an update changed its row's key: the key's columns as they were, in the key's order. NULL in every column for
    /// rows whose key stayed. `None` where no row's key changed.
    pub was: Option<RecordBatch>,
}

/// One column's values that were left out.
#[derive(Clone, Debug)]
pub struct Unchanged {
    /// Of [`Changed::rows`].
    pub column: usize,
    /// Set for the rows whose value was left out.
    pub rows: BooleanBuffer,
}
