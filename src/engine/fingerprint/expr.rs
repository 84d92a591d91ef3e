//! The expressions of a key. A function is known by its name and by all that its `Debug` tells: functions of the language
//! share names, and a mask's function carries its arguments in its name.

use arrow::datatypes::FieldRef;
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, Alias, Between, BinaryExpr, Case, Cast, Exists, GroupingSet, InList,
    InSubquery, Like, ScalarFunction, SetComparison, Sort, TryCast, Unnest, WindowFunction, WindowFunctionDefinition,
    WindowFunctionParams,
};
use datafusion::logical_expr::{Expr, Volatility, WindowFrame, WindowFrameBound};

use super::Writer;
use crate::sql::lower;

impl Writer<'_> {
    pub(super) fn expr(&mut self, expr: &Expr) -> Option<()> {
        match expr {
            Expr::Alias(Alias { expr, relation, name, metadata }) => {
                self.ink.word("as");
                self.ink.maybe(relation.as_ref(), |ink, table| ink.table(table));
                self.ink.name(name);
                self.ink.maybe(metadata.as_ref(), |ink, m| ink.pairs(m.inner().iter()));
                self.expr(expr)
            }
            Expr::Column(column) => {
                self.ink.word("column");
                self.ink.column(column);
                Some(())
            }
            Expr::OuterReferenceColumn(field, column) => {
                self.ink.word("outer column");
                self.ink.field(field);
                self.ink.column(column);
                Some(())
            }
            Expr::Literal(value, metadata) => {
                self.ink.word("literal");
                self.ink.maybe(metadata.as_ref(), |ink, m| ink.pairs(m.inner().iter()));
                self.ink.value(value)
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                self.ink.word("binary");
                self.ink.debug(op);
                self.expr(left)?;
                self.expr(right)
            }
            Expr::Like(like) => self.like("like", like),
            Expr::SimilarTo(like) => self.like("similar", like),
            Expr::Not(e) => self.one("not", e),
            Expr::IsNotNull(e) => self.one("is not null", e),
            Expr::IsNull(e) => self.one("is null", e),
            Expr::IsTrue(e) => self.one("is true", e),
            Expr::IsFalse(e) => self.one("is false", e),
            Expr::IsUnknown(e) => self.one("is unknown", e),
            Expr::IsNotTrue(e) => self.one("is not true", e),
            Expr::IsNotFalse(e) => self.one("is not false", e),
            Expr::IsNotUnknown(e) => self.one("is not unknown", e),
            Expr::Negative(e) => self.one("negative", e),
            Expr::Between(Between { expr, negated, low, high }) => {
                self.ink.word("between");
                self.ink.flag(*negated);
                self.expr(expr)?;
                self.expr(low)?;
                self.expr(high)
            }
            Expr::Case(case) => self.case(case),
            Expr::Cast(Cast { expr, field }) => self.cast("cast", expr, field),
            Expr::TryCast(TryCast { expr, field }) => self.cast("try cast", expr, field),
            Expr::ScalarFunction(ScalarFunction { func, args }) => {
                let volatility = match lower::follows_settings(func) {
                    // the settings are in the key
                    true => Volatility::Immutable,
                    false => func.signature().volatility,
                };
                self.function("function", func.name(), volatility)?;
                // functions of the language share names: their types and operators tell them apart
                self.ink.debug(func.inner());
                self.exprs(args)
            }
            Expr::AggregateFunction(call) => self.aggregate_function(call),
            Expr::WindowFunction(call) => self.window_function(call),
            Expr::InList(InList { expr, list, negated }) => {
                self.ink.word("in");
                self.ink.flag(*negated);
                self.expr(expr)?;
                self.exprs(list)
            }
            Expr::Exists(Exists { subquery, negated }) => {
                self.ink.word("exists");
                self.ink.flag(*negated);
                self.subquery(subquery)
            }
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                self.ink.word("in subquery");
                self.ink.flag(*negated);
                self.expr(expr)?;
                self.subquery(subquery)
            }
            Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
                self.ink.word("set comparison");
                self.ink.debug(op);
                self.ink.debug(quantifier);
                self.expr(expr)?;
                self.subquery(subquery)
            }
            Expr::ScalarSubquery(subquery) => {
                self.ink.word("scalar subquery");
                self.subquery(subquery)
            }
            Expr::GroupingSet(set) => self.grouping_set(set),
            Expr::Unnest(Unnest { expr, outer }) => {
                self.ink.word("unnest");
                self.ink.flag(*outer);
                self.expr(expr)
            }
            // parameters are bound by now, stars expanded; the others are not in our language
            #[expect(deprecated, reason = "the match has no `_`")]
            Expr::Wildcard { .. } => None,
            Expr::Placeholder(_)
            | Expr::ScalarVariable(..)
            | Expr::HigherOrderFunction(_)
            | Expr::Lambda(_)
            | Expr::LambdaVariable(_) => None,
        }
    }

    pub(super) fn sorts(&mut self, sorts: &[Sort]) -> Option<()> {
        self.ink.count(sorts.len());
        for Sort { expr, asc, nulls_first } in sorts {
            self.ink.flag(*asc);
            self.ink.flag(*nulls_first);
            self.expr(expr)?;
        }
        Some(())
    }

    fn one(&mut self, word: &str, expr: &Expr) -> Option<()> {
        self.ink.word(word);
        self.expr(expr)
    }

    fn like(&mut self, word: &str, like: &Like) -> Option<()> {
        let Like { negated, expr, pattern, escape_char, case_insensitive } = like;
        self.ink.word(word);
        self.ink.flag(*negated);
        self.ink.flag(*case_insensitive);
        self.ink.debug(escape_char);
        self.expr(expr)?;
        self.expr(pattern)
    }

    fn case(&mut self, Case { expr, when_then_expr, else_expr }: &Case) -> Option<()> {
        self.ink.word("case");
        self.maybe_expr(expr.as_deref())?;
        self.ink.count(when_then_expr.len());
        for (when, then) in when_then_expr {
            self.expr(when)?;
            self.expr(then)?;
        }
        self.maybe_expr(else_expr.as_deref())
    }

    fn cast(&mut self, word: &str, expr: &Expr, to: &FieldRef) -> Option<()> {
        self.ink.word(word);
        self.ink.field(to);
        self.expr(expr)
    }

    /// The one place that judges functions: stable is not enough, for `now()` is stable and its answer of before is wrong.
    fn function(&mut self, kind: &str, name: &str, volatility: Volatility) -> Option<()> {
        self.ink.word(kind);
        self.ink.word(name);
        (volatility == Volatility::Immutable).then_some(())
    }

    fn aggregate_function(&mut self, AggregateFunction { func, params }: &AggregateFunction) -> Option<()> {
        let AggregateFunctionParams { args, distinct, filter, order_by, null_treatment } = params;
        self.function("aggregate", func.name(), func.signature().volatility)?;
        self.ink.debug(func.inner());
        self.ink.flag(*distinct);
        self.ink.debug(null_treatment);
        self.exprs(args)?;
        self.maybe_expr(filter.as_deref())?;
        self.sorts(order_by)
    }

    fn window_function(&mut self, WindowFunction { fun, params }: &WindowFunction) -> Option<()> {
        let WindowFunctionParams { args, partition_by, order_by, window_frame, filter, null_treatment, distinct } =
            params;
        match fun {
            WindowFunctionDefinition::AggregateUDF(f) => {
                self.function("aggregate over", f.name(), f.signature().volatility)?;
                self.ink.debug(f.inner());
            }
            WindowFunctionDefinition::WindowUDF(f) => {
                self.function("window", f.name(), f.signature().volatility)?;
                self.ink.debug(f.inner());
            }
        }
        self.ink.flag(*distinct);
        self.ink.debug(null_treatment);
        self.exprs(args)?;
        self.exprs(partition_by)?;
        self.sorts(order_by)?;
        self.frame(window_frame)?;
        self.maybe_expr(filter.as_deref())
    }

    fn frame(&mut self, frame: &WindowFrame) -> Option<()> {
        self.ink.debug(&frame.units);
        self.ink.flag(frame.is_causal());
        for bound in [&frame.start_bound, &frame.end_bound] {
            match bound {
                WindowFrameBound::Preceding(by) => {
                    self.ink.word("preceding");
                    self.ink.value(by)?;
                }
                WindowFrameBound::CurrentRow => self.ink.word("current"),
                WindowFrameBound::Following(by) => {
                    self.ink.word("following");
                    self.ink.value(by)?;
                }
            }
        }
        Some(())
    }

    fn grouping_set(&mut self, set: &GroupingSet) -> Option<()> {
        match set {
            GroupingSet::Rollup(exprs) => {
                self.ink.word("rollup");
                self.exprs(exprs)
            }
            GroupingSet::Cube(exprs) => {
                self.ink.word("cube");
                self.exprs(exprs)
            }
            GroupingSet::GroupingSets(sets) => {
                self.ink.word("grouping sets");
                self.ink.count(sets.len());
                sets.iter().try_for_each(|exprs| self.exprs(exprs))
            }
        }
    }
}
