//! TABLESAMPLE (parse_clause.c, `transformRangeTableSample`; tablesample/bernoulli.c and system.c): each row by chance.
//! Blocks are not known here, so SYSTEM takes rows as BERNOULLI does.

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, Expr as Ast};

use super::Binder;
use super::from::Bound;
use super::scope::{Item, Scope};
use crate::error::{Error, Kind, Result};
use crate::pgtype::{Ty, oid};
use crate::sql::expr::{Expr, Kind as Node};
use crate::sql::image::CastContext;
use crate::sql::query::{Body, Distinct, Query, Relation, Select, Target};
use crate::sql::resolve::{cast, operator};

const FLOAT4: Ty = Ty::of(oid::FLOAT4);
const FLOAT8: Ty = Ty::of(oid::FLOAT8);

impl Binder<'_> {
    pub(super) fn sampled(
        &self,
        table: Bound,
        sample: &ast::TableSampleKind,
        at: usize,
        before: &[Item],
        scope: &Scope<'_>,
    ) -> Result<Bound> {
        let Relation::Table { columns, .. } = &table.relation else {
            let text = "TABLESAMPLE clause can only be applied to tables and materialized views";
            return Err(Error::new(Kind::Unsupported, text).at(at));
        };
        let (ast::TableSampleKind::BeforeTableAlias(sample) | ast::TableSampleKind::AfterTableAlias(sample)) = sample;
        let method = match sample.name {
            Some(ast::TableSampleMethod::System) => "system",
            _ => "bernoulli",
        };
        let given: Vec<&Ast> = match sample.quantity.as_ref().map(|quantity| &quantity.value) {
            Some(Ast::Tuple(several)) => several.iter().collect(),
            one => one.into_iter().collect(),
        };
        let [percent] = given.as_slice() else {
            let text = format!("tablesample method {method} requires 1 argument, not {}", given.len());
            return Err(Error::new(Kind::SampleArgument, text).at(at));
        };
        let around = Scope::of(scope, before.to_vec());
        let percent = self.sample_value(percent, FLOAT4, "TABLESAMPLE", &around)?;
        let seed = sample.offset.as_ref();
        let seed = seed.map(|seed| self.sample_value(seed, FLOAT8, "REPEATABLE", &around)).transpose()?;
        let percent = match percent {
            None => return Err(Error::unsupported("a TABLESAMPLE percentage that is not constant").at(at)),
            Some(ScalarValue::Float32(Some(percent))) => percent,
            Some(_) => return Err(Error::new(Kind::SampleArgument, "TABLESAMPLE parameter cannot be null")),
        };
        if seed.as_ref().and_then(Option::as_ref).is_some_and(ScalarValue::is_null) {
            let text = "TABLESAMPLE REPEATABLE parameter cannot be null";
            return Err(Error::new(Kind::SampleRepeat, text));
        }
        if !(0.0..=100.0).contains(&percent) {
            return Err(Error::new(Kind::SampleArgument, "sample percentage must be between 0 and 100"));
        }
        if percent == 100.0 {
            return Ok(table);
        }
        let filter = match percent == 0.0 {
            true => Expr::constant(ScalarValue::Boolean(Some(false)), Ty::BOOL, at),
            // rows have no place here that they keep until the statement is repeated
            false if seed.is_some() => return Err(Error::unsupported("TABLESAMPLE with REPEATABLE").at(at)),
            false => {
                let part = Expr::constant(ScalarValue::Float64(Some(f64::from(percent) / 100.0)), FLOAT8, at);
                operator::binary(self.cx, "<", self.call("random", vec![], at)?, part, at)?
            }
        };
        let target = |column: &crate::sql::query::Column| {
            let expr = column.expr(0);
            Target { column: self.column_of(column.name.clone(), &expr), expr }
        };
        let targets: Vec<Target> = columns.iter().map(target).collect();
        let inner = targets.iter().map(|target| target.column.clone()).collect();
        // the table's own columns have new numbers: those that names know are the sample's
        let columns = columns.clone();
        let select = Select {
            from: Some(table.relation),
            filter: Some(filter),
            groups: None,
            having: None,
            targets,
            distinct: Distinct::None,
        };
        let query = Query {
            ctes: vec![],
            body: Body::Select(Box::new(select)),
            order: vec![],
            offset: None,
            limit: None,
            with_ties: false,
            columns: inner,
        };
        let relation = Relation::Subquery { query: Box::new(query), columns, lateral: false };
        Ok(Bound { relation, items: table.items })
    }

    /// `None`: it is not the same for every row.
    fn sample_value(&self, ast: &Ast, ty: Ty, what: &str, scope: &Scope<'_>) -> Result<Option<ScalarValue>> {
        let expr = self.expr(ast, scope)?;
        let (given, at) = (expr.ty, expr.at);
        let wrong = || {
            let text = format!("argument of {what} must be type {}, not type {}", ty.name(), given.name());
            Error::new(Kind::TypeMismatch, text).at(at)
        };
        let expr = cast::coerce(self.cx, expr, ty, CastContext::Assignment)?.ok_or_else(wrong)?;
        let reads = |e: &Expr| matches!(e.kind, Node::Column(_) | Node::Parameter(_) | Node::Subquery { .. });
        if expr.any(&reads) {
            return Ok(None);
        }
        Ok(Some(crate::sql::lower::value(&expr, self.cx.env)?))
    }
}
