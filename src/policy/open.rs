//! Opened: raw scan → policy filter AND leakproof predicates → masks → barrier. It asks nobody for a right; `guard`
//! hands it one.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown as Push, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use super::barrier::{BarrierExec, Below, Proof, leakproof};
use super::body::BodyTable;
use super::verify::by_name;
use super::{Grant, raw_of};
use crate::error::{Error, Kind};
use crate::scan::{Scanned, scan_by};

/// A raw table under a restricted grant, a memory table under any grant, or a dataset's body.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) table: String,
    pub(crate) raw: Arc<dyn TableProvider>,
    pub(crate) grant: Arc<Grant>,
    pub(crate) schema: SchemaRef,
    /// Columns that a dataset's owner sees and its caller may not: a pruned plan that still needs one is refused.
    pub(crate) forbidden: BTreeSet<String>,
    /// The dataset through which it is read, for that refusal.
    pub(crate) dataset: Option<String>,
    /// The datasets whose barriers must stand above this one's.
    pub(crate) behind: Vec<String>,
}

impl TableProvider for Opened {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<Push>> {
        let may = |f: &&Expr| leakproof(f, &self.schema, &self.grant);
        Ok(filters.iter().map(|f| if may(f) { Push::Exact } else { Push::Unsupported }).collect())
    }

    scan_by!(scanned);
}

impl Opened {
    fn scanned<'a>(
        &'a self,
        state: &'a dyn Session,
        projection: Option<&'a Vec<usize>>,
        filters: &'a [Expr],
        // the rows it would count are raw ones; the Limit above the barrier stays
        _limit: Option<usize>,
    ) -> Scanned<'a> {
        Box::pin(async move {
            // the list is asked twice: what arrives here is not believed
            if !filters.iter().all(|f| leakproof(f, &self.schema, &self.grant)) {
                return Err(Error::internal("a predicate that is not leakproof reached an opened scan").into());
            }
            let visible = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => Arc::clone(&self.schema),
            };
            self.refuse_forbidden(&visible, filters)?;

            // policy first: a conjunct of the user's never runs on a row the policy hides
            let policy: Vec<Expr> = self.grant.filter.iter().flat_map(split_conjunction).cloned().collect();
            let predicates: Vec<Expr> = policy.iter().chain(filters).cloned().collect();
            let shown: Vec<(Expr, &str)> =
                visible.fields().iter().map(|f| (self.shown(f.name()), f.name().as_str())).collect();

            let plan = self.scan_raw(state, &predicates, &shown).await?;
            let input = DFSchema::try_from(plan.schema())?;
            let proof = Proof {
                table: self.table.clone(),
                below: match self.raw.is::<BodyTable>() {
                    true => Below::Body,
                    false => Below::Table { behind: self.behind.clone() },
                },
                filter: policy
                    .iter()
                    .map(|p| Ok(by_name(&state.create_physical_expr(p.clone(), &input)?)))
                    .collect::<Result<_>>()?,
            };
            // all of it is filtered here, whatever the source promised
            let plan: Arc<dyn ExecutionPlan> = match conjunction(predicates) {
                Some(p) => Arc::new(FilterExec::try_new(state.create_physical_expr(p, &input)?, plan)?),
                None => plan,
            };
            let columns = shown
                .into_iter()
                .map(|(e, name)| Ok(ProjectionExpr::new(state.create_physical_expr(e, &input)?, name)))
                .collect::<Result<Vec<_>>>()?;
            let plan = Arc::new(ProjectionExec::try_new(columns, plan)?);
            Ok(Arc::new(BarrierExec::new(plan, visible, proof)) as Arc<dyn ExecutionPlan>)
        })
    }
}

impl Opened {
    /// What stands for a visible column: its mask over raw columns, or the raw column itself. Of a statement's target raw
    /// columns are carried besides.
    fn shown(&self, column: &str) -> Expr {
        let raw = || Expr::Column(datafusion::common::Column::from_name(raw_of(column).unwrap_or(column)));
        self.grant.masks.get(column).cloned().unwrap_or_else(raw)
    }

    async fn scan_raw(
        &self,
        state: &dyn Session,
        predicates: &[Expr],
        shown: &[(Expr, &str)],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let raw = self.raw.schema();
        let used = shown.iter().map(|(e, _)| e).chain(predicates).flat_map(Expr::column_refs);
        let need = used.map(|c| Ok(raw.index_of(&c.name)?)).collect::<Result<BTreeSet<usize>>>()?;
        let need: Vec<usize> = need.into_iter().collect();
        let asked: Vec<&Expr> = predicates.iter().collect();
        let offered: Vec<Expr> = predicates
            .iter()
            .zip(self.raw.supports_filters_pushdown(&asked)?)
            .filter(|(_, how)| *how != Push::Unsupported)
            .map(|(p, _)| p.clone())
            .collect();
        self.raw.scan(state, Some(&need), &offered, None).await
    }

    fn refuse_forbidden(&self, visible: &SchemaRef, filters: &[Expr]) -> Result<()> {
        let in_filter = |c: &String| filters.iter().any(|f| f.column_refs().iter().any(|r| &r.name == c));
        if !self.forbidden.iter().any(|c| visible.index_of(c).is_ok() || in_filter(c)) {
            return Ok(());
        }
        let dataset = self.dataset.as_deref().unwrap_or(&self.table);
        Err(Error::new(Kind::PermissionDenied, format!("permission denied for view {dataset}"))
            .with_detail("The statement needs a column below it that is hidden from you.")
            .into())
    }
}

#[cfg(test)]
mod tests;
