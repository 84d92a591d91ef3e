//! A statement's query planned for the session: for the world of now, and again where that changed under a plan.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::Query;

use super::super::deep::{Deep, on_big_stack};
use super::super::notice::Notice;
use super::super::pipeline::{self, Asked, Caching, Planned, Ready, Told, What};
use super::super::settings::shown_reflection;
use super::super::statement::Execution;
use super::{Prepared, Session};
use crate::catalog::reflections::sees_all;
use crate::error::{Error, Kind, Result};
use crate::policy::SessionPolicy;
use crate::sql::parse::change::Change;

/// A table that changed is seen within the next look or two of the world's builder.
const SEE_CHANGED_TABLE: Duration = Duration::from_secs(2);

impl Session {
    /// Over what the session sees now.
    pub(in crate::engine) async fn plan(&mut self, query: &Query, told: Told) -> Result<Planned> {
        let facts = self.facts()?;
        let query = on_big_stack(|| Deep::new(query.clone()));
        pipeline::plan(&self.engine.shared, &facts, Asked { what: What::Query(query), told }).await
    }

    /// The same for a statement that changes rows.
    pub(in crate::engine) async fn plan_change(&mut self, change: &Deep<Change>, told: Told) -> Result<Planned> {
        let facts = self.facts()?;
        pipeline::plan(&self.engine.shared, &facts, Asked { what: What::Change(change.clone()), told }).await
    }

    /// The execution's query, judged by the policy of now and ready to run. Planned for the world of now; planned again
    /// once where a table changed under the plan.
    pub(in crate::engine) async fn ready(&mut self, execution: &mut Execution<'_>, caching: Caching) -> Result<Ready> {
        let bounds = execution.bounds.clone();
        bounds.hold(Box::pin(self.ready_now(execution, caching))).await
    }

    /// The columns of the execution's query, of which nothing is judged or looked at.
    pub(in crate::engine) async fn columns(&mut self, execution: &mut Execution<'_>) -> Result<SchemaRef> {
        let bounds = execution.bounds.clone();
        let planned = bounds.hold(Box::pin(self.planned(execution.prepared))).await?;
        Ok(Arc::clone(&planned.columns))
    }

    async fn ready_now(&mut self, execution: &mut Execution<'_>, caching: Caching) -> Result<Ready> {
        let within = self.transaction.within();
        self.still_holds(&within.opened())?;
        let mut planned = self.planned(execution.prepared).await?;
        if !planned.reached.entries.is_empty() {
            let id = execution.record.trace(&self.engine.shared, &execution.prepared.text.shown);
            self.settings.lock().query(id);
        }
        let mut ready = self.judged(&planned, execution, caching).await;
        if ready.as_ref().is_err_and(|error| error.kind() == Kind::CachedPlanChanged) {
            self.engine.current.replaced(&planned.facts.world, SEE_CHANGED_TABLE).await;
            planned = self.planned(execution.prepared).await?;
            ready = self.judged(&planned, execution, caching).await;
        }
        let mut ready = ready?;
        for notice in std::mem::take(&mut ready.notices) {
            self.say(notice);
        }
        within.read(ready.guarded.opened());
        execution.record.judged(&ready, planned.facts.world.policies.generation());
        // a pool's SELECT 1 comes between a statement and the question what it saw
        if !ready.saw.is_empty() {
            self.saw = told(&ready, &planned.facts.policy);
        }
        if let Some(micros) = ready.used.staleness() {
            let text = format!("the answer is {} ms behind its tables", micros / 1_000);
            self.say(Notice::notice("00000", text));
        }
        Ok(ready)
    }

    async fn judged(&self, planned: &Planned, execution: &Execution<'_>, caching: Caching) -> Result<Ready> {
        let values = execution.parameters.clone();
        let within = self.transaction.within();
        pipeline::ready(&self.engine.shared, planned, values, caching, &within, &execution.bounds).await
    }

    async fn planned(&mut self, prepared: &Prepared) -> Result<Arc<Planned>> {
        let facts = self.facts()?;
        let kept = prepared.planned();
        if let Some(planned) = kept.filter(|p| Arc::ptr_eq(&p.facts, &facts) && !p.reached.moves) {
            return Ok(planned);
        }
        let told = Told { text: "".into(), declared: prepared.declared()?, into: vec![] };
        let described = match &prepared.statement {
            Some(statement) => statement.describe(self, told).await?,
            None => return Err(Error::internal("a text without a statement was to be planned")),
        };
        if let (Some(told), Some(now)) = (&prepared.columns, &described.columns)
            && !same_types(told, now)
        {
            return Err(Error::new(Kind::Unsupported, "cached plan must not change result type"));
        }
        let planned = described.planned.ok_or_else(|| Error::internal("a statement without a query was planned"))?;
        prepared.keep_plan(&planned);
        Ok(planned)
    }
}

/// What it saw, as its session may know of it.
fn told(ready: &Ready, policy: &SessionPolicy) -> String {
    let answered = ready.used.answered().filter_map(|(reflection, made_at)| {
        let told = sees_all(policy, reflection.bases.iter().copied());
        told.then(|| shown_reflection(&reflection.name, made_at))
    });
    ready.saw.iter().filter_map(|seen| seen.shown(policy)).chain(answered).collect::<Vec<_>>().join(", ")
}

fn same_types(a: &Schema, b: &Schema) -> bool {
    let pairs = a.fields().iter().zip(b.fields());
    a.fields().len() == b.fields().len()
        && pairs.clone().all(|(x, y)| x.name() == y.name() && x.data_type() == y.data_type())
}
