//! What a batch comes to where rows are told apart by a key: which keys' rows go, which rows come, and where values are that
//! the origin left out. Pure; it looks nothing up.

use std::collections::HashMap;

use super::key::{ByKey, Key};
use crate::formats::change::{Op, Unchanged};

/// Changes with their keys.
pub(super) struct Keyed<'a> {
    pub(super) ops: &'a [Op],
    /// By columns of the table.
    pub(super) unchanged: Vec<Unchanged>,
    /// One a change; of a truncation it means nothing.
    pub(super) keys: Vec<Key>,
    /// The key before, where a change changed it.
    pub(super) was: Vec<Option<Key>>,
}

/// A change of a batch: the number of its part, and of its row there.
pub(super) type At = (usize, usize);

/// Where a value is that was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In an earlier change of the batch.
    Batch(At),
    /// In the table, in the row of this key.
    Table(Key),
    /// Nowhere: the table was emptied, and nothing since says it.
    Nowhere,
}

/// A row as it is once the batch is taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) at: At,
    /// Columns of the table.
    pub(super) left_out: Vec<(usize, Source)>,
    /// It was deleted, or its key changed, and it stays as it was: where that is, key and all.
    pub(super) deleted: Option<Source>,
}

/// What a batch comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Folded {
    /// All rows that were in the table go.
    pub(super) truncated: bool,
    /// Keys whose rows in the table go, each once.
    pub(super) gone: Vec<Key>,
    /// In the order of their last changes.
    pub(super) rows: Vec<Row>,
    /// Rows that came with the batch and went with it again: a change behind the batch may take values from them.
    pub(super) ended: Vec<Row>,
}

#[derive(Clone)]
struct Version {
    row: Row,
    is_there: bool,
}

/// Folds changes in their order. `keeps_deleted`: a deleted row comes back, marked.
pub(super) fn fold(parts: &[Keyed<'_>], keeps_deleted: bool) -> Folded {
    let mut versions: ByKey<Version> = HashMap::default();
    let mut truncated = false;
    for (number, part) in parts.iter().enumerate() {
        for (row, op) in part.ops.iter().enumerate() {
            let Some(key) = part.keys.get(row).copied() else { continue };
            let before = part.was.get(row).copied().flatten().filter(|was| *was != key);
            let at = (number, row);
            match op {
                Op::Truncate => {
                    versions.clear();
                    truncated = true;
                }
                Op::Delete => {
                    let old = versions.get(&key);
                    let deleted = keeps_deleted.then(|| match old {
                        Some(version) => version.row.deleted.unwrap_or(Source::Batch(version.row.at)),
                        None => in_table(key, truncated),
                    });
                    // A row that is marked keeps what was left out of the change before it.
                    let left_out = match (&deleted, old) {
                        (Some(_), Some(version)) => version.row.left_out.clone(),
                        _ => vec![],
                    };
                    match (deleted, old) {
                        // Kept for those that take values from it: a key that changes comes as a deletion and an insertion.
                        (None, Some(version)) => {
                            let version = Version { row: version.row.clone(), is_there: false };
                            versions.insert(key, version);
                        }
                        (None, None) => {
                            let nothing = Row { at, left_out: vec![], deleted: Some(in_table(key, truncated)) };
                            versions.insert(key, Version { row: nothing, is_there: false });
                        }
                        (Some(_), _) => {
                            versions.insert(key, Version { row: Row { at, left_out, deleted }, is_there: true });
                        }
                    }
                }
                Op::Insert | Op::Update => {
                    let old = versions.get(&before.unwrap_or(key));
                    let from = |column: usize| match old {
                        Some(version) => value_of(&version.row, column),
                        None => in_table(before.unwrap_or(key), truncated),
                    };
                    let left = part.unchanged.iter();
                    let left = left.filter(|u| row < u.rows.len() && u.rows.value(row));
                    let left_out = left.map(|u| (u.column, from(u.column))).collect();
                    if let Some(before) = before {
                        let old = versions.get(&before);
                        let was = old
                            .map_or(in_table(before, truncated), |v| v.row.deleted.unwrap_or(Source::Batch(v.row.at)));
                        let left_out = old.map(|v| v.row.left_out.clone()).unwrap_or_default();
                        let row = Row { at, left_out, deleted: Some(was) };
                        versions.insert(before, Version { row, is_there: keeps_deleted });
                    }
                    versions.insert(key, Version { row: Row { at, left_out, deleted: None }, is_there: true });
                }
            }
        }
    }
    let gone = versions.keys().copied().collect();
    let (rows, ended): (Vec<_>, Vec<_>) = versions.into_values().partition(|version| version.is_there);
    let mut rows: Vec<Row> = rows.into_iter().map(|version| version.row).collect();
    rows.sort_unstable_by_key(|row| row.at);
    let came = |row: &Row| matches!(row.deleted, None | Some(Source::Batch(_)));
    let ended = ended.into_iter().map(|version| version.row).filter(came).collect();
    Folded { truncated, gone, rows, ended }
}

/// Where the value of a column is that a later change left out.
fn value_of(row: &Row, column: usize) -> Source {
    match row.left_out.iter().find(|(left, _)| *left == column) {
        Some((_, source)) => *source,
        None => row.deleted.unwrap_or(Source::Batch(row.at)),
    }
}

fn in_table(key: Key, truncated: bool) -> Source {
    if truncated { Source::Nowhere } else { Source::Table(key) }
}

#[cfg(test)]
mod tests {
    use arrow::buffer::BooleanBuffer;

    use super::*;

    /// Key, the key before, what happened, and whether column 1 was left out.
    fn folded(changes: &[(u128, Option<u128>, Op, bool)], keeps_deleted: bool) -> Folded {
        let ops: Vec<Op> = changes.iter().map(|c| c.2).collect();
        let unchanged = vec![Unchanged { column: 1, rows: BooleanBuffer::from_iter(changes.iter().map(|c| c.3)) }];
        let keys = changes.iter().map(|c| c.0).collect();
        let was = changes.iter().map(|c| c.1).collect();
        let mut folded = fold(&[Keyed { ops: &ops, unchanged, keys, was }], keeps_deleted);
        folded.gone.sort_unstable();
        folded
    }

    fn row(at: usize, left: &[Source]) -> Row {
        Row { at: (0, at), left_out: left.iter().map(|s| (1, *s)).collect(), deleted: None }
    }

    #[test]
    fn the_last_change_of_a_key_counts() {
        use Op::{Delete, Insert, Update};
        let all = folded(
            &[(1, None, Insert, false), (2, None, Insert, false), (1, None, Update, false), (2, None, Delete, false)],
            false,
        );
        assert_eq!((all.gone, all.rows, all.truncated), (vec![1, 2], vec![row(2, &[])], false));
    }

    #[test]
    fn a_value_that_was_left_out_is_in_the_batch_or_in_the_table() {
        use Op::{Insert, Update};
        let all = folded(&[(1, None, Update, true), (2, None, Insert, false), (2, None, Update, true)], false);
        assert_eq!(all.rows, [row(0, &[Source::Table(1)]), row(2, &[Source::Batch((0, 1))])]);
        // through a second change that left it out too
        let all = folded(&[(1, None, Update, true), (1, None, Update, true)], false);
        assert_eq!(all.rows, [row(1, &[Source::Table(1)])]);
    }

    #[test]
    fn a_key_that_changes_takes_its_values_along() {
        use Op::{Delete, Insert, Update};
        let all = folded(&[(2, Some(1), Update, true)], false);
        assert_eq!((all.gone.clone(), all.rows.clone()), (vec![1, 2], vec![row(0, &[Source::Table(1)])]));
        // twice, and back
        let all = folded(&[(2, Some(1), Update, true), (1, Some(2), Update, true)], false);
        assert_eq!((all.gone, all.rows), (vec![1, 2], vec![row(1, &[Source::Table(1)])]));
        // as a deletion and an insertion
        let all = folded(&[(1, None, Delete, false), (2, Some(1), Insert, true)], false);
        assert_eq!((all.gone, all.rows), (vec![1, 2], vec![row(1, &[Source::Table(1)])]));
        let all = folded(&[(1, None, Insert, false), (1, None, Delete, false), (2, Some(1), Insert, true)], false);
        assert_eq!(all.rows, [row(2, &[Source::Batch((0, 0))])]);
    }

    #[test]
    fn two_rows_swap_their_keys() {
        use Op::Update;
        let all = folded(&[(9, Some(1), Update, true), (1, Some(2), Update, true), (2, Some(9), Update, true)], false);
        let expected = [row(1, &[Source::Table(2)]), row(2, &[Source::Table(1)])];
        assert_eq!((all.gone, all.rows), (vec![1, 2, 9], expected.to_vec()));
    }

    #[test]
    fn what_was_before_a_truncation_counts_for_nothing() {
        use Op::{Insert, Truncate, Update};
        let changes =
            [(1, None, Insert, false), (0, None, Truncate, false), (2, None, Insert, false), (3, None, Update, true)];
        let all = folded(&changes, false);
        assert!(all.truncated);
        assert_eq!((all.gone, all.rows), (vec![2, 3], vec![row(2, &[]), row(3, &[Source::Nowhere])]));
    }

    #[test]
    fn a_deleted_row_may_stay_and_keeps_its_values() {
        use Op::{Delete, Insert, Update};
        let deleted = |at, from| Row { at: (0, at), left_out: vec![], deleted: Some(from) };
        assert_eq!(folded(&[(1, None, Delete, false)], true).rows, [deleted(0, Source::Table(1))]);
        let all = folded(&[(1, None, Insert, false), (1, None, Delete, false)], true);
        assert_eq!(all.rows, [deleted(1, Source::Batch((0, 0)))]);
        let all = folded(&[(1, None, Update, true), (1, None, Delete, false)], true);
        let expected = Row { at: (0, 1), left_out: vec![(1, Source::Table(1))], deleted: Some(Source::Batch((0, 0))) };
        assert_eq!(all.rows, [expected]);
        // and comes again
        let all = folded(&[(1, None, Delete, false), (1, None, Insert, false)], true);
        assert_eq!(all.rows, [row(1, &[])]);
    }
}
