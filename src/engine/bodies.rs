//! Dataset bodies: planned in a context of their own, over what their owner sees, or, when the catalog is built, over raw
//! schemas to learn the body's columns. A user's CTE never answers for a name in one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::sqlparser::ast::Query;
use tokio::runtime::Handle;

use super::deep::on_big_stack;
use super::facts::Facts;
use super::language::{self, Understood};
use super::limits::Limits;
use super::pipeline::Told;
use super::resolver::{Reached, Resolver, Rights};
use super::{limits, statement};
use crate::catalog::build::Planned;
use crate::catalog::dataset::Dataset;
use crate::catalog::{Catalog, Entry};
use crate::error::{Error, Kind, Result};
use crate::pgtype;
use crate::types::ObjectId;

/// The columns of a dataset before any policy exists, and what it reads. Nothing planned here can be opened. A body is as
/// deep as a statement may be, and a catalog is built on whatever thread looks at the files.
pub(crate) fn raw(dataset: &Dataset, catalog: &Catalog) -> Result<Planned> {
    on_big_stack(|| raw_now(dataset, catalog))
}

fn raw_now(dataset: &Dataset, catalog: &Catalog) -> Result<Planned> {
    let planned = raw_body(dataset, catalog)?;
    // a view that a lake keeps has names of its own
    if dataset.kept.is_some() {
        return Ok(planned);
    }
    let schema = &planned.schema;
    let mut names: Vec<&String> = schema.fields().iter().map(|f| f.name()).collect();
    names.sort();
    if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
        return Err(Error::new(Kind::DuplicateColumn, format!("column \"{}\" specified more than once", twice[0])));
    }
    Ok(planned)
}

fn raw_body(dataset: &Dataset, catalog: &Catalog) -> Result<Planned> {
    let state = state_of_nobody();
    let resolver = Resolver::new(catalog, Rights::Raw, &state, &[], None);
    let schema = plan(&dataset.sql, &resolver, &state)?.columns;
    let reads = resolver.reached().entries.into_keys().collect();
    Ok(Planned { schema, reads })
}

/// A query over tables before any policy, and what it names.
pub(super) fn over_raw(sql: &str, catalog: &Catalog) -> Result<(Understood, BTreeMap<ObjectId, Entry>)> {
    on_big_stack(|| {
        let state = state_of_nobody();
        let resolver = Resolver::new(catalog, Rights::Raw, &state, &[], None);
        let understood = plan(sql, &resolver, &state)?;
        Ok((understood, resolver.reached().entries))
    })
}

/// Functions whose answers are a session's have their types, and no session behind them.
pub(super) fn state_of_nobody() -> SessionState {
    static STATE: LazyLock<SessionState> = LazyLock::new(|| {
        let mut state = super::facts::base_state();
        for function in super::functions::scalar(&Arc::default()) {
            // the only error is that a registry takes none
            let _ = datafusion::execution::FunctionRegistry::register_udf(&mut state, function);
        }
        state
    });
    STATE.clone()
}

/// What the text of a new view comes to.
#[derive(Debug)]
pub(crate) struct Definition {
    /// With nothing in it left to be looked up.
    pub(crate) sql: String,
    pub(crate) columns: SchemaRef,
    /// Tables and datasets that it names.
    pub(crate) reads: BTreeSet<ObjectId>,
    /// Temporary tables and views that it names: then it is one itself.
    pub(crate) own: BTreeSet<String>,
}

/// A view's query with the rights of whoever makes it, the owner to be. What comes of it is planned once more as a reader's
/// statement will plan it, with the owner's rights and no search path, and as the catalog will: a view that stands can be
/// read.
pub(crate) fn define(sql: &str, facts: &Facts, limits: &Limits, runtime: &Handle) -> Result<Definition> {
    let state = facts.statement_state(None);
    let query = read(sql, limits)?;
    let resolver = Resolver::of_session(facts, &state, runtime);
    limits::check_expansion(&query, limits, &|name| resolver.columns_of(name))?;
    let (understood, fixed) = language::define(&resolver, &query, sql, &state)?;
    let own = resolver.reached_own();
    let columns = understood.columns;
    let reached = resolver.reached();
    limits::check_plan(&understood.plan, &reached.bodies, limits)?;
    if !own.is_empty() {
        return Ok(Definition { sql: fixed, columns, reads: BTreeSet::new(), own });
    }
    let name = crate::types::TableName::new("", "");
    let (owner, file) = (String::new(), String::new());
    let dataset = Dataset { name, owner, sql: fixed, max_staleness_ms: None, file, kept: None };
    let inside = Resolver::of_session(facts, &state, runtime).inside(&facts.policy)?;
    let again = plan(&dataset.sql, &inside, &state)?.columns;
    let Planned { schema: raw, reads } = raw_body(&dataset, &facts.world.catalog)?;
    if !same_types(&columns, &again) || !same_types(&columns, &raw) {
        return Err(Error::unsupported("a view whose columns cannot be told from its text"));
    }
    Ok(Definition { sql: dataset.sql, columns, reads, own })
}

/// A column's default, `sql` as `VALUES (expression)`: with nothing in it left to be looked up, and as its column can be
/// given it.
pub(crate) fn default(
    sql: &str,
    column: &FieldRef,
    facts: &Facts,
    limits: &Limits,
    runtime: &Handle,
) -> Result<String> {
    let state = facts.statement_state(None);
    let query = read(sql, limits)?;
    let resolver = Resolver::of_session(facts, &state, runtime);
    limits::check_expansion(&query, limits, &|name| resolver.columns_of(name))?;
    let (_, fixed) = language::define(&resolver, &query, sql, &state)?;
    let told = Told { text: sql.into(), into: vec![Arc::clone(column)], ..Told::default() };
    language::understand(&resolver, &query, &told, &state)?;
    let reads = !resolver.reached_own().is_empty() || !resolver.reached().entries.is_empty();
    match reads {
        true => Err(Error::unsupported("cannot use subquery in DEFAULT expression")),
        false => Ok(fixed),
    }
}

/// Kept defaults of these columns, to be computed for rows that have nothing yet.
pub(crate) fn defaults(
    of: &[(FieldRef, String)],
    facts: &Facts,
    runtime: &Handle,
) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
    let state = facts.statement_state(None);
    let each: Vec<String> = of.iter().map(|(_, text)| format!("({text})")).collect();
    let sql = format!("SELECT {}", each.join(", "));
    let query = read(&sql, &limits::Limits::default())?;
    let into = of.iter().map(|(column, _)| Arc::clone(column)).collect();
    let told = Told { text: sql.as_str().into(), into, ..Told::default() };
    let resolver = Resolver::of_session(facts, &state, runtime);
    let plan = language::understand(&resolver, &query, &told, &state)?.plan;
    let nothing = DFSchema::empty();
    computed(&plan)?.into_iter().map(|e| Ok(state.create_physical_expr(e, &nothing)?)).collect()
}

/// The columns of a query that reads nothing, as what they are computed by.
fn computed(plan: &LogicalPlan) -> Result<Vec<Expr>> {
    match plan {
        LogicalPlan::EmptyRelation(_) => Ok(vec![]),
        LogicalPlan::SubqueryAlias(named) => computed(&named.input),
        LogicalPlan::Projection(projection) => {
            let below = computed(&projection.input)?;
            let schema = projection.input.schema();
            let over = |e: Expr| match &e {
                Expr::Column(column) => {
                    let found = schema.maybe_index_of_column(column).and_then(|at| below.get(at));
                    Ok(found.map_or_else(|| Transformed::no(e.clone()), |found| Transformed::yes(found.clone())))
                }
                _ => Ok(Transformed::no(e)),
            };
            projection.expr.iter().map(|e| Ok(e.clone().transform_up(over)?.data.unalias())).collect()
        }
        _ => Err(Error::internal("defaults are no expressions")),
    }
}

fn same_types(a: &SchemaRef, b: &SchemaRef) -> bool {
    let pairs = a.fields().iter().zip(b.fields());
    a.fields().len() == b.fields().len()
        && pairs.clone().all(|(a, b)| pgtype::of_field(a).ok() == pgtype::of_field(b).ok())
}

/// Exactly one query.
pub(crate) fn read(sql: &str, limits: &Limits) -> Result<Box<Query>> {
    let mut parsed = limits::parse(sql, limits)?;
    let (Some(only), true) = (parsed.pop(), parsed.is_empty()) else {
        return Err(Error::new(Kind::Syntax, "a dataset is exactly one query"));
    };
    statement::as_query(only)?.ok_or_else(|| Error::new(Kind::Syntax, "a dataset is a query"))
}

/// A body with the rights of `resolver`; what it reaches is noted there.
fn plan(sql: &str, resolver: &Resolver<'_>, state: &SessionState) -> Result<Understood> {
    let limits = limits::Limits::default();
    let query = read(sql, &limits)?;
    limits::check_expansion(&query, &limits, &|name| resolver.columns_of(name))?;
    let told = Told { text: sql.into(), ..Told::default() };
    let understood = language::understand(resolver, &query, &told, state)?;
    if understood.parameters.is_empty() {
        return Ok(understood);
    }
    Err(Error::new(Kind::UndefinedParameter, "there is no parameter $1"))
}

/// Bodies reached by a statement, theirs included.
pub(crate) fn reach(
    dataset: &Dataset,
    outer: &Resolver<'_>,
    owner: &crate::policy::SessionPolicy,
) -> Result<(LogicalPlan, Reached)> {
    let inner = outer.inside(owner)?;
    let plan = plan(&dataset.sql, &inner, outer.state())?.plan;
    Ok((plan, inner.reached()))
}
