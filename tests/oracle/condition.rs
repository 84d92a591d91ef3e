//! The filter language, read independently: conditions and formulas made by chance, spelt for a policy file and for SQL,
//! and evaluated over rows by three-valued logic. None of the policy's own code takes part.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::random::Dice;
use super::value::{Cell, Kind};

/// What users.toml declares, by name; all lists end in `s`.
pub const ATTRIBUTES: [(&str, Kind, bool); 6] = [
    ("region", Kind::Text, false),
    ("regions", Kind::Text, true),
    ("clearance", Kind::Int4, false),
    ("levels", Kind::Int4, true),
    ("active", Kind::Bool, false),
    ("since", Kind::Date, false),
];

/// One subject's values. An attribute that is absent has none; a list may be empty.
pub type Attributes = BTreeMap<&'static str, Vec<Cell>>;
/// A row by column.
pub type Named<'a> = &'a dyn Fn(&str) -> Cell;

#[derive(Clone, Debug, PartialEq)]
pub enum Formula {
    Column(String),
    Constant(Cell),
    Attribute(&'static str),
    Coalesce(Vec<Formula>),
    Concat(Vec<Formula>),
    Substr(Box<Formula>, usize, usize),
    Upper(Box<Formula>),
    Lower(Box<Formula>),
    Length(Box<Formula>),
    NullIf(Box<Formula>, Cell),
    Case(Box<Condition>, Box<Formula>, Box<Formula>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    Compare(Formula, &'static str, Formula),
    In(Formula, Vec<Formula>, bool),
    InList(Formula, &'static str, bool),
    Like(Formula, String, bool),
    Between(Formula, Formula, Formula, bool),
    IsNull(Formula, bool),
    StartsWith(Formula, String),
    Is(String),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
}

/// How attributes are spelt.
#[derive(Clone, Copy)]
pub enum Spelling<'a> {
    /// `user.x`, constants without a type: a line of policy.csv.
    Policy,
    /// Their values, typed: a statement. Only where the subject has them all.
    Sql(&'a Attributes),
}

impl Formula {
    pub fn spell(&self, how: Spelling<'_>) -> String {
        let all = |parts: &[Formula]| parts.iter().map(|p| p.spell(how)).collect::<Vec<_>>().join(", ");
        match self {
            Self::Column(name) => name.clone(),
            Self::Constant(cell) => match how {
                Spelling::Policy => cell.constant(),
                Spelling::Sql(_) => cell.sql(),
            },
            Self::Attribute(name) => match how {
                Spelling::Policy => format!("user.{name}"),
                Spelling::Sql(values) => values[name][0].sql(),
            },
            Self::Coalesce(parts) => format!("coalesce({})", all(parts)),
            Self::Concat(parts) => format!("concat({})", all(parts)),
            Self::Substr(text, from, count) => format!("substr({}, {from}, {count})", text.spell(how)),
            Self::Upper(text) => format!("upper({})", text.spell(how)),
            Self::Lower(text) => format!("lower({})", text.spell(how)),
            Self::Length(text) => format!("length({})", text.spell(how)),
            Self::NullIf(value, other) => {
                format!("nullif({}, {})", value.spell(how), Self::Constant(other.clone()).spell(how))
            }
            Self::Case(when, then, otherwise) => {
                format!("CASE WHEN {} THEN {} ELSE {} END", when.spell(how), then.spell(how), otherwise.spell(how))
            }
        }
    }

    pub fn columns(&self) -> Vec<String> {
        match self {
            Self::Column(name) => vec![name.clone()],
            Self::Constant(_) | Self::Attribute(_) => vec![],
            Self::Coalesce(parts) | Self::Concat(parts) => parts.iter().flat_map(Self::columns).collect(),
            Self::Substr(inner, ..)
            | Self::Upper(inner)
            | Self::Lower(inner)
            | Self::Length(inner)
            | Self::NullIf(inner, _) => inner.columns(),
            Self::Case(when, then, otherwise) => [when.columns(), then.columns(), otherwise.columns()].concat(),
        }
    }

    /// `None`: an attribute is missing.
    pub fn value(&self, row: Named<'_>, values: &Attributes) -> Option<Cell> {
        let text = |inner: &Formula, change: &dyn Fn(String) -> Cell| {
            Some(match inner.value(row, values)? {
                Cell::Text(text) => change(text),
                _ => Cell::Null,
            })
        };
        Some(match self {
            Self::Column(name) => row(name),
            Self::Constant(cell) => cell.clone(),
            Self::Attribute(name) => values.get(name)?.first()?.clone(),
            Self::Coalesce(parts) => {
                let parts = parts.iter().map(|p| p.value(row, values)).collect::<Option<Vec<_>>>()?;
                parts.into_iter().find(|c| *c != Cell::Null).unwrap_or(Cell::Null)
            }
            Self::Concat(parts) => {
                let parts = parts.iter().map(|p| p.value(row, values)).collect::<Option<Vec<_>>>()?;
                Cell::Text(parts.iter().map(Cell::text).collect())
            }
            Self::Substr(inner, from, count) => {
                text(inner, &|t| Cell::Text(t.chars().skip(from - 1).take(*count).collect()))?
            }
            Self::Upper(inner) => text(inner, &|t| Cell::Text(t.to_uppercase()))?,
            Self::Lower(inner) => text(inner, &|t| Cell::Text(t.to_lowercase()))?,
            Self::Length(inner) => text(inner, &|t| Cell::Int(t.chars().count() as i64))?,
            Self::NullIf(inner, other) => {
                let value = inner.value(row, values)?;
                if value == *other { Cell::Null } else { value }
            }
            Self::Case(when, then, otherwise) => {
                let (then, otherwise) = (then.value(row, values)?, otherwise.value(row, values)?);
                if when.truth(row, values)? == Some(true) { then } else { otherwise }
            }
        })
    }
}

impl Condition {
    pub fn columns(&self) -> Vec<String> {
        match self {
            Self::Compare(left, _, right) => [left, right].into_iter().flat_map(Formula::columns).collect(),
            Self::In(value, list, _) => std::iter::once(value).chain(list).flat_map(Formula::columns).collect(),
            Self::Between(value, low, high, _) => [value, low, high].into_iter().flat_map(Formula::columns).collect(),
            Self::InList(value, ..) | Self::Like(value, ..) | Self::IsNull(value, _) | Self::StartsWith(value, _) => {
                value.columns()
            }
            Self::Is(column) => vec![column.clone()],
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::columns).collect(),
            Self::Not(inner) => inner.columns(),
        }
    }

    pub fn spell(&self, how: Spelling<'_>) -> String {
        let not = |negated: &bool| if *negated { "NOT " } else { "" };
        match self {
            Self::Compare(left, op, right) => format!("{} {op} {}", left.spell(how), right.spell(how)),
            Self::In(value, list, negated) => {
                let list: Vec<String> = list.iter().map(|f| f.spell(how)).collect();
                format!("{} {}IN ({})", value.spell(how), not(negated), list.join(", "))
            }
            Self::InList(value, list, negated) => {
                let list = match how {
                    Spelling::Policy => format!("user.{list}"),
                    Spelling::Sql(values) => values[list].iter().map(Cell::sql).collect::<Vec<_>>().join(", "),
                };
                format!("{} {}IN ({list})", value.spell(how), not(negated))
            }
            Self::Like(value, pattern, negated) => format!("{} {}LIKE '{pattern}'", value.spell(how), not(negated)),
            Self::Between(value, low, high, negated) => {
                let (low, high) = (low.spell(how), high.spell(how));
                format!("{} {}BETWEEN {low} AND {high}", value.spell(how), not(negated))
            }
            Self::IsNull(value, negated) => format!("{} IS {}NULL", value.spell(how), not(negated)),
            Self::StartsWith(value, start) => format!("starts_with({}, '{start}')", value.spell(how)),
            Self::Is(column) => column.clone(),
            Self::All(parts) => joined(parts, " AND ", how),
            Self::Any(parts) => joined(parts, " OR ", how),
            Self::Not(inner) => format!("NOT ({})", inner.spell(how)),
        }
    }

    /// `None`: an attribute is missing or an empty list, so that the whole line is FALSE. `Some(None)`: unknown.
    pub fn truth(&self, row: Named<'_>, values: &Attributes) -> Option<Option<bool>> {
        let negate = |truth: Option<bool>, negated: bool| truth.map(|t| t != negated);
        Some(match self {
            Self::Compare(left, op, right) => {
                compare(&left.value(row, values)?, &right.value(row, values)?).map(|found| match *op {
                    "=" => found == Ordering::Equal,
                    "<>" => found != Ordering::Equal,
                    "<" => found == Ordering::Less,
                    "<=" => found != Ordering::Greater,
                    ">" => found == Ordering::Greater,
                    _ => found != Ordering::Less,
                })
            }
            Self::In(value, list, negated) => {
                let list = list.iter().map(|f| f.value(row, values)).collect::<Option<Vec<_>>>()?;
                negate(member(&value.value(row, values)?, &list), *negated)
            }
            Self::InList(value, list, negated) => {
                let list = values.get(list).filter(|v| !v.is_empty())?;
                negate(member(&value.value(row, values)?, list), *negated)
            }
            Self::Like(value, pattern, negated) => match value.value(row, values)? {
                Cell::Text(text) => Some(like(&text, pattern) != *negated),
                _ => None,
            },
            Self::Between(value, low, high, negated) => {
                let value = value.value(row, values)?;
                let (low, high) = (low.value(row, values)?, high.value(row, values)?);
                let low = compare(&value, &low).map(|o| o != Ordering::Less);
                let high = compare(&value, &high).map(|o| o != Ordering::Greater);
                negate(and([low, high]), *negated)
            }
            Self::IsNull(value, negated) => Some((value.value(row, values)? == Cell::Null) != *negated),
            Self::StartsWith(value, start) => match value.value(row, values)? {
                Cell::Text(text) => Some(text.starts_with(start.as_str())),
                _ => None,
            },
            Self::Is(column) => match row(column) {
                Cell::Bool(truth) => Some(truth),
                _ => None,
            },
            Self::All(parts) => and(parts.iter().map(|p| p.truth(row, values)).collect::<Option<Vec<_>>>()?),
            Self::Any(parts) => {
                let parts = parts.iter().map(|p| p.truth(row, values)).collect::<Option<Vec<_>>>()?;
                and(parts.into_iter().map(|t| t.map(|t| !t))).map(|t| !t)
            }
            Self::Not(inner) => inner.truth(row, values)?.map(|t| !t),
        })
    }
}

fn joined(parts: &[Condition], with: &str, how: Spelling<'_>) -> String {
    let parts: Vec<String> = parts.iter().map(|p| p.spell(how)).collect();
    format!("({})", parts.join(with))
}

fn compare(left: &Cell, right: &Cell) -> Option<Ordering> {
    (*left != Cell::Null && *right != Cell::Null).then(|| left.cmp(right))
}

fn and(parts: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let parts: Vec<Option<bool>> = parts.into_iter().collect();
    match (parts.contains(&Some(false)), parts.contains(&None)) {
        (true, _) => Some(false),
        (false, true) => None,
        (false, false) => Some(true),
    }
}

fn member(value: &Cell, list: &[Cell]) -> Option<bool> {
    (*value != Cell::Null).then(|| list.contains(value))
}

fn like(text: &str, pattern: &str) -> bool {
    match (text.chars().next(), pattern.chars().next()) {
        (_, None) => text.is_empty(),
        (_, Some('%')) => {
            let rest = &pattern[1..];
            like(text, rest) || (!text.is_empty() && like(&text[1..], pattern))
        }
        (Some(c), Some(p)) => (p == '_' || p == c) && like(&text[1..], &pattern[1..]),
        (None, Some(_)) => false,
    }
}

/// What conditions are made from: columns, and values that stand in them.
pub struct Ground<'a> {
    pub columns: &'a [(String, Kind)],
    pub cells: &'a dyn Fn(&mut Dice, &str) -> Cell,
    /// A dataset's lines use none: its copy is made by SQL, which has no word for a missing one.
    pub attributes: bool,
}

impl Ground<'_> {
    pub fn condition(&self, dice: &mut Dice, depth: usize) -> Condition {
        if depth > 0 && dice.chance(45) {
            let parts = (0..2).map(|_| self.condition(dice, depth - 1)).collect();
            return match dice.below(5) {
                0 => Condition::All(parts),
                1..=3 => Condition::Any(parts),
                _ => Condition::Not(Box::new(self.condition(dice, depth - 1))),
            };
        }
        if self.attributes && dice.chance(45) {
            return self.by_attribute(dice);
        }
        let (name, kind) = dice.pick(self.columns).clone();
        let column = Formula::Column(name.clone());
        if kind == Kind::Bool {
            return match dice.below(3) {
                0 => Condition::Is(name),
                1 => Condition::IsNull(column, dice.chance(50)),
                _ => Condition::Compare(column, "=", Formula::Constant(Cell::Bool(dice.chance(50)))),
            };
        }
        let constant = |dice: &mut Dice| Formula::Constant(self.value(dice, &name));
        let negated = dice.chance(70);
        match dice.below(if kind == Kind::Text { 10 } else { 6 }) {
            0 => Condition::IsNull(column, negated),
            1 => {
                let (a, b) = (self.value(dice, &name), self.value(dice, &name));
                let (low, high) = (a.clone().min(b.clone()), a.max(b));
                Condition::Between(column, Formula::Constant(low), Formula::Constant(high), negated)
            }
            2 => Condition::In(column, (0..dice.between(1, 3)).map(|_| constant(dice)).collect(), negated),
            3..=5 => Condition::Compare(column, *dice.pick(&["=", "<>", "<>", "<", "<=", ">", ">="]), constant(dice)),
            6 => Condition::Like(column, format!("{}%", self.start(dice, &name)), negated),
            7 => {
                let starts = Condition::StartsWith(column, self.start(dice, &name));
                if negated { Condition::Not(Box::new(starts)) } else { starts }
            }
            8 => {
                let other = Formula::Constant(Cell::Text("none".into()));
                Condition::Compare(Formula::Coalesce(vec![column, other]), *dice.pick(&["<", ">="]), constant(dice))
            }
            _ => Condition::Compare(
                Formula::Length(Box::new(column)),
                *dice.pick(&["<", ">="]),
                Formula::Constant(Cell::Int(dice.between(2, 12))),
            ),
        }
    }

    fn by_attribute(&self, dice: &mut Dice) -> Condition {
        let column = |dice: &mut Dice, kind: Kind| {
            let fitting: Vec<_> = self.columns.iter().filter(|(_, k)| *k == kind).collect();
            Formula::Column(dice.pick(&fitting).0.clone())
        };
        let region = || Formula::Column("region".into());
        match dice.below(8) {
            0 | 1 => Condition::Compare(region(), *dice.pick(&["=", "<>"]), Formula::Attribute("region")),
            2 | 3 => Condition::InList(region(), "regions", dice.chance(35)),
            4 => Condition::Compare(
                Formula::Column("level".into()),
                *dice.pick(&["<", "<=", ">="]),
                Formula::Attribute("clearance"),
            ),
            5 => Condition::InList(Formula::Column("level".into()), "levels", dice.chance(35)),
            6 => Condition::Compare(column(dice, Kind::Bool), "=", Formula::Attribute("active")),
            _ => Condition::Compare(column(dice, Kind::Date), *dice.pick(&["<", ">"]), Formula::Attribute("since")),
        }
    }

    /// Not NULL, which is no constant of the language.
    fn value(&self, dice: &mut Dice, column: &str) -> Cell {
        let drawn = (0..50).map(|_| (self.cells)(dice, column)).find(|c| *c != Cell::Null);
        let kind = self.columns.iter().find(|(name, _)| name == column).map(|(_, kind)| *kind);
        drawn.unwrap_or(match kind {
            Some(Kind::Text) => Cell::Text("none".into()),
            Some(Kind::Bool) => Cell::Bool(true),
            Some(Kind::Numeric) => Cell::Numeric(100),
            Some(Kind::Date) => Cell::Date(0),
            Some(Kind::Timestamp) => Cell::Timestamp(0),
            Some(Kind::Int4 | Kind::Int8) | None => Cell::Int(1),
        })
    }

    fn start(&self, dice: &mut Dice, column: &str) -> String {
        self.value(dice, column).text().chars().take(1).collect()
    }
}

#[test]
fn unknown_is_neither_and_a_missing_attribute_is_none() {
    let row = |name: &str| if name == "a" { Cell::Int(3) } else { Cell::Null };
    let compare =
        |column: &str, op, n| Condition::Compare(Formula::Column(column.into()), op, Formula::Constant(Cell::Int(n)));
    let none = Attributes::new();
    let check = |condition: Condition, expect| assert_eq!(condition.truth(&row, &none), expect, "{condition:?}");
    check(compare("a", "<", 4), Some(Some(true)));
    check(compare("b", "<", 4), Some(None));
    check(Condition::Not(Box::new(compare("b", "<", 4))), Some(None));
    check(Condition::Any(vec![compare("b", "=", 1), compare("a", "=", 3)]), Some(Some(true)));
    check(Condition::All(vec![compare("b", "=", 1), compare("a", "=", 4)]), Some(Some(false)));
    check(Condition::InList(Formula::Column("a".into()), "levels", true), None);
    check(
        Condition::Any(vec![compare("a", "=", 3), Condition::InList(Formula::Column("a".into()), "levels", false)]),
        None,
    );
    assert!(like("marlin", "m%l_n") && !like("marlin", "m_n"));
}
