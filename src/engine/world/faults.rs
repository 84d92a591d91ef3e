//! What is at fault now, said in three places until it is mended: the log, again and again; a gauge; and [`Current`],
//! where `/readyz` reads it. It decides nothing about what comes into force.

use std::time::{Duration, Instant};

use super::Current;
use crate::catalog::Fault;
use crate::telemetry::metrics::{POLICY_FAULTS, POLICY_STALE, WORLD_FAULTS};

/// A fault that stays is logged again after this.
const REPEAT_EVERY: Duration = Duration::from_secs(60);

/// By where they come from; each list is replaced whole when that place is judged again.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Catalog files that cannot be read.
    pub(super) catalog_files: Vec<Fault>,
    /// Catalog files that read well and do not fit together, or wait for policy files.
    pub(super) catalog: Vec<Fault>,
    /// What sources have now does not fit the files in force.
    pub(super) tables: Vec<Fault>,
    /// Policy files that cannot be read.
    pub(super) policy_files: Vec<Fault>,
    /// Policy files that read well and cannot be bound, or wait for catalog files.
    pub(super) policy: Vec<Fault>,
    told: Option<(Vec<Fault>, Instant)>,
}

impl Faults {
    /// Files on disk are not in force.
    fn refused(&self) -> Vec<Fault> {
        let lists = [&self.catalog_files, &self.catalog, &self.tables, &self.policy_files, &self.policy];
        let mut all: Vec<Fault> = lists.into_iter().flatten().cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// To be called whenever a list may have changed, and now and then.
    pub(super) fn tell(&mut self, current: &Current) {
        let refused = self.refused();
        let left_out = current.get().catalog.left_out.clone();
        metrics::gauge!(POLICY_STALE).set(if refused.is_empty() { 0.0 } else { 1.0 });
        metrics::gauge!(WORLD_FAULTS).set((refused.len() + left_out.len()) as f64);
        let all: Vec<Fault> = refused.iter().chain(&left_out).cloned().collect();
        let is_new = self.told.as_ref().is_none_or(|(told, _)| *told != all);
        if is_new {
            current.tell(all.clone());
        }
        if all.is_empty() {
            self.told = None;
            return;
        }
        if !is_new && self.told.as_ref().is_some_and(|(_, at)| at.elapsed() < REPEAT_EVERY) {
            return;
        }
        if is_new && !refused.is_empty() {
            metrics::counter!(POLICY_FAULTS).increment(1);
        }
        for fault in &refused {
            tracing::error!(fault = %fault, "change refused, the old catalog and policy stay in force");
        }
        for fault in &left_out {
            tracing::error!(fault = %fault, "left out of the catalog, the rest is in force");
        }
        self.told = Some((all, Instant::now()));
    }
}
