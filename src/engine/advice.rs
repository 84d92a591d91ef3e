//! What statements of late computed over single tables and no reflection answered: shapes without values, each with how often,
//! how long, and over how many rows. Proposals are made of it (`statement::call::advise`); it makes none, and judges nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;

use super::micros_now;
use crate::error::Result;
use crate::policy::leaf::{Leaf, leaf};
use crate::reflection::block::block;
use crate::reflection::shape::Shape;
use crate::sql::lower::rollup::SameSettings;
use crate::types::ObjectId;

/// Shapes that are kept. For a new one the one that took the least time goes.
const SHAPES_MAX: usize = 1_000;
/// Parts of one statement that are looked at.
const PARTS_MAX: usize = 16;

/// A part of a statement that groups the rows of one table, all of which its user sees.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) table: ObjectId,
    pub(crate) shape: Arc<Shape>,
}

/// What a statement asks for, and the leaves of its plan, which count the rows that they read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) parts: Vec<Part>,
    pub(crate) leaves: Vec<Arc<dyn ExecutionPlan>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) part: Part,
    pub(crate) statements: u64,
    /// Of all of them.
    pub(crate) micros: u64,
    /// Of all tables of these statements.
    pub(crate) rows_read: u64,
    last_at: i64,
}

/// Of a plan in which what is stored stands in its place already.
pub(crate) fn parts(plan: &LogicalPlan, same: SameSettings) -> Result<Vec<Part>> {
    let mut parts: Vec<Part> = vec![];
    plan.apply_with_subqueries(|node| {
        if parts.len() < PARTS_MAX
            && matches!(node, LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_))
            && let Some(block) = block(node)
            // who sees a part of a table is answered from what was made of all of it where a right can be kept, which only
            // a plan of theirs tells
            && let [table] = block.rows.tables.as_slice()
            && let Some(Leaf::Object { id, grant: None, body: None }) = leaf(&table.scan)
            && let Some(shape) = Shape::of(&block, same)
        {
            parts.push(Part { table: id, shape: Arc::new(shape) });
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(parts)
}

/// Of a plan: shallow, so that whoever holds them ends nothing deep.
pub(crate) fn leaves(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn ExecutionPlan>> {
    let mut found = vec![];
    let mut open = vec![plan];
    while let Some(node) = open.pop() {
        match node.children().as_slice() {
            [] => found.push(Arc::clone(node)),
            children => open.extend(children),
        }
    }
    found
}

#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<HashMap<u64, Known>>);

impl Log {
    /// A statement has ended well; its time is shared by its parts.
    pub(crate) fn note(&self, parts: Parts, micros: u64) {
        let count = parts.parts.len() as u64;
        if count == 0 {
            return;
        }
        let rows_read: usize =
            parts.leaves.iter().filter_map(|leaf| leaf.metrics().and_then(|metrics| metrics.output_rows())).sum();
        let (micros, rows_read, now) = (micros / count, rows_read as u64, micros_now());
        let prints: Vec<u64> = parts.parts.iter().map(|part| part.shape.print() ^ part.table.0).collect();
        let mut known = self.locked();
        for (print, part) in prints.into_iter().zip(parts.parts) {
            if !known.contains_key(&print) && known.len() >= SHAPES_MAX {
                let least = known.iter().min_by_key(|(_, one)| (one.micros, one.last_at)).map(|(print, _)| *print);
                least.and_then(|print| known.remove(&print));
            }
            let fresh = || Known { part, statements: 0, micros: 0, rows_read: 0, last_at: now };
            let one = known.entry(print).or_insert_with(fresh);
            one.statements += 1;
            one.micros += micros;
            one.rows_read = one.rows_read.saturating_add(rows_read);
            one.last_at = now;
        }
    }

    /// Those that took the longest first.
    pub(crate) fn all(&self) -> Vec<Known> {
        let mut all: Vec<Known> = self.locked().values().cloned().collect();
        all.sort_by(|a, b| b.micros.cmp(&a.micros).then_with(|| a.part.shape.print().cmp(&b.part.shape.print())));
        all
    }

    /// Nothing panics while it is held.
    fn locked(&self) -> MutexGuard<'_, HashMap<u64, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::col;

    use super::*;
    use crate::reflection::shape::Shape;

    fn part(n: u64) -> Part {
        Part { table: ObjectId(n), shape: Arc::new(Shape::of_columns(&[col("a")])) }
    }

    #[test]
    fn the_shape_that_took_the_least_time_goes_for_a_new_one() {
        let log = Log::default();
        let note = |n: u64, micros: u64| log.note(Parts { parts: vec![part(n)], leaves: vec![] }, micros);
        (0..SHAPES_MAX as u64).for_each(|n| note(n, 1_000 + n));
        note(3, 5);
        let all = log.all();
        assert_eq!((all.len(), all[0].part.table, all[0].micros), (SHAPES_MAX, ObjectId(SHAPES_MAX as u64 - 1), 1_999));
        note(5_000, 1);
        let kept: Vec<u64> = log.all().iter().map(|one| one.part.table.0).collect();
        assert!(kept.len() == SHAPES_MAX && !kept.contains(&0) && kept.contains(&5_000) && kept.contains(&3));
        let three = log.all().into_iter().find(|one| one.part.table == ObjectId(3)).unwrap();
        assert_eq!((three.statements, three.micros), (2, 1_008));
        // several parts share their statement's time
        log.note(Parts { parts: vec![part(3), part(7_000)], leaves: vec![] }, 100);
        assert_eq!(log.all().iter().find(|one| one.part.table == ObjectId(7_000)).unwrap().micros, 50);
    }
}
