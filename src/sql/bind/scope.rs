//! What names mean at one place of a statement: the relations of FROM by their aliases, the common table expressions, and
//! outside them those of the query around (parse_relation.c). It makes no expression but references.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast;

use super::Binder;
use super::name::folded;
use crate::error::{Error, Kind, Result};
use crate::pgtype::{Ty, oid};
use crate::sql::expr::{Expr, Kind as Node};
use crate::sql::query::{Column, CteId, LevelId, Query};

/// The one system column: the oid of a row's table.
const TABLEOID: &str = "tableoid";

/// Where an expression stands; messages name it (`ParseExprKindName`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Select,
    Where,
    Having,
    Filter,
    GroupBy,
    OrderBy,
    DistinctOn,
    JoinOn,
    FromFunction,
    FromSubquery,
    Limit,
    Offset,
    Values,
    WindowPartition,
    WindowOrder,
    WindowFrame,
    AggregateArgument,
    Update,
    MergeWhen,
    Returning,
}

impl Place {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Where => "WHERE",
            Self::Having => "HAVING",
            Self::Filter => "FILTER",
            Self::GroupBy => "GROUP BY",
            Self::OrderBy => "ORDER BY",
            Self::DistinctOn => "DISTINCT ON",
            Self::JoinOn => "JOIN conditions",
            Self::FromFunction => "functions in FROM",
            Self::FromSubquery => "FROM clause of their own query level",
            Self::Limit => "LIMIT",
            Self::Offset => "OFFSET",
            Self::Values => "VALUES",
            Self::WindowPartition => "window PARTITION BY",
            Self::WindowOrder => "window ORDER BY",
            Self::WindowFrame => "window frame",
            Self::AggregateArgument => "aggregate",
            Self::Update => "UPDATE",
            Self::MergeWhen => "MERGE WHEN conditions",
            Self::Returning => "RETURNING",
        }
    }
}

/// A relation of FROM as names see it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// `None`: a join without an alias, whose columns are found by bare names alone.
    pub(super) alias: Option<String>,
    /// Of a table that stands under its own name.
    pub(super) schema: Option<String>,
    pub(super) columns: Vec<Column>,
    /// Its columns are found by their bare names.
    pub(super) bare: bool,
    pub(super) side: Side,
    /// A function that gives one value: its name alone is the value.
    pub(super) scalar: bool,
    /// How many of its columns a star stands for, where not for all.
    pub(super) starred: Option<usize>,
    /// The name of the table that it is.
    pub(super) relation: Option<String>,
    /// The names of its row type's fields, where an alias renames the columns alone.
    pub(super) fields: Option<Vec<String>>,
    /// NULL where an outer join has no row of it.
    pub(super) present: Option<Column>,
    /// Of a table: what the system column of this name holds in each row.
    pub(super) tableoid: Option<u32>,
}

/// Whether a place beside a relation may read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Open,
    /// It stands in a RIGHT or FULL JOIN with the place.
    Joined,
    /// The place is not LATERAL.
    Hidden,
    /// A join that has an alias is known by this alone; errors tell of what is in it.
    Gone,
}

/// A CTE that may be named.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) id: CteId,
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    pub(super) references: Rc<Cell<usize>>,
    /// The query names itself here, the rows of its last round: how many columns it has without those of SEARCH and CYCLE,
    /// which a star does not stand for.
    pub(super) own: Option<usize>,
}

impl Item {
    /// `tableoid`, which no star stands for.
    fn tableoid(&self, at: usize) -> Option<Expr> {
        let value = ScalarValue::UInt32(Some(self.tableoid?));
        let own = Expr::constant(value, Ty::of(oid::OID), at);
        let Some(present) = &self.present else { return Some(own) };
        let (ty, data_type) = (own.ty, own.data_type.clone());
        let here = Node::IsNull { of: Box::new(present.expr(at)), negated: true };
        let whens = vec![(Expr::boolean(here, at), own)];
        Some(Expr::lying(Node::Case { whens, otherwise: None }, ty, data_type, at))
    }

    /// What a star stands for.
    pub(super) fn star(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().take(self.starred.unwrap_or(usize::MAX))
    }
}

#[derive(Debug)]
pub(super) struct Scope<'s> {
    pub(super) parent: Option<&'s Scope<'s>>,
    pub(super) items: Vec<Item>,
    pub(super) ctes: Vec<Named>,
    /// Items of a WITH that are bound only later, the next one last: errors tell of them.
    pub(super) later: Vec<String>,
    pub(super) place: Cell<Place>,
    /// Of a SELECT: which one.
    pub(super) level: Option<LevelId>,
    /// An aggregate of this level was met.
    pub(super) aggregates: Cell<bool>,
    /// Those in expressions of this level, as they were written.
    pub(super) subqueries: RefCell<Vec<(ast::Query, Query)>>,
    /// WINDOW w AS (…).
    pub(super) windows: RefCell<Vec<(String, ast::WindowSpec)>>,
}

impl<'s> Scope<'s> {
    pub(super) fn root() -> Self {
        Self {
            parent: None,
            items: vec![],
            ctes: vec![],
            later: vec![],
            place: Cell::new(Place::Select),
            level: None,
            aggregates: Cell::new(false),
            subqueries: RefCell::default(),
            windows: RefCell::default(),
        }
    }

    pub(super) fn inside(parent: &'s Scope<'s>) -> Self {
        Self { parent: Some(parent), ..Self::root() }
    }

    pub(super) fn of(parent: &'s Scope<'s>, items: Vec<Item>) -> Self {
        Self { parent: Some(parent), items, ..Self::root() }
    }

    /// Runs `work` with expressions standing at `place`.
    pub(super) fn at_place<T>(&self, place: Place, work: impl FnOnce() -> T) -> T {
        let before = self.place.replace(place);
        let done = work();
        self.place.set(before);
        done
    }

    pub(super) fn levels(&self) -> impl Iterator<Item = &Scope<'s>> {
        let mut next: Option<&Scope<'s>> = Some(self);
        std::iter::from_fn(move || {
            let this = next?;
            next = this.parent;
            Some(this)
        })
    }

    pub(super) fn cte(&self, name: &str) -> Option<&Named> {
        self.levels().find_map(|level| level.ctes.iter().rev().find(|cte| cte.name == name))
    }

    /// The innermost level that has a column which one of these reads; this one where none reads any.
    pub(super) fn owner<'x>(&'x self, of: &[&Expr]) -> &'x Scope<'s> {
        let mut read = vec![];
        for expr in of {
            expr.visit(&mut |e| {
                if let Node::Column(id) = e.kind {
                    read.push(id);
                }
            });
        }
        self.levels().find(|level| read.iter().any(|id| level.owns(*id))).unwrap_or(self)
    }

    /// Whether a column of this very level has that id.
    pub(super) fn owns(&self, id: crate::sql::expr::ColumnId) -> bool {
        self.items.iter().any(|item| item.columns.iter().any(|c| c.id == id))
    }
}

impl Binder<'_> {
    /// A bare name: a column, else a whole row. 42702 and 42703.
    pub(super) fn bare_name(&self, ident: &ast::Ident, scope: &Scope<'_>) -> Result<Expr> {
        let (name, at) = (folded(ident), self.at(ident.span));
        // reserved, so that without quotes it is no name
        if name == "default" && ident.quote_style.is_none() {
            return Err(Error::new(Kind::Syntax, "DEFAULT is not allowed in this context").at(at));
        }
        match self.bare_column(&name, at, scope)? {
            Some(found) => Ok(found),
            None => match self.whole_row(None, &name, at, scope)? {
                Some(row) => Ok(row),
                None => Err(undefined_column(&name, None, at, scope)),
            },
        }
    }

    pub(super) fn bare_column(&self, name: &str, at: usize, scope: &Scope<'_>) -> Result<Option<Expr>> {
        for level in scope.levels() {
            let columns = level.items.iter().filter(|i| i.bare && i.side == Side::Open).flat_map(|i| &i.columns);
            let mut found = columns.filter(|c| c.name == name);
            if let Some(first) = found.next() {
                if found.next().is_some() {
                    let text = format!("column reference \"{name}\" is ambiguous");
                    return Err(Error::new(Kind::AmbiguousColumn, text).at(at));
                }
                return Ok(Some(first.expr(at)));
            }
            let mut of_tables = level
                .items
                .iter()
                .filter(|i| name == TABLEOID && i.bare && i.side == Side::Open && i.tableoid.is_some());
            if let (Some(only), None) = (of_tables.next(), of_tables.next()) {
                return Ok(only.tableoid(at));
            }
        }
        Ok(None)
    }

    /// The item that a qualifier names.
    pub(super) fn item<'x>(
        &self,
        schema: Option<&str>,
        table: &str,
        at: usize,
        scope: &'x Scope<'_>,
    ) -> Result<Option<&'x Item>> {
        for level in scope.levels() {
            let named = |i: &&Item| {
                i.side != Side::Gone
                    && i.alias.as_deref() == Some(table)
                    && schema.is_none_or(|s| i.schema.as_deref() == Some(s))
            };
            let mut found = level.items.iter().filter(named);
            if let Some(first) = found.next() {
                if found.next().is_some() {
                    let text = format!("table reference \"{table}\" is ambiguous");
                    return Err(Error::new(Kind::AmbiguousAlias, text).at(at));
                }
                let text = format!("invalid reference to FROM-clause entry for table \"{table}\"");
                if first.side == Side::Joined {
                    let detail = "The combining JOIN type must be INNER or LEFT for a LATERAL reference.";
                    return Err(Error::new(Kind::InvalidColumnReference, text).with_detail(detail).at(at));
                }
                if first.side == Side::Hidden {
                    return Err(Error::new(Kind::UndefinedTable, text).with_hint(out_of_reach(table)).at(at));
                }
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    /// `t.c`, `s.t.c`, `d.s.t.c`.
    pub(super) fn qualified_name(&self, idents: &[ast::Ident], scope: &Scope<'_>) -> Result<Expr> {
        let at = idents.first().map_or(0, |i| self.at(i.span));
        let names: Vec<String> = idents.iter().map(folded).collect();
        let (schema, table, column) = match names.as_slice() {
            [table, column] => (None, table, column),
            [schema, table, column] | [_, schema, table, column] => (Some(schema.as_str()), table, column),
            _ => {
                let text = format!("improper qualified name (too many dotted names): {}", names.join("."));
                return Err(Error::new(Kind::Syntax, text).at(at));
            }
        };
        self.column_named(schema, table, column, at, scope)
    }

    /// A column of the relation that a qualifier names.
    pub(super) fn column_named(
        &self,
        schema: Option<&str>,
        table: &str,
        column: &str,
        at: usize,
        scope: &Scope<'_>,
    ) -> Result<Expr> {
        let Some(item) = self.item(schema, table, at, scope)? else {
            // a column of a record type needs parentheses, so this is a missing table
            return Err(missing_from(table, at, scope));
        };
        let mut found = item.columns.iter().filter(|c| c.name == column);
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one.expr(at)),
            (Some(_), Some(_)) => {
                let text = format!("column reference \"{column}\" is ambiguous");
                Err(Error::new(Kind::AmbiguousColumn, text).at(at))
            }
            (None, _) => {
                let system = item.tableoid(at).filter(|_| column == TABLEOID);
                system.ok_or_else(|| undefined_column(column, Some(table), at, scope))
            }
        }
    }

    /// `t.*` in the place of a value is the whole row.
    pub(super) fn row_named(&self, name: &ast::ObjectName, scope: &Scope<'_>) -> Result<Expr> {
        let at = self.at_of(name);
        let path = super::name::segments(name);
        let (schema, table) = match path.as_slice() {
            [table] => (None, table.as_str()),
            [schema, table] | [_, schema, table] => (Some(schema.as_str()), table.as_str()),
            _ => return Err(super::syntax_error("*", at)),
        };
        self.whole_row(schema, table, at, scope)?.ok_or_else(|| missing_from(table, at, scope))
    }

    /// A relation's name in the place of a value.
    fn whole_row(&self, schema: Option<&str>, table: &str, at: usize, scope: &Scope<'_>) -> Result<Option<Expr>> {
        let Some(item) = self.item(schema, table, at, scope)? else { return Ok(None) };
        if let (true, [only]) = (item.scalar, item.columns.as_slice()) {
            return Ok(Some(only.expr(at)));
        }
        let mut row = row_of(&item.columns, at);
        if let (Some(names), arrow::datatypes::DataType::Struct(fields)) = (&item.fields, &row.data_type) {
            let named = fields.iter().zip(names).map(|(field, name)| field.as_ref().clone().with_name(name));
            row.data_type = arrow::datatypes::DataType::Struct(named.collect::<Vec<_>>().into());
        }
        // one value, which compares as records do, and not field by field as a row that is written out
        let (ty, data_type) = (row.ty, row.data_type.clone());
        let row = Expr::lying(Node::Relabel(Box::new(row)), ty, data_type, at);
        let Some(present) = &item.present else { return Ok(Some(row)) };
        let (ty, data_type) = (row.ty, row.data_type.clone());
        let here = Node::IsNull { of: Box::new(present.expr(at)), negated: true };
        let whens = vec![(Expr::boolean(here, at), row)];
        Ok(Some(Expr::lying(Node::Case { whens, otherwise: None }, ty, data_type, at)))
    }
}

/// A record of these columns, its fields named as they are.
pub(super) fn row_of(columns: &[Column], at: usize) -> Expr {
    let fields = columns.iter().map(|c| crate::pgtype::field(&c.name, c.ty, c.data_type.clone()));
    let data_type = arrow::datatypes::DataType::Struct(fields.collect::<Vec<_>>().into());
    Expr::lying(Node::Row(columns.iter().map(|c| c.expr(at)).collect()), Ty::of(oid::RECORD), data_type, at)
}

fn undefined_column(name: &str, table: Option<&str>, at: usize, scope: &Scope<'_>) -> Error {
    let text = match table {
        Some(table) => format!("column {table}.{name} does not exist"),
        None => format!("column \"{name}\" does not exist"),
    };
    let error = Error::new(Kind::UndefinedColumn, text).at(at);
    match nearest(name, table, scope) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// `searchRangeTableForCol`: the one or two nearest names, within half the letters.
fn nearest(name: &str, table: Option<&str>, scope: &Scope<'_>) -> Option<String> {
    let mut best: Vec<(usize, String)> = vec![];
    for (depth, level) in scope.levels().enumerate() {
        for item in &level.items {
            let Some(alias) = item.alias.as_deref() else { continue };
            let far = table.map_or(0, |table| strsim::levenshtein(table, alias).min(4));
            if far == 0 && item.columns.iter().any(|column| column.name == name) {
                return Some(format!(
                    "There is a column named \"{name}\" in table \"{alias}\", but it cannot be referenced from this part of \
                     the query."
                ));
            }
            for column in &item.columns {
                let distance = strsim::levenshtein(name, &column.name) + far + depth;
                if distance <= 3 && distance * 2 <= name.len().max(1) + far * 2 {
                    best.push((distance, format!("\"{alias}.{}\"", column.name)));
                }
            }
        }
    }
    best.sort();
    let least = best.first()?.0;
    let near: Vec<_> = best.into_iter().filter(|(d, _)| *d == least).map(|(_, name)| name).collect();
    match near.as_slice() {
        [one] => Some(format!("Perhaps you meant to reference the column {one}.")),
        [one, two] => Some(format!("Perhaps you meant to reference the column {one} or the column {two}.")),
        _ => None,
    }
}

fn out_of_reach(table: &str) -> String {
    format!("There is an entry for table \"{table}\", but it cannot be referenced from this part of the query.")
}

/// 42P01 for a qualifier that is no relation of FROM (`errorMissingRTE`).
pub(super) fn missing_from(table: &str, at: usize, scope: &Scope<'_>) -> Error {
    let items = || scope.levels().flat_map(|level| &level.items);
    // a table that stands under another name
    let renamed = |item: &&Item| item.relation.as_deref() == Some(table) && item.alias.as_deref() != Some(table);
    let hint = match items().find(renamed) {
        Some(Item { alias: Some(alias), side: Side::Open, .. }) => {
            Some(format!("Perhaps you meant to reference the table alias \"{alias}\"."))
        }
        Some(Item { alias: Some(alias), .. }) => Some(out_of_reach(alias)),
        _ => items().any(|item| item.alias.as_deref() == Some(table)).then(|| out_of_reach(table)),
    };
    match hint {
        Some(hint) => {
            let text = format!("invalid reference to FROM-clause entry for table \"{table}\"");
            Error::new(Kind::UndefinedTable, text).with_hint(hint).at(at)
        }
        None => {
            let text = format!("missing FROM-clause entry for table \"{table}\"");
            Error::new(Kind::UndefinedTable, text).at(at)
        }
    }
}
