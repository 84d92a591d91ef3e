//! SEARCH and CYCLE: the columns that they add to a recursive query, made of its own (parse_cte.c, `analyzeCTE`;
//! rewriteSearchCycle.c).

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, Expr as Ast, Ident, SetExpr, TableFactor};

use super::Binder;
use super::name::{folded, segments};
use super::scope::Scope;
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, Ty};
use crate::sql::expr::{Expr, Kind as Node};
use crate::sql::parse::encoding::{self, Cycle, Search};
use crate::sql::query::Column;
use crate::sql::resolve::{common, operator};

/// `record[]`.
const RECORDS: u32 = 2287;

/// What a recursive query was given, if anything.
pub(super) struct Added<'a> {
    search: Option<Search<'a>>,
    cycle: Option<Cycle<'a>>,
}

/// A CYCLE's two values, of one type.
struct Marks {
    value: Expr,
    default: Expr,
}

impl<'a> Added<'a> {
    pub(super) fn of(query: &'a ast::Query) -> Self {
        Self { search: encoding::as_search(query), cycle: encoding::as_cycle(query) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.search.is_none() && self.cycle.is_none()
    }

    /// The names of the columns, in their order.
    pub(super) fn names(&self) -> Vec<String> {
        let search = self.search.iter().map(|search| search.sequence);
        search.chain(self.cycle.iter().flat_map(|cycle| [cycle.mark, cycle.path])).map(folded).collect()
    }
}

impl Binder<'_> {
    /// Faults of the clauses over a query of these columns.
    pub(super) fn check_added(&self, added: &Added<'_>, columns: &[Column]) -> Result<()> {
        let has = |name: &str| columns.iter().any(|c| c.name == name);
        let listed = |what: &str, list: &[&Ident], at: usize| {
            for (i, column) in list.iter().enumerate() {
                let name = folded(column);
                if !has(&name) {
                    let text = format!("{what} column \"{name}\" not in WITH query column list");
                    return Err(Error::new(Kind::Syntax, text).at(at));
                }
                if list.iter().take(i).any(|other| folded(other) == name) {
                    let text = format!("{what} column \"{name}\" specified more than once");
                    return Err(Error::new(Kind::DuplicateColumn, text).at(at));
                }
            }
            Ok(())
        };
        let unused = |what: &str, name: &Ident, at: usize| match folded(name) {
            name if has(&name) => {
                let text = format!("{what} column name \"{name}\" already used in WITH query column list");
                Err(Error::new(Kind::Syntax, text).at(at))
            }
            _ => Ok(()),
        };
        let differ = |a: (&str, &Ident), b: (&str, &Ident), at: usize| match folded(a.1) == folded(b.1) {
            true => {
                let text = format!("{} column name and {} column name are the same", a.0, b.0);
                Err(Error::new(Kind::Syntax, text).at(at))
            }
            false => Ok(()),
        };
        if let Some(search) = &added.search {
            let at = self.at(search.span);
            listed("search", &search.columns, at)?;
            unused("search sequence", search.sequence, at)?;
        }
        if let Some(cycle) = &added.cycle {
            let at = self.at(cycle.span);
            listed("cycle", &cycle.columns, at)?;
            unused("cycle mark", cycle.mark, at)?;
            unused("cycle path", cycle.path, at)?;
            differ(("cycle mark", cycle.mark), ("cycle path", cycle.path), at)?;
        }
        if let (Some(search), Some(cycle)) = (&added.search, &added.cycle) {
            let (at, sequence) = (self.at(search.span), ("search sequence", search.sequence));
            differ(sequence, ("cycle mark", cycle.mark), at)?;
            differ(sequence, ("cycle path", cycle.path), at)?;
        }
        Ok(())
    }

    /// The added columns of the first term, whose own are `columns`.
    pub(super) fn added_first(&self, added: &Added<'_>, columns: &[Column], scope: &Scope<'_>) -> Result<Vec<Expr>> {
        let given: Vec<Expr> = columns.iter().map(|c| c.expr(0)).collect();
        let mut made = vec![];
        if let Some(search) = &added.search {
            let row = self.row_of_named(&search.columns, columns, &given);
            made.push(match search.depth_first {
                true => records(row),
                false => self.leveled(Expr::constant(ScalarValue::Int64(Some(0)), Ty::INT8, 0), row),
            });
        }
        if let Some(cycle) = &added.cycle {
            made.push(self.marks(cycle, scope)?.default);
            made.push(records(self.row_of_named(&cycle.columns, columns, &given)));
        }
        Ok(made)
    }

    /// The added columns of a step that gives `given` for `columns`, from those of the row that it goes on from.
    pub(super) fn added_step(
        &self,
        added: &Added<'_>,
        columns: &[Column],
        given: &[Expr],
        before: &[Expr],
        scope: &Scope<'_>,
    ) -> Result<Vec<Expr>> {
        let mut before = before.iter().cloned();
        let mut next = || before.next().ok_or_else(|| Error::internal("an added column is gone"));
        let mut made = vec![];
        if let Some(search) = &added.search {
            let (row, sequence) = (self.row_of_named(&search.columns, columns, given), next()?);
            made.push(match (search.depth_first, &sequence.data_type) {
                (false, DataType::Struct(fields)) => {
                    let field = fields.first().ok_or_else(|| Error::internal("a level without a number"))?;
                    let (ty, data_type) = (Ty::INT8, field.data_type().clone());
                    let level = Expr::lying(Node::Field { of: Box::new(sequence), index: 0 }, ty, data_type, 0);
                    let one = Expr::constant(ScalarValue::Int64(Some(1)), Ty::INT8, 0);
                    self.leveled(operator::binary(self.cx, "+", level, one, 0)?, row)
                }
                _ => self.call("array_append", vec![sequence, row], 0)?,
            });
        }
        if let Some(cycle) = &added.cycle {
            let row = self.row_of_named(&cycle.columns, columns, given);
            // the mark before is asked in the step's WHERE
            next()?;
            let path = next()?;
            let Marks { value, default } = self.marks(cycle, scope)?;
            let met = operator::any_of(self.cx, "=", row.clone(), path.clone(), false, 0)?;
            let (ty, data_type) = (default.ty, default.data_type.clone());
            let case = Node::Case { whens: vec![(met, value)], otherwise: Some(Box::new(default)) };
            made.push(Expr::lying(case, ty, data_type, 0));
            made.push(self.call("array_append", vec![path, row], 0)?);
        }
        Ok(made)
    }

    /// The step with the added columns of the row it goes on from behind its own, from rows that close no cycle.
    pub(super) fn widened(&self, added: &Added<'_>, first: &SetExpr, step: &SetExpr, name: &str) -> Result<SetExpr> {
        let refused = |text: String| Err(Error::new(Kind::Unsupported, text));
        if !matches!(unwrapped(first), SetExpr::Select(_) | SetExpr::Values(_)) {
            return refused("with a SEARCH or CYCLE clause, the left side of the UNION must be a SELECT".to_owned());
        }
        let select = match unwrapped(step) {
            SetExpr::Select(select) => select,
            // a WITH of its own stands between
            SetExpr::Query(_) => {
                return refused(top_level(name));
            }
            _ => {
                let text = "with a SEARCH or CYCLE clause, the right side of the UNION must be a SELECT";
                return Err(Error::new(Kind::Syntax, text));
            }
        };
        let Some(alias) = select.from.iter().find_map(|part| reference(part, name)) else {
            return refused(top_level(name));
        };
        let quoted = |name: &str| Ident::with_quote('"', name);
        let column = |name: &str| Ast::CompoundIdentifier(vec![quoted(&alias), quoted(name)]);
        let mut select = select.clone();
        let extra = added.names().into_iter().map(|name| ast::SelectItem::UnnamedExpr(column(&name)));
        select.projection.extend(extra);
        if let Some(cycle) = &added.cycle {
            let open = Ast::BinaryOp {
                left: Box::new(column(&folded(cycle.mark))),
                op: BinaryOperator::NotEq,
                right: Box::new(cycle.value.clone()),
            };
            select.selection = Some(match select.selection.take() {
                Some(condition) => {
                    Ast::BinaryOp { left: Box::new(condition), op: BinaryOperator::And, right: Box::new(open) }
                }
                None => open,
            });
        }
        Ok(SetExpr::Select(select))
    }

    fn marks(&self, cycle: &Cycle<'_>, scope: &Scope<'_>) -> Result<Marks> {
        let both = vec![self.expr(cycle.value, scope)?, self.expr(cycle.default, scope)?];
        let (both, ..) = common::to_common(self.cx, both, "CYCLE")?;
        let mut both = both.into_iter();
        match (both.next(), both.next()) {
            (Some(value), Some(default)) => {
                self.comparable(&value, "=")?;
                Ok(Marks { value, default })
            }
            _ => Err(Error::internal("two values of a CYCLE")),
        }
    }

    fn row_of_named(&self, names: &[&Ident], columns: &[Column], given: &[Expr]) -> Expr {
        let of = |name: &&Ident| {
            let name = folded(name);
            columns.iter().position(|c| c.name == name).and_then(|i| given.get(i)).cloned()
        };
        self.row_of_exprs(names.iter().filter_map(of).collect(), 0)
    }

    /// A row behind the number of its level.
    fn leveled(&self, level: Expr, row: Expr) -> Expr {
        let mut fields = vec![level];
        if let Node::Row(rest) = row.kind {
            fields.extend(rest);
        }
        self.row_of_exprs(fields, 0)
    }
}

fn top_level(name: &str) -> String {
    format!(
        "with a SEARCH or CYCLE clause, the recursive reference to WITH query \"{name}\" must be at the top level of its \
         right-hand SELECT"
    )
}

/// Without parentheses.
fn unwrapped(body: &SetExpr) -> &SetExpr {
    match body {
        SetExpr::Query(query) if query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() => {
            unwrapped(&query.body)
        }
        other => other,
    }
}

/// An array of one row.
fn records(row: Expr) -> Expr {
    let item = pgtype::field("item", row.ty, row.data_type.clone());
    Expr::lying(Node::Array(vec![row]), Ty::of(RECORDS), DataType::List(item.into()), 0)
}

/// What a relation of that name is called in FROM.
fn reference(part: &ast::TableWithJoins, name: &str) -> Option<String> {
    let factors = std::iter::once(&part.relation).chain(part.joins.iter().map(|join| &join.relation));
    factors.into_iter().find_map(|factor| match factor {
        TableFactor::Table { name: table, alias, args: None, .. } if segments(table) == [name] => {
            Some(alias.as_ref().map_or_else(|| name.to_owned(), |alias| folded(&alias.name)))
        }
        TableFactor::NestedJoin { table_with_joins, alias: None } => reference(table_with_joins, name),
        _ => None,
    })
}
