//! Calls of functions, aggregates and window functions (parse_func.c, `ParseFuncOrColumn`), and the expressions that only
//! look like calls.

use datafusion::sql::sqlparser::ast::{
    self, DuplicateTreatment, Expr as Ast, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments,
};

use super::scope::{Place, Scope};
use super::{Binder, syntax_error};
use crate::error::{Error, Kind, Result};
use crate::pgtype::Ty;
use crate::sql::expr::{Aggregate, Call, Expr, Kind as Node, Sort};
use crate::sql::image::{self, AggregateKind};
use crate::sql::parse::encoding::{self, VARIADIC};
use crate::sql::resolve::function::{self, Argument, Found, Resolved};
use crate::sql::resolve::{common, operator};

/// Where a set cannot be.
pub(super) const LATERAL_HINT: &str = "You might be able to move the set-returning function into a LATERAL FROM item.";

const COUNT_OF_NOTHING: &str = "count(*) must be used to call a parameterless aggregate function";

/// The arguments of a `ROW(…)`.
pub(super) fn row_written(function: &Function) -> Option<&[FunctionArg]> {
    let [ast::ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    match &function.args {
        FunctionArguments::List(list) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("row") => {
            Some(&list.args)
        }
        _ => None,
    }
}

impl Binder<'_> {
    /// A function of pg_catalog by its name.
    pub(super) fn call(&self, name: &str, arguments: Vec<Expr>, at: usize) -> Result<Expr> {
        let arguments = arguments.into_iter().map(|expr| Argument { name: None, expr }).collect();
        let found = function::resolve(self.cx, Some("pg_catalog"), name, arguments, false, at)?;
        Ok(called(found, at))
    }

    pub(super) fn function(&self, function: &Function, scope: &Scope<'_>) -> Result<Expr> {
        let at = self.at_of(&function.name);
        let mut path = super::name::segments(&function.name);
        let name = path.pop().unwrap_or_default();
        let schema = match path.as_slice() {
            [] => None,
            [schema] => Some(schema.as_str()),
            [_, schema] => Some(schema.as_str()),
            _ => return Err(syntax_error(".", at)),
        };
        let quoted =
            matches!(function.name.0.last(), Some(ast::ObjectNamePart::Identifier(i)) if i.quote_style.is_some());
        if name == "pg_collation_for"
            && matches!(schema, None | Some("pg_catalog"))
            && let FunctionArguments::List(list) = &function.args
            && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(of))] = list.args.as_slice()
        {
            return self.collation_for(of, at, scope);
        }
        if schema.is_none()
            && !quoted
            && let Some(special) = self.word(&name, function, at, scope)?
        {
            return Ok(special);
        }
        if schema.is_none()
            && function::named(self.cx, None, &name).next().is_none()
            && let Some(meant) = super::dialect::meaning(&name, function)
        {
            return self.expr(&meant, scope);
        }
        self.check_clauses(function, at)?;
        let given = self.arguments(function)?;
        if function.over.is_some() {
            return self.windowed(function, schema, &name, given, at, scope);
        }
        let order = given.order;
        let within = !function.within_group.is_empty();
        let kind = self.kind_of(schema, &name, within || !given.arguments.is_empty());
        // an aggregate's arguments stand inside it
        let is_aggregate = kind == Some(image::Kind::Aggregate);
        if is_aggregate {
            return self.aggregate(function, schema, &name, Given { order, ..given }, within, at, scope);
        }
        if kind == Some(image::Kind::Window) {
            let text = format!("window function {name} requires an OVER clause");
            return Err(Error::new(Kind::WrongObjectType, text).at(at));
        }
        let wrong = |what: &str| {
            let text = format!("{what} specified, but {name} is not an aggregate function");
            Err(Error::new(Kind::WrongObjectType, text).at(at))
        };
        if given.star {
            let text = format!("{name}(*) specified, but {name} is not an aggregate function");
            if function::named(self.cx, schema, &name).next().is_some() {
                return Err(Error::new(Kind::WrongObjectType, text).at(at));
            }
        }
        if given.distinct && kind.is_some() {
            return wrong("DISTINCT");
        }
        if within && kind.is_some() {
            return wrong("WITHIN GROUP");
        }
        if !order.is_empty() && kind.is_some() {
            return wrong("ORDER BY");
        }
        if function.filter.is_some() && kind.is_some() {
            return wrong("FILTER");
        }
        let arguments = self.bound_arguments(&given.arguments, scope)?;
        // a function's name before one record is one of its fields
        let found = function::resolve(self.cx, schema, &name, arguments, given.variadic, at)?;
        if let Found::Call(call) = &found
            && call.proc.set
        {
            self.check_set_returning(&name, at, scope)?;
        }
        let expr = called(found, at);
        self.check_row_type(&expr, scope)?;
        Ok(expr)
    }

    /// 0A000 where a set cannot be.
    fn check_set_returning(&self, _name: &str, at: usize, scope: &Scope<'_>) -> Result<()> {
        match scope.place.get() {
            Place::Select
            | Place::OrderBy
            | Place::GroupBy
            | Place::DistinctOn
            | Place::WindowPartition
            | Place::WindowOrder
            | Place::FromFunction
            | Place::FromSubquery => Ok(()),
            Place::AggregateArgument => {
                let text = "aggregate function calls cannot contain set-returning function calls";
                Err(Error::new(Kind::Unsupported, text).with_hint(LATERAL_HINT).at(at))
            }
            place => {
                let text = format!("set-returning functions are not allowed in {}", place.name());
                Err(Error::new(Kind::Unsupported, text).at(at))
            }
        }
    }

    /// `rank` and its kin are hypothetical-set aggregates where they have arguments, and window functions without.
    fn kind_of(&self, schema: Option<&str>, name: &str, of_arguments: bool) -> Option<image::Kind> {
        let procs = || function::named(self.cx, schema, name);
        let of = |kind: image::Kind| procs().any(|p| p.kind == kind);
        match (of(image::Kind::Aggregate), of(image::Kind::Window)) {
            (true, true) if of_arguments => Some(image::Kind::Aggregate),
            (_, true) => Some(image::Kind::Window),
            (true, false) => Some(image::Kind::Aggregate),
            (false, false) => procs().next().map(|p| p.kind),
        }
    }

    /// The direct arguments of a hypothetical row and the columns that it would stand among: one of each, of one type
    /// (`unify_hypothetical_args`).
    fn hypothetical(&self, name: &str, arguments: &mut [Argument], plain: usize, at: usize) -> Result<()> {
        let ordered = arguments.len() - plain;
        if plain != ordered {
            let types: Vec<String> = arguments.iter().map(|a| a.expr.ty.name()).collect();
            let text = format!("function {name}({}) does not exist", types.join(", "));
            let hint = format!(
                "To use the hypothetical-set aggregate {name}, the number of hypothetical direct arguments (here {plain}) \
                 must match the number of ordering columns (here {ordered})."
            );
            return Err(Error::new(Kind::UndefinedFunction, text).with_hint(hint).at(at));
        }
        let (direct, ordering) = arguments.split_at_mut(plain);
        for (one, other) in direct.iter_mut().zip(ordering) {
            let pair = vec![other.expr.clone(), one.expr.clone()];
            let (pair, ..) = common::to_common(self.cx, pair, "WITHIN GROUP")?;
            if let Ok([left, right]) = <[Expr; 2]>::try_from(pair) {
                (other.expr, one.expr) = (left, right);
            }
        }
        Ok(())
    }

    fn check_clauses(&self, function: &Function, at: usize) -> Result<()> {
        if !matches!(function.parameters, FunctionArguments::None) || function.uses_odbc_syntax {
            return Err(syntax_error("(", at));
        }
        if function.null_treatment.is_some() {
            return Err(syntax_error("NULLS", at));
        }
        Ok(())
    }

    fn arguments<'x>(&self, function: &'x Function) -> Result<Given<'x>> {
        let at = self.at_of(&function.name);
        let mut given = Given { arguments: vec![], star: false, distinct: false, variadic: false, order: vec![] };
        let list = match &function.args {
            FunctionArguments::None => return Ok(given),
            FunctionArguments::Subquery(_) => return Err(syntax_error("SELECT", at)),
            FunctionArguments::List(list) => list,
        };
        given.distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
        for clause in &list.clauses {
            match clause {
                FunctionArgumentClause::OrderBy(order) => given.order.extend(order),
                other => return Err(syntax_error(&other.to_string(), at)),
            }
        }
        for argument in &list.args {
            let (argument_name, argument) = match argument {
                FunctionArg::Unnamed(argument) => (None, argument),
                FunctionArg::Named {
                    name,
                    arg,
                    operator: ast::FunctionArgOperator::RightArrow | ast::FunctionArgOperator::Assignment,
                } => (Some(super::name::folded(name)), arg),
                FunctionArg::Named { name, .. } => return Err(syntax_error(&name.value, self.at(name.span))),
                FunctionArg::ExprNamed {
                    name: Ast::Identifier(name),
                    arg,
                    operator: ast::FunctionArgOperator::RightArrow | ast::FunctionArgOperator::Assignment,
                } => (Some(super::name::folded(name)), arg),
                FunctionArg::ExprNamed { name, .. } => return Err(syntax_error(&name.to_string(), at)),
            };
            match argument {
                FunctionArgExpr::Expr(expr) => match encoding::unmarked(VARIADIC, expr) {
                    Some(inner) => {
                        given.variadic = true;
                        given.arguments.push((argument_name, Source::Expr(inner)));
                    }
                    None => given.arguments.push((argument_name, Source::Expr(expr))),
                },
                FunctionArgExpr::Wildcard => given.star = true,
                FunctionArgExpr::QualifiedWildcard(row) => given.arguments.push((argument_name, Source::Row(row))),
                FunctionArgExpr::WildcardWithOptions(_) => return Err(syntax_error("*", at)),
            }
        }
        Ok(given)
    }

    fn bound_arguments(&self, given: &[(Option<String>, Source<'_>)], scope: &Scope<'_>) -> Result<Vec<Argument>> {
        let bound = given.iter().map(|(name, source)| {
            let expr = match source {
                Source::Expr(ast) => self.expr(ast, scope)?,
                Source::Row(row) => self.row_named(row, scope)?,
            };
            Ok(Argument { name: name.clone(), expr })
        });
        bound.collect()
    }

    #[allow(clippy::too_many_arguments)]
    fn aggregate(
        &self,
        function: &Function,
        schema: Option<&str>,
        name: &str,
        given: Given<'_>,
        within: bool,
        at: usize,
        scope: &Scope<'_>,
    ) -> Result<Expr> {
        let (mut order_ast, mut arguments) = (given.order, vec![]);
        if within {
            order_ast = function.within_group.iter().collect();
        }
        let (arguments_, order, filter) = scope.at_place(Place::AggregateArgument, || {
            arguments = self.bound_arguments(&given.arguments, scope)?;
            let order = order_ast.iter().map(|o| self.sort_over(o, scope)).collect::<Result<Vec<_>>>()?;
            let filter = function.filter.as_deref();
            let filter =
                filter.map(|f| scope.at_place(Place::Filter, || self.condition(f, scope, "FILTER"))).transpose()?;
            Ok::<_, Error>((std::mem::take(&mut arguments), order, filter))
        })?;
        let mut arguments = arguments_;
        let plain = arguments.len();
        if within {
            // the ordered arguments are the last of the function's
            arguments.extend(order.iter().map(|sort| Argument { name: None, expr: sort.by.clone() }));
        }
        if given.star && !arguments.is_empty() {
            return Err(syntax_error("*", at));
        }
        if !given.star && arguments.is_empty() && name == "count" {
            return Err(Error::new(Kind::WrongObjectType, COUNT_OF_NOTHING).at(at));
        }
        let is_hypothetical =
            |p: &&image::Proc| image::aggregate(p.oid).is_some_and(|a| a.kind == AggregateKind::Hypothetical);
        if within && image::procs(name).iter().any(is_hypothetical) {
            self.hypothetical(name, &mut arguments, plain, at)?;
        }
        let written: Vec<Expr> = arguments.iter().map(|argument| argument.expr.clone()).collect();
        let found = resolved(function::resolve(self.cx, schema, name, arguments, given.variadic, at)?)?;
        let row = image::aggregate(found.proc.oid);
        let ordered = row.is_some_and(|a| a.kind != AggregateKind::Normal);
        if ordered && !within {
            let text = format!("WITHIN GROUP is required for ordered-set aggregate {name}");
            return Err(Error::new(Kind::WrongObjectType, text).at(at));
        }
        if within && !ordered {
            let text = format!("{name} is not an ordered-set aggregate, so it cannot have WITHIN GROUP");
            return Err(Error::new(Kind::WrongObjectType, text).at(at));
        }
        let mut arguments = found.arguments;
        let mut order = if within {
            // as they were coerced for the call
            let coerced = arguments.split_off(plain.min(arguments.len()));
            order.into_iter().zip(coerced).map(|(sort, by)| Sort { by, ..sort }).collect()
        } else {
            order
        };
        if given.distinct && !order.is_empty() {
            // by what the arguments were before the call coerced them
            for sort in &mut order {
                let listed = written.iter().position(|argument| *argument == sort.by);
                let Some(argument) = listed.and_then(|i| arguments.get(i)) else {
                    let text = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
                    return Err(Error::new(Kind::InvalidColumnReference, text).at(sort.by.at));
                };
                sort.by = argument.clone();
            }
        }
        if given.distinct {
            for argument in &arguments {
                self.comparable(argument, "=")?;
            }
        }
        self.check_nested(&arguments, &order, filter.as_ref())?;
        // direct arguments belong to the level that the others decide
        let direct = if within { arguments.as_slice() } else { &[] };
        let counted = arguments.iter().skip(direct.len()).chain(order.iter().map(|sort| &sort.by)).chain(&filter);
        let owner = scope.owner(&counted.collect::<Vec<_>>());
        if let Some(inner) = scope.levels().take_while(|level| !std::ptr::eq(*level, owner)).find_map(|level| {
            let mut found = None;
            direct.iter().for_each(|e| {
                e.visit(&mut |e| {
                    if matches!(e.kind, Node::Column(id) if level.owns(id)) {
                        found.get_or_insert(e.at);
                    }
                });
            });
            found
        }) {
            let text = "outer-level aggregate cannot contain a lower-level variable in its direct arguments";
            return Err(Error::new(Kind::Grouping, text).at(inner));
        }
        self.check_aggregate_place(at, owner)?;
        owner.aggregates.set(true);
        let level = owner.levels().find_map(|scope| scope.level);
        let level = level.ok_or_else(|| Error::internal("an aggregate outside a SELECT"))?;
        let mut nested = None;
        for expr in arguments.iter().chain(order.iter().map(|sort| &sort.by)).chain(&filter) {
            expr.visit(&mut |e| {
                if matches!(&e.kind, Node::Aggregate(inner) if inner.level == level) {
                    nested.get_or_insert(e.at);
                }
            });
        }
        if let Some(inner) = nested {
            return Err(Error::new(Kind::Grouping, "aggregate function calls cannot be nested").at(inner));
        }
        let aggregate = Aggregate { proc: found.proc, level, arguments, distinct: given.distinct, order, filter };
        let data_type = crate::sql::functions::aggregate_lies_as(&aggregate).unwrap_or(found.data_type);
        Ok(Expr::lying(Node::Aggregate(Box::new(aggregate)), found.ty, data_type, at))
    }

    /// 42883 for a type without an order.
    pub(super) fn comparable(&self, expr: &Expr, name: &str) -> Result<()> {
        if operator::equality(expr.ty.oid).is_some() || expr.ty.is_unknown() {
            return Ok(());
        }
        let text = format!("could not identify an equality operator for type {}", expr.ty.name());
        let _ = name;
        Err(Error::new(Kind::UndefinedFunction, text).at(expr.at))
    }

    fn check_aggregate_place(&self, at: usize, scope: &Scope<'_>) -> Result<()> {
        let refused = match scope.place.get() {
            Place::Select | Place::Having | Place::OrderBy | Place::DistinctOn => None,
            Place::WindowPartition | Place::WindowOrder | Place::WindowFrame => None,
            Place::AggregateArgument => Some("aggregate function calls cannot be nested".to_owned()),
            Place::Filter => Some("aggregate functions are not allowed in FILTER".into()),
            Place::FromFunction => Some("aggregate functions are not allowed in functions in FROM".into()),
            place => Some(format!("aggregate functions are not allowed in {}", place.name())),
        };
        match refused {
            None => Ok(()),
            Some(text) => Err(Error::new(Kind::Grouping, text).at(at)),
        }
    }

    fn check_nested(&self, arguments: &[Expr], order: &[Sort], filter: Option<&Expr>) -> Result<()> {
        let all = arguments.iter().chain(order.iter().map(|s| &s.by)).chain(filter);
        for expr in all {
            if expr.any(&|e| matches!(e.kind, Node::Window(_))) {
                let text = "aggregate function calls cannot contain window function calls";
                return Err(Error::new(Kind::Grouping, text).at(expr.at));
            }
            if expr.any(&Expr::is_set) {
                let text = "aggregate function calls cannot contain set-returning function calls";
                return Err(Error::new(Kind::Unsupported, text).with_hint(LATERAL_HINT).at(expr.at));
            }
        }
        Ok(())
    }

    fn windowed(
        &self,
        function: &Function,
        schema: Option<&str>,
        name: &str,
        given: Given<'_>,
        at: usize,
        scope: &Scope<'_>,
    ) -> Result<Expr> {
        match scope.place.get() {
            Place::Select | Place::OrderBy | Place::DistinctOn => {}
            Place::WindowPartition | Place::WindowOrder | Place::WindowFrame => {
                let text = "window functions are not allowed in window definitions";
                return Err(Error::new(Kind::Windowing, text).at(at));
            }
            Place::AggregateArgument => {
                let text = "aggregate function calls cannot contain window function calls";
                return Err(Error::new(Kind::Grouping, text).at(at));
            }
            place => {
                let text = format!("window functions are not allowed in {}", place.name());
                return Err(Error::new(Kind::Windowing, text).at(at));
            }
        }
        if given.distinct {
            return Err(Error::new(Kind::Unsupported, "DISTINCT is not implemented for window functions").at(at));
        }
        if !given.order.is_empty() {
            let text = "aggregate ORDER BY is not implemented for window functions";
            return Err(Error::new(Kind::Unsupported, text).at(at));
        }
        let arguments = self.bound_arguments(&given.arguments, scope)?;
        if let Some(set) = arguments.iter().find(|argument| argument.expr.any(&Expr::is_set)) {
            let text = "window function calls cannot contain set-returning function calls";
            return Err(Error::new(Kind::Unsupported, text).with_hint(LATERAL_HINT).at(set.expr.at));
        }
        if !given.star && arguments.is_empty() && name == "count" {
            return Err(Error::new(Kind::WrongObjectType, COUNT_OF_NOTHING).at(at));
        }
        let found = function::resolve(self.cx, schema, name, arguments, given.variadic, at)?;
        let Found::Call(found) = found else {
            let text = format!("OVER specified, but {name} is not a window function nor an aggregate function");
            return Err(Error::new(Kind::WrongObjectType, text).at(at));
        };
        if found.proc.kind == image::Kind::Function {
            let text = format!("OVER specified, but {name} is not a window function nor an aggregate function");
            return Err(Error::new(Kind::WrongObjectType, text).at(at));
        }
        if image::aggregate(found.proc.oid).is_some_and(|a| a.kind != AggregateKind::Normal) {
            let text = format!("OVER is not supported for ordered-set aggregate {name}");
            return Err(Error::new(Kind::Unsupported, text).at(at));
        }
        let filter = function.filter.as_deref();
        if filter.is_some() && found.proc.kind == image::Kind::Window {
            return Err(
                Error::new(Kind::Unsupported, "FILTER is not implemented for non-aggregate window functions").at(at)
            );
        }
        let filter =
            filter.map(|f| scope.at_place(Place::Filter, || self.condition(f, scope, "FILTER"))).transpose()?;
        let over = function.over.as_ref().ok_or_else(|| Error::internal("no OVER"))?;
        let refused = |error: Error| match (over, error.position()) {
            // of the frame: the specification's own place
            (ast::WindowType::WindowSpec(_), Some(place)) if place == at && error.kind() == Kind::Windowing => {
                let end = self.after(&function.args);
                error.at(self.before("(", self.before("over", end)))
            }
            _ => error,
        };
        self.window(found, filter, over, at, scope).map_err(refused)
    }

    /// COALESCE, NULLIF, ROW, GROUPING and the like, which are grammar. `None`: a call.
    fn word(&self, name: &str, function: &Function, at: usize, scope: &Scope<'_>) -> Result<Option<Expr>> {
        if let (FunctionArguments::None, None) = (&function.args, &function.over) {
            return self.value_function(name, None, at);
        }
        if let ("row", FunctionArguments::List(list)) = (name, &function.args) {
            let row = self.row_called(&list.args, at, scope)?;
            return self.settled_row(row).map(Some);
        }
        let simple: Option<Vec<&Ast>> = match &function.args {
            FunctionArguments::List(list) if list.clauses.is_empty() && list.duplicate_treatment.is_none() => {
                let one = |a: &'_ FunctionArg| matches!(a, FunctionArg::Unnamed(FunctionArgExpr::Expr(_)));
                let all = list.args.iter().all(one);
                let exprs = list.args.iter().filter_map(|a| match a {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e),
                    _ => None,
                });
                all.then(|| exprs.collect())
            }
            FunctionArguments::Subquery(query) if name == "array" => {
                return self.array_subquery(query, at, scope).map(Some);
            }
            _ => None,
        };
        let Some(arguments) = simple else { return Ok(None) };
        self.one_collation(arguments.iter().copied())?;
        let bind_all = || arguments.iter().map(|ast| self.expr(ast, scope)).collect::<Result<Vec<_>>>();
        match name {
            "coalesce" if !arguments.is_empty() => {
                let all = bind_all()?;
                self.no_set("COALESCE", all.iter())?;
                let (all, ty, data_type) = common::to_common(self.cx, all, "COALESCE")?;
                Ok(Some(Expr::lying(Node::Coalesce(all), ty, data_type, at)))
            }
            "greatest" | "least" if !arguments.is_empty() => {
                let what = if name == "greatest" { "GREATEST" } else { "LEAST" };
                let (of, ty, data_type) = common::to_common(self.cx, bind_all()?, what)?;
                if operator::less(ty.oid).is_none() {
                    let text = format!("could not identify a comparison function for type {}", ty.name());
                    return Err(Error::new(Kind::UndefinedFunction, text).at(at));
                }
                Ok(Some(Expr::lying(Node::Extreme { of, greatest: name == "greatest" }, ty, data_type, at)))
            }
            // `extract(field FROM source)` is the only form
            "extract" if !arguments.is_empty() => {
                let shown = arguments.first().map(ToString::to_string).unwrap_or_default();
                let near = shown.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                Err(syntax_error(near, arguments.first().map_or(0, |first| self.at_of(*first))))
            }
            // `position(a IN b)` is the only form
            "position" if arguments.len() > 1 => {
                Err(syntax_error(",", arguments.first().map_or(0, |first| self.after(*first))))
            }
            "normalize" if arguments.len() == 2 => {
                let form = match arguments.as_slice() {
                    [_, Ast::Identifier(form)] => super::name::folded(form),
                    [_, other] => return Err(syntax_error(&other.to_string(), self.at_of(*other))),
                    _ => String::new(),
                };
                if !matches!(form.as_str(), "nfc" | "nfd" | "nfkc" | "nfkd") {
                    return Err(syntax_error(&form, arguments.get(1).map_or(0, |a| self.at_of(*a))));
                }
                let of = arguments.first().ok_or_else(|| Error::internal("no argument"))?;
                let of = self.expr(of, scope)?;
                let form = datafusion::common::ScalarValue::Utf8(Some(form.to_ascii_uppercase()));
                self.call("normalize", vec![of, Expr::constant(form, Ty::TEXT, at)], at).map(Some)
            }
            "nullif" if arguments.len() == 2 => self.null_if(bind_all()?, at).map(Some),
            "grouping" => {
                if let Place::Where | Place::JoinOn | Place::GroupBy = scope.place.get() {
                    let text = format!("grouping operations are not allowed in {}", scope.place.get().name());
                    return Err(Error::new(Kind::Grouping, text).at(at));
                }
                let of = bind_all()?;
                let owner = scope.owner(&of.iter().collect::<Vec<_>>());
                owner.aggregates.set(true);
                let level = owner.levels().find_map(|scope| scope.level);
                let level = level.ok_or_else(|| Error::internal("GROUPING outside a SELECT"))?;
                Ok(Some(Expr::new(Node::Grouping { of, level }, Ty::INT4, at)))
            }
            "current_time" | "current_timestamp" | "localtime" | "localtimestamp" => {
                let [Ast::Value(value)] = arguments.as_slice() else { return Ok(None) };
                let precision = value.value.to_string().parse::<i64>().map_err(|_| syntax_error(")", at))?;
                self.value_function(name, Some(precision), at)
            }
            _ => Ok(None),
        }
    }

    /// `ROW(a, t.*)`, its literals as they are.
    pub(super) fn row_called(&self, arguments: &[FunctionArg], at: usize, scope: &Scope<'_>) -> Result<Expr> {
        let mut items = vec![];
        for argument in arguments {
            let expanded = match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self.expanded(expr, scope)?,
                FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => {
                    let star = ast::helpers::attached_token::AttachedToken::empty();
                    self.expanded(&Ast::QualifiedWildcard(name.clone(), star), scope)?
                }
                _ => return Err(syntax_error("ROW", at)),
            };
            items.extend(expanded);
        }
        Ok(self.row_of_exprs(items, at))
    }

    fn null_if(&self, both: Vec<Expr>, at: usize) -> Result<Expr> {
        let mut both = both.into_iter();
        let (Some(left), Some(right)) = (both.next(), both.next()) else {
            return Err(Error::internal("NULLIF of two"));
        };
        // the result is the left side as it was
        let equal = operator::binary(self.cx, "=", left.clone(), right, at)?;
        let Node::Call(Call { proc, arguments, .. }) = equal.kind else { return Err(Error::internal("= is no call")) };
        let equals = image::operator_of(proc.oid).ok_or_else(|| Error::internal("= has no operator"))?;
        let mut arguments = arguments.into_iter();
        let (Some(compared), Some(right)) = (arguments.next(), arguments.next()) else {
            return Err(Error::internal("= of two"));
        };
        let (ty, data_type) = (compared.ty, compared.data_type.clone());
        Ok(Expr::lying(Node::NullIf { equals, left: Box::new(compared), right: Box::new(right) }, ty, data_type, at))
    }
}

/// What stands between a call's parentheses.
struct Given<'a> {
    arguments: Vec<(Option<String>, Source<'a>)>,
    star: bool,
    distinct: bool,
    variadic: bool,
    order: Vec<&'a ast::OrderByExpr>,
}

enum Source<'a> {
    Expr(&'a Ast),
    /// `t.*`
    Row(&'a ast::ObjectName),
}

/// A call, or the cast that looks like one.
fn called(found: Found, at: usize) -> Expr {
    match found {
        Found::Cast(expr) => expr,
        Found::Call(Resolved { proc, arguments, ty, data_type, variadic }) => {
            Expr::lying(Node::Call(Call { proc, arguments, variadic }), ty, data_type, at)
        }
    }
}

/// Where a cast cannot be meant.
fn resolved(found: Found) -> Result<Resolved> {
    match found {
        Found::Call(resolved) => Ok(resolved),
        Found::Cast(_) => Err(Error::internal("a cast in the place of a call")),
    }
}
