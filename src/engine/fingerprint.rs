//! The key of an answer: everything that a guarded, bound plan's rows depend on, in its normal form, written out node by
//! node and hashed. No match here has a `_` and no struct a `..` that could hide what a later DataFusion adds, and
//! DataFusion's own `Eq` and `Hash` are never asked: its scans ignore what they read. It caches nothing.
//!
//! The effective grants stand in the key as what they are, conditions with the user's attributes in them, masks and hidden
//! columns: users of one class share an answer, an edit of the policy that changes a right changes the key, and one that
//! does not changes nothing. So neither a user's name nor the policy's generation is in it.

mod expr;
mod ink;

use arrow::datatypes::Schema;
use datafusion::common::{DFSchema, TableReference, UnnestOptions};
use datafusion::logical_expr::logical_plan::{
    Aggregate, ColumnUnnestList, Distinct, DistinctOn, EmptyRelation, Join, Limit, RecursiveQuery, Sort, Subquery,
    TableScan, Union, Unnest, Values, Window,
};
use datafusion::logical_expr::{Expr, LogicalPlan};

use self::ink::Ink;
use super::normal::normal;
use crate::policy::leaf::{Leaf, leaf};
use crate::policy::{Grant, Guarded};
use crate::reflection::results::Key;
use crate::types::{ObjectId, SnapshotVector, Version};

/// What an answer depends on.
pub(super) struct Question<'a> {
    pub(super) guarded: &'a Guarded,
    pub(super) versions: &'a SnapshotVector,
    /// Result columns as the client is told.
    pub(super) columns: &'a Schema,
    /// Settings that can change a value.
    pub(super) settings: &'a str,
    /// What the catalog's source files say.
    pub(super) source_files: u64,
}

impl Question<'_> {
    /// `None`: not of a kind that is kept. Kept is what reads pinned tables and nothing else, by functions that give the
    /// same for the same.
    pub(super) fn key(&self) -> Option<Key> {
        let mut writer = Writer { ink: Ink::default(), versions: self.versions };
        writer.ink.word("answer 2");
        writer.ink.word(self.settings);
        writer.ink.number(self.source_files);
        writer.ink.schema(self.columns);
        writer.whole(self.guarded.plan())?;
        Some(Key(writer.ink.finish()))
    }
}

/// Each method gives `None` as soon as something stands in the plan that makes its answer unfit to be kept.
struct Writer<'a> {
    ink: Ink,
    versions: &'a SnapshotVector,
}

impl Writer<'_> {
    /// A plan as it was guarded, or the body of a dataset.
    fn whole(&mut self, plan: &LogicalPlan) -> Option<()> {
        self.plan(&normal(plan.clone()).ok()?)
    }

    fn plan(&mut self, plan: &LogicalPlan) -> Option<()> {
        match plan {
            LogicalPlan::Projection(node) => {
                self.ink.word("projection");
                self.exprs(&node.expr)?;
                self.plan(&node.input)
            }
            LogicalPlan::Filter(node) => {
                self.ink.word("filter");
                self.expr(&node.predicate)?;
                self.plan(&node.input)
            }
            LogicalPlan::Window(Window { input, window_expr, schema: _ }) => {
                self.ink.word("window");
                self.exprs(window_expr)?;
                self.plan(input)
            }
            LogicalPlan::Aggregate(node) => self.aggregate(node),
            LogicalPlan::Sort(Sort { expr, input, fetch }) => {
                self.ink.word("sort");
                self.sorts(expr)?;
                self.ink.maybe(fetch.as_ref(), |ink, n| ink.count(*n));
                self.plan(input)
            }
            LogicalPlan::Join(node) => self.join(node),
            LogicalPlan::Union(Union { inputs, schema }) => {
                self.ink.word("union");
                self.schema(schema);
                self.ink.count(inputs.len());
                inputs.iter().try_for_each(|input| self.plan(input))
            }
            LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row, schema }) => {
                self.ink.word("empty");
                self.ink.flag(*produce_one_row);
                self.schema(schema);
                Some(())
            }
            LogicalPlan::Subquery(node) => self.subquery(node),
            LogicalPlan::SubqueryAlias(node) => {
                self.ink.word("alias");
                self.ink.table(&node.alias);
                self.plan(&node.input)
            }
            LogicalPlan::Limit(Limit { skip, fetch, input }) => {
                self.ink.word("limit");
                self.maybe_expr(skip.as_deref())?;
                self.maybe_expr(fetch.as_deref())?;
                self.plan(input)
            }
            LogicalPlan::Values(Values { schema, values }) => {
                self.ink.word("values");
                self.schema(schema);
                self.ink.count(values.len());
                values.iter().try_for_each(|row| self.exprs(row))
            }
            LogicalPlan::Distinct(node) => self.distinct(node),
            LogicalPlan::Unnest(node) => self.unnest(node),
            LogicalPlan::RecursiveQuery(RecursiveQuery { name, static_term, recursive_term, is_distinct, schema }) => {
                self.ink.word("recursive");
                self.ink.table(&TableReference::bare(name.as_str()));
                self.ink.flag(*is_distinct);
                self.schema(schema);
                self.plan(static_term)?;
                self.plan(recursive_term)
            }
            LogicalPlan::TableScan(node) => self.scan(node),
            // none of these is a query's
            LogicalPlan::Repartition(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Extension(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => None,
        }
    }

    fn aggregate(&mut self, node: &Aggregate) -> Option<()> {
        self.ink.word("aggregate");
        self.exprs(&node.group_expr)?;
        self.exprs(&node.aggr_expr)?;
        self.plan(&node.input)
    }

    fn join(&mut self, node: &Join) -> Option<()> {
        let Join { left, right, on, filter, join_type, join_constraint, schema: _, null_equality, null_aware } = node;
        self.ink.word("join");
        self.ink.debug(join_type);
        self.ink.debug(join_constraint);
        self.ink.debug(null_equality);
        self.ink.flag(*null_aware);
        self.ink.count(on.len());
        for (l, r) in on {
            self.expr(l)?;
            self.expr(r)?;
        }
        self.maybe_expr(filter.as_ref())?;
        self.plan(left)?;
        self.plan(right)
    }

    fn distinct(&mut self, node: &Distinct) -> Option<()> {
        match node {
            Distinct::All(input) => {
                self.ink.word("distinct");
                self.plan(input)
            }
            Distinct::On(DistinctOn { on_expr, select_expr, sort_expr, input, schema: _ }) => {
                self.ink.word("distinct on");
                self.exprs(on_expr)?;
                self.exprs(select_expr)?;
                self.ink.flag(sort_expr.is_some());
                self.sorts(sort_expr.as_deref().unwrap_or_default())?;
                self.plan(input)
            }
        }
    }

    fn unnest(&mut self, node: &Unnest) -> Option<()> {
        let Unnest {
            input,
            exec_columns,
            list_type_columns,
            struct_type_columns,
            dependency_indices,
            schema,
            options: UnnestOptions { null_handling, recursions },
        } = node;
        self.ink.word("unnest");
        self.ink.count(exec_columns.len());
        exec_columns.iter().for_each(|column| self.ink.column(column));
        self.ink.count(list_type_columns.len());
        for (at, ColumnUnnestList { output_column, depth }) in list_type_columns {
            self.ink.count(*at);
            self.ink.column(output_column);
            self.ink.count(*depth);
        }
        for indices in [struct_type_columns, dependency_indices] {
            self.ink.count(indices.len());
            indices.iter().for_each(|at| self.ink.count(*at));
        }
        self.ink.debug(null_handling);
        self.ink.count(recursions.len());
        for recursion in recursions {
            self.ink.column(&recursion.input_column);
            self.ink.column(&recursion.output_column);
            self.ink.count(recursion.depth);
        }
        self.schema(schema);
        self.plan(input)
    }

    fn subquery(&mut self, node: &Subquery) -> Option<()> {
        let Subquery { subquery, outer_ref_columns, spans: _ } = node;
        self.ink.word("subquery");
        self.exprs(outer_ref_columns)?;
        self.plan(subquery)
    }

    fn scan(&mut self, node: &TableScan) -> Option<()> {
        let TableScan { table_name, source, projection, projected_schema, filters, fetch, statistics_requests: _ } =
            node;
        self.ink.word("scan");
        self.schema(projected_schema);
        // what a plan and a grant's conditions call them is bound to what they are
        for field in source.schema().fields() {
            self.ink.word(field.name());
            self.ink.name(field.name());
        }
        self.ink.maybe(projection.as_ref(), |ink, columns| {
            ink.count(columns.len());
            columns.iter().for_each(|at| ink.count(*at));
        });
        self.exprs(filters)?;
        self.ink.maybe(fetch.as_ref(), |ink, n| ink.count(*n));
        match leaf(node)? {
            Leaf::Object { id, grant, body } => {
                self.ink.number(id.0);
                self.grant(grant)?;
                match body {
                    Some(body) => self.whole(body),
                    None => self.version(id),
                }
            }
            Leaf::System | Leaf::Query => None,
            Leaf::WorkTable => {
                self.ink.word("work table");
                self.ink.table(table_name);
                Some(())
            }
            Leaf::Series(series) => {
                self.ink.word("series");
                // one that reads the clock has no key
                self.exprs(series.arguments())?;
                self.ink.debug(series);
                Some(())
            }
        }
    }

    /// The whole grant: what it hides of columns that this plan does not use cannot make two answers one.
    fn grant(&mut self, grant: Option<&Grant>) -> Option<()> {
        let Some(Grant { filter, masks, hidden, denied: _, fired: _ }) = grant else {
            self.ink.word("full");
            return Some(());
        };
        self.ink.word("grant");
        self.maybe_expr(filter.as_ref())?;
        self.ink.count(masks.len());
        for (column, mask) in masks {
            self.ink.word(column);
            self.expr(mask)?;
        }
        self.ink.count(hidden.len());
        hidden.iter().for_each(|column| self.ink.word(column));
        Some(())
    }

    /// Only what cannot change behind the key's back.
    fn version(&mut self, id: ObjectId) -> Option<()> {
        match self.versions.get(&id)? {
            Version::Fixed(number) => {
                self.ink.word("fixed");
                self.ink.number(*number);
            }
            Version::Snapshot(snapshot) => {
                self.ink.word("snapshot");
                self.ink.maybe(snapshot.as_ref(), |ink, id| ink.bytes(&id.to_le_bytes()));
            }
            Version::Fresh(of, tail) => {
                self.ink.word("fresh");
                self.ink.maybe(of.as_ref(), |ink, id| ink.bytes(&id.to_le_bytes()));
                self.ink.number(*tail);
            }
            Version::Offsets { topic_id, spans } => {
                self.ink.word("offsets");
                self.ink.word(topic_id);
                self.ink.count(spans.len());
                for (partition, first, end) in spans {
                    self.ink.bytes(&partition.to_le_bytes());
                    self.ink.bytes(&first.to_le_bytes());
                    self.ink.bytes(&end.to_le_bytes());
                }
            }
            Version::Files(digest) => {
                self.ink.word("files");
                self.ink.word(digest);
            }
            Version::Live => return None,
        }
        Some(())
    }

    fn schema(&mut self, schema: &DFSchema) {
        self.ink.count(schema.fields().len());
        for (qualifier, field) in schema.iter() {
            self.ink.maybe(qualifier, |ink, table| ink.table(table));
            self.ink.field(field);
        }
    }

    fn exprs(&mut self, exprs: &[Expr]) -> Option<()> {
        self.ink.count(exprs.len());
        exprs.iter().try_for_each(|e| self.expr(e))
    }

    fn maybe_expr(&mut self, expr: Option<&Expr>) -> Option<()> {
        self.ink.flag(expr.is_some());
        expr.map_or(Some(()), |e| self.expr(e))
    }
}

#[cfg(test)]
mod tests;
