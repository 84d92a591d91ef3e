//! What the planner rejects or loses before any hook sees it: FETCH FIRST, `pg_catalog.` in front of functions, operators
//! and types, COLLATE of the one collation there is, casts to reg-types, ARRAY(subquery). How tight IS DISTINCT FROM binds is
//! `precedence`'s.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, LimitClause, ObjectName, ObjectNamePart, Query, SelectItem,
    SetExpr, TableFactor, TimezoneInfo, VisitorMut,
};

use crate::error::{Error, Kind};

pub(super) struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        match fetch_to_limit(query) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if let TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } = factor {
            strip_pg_catalog(name);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match rewrite_expr(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn rewrite_expr(expr: &mut Expr) -> Result<(), Error> {
    super::precedence::correct(expr);
    match expr {
        Expr::Function(f) => {
            strip_pg_catalog(&mut f.name);
            if let FunctionArguments::Subquery(query) = &f.args
                && plain_name(&f.name).is_some_and(|name| name == "array")
            {
                let mut query = query.clone();
                aggregate_into_array(&mut query)?;
                *expr = Expr::Subquery(query);
            }
        }
        Expr::BinaryOp { op, .. } => {
            if let BinaryOperator::PGCustomBinaryOperator(parts) = op {
                *op = custom_operator(parts)?;
            }
        }
        Expr::Collate { expr: inner, collation } => {
            let name = plain_name(collation).map(|name| name.to_lowercase());
            if !matches!(name.as_deref(), Some("c" | "default" | "posix" | "ucs_basic")) {
                return Err(Error::new(Kind::UndefinedObject, format!("collation {collation} does not exist")));
            }
            let inner = std::mem::replace(inner.as_mut(), null());
            *expr = inner;
        }
        Expr::Cast { expr: inner, data_type, kind, .. } => {
            if let Some(call) = reg_cast(inner, data_type) {
                *expr = call;
                return Ok(());
            }
            plain_type(data_type);
            if matches!(kind, CastKind::TryCast | CastKind::SafeCast) {
                return Err(Error::new(Kind::Syntax, "syntax error at or near \"(\""));
            }
        }
        Expr::TypedString(t) => plain_type(&mut t.data_type),
        _ => {}
    }
    Ok(())
}

pub(super) fn null() -> Expr {
    Expr::Value(datafusion::sql::sqlparser::ast::Value::Null.into())
}

fn fetch_to_limit(query: &mut Query) -> Result<(), Error> {
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    if fetch.with_ties || fetch.percent {
        return Err(Error::unsupported("FETCH … WITH TIES"));
    }
    let one = || Expr::Value(datafusion::sql::sqlparser::ast::Value::Number("1".into(), false).into());
    let quantity = fetch.quantity.unwrap_or_else(one);
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(quantity),
        None => {
            query.limit_clause =
                Some(LimitClause::LimitOffset { limit: Some(quantity), offset: None, limit_by: vec![] });
        }
        Some(_) => return Err(Error::new(Kind::Syntax, "multiple LIMIT clauses not allowed")),
    }
    Ok(())
}

fn strip_pg_catalog(name: &mut ObjectName) {
    let first = |n: &ObjectName| matches!(n.0.first(), Some(ObjectNamePart::Identifier(i)) if i.value.eq_ignore_ascii_case("pg_catalog"));
    if name.0.len() == 2 && first(name) {
        name.0.remove(0);
    }
}

/// `OPERATOR(pg_catalog.~)`, as psql writes its pattern matches.
fn custom_operator(parts: &[String]) -> Result<BinaryOperator, Error> {
    let name = parts.last().map(String::as_str).unwrap_or_default();
    Ok(match name {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "||" => BinaryOperator::StringConcat,
        other => return Err(Error::new(Kind::UndefinedFunction, format!("operator does not exist: {other}"))),
    })
}

/// Casts to and from oid aliases look names up: functions of ours.
fn reg_cast(inner: &mut Expr, to: &DataType) -> Option<Expr> {
    let DataType::Regclass = to else {
        return match custom_name(to)?.as_str() {
            "regclass" => Some(call("lakegate_regclass", inner)),
            "regtype" => Some(call("lakegate_regtype", inner)),
            "regproc" => Some(call("lakegate_regproc", inner)),
            "regnamespace" => Some(call("lakegate_regnamespace", inner)),
            "regrole" => Some(call("lakegate_regrole", inner)),
            _ => None,
        };
    };
    Some(call("lakegate_regclass", inner))
}

fn call(name: &str, argument: &mut Expr) -> Expr {
    let argument = std::mem::replace(argument, null());
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))],
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// The one word of a name, or the one behind `pg_catalog.`, folded as PostgreSQL folds it.
fn plain_name(name: &ObjectName) -> Option<String> {
    let mut parts = name.0.iter().map(|part| match part {
        ObjectNamePart::Identifier(ident) => Some(super::super::statement::ident(ident)),
        ObjectNamePart::Function(_) => None,
    });
    match (parts.next().flatten(), parts.next(), parts.next()) {
        (Some(name), None, None) => Some(name),
        (Some(schema), Some(Some(name)), None) if schema == "pg_catalog" => Some(name),
        _ => None,
    }
}

fn custom_name(t: &DataType) -> Option<String> {
    match t {
        DataType::Custom(name, _) => plain_name(name),
        _ => None,
    }
}

/// Type names the planner does not know, by the type that stands for them.
fn plain_type(t: &mut DataType) {
    if let DataType::Array(elem) = t {
        use datafusion::sql::sqlparser::ast::ArrayElemTypeDef as Elem;
        if let Elem::SquareBracket(inner, _) | Elem::AngleBracket(inner) | Elem::Parenthesis(inner) = elem {
            plain_type(inner);
        }
        return;
    }
    let Some(name) = custom_name(t) else { return };
    *t = match name.as_str() {
        "text" | "name" | "char" | "bpchar" | "varchar" | "unknown" | "cstring" | "json" | "jsonb" => DataType::Text,
        "int2" => DataType::SmallInt(None),
        "int4" => DataType::Int(None),
        "int8" | "oid" | "xid" | "cid" => DataType::BigInt(None),
        "float4" => DataType::Real,
        "float8" => DataType::DoublePrecision,
        "bool" => DataType::Boolean,
        "numeric" => DataType::Numeric(ExactNumberInfo::None),
        "date" => DataType::Date,
        "timestamp" => DataType::Timestamp(None, TimezoneInfo::None),
        "timestamptz" => DataType::Timestamp(None, TimezoneInfo::WithTimeZone),
        "bytea" => DataType::Bytea,
        "interval" => DataType::Interval { fields: None, precision: None },
        _ => return,
    };
}

/// `ARRAY(SELECT x …)` → `(SELECT array_agg(x) …)`: the shape psql's `\du` sends.
fn aggregate_into_array(query: &mut Query) -> Result<(), Error> {
    let SetExpr::Select(select) = query.body.as_mut() else {
        return Err(Error::unsupported("ARRAY over this subquery"));
    };
    let simple = query.limit_clause.is_none() && select.distinct.is_none();
    let [item] = select.projection.as_mut_slice() else {
        return Err(Error::new(Kind::Syntax, "subquery must return only one column"));
    };
    if !simple {
        return Err(Error::unsupported("ARRAY over this subquery"));
    }
    let (SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. }) = item else {
        return Err(Error::unsupported("ARRAY over this subquery"));
    };
    let mut aggregate = call("array_agg", e);
    if let (Expr::Function(f), Some(order)) = (&mut aggregate, query.order_by.take())
        && let datafusion::sql::sqlparser::ast::OrderByKind::Expressions(keys) = order.kind
        && let FunctionArguments::List(list) = &mut f.args
    {
        // a key by position or output name would mean another thing inside the aggregate: only the value itself
        let by_value = keys.iter().all(|k| !matches!(k.expr, Expr::Value(_)));
        if by_value {
            list.clauses.push(datafusion::sql::sqlparser::ast::FunctionArgumentClause::OrderBy(keys));
        } else if let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = &list.args[0] {
            let keys = keys.into_iter().map(|mut k| {
                k.expr = value.clone();
                k
            });
            list.clauses.push(datafusion::sql::sqlparser::ast::FunctionArgumentClause::OrderBy(keys.collect()));
        }
    }
    *item = SelectItem::UnnamedExpr(aggregate);
    Ok(())
}
