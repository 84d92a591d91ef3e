//! Cursors of a session: opened by DECLARE, or taken over from the front end's portals when SQL names one; read by FETCH, or
//! by the protocol under their names.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Prepared, Session, Undone};
use crate::catalog::visible;
use crate::engine::audit::Record;
use crate::engine::cursor::{Cursor, Plan, Reader, Scroll, Source};
use crate::engine::micros_now;
use crate::engine::pipeline::Caching;
use crate::engine::run::{self, Bounds, Rows};
use crate::engine::statement::Execution;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::Format;
use crate::sql::parse::command::Direction;

/// A portal of the front end's, as far as it was run.
pub enum Adopted {
    Bound {
        prepared: Arc<Prepared>,
        parameters: Vec<ScalarValue>,
    },
    /// So many rows were sent; `rest` was read and not sent.
    Suspended {
        rows: Rows,
        rest: Option<RecordBatch>,
        sent: usize,
    },
    Ended {
        columns: SchemaRef,
    },
}

impl Session {
    pub fn has_cursor(&self, name: &str) -> bool {
        self.cursors.has(name)
    }

    /// Its columns, and the formats of their values as a Bind gives them. 34000 where there is none.
    pub fn cursor_columns(&mut self, name: &str) -> Result<(SchemaRef, Vec<Format>)> {
        let cursor = self.cursors.find(name)?;
        Ok((Arc::clone(&cursor.columns), cursor.formats.clone()))
    }

    /// Closing an unknown name is no error.
    pub fn close_cursor(&mut self, name: &str) {
        let _ = self.cursors.close(name);
    }

    /// All of them, and the front end's portals.
    pub(in crate::engine) fn close_all_cursors(&mut self) {
        self.cursors.close_all();
        self.undone.push(Undone::All);
    }

    /// 42P03 and 54000 as for a cursor that is declared.
    pub fn may_adopt(&self, name: &str) -> Result<()> {
        self.cursors.may_open(name)
    }

    /// A portal that a statement names is a cursor from now on. `level`: savepoints around it when it was bound.
    pub fn adopt(&mut self, name: &str, portal: Adopted, formats: Vec<Format>, level: usize) -> Result<()> {
        self.may_adopt(name)?;
        let held = self.kept.hold(name.len())?;
        let about = visible::Cursor {
            name: name.to_string(),
            statement: String::new(),
            holdable: false,
            binary: false,
            scrollable: false,
            created_at: micros_now(),
        };
        let open = |reader: Reader| Source::Open(Arc::new(Mutex::new(reader)));
        let (columns, opened, source) = match portal {
            Adopted::Bound { prepared, parameters } => {
                let columns = prepared.columns.clone().ok_or_else(|| not_a_query(name))?;
                (columns, vec![], Source::Bound { prepared, parameters })
            }
            Adopted::Suspended { rows, rest, sent } => {
                let (columns, opened) = (rows.schema(), rows.opened.clone());
                (columns, opened, open(Reader::resumed(rows, rest, sent)))
            }
            Adopted::Ended { columns } => (Arc::clone(&columns), vec![], open(Reader::ended(columns))),
        };
        let cursor = Cursor::new(about, columns, source, held).reading(opened);
        self.cursors.open(cursor.sent_as(formats), level);
        Ok(())
    }

    /// The next rows of a cursor for the protocol's Execute; all of them without a limit.
    pub async fn fetch_cursor(&mut self, name: &str, most: Option<usize>, cancel: CancellationToken) -> Result<Rows> {
        let mut record = Record::begin(&self.principal(), self.engine.world().policies.generation());
        record.kind("fetch");
        self.runs(cancel.clone());
        let bounds = Bounds { cancel, deadline: self.deadline() };
        let count = most.and_then(|most| i64::try_from(most).ok()).unwrap_or(Direction::ALL);
        let fetched = match self.may_go_on() {
            Ok(()) => self.fetch(name, Direction::Forward(count), "SELECT", &bounds, &mut record).await,
            Err(refused) => Err(refused),
        };
        match fetched {
            Ok(rows) => Ok(rows.recorded(record)),
            Err(error) => {
                record.failed(&error);
                self.fail();
                Err(error)
            }
        }
    }

    /// The rows of a FETCH.
    pub(in crate::engine) async fn fetch(
        &mut self,
        name: &str,
        direction: Direction,
        tag: &'static str,
        bounds: &Bounds,
        record: &mut Record,
    ) -> Result<Rows> {
        let reader = self.reader(name, bounds, record).await?;
        let cursor = self.cursors.find(name)?;
        let (columns, opened, binary) = (Arc::clone(&cursor.columns), cursor.opened.clone(), cursor.about.binary);
        let plan = bounds.hold(async { reader.lock().await.go(direction, true).await }).await;
        let plan = plan.inspect_err(|error| self.failed_fetch(name, error))?;
        let (most, ready) = match plan {
            Plan::Forward(most) => (most, vec![]),
            Plan::Ready(rows) => (0, rows),
        };
        let come = futures::stream::unfold((reader, most), |(reader, most)| async move {
            let batch = reader.lock().await.forward(most).await;
            let batch = batch.map_err(Into::into).transpose()?;
            let left = most.saturating_sub(batch.as_ref().map_or(0, RecordBatch::num_rows));
            let left = if batch.is_err() { 0 } else { left };
            Some((batch, (reader, left)))
        });
        let rows = futures::StreamExt::chain(futures::stream::iter(ready.into_iter().map(Ok)), come);
        Ok(Rows::fetched(tag, columns, Box::pin(rows), bounds.clone(), opened, binary))
    }

    /// How many rows a MOVE passes.
    pub(in crate::engine) async fn pass(
        &mut self,
        name: &str,
        direction: Direction,
        bounds: &Bounds,
        record: &mut Record,
    ) -> Result<usize> {
        let reader = self.reader(name, bounds, record).await?;
        let passed = bounds.hold(async {
            let mut reader = reader.lock().await;
            let (mut most, mut passed) = match reader.go(direction, false).await? {
                Plan::Forward(most) => (most, 0),
                Plan::Ready(rows) => (0, rows.iter().map(RecordBatch::num_rows).sum()),
            };
            while let Some(batch) = reader.forward(most).await? {
                passed += batch.num_rows();
                most -= batch.num_rows();
            }
            Ok(passed)
        });
        passed.await.inspect_err(|error| self.failed_fetch(name, error))
    }

    /// Cursors WITH HOLD of a transaction that is about to be committed.
    pub(in crate::engine) async fn hold_cursors(&mut self, bounds: &Bounds, record: &mut Record) -> Result<()> {
        for name in self.cursors.to_hold() {
            let reader = self.reader(&name, bounds, record).await?;
            let allowance = self.cursors.allowance();
            bounds.hold(async { reader.lock().await.hold(allowance).await }).await?;
        }
        Ok(())
    }

    /// The cursor's rows, where it may still be read: 42501 where a grant changed, 55000 where a fetch failed.
    async fn reader(&mut self, name: &str, bounds: &Bounds, record: &mut Record) -> Result<Arc<Mutex<Reader>>> {
        let cursor = self.cursors.find(name)?;
        let opened = cursor.opened.clone();
        if let Err(refused) = self.still_holds(&opened) {
            self.close_cursor(name);
            return Err(refused);
        }
        let allowance = self.cursors.allowance();
        let cursor = self.cursors.find(name)?;
        let cannot_run = || Error::new(Kind::NotInState, format!("portal \"{name}\" cannot be run"));
        let reader = match std::mem::replace(&mut cursor.source, Source::Failed) {
            Source::Failed => return Err(cannot_run()),
            Source::Open(reader) if reader.lock().await.has_failed() => return Err(cannot_run()),
            Source::Open(reader) => reader,
            Source::Ready { ready, cancel, guard, scroll } => {
                let own = Bounds { cancel, deadline: None };
                let rows = run::run(&self.engine.shared.lanes, *ready, own)?.ending(guard);
                Arc::new(Mutex::new(Reader::new(rows, scroll, allowance)))
            }
            Source::Bound { prepared, parameters } => {
                let (own, guard) = own_bounds();
                let mut execution = Execution { prepared: &prepared, parameters, bounds: own.clone(), record };
                let ready = bounds.hold(self.ready(&mut execution, Caching::Never)).await?;
                let rows = run::run(&self.engine.shared.lanes, ready, own)?.ending(guard);
                self.cursors.find(name)?.opened = rows.opened.clone();
                Arc::new(Mutex::new(Reader::new(rows, Scroll::No, allowance)))
            }
        };
        self.cursors.find(name)?.source = Source::Open(Arc::clone(&reader));
        Ok(reader)
    }

    /// A direction that was refused leaves the cursor as it is; what failed in its rows ends it.
    fn failed_fetch(&mut self, name: &str, error: &Error) {
        if error.kind() != Kind::NotInState
            && let Ok(cursor) = self.cursors.find(name)
        {
            cursor.source = Source::Failed;
        }
    }

    /// 25P02 in a failed transaction.
    fn may_go_on(&mut self) -> Result<()> {
        match self.transaction.has_failed() {
            true => Err(super::aborted()),
            false => Ok(()),
        }
    }
}

/// Bounds of what a cursor runs, which outlives its statement: it is over when the guard is dropped.
pub(in crate::engine) fn own_bounds() -> (Bounds, tokio_util::sync::DropGuard) {
    let cancel = CancellationToken::new();
    let guard = cancel.clone().drop_guard();
    (Bounds { cancel, deadline: None }, guard)
}

fn not_a_query(name: &str) -> Error {
    Error::new(Kind::InvalidCursorDefinition, format!("cannot open \"{name}\" as cursor"))
}
