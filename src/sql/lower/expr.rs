//! A typed expression to DataFusion's: native nodes where both languages mean the same, functions elsewhere. Subqueries in
//! it are joined to the plan that it stands over.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{ExprSchema, ScalarValue};
use datafusion::logical_expr::expr::{InList, Like, Placeholder, ScalarFunction};
use datafusion::logical_expr::{Expr as Lowered, ExprSchemable, Operator as Op, ScalarUDF, binary_expr, lit};

use super::compare::{self, Comparison};
use super::each::Each;
use super::function::{KernelFunction, can_raise, fails_when_run};
use super::special::{self, Op as SpecialOp, Special};
use super::{Flow, Lower, guard};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::pgtype::{self, Ty, oid};
use crate::sql::expr::{Call, Expr, Kind};
use crate::sql::image::{self, Operator, Proc};

impl<'a> Lower<'a> {
    pub(super) fn exprs(&mut self, flow: &mut Flow, all: &'a [Expr]) -> Result<Vec<Lowered>> {
        all.iter().map(|e| self.expr(flow, e)).collect()
    }

    /// The value of `e` over the rows of `flow`, whose plan grows where a subquery has to be joined to it.
    pub(super) fn expr(&mut self, flow: &mut Flow, e: &'a Expr) -> Result<Lowered> {
        if let Some(column) = flow.find(e) {
            return Ok(Lowered::Column(column.clone()));
        }
        if let Some(outer) = self.of_outer(e)? {
            return Ok(outer);
        }
        let field = |name: &str| pgtype::field(name, e.ty, e.data_type.clone());
        Ok(match &e.kind {
            // nothing typed it: it is a text
            Kind::Unknown(text) => lit(text.as_str()),
            Kind::Constant(value) => special::held(constant(value, &e.data_type)?, field("constant")),
            Kind::Parameter(n) => {
                let id = format!("${n}");
                Lowered::Placeholder(Placeholder { field: Some(e.field(&id)), id })
            }
            Kind::Column(id) => return Err(Error::internal(format!("column {} is nowhere in the plan", id.0))),
            Kind::Call(call) => self.call(flow, call, e)?,
            Kind::And(all) => guard::and(self.in_turn(flow, all, Lowered::is_not_false)?),
            Kind::Or(all) => guard::or(self.in_turn(flow, all, Lowered::is_not_true)?),
            Kind::Not(of) => negated(self.expr(flow, of)?),
            Kind::IsNull { of, negated } => self.is_null(flow, of, *negated)?,
            Kind::Is { of, value, negated } => {
                let of = self.expr(flow, of)?;
                match (value, negated) {
                    (Some(true), false) => of.is_true(),
                    (Some(true), true) => of.is_not_true(),
                    (Some(false), false) => of.is_false(),
                    (Some(false), true) => of.is_not_false(),
                    (None, false) => of.is_unknown(),
                    (None, true) => of.is_not_unknown(),
                }
            }
            Kind::Distinct { equals, left, right, negated } => self.distinct(flow, equals, left, right, *negated)?,
            Kind::AnyOf { operator, left, array, all } => self.any_of(flow, operator, left, array, *all)?,
            Kind::Case { whens, otherwise } => {
                let (before, mut lowered) = (self.reached.len(), vec![]);
                for (when, then) in whens {
                    let when = self.expr(flow, when)?;
                    self.reached.push(when.clone());
                    let then = self.expr(flow, then);
                    self.reached.pop();
                    self.reached.push(when.clone().is_not_true());
                    lowered.push((when, then?));
                }
                let otherwise = otherwise.as_ref().map(|e| self.expr(flow, e)).transpose();
                self.reached.truncate(before);
                guard::choose(lowered, otherwise?, e.ty == Ty::BOOL)
            }
            Kind::Coalesce(all) => {
                let mut all = self.exprs(flow, all)?;
                let later_raises = all.iter().skip(1).any(|one| can_raise(one) || fails_when_run(one));
                match all.pop() {
                    None => return Err(Error::internal("COALESCE of nothing")),
                    Some(only) if all.is_empty() => only,
                    Some(last) if later_raises && !all.iter().any(Lowered::is_volatile) => {
                        let whens = all.into_iter().map(|e| (e.clone().is_not_null(), e)).collect();
                        guard::choose(whens, Some(last), e.ty == Ty::BOOL)
                    }
                    Some(last) => {
                        all.push(last);
                        Special::call(SpecialOp::Coalesce, field("coalesce"), all)
                    }
                }
            }
            Kind::NullIf { equals, left, right } => {
                let comparison = Comparison::new(equals, (left.ty, &left.data_type), (right.ty, &right.data_type))?;
                let arguments = vec![self.expr(flow, left)?, self.expr(flow, right)?];
                Special::call(SpecialOp::NullIf(comparison), field("nullif"), arguments)
            }
            Kind::Extreme { of, greatest } => {
                let better = Comparison::of_type(if *greatest { ">" } else { "<" }, e.ty, &e.data_type)?;
                let name = if *greatest { "greatest" } else { "least" };
                let mut arguments = vec![];
                for one in of {
                    let value = self.expr(flow, one)?;
                    arguments.push(special::lie(value, e.ty, &one.data_type, &e.data_type));
                }
                Special::call(SpecialOp::Extreme(better), field(name), arguments)
            }
            Kind::Array(all) => {
                let element = match &e.data_type {
                    DataType::List(item) => item.data_type().clone(),
                    other => return Err(Error::internal(format!("ARRAY as {other}"))),
                };
                let element_type = Ty::of(pgtype::element(e.ty.oid).unwrap_or(e.ty.oid));
                let mut values = vec![];
                for one in all {
                    let value = self.expr(flow, one)?;
                    values.push(special::lie(value, element_type, &one.data_type, &element));
                }
                // an array of no columns has as many rows as the others only if it is a constant
                match values.is_empty() {
                    true => Lowered::Literal(ScalarValue::List(ScalarValue::new_list(&[], &element, true)), None)
                        .cast_to(&e.data_type, flow.plan.schema())?,
                    false => Special::call(SpecialOp::Array, field("array"), values),
                }
            }
            Kind::Row(all) => {
                let values = self.exprs(flow, all)?;
                Special::call(SpecialOp::Row, field("row"), values)
            }
            Kind::Field { of, index } => {
                let of = self.expr(flow, of)?;
                Special::call(SpecialOp::Field(*index), field("field"), vec![of])
            }
            Kind::Subscript { of, indexes } => {
                let mut arguments = vec![self.expr(flow, of)?];
                arguments.extend(self.exprs(flow, indexes)?);
                let first = pgtype::lower_bound(of.ty.oid);
                Special::call(SpecialOp::Subscript(first), field("subscript"), arguments)
            }
            Kind::Slice { of, bounds } => {
                let mut arguments = vec![self.expr(flow, of)?];
                let given = bounds.iter().map(|(l, u)| (l.is_some(), u.is_some())).collect();
                for bound in bounds.iter().flat_map(|(l, u)| l.iter().chain(u)) {
                    arguments.push(self.expr(flow, bound)?);
                }
                let first = pgtype::lower_bound(of.ty.oid);
                Special::call(SpecialOp::Slice(given, first), field("slice"), arguments)
            }
            Kind::Relabel(of) => special::lie(self.expr(flow, of)?, e.ty, &of.data_type, &e.data_type),
            Kind::ByText { of, .. } => {
                let lowered = self.expr(flow, of)?;
                self.by_text(lowered, of, e)?
            }
            Kind::EachElement { of, element, each } => {
                let of_lowered = self.expr(flow, of)?;
                self.each_element(of_lowered, of, *element, each, e)?
            }
            Kind::Aggregate(_) => return Err(Error::internal("an aggregate outside its query")),
            Kind::Window(_) => return Err(Error::internal("a window outside its query")),
            Kind::Grouping { .. } => return Err(Error::internal("GROUPING outside its query")),
            Kind::Subquery { kind, query } => self.subquery(flow, e, kind, query)?,
        })
    }

    /// Operands of AND and OR, each asked for where all before it leave it open.
    fn in_turn(&mut self, flow: &mut Flow, all: &'a [Expr], open: fn(Lowered) -> Lowered) -> Result<Vec<Lowered>> {
        let (before, mut lowered) = (self.reached.len(), vec![]);
        for e in all {
            let value = self.expr(flow, e)?;
            self.reached.push(open(value.clone()));
            lowered.push(value);
        }
        self.reached.truncate(before);
        Ok(lowered)
    }

    /// A value of a query around this one.
    fn of_outer(&self, e: &Expr) -> Result<Option<Lowered>> {
        let found = self.outer.iter().rev().find_map(|flow| Some((flow, flow.find(e)?)));
        let Some((flow, column)) = found else { return Ok(None) };
        let field = flow.plan.schema().field_from_column(column)?;
        let field = Field::new(field.name(), field.data_type().clone(), true).with_metadata(field.metadata().clone());
        Ok(Some(Lowered::OuterReferenceColumn(Arc::new(field), column.clone())))
    }

    fn call(&mut self, flow: &mut Flow, call: &'a Call, e: &'a Expr) -> Result<Lowered> {
        if call.proc.set {
            return Err(Error::unsupported("a set-returning function in this place").at(e.at));
        }
        if let Some(lowered) = self.native_call(flow, call, e)? {
            return Ok(lowered);
        }
        let arguments = self.exprs(flow, &call.arguments)?;
        if call.variadic && call.proc.variadic == oid::ANY {
            let types = call.arguments.iter().map(|a| a.ty).collect();
            let function = KernelFunction::of_variadic(call.proc, types, e.ty, e.data_type.clone());
            return Ok(function.map_err(|error| error.at(e.at))?.call(arguments));
        }
        let types = call.arguments.iter().map(|a| (a.ty, a.data_type.clone())).collect();
        self.function(call.proc, types, arguments, e)
    }

    /// The kernel, or the function of the session.
    pub(super) fn function(
        &mut self,
        proc: &'static Proc,
        types: Vec<(Ty, DataType)>,
        arguments: Vec<Lowered>,
        e: &Expr,
    ) -> Result<Lowered> {
        if let Some(udf) = self.of_session(proc) {
            return session_call(udf, types.into_iter().map(|(_, t)| t).collect(), arguments, e);
        }
        let types = types.into_iter().map(|(ty, _)| ty).collect();
        let function =
            KernelFunction::of_proc(proc, types, e.ty, e.data_type.clone()).map_err(|error| error.at(e.at))?;
        Ok(function.call(arguments))
    }

    /// Output function, then input function; those of names that only a session knows are the session's.
    fn by_text(&mut self, lowered: Lowered, of: &Expr, e: &Expr) -> Result<Lowered> {
        let unknown = |ty: Ty| Error::internal(format!("no input and output functions of {}", ty.name()));
        let text = match of.ty.oid {
            oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::UNKNOWN | oid::CSTRING => lowered,
            _ => {
                let output = pgtype::functions(of.ty.oid).ok_or_else(|| unknown(of.ty))?.output;
                let proc = proc_named(output).ok_or_else(|| unknown(of.ty))?;
                let cstring = Expr { ty: Ty::of(oid::CSTRING), data_type: DataType::Utf8, ..e.clone() };
                self.function(proc, vec![(of.ty, of.data_type.clone())], vec![lowered], &cstring)?
            }
        };
        if matches!(e.ty.oid, oid::TEXT | oid::VARCHAR | oid::CSTRING) {
            return Ok(text);
        }
        let input = pgtype::functions(e.ty.oid).ok_or_else(|| unknown(e.ty))?.input;
        let proc = proc_named(input).ok_or_else(|| unknown(e.ty))?;
        if let Some(udf) = self.of_session(proc) {
            return session_call(udf, vec![DataType::Utf8], vec![text], e);
        }
        let element = pgtype::element(e.ty.oid).unwrap_or(e.ty.oid);
        let types = vec![Ty::of(oid::CSTRING), Ty::of(oid::OID), Ty::INT4];
        let function = KernelFunction::of_proc(proc, types, e.ty, e.data_type.clone())?;
        Ok(function.call(vec![text, lit(element), lit(e.ty.typmod)]))
    }

    /// What only the session computes.
    fn of_session(&self, proc: &'static Proc) -> Option<Arc<ScalarUDF>> {
        match crate::sql::functions::kernel(&proc.source) {
            Some(_) => None,
            None => (self.functions)(proc),
        }
    }

    fn native_call(&mut self, flow: &mut Flow, call: &'a Call, e: &'a Expr) -> Result<Option<Lowered>> {
        match (call.proc.source.as_str(), call.arguments.as_slice()) {
            (
                "int48" | "i2toi4" | "int28" | "i4tod" | "i2tod" | "i8tod" | "i2tof" | "i4tof" | "i8tof" | "ftod",
                [of],
            ) => {
                let of = self.expr(flow, of)?;
                return Ok(Some(compare::cast_expr(of, &e.data_type)?));
            }
            (
                like @ ("textlike" | "textnlike" | "bpcharlike" | "bpcharnlike" | "namelike" | "namenlike"),
                [of, pattern],
            ) => {
                if let Kind::Constant(ScalarValue::Utf8(Some(text))) = &pattern.kind
                    && !text.contains('\\')
                    && of.data_type == DataType::Utf8
                {
                    let (of, pattern) = (self.expr(flow, of)?, self.expr(flow, pattern)?);
                    let negated = like.ends_with("nlike");
                    return Ok(Some(Lowered::Like(Like::new(negated, Box::new(of), Box::new(pattern), None, false))));
                }
            }
            (_, [left, right]) => {
                let Some(operator) = image::operator_of(call.proc.oid) else { return Ok(None) };
                let sides = ((left.ty, &left.data_type), (right.ty, &right.data_type));
                if let Some(native) = compare::native(operator, sides.0, sides.1) {
                    let (l, r) = (self.expr(flow, left)?, self.expr(flow, right)?);
                    return Ok(Some(native.expr((l, &left.data_type), (r, &right.data_type))?));
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// A record is NULL where all its fields are, and NOT NULL where none is.
    fn is_null(&mut self, flow: &mut Flow, of: &'a Expr, negated: bool) -> Result<Lowered> {
        if let Kind::Row(fields) = &of.kind {
            let each = fields.iter().map(|f| self.is_null_plain(flow, f, negated));
            return Ok(guard::and(each.collect::<Result<Vec<_>>>()?));
        }
        let DataType::Struct(fields) = &of.data_type else { return self.is_null_plain(flow, of, negated) };
        let record = self.expr(flow, of)?;
        // a composite field is asked for itself, not for its own fields
        let tests = fields.iter().enumerate().map(|(i, f)| {
            let field = Special::call(SpecialOp::Field(i), f.as_ref().clone(), vec![record.clone()]);
            if negated { field.is_not_null() } else { field.is_null() }
        });
        let tests: Vec<Lowered> = tests.collect();
        Ok(match (tests.is_empty(), negated) {
            (true, true) => record.is_not_null(),
            (true, false) => record.is_null(),
            _ => guard::and(tests),
        })
    }

    fn is_null_plain(&mut self, flow: &mut Flow, of: &'a Expr, negated: bool) -> Result<Lowered> {
        let of = self.expr(flow, of)?;
        Ok(if negated { of.is_not_null() } else { of.is_null() })
    }

    fn distinct(
        &mut self,
        flow: &mut Flow,
        equals: &'static Operator,
        left: &'a Expr,
        right: &'a Expr,
        negated: bool,
    ) -> Result<Lowered> {
        let (l, r) = (self.expr(flow, left)?, self.expr(flow, right)?);
        let sides = ((left.ty, &left.data_type), (right.ty, &right.data_type));
        if let Some(native) = compare::native(equals, sides.0, sides.1) {
            let op = if negated { Op::IsNotDistinctFrom } else { Op::IsDistinctFrom };
            let (l, r) = native.operands((l, sides.0.1), (r, sides.1.1))?;
            return Ok(binary_expr(l, op, r));
        }
        let comparison = Comparison::new(equals, sides.0, sides.1)?;
        let field = Field::new("is_distinct", DataType::Boolean, true);
        Ok(Special::call(SpecialOp::Distinct { comparison, negated }, field, vec![l, r]))
    }

    fn any_of(
        &mut self,
        flow: &mut Flow,
        operator: &'static Operator,
        left: &'a Expr,
        array: &'a Expr,
        all: bool,
    ) -> Result<Lowered> {
        let equality = matches!((operator.name, all), ("=", false) | ("<>", true));
        if let (Kind::Array(elements), true) = (&array.kind, equality)
            && elements.iter().all(|e| !matches!(e.data_type, DataType::List(_)))
            && let Some(list) = self.in_list(flow, operator, left, elements, all)?
        {
            return Ok(list);
        }
        let element = (Ty::of(pgtype::element(array.ty.oid).unwrap_or(oid::TEXT)), leaf(&array.data_type));
        let comparison = Comparison::new(operator, (left.ty, &left.data_type), (element.0, element.1))?;
        let arguments = vec![self.expr(flow, left)?, self.expr(flow, array)?];
        let field = Field::new("any", DataType::Boolean, true);
        Ok(Special::call(SpecialOp::AnyOf { comparison, all }, field, arguments))
    }

    /// `None` where the elements and the left side are not comparable as they lie.
    fn in_list(
        &mut self,
        flow: &mut Flow,
        operator: &'static Operator,
        left: &'a Expr,
        elements: &'a [Expr],
        negated: bool,
    ) -> Result<Option<Lowered>> {
        if elements.is_empty() {
            return Ok(None);
        }
        let lowered = self.expr(flow, left)?;
        let (mut one, mut list) = (None, vec![]);
        for element in elements {
            let sides = ((left.ty, &left.data_type), (element.ty, &element.data_type));
            let Some(native) = compare::native(operator, sides.0, sides.1) else { return Ok(None) };
            let value = self.expr(flow, element)?;
            let (side, value) = native.operands((lowered.clone(), sides.0.1), (value, sides.1.1))?;
            if can_raise(&value) || one.as_ref().is_some_and(|one| *one != side) {
                return Ok(None);
            }
            one = Some(side);
            // equal floats that lie otherwise are not equal to a list
            match compare::both_zeros(&value) {
                Some(zeros) => list.extend(zeros),
                None if left.data_type.is_floating() && !matches!(value, Lowered::Literal(..)) => return Ok(None),
                None => list.push(value),
            }
        }
        Ok(one.map(|one| Lowered::InList(InList::new(Box::new(one), list, negated))))
    }

    fn each_element(
        &mut self,
        of: Lowered,
        from: &Expr,
        element: crate::sql::expr::ColumnId,
        each: &'a Expr,
        e: &Expr,
    ) -> Result<Lowered> {
        let column = self.fresh_column(element);
        let item = Field::new(&column, leaf(&from.data_type).clone(), true);
        let schema = datafusion::common::DFSchema::from_unqualified_fields(vec![item].into(), Default::default())?;
        let plan = datafusion::logical_expr::LogicalPlan::EmptyRelation(datafusion::logical_expr::EmptyRelation {
            produce_one_row: false,
            schema: Arc::new(schema),
        });
        let mut inner = Flow::new(plan);
        inner.columns.insert(element, datafusion::common::Column::new_unqualified(&column));
        let expr = self.expr(&mut inner, each)?;
        let field = pgtype::field("each", e.ty, e.data_type.clone());
        Ok(Special::call(SpecialOp::EachElement(Each { column, expr }), field, vec![of]))
    }
}

/// What lies below all dimensions.
pub(super) fn leaf(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::List(item) => leaf(item.data_type()),
        other => other,
    }
}

/// A function of the catalog by its name; those of input and output have one row each.
fn proc_named(name: &str) -> Option<&'static Proc> {
    image::procs(name).first().copied()
}

fn constant(value: &ScalarValue, data_type: &DataType) -> Result<Lowered> {
    let value = match value.is_null() {
        _ if value.data_type() == *data_type => value.clone(),
        true => ScalarValue::try_from(data_type)?,
        false => value.cast_to(data_type)?,
    };
    let of_width = match &value {
        ScalarValue::FixedSizeBinary(16, None) => Some(oid::UUID),
        ScalarValue::FixedSizeBinary(12, None) => Some(oid::TIMETZ),
        _ => None,
    };
    // DataFusion takes NULLs of two widths for one expression, unless something else tells them apart
    let told = of_width.map(|oid| pgtype::field("", Ty::of(oid), data_type.clone()).metadata().clone().into());
    Ok(Lowered::Literal(value, told))
}

/// NOT of a comparison, a LIKE or a list as the reader would write it.
fn negated(of: Lowered) -> Lowered {
    match of {
        Lowered::Like(like) => Lowered::Like(Like { negated: !like.negated, ..like }),
        Lowered::InList(list) => Lowered::InList(InList { negated: !list.negated, ..list }),
        Lowered::IsNull(of) => Lowered::IsNotNull(of),
        Lowered::IsNotNull(of) => Lowered::IsNull(of),
        other => Lowered::Not(Box::new(other)),
    }
}

/// A function of the session takes its arguments as it wants them.
fn session_call(udf: Arc<ScalarUDF>, types: Vec<DataType>, arguments: Vec<Lowered>, e: &Expr) -> Result<Lowered> {
    let fields: Vec<_> = types.iter().map(|t| Arc::new(Field::new("", t.clone(), true))).collect();
    let wanted = datafusion::logical_expr::type_coercion::functions::fields_with_udf(&fields, udf.as_ref());
    let wanted = wanted.map_err(|error| {
        Error::new(ErrorKind::Unsupported, format!("function {} is not supported yet", udf.name()))
            .with_source(error)
            .at(e.at)
    })?;
    let each =
        arguments.into_iter().zip(&types).zip(&wanted).map(|((argument, from), to)| match from == to.data_type() {
            true => Ok(argument),
            false => compare::cast_expr(argument, to.data_type()),
        });
    let arguments = each.collect::<Result<Vec<_>>>()?;
    let fields: Vec<_> = wanted;
    let nothing = vec![None; fields.len()];
    let given = udf.return_field_from_args(datafusion::logical_expr::ReturnFieldArgs {
        arg_fields: &fields,
        scalar_arguments: &nothing,
    })?;
    let call = Lowered::ScalarFunction(ScalarFunction { func: udf, args: arguments });
    Ok(match *given.data_type() == e.data_type {
        true => call,
        false => special::lie(call, e.ty, given.data_type(), &e.data_type),
    })
}
