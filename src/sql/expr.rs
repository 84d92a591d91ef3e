//! A typed expression: every node has its PostgreSQL type, and the Arrow type in which its values will lie. `bind` makes
//! them, `resolve` inserts the casts, `lower` makes DataFusion's expressions of them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;

use super::image::{Operator, Proc};
use super::query::{LevelId, Query};
use crate::pgtype::{self, Ty};

/// An expression, its type, and its place in the statement.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) kind: Kind,
    pub(crate) ty: Ty,
    /// How values lie: [`pgtype::arrow`]'s type, but for numerics of a known scale, nested arrays and records.
    pub(crate) data_type: DataType,
    /// One-based character position in the statement; 0 where there is none.
    pub(crate) at: usize,
}

/// A column of one relation in one place of a query, by a number that is unique within the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ColumnId(pub(crate) usize);

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A quoted literal that no place has typed yet.
    Unknown(String),
    /// Also every NULL that has a type.
    Constant(ScalarValue),
    /// `$n`, from 1.
    Parameter(usize),
    Column(ColumnId),
    /// A function, or the function of an operator or a cast. The arguments are already of its (solved) types; those of a
    /// VARIADIC "any" have their own.
    Call(Call),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    IsNull {
        of: Box<Expr>,
        negated: bool,
    },
    /// `IS TRUE` (`Some(true)`), `IS FALSE`, `IS UNKNOWN` (`None`).
    Is {
        of: Box<Expr>,
        value: Option<bool>,
        negated: bool,
    },
    /// `IS [NOT] DISTINCT FROM`, by the type's `=`.
    Distinct {
        equals: &'static Operator,
        left: Box<Expr>,
        right: Box<Expr>,
        negated: bool,
    },
    /// `left op ANY (array)` and `ALL`; `IN (list)` too, as ANY over a [`Kind::Array`].
    AnyOf {
        operator: &'static Operator,
        left: Box<Expr>,
        array: Box<Expr>,
        all: bool,
    },
    /// Conditions are boolean; `CASE x WHEN y` is bound as `x = y`, and `x` is computed once a row.
    Case {
        whens: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Coalesce(Vec<Expr>),
    NullIf {
        equals: &'static Operator,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `GREATEST` and `LEAST`, by the type's `>` or `<`.
    Extreme {
        of: Vec<Expr>,
        greatest: bool,
    },
    /// `ARRAY[…]`; elements are of one type, or arrays of it.
    Array(Vec<Expr>),
    Row(Vec<Expr>),
    /// A field of a record, by its place.
    Field {
        of: Box<Expr>,
        index: usize,
    },
    /// `a[i]`, `a[i][j]`: one number for each dimension.
    Subscript {
        of: Box<Expr>,
        indexes: Vec<Expr>,
    },
    /// `a[l:u]`.
    Slice {
        of: Box<Expr>,
        bounds: Vec<(Option<Expr>, Option<Expr>)>,
    },
    /// The same bytes under another type.
    Relabel(Box<Expr>),
    /// By the text of the value: output function, then input function.
    ByText {
        of: Box<Expr>,
        explicit: bool,
    },
    /// Each element through `each`, whose only column is [`ColumnId`] `element`.
    EachElement {
        of: Box<Expr>,
        element: ColumnId,
        each: Box<Expr>,
    },
    /// A set-returning function in a select list is a `Call` to a proc with `set`.
    Aggregate(Box<Aggregate>),
    Window(Box<Window>),
    /// `GROUPING(…)`: bits by place in the grouping columns.
    Grouping {
        of: Vec<Expr>,
        /// The SELECT whose groups are asked.
        level: LevelId,
    },
    Subquery {
        kind: SubqueryKind,
        query: Box<Query>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) proc: &'static Proc,
    pub(crate) arguments: Vec<Expr>,
    /// The last argument stands for all VARIADIC ones (`VARIADIC array`, or they were gathered into an array).
    pub(crate) variadic: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Aggregate {
    pub(crate) proc: &'static Proc,
    /// The SELECT over whose rows it is computed: the innermost one that its arguments read columns of.
    pub(crate) level: LevelId,
    /// Direct arguments before WITHIN GROUP first; `count(*)` has none.
    pub(crate) arguments: Vec<Expr>,
    pub(crate) distinct: bool,
    /// ORDER BY inside the call, or WITHIN GROUP's.
    pub(crate) order: Vec<Sort>,
    pub(crate) filter: Option<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    /// A window function, or an aggregate.
    pub(crate) proc: &'static Proc,
    pub(crate) arguments: Vec<Expr>,
    pub(crate) filter: Option<Expr>,
    pub(crate) partition: Vec<Expr>,
    pub(crate) order: Vec<Sort>,
    pub(crate) frame: Frame,
}

/// One key of an ORDER BY.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sort {
    pub(crate) by: Expr,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) units: FrameUnits,
    pub(crate) start: Bound,
    pub(crate) end: Bound,
    pub(crate) exclude: Exclude,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FrameUnits {
    Rows,
    Range,
    Groups,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Bound {
    UnboundedPreceding,
    /// int8 for ROWS and GROUPS; for RANGE of the type that `in_range` takes.
    Preceding(Box<Expr>),
    CurrentRow,
    Following(Box<Expr>),
    UnboundedFollowing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Exclude {
    NoOthers,
    CurrentRow,
    Group,
    Ties,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SubqueryKind {
    /// One column, at most one row (21000).
    Scalar,
    Exists,
    /// `left op ANY (query)` (IN is `= ANY`), `ALL`; rows compare by several operators.
    Any {
        left: Vec<Expr>,
        operators: Vec<&'static Operator>,
        all: bool,
    },
    /// `ARRAY(query)`.
    Array,
}

/// The same expression, wherever it stands.
impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.ty == other.ty && self.data_type == other.data_type && self.kind == other.kind
    }
}

impl Expr {
    /// Lying as the type's values do.
    pub(crate) fn new(kind: Kind, ty: Ty, at: usize) -> Self {
        let data_type = pgtype::arrow(ty.oid).unwrap_or(DataType::Utf8);
        Self { kind, ty, data_type, at }
    }

    pub(crate) fn lying(kind: Kind, ty: Ty, data_type: DataType, at: usize) -> Self {
        Self { kind, ty, data_type, at }
    }

    pub(crate) fn unknown(text: impl Into<String>, at: usize) -> Self {
        Self::new(Kind::Unknown(text.into()), Ty::UNKNOWN, at)
    }

    /// The untyped NULL of the grammar.
    pub(crate) fn null(at: usize) -> Self {
        Self::new(Kind::Constant(ScalarValue::Utf8(None)), Ty::UNKNOWN, at)
    }

    pub(crate) fn constant(value: ScalarValue, ty: Ty, at: usize) -> Self {
        let data_type = value.data_type();
        Self { kind: Kind::Constant(value), ty, data_type, at }
    }

    pub(crate) fn boolean(kind: Kind, at: usize) -> Self {
        Self::new(kind, Ty::BOOL, at)
    }

    pub(crate) fn is_null_constant(&self) -> bool {
        matches!(&self.kind, Kind::Constant(value) if value.is_null())
    }

    /// A call that gives rows.
    pub(crate) fn is_set(&self) -> bool {
        matches!(&self.kind, Kind::Call(call) if call.proc.set)
    }

    /// A column that holds its values.
    pub(crate) fn field(&self, name: &str) -> Arc<Field> {
        Arc::new(pgtype::field(name, self.ty, self.data_type.clone()))
    }

    /// Its operands, in the order in which they stand; not those inside subqueries' queries.
    pub(crate) fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            Kind::Unknown(_) | Kind::Constant(_) | Kind::Parameter(_) | Kind::Column(_) => vec![],
            Kind::Call(call) => call.arguments.iter().collect(),
            Kind::And(all) | Kind::Or(all) | Kind::Coalesce(all) | Kind::Array(all) | Kind::Row(all) => {
                all.iter().collect()
            }
            Kind::Extreme { of, .. } | Kind::Grouping { of, .. } => of.iter().collect(),
            Kind::Not(of) | Kind::Relabel(of) => vec![of],
            Kind::IsNull { of, .. } | Kind::Is { of, .. } | Kind::Field { of, .. } | Kind::ByText { of, .. } => {
                vec![of]
            }
            Kind::Distinct { left, right, .. } | Kind::NullIf { left, right, .. } => vec![left, right],
            Kind::AnyOf { left, array, .. } => vec![left, array],
            Kind::Case { whens, otherwise } => {
                whens.iter().flat_map(|(when, then)| [when, then]).chain(otherwise.as_deref()).collect()
            }
            Kind::Subscript { of, indexes } => std::iter::once(of.as_ref()).chain(indexes).collect(),
            Kind::Slice { of, bounds } => {
                let bounds = bounds.iter().flat_map(|(lower, upper)| lower.iter().chain(upper));
                std::iter::once(of.as_ref()).chain(bounds).collect()
            }
            Kind::EachElement { of, each, .. } => vec![of, each],
            Kind::Aggregate(a) => {
                a.arguments.iter().chain(a.order.iter().map(|s| &s.by)).chain(a.filter.as_ref()).collect()
            }
            Kind::Window(w) => {
                let bounds = [&w.frame.start, &w.frame.end].into_iter().filter_map(|b| match b {
                    Bound::Preceding(e) | Bound::Following(e) => Some(e.as_ref()),
                    Bound::UnboundedPreceding | Bound::CurrentRow | Bound::UnboundedFollowing => None,
                });
                let keys = w.partition.iter().chain(w.order.iter().map(|s| &s.by));
                w.arguments.iter().chain(w.filter.as_ref()).chain(keys).chain(bounds).collect()
            }
            Kind::Subquery { kind, .. } => match kind {
                SubqueryKind::Any { left, .. } => left.iter().collect(),
                SubqueryKind::Scalar | SubqueryKind::Exists | SubqueryKind::Array => vec![],
            },
        }
    }

    /// This, its operands and all that stands inside its subqueries.
    pub(crate) fn visit<'e>(&'e self, each: &mut dyn FnMut(&'e Expr)) {
        each(self);
        for child in self.children() {
            child.visit(each);
        }
        if let Kind::Subquery { query, .. } = &self.kind {
            for inner in query.expressions() {
                inner.visit(each);
            }
        }
    }

    /// As [`Self::children`].
    pub(crate) fn children_mut(&mut self) -> Vec<&mut Expr> {
        match &mut self.kind {
            Kind::Unknown(_) | Kind::Constant(_) | Kind::Parameter(_) | Kind::Column(_) => vec![],
            Kind::Call(call) => call.arguments.iter_mut().collect(),
            Kind::And(all) | Kind::Or(all) | Kind::Coalesce(all) | Kind::Array(all) | Kind::Row(all) => {
                all.iter_mut().collect()
            }
            Kind::Extreme { of, .. } | Kind::Grouping { of, .. } => of.iter_mut().collect(),
            Kind::Not(of) | Kind::Relabel(of) => vec![of],
            Kind::IsNull { of, .. } | Kind::Is { of, .. } | Kind::Field { of, .. } | Kind::ByText { of, .. } => {
                vec![of]
            }
            Kind::Distinct { left, right, .. } | Kind::NullIf { left, right, .. } => vec![left, right],
            Kind::AnyOf { left, array, .. } => vec![left, array],
            Kind::Case { whens, otherwise } => {
                whens.iter_mut().flat_map(|(when, then)| [when, then]).chain(otherwise.as_deref_mut()).collect()
            }
            Kind::Subscript { of, indexes } => std::iter::once(of.as_mut()).chain(indexes).collect(),
            Kind::Slice { of, bounds } => {
                let bounds = bounds.iter_mut().flat_map(|(lower, upper)| lower.iter_mut().chain(upper));
                std::iter::once(of.as_mut()).chain(bounds).collect()
            }
            Kind::EachElement { of, each, .. } => vec![of, each],
            Kind::Aggregate(a) => {
                let order = a.order.iter_mut().map(|s| &mut s.by);
                a.arguments.iter_mut().chain(order).chain(a.filter.as_mut()).collect()
            }
            Kind::Window(w) => {
                let bounds = [&mut w.frame.start, &mut w.frame.end].into_iter().filter_map(|b| match b {
                    Bound::Preceding(e) | Bound::Following(e) => Some(e.as_mut()),
                    Bound::UnboundedPreceding | Bound::CurrentRow | Bound::UnboundedFollowing => None,
                });
                let keys = w.partition.iter_mut().chain(w.order.iter_mut().map(|s| &mut s.by));
                w.arguments.iter_mut().chain(w.filter.as_mut()).chain(keys).chain(bounds).collect()
            }
            Kind::Subquery { kind, .. } => match kind {
                SubqueryKind::Any { left, .. } => left.iter_mut().collect(),
                SubqueryKind::Scalar | SubqueryKind::Exists | SubqueryKind::Array => vec![],
            },
        }
    }

    /// Whether this or any operand satisfies `is`; subqueries' own expressions are not looked at.
    pub(crate) fn any(&self, is: &impl Fn(&Expr) -> bool) -> bool {
        is(self) || self.children().into_iter().any(|child| child.any(is))
    }

    /// The first of this and its operands that satisfies `is`.
    pub(crate) fn first(&self, is: &impl Fn(&Expr) -> bool) -> Option<&Expr> {
        if is(self) { Some(self) } else { self.children().into_iter().find_map(|child| child.first(is)) }
    }
}
