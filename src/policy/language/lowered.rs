//! A typed line → DataFusion's expression over raw columns. What comes out goes straight to physical expressions: nothing
//! coerces, folds or resolves it again. A column that a table keeps otherwise than the language does stays bare where the
//! other side is a constant, so that sources understand the condition and files are pruned by it.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::{InList, Like, Placeholder};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, Operator};

use super::kept::Kept;
use super::literal;
use super::settle::{Meant, Typing};
use crate::pgtype;
use crate::policy::file::object::Mistake;
use crate::sql::expr::{ColumnId, Expr as Typed};
use crate::sql::lower;
use crate::sql::query::Column;

/// The columns of a table, and how it keeps each.
pub(super) struct Columns {
    pub(super) columns: Vec<Column>,
    kept: Vec<Kept>,
}

impl Columns {
    pub(super) fn of(schema: &arrow::datatypes::Schema) -> Self {
        let kept: Vec<Kept> = schema.fields().iter().map(|field| Kept::column(field)).collect();
        let named = schema.fields().iter().zip(&kept).enumerate();
        let columns = named.map(|(i, (field, kept))| Column {
            id: ColumnId(i),
            name: field.name().clone(),
            ty: kept.ty,
            data_type: kept.data_type.clone(),
        });
        Self { columns: columns.collect(), kept }
    }

    pub(super) fn find(&self, name: &str) -> Option<(&Column, &Kept)> {
        self.columns.iter().zip(&self.kept).find(|(column, _)| column.name == name)
    }

    /// `attributes` stand for the parameters of `typed`.
    pub(super) fn lowered(&self, typed: &Typed, attributes: &[Meant]) -> Typing<Expr> {
        let expr = lower::alone(typed, &self.columns).map_err(|e| Mistake::new(0, e.message().to_owned()))?;
        let placed = expr.transform_up(|node| {
            Ok(match node {
                Expr::Column(column) => match self.find(&column.name) {
                    Some((_, kept)) if kept.raw != kept.data_type => {
                        Transformed::yes(cast(Expr::Column(column), &kept.data_type))
                    }
                    _ => Transformed::no(Expr::Column(column)),
                },
                Expr::Placeholder(placeholder) => {
                    let number = placeholder.id.strip_prefix('$').and_then(|n| n.parse::<usize>().ok());
                    match number.and_then(|n| attributes.get(n.wrapping_sub(1))) {
                        Some(meant) => Transformed::yes(placed(meant)),
                        None => Transformed::no(Expr::Placeholder(placeholder)),
                    }
                }
                other => self.bare(other),
            })
        });
        placed.map(|placed| placed.data).map_err(|e| Mistake::new(0, e.to_string()))
    }

    /// The value as the table keeps a column.
    pub(super) fn stored(&self, expr: Expr, wanted: &Kept) -> Expr {
        if wanted.raw == wanted.data_type {
            return expr;
        }
        let column = || self.raw(&expr).filter(|(_, raw)| **raw == wanted.raw).map(|(column, _)| column.clone());
        match as_kept(&expr, &wanted.raw).or_else(column) {
            Some(expr) => expr,
            None => cast(expr, &wanted.raw),
        }
    }

    /// The column below the cast that makes the language's value of it, and how it lies.
    fn raw<'e>(&self, expr: &'e Expr) -> Option<(&'e Expr, &DataType)> {
        let Expr::Cast(Cast { expr, .. }) = expr else { return None };
        let Expr::Column(column) = expr.as_ref() else { return None };
        let (_, kept) = self.find(&column.name)?;
        Some((expr.as_ref(), &kept.raw))
    }

    fn bare(&self, node: Expr) -> Transformed<Expr> {
        let bare = match &node {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() || *op == Operator::NotEq => {
                self.bare_sides(left, *op, right)
            }
            Expr::InList(InList { expr, list, negated }) => self.raw(expr).and_then(|(column, raw)| {
                let list: Option<Vec<Expr>> = list.iter().map(|item| as_kept(item, raw)).collect();
                Some(Expr::InList(InList::new(Box::new(column.clone()), list?, *negated)))
            }),
            Expr::Like(Like { negated, expr, pattern, escape_char, case_insensitive }) => {
                self.raw(expr).and_then(|(column, raw)| {
                    let (column, pattern) = (Box::new(column.clone()), Box::new(as_kept(pattern, raw)?));
                    Some(Expr::Like(Like::new(*negated, column, pattern, *escape_char, *case_insensitive)))
                })
            }
            Expr::IsNull(of) => self.raw(of).map(|(column, _)| column.clone().is_null()),
            Expr::IsNotNull(of) => self.raw(of).map(|(column, _)| column.clone().is_not_null()),
            _ => None,
        };
        match bare {
            Some(bare) => Transformed::yes(bare),
            None => Transformed::no(node),
        }
    }

    fn bare_sides(&self, left: &Expr, op: Operator, right: &Expr) -> Option<Expr> {
        let (left, right) = match (self.raw(left), self.raw(right)) {
            (Some((l, raw)), Some((r, other))) if raw == other => (l.clone(), r.clone()),
            (Some((column, raw)), None) => (column.clone(), as_kept(right, raw)?),
            (None, Some((column, raw))) => (as_kept(left, raw)?, column.clone()),
            _ => return None,
        };
        Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
    }
}

fn cast(expr: Expr, to: &DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), to.clone()))
}

fn placed(meant: &Meant) -> Expr {
    let field = pgtype::field(&meant.id, meant.kept.ty, meant.kept.data_type.clone());
    Expr::Placeholder(Placeholder::new_with_field(meant.id.clone(), Some(Arc::new(field))))
}

/// A constant, or what will be one, as the table keeps it.
fn as_kept(expr: &Expr, raw: &DataType) -> Option<Expr> {
    match expr {
        Expr::Literal(value, metadata) => Some(Expr::Literal(literal::exact(value, raw)?, metadata.clone())),
        Expr::Placeholder(Placeholder { id, field: Some(field) }) => {
            let field = field.as_ref().clone().with_data_type(raw.clone());
            Some(Expr::Placeholder(Placeholder::new_with_field(id.clone(), Some(Arc::new(field)))))
        }
        _ => None,
    }
}
