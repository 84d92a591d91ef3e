//! A typed query to DataFusion's plan, in which every type already fits. What is native in both languages becomes
//! DataFusion's own node, so that pruning, pushdown, hash joins and statistics work; the rest are functions of `sql`.
//! Names are gone: each column of the plan is called by its number, and only tables keep theirs.

mod aggregate;
mod any;
mod array;
mod canonical;
mod compare;
mod each;
mod expr;
mod function;
mod guard;
mod narrow;
mod numbers;
mod once;
mod order;
mod push;
mod relation;
pub(crate) mod remote;
pub(crate) mod rollup;
mod rounds;
mod rules;
mod select;
mod semi;
mod series;
mod setop;
mod special;
mod subquery;
#[cfg(test)]
mod tests;
mod unnest;
mod window;
pub(crate) mod written;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::{
    ColumnarValue, EmptyRelation, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, ScalarUDF, SortExpr,
};
use datafusion::physical_expr::create_physical_expr;

pub(crate) use canonical::canonical;
pub(crate) use function::{can_raise, follows_settings, is_key, is_leakproof, is_total, name_of, operator_of};
pub(crate) use numbers::{SeriesExec, SeriesTable};
pub(crate) use once::{Mark, Once, apart};
pub(crate) use rules::rules;
pub(crate) use special::computed_inside;
#[cfg(test)]
pub(crate) use special::computing_inside;

use super::expr::{ColumnId, Expr as Typed, Kind};
use super::image::Proc;
use super::kernel::{Env, scalar};
use super::query::{self, Cte, CteId, Query};
use crate::error::{Error, Result};
use crate::formats::postgres::{OID, TYPMOD};
use crate::pgtype;

/// What only the session knows how to compute (catalog functions, settings): `None` for all others.
pub(crate) type SessionFunctions<'a> = dyn Fn(&Proc) -> Option<Arc<ScalarUDF>> + 'a;

/// The plan of `query`. Its columns stand in the order of `query.columns` under names of no meaning, each with the metadata
/// by which its type is known.
pub(crate) fn lower(query: &Query, functions: &SessionFunctions<'_>) -> Result<LogicalPlan> {
    let mut lower = Lower::new(functions);
    query.tables(&mut |source| {
        lower.theirs.extend(source.table.schema().fields().iter().map(|field| field.name().clone()));
    });
    for expr in query.expressions() {
        expr.visit(&mut |e| {
            if let Kind::Column(id) = e.kind {
                lower.read.insert(id);
            }
        });
    }
    query.cte_reads(&mut |cte, columns| {
        let places = columns.iter().enumerate().filter(|(_, column)| lower.read.contains(&column.id));
        lower.cte_reads.entry(cte).or_default().extend(places.map(|(place, _)| place));
    });
    let mut flow = lower.query(query)?;
    flow.plan = guard::one_row_stays(flow.plan)?;
    let columns = query.columns.iter().map(|column| {
        let found = Expr::Column(flow.column(column.id)?.clone());
        typed(found, column, &flow)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let same = columns.len() == flow.plan.schema().fields().len()
        && columns.iter().zip(flow.plan.schema().columns()).all(|(e, c)| *e == Expr::Column(c));
    Ok(if same { flow.plan } else { LogicalPlanBuilder::from(flow.plan).project(columns)?.build()? })
}

/// An expression over the columns of one table, which keep their names. It holds no query, no aggregate, no set.
pub(crate) fn alone(expr: &Typed, columns: &[query::Column]) -> Result<Expr> {
    let fields = columns.iter().map(|c| pgtype::field(&c.name, c.ty, c.data_type.clone()));
    let schema = DFSchema::from_unqualified_fields(fields.collect(), HashMap::new())?;
    let rows = EmptyRelation { produce_one_row: false, schema: Arc::new(schema) };
    let mut flow = Flow::new(LogicalPlan::EmptyRelation(rows));
    flow.columns = columns.iter().map(|c| (c.id, Column::new_unqualified(&c.name))).collect();
    Lower::new(&|_| None).expr(&mut flow, expr)
}

/// What an expression over constants gives. It calls no function of a session.
pub(crate) fn value(expr: &Typed, env: &Env) -> Result<ScalarValue> {
    let mut flow = Flow::new(relation::one_row());
    let lowered = Lower::new(&|_| None).expr(&mut flow, expr)?;
    let mut options = ConfigOptions::new();
    options.extensions.insert(env.clone());
    let props = ExecutionProps { config_options: Some(Arc::new(options)), ..Default::default() };
    let computed = create_physical_expr(&lowered, flow.plan.schema(), &props, &Default::default())?;
    let one = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &one)?;
    match computed.evaluate(&row)? {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(array) => Ok(scalar(&array, 0)?),
    }
}

/// The column with its type's metadata, under the name it has.
fn typed(expr: Expr, column: &query::Column, flow: &Flow) -> Result<Expr> {
    let (_, field) = expr.to_field(flow.plan.schema())?;
    let name = field.name().clone();
    let wanted = pgtype::field(&name, column.ty, field.data_type().clone());
    if field.metadata() == wanted.metadata() {
        return Ok(match &expr {
            Expr::Column(c) if c.relation.is_none() => expr,
            _ => expr.alias(name),
        });
    }
    // said even where Arrow's type says it: what the value was before is forgotten
    let mut metadata = wanted.metadata().clone();
    if metadata.is_empty() {
        metadata.insert(OID.to_owned(), column.ty.oid.to_string());
        metadata.insert(TYPMOD.to_owned(), column.ty.typmod.to_string());
    }
    Ok(expr.alias_with_metadata(name, Some(FieldMetadata::from(metadata))))
}

/// A plan being built, and where in it the query's columns lie.
#[derive(Clone, Debug)]
struct Flow {
    plan: LogicalPlan,
    columns: HashMap<ColumnId, Column>,
    /// Expressions that the plan has computed: groups, aggregates, windows, sets.
    computed: Vec<(Typed, Column)>,
    /// The order that a query below gave the rows, by columns of the plan: what gathers them into one value keeps to it.
    order: Vec<SortExpr>,
}

impl Flow {
    fn new(plan: LogicalPlan) -> Self {
        Self { plan, columns: HashMap::new(), computed: vec![], order: vec![] }
    }

    fn column(&self, id: ColumnId) -> Result<&Column> {
        self.columns.get(&id).ok_or_else(|| Error::internal(format!("column {} is not in the plan", id.0)))
    }

    /// The column that has this value already.
    fn find(&self, expr: &Typed) -> Option<&Column> {
        match &expr.kind {
            Kind::Column(id) => self.columns.get(id),
            _ => self.computed.iter().find(|(known, _)| known == expr).map(|(_, column)| column),
        }
    }

    fn map(self, change: impl FnOnce(LogicalPlan) -> Result<LogicalPlan>) -> Result<Self> {
        Ok(Self { plan: change(self.plan)?, ..self })
    }
}

struct Lower<'a> {
    functions: &'a SessionFunctions<'a>,
    ctes: HashMap<CteId, &'a Cte>,
    /// Inside the step of a recursive query: the table of the last round.
    recursive: HashMap<CteId, relation::Rounds>,
    /// The queries around the one that is lowered, the outermost first.
    outer: Vec<Flow>,
    /// Conditions under which the expression that is lowered is asked for, over the rows of the innermost flow.
    reached: Vec<Expr>,
    /// Every qualifier and column name given so far.
    names: HashSet<String>,
    /// The last number that made a name of this one.
    numbers: HashMap<String, usize>,
    /// Names of tables' own columns, which no given one may be.
    theirs: HashSet<String>,
    /// The columns that some expression of the query reads.
    read: HashSet<ColumnId>,
    /// Of each common table expression, by their places, the columns that some place reads.
    cte_reads: HashMap<CteId, BTreeSet<usize>>,
    /// Those that are computed once.
    shared: HashMap<CteId, once::Shared>,
}

impl<'a> Lower<'a> {
    fn new(functions: &'a SessionFunctions<'a>) -> Self {
        Self {
            functions,
            ctes: HashMap::new(),
            recursive: HashMap::new(),
            outer: vec![],
            reached: vec![],
            names: HashSet::new(),
            numbers: HashMap::new(),
            theirs: HashSet::new(),
            read: HashSet::new(),
            cte_reads: HashMap::new(),
            shared: HashMap::new(),
        }
    }

    /// A name that nothing else in the plan has.
    fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        while self.theirs.contains(&name) || self.names.contains(&name) {
            let n = self.numbers.entry(wanted.to_owned()).or_insert(1);
            *n += 1;
            name = format!("{wanted}_{n}");
        }
        self.names.insert(name.clone());
        name
    }

    fn fresh_column(&mut self, id: ColumnId) -> String {
        self.fresh(&format!("c{}", id.0))
    }

    /// Adds computed columns to all that the plan has.
    fn extend(&mut self, flow: Flow, exprs: Vec<(Expr, String)>) -> Result<Flow> {
        if exprs.is_empty() {
            return Ok(flow);
        }
        flow.map(|plan| {
            let kept = plan.schema().columns().into_iter().map(Expr::Column);
            let all: Vec<Expr> = kept.chain(exprs.into_iter().map(|(e, name)| e.alias(name))).collect();
            Ok(LogicalPlanBuilder::from(plan).project(all)?.build()?)
        })
    }
}
