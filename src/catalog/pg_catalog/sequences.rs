//! pg_sequence and its readable form: what columns count by. How far one has come is not told, since it tells how many rows
//! there were.

use super::rows::{Cell, Rows};
use crate::catalog::visible::{Sequence, View, VisibleTable};
use crate::error::Result;
use crate::formats::postgres::pg_type;
use crate::pgtype::oid;

/// The integer type of its column.
pub(in crate::catalog) fn type_of(table: &VisibleTable, sequence: &Sequence) -> u32 {
    let at = usize::try_from(sequence.column).unwrap_or_default().saturating_sub(1);
    table.schema.fields().get(at).and_then(|field| pg_type(field).ok()).map_or(oid::INT8, |found| found.oid)
}

pub(super) fn pg_sequence(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (table, sequence) in view.sequences() {
        let (least, most) = sequence.counter.range();
        rows.push([
            ("seqrelid", sequence.oid.into()),
            ("seqtypid", type_of(table, sequence).into()),
            ("seqstart", sequence.counter.start.into()),
            ("seqincrement", sequence.counter.increment.into()),
            ("seqmax", most.into()),
            ("seqmin", least.into()),
            ("seqcache", 1.into()),
            ("seqcycle", false.into()),
        ])?;
    }
    Ok(())
}

pub(super) fn pg_sequences(view: &View, rows: &mut Rows<'_>) -> Result<()> {
    for (table, sequence) in view.sequences() {
        let (least, most) = sequence.counter.range();
        rows.push([
            ("schemaname", (&sequence.name.schema).into()),
            ("sequencename", (&sequence.name.table).into()),
            ("sequenceowner", (&table.owner).into()),
            ("data_type", type_of(table, sequence).into()),
            ("start_value", sequence.counter.start.into()),
            ("min_value", least.into()),
            ("max_value", most.into()),
            ("increment_by", sequence.counter.increment.into()),
            ("cycle", false.into()),
            ("cache_size", 1.into()),
            ("last_value", Cell::Null),
        ])?;
    }
    Ok(())
}
