//! A query in PostgreSQL's language: bound to sealed tables, lowered to a plan, its columns and parameters as a client is
//! told of them. What `sql` asks of a session (tables by name, catalog functions, settings) is answered here.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, ScalarUDF, TableSource};
use datafusion::sql::sqlparser::ast::{FunctionArg, FunctionArgExpr, Query};

use super::functions;
use super::pipeline::Told;
use super::provenance;
use super::resolver::Resolver;
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, Ty};
use crate::sql::bind::{Answer, Binder, Changed, Found, Layout, Named, Relations, StoredAs, Target};
use crate::sql::image::Proc;
use crate::sql::kernel::Env;
use crate::sql::lower;
use crate::sql::parse::change::Change;
use crate::sql::query::Query as Bound;
use crate::sql::resolve::{Context, Parameters};
use crate::types::AsOf;

/// A query that every type fits in.
#[derive(Debug)]
pub(super) struct Understood {
    pub(super) plan: LogicalPlan,
    /// Types of `$1 …`.
    pub(super) parameters: Vec<FieldRef>,
    /// Under the names that a client sees.
    pub(super) columns: SchemaRef,
}

/// A query whose rows are shown, or stored in [`Told::into`].
pub(super) fn understand(
    resolver: &Resolver<'_>,
    query: &Query,
    told: &Told,
    state: &SessionState,
) -> Result<Understood> {
    with_binder(resolver, told, state, |binder| match told.into.as_slice() {
        [] => binder.bind(query).map(|query| (query, ())),
        into => {
            let stored = |f: &FieldRef| {
                Ok(StoredAs { name: f.name().clone(), ty: pgtype::of_field(f)?, data_type: f.data_type().clone() })
            };
            let into = into.iter().map(stored).collect::<Result<Vec<_>>>()?;
            binder.bind_stored(query, &into).map(|query| (query, ()))
        }
    })
    .map(|(understood, ())| understood)
}

/// A statement that changes rows, and what its plan's columns are for.
pub(super) fn understand_change(
    resolver: &Resolver<'_>,
    change: &Change,
    target: &Target,
    told: &Told,
    state: &SessionState,
) -> Result<(Understood, Layout, Option<Understood>)> {
    let (understood, (layout, then)) = with_binder(resolver, told, state, |binder| {
        let Changed { query, layout, then } = binder.bind_change(change, target)?;
        Ok((query, (layout, then)))
    })?;
    let then = match then {
        None => None,
        Some(then) => {
            let plan = lower::lower(&then, &|proc: &Proc| session_function(proc, state))?;
            let columns = shown(&plan, &then);
            Some(Understood { plan, columns, parameters: understood.parameters.clone() })
        }
    };
    Ok((understood, layout, then))
}

/// As [`understand`], for a query that is kept as a text: that text too, with nothing in it left to be looked up.
pub(super) fn define(
    resolver: &Resolver<'_>,
    query: &Query,
    text: &str,
    state: &SessionState,
) -> Result<(Understood, String)> {
    let told = Told { text: text.into(), ..Told::default() };
    with_this_binder(
        resolver,
        &told,
        state,
        |binder| binder.noting(),
        |binder| {
            let query = binder.bind(query)?;
            Ok((query, binder.fixed()?))
        },
    )
}

fn with_binder<T>(
    resolver: &Resolver<'_>,
    told: &Told,
    state: &SessionState,
    bind: impl FnOnce(&Binder<'_>) -> Result<(Bound, T)>,
) -> Result<(Understood, T)> {
    with_this_binder(resolver, told, state, |binder| binder, bind)
}

fn with_this_binder<T>(
    resolver: &Resolver<'_>,
    told: &Told,
    state: &SessionState,
    prepare: impl for<'a> FnOnce(Binder<'a>) -> Binder<'a>,
    bind: impl FnOnce(&Binder<'_>) -> Result<(Bound, T)>,
) -> Result<(Understood, T)> {
    let known = |field: &Option<FieldRef>| field.as_ref().map(|f| pgtype::of_field(f)).transpose();
    let parameters = Parameters::declared(told.declared.iter().map(known).collect::<Result<_>>()?);
    let plain = Env::plain();
    let env = state.config_options().extensions.get::<Env>().unwrap_or(&plain);
    let binder = prepare(Binder::new(resolver, Context { env, parameters: &parameters }, &told.text));
    let (query, also) = bind(&binder)?;
    let session = |proc: &Proc| session_function(proc, state);
    let plan = lower::lower(&query, &session)?;
    let columns = shown(&plan, &query);
    let parameters = parameters.all().into_iter().enumerate();
    let parameters = parameters.map(|(i, ty)| parameter(i + 1, ty)).collect::<Result<_>>()?;
    Ok((Understood { plan, parameters, columns }, also))
}

/// Its columns by PostgreSQL's names.
fn shown(plan: &LogicalPlan, query: &Bound) -> SchemaRef {
    let each = plan.schema().fields().iter().zip(&query.columns).map(|(field, column)| {
        Field::new(&column.name, field.data_type().clone(), true).with_metadata(field.metadata().clone())
    });
    Arc::new(Schema::new(each.collect::<Vec<_>>()))
}

/// 42P18 where no place gave it a type.
fn parameter(number: usize, ty: Option<Ty>) -> Result<FieldRef> {
    let undetermined =
        || Error::new(Kind::IndeterminateType, format!("could not determine data type of parameter ${number}"));
    let ty = ty.ok_or_else(undetermined)?;
    let data_type = pgtype::arrow(ty.oid).ok_or_else(undetermined)?;
    Ok(Arc::new(pgtype::field(&format!("${number}"), ty, data_type)))
}

/// Functions whose answers are the session's: of the catalog it sees, its settings, itself.
fn session_function(proc: &Proc, state: &SessionState) -> Option<Arc<ScalarUDF>> {
    let name = match proc.source.as_str() {
        "regclassin" => "lakegate_regclass",
        "regnamespacein" => "lakegate_regnamespace",
        "regrolein" => "lakegate_regrole",
        "regclassout" => "lakegate_regclass_name",
        "regnamespaceout" => "lakegate_regnamespace_name",
        "regroleout" => "lakegate_regrole_name",
        // text::regclass
        "text_regclass" => "lakegate_regclass",
        _ => proc.name,
    };
    functions::is_of_session(name).then(|| state.scalar_functions().get(name).cloned()).flatten()
}

impl Relations for Resolver<'_> {
    fn query(&self, path: &[&str]) -> Result<Option<Named>> {
        self.own_query(path)
    }

    fn source_query(&self, source: &str, text: &str) -> Result<Answer> {
        self.answer(source, text)
    }

    fn called(&self, path: &[&str], arguments: &[FunctionArg]) -> Result<Option<Named>> {
        let ours = matches!(path, ["lakegate", "provenance"]);
        match arguments {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(id))] if ours => provenance::called(id.clone()).map(Some),
            _ => Ok(None),
        }
    }

    fn find(&self, path: &[&str], at: Option<&AsOf>) -> Result<Option<Found>> {
        let Some((name, table)) = self.find_path(path, at)? else { return Ok(None) };
        let (oid, is_materialized) = (self.oid(&name), self.is_materialized(&name));
        let table = table as Arc<dyn TableSource>;
        Ok(Some(Found { schema: name.schema, name: name.table, table, oid, is_materialized }))
    }
}
