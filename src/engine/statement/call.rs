//! CALL: procedures of our own that keep the lake's tables in order, those that operate pipelines, one that has a source
//! looked at, and one that advises. Names, arguments and defaults are judged as PostgreSQL judges those of its procedures; each that is about a
//! table needs the right to `maintain` it. What a procedure does to a table is the lake's.

mod advise;
mod arguments;
mod operate;
mod procedure;
mod refresh_source;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, TimeDelta, Utc};
use datafusion::execution::SessionState;
use datafusion::sql::sqlparser::ast::Function;

use self::arguments::Given;
use self::procedure::{Procedure, Values};
use super::{Admitted, Described, Execution, Outcome, Statement, Work, target};
use crate::engine::facts::Facts;
use crate::engine::functions::segments;
use crate::engine::notice::Notice;
use crate::engine::pipeline::{Caching, Told};
use crate::engine::run::{self, Rows};
use crate::engine::session::{Session, in_block};
use crate::error::{Error, Kind, Result};
use crate::jobs::Job;
use crate::lake::{Expiry, Lake, Selection, TableKey, Wanted};
use crate::policy::Action;
use crate::types::TableName;

use super::name::Name;

/// What is younger may belong to a statement under way, or to a commit of which it is not known whether it happened.
const ORPHAN_AGE_MIN: TimeDelta = TimeDelta::hours(24);
const ORPHAN_AGE: TimeDelta = TimeDelta::days(3);

#[derive(Debug)]
struct Call {
    given: Given,
}

pub(super) fn admit(function: Function) -> Result<Admitted> {
    Ok(Admitted::new(Call { given: Given::of(function)? }))
}

impl Statement for Call {
    fn kind(&self) -> &'static str {
        "call"
    }

    fn writes(&self) -> bool {
        true
    }

    fn describe<'a>(&'a self, session: &'a mut Session, told: Told) -> Work<'a, Described> {
        Box::pin(async move {
            let (procedure, planned) = self.given.plan(session, told).await?;
            let stored = Described::stored(planned)?;
            Ok(Described { columns: Some(procedure.columns()), ..stored })
        })
    }

    fn run<'a>(&'a self, session: &'a mut Session, mut execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let procedure = self.given.procedure().ok_or_else(|| Error::internal("a procedure that went"))?;
            if session.transaction.is_block() {
                return Err(in_block(&format!("CALL lakegate.{}", procedure.name())));
            }
            let ready = session.ready(&mut execution, Caching::Never).await?;
            let mut rows = run::run(&session.engine.shared.lanes, ready, execution.bounds.clone())?;
            let row = rows.next().await.ok_or_else(|| Error::internal("arguments gave no row"))??;
            let values = procedure.values(&self.given, &row)?;
            if procedure == Procedure::AdviseReflections {
                return advise::run(session, execution, values.table.as_deref()).await;
            }
            if procedure == Procedure::RefreshSource {
                return refresh_source::run(session, execution, &values.name).await;
            }
            let facts = session.facts()?;
            if let Procedure::Of(wish) = procedure {
                return operate::run(session, execution, wish, &values).await;
            }
            let name = table_name(&facts, &values.name)?;
            let (entry, writer) = target::table(&facts, &name, Action::Maintain)?;
            let table = entry.object.name.clone();
            execution.record.target(table.to_string());
            let Some(kept) = writer.maintained() else {
                let text = format!("\"{table}\" is not a table of a lake");
                return Err(Error::new(Kind::WrongObjectType, text));
            };
            let job =
                session.engine.jobs().begin(procedure.name(), table.clone(), Some(session.principal().user().into()));
            let work = Task {
                procedure,
                values,
                key: kept.key(&table),
                lake: kept.lake,
                table,
                state: one_partition(&facts),
                columns: procedure.columns(),
            };
            let lanes = session.engine.shared.lanes.clone();
            let done = execution.bounds.hold(lanes.run(Box::pin(work.run(job)))).await?;
            session.say(Notice::notice("00000", done.said));
            Ok(Outcome::Rows(Rows::computed("CALL", done.rows, execution.bounds)))
        })
    }
}

/// Everything that a procedure needs, apart from the session.
struct Task {
    procedure: Procedure,
    values: Values,
    lake: Arc<Lake>,
    key: TableKey,
    table: TableName,
    state: SessionState,
    columns: SchemaRef,
}

/// What came of it, as rows and in words.
struct Answer {
    rows: RecordBatch,
    said: String,
}

impl Task {
    async fn run(self, job: Job) -> Result<Answer> {
        match self.done(&job).await {
            Ok(answer) => {
                job.done(answer.said.clone());
                Ok(answer)
            }
            Err(error) => {
                job.failed(error.message());
                Err(error)
            }
        }
    }

    async fn done(&self, job: &Job) -> Result<Answer> {
        let Self { lake, key, table, .. } = self;
        match self.procedure {
            Procedure::Compact => {
                let done = lake.compact(&self.state, key, Selection::All, None, job).await?;
                let counts = [
                    done.files_before,
                    done.files_after,
                    done.bytes_before,
                    done.bytes_after,
                    done.rows,
                    done.given_up,
                ];
                self.counted(&counts, format!("{table}: {done}"))
            }
            Procedure::ExpireSnapshots => {
                let older_than = self.values.older_than.map(|at| at.timestamp_millis());
                let retain_last = self.retain_last()?;
                let expiry = Expiry { older_than, retain_last, keep_at_most: None };
                let done = lake.expire(key, &expiry, None, job).await?;
                self.counted(&[done.snapshots, done.refs, done.files], format!("{table}: {done}"))
            }
            Procedure::RemoveOrphans => {
                let wanted = Wanted { older_than: self.orphans_from()?, dry_run: self.values.dry_run };
                let found = lake.orphans(key, wanted, job).await?;
                let what = if wanted.dry_run { "would be removed" } else { "were removed" };
                let said = format!("{table}: {} of {} files, {} bytes, {what}", found.count, found.listed, found.bytes);
                let (files, sizes): (Vec<String>, Vec<u64>) = found.files.into_iter().unzip();
                let files: ArrayRef = Arc::new(StringArray::from(files));
                let sizes: ArrayRef = Arc::new(Int64Array::from_iter_values(sizes.into_iter().map(signed)));
                Ok(Answer { rows: RecordBatch::try_new(Arc::clone(&self.columns), vec![files, sizes])?, said })
            }
            Procedure::RewriteManifests => {
                let done = lake.merge_manifests(key, None).await?;
                let said = format!("{table}: {} manifests became {}", done.before, done.after);
                self.counted(&[done.before, done.after], said)
            }
            Procedure::Of(_) | Procedure::RefreshSource | Procedure::AdviseReflections => {
                Err(Error::internal("a procedure over no table, with one"))
            }
        }
    }

    fn counted(&self, counts: &[u64], said: String) -> Result<Answer> {
        let columns = counts.iter().map(|n| Arc::new(Int64Array::from(vec![signed(*n)])) as ArrayRef).collect();
        Ok(Answer { rows: RecordBatch::try_new(Arc::clone(&self.columns), columns)?, said })
    }

    fn retain_last(&self) -> Result<Option<usize>> {
        let count = |n: i64| usize::try_from(n).ok().filter(|n| *n > 0);
        let refused = || Error::new(Kind::InvalidParameter, "retain_last must be at least 1");
        self.values.retain_last.map(|n| count(n).ok_or_else(refused)).transpose()
    }

    fn orphans_from(&self) -> Result<DateTime<Utc>> {
        let latest = Utc::now() - ORPHAN_AGE_MIN;
        match self.values.older_than {
            None => Ok(Utc::now() - ORPHAN_AGE),
            Some(at) if at <= latest => Ok(at),
            Some(_) => Err(Error::new(Kind::InvalidParameter, "older_than must be at least 24 hours ago")
                .with_detail("Younger files may belong to a statement that is still running.")),
        }
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Files are read one after the other, so that rows keep their order.
fn one_partition(facts: &Facts) -> SessionState {
    let mut state = facts.statement_state(None);
    state.config_mut().options_mut().execution.target_partitions = 1;
    state
}

/// A table's name in a text, as `::regclass` reads it.
fn table_name(facts: &Facts, text: &str) -> Result<Name> {
    let invalid = || Error::new(Kind::InvalidName, "invalid name syntax");
    match segments(text).ok_or_else(invalid)?.as_slice() {
        [table] => Ok(Name { schema: None, table: table.clone() }),
        [schema, table] => Ok(Name { schema: Some(schema.clone()), table: table.clone() }),
        [database, schema, table] if *database == facts.world.catalog.database => {
            Ok(Name { schema: Some(schema.clone()), table: table.clone() })
        }
        _ => Err(Error::new(Kind::Syntax, format!("improper relation name (too many dotted names): {text}"))),
    }
}
