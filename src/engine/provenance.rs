//! What statements of late saw, for those who ask later where a number is from. It is kept in memory, as many statements and
//! bytes as the configuration says, and gone with the process; the audit log has the same ids. Who may know what of it is
//! judged when somebody asks, by the policy of then.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::sql::sqlparser::ast::{Expr, SetExpr};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::bodies;
use super::limits::Limits;
use super::settings::{shown_reflection, shown_version};
use crate::catalog::provenance::{self, Statements, Told};
use crate::catalog::reflections;
use crate::error::{Error, Result};
use crate::policy::{Action, Decision, SessionPolicy};
use crate::sql::bind::Named;
use crate::types::{ObjectId, TableName, Version};

/// `[engine.provenance]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Statements that are kept; 0: none.
    pub statements_max: usize,
    pub bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { statements_max: 10_000, bytes_max: 16 << 20 }
    }
}

/// A statement that is over.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) id: Uuid,
    pub(crate) user: String,
    /// In whose place; empty for its own.
    pub(crate) acts_for: String,
    /// In microseconds since 1970.
    pub(crate) started_at: i64,
    pub(crate) micros: i64,
    pub(crate) kind: &'static str,
    /// As pg_stat_activity has it.
    pub(crate) text: Arc<str>,
    pub(crate) outcome: &'static str,
    pub(crate) sqlstate: &'static str,
    pub(crate) rows: u64,
    pub(crate) cache: &'static str,
    pub(crate) saw: Vec<Seen>,
    pub(crate) answered: Vec<Answered>,
    /// In microseconds; `None`: the answer was exact.
    pub(crate) staleness: Option<i64>,
}

/// A table at a version.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) object: ObjectId,
    pub(crate) name: TableName,
    pub(crate) version: Version,
}

/// A reflection that answered a part.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) name: String,
    /// What it is made of.
    pub(crate) bases: Vec<ObjectId>,
    /// In microseconds since 1970.
    pub(crate) made_at: i64,
}

/// `lakegate.provenance(id)` in FROM: the rows of that name that have the id.
pub(crate) fn called(id: Expr) -> Result<Named> {
    let (schema, name, columns) = ("lakegate".to_owned(), "provenance".to_owned(), provenance::names());
    let mut query = bodies::read("SELECT * FROM lakegate.provenance WHERE query_id = NULL", &Limits::default())?;
    match query.body.as_mut() {
        SetExpr::Select(select) => match &mut select.selection {
            Some(Expr::BinaryOp { right, .. }) => **right = id,
            _ => return Err(Error::internal("a condition that went")),
        },
        _ => return Err(Error::internal("a query that went")),
    }
    Ok(Named { schema, name, columns, query })
}

impl Seen {
    /// For whoever may read the table; others are not told that it was read.
    pub(crate) fn shown(&self, policy: &SessionPolicy) -> Option<String> {
        match policy.decide(self.object, Action::Select) {
            Decision::Allow(grant) => Some(shown_version(&self.name, &self.version, grant.is_full())),
            Decision::Deny => None,
        }
    }

    fn bytes(&self) -> usize {
        let version = match &self.version {
            Version::Offsets { topic_id, spans } => topic_id.len() + spans.len() * size_of::<(i32, i64, i64)>(),
            Version::Files(digest) => digest.len(),
            Version::Fixed(_) | Version::Snapshot(_) | Version::Fresh(..) | Version::Live => 0,
        };
        size_of::<Self>() + self.name.schema.len() + self.name.table.len() + version
    }
}

impl Answered {
    /// For whoever sees all of its tables.
    pub(crate) fn shown(&self, policy: &SessionPolicy) -> Option<String> {
        let told = reflections::sees_all(policy, self.bases.iter().copied());
        told.then(|| shown_reflection(&self.name, self.made_at))
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.bases.len() * size_of::<ObjectId>()
    }
}

impl Statement {
    fn bytes(&self) -> usize {
        let within = self.saw.iter().map(Seen::bytes).chain(self.answered.iter().map(Answered::bytes));
        size_of::<Self>() + self.user.len() + self.acts_for.len() + self.text.len() + within.sum::<usize>()
    }

    /// Whoever asked under the same names, and admins.
    fn is_for(&self, policy: &SessionPolicy) -> bool {
        let asks = policy.principal();
        let same = asks.user() == self.user && asks.acts_for().unwrap_or_default() == self.acts_for;
        same || policy.is_admin()
    }

    fn told(&self, policy: &SessionPolicy) -> Told {
        let vector: Vec<String> = self.saw.iter().filter_map(|seen| seen.shown(policy)).collect();
        let reflections: Vec<String> = self.answered.iter().filter_map(|one| one.shown(policy)).collect();
        Told {
            query_id: self.id.to_string(),
            user: self.user.clone(),
            acts_for: Some(self.acts_for.clone()).filter(|name| !name.is_empty()),
            started_at: self.started_at,
            duration_ms: self.micros / 1_000,
            kind: self.kind,
            query: self.text.to_string(),
            outcome: self.outcome,
            sqlstate: self.sqlstate,
            rows: i64::try_from(self.rows).unwrap_or(i64::MAX),
            cache: self.cache,
            snapshot_vector: vector.join(", "),
            reflections: reflections.join(", "),
            staleness_ms: self.staleness.unwrap_or(0) / 1_000,
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    by_id: HashMap<Uuid, Arc<Statement>>,
    /// The oldest first.
    order: VecDeque<Uuid>,
    bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Log {
    limits: Config,
    kept: Mutex<Kept>,
}

impl Log {
    pub(crate) fn new(limits: Config) -> Self {
        Self { limits, kept: Mutex::default() }
    }

    /// The oldest go for it, and one that alone is too large is not kept.
    pub(crate) fn keep(&self, statement: Statement) {
        let bytes = statement.bytes();
        if self.limits.statements_max == 0 || bytes > self.limits.bytes_max {
            return;
        }
        let mut kept = self.locked();
        while kept.order.len() >= self.limits.statements_max || kept.bytes + bytes > self.limits.bytes_max {
            let Some(oldest) = kept.order.pop_front() else { break };
            if let Some(gone) = kept.by_id.remove(&oldest) {
                kept.bytes -= gone.bytes();
            }
        }
        kept.order.push_back(statement.id);
        kept.bytes += bytes;
        kept.by_id.insert(statement.id, Arc::new(statement));
    }

    /// Nothing panics while it is held.
    fn locked(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Statements for Log {
    fn told(&self, policy: &SessionPolicy, ids: Option<&[String]>) -> Vec<Told> {
        let found: Vec<Arc<Statement>> = {
            let kept = self.locked();
            match ids {
                Some(ids) => {
                    let ids = ids.iter().filter_map(|id| Uuid::parse_str(id).ok());
                    ids.filter_map(|id| kept.by_id.get(&id).cloned()).collect()
                }
                None => kept.order.iter().rev().filter_map(|id| kept.by_id.get(id).cloned()).collect(),
            }
        };
        found.iter().filter(|statement| statement.is_for(policy)).map(|statement| statement.told(policy)).collect()
    }
}

#[cfg(test)]
mod tests;
