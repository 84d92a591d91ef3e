//! A session: who logged in, settings, prepared statements, a transaction's state. It reads a text into statements, says
//! whether each may run now, and sees to it that every outcome is audited once; what a statement does is in `statement`.
//! It speaks no protocol.

mod block;
mod cursors;
mod fastpath;
mod parameter;
mod planning;
mod prepared;
mod staging;
mod startup;
mod transaction;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use datafusion::common::ScalarValue;
use tokio_util::sync::CancellationToken;

use super::audit::Record;
use super::copy_in::CopyIn;
use super::cursor::Cursors;
use super::facts::{Facts, Identity, gone};
use super::functions;
use super::kept::{Held, Kept, KeptLimits};
use super::limits;
use super::notice::{Notice, Notices};
use super::peers::{Notification, Own};
use super::pipeline::Told;
use super::run::{Bounds, Rows, in_time};
use super::settings::{Settings, SharedSettings};
use super::statement::{self, Admitted, Execution, Outcome};
use super::temporary::Temporary;
use super::world::World;
use super::{Engine, micros_now};
use crate::catalog::peers::{Others, Peers};
use crate::catalog::visible::Listed;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::copy::Layout;
use crate::formats::postgres::{SpeltBinary, Style};
use crate::policy::Principal;
use crate::policy::guard::OpenedObject;
use crate::sql::functions::random::Random;
use crate::sql::functions::spelt_binary;

pub use self::block::Undone;
pub use self::cursors::Adopted;
pub(super) use self::cursors::own_bounds;
pub use self::fastpath::called;
pub use self::prepared::Prepared;
pub(super) use self::prepared::{Text, declared};
pub use self::transaction::TransactionStatus;
pub(super) use self::transaction::{Ended, Transaction, in_block, outside};

/// How long a session waits to see the world that its own statement made. The world's builder looks three times a second.
const SEE_OWN_CHANGE: Duration = Duration::from_secs(1);

/// What an execution gives.
#[derive(Debug)]
pub enum Answer {
    /// Rows, then CommandComplete with the tag's word and the count (`SELECT 5`).
    Rows(Rows),
    /// CopyOutResponse and rows in this layout, then CommandComplete (`COPY 5`).
    CopyOut { rows: Rows, layout: Layout },
    /// CopyInResponse; what the client sends then goes there.
    CopyIn(Box<CopyIn>),
    /// CommandComplete with this tag (`SET`, `INSERT 0 5`).
    Done(String),
    /// EmptyQueryResponse.
    Empty,
}

/// One login.
#[derive(Debug)]
pub struct Session {
    pub(super) engine: Arc<Engine>,
    identity: Identity,
    pub(super) own: Arc<Own>,
    pub(super) settings: SharedSettings,
    facts: Option<Arc<Facts>>,
    pub(super) transaction: Transaction,
    /// Of the transaction.
    staging: Option<staging::Staging>,
    /// Its COMMIT is under way.
    committing: bool,
    /// The message that is answered holds several statements.
    several: bool,
    pub(super) cursors: Cursors,
    /// What became of portals since the front end asked last.
    undone: Vec<Undone>,
    notices: Notices,
    /// The versions that its last statement saw, as it may be told.
    saw: String,
    /// Its remembered plans were made under `facts`.
    pub(super) kept: Kept,
    reported: HashMap<&'static str, String>,
    /// Of the settings when they were reported last.
    reported_edition: Option<u64>,
    /// The last world whose policy knows who logged in.
    known_to: Weak<World>,
}

impl Session {
    pub(super) fn open(
        engine: Arc<Engine>,
        principal: Principal,
        startup: &[(String, String)],
        pid: i32,
    ) -> Result<Self> {
        let database = startup::database(startup).unwrap_or(principal.user());
        if database != engine.world().catalog.database {
            return Err(Error::new(Kind::UndefinedDatabase, format!("database \"{database}\" does not exist")));
        }
        let mut settings = Settings::new(principal.user(), &engine.shared.config.search_path);
        if let Some(session) = engine.world().policies.session(&principal) {
            settings.identify(session.identities().map(str::to_owned).collect());
        }
        startup::set(startup, &mut settings)?;
        let own = Arc::new(engine.shared.peers.join(pid, principal.user()));
        let cursors = Listed::default();
        let identity = Identity {
            principal,
            pid,
            others: Others::of(Arc::clone(&own) as Arc<dyn Peers>),
            server_started_at: engine.started_at(),
            session_started_at: micros_now(),
            cursors: cursors.clone(),
            random: Random::default(),
            temporary: Temporary::new(&engine.shared.runtime.memory_pool, engine.shared.config.memory_bytes),
            asked: Default::default(),
            given: Default::default(),
        };
        let cursors = Cursors::new(cursors, &engine.shared.runtime.memory_pool);
        Ok(Self {
            engine,
            identity,
            own,
            settings: SharedSettings::new(settings),
            facts: None,
            transaction: Transaction::none(),
            staging: None,
            committing: false,
            several: false,
            cursors,
            undone: vec![],
            notices: Notices::default(),
            saw: String::new(),
            kept: Kept::default(),
            reported: HashMap::new(),
            reported_edition: None,
            known_to: Weak::new(),
        })
    }

    /// In place of the defaults.
    pub fn limit_kept(&mut self, limits: KeptLimits) {
        self.cursors.limit(limits.cursors_max);
        self.kept.limit(limits);
    }

    pub fn status(&self) -> TransactionStatus {
        self.transaction.status()
    }

    /// How values are spelt now.
    pub fn style(&self) -> Style {
        let settings = self.settings.lock();
        let object_names = self.facts.as_ref().map(|facts| functions::object_names(&facts.view)).unwrap_or_default();
        Style {
            date_style: settings.date_style(),
            interval_style: settings.interval_style(),
            extra_float_digits: settings.extra_float_digits(),
            object_names,
            spelt: SpeltBinary::by(spelt_binary),
            ..Style::of(settings.time_zone())
        }
    }

    /// ParameterStatus pairs that changed since last asked; the first call gives all.
    pub fn reported(&mut self) -> Vec<(String, String)> {
        let settings = self.settings.lock();
        if self.reported_edition.replace(settings.edition()) == Some(settings.edition()) {
            return vec![];
        }
        let mut changed = vec![];
        for (name, value) in settings.reported() {
            if self.reported.get(name).is_none_or(|known| known != value) {
                changed.push((name.to_string(), value.to_string()));
                self.reported.insert(name, value.to_string());
            }
        }
        changed
    }

    /// The versions that the last statement saw which read a table.
    pub(super) fn saw(&self) -> &str {
        &self.saw
    }

    /// What statements said since last asked, in its order.
    pub fn notices(&mut self) -> Vec<Notice> {
        for text in self.own.warned() {
            self.say(Notice::warning("01000", text));
        }
        self.notices.take()
    }

    pub(super) fn say(&mut self, notice: Notice) {
        let least = self.settings.lock().value("client_min_messages").to_string();
        self.notices.say(notice, &least);
    }

    /// Splits a simple Query into statements; a syntax error refuses all of them.
    pub async fn split(&mut self, sql: &str) -> Result<Vec<String>> {
        self.own.asked(sql);
        if self.remembered(sql).is_some() {
            return Ok(vec![sql.to_string()]);
        }
        let record = self.record();
        let deadline = self.deadline();
        let split = in_time(deadline, self.split_now(sql)).await;
        self.several = split.as_ref().is_ok_and(|statements| statements.len() > 1);
        self.refused(record, sql, split)
    }

    /// Plans one statement for this principal under the policy of now. `oids`: declared parameter types, 0 = infer.
    pub async fn prepare(&mut self, sql: &str, oids: &[u32]) -> Result<Arc<Prepared>> {
        self.own.asked(sql);
        self.refresh().await?;
        if oids.is_empty()
            && let Some(prepared) = self.remembered(sql)
        {
            return Ok(prepared);
        }
        let mut record = self.record();
        let deadline = self.deadline();
        let prepared = in_time(deadline, self.prepare_now(sql, oids, &mut record)).await;
        self.refused(record, sql, prepared)
    }

    /// Runs it, guarded anew under the policy of now. A failure marks an open transaction failed.
    pub async fn execute(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<ScalarValue>,
        cancel: CancellationToken,
    ) -> Result<Answer> {
        let Some(statement) = &prepared.statement else { return Ok(Answer::Empty) };
        let mut record = self.record();
        record.kind(statement.kind());
        record.shape(prepared.text.shape);
        self.runs(cancel.clone());
        self.own.bounded(self.deadline(), self.lock_timeout());
        self.transaction.start(&mut self.settings.lock(), self.several);
        let acts_as = statement.acts_as(self);
        let acts_as = acts_as.as_ref().unwrap_or(statement);
        let writes = acts_as.writes();
        let may_run = self.may_run(statement).and_then(|()| self.is_known());
        let outcome = match self.stages(acts_as, may_run).await {
            Ok(()) => {
                let bounds = Bounds { cancel, deadline: self.deadline() };
                let execution = Execution { prepared, parameters, bounds, record: &mut record };
                let outcome = statement.run(self, execution).await;
                match outcome {
                    // its rows are to come yet: what is left to be done is the end of whatever it runs in
                    Ok(Outcome::CopyIn(copy)) => Ok(Outcome::CopyIn(copy)),
                    Ok(outcome) if writes => {
                        let reshaped = matches!(outcome, Outcome::Changed { .. });
                        let mut written = self.written(reshaped).await;
                        if written.is_ok() && !self.transaction.is_block() {
                            written = self.commit_staged().await;
                        }
                        written.map(|()| outcome)
                    }
                    outcome => outcome,
                }
            }
            Err(refused) => Err(refused),
        };
        match outcome {
            Ok(Outcome::Rows(rows)) => Ok(Answer::Rows(rows.recorded(record))),
            Ok(Outcome::CopyOut { rows, layout }) => Ok(Answer::CopyOut { rows: rows.recorded(record), layout }),
            Ok(Outcome::CopyIn(copy)) => Ok(Answer::CopyIn(Box::new(copy.recorded(record)))),
            Ok(Outcome::Done(tag)) => {
                record.done();
                Ok(Answer::Done(tag))
            }
            Ok(Outcome::Changed { tag, world }) => {
                record.done();
                // the next statement of this session sees what this one made
                if self.staging.is_none() {
                    self.engine.current.replaced(&world, SEE_OWN_CHANGE).await;
                }
                Ok(Answer::Done(tag))
            }
            Err(error) => {
                record.failed(&error);
                self.fail();
                Err(error)
            }
        }
    }

    /// Where it may run at all: what it is going to change is the transaction's alone from here on, and so is what a
    /// repeatable one reads.
    async fn stages(&mut self, statement: &Admitted, may_run: Result<()>) -> Result<()> {
        may_run?;
        if statement.sees_data() {
            self.transaction.query(&mut self.settings.lock());
        }
        let writes = statement.writes() && !statement.is_temporary(&self.identity.temporary);
        if (writes && (self.transaction.is_block() || statement.is_several()))
            || (statement.sees_data() && self.transaction.repeats_reads())
        {
            self.stage().await?;
        }
        if self.staging.is_some() {
            self.transaction.within().look_again().await;
        }
        self.refresh().await
    }

    /// Before a suspended result goes on: 42501 where a grant it was opened with is another one now. Rows already sent stay
    /// sent; an edit that changes none of its grants ends nobody's result.
    pub fn recheck(&mut self, rows: &mut Rows) -> Result<()> {
        self.still_holds(&rows.opened).inspect_err(|refused| {
            rows.fail(refused);
            self.fail();
        })
    }

    /// 42501 where one of these grants is another one now.
    fn still_holds(&self, opened: &[OpenedObject]) -> Result<()> {
        match self.judges().still_hold(opened, &self.principal()) {
            true => Ok(()),
            false => Err(policy_changed()),
        }
    }

    /// Named prepared statements, shared between Parse and SQL PREPARE. 42P05 for a name in use, 54000 above the limits;
    /// the unnamed is replaced.
    pub fn keep(&mut self, name: &str, prepared: Arc<Prepared>) -> Result<()> {
        self.kept.keep(name, prepared)
    }

    /// 26000 where there is none; the unnamed one is "".
    pub fn kept(&self, name: &str) -> Result<Arc<Prepared>> {
        self.kept.find(name)
    }

    /// Closing an unknown name is no error.
    pub fn forget(&mut self, name: &str) {
        self.kept.forget(name);
    }

    /// Bytes that a front end keeps for this session, a portal's parameters for one, out of the allowance that prepared
    /// statements draw on. 54000 where that much is not left.
    pub fn hold(&mut self, bytes: usize) -> Result<Held> {
        self.kept.hold(bytes)
    }

    /// A statement that began earlier goes on until `token` is pulled.
    pub fn runs(&self, token: CancellationToken) {
        self.own.runs(token);
    }

    /// What ends it from outside, when another session asks for that.
    pub fn ended_by(&self, end: CancellationToken) {
        self.own.ended_by(end);
    }

    /// It waits for its client now. Between transactions, what others said on its channels is there.
    pub fn rest(&mut self) -> Vec<Notification> {
        let idle = self.status() == TransactionStatus::Idle;
        self.own.rests(!idle, self.settings.lock().value("application_name"));
        if !idle {
            return vec![];
        }
        let heard = self.own.heard();
        if heard.is_empty() || self.is_known().is_ok() { heard } else { vec![] }
    }

    /// 28000 where whoever logged in is nobody any more. Asked once for each world, as is what settings it may read.
    fn is_known(&mut self) -> Result<()> {
        let world = self.engine.world();
        if std::ptr::eq(self.known_to.as_ptr(), Arc::as_ptr(&world)) {
            return Ok(());
        }
        match world.policies.session(&self.identity.principal) {
            Some(session) => {
                let mut settings = self.settings.lock();
                settings.read_all(session.is_admin());
                settings.identify(session.identities().map(str::to_owned).collect());
                drop(settings);
                self.known_to = Arc::downgrade(&world);
                Ok(())
            }
            None => Err(gone()),
        }
    }

    /// Until another session has told it something.
    pub fn bell(&self) -> impl Future<Output = ()> + Send + use<> {
        self.own.bell()
    }

    // --- for statements

    /// Who asks, and in whose place.
    pub(super) fn principal(&self) -> Principal {
        self.identity.principal.acting_for(self.settings.lock().acts_for())
    }

    /// Its statements are not each a transaction by itself.
    pub(super) fn in_block(&self) -> bool {
        self.transaction.is_block()
    }

    pub(super) fn temporary(&self) -> &Temporary {
        &self.identity.temporary
    }

    /// Rights, catalog and settings of now.
    pub(super) fn facts(&mut self) -> Result<Arc<Facts>> {
        let world = self.world();
        if let Some(facts) = &self.facts
            && Arc::ptr_eq(&facts.world, &world)
            && facts.settings_version == self.settings.lock().version()
            && facts.temporary_version == self.identity.temporary.version()
        {
            return Ok(Arc::clone(facts));
        }
        let facts = Arc::new(Facts::new(world, &self.identity, &self.settings, &self.engine.shared)?);
        self.facts = Some(Arc::clone(&facts));
        self.kept.forget_plans();
        Ok(facts)
    }

    /// 25P02 in a failed transaction, 25006 in a read-only one.
    pub(super) fn may_run(&self, statement: &Admitted) -> Result<()> {
        self.may_prepare(statement)?;
        if !statement.writes() {
            return Ok(());
        }
        let words = statement.kind().to_uppercase();
        match statement.is_temporary(&self.identity.temporary) {
            true if statement.fills() => Ok(()),
            true => self.may_change(&words),
            false => self.may_change(&words),
        }
    }

    /// 25006 in a read-only transaction.
    pub(super) fn may_change(&self, words: &str) -> Result<()> {
        if self.settings.lock().is_on("transaction_read_only") {
            let text = format!("cannot execute {words} in a read-only transaction");
            return Err(Error::new(Kind::ReadOnly, text));
        }
        let settings = self.settings.lock();
        if settings.as_of().is_some() || !settings.versions().is_empty() {
            let text = format!("cannot execute {words} while tables are read as they were");
            let hint = "RESET lakegate.as_of_time, lakegate.as_of_version and lakegate.snapshot_vector first.";
            return Err(Error::new(Kind::ReadOnly, text).with_hint(hint));
        }
        Ok(())
    }

    /// Described under the policy of now, so that it can be kept and run.
    pub(super) async fn describe(&mut self, statement: Admitted, told: Told, text: Text) -> Result<Arc<Prepared>> {
        self.may_prepare(&statement)?;
        let described = statement.describe(self, told).await?;
        Ok(Arc::new(Prepared::new(statement, described, text)))
    }

    // --- one statement

    fn record(&self) -> Record {
        Record::begin(&self.principal(), self.engine.world().policies.generation())
    }

    /// What is refused before it runs has a record too; what is not has come to nothing yet.
    fn refused<T>(&mut self, mut record: Record, sql: &str, outcome: Result<T>) -> Result<T> {
        match &outcome {
            Ok(_) => record.not_yet(),
            Err(error) => {
                // a longer one was not looked at either
                if sql.len() <= self.engine.shared.config.statement.statement_bytes_max {
                    record.shape(super::audit::shape(sql));
                }
                record.failed(error);
                self.fail();
            }
        }
        outcome
    }

    fn deadline(&self) -> Option<Instant> {
        let cap = self.engine.shared.config.statement_timeout_ms_max;
        let ms = match (self.settings.lock().statement_timeout_ms(), cap) {
            (0, 0) => return None,
            (0, cap) => cap,
            (own, 0) => own,
            (own, cap) => own.min(cap),
        };
        Some(Instant::now() + Duration::from_millis(ms))
    }

    fn lock_timeout(&self) -> Option<Duration> {
        let ms = self.settings.lock().value("lock_timeout").parse().unwrap_or(0);
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    fn may_prepare(&self, statement: &Admitted) -> Result<()> {
        if self.transaction.has_failed() && !statement.ends_transaction() {
            return Err(aborted());
        }
        Ok(())
    }

    /// The query as it was planned when its text last came, under the world and the settings of now.
    fn remembered(&mut self, sql: &str) -> Option<Arc<Prepared>> {
        if !self.kept.remembers_any() || self.transaction.has_failed() {
            return None;
        }
        self.facts().ok()?;
        self.kept.recall(sql)
    }

    async fn split_now(&mut self, sql: &str) -> Result<Vec<String>> {
        let (text, limits) = (sql.to_string(), self.engine.shared.config.statement.clone());
        let split = self.engine.shared.planner.run(move |_, _| {
            let parsed = limits::parse_pieces(&text, &limits)?;
            if parsed.len() == 1 {
                return Ok(vec![text]);
            }
            Ok(parsed.into_iter().map(|(piece, _)| piece).collect())
        });
        split.await
    }

    async fn prepare_now(&mut self, sql: &str, oids: &[u32], record: &mut Record) -> Result<Arc<Prepared>> {
        let (text, limits) = (sql.to_string(), self.engine.shared.config.statement.clone());
        if oids.len() > limits.parameters_max {
            return Err(Error::new(Kind::TooLarge, format!("more than {} parameters", limits.parameters_max)));
        }
        let parse = self.engine.shared.planner.run(move |_, _| {
            let mut parsed = limits::parse(&text, &limits)?;
            match (parsed.pop(), parsed.is_empty()) {
                (None, _) => Ok(None),
                (Some(only), true) => statement::admit(only).map(Some),
                (Some(_), false) => {
                    Err(Error::new(Kind::Syntax, "cannot insert multiple commands into a prepared statement"))
                }
            }
        });
        let admitted = parse.await?;
        let declared = declared(oids)?;
        let text = Text::of(sql);
        let Some(statement) = admitted else { return Ok(Arc::new(Prepared::empty(text))) };
        record.kind(statement.kind());
        let told = Told { text: sql.into(), declared, into: vec![] };
        let prepared = self.describe(statement, told, text).await?;
        let asks_sources = prepared.planned().is_some_and(|planned| planned.reached.asks_sources);
        let is_remembered = prepared.statement.as_ref().is_some_and(|statement| statement.is_remembered());
        if oids.is_empty() && is_remembered && !asks_sources {
            self.kept.remember(sql, &prepared);
        }
        Ok(prepared)
    }
}

/// 25P02.
fn aborted() -> Error {
    let text = "current transaction is aborted, commands ignored until end of transaction block";
    Error::new(Kind::InFailedTransaction, text)
}

/// 42501.
pub(super) fn policy_changed() -> Error {
    Error::new(Kind::PermissionDenied, "policy changed; run the statement again")
}

#[cfg(test)]
pub(super) mod tests;
