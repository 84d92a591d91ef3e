//! Dataset bodies: planned in a context of their own, over what their owner sees, or, when the catalog is built, over raw
//! schemas to learn the body's columns. A user's CTE never answers for a name in one.

use super::deep::on_big_stack;
use super::language::{self, Understood};
use super::pipeline::Told;
use super::resolver::{Reached, Resolver, Rights};
use super::{limits, statement};
use crate::catalog::Catalog;
use crate::catalog::build::Planned;
use crate::catalog::dataset::Dataset;
use crate::error::{Error, Kind, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;

/// The columns of a dataset before any policy exists, and what it reads. Nothing planned here can be opened. A body is as
/// deep as a statement may be, and a catalog is built on whatever thread looks at the files.
pub(crate) fn raw(dataset: &Dataset, catalog: &Catalog) -> Result<Planned> {
    on_big_stack(|| raw_now(dataset, catalog))
}

fn raw_now(dataset: &Dataset, catalog: &Catalog) -> Result<Planned> {
    let state = super::facts::base_state();
    let resolver = Resolver::new(catalog, Rights::Raw, &state, &[], None);
    let schema = plan(dataset, &resolver, &state)?.columns;
    let mut names: Vec<&String> = schema.fields().iter().map(|f| f.name()).collect();
    names.sort();
    if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
        return Err(Error::new(Kind::DuplicateColumn, format!("column \"{}\" specified more than once", twice[0])));
    }
    let reads = resolver.reached().entries.into_keys().collect();
    Ok(Planned { schema, reads })
}

/// A body with the rights of `resolver`; what it reaches is noted there.
fn plan(dataset: &Dataset, resolver: &Resolver<'_>, state: &SessionState) -> Result<Understood> {
    let limits = limits::Limits::default();
    let mut parsed = limits::parse(&dataset.sql, &limits)?;
    let (Some(only), true) = (parsed.pop(), parsed.is_empty()) else {
        return Err(Error::new(Kind::Syntax, "a dataset is exactly one query"));
    };
    let Some(query) = statement::as_query(only)? else {
        return Err(Error::new(Kind::Syntax, "a dataset is a query"));
    };
    limits::check_expansion(&query, &limits, &|name| resolver.columns_of(name))?;
    let told = Told { text: dataset.sql.as_str().into(), ..Told::default() };
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
    let plan = plan(dataset, &inner, outer.state())?.plan;
    Ok((plan, inner.reached()))
}
