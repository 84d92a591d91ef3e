//! Which records of a topic a statement sees, and which of them a filter leaves. Pure: offsets in, offsets out.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::columns::{OFFSET, PARTITION, TIMESTAMP};

/// Offsets `start..end` of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub partition: i32,
    pub start: i64,
    pub end: i64,
}

/// What filters say about where records lie. Rows outside do not match; rows inside may or may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Ascending; `None` = all.
    partitions: Option<Vec<i32>>,
    /// Both inclusive.
    offsets: (i64, i64),
    /// No record before this moment, in microseconds.
    pub(super) since: Option<i64>,
}

impl Bounds {
    /// Of all filters together. What is not understood bounds nothing.
    pub(super) fn of<'a>(filters: impl IntoIterator<Item = &'a Expr>) -> Self {
        let mut bounds = Self::default();
        for filter in filters {
            bounds.add(filter);
        }
        bounds
    }

    /// The filter bounds something.
    pub(super) fn understood(filter: &Expr) -> bool {
        Self::of([filter]) != Self::default()
    }

    /// The filter is what it bounds: the records inside match, and no others.
    pub(super) fn exact(filter: &Expr) -> bool {
        let about =
            |expr: &Expr| matches!(expr, Expr::Column(column) if [OFFSET, PARTITION].contains(&column.name.as_str()));
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => Self::exact(left) && Self::exact(right),
            Expr::BinaryExpr(BinaryExpr { left, right, .. }) => {
                (about(left) || about(right)) && Self::understood(filter)
            }
            Expr::Between(between) => about(&between.expr) && Self::understood(filter),
            Expr::InList(list) => about(&list.expr) && Self::understood(filter),
            _ => false,
        }
    }

    /// The part of the window that may match; empty spans are left out.
    pub(super) fn narrow(&self, window: &[Span]) -> Vec<Span> {
        let (low, high) = self.offsets;
        let wanted = |span: &&Span| self.partitions.as_ref().is_none_or(|p| p.contains(&span.partition));
        let cut = |span: &Span| Span { start: span.start.max(low), end: span.end.min(high.saturating_add(1)), ..*span };
        window.iter().filter(wanted).map(cut).filter(|span| span.start < span.end).collect()
    }

    fn add(&mut self, filter: &Expr) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.add(left);
                self.add(right);
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
                (Expr::Column(column), Expr::Literal(value, _)) => self.compare(&column.name, *op, value),
                (Expr::Literal(value, _), Expr::Column(column)) => {
                    if let Some(op) = op.swap() {
                        self.compare(&column.name, op, value);
                    }
                }
                _ => {}
            },
            Expr::Between(Between { expr, negated: false, low, high }) => {
                if let (Expr::Column(column), Expr::Literal(low, _), Expr::Literal(high, _)) =
                    (&**expr, &**low, &**high)
                {
                    self.compare(&column.name, Operator::GtEq, low);
                    self.compare(&column.name, Operator::LtEq, high);
                }
            }
            Expr::InList(InList { expr, list, negated: false }) => {
                let value = |e: &Expr| if let Expr::Literal(ScalarValue::Int32(v), _) = e { *v } else { None };
                if let Expr::Column(column) = &**expr
                    && column.name == PARTITION
                    && let Some(values) = list.iter().map(value).collect::<Option<Vec<_>>>()
                {
                    self.keep(&values);
                }
            }
            _ => {}
        }
    }

    fn compare(&mut self, column: &str, op: Operator, value: &ScalarValue) {
        match (column, value) {
            (PARTITION, ScalarValue::Int32(Some(value))) if op == Operator::Eq => self.keep(&[*value]),
            (OFFSET, ScalarValue::Int64(Some(value))) => {
                let (low, high) = match op {
                    Operator::Eq => (*value, *value),
                    Operator::Gt => (value.saturating_add(1), i64::MAX),
                    Operator::GtEq => (*value, i64::MAX),
                    Operator::Lt => (i64::MIN, value.saturating_sub(1)),
                    Operator::LtEq => (i64::MIN, *value),
                    _ => return,
                };
                self.offsets = (self.offsets.0.max(low), self.offsets.1.min(high));
            }
            // Only a lower bound: producers may set timestamps, so later records may be older.
            (TIMESTAMP, ScalarValue::TimestampMicrosecond(Some(value), Some(_)))
                if matches!(op, Operator::Eq | Operator::Gt | Operator::GtEq) =>
            {
                self.since = Some(self.since.map_or(*value, |since| since.max(*value)));
            }
            _ => {}
        }
    }

    /// A second condition on the partition keeps what both keep.
    fn keep(&mut self, values: &[i32]) {
        let mut partitions = match self.partitions.take() {
            Some(partitions) => partitions.into_iter().filter(|p| values.contains(p)).collect(),
            None => values.to_vec(),
        };
        partitions.sort_unstable();
        partitions.dedup();
        self.partitions = Some(partitions);
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self { partitions: None, offsets: (i64::MIN, i64::MAX), since: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{col, lit};

    #[test]
    fn filters_narrow_the_window_and_never_too_far() {
        let span = |partition, start, end| Span { partition, start, end };
        let window = [span(0, 10, 20), span(1, 0, 5), span(2, 7, 7)];
        let check = |filter: Expr, expect: &[(i32, i64, i64)]| {
            let got = Bounds::of([&filter]).narrow(&window);
            let got: Vec<_> = got.iter().map(|s| (s.partition, s.start, s.end)).collect();
            assert_eq!(got, expect, "{filter}");
        };
        let all: &[(i32, i64, i64)] = &[(0, 10, 20), (1, 0, 5)];
        check(col("_partition").eq(lit(0i32)), &[(0, 10, 20)]);
        check(col("_partition").in_list(vec![lit(1i32), lit(2i32), lit(9i32)], false), &[(1, 0, 5)]);
        check(col("_partition").eq(lit(0i32)).and(col("_partition").eq(lit(1i32))), &[]);
        check(col("_partition").eq(lit(0i64)), all);
        check(col("_partition").not_eq(lit(0i32)), all);
        check(col("_partition").in_list(vec![lit(1i32)], true), all);
        check(col("_offset").gt(lit(3i64)), &[(0, 10, 20), (1, 4, 5)]);
        check(lit(12i64).gt_eq(col("_offset")), &[(0, 10, 13), (1, 0, 5)]);
        check(col("_offset").between(lit(4i64), lit(10i64)), &[(0, 10, 11), (1, 4, 5)]);
        check(col("_offset").eq(lit(4i64)), &[(1, 4, 5)]);
        check(col("_offset").gt(lit(i64::MAX)), &[]);
        check(col("_offset").lt(lit(i64::MIN)), &[]);
        check(col("_offset").eq(lit(4i64)).or(col("id").eq(lit(1i64))), all);
        check(col("id").eq(lit(4i64)), all);
    }

    #[test]
    fn a_timestamp_bounds_from_below_only() {
        let at = |micros| lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
        let check = |filter: Expr, expect| assert_eq!(Bounds::of([&filter]).since, expect, "{filter}");
        check(col("_timestamp").gt_eq(at(5)), Some(5));
        check(col("_timestamp").gt(at(5)).and(col("_timestamp").eq(at(7))), Some(7));
        check(col("_timestamp").lt(at(5)), None);
        check(col("_timestamp").gt_eq(at(5)).or(col("_offset").eq(lit(1i64))), None);
        assert!(!Bounds::understood(&col("_timestamp").lt(at(5))));
        assert!(!Bounds::exact(&col("_timestamp").gt(at(5))));
        assert!(Bounds::exact(&col("_partition").eq(lit(0i32)).and(col("_offset").gt(lit(3i64)))));
        assert!(!Bounds::exact(&col("_partition").eq(lit(0i32)).and(col("id").gt(lit(3i64)))));
        assert!(!Bounds::exact(&col("_offset").eq(col("_partition"))));
        assert!(!Bounds::exact(&col("_offset").not_eq(lit(3i64))));
    }
}
