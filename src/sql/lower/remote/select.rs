//! One SELECT as it grows by the nodes of a plan from below: what fits into its clauses is put there, anything else makes a
//! derived table of it first.

use std::collections::BTreeSet;

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::logical_plan::{Aggregate, FetchType, Limit, Projection, SkipType, Sort, Union, Unnest};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};

use super::allowed;
use super::expr::Out;
use super::literal::type_name;
use super::{Functions, Push};
use crate::sql::functions::aggregate;
use crate::sql::lower::Once;

/// Columns that repeat long expressions more often than this become columns of a derived table.
const INLINE_BYTES_MAX: usize = 32 << 10;
/// Guesses, as PostgreSQL has them for what it knows nothing of.
const FILTERED: f64 = 1.0 / 3.0;
const GROUPED: f64 = 0.1;

#[derive(Clone)]
pub(super) struct Select {
    pub(super) source: usize,
    pub(super) tables: BTreeSet<u32>,
    pub(super) functions: Functions,
    pub(super) from: String,
    /// `from` is more than one item.
    pub(super) is_joined: bool,
    pub(super) filters: Vec<String>,
    /// `Some` of nothing: one row of aggregates.
    pub(super) groups: Option<Vec<String>>,
    pub(super) having: Vec<String>,
    pub(super) order: Vec<String>,
    pub(super) limit: Option<usize>,
    pub(super) offset: usize,
    pub(super) columns: Vec<Out>,
    pub(super) rows: Option<f64>,
}

impl Select {
    /// Rows of tables and nothing made of them.
    pub(super) fn is_open(&self) -> bool {
        self.groups.is_none() && self.is_unlimited()
    }

    fn is_unlimited(&self) -> bool {
        self.limit.is_none() && self.offset == 0
    }

    pub(super) fn is_ordered(&self) -> bool {
        !self.order.is_empty()
    }

    /// Exactly one row.
    pub(super) fn is_single(&self) -> bool {
        self.groups.as_ref().is_some_and(Vec::is_empty) && self.having.is_empty() && self.is_unlimited()
    }

    pub(super) fn size(&self) -> usize {
        let texts = self.filters.iter().chain(&self.having).chain(&self.order).chain(self.groups.iter().flatten());
        let columns: usize = self.columns.iter().map(|out| out.sql.len()).sum();
        self.from.len() + columns + texts.map(String::len).sum::<usize>()
    }

    pub(super) fn text(&self, columns: &[String]) -> String {
        let mut sql = format!("SELECT {} FROM {}", columns.join(", "), self.from);
        let mut clause = |word: &str, parts: &[String], by: &str| {
            if !parts.is_empty() {
                sql.push_str(&format!(" {word} {}", parts.join(by)));
            }
        };
        clause("WHERE", &self.filters, " AND ");
        match &self.groups {
            // where no aggregate is left that would say so
            Some(groups) if groups.is_empty() && self.columns.iter().any(|out| out.is_aggregate) => {}
            Some(groups) if groups.is_empty() => clause("GROUP BY", &["()".to_owned()], ""),
            Some(groups) => clause("GROUP BY", groups, ", "),
            None => {}
        }
        clause("HAVING", &self.having, " AND ");
        clause("ORDER BY", &self.order, ", ");
        if let Some(limit) = self.limit {
            sql.push_str(&format!(" LIMIT {limit}"));
        }
        if self.offset > 0 {
            sql.push_str(&format!(" OFFSET {}", self.offset));
        }
        sql
    }

    /// The same rows as a table under an alias.
    pub(super) fn derived(self, alias: &str) -> Self {
        let named: Vec<String> =
            self.columns.iter().enumerate().map(|(i, out)| format!("{} AS c{i}", out.sql)).collect();
        let from = format!("({}) AS {alias}", self.text(&named));
        let columns = self.columns.into_iter().enumerate();
        let columns = columns
            .map(|(i, out)| Out { sql: format!("{alias}.c{i}"), is_plain: true, is_aggregate: false, ..out })
            .collect();
        Self {
            from,
            is_joined: false,
            filters: vec![],
            groups: None,
            having: vec![],
            order: vec![],
            limit: None,
            offset: 0,
            columns,
            ..self
        }
    }
}

impl Push<'_> {
    fn nested(&self, select: Select) -> Select {
        select.derived(&self.alias())
    }

    /// `plan` over what stands for its inputs; `None` where it stays here.
    pub(super) fn printed(&self, plan: &LogicalPlan, below: &[Option<Select>]) -> Option<Select> {
        match (plan, below) {
            (LogicalPlan::TableScan(scan), []) => self.table(scan),
            // rows in an order stay so only where they are sorted here again: nothing is put above them
            (LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Limit(_), [Some(input)])
                if input.is_ordered() =>
            {
                None
            }
            (LogicalPlan::SubqueryAlias(_), [Some(input)]) => Some(input.clone()),
            // there it is computed at each place; nothing that is sent is volatile
            (LogicalPlan::Extension(other), [Some(input)]) if Once::of(other.node.as_ref()).is_some() => {
                (!input.is_ordered()).then(|| input.clone())
            }
            (LogicalPlan::Projection(projection), [Some(input)]) => self.projected(projection, input),
            (LogicalPlan::Filter(filter), [Some(input)]) => {
                let schema = filter.input.schema();
                let mut conjuncts = split_conjunction(&filter.predicate).into_iter();
                conjuncts.try_fold(input.clone(), |select, conjunct| self.filtered(&select, schema, conjunct))
            }
            (LogicalPlan::Aggregate(aggregate), [Some(input)]) => self.aggregated(aggregate, input),
            (LogicalPlan::Distinct(Distinct::All(of)), [Some(input)]) => {
                let select = if input.is_open() { input.clone() } else { self.nested(input.clone()) };
                (of.schema().fields().len() == select.columns.len()).then_some(())?;
                let groups = select.columns.iter().map(Out::grouped).collect::<Option<Vec<_>>>()?;
                (!groups.is_empty()).then_some(Select { groups: Some(groups), ..select })
            }
            (LogicalPlan::Sort(sort), [Some(input)]) => self.sorted(sort, input),
            (LogicalPlan::Limit(limit), [Some(input)]) => self.limited(limit, input),
            (LogicalPlan::Unnest(unnest), [Some(input)]) => fenced(unnest, input),
            (LogicalPlan::Join(join), [Some(left), Some(right)]) => self.joined(join, left, right),
            (LogicalPlan::Union(union), inputs) => self.together(union, inputs),
            _ => None,
        }
    }

    fn projected(&self, projection: &Projection, input: &Select) -> Option<Select> {
        let compute = |select: &Select| {
            let scope = self.scope(select, projection.input.schema());
            projection.expr.iter().map(|e| scope.expr(e)).collect::<Option<Vec<_>>>()
        };
        let columns = compute(input)?;
        let length = |columns: &[Out]| columns.iter().map(|out| out.sql.len()).sum::<usize>();
        if length(&columns) > INLINE_BYTES_MAX.max(2 * length(&input.columns)) && input.columns.iter().any(Out::is_made)
        {
            let select = self.nested(input.clone());
            let columns = compute(&select)?;
            return Some(Select { columns, ..select });
        }
        Some(Select { columns, ..input.clone() })
    }

    pub(super) fn filtered(&self, input: &Select, schema: &DFSchema, predicate: &Expr) -> Option<Select> {
        let mut select = input.clone();
        if !select.is_unlimited() {
            select = self.nested(select);
        }
        let condition = self.scope(&select, schema).value(predicate)?.sql;
        match &select.groups {
            None => select.filters.push(condition),
            Some(_) => select.having.push(condition),
        }
        select.rows = select.rows.map(|rows| (rows * FILTERED).max(1.0));
        Some(select)
    }

    fn aggregated(&self, node: &Aggregate, input: &Select) -> Option<Select> {
        let mut select = if input.is_open() { input.clone() } else { self.nested(input.clone()) };
        // of rows that were put in order for a limit the order is of no more use
        select.order.clear();
        if node.group_expr.is_empty() && node.aggr_expr.is_empty() {
            return None;
        }
        let scope = self.scope(&select, node.input.schema());
        let (mut columns, mut groups) = (vec![], vec![]);
        for group in &node.group_expr {
            let out = scope.expr(group)?;
            groups.push(out.grouped()?);
            columns.push(Out { is_plain: false, ..out });
        }
        for call in &node.aggr_expr {
            let out = scope.aggregate(call, &groups)?;
            columns.push(out);
        }
        let rows = if groups.is_empty() { Some(1.0) } else { select.rows.map(|rows| (rows * GROUPED).max(1.0)) };
        Some(Select { columns, groups: Some(groups), rows, ..select })
    }

    fn sorted(&self, sort: &Sort, input: &Select) -> Option<Select> {
        let fetch = sort.fetch?;
        let mut select = if input.is_unlimited() { input.clone() } else { self.nested(input.clone()) };
        let scope = self.scope(&select, sort.input.schema());
        let keys = sort.expr.iter().map(|key| {
            let by = scope.expr(&key.expr)?.ordered()?;
            let direction = if key.asc { "ASC" } else { "DESC" };
            let nulls = if key.nulls_first { "FIRST" } else { "LAST" };
            Some(format!("{by} {direction} NULLS {nulls}"))
        });
        select.order = keys.collect::<Option<Vec<_>>>()?;
        select.limit = Some(fetch);
        select.rows = select.rows.map(|rows| rows.min(fetch as f64));
        Some(select)
    }

    fn limited(&self, limit: &Limit, input: &Select) -> Option<Select> {
        let (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(fetch))) =
            (limit.get_skip_type(), limit.get_fetch_type())
        else {
            return None;
        };
        // one that cuts nothing stands there to hold up filters
        let fetch = fetch.filter(|fetch| *fetch <= i64::MAX as usize >> 2);
        let mut select = if input.is_unlimited() { input.clone() } else { self.nested(input.clone()) };
        if fetch == Some(1) && skip == 0 && select.is_single() {
            return Some(select);
        }
        select.limit = fetch;
        select.offset = skip;
        select.rows = match fetch {
            Some(fetch) => Some(select.rows.unwrap_or(f64::INFINITY).min(fetch as f64)),
            None => select.rows,
        };
        Some(select)
    }

    fn together(&self, union: &Union, inputs: &[Option<Select>]) -> Option<Select> {
        let selects: Vec<&Select> = inputs.iter().map(Option::as_ref).collect::<Option<_>>()?;
        let first = *selects.first()?;
        let mut tables = BTreeSet::new();
        let (mut arms, mut rows) = (vec![], Some(0.0));
        for select in &selects {
            if select.source != first.source || select.columns.len() != union.schema.fields().len() {
                return None;
            }
            let columns = select.columns.iter().zip(&first.columns).enumerate().map(|(i, (out, as_first))| {
                let same = out.key.is_none()
                    && as_first.key.is_none()
                    && out.ty.oid == as_first.ty.oid
                    && out.compares == as_first.compares;
                same.then(|| Some(format!("({})::{} AS c{i}", out.sql, type_name(out.ty.oid)?)))?
            });
            let columns = columns.collect::<Option<Vec<_>>>()?;
            arms.push(format!("({})", select.text(&columns)));
            tables.extend(select.tables.iter().copied());
            rows = rows.zip(select.rows).map(|(a, b)| a + b);
        }
        let alias = self.alias();
        let columns = first.columns.iter().enumerate().map(|(i, out)| Out {
            sql: format!("{alias}.c{i}"),
            is_plain: true,
            is_aggregate: false,
            is_there: false,
            ..out.clone()
        });
        let columns = columns.collect();
        let from = format!("({}) AS {alias}", arms.join(" UNION ALL "));
        let empty = first.clone().derived("");
        Some(Select { from, tables, columns, rows, ..empty })
    }
}

impl super::expr::Scope<'_> {
    /// A call of an aggregate; `groups`: what the rows are grouped by.
    fn aggregate(&self, call: &Expr, groups: &[String]) -> Option<Out> {
        let call = match call {
            Expr::Alias(alias) => alias.expr.as_ref(),
            other => other,
        };
        let Expr::AggregateFunction(call) = call else { return None };
        let params = &call.params;
        if !params.order_by.is_empty() || params.null_treatment.is_some() {
            return None;
        }
        let Some((proc, types, result)) = aggregate::of_udf(&call.func) else {
            return self.representative(&call.func, params, groups);
        };
        if !allowed::aggregate(proc, if proc.arguments.is_empty() { &[] } else { &types }, self.functions) {
            return None;
        }
        let mut arguments = vec![];
        for (argument, ty) in params.args.iter().zip(&types) {
            if proc.arguments.is_empty() {
                break;
            }
            let out = self.typed(argument, *ty)?;
            // which of equal values is shown is the least or the greatest of their bytes
            arguments.push(match proc.name {
                "min" | "max" => out.ordered()?,
                "count" if params.distinct => out.grouped()?,
                _ if out.key.is_none() => out.sql,
                _ => return None,
            });
        }
        let arguments = if proc.arguments.is_empty() { "*".to_owned() } else { arguments.join(", ") };
        let distinct = if params.distinct { "DISTINCT " } else { "" };
        let filter = match &params.filter {
            Some(filter) => format!(" FILTER (WHERE {})", self.value(filter)?.sql),
            None => String::new(),
        };
        let sql = format!("{}({distinct}{arguments}){filter}", proc.name);
        let compares = if allowed::is_text(result) { super::Compares::Bytes } else { super::Compares::Equality };
        Some(Out { compares, is_aggregate: true, ..Out::made(sql, result) })
    }

    /// `first_value` of what the rows are grouped by, whose values are all equal; and a count of rows.
    fn representative(
        &self,
        function: &datafusion::logical_expr::AggregateUDF,
        params: &datafusion::logical_expr::expr::AggregateFunctionParams,
        groups: &[String],
    ) -> Option<Out> {
        let [argument] = params.args.as_slice() else { return None };
        if params.filter.is_some() || params.distinct {
            return None;
        }
        match (function.name(), argument) {
            ("first_value", argument) => {
                let out = self.expr(argument)?;
                groups.contains(&out.sql).then_some(Out { is_plain: false, key: None, ..out })
            }
            ("count", Expr::Literal(ScalarValue::Int64(Some(1)), _)) => {
                let ty = crate::pgtype::Ty::INT8;
                Some(Out { is_aggregate: true, ..Out::made("count(*)".into(), ty) })
            }
            _ => None,
        }
    }
}

/// What holds up a condition that can fail: a list of one true, unnested. In one text the conditions stand where they stood.
fn fenced(unnest: &Unnest, input: &Select) -> Option<Select> {
    let mut select = input.clone();
    if !unnest.struct_type_columns.is_empty() || unnest.schema.fields().len() != select.columns.len() {
        return None;
    }
    for (index, _) in &unnest.list_type_columns {
        let out = select.columns.get_mut(*index)?;
        if out.key.as_deref() != Some(super::expr::FENCE) {
            return None;
        }
        out.key = None;
    }
    Some(select)
}
