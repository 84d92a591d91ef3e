//! Whether what a reflection stores answers a block of a query, and how: which stored columns, filtered by what is left of the
//! conditions, joined to what, grouped again, merged how. Pure: it looks at two blocks and at no data, no right and no clock.
//!
//! The rules are Goldstein's and Larson's (SIGMOD 2001, section 3): the stored rows hold all that are asked for; what is left
//! of the conditions can be asked of dimensions; groups are unions of stored groups; aggregates can be made of their parts to
//! the last digit. Sums and averages of floats cannot, since their last bit follows the order of the rows. Tables that the
//! query joins besides are joined to the stored groups: every row of a group meets the same rows of theirs. Tables that the
//! reflection joins besides must neither lose nor double rows.

mod answer;
mod joins;
pub(super) mod range;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{AggregateFunction, BinaryExpr};
use datafusion::logical_expr::{Expr, Operator, binary_expr};

pub use self::answer::Answer;
use self::answer::Beside;
use self::joins::Tables;
use self::range::implies;
use super::block::{Block, Definition, Rows, Stores, qualifier, table_in, tables_in};
use super::lossless::Lossless;
use crate::sql::lower::can_raise;
use crate::sql::lower::rollup::{self, Merge, SameSettings, Truncated, truncated};
use crate::types::ObjectId;

/// Why a reflection does not answer. No value of a statement is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyNot {
    Disabled,
    /// Nothing was stored yet.
    NotRefreshed,
    /// Its tables have changed since.
    Behind,
    /// Its tables are read as they are, and no staleness is allowed.
    Live,
    /// Older than the session allows.
    TooOld,
    /// Its own query is of a kind that nothing is matched with.
    Definition,
    /// It joins a table that the query does not, and a row may be without one of its rows, or have two.
    Joins,
    /// It was made to answer groups, or rows, and the other is asked for.
    Kind,
    /// It leaves rows out that the query asks for.
    Rows,
    /// It has no groups, and so a row where its table has none; the query groups.
    OneRow,
    /// A condition that can fail would be asked of other rows.
    Raises,
    /// An expression that is another one each time.
    Volatile,
    /// The query needs this column, or an expression of it, which is not stored.
    Column(String),
    /// The query needs this aggregate, which is not stored and cannot be made of what is.
    Aggregate(String),
    /// A column is stored in a form that is not read.
    Form,
    /// Another one has fewer rows.
    Larger,
    /// A scan needs a column or a row that it does not have.
    Lacks,
    /// A right on the table cannot be kept over what is stored.
    Right(&'static str),
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("it is disabled"),
            Self::NotRefreshed => f.write_str("it was not refreshed yet"),
            Self::Behind => f.write_str("its tables have changed since it was refreshed"),
            Self::Live => f.write_str("its tables have no versions, and lakegate.max_staleness is 0"),
            Self::TooOld => f.write_str("it is older than lakegate.max_staleness"),
            Self::Definition => f.write_str("its definition is of a kind from which nothing is answered yet"),
            Self::Joins => f.write_str(
                "it joins a table that the query does not, which may lose rows of the others or double them",
            ),
            Self::Kind => f.write_str("it stores groups, or rows, and the query needs the other"),
            Self::Rows => f.write_str("it leaves out rows that the query asks for"),
            Self::OneRow => f.write_str("it has a row where its table has none, and the query has groups"),
            Self::Raises => f.write_str("a condition that can fail would be asked of other rows"),
            Self::Volatile => f.write_str("the query has an expression that differs each time"),
            Self::Column(name) => write!(f, "column \"{name}\" is not stored as the query needs it"),
            Self::Aggregate(name) => write!(f, "{name} cannot be made of what is stored"),
            Self::Form => f.write_str("a column is stored in a form that is not read"),
            Self::Larger => f.write_str("another reflection has fewer rows"),
            Self::Lacks => f.write_str("it lacks columns or rows that the query reads"),
            Self::Right(why) => f.write_str(why),
        }
    }
}

/// What is asked of rows.
pub enum Asked<'a> {
    Groups(&'a Block),
    /// These expressions of each.
    Rows(&'a Rows),
}

impl<'a> Asked<'a> {
    pub fn rows(&self) -> &'a Rows {
        match self {
            Self::Groups(block) => &block.rows,
            Self::Rows(rows) => rows,
        }
    }

    fn by(&self) -> &'a [Expr] {
        match self {
            Self::Groups(block) => &block.by,
            Self::Rows(_) => &[],
        }
    }

    fn calls(&self) -> &'a [AggregateFunction] {
        match self {
            Self::Groups(block) => &block.calls,
            Self::Rows(_) => &[],
        }
    }

    /// All that it computes of rows.
    fn exprs(&self) -> Vec<&'a Expr> {
        let of_calls = self.calls().iter().flat_map(|call| {
            let params = &call.params;
            params.args.iter().chain(params.filter.as_deref()).chain(params.order_by.iter().map(|sort| &sort.expr))
        });
        let shown = match self {
            Self::Groups(_) => &[],
            Self::Rows(rows) => rows.columns.as_slice(),
        };
        self.by().iter().chain(of_calls).chain(shown.iter().map(|(_, e)| e)).collect()
    }
}

/// `columns`: the schema of the reflection's query. `known`: of what is stored. `same`: of its refresh and of the statement.
pub(crate) fn matched(
    asked: &Asked<'_>,
    definition: &Definition,
    columns: &DFSchema,
    known: &Lossless,
    same: SameSettings,
) -> Result<Answer, WhyNot> {
    let (rows, made) = (asked.rows(), definition.rows());
    match (definition, asked) {
        // rows of one table are offered where it is scanned
        (Definition::Display(made), _) if made.tables.len() == 1 => return Err(WhyNot::Kind),
        (Definition::Groups { .. }, Asked::Rows(_)) => return Err(WhyNot::Kind),
        (Definition::Display(_), Asked::Groups(_) | Asked::Rows(_)) | (Definition::Groups { .. }, Asked::Groups(_)) => {
        }
    }
    let tables = joins::tables(rows, made, known)?;
    if let Definition::Groups { block, columns: _ } = definition
        && block.by.is_empty()
        && !(asked.by().is_empty() && tables.beside.is_empty())
    {
        return Err(WhyNot::OneRow);
    }
    let is_joined = rows.tables.len() > 1 || made.tables.len() > 1;
    let mut matching = Matching {
        columns,
        tables: &tables,
        dimensions: vec![],
        measures: vec![],
        is_of_rows: matches!(definition, Definition::Display(_)),
        used: BTreeSet::new(),
    };
    let outer = || rows.tables.iter().filter_map(|table| table.outer.as_deref()).flatten();
    let exprs = asked.exprs();
    if rows.conjuncts.iter().chain(outer()).chain(exprs.iter().copied()).any(rollup::is_volatile) {
        return Err(WhyNot::Volatile);
    }
    // of joined rows what can fail may fail of others, and earlier
    if (is_joined || !made.conjuncts.is_empty()) && rows.conjuncts.iter().chain(outer()).any(can_raise) {
        return Err(WhyNot::Raises);
    }
    let fixed = |e: &Expr| rollup::is_fixed(e, same);
    let made_outer = || made.tables.iter().filter_map(|table| table.outer.as_deref()).flatten();
    let holds = |condition: &&Expr| fixed(condition) && implies(&rows.conjuncts, condition);
    if !tables.conditions.iter().all(holds) || !made_outer().all(fixed) {
        return Err(WhyNot::Rows);
    }
    matching.stores(definition, &fixed);
    let left = rows.conjuncts.iter().filter(|condition| !made.conjuncts.contains(condition));
    let conditions =
        left.map(|condition| matching.condition(&tables.by_one(condition))).collect::<Result<Vec<_>, _>>()?;
    let mut over = |e: &Expr| matching.over(&tables.by_one(e));
    let by = asked.by().iter().map(&mut over).collect::<Result<Vec<_>, _>>()?;
    let shape = match asked {
        Asked::Rows(rows) => {
            answer::Shape::Rows(rows.columns.iter().map(|(_, e)| over(e)).collect::<Result<Vec<_>, _>>()?)
        }
        Asked::Groups(query) => {
            let calls = query.calls.iter().map(|call| matching.call(&by_one(&tables, call)));
            answer::Shape::Groups { by, sets: query.sets.clone(), calls: calls.collect::<Result<Vec<_>, _>>()? }
        }
    };
    let beside = tables.beside.iter().map(|table| {
        let on = match &table.outer {
            None => None,
            Some(on) => Some(on.iter().map(|e| matching.over(&tables.by_one(e))).collect::<Result<Vec<_>, _>>()?),
        };
        Ok(Beside { named: qualifier(table.id), scan: table.scan.clone(), on })
    });
    let beside = beside.collect::<Result<Vec<_>, _>>()?;
    let mut reads: BTreeMap<ObjectId, BTreeSet<String>> =
        tables.stored.iter().map(|table| (table.id, BTreeSet::new())).collect();
    for column in rows.conjuncts.iter().chain(outer()).chain(exprs).flat_map(Expr::column_refs) {
        if let Some(of) = table_in(column).and_then(|table| reads.get_mut(&table)) {
            of.insert(column.name.clone());
        }
    }
    let groups = matching.dimensions.iter().map(|(at, e)| (*at, e.clone()));
    let calls_of = matching.measures.iter().map(|(at, call)| (*at, Expr::AggregateFunction(call.clone())));
    let made_by = groups.chain(calls_of).filter(|(at, _)| matching.used.contains(at)).collect();
    let of_stored = |e: &&Expr| tables_in(e).iter().all(|id| reads.contains_key(id));
    let asked = rows.conjuncts.iter().filter(of_stored).cloned().collect();
    let dimensions = matching.shown();
    let (columns, padded) = (matching.used, tables.padded.clone());
    Ok(Answer { columns, reads, padded, dimensions, asked, made_by, conditions, beside, shape })
}

/// With one column for all that are equal.
fn by_one(tables: &Tables<'_>, call: &AggregateFunction) -> AggregateFunction {
    let mut call = call.clone();
    let params = &mut call.params;
    params.args = params.args.iter().map(|e| tables.by_one(e)).collect();
    params.filter = params.filter.as_deref().map(|filter| Box::new(tables.by_one(filter)));
    for sort in &mut params.order_by {
        sort.expr = tables.by_one(&sort.expr);
    }
    call
}

struct Matching<'a> {
    columns: &'a DFSchema,
    tables: &'a Tables<'a>,
    dimensions: Vec<(usize, Expr)>,
    measures: Vec<(usize, AggregateFunction)>,
    /// What is stored is no groups.
    is_of_rows: bool,
    /// What has been read so far.
    used: BTreeSet<usize>,
}

impl Matching<'_> {
    /// What of `definition` can be read: `fixed` is what two computations are equal of.
    fn stores(&mut self, definition: &Definition, fixed: &dyn Fn(&Expr) -> bool) {
        let (block, columns) = match definition {
            Definition::Display(rows) => {
                let all = rows.columns.iter().enumerate().filter(|(_, (_, e))| fixed(e));
                self.dimensions = all.map(|(at, (_, e))| (at, self.tables.by_one(e))).collect();
                return;
            }
            Definition::Groups { block, columns } => (block, columns),
        };
        for (at, stores) in columns.iter().enumerate() {
            match stores {
                Stores::Dimension(of) => {
                    let e = &block.by[*of];
                    if fixed(e) && rollup::groups_as_it_lies(self.columns.field(at)) {
                        self.dimensions.push((at, self.tables.by_one(e)));
                    }
                }
                Stores::Measure(of) => {
                    let call = &block.calls[*of];
                    let params = &call.params;
                    let plain = !params.distinct && params.order_by.is_empty() && params.null_treatment.is_none();
                    if plain && params.args.iter().chain(params.filter.as_deref()).all(fixed) {
                        self.measures.push((at, by_one(self.tables, call)));
                    }
                }
                Stores::Other => {}
            }
        }
    }

    /// What each stored column holds of a row, by every column that it is equal to.
    fn shown(&self) -> Vec<(usize, Expr)> {
        let mut shown = vec![];
        for (at, e) in &self.dimensions {
            if let Expr::Column(column) = e {
                shown.extend(self.tables.others(column).map(|other| (*at, Expr::Column(other.clone()))));
            }
            shown.push((*at, e.clone()));
        }
        shown
    }

    fn read(&mut self, at: usize) -> Expr {
        self.used.insert(at);
        rollup::column(&name_of(at))
    }

    /// A condition of dimensions alone. One on a time that begins a unit is one on the time truncated to it.
    fn condition(&mut self, condition: &Expr) -> Result<Expr, WhyNot> {
        if let Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::GtEq | Operator::Lt), right }) = condition
            && let Expr::Literal(value, _) = right.as_ref()
        {
            let begins = |(_, known): &&(usize, Expr)| {
                truncated(known).is_some_and(|unit| unit.of == left.as_ref() && unit.begins(value))
            };
            if let Some(at) = self.dimensions.iter().find(begins).map(|(at, _)| *at) {
                return Ok(binary_expr(self.read(at), *op, right.as_ref().clone()));
            }
        }
        self.over(condition)
    }

    /// `expr` of dimensions alone.
    fn over(&mut self, expr: &Expr) -> Result<Expr, WhyNot> {
        let mut missing = None;
        let replaced = expr.clone().transform_down(|e| {
            if let Some(found) = self.dimension(&e) {
                return Ok(Transformed::new(found, true, TreeNodeRecursion::Jump));
            }
            if let Expr::Column(column) = &e
                && !self.tables.is_beside(column)
            {
                missing = Some(column.name.clone());
            }
            Ok(Transformed::no(e))
        });
        match (replaced, missing) {
            (_, Some(name)) => Err(WhyNot::Column(name)),
            (Ok(replaced), None) => Ok(replaced.data),
            (Err(_), None) => Err(WhyNot::Definition),
        }
    }

    /// The dimension that it is, or one that it can be truncated from.
    fn dimension(&mut self, expr: &Expr) -> Option<Expr> {
        if let Some(at) = self.dimensions.iter().find(|(_, known)| known == expr).map(|(at, _)| *at) {
            return Some(self.read(at));
        }
        let coarse = truncated(expr)?;
        let fine = |(at, known): &(usize, Expr)| {
            let finer: Truncated<'_> = truncated(known)?;
            (finer.of == coarse.of && coarse.is_made_of(&finer)).then_some(*at)
        };
        let at = self.dimensions.iter().find_map(fine)?;
        let value = self.read(at);
        Some(coarse.over(value))
    }

    fn call(&mut self, call: &AggregateFunction) -> Result<Expr, WhyNot> {
        let why = || WhyNot::Aggregate(call.func.name().to_owned());
        if self.is_of_rows {
            return self.of_dimensions(call);
        }
        let params = &call.params;
        if params.null_treatment.is_some() || !params.order_by.is_empty() {
            return Err(why());
        }
        let merge = rollup::merge(call).ok_or_else(why)?;
        // of a set of values it is no matter how many rows have each
        if params.distinct {
            return self.of_dimensions(call).map_err(|_| why());
        }
        let measure = self.measure(call, merge);
        match measure {
            Some(found) => self.filtered(call, found),
            None if merge == Merge::Itself => self.of_dimensions(call),
            None if merge == Merge::Count => self.count_of_dimension(call),
            None => Err(why()),
        }
        .map_err(|_| why())
    }

    /// What is stored of the same values. A filter that is stored with it is done.
    fn measure(&self, call: &AggregateFunction, merge: Merge) -> Option<Found> {
        let filters: &[Option<&Expr>] = match call.params.filter.as_deref() {
            None => &[None],
            Some(filter) => &[Some(filter), None],
        };
        for filter in filters {
            let is_stored = |of: Merge, same_call: bool| {
                let fits = |(_, stored): &&(usize, AggregateFunction)| {
                    rollup::merge(stored) == Some(of)
                        && stored.params.filter.as_deref() == *filter
                        && same_values(of, call, stored)
                        && (same_call && stored.func == call.func
                            || !same_call && (of == Merge::Count || rollup::takes_the_same(stored, call)))
                };
                self.measures.iter().find(fits).map(|(at, _)| *at)
            };
            let filter_is_done = filter.is_some();
            let found = match merge {
                Merge::Average => {
                    is_stored(Merge::Sum, false).zip(is_stored(Merge::Count, false)).map(|(sum, count)| {
                        let sums = self.columns.field(sum).data_type().clone();
                        (vec![sum, count], Some(sums))
                    })
                }
                Merge::Count => is_stored(Merge::Count, false).map(|at| (vec![at], None)),
                Merge::Sum | Merge::Itself => is_stored(merge, true).map(|at| (vec![at], None)),
            };
            if let Some((columns, sums)) = found {
                return Some(Found { columns, sums, filter_is_done });
            }
        }
        None
    }

    fn filtered(&mut self, call: &AggregateFunction, found: Found) -> Result<Expr, WhyNot> {
        let filter = match call.params.filter.as_deref() {
            Some(filter) if !found.filter_is_done => Some(self.over(filter)?),
            Some(_) | None => None,
        };
        let values = found.columns.iter().map(|at| self.read(*at)).collect();
        made_of_parts(call, values, found.sums.as_ref(), filter)
    }

    /// The call itself, over dimensions.
    fn of_dimensions(&mut self, call: &AggregateFunction) -> Result<Expr, WhyNot> {
        let mut call = call.clone();
        call.params.args = call.params.args.iter().map(|e| self.over(e)).collect::<Result<_, _>>()?;
        call.params.filter = match &call.params.filter {
            Some(filter) => Some(Box::new(self.over(filter)?)),
            None => None,
        };
        for sort in &mut call.params.order_by {
            sort.expr = self.over(&sort.expr)?;
        }
        Ok(Expr::AggregateFunction(call))
    }

    /// Rows of the groups in which the value is not NULL.
    fn count_of_dimension(&mut self, call: &AggregateFunction) -> Result<Expr, WhyNot> {
        let rows = |(_, stored): &&(usize, AggregateFunction)| {
            rollup::merge(stored) == Some(Merge::Count) && counts_rows(stored) && stored.params.filter.is_none()
        };
        let at = self.measures.iter().find(rows).map(|(at, _)| *at).ok_or(WhyNot::Definition)?;
        let mut conditions = vec![];
        for value in &call.params.args {
            conditions.push(self.over(value)?.is_not_null());
        }
        if let Some(filter) = &call.params.filter {
            conditions.push(self.over(filter)?);
        }
        let filter = conditions.into_iter().reduce(Expr::and);
        let value = self.read(at);
        made_of_parts(call, vec![value], None, filter)
    }
}

struct Found {
    columns: Vec<usize>,
    sums: Option<arrow::datatypes::DataType>,
    filter_is_done: bool,
}

fn made_of_parts(
    call: &AggregateFunction,
    values: Vec<Expr>,
    sums: Option<&arrow::datatypes::DataType>,
    filter: Option<Expr>,
) -> Result<Expr, WhyNot> {
    let made = rollup::of_parts(call, values, sums).map_err(|_| WhyNot::Form)?;
    let Expr::AggregateFunction(mut made) = made else { return Err(WhyNot::Form) };
    made.params.filter = filter.map(Box::new);
    Ok(Expr::AggregateFunction(made))
}

pub(crate) fn counts_rows(call: &AggregateFunction) -> bool {
    call.params.args.iter().all(rollup::is_not_null)
}

/// Counts of anything that is never NULL count rows.
pub(crate) fn same_values(of: Merge, a: &AggregateFunction, b: &AggregateFunction) -> bool {
    a.params.args == b.params.args || of == Merge::Count && counts_rows(a) && counts_rows(b)
}

/// What a stored column is called in an answer's plan.
fn name_of(at: usize) -> String {
    format!("stored{at}")
}
