//! A session: principal, settings, prepared statements, and the state of its transaction. It hands queries to the
//! pipeline and answers the other statements itself; it speaks no protocol.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{Expr, SelectItem, SetExpr, Statement};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::audit::Record;
use super::deep::{Deep, on_big_stack};
use super::kept::{Held, Kept, KeptLimits};
use super::pipeline::{self, Asked, Caching, Planned, Told};
use super::run::{self, Bounds, Rows};
use super::session::{Facts, Identity};
use super::settings::Settings;
use super::statement::{Admitted, admit};
use super::stop::Stop;
use super::{Engine, limits, micros_now, write};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::{self, Style};
use crate::policy::{Action, Principal};

/// `I`, `T`, `E` of ReadyForQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    Active,
    Failed,
}

/// A parsed statement, its parameter types and its result columns: what Describe answers.
#[derive(Debug)]
pub struct Prepared {
    /// Oids of `$1 …`.
    pub parameters: Vec<u32>,
    /// `None`: the statement returns no rows.
    pub columns: Option<SchemaRef>,
    /// `None`: an empty statement.
    admitted: Option<Deep<Admitted>>,
    pub(super) text: Text,
    planned: Mutex<Option<Arc<Planned>>>,
    /// What its text takes of the session's allowance, once somebody keeps it.
    pub(super) held: OnceLock<Held>,
}

/// What is known of a statement's text when the text is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    /// Fingerprint of the text without its literals.
    shape: u64,
    pub(super) bytes: usize,
}

impl Text {
    fn of(sql: &str) -> Self {
        Self { shape: super::audit::shape(sql), bytes: sql.len() }
    }
}

/// What an execution gives.
#[derive(Debug)]
pub enum Answer {
    /// Rows, then CommandComplete with the tag's word and the count (`SELECT 5`).
    Rows(Rows),
    /// CommandComplete with this tag (`SET`, `INSERT 0 5`).
    Done(String),
    /// EmptyQueryResponse.
    Empty,
}

/// One login.
#[derive(Debug)]
pub struct Session {
    engine: Arc<Engine>,
    identity: Identity,
    settings: Settings,
    facts: Option<Arc<Facts>>,
    status: TransactionStatus,
    /// Settings as they stood at BEGIN, for ROLLBACK; and what SET LOCAL hid, for COMMIT.
    before: Option<Settings>,
    local: Vec<(String, String)>,
    /// Its remembered plans were made under `facts`.
    kept: Kept,
    reported: HashMap<&'static str, String>,
}

impl Session {
    pub(super) fn open(
        engine: Arc<Engine>,
        principal: Principal,
        startup: &[(String, String)],
        pid: i32,
    ) -> Result<Self> {
        let mut settings = Settings::new(principal.user(), &engine.shared.config.search_path);
        let database = startup.iter().find(|(n, _)| n == "database").map(|(_, v)| v.as_str());
        let database = database.unwrap_or(principal.user());
        if database != engine.world().catalog.database {
            return Err(Error::new(Kind::UndefinedDatabase, format!("database \"{database}\" does not exist")));
        }
        for (name, value) in startup {
            match name.as_str() {
                "user" | "database" | "replication" => {}
                "options" => {
                    for (name, value) in options(value)? {
                        settings.set(&name, &value)?;
                    }
                }
                // clients quote it: client_encoding = 'utf-8'
                _ => settings.set(name, value.trim_matches('\''))?,
            }
        }
        settings.started();
        let identity =
            Identity { principal, pid, server_started_at: engine.started_at(), session_started_at: micros_now() };
        Ok(Self {
            engine,
            identity,
            settings,
            facts: None,
            status: TransactionStatus::Idle,
            before: None,
            local: vec![],
            kept: Kept::default(),
            reported: HashMap::new(),
        })
    }

    /// In place of the defaults.
    pub fn limit_kept(&mut self, limits: KeptLimits) {
        self.kept.limit(limits);
    }

    pub fn status(&self) -> TransactionStatus {
        self.status
    }

    /// How values are spelt now.
    pub fn style(&self) -> Style {
        let extra_float_digits = self.settings.extra_float_digits();
        Style { extra_float_digits, ..Style::of(self.settings.time_zone()) }
    }

    /// ParameterStatus pairs that changed since last asked; the first call gives all.
    pub fn reported(&mut self) -> Vec<(String, String)> {
        let mut changed = vec![];
        for (name, value) in self.settings.reported() {
            if self.reported.get(name) != Some(&value) {
                changed.push((name.to_string(), value.clone()));
                self.reported.insert(name, value);
            }
        }
        changed
    }

    /// Splits a simple Query into statements; a syntax error refuses all of them.
    pub async fn split(&mut self, sql: &str) -> Result<Vec<String>> {
        if self.remembered(sql).is_some() {
            return Ok(vec![sql.to_string()]);
        }
        let (text, limits) = (sql.to_string(), self.engine.shared.config.statement.clone());
        let split = self.engine.shared.planner.run(move |_, _| {
            let parsed = limits::parse_pieces(&text, &limits)?;
            if parsed.len() == 1 {
                return Ok(vec![text]);
            }
            let mut several = vec![];
            for (piece, statement) in parsed {
                several.push(piece);
                // several statements are one implicit transaction, and writes cannot share one yet
                if admit(statement).is_ok_and(|a| a.writes()) {
                    return Err(in_block("a statement that writes"));
                }
            }
            Ok(several)
        });
        let split = split.await;
        if split.is_err() {
            self.fail();
        }
        split
    }

    /// Plans one statement for this principal under the policy of now. `oids`: declared parameter types, 0 = infer.
    pub async fn prepare(&mut self, sql: &str, oids: &[u32]) -> Result<Arc<Prepared>> {
        let prepared = self.prepare_now(sql, oids).await;
        if prepared.is_err() {
            self.fail();
        }
        prepared
    }

    /// Runs it, guarded anew under the policy of now. A failure marks an open transaction failed.
    pub async fn execute(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<ScalarValue>,
        cancel: CancellationToken,
    ) -> Result<Answer> {
        let Some(admitted) = &prepared.admitted else { return Ok(Answer::Empty) };
        let generation = self.engine.world().policies.generation();
        let record = Record::new(self.identity.principal.user(), admitted.kind(), prepared.text.shape, generation);
        let bounds = Bounds { cancel, deadline: self.deadline() };
        let answer = match self.may_run(admitted) {
            Ok(()) => self.answer(prepared, admitted, parameters, bounds, record).await,
            Err(error) => {
                record.failed(&error);
                Err(error)
            }
        };
        if answer.is_err() {
            self.fail();
        }
        answer
    }

    /// Before a suspended result goes on: 42501 where a grant it was opened with is another one now. Rows already sent stay
    /// sent; an edit that changes none of its grants ends nobody's result.
    pub fn recheck(&mut self, rows: &Rows) -> Result<()> {
        let policies = Arc::clone(&self.engine.world().policies);
        let holds = match policies.session(&self.identity.principal) {
            Some(session) => rows.opened.iter().all(|object| object.holds(&policies, &session)),
            None => false,
        };
        if holds {
            return Ok(());
        }
        self.fail();
        Err(Error::new(Kind::PermissionDenied, "policy changed; run the statement again"))
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

    /// An error between statements or inside a result: an open transaction is failed.
    pub fn fail(&mut self) {
        if self.status == TransactionStatus::Active {
            self.status = TransactionStatus::Failed;
        }
    }

    // --- one statement

    fn deadline(&self) -> Option<Instant> {
        let cap = self.engine.shared.config.statement_timeout_ms_max;
        let ms = match (self.settings.statement_timeout_ms(), cap) {
            (0, 0) => return None,
            (0, cap) => cap,
            (own, 0) => own,
            (own, cap) => own.min(cap),
        };
        Some(Instant::now() + Duration::from_millis(ms))
    }

    fn facts(&mut self) -> Result<Arc<Facts>> {
        let world = self.engine.world();
        if let Some(facts) = &self.facts
            && Arc::ptr_eq(&facts.world, &world)
            && facts.settings_version == self.settings.version()
        {
            return Ok(Arc::clone(facts));
        }
        let shared = &self.engine.shared;
        let facts = Facts::new(world, &self.identity, &self.settings, shared)?;
        let facts = Arc::new(facts);
        self.facts = Some(Arc::clone(&facts));
        self.kept.forget_plans();
        Ok(facts)
    }

    fn may_run(&self, admitted: &Admitted) -> Result<()> {
        let ends = matches!(admitted, Admitted::Commit | Admitted::Rollback);
        if self.status == TransactionStatus::Failed && !ends {
            let text = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Error::new(Kind::InFailedTransaction, text));
        }
        if admitted.writes() {
            if self.settings.is_on("transaction_read_only") {
                let text = format!("cannot execute {} in a read-only transaction", admitted.kind().to_uppercase());
                return Err(Error::new(Kind::ReadOnly, text));
            }
            if self.status == TransactionStatus::Active {
                return Err(in_block(&admitted.kind().to_uppercase()));
            }
        }
        Ok(())
    }

    /// The query as it was planned when its text last came, under the world and the settings of now.
    fn remembered(&mut self, sql: &str) -> Option<Arc<Prepared>> {
        if !self.kept.remembers_any() || self.status == TransactionStatus::Failed {
            return None;
        }
        self.facts().ok()?;
        self.kept.recall(sql)
    }

    async fn prepare_now(&mut self, sql: &str, oids: &[u32]) -> Result<Arc<Prepared>> {
        if oids.is_empty()
            && let Some(prepared) = self.remembered(sql)
        {
            return Ok(prepared);
        }
        let (text, limits) = (sql.to_string(), self.engine.shared.config.statement.clone());
        if oids.len() > limits.parameters_max {
            return Err(Error::new(Kind::TooLarge, format!("more than {} parameters", limits.parameters_max)));
        }
        let parse = move |_: &Stop, _: &Handle| {
            let mut parsed = limits::parse(&text, &limits)?;
            match (parsed.pop(), parsed.is_empty()) {
                (None, _) => Ok(None),
                (Some(only), true) => admit(only).map(|admitted| Some(Deep::new(admitted))),
                (Some(_), false) => {
                    Err(Error::new(Kind::Syntax, "cannot insert multiple commands into a prepared statement"))
                }
            }
        };
        let admitted = self.engine.shared.planner.run(parse).await?;
        let declared =
            oids.iter().enumerate().map(|(i, oid)| declared_field(i + 1, *oid)).collect::<Result<Vec<_>>>()?;
        let text = Text::of(sql);
        match admitted {
            None => Ok(Arc::new(Prepared::without_rows(None, text))),
            Some(admitted) => {
                let is_query = matches!(*admitted, Admitted::Query(_));
                let prepared = self.prepare_admitted(admitted, declared, text, sql).await?;
                if is_query && oids.is_empty() {
                    self.kept.remember(sql, &prepared);
                }
                Ok(prepared)
            }
        }
    }

    async fn prepare_admitted(
        &mut self,
        admitted: Deep<Admitted>,
        declared: Vec<Option<FieldRef>>,
        text: Text,
        sql: &str,
    ) -> Result<Arc<Prepared>> {
        let failed = self.status == TransactionStatus::Failed;
        if failed && !matches!(*admitted, Admitted::Commit | Admitted::Rollback) {
            self.may_run(&admitted)?;
        }
        let (query, declared) = match &*admitted {
            Admitted::Query(query) => (query, declared),
            Admitted::Insert { query, .. } => (query, declared),
            Admitted::CreateTableAs { query, .. } => (query, declared),
            Admitted::Show(name) => {
                let columns = Some(self.show(name)?.schema());
                return Ok(Arc::new(Prepared { columns, ..Prepared::without_rows(Some(admitted), text) }));
            }
            Admitted::Execute { name, .. } => {
                // the rows of what it runs, for Describe
                let columns = self.kept(name).ok().and_then(|kept| kept.columns.clone());
                return Ok(Arc::new(Prepared { columns, ..Prepared::without_rows(Some(admitted), text) }));
            }
            _ => return Ok(Arc::new(Prepared::without_rows(Some(admitted), text))),
        };
        let facts = self.facts()?;
        let query = on_big_stack(|| Deep::new(query.as_ref().clone()));
        let into = self.stored_in(&admitted)?;
        let asked = Asked { query, told: Told { text: sql.into(), declared, into } };
        let planned = pipeline::plan(&self.engine.shared, &facts, asked).await?;
        let parameters = planned.parameters.iter().map(|f| Ok(postgres::pg_type(f)?.oid)).collect::<Result<_>>()?;
        let columns = matches!(*admitted, Admitted::Query(_)).then(|| Arc::clone(&planned.columns));
        if let Some(columns) = &columns {
            columns.fields().iter().try_for_each(|f| postgres::pg_type(f).map(|_| ()))?;
        }
        Ok(Arc::new(Prepared {
            parameters,
            columns,
            planned: Mutex::new(Some(Arc::new(planned))),
            ..Prepared::without_rows(Some(admitted), text)
        }))
    }

    /// The columns of the table that an INSERT's rows go to, in the order of its query's. Empty for other statements.
    fn stored_in(&mut self, admitted: &Admitted) -> Result<Vec<FieldRef>> {
        let Admitted::Insert { table, columns, .. } = admitted else { return Ok(vec![]) };
        let facts = self.facts()?;
        let (entry, _) = write::target(&facts, table, Action::Insert)?;
        let schema = write::insertable(&facts, entry)?;
        if columns.is_empty() {
            return Ok(schema.fields().to_vec());
        }
        let named = |name: &String| {
            let missing = || {
                let text = format!("column \"{name}\" of relation \"{}\" does not exist", table.table);
                Error::new(Kind::UndefinedColumn, text)
            };
            schema.fields().find(name).map(|(_, field)| Arc::clone(field)).ok_or_else(missing)
        };
        columns.iter().map(named).collect()
    }

    async fn answer(
        &mut self,
        prepared: &Arc<Prepared>,
        admitted: &Admitted,
        parameters: Vec<ScalarValue>,
        bounds: Bounds,
        record: Record,
    ) -> Result<Answer> {
        let done = |tag: &str| Ok(Answer::Done(tag.to_string()));
        let answer = match admitted {
            Admitted::Query(_) => return self.query(prepared, parameters, bounds, record).await.map(Answer::Rows),
            Admitted::Execute { name, parameters } => {
                return self.execute_named(name, parameters, bounds, record).await;
            }
            Admitted::Show(name) => match self.show(name) {
                Ok(batch) => return Ok(Answer::Rows(Rows::computed("SHOW", batch, bounds, record))),
                Err(error) => Err(error),
            },
            Admitted::Set { name, value, local } => self.set(name, value.as_deref(), *local).and_then(|()| done("SET")),
            Admitted::ResetAll => {
                self.settings.reset_all();
                done("RESET")
            }
            Admitted::SetTransaction { read_only } => self.set_transaction(*read_only).and_then(|()| done("SET")),
            Admitted::Begin { read_only } => self.begin(*read_only).and_then(|()| done("BEGIN")),
            Admitted::Commit => done(self.end(true)),
            Admitted::Rollback => done(self.end(false)),
            Admitted::Prepare { name, types, statement, text } => {
                let statement = on_big_stack(|| Deep::new(statement.as_ref().clone()));
                self.prepare_named(name, types, statement, text).await.and_then(|()| done("PREPARE"))
            }
            Admitted::Deallocate(name) => self.deallocate(name.as_deref()).and_then(|()| done("DEALLOCATE")),
            Admitted::DiscardAll => self.discard_all().and_then(|()| done("DISCARD ALL")),
            Admitted::Insert { .. }
            | Admitted::CreateTableAs { .. }
            | Admitted::CreateTable { .. }
            | Admitted::DropTable { .. }
            | Admitted::CreateSchema { .. }
            | Admitted::DropSchema { .. } => {
                return self.write(prepared, admitted, parameters, bounds, record).await.map(Answer::Done);
            }
        };
        match answer {
            Ok(answer) => {
                record.done();
                Ok(answer)
            }
            Err(error) => {
                record.failed(&error);
                Err(error)
            }
        }
    }

    async fn query(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<ScalarValue>,
        bounds: Bounds,
        record: Record,
    ) -> Result<Rows> {
        let caching = match self.settings.is_on("lakegate.cache") && self.engine.shared.results.is_some() {
            true => Caching::On,
            false => Caching::Off,
        };
        let ready = bounds.hold(self.ready(prepared, parameters, caching, &bounds)).await;
        match ready {
            Ok(ready) => run::run(&self.engine.shared.lanes, ready, bounds, record),
            Err(error) => {
                record.failed(&error);
                Err(error)
            }
        }
    }

    /// Planned for the world of now; planned again once where a table changed under the plan.
    async fn ready(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<ScalarValue>,
        caching: Caching,
        bounds: &Bounds,
    ) -> Result<pipeline::Ready> {
        let planned = self.planned(prepared).await?;
        let first = pipeline::ready(&self.engine.shared, &planned, parameters.clone(), caching, bounds).await;
        let changed = |e: &Error| e.kind() == Kind::CachedPlanChanged;
        match first {
            Err(error) if changed(&error) => {
                self.await_other_world(&planned.facts).await;
                let planned = self.planned(prepared).await?;
                pipeline::ready(&self.engine.shared, &planned, parameters, caching, bounds).await
            }
            other => other,
        }
    }

    /// The world's builder looks three times a second; a table that changed is seen within its next look or two.
    async fn await_other_world(&self, facts: &Facts) {
        for _ in 0..40 {
            if !Arc::ptr_eq(&self.engine.world(), &facts.world) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn planned(&mut self, prepared: &Arc<Prepared>) -> Result<Arc<Planned>> {
        let facts = self.facts()?;
        let kept = prepared.planned.lock().expect("no panic under the lock").clone();
        if let Some(planned) = kept.filter(|p| Arc::ptr_eq(&p.facts, &facts)) {
            return Ok(planned);
        }
        let query = match prepared.admitted.as_deref() {
            Some(Admitted::Query(q) | Admitted::Insert { query: q, .. } | Admitted::CreateTableAs { query: q, .. }) => {
                on_big_stack(|| Deep::new(q.as_ref().clone()))
            }
            _ => return Err(Error::internal("a statement without a query was to be planned")),
        };
        // the client decoded its parameters by the types it was told
        let types = prepared.parameters.iter().enumerate().map(|(i, oid)| declared_field(i + 1, *oid));
        let types = types.collect::<Result<Vec<_>>>()?;
        let into = match prepared.admitted.as_deref() {
            Some(admitted) => self.stored_in(admitted)?,
            None => vec![],
        };
        let asked = Asked { query, told: Told { text: "".into(), declared: types, into } };
        let planned = pipeline::plan(&self.engine.shared, &facts, asked).await?;
        if let Some(columns) = &prepared.columns
            && !same_types(columns, &planned.columns)
        {
            return Err(Error::new(Kind::Unsupported, "cached plan must not change result type"));
        }
        let planned = Arc::new(planned);
        *prepared.planned.lock().expect("no panic under the lock") = Some(Arc::clone(&planned));
        Ok(planned)
    }

    // --- prepared statements by SQL

    async fn prepare_named(
        &mut self,
        name: &str,
        types: &[datafusion::sql::sqlparser::ast::DataType],
        statement: Deep<Admitted>,
        text: &str,
    ) -> Result<()> {
        let declared = types.iter().enumerate().map(|(i, t)| {
            let unknown = || Error::new(Kind::UndefinedObject, format!("type \"{t}\" does not exist"));
            let (oid, _) = postgres::by_name(&t.to_string()).ok_or_else(unknown)?;
            declared_field(i + 1, oid)
        });
        let declared = declared.collect::<Result<Vec<_>>>()?;
        let prepared = self.prepare_admitted(statement, declared, Text::of(text), "").await?;
        self.keep(name, prepared)
    }

    async fn execute_named(&mut self, name: &str, given: &[Expr], bounds: Bounds, record: Record) -> Result<Answer> {
        let found = match self.kept(name) {
            Ok(found) => self.evaluate(given, &found).await.map(|values| (found, values)),
            Err(error) => Err(error),
        };
        match found {
            Ok((found, values)) => {
                let Some(admitted) = &found.admitted else { return Ok(Answer::Empty) };
                self.may_run(admitted)?;
                // a statement prepared by SQL is a query or an INSERT, so this goes one level deep
                Box::pin(self.answer(&found, admitted, values, bounds, record)).await
            }
            Err(error) => {
                record.failed(&error);
                Err(error)
            }
        }
    }

    /// EXECUTE's arguments: constants, computed as a query of their own.
    async fn evaluate(&mut self, given: &[Expr], prepared: &Prepared) -> Result<Vec<ScalarValue>> {
        if given.len() != prepared.parameters.len() {
            let text =
                format!("wrong number of parameters: {} expected, {} given", prepared.parameters.len(), given.len());
            return Err(Error::new(Kind::Syntax, text));
        }
        if given.is_empty() {
            return Ok(vec![]);
        }
        let list = on_big_stack(|| Deep::new(given.to_vec()));
        let parse = move |_: &Stop, _: &Handle| select(list.into_inner()).map(Deep::new);
        let admitted = self.engine.shared.planner.run(parse).await?;
        let query = self.prepare_admitted(admitted, vec![], Text::of("EXECUTE"), "").await?;
        let bounds = Bounds { cancel: CancellationToken::new(), deadline: self.deadline() };
        let ready = self.ready(&query, vec![], Caching::Never, &bounds).await?;
        let record = Record::new(self.identity.principal.user(), "execute", 0, 0);
        let mut rows = run::run(&self.engine.shared.lanes, ready, bounds, record)?;
        let batch = rows.next().await.ok_or_else(|| Error::internal("arguments gave no row"))??;
        let values = batch.columns().iter().zip(&prepared.parameters).map(|(column, oid)| {
            let value = ScalarValue::try_from_array(column, 0)?;
            Ok(value.cast_to(&postgres::parameter_type(*oid)?)?)
        });
        values.collect()
    }

    fn deallocate(&mut self, name: Option<&str>) -> Result<()> {
        match name {
            None => self.kept.forget_all(),
            Some(name) => {
                self.kept(name)?;
                self.kept.forget(name);
            }
        }
        Ok(())
    }

    fn discard_all(&mut self) -> Result<()> {
        if self.status != TransactionStatus::Idle {
            return Err(in_block("DISCARD ALL"));
        }
        self.kept.forget_all();
        self.settings.reset_all();
        Ok(())
    }

    // --- settings and transactions

    fn show(&self, name: &str) -> Result<RecordBatch> {
        if name == "all" {
            let all = self.settings.all();
            let column = |pick: fn(&(String, String, String)) -> &String| -> ArrayRef {
                Arc::new(all.iter().map(|s| Some(pick(s).as_str())).collect::<StringArray>())
            };
            let columns = [column(|s| &s.0), column(|s| &s.1), column(|s| &s.2)];
            return text_batch(&["name", "setting", "description"], columns.to_vec());
        }
        let value = self.settings.get(name)?;
        text_batch(&[name], vec![Arc::new(StringArray::from(vec![value]))])
    }

    fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        if local {
            let before = self.settings.get(name)?.to_string();
            if self.status == TransactionStatus::Idle {
                return Ok(()); // PostgreSQL warns and does nothing
            }
            self.local.push((name.to_string(), before));
        }
        match value {
            Some(value) => self.settings.set(name, value),
            None => self.settings.reset(name),
        }
    }

    fn set_transaction(&mut self, read_only: Option<bool>) -> Result<()> {
        if let (Some(read_only), TransactionStatus::Active) = (read_only, self.status) {
            self.settings.set("transaction_read_only", if read_only { "on" } else { "off" })?;
        }
        Ok(())
    }

    fn begin(&mut self, read_only: Option<bool>) -> Result<()> {
        if self.status != TransactionStatus::Idle {
            return Ok(()); // "there is already a transaction in progress", a warning
        }
        self.before = Some(self.settings.clone());
        self.status = TransactionStatus::Active;
        let by_default = self.settings.is_on("default_transaction_read_only");
        self.settings.set("transaction_read_only", if read_only.unwrap_or(by_default) { "on" } else { "off" })
    }

    fn end(&mut self, commit: bool) -> &'static str {
        let failed = self.status == TransactionStatus::Failed;
        let before = self.before.take();
        let local = std::mem::take(&mut self.local);
        self.status = TransactionStatus::Idle;
        if commit && !failed {
            for (name, value) in local.into_iter().rev() {
                // it was a valid value when it was hidden
                let _ = self.settings.set(&name, &value);
            }
            let _ = self.settings.reset("transaction_read_only");
            return "COMMIT";
        }
        if let Some(mut before) = before {
            before.follow(&self.settings);
            self.settings = before;
        }
        "ROLLBACK"
    }

    // --- writing

    async fn write(
        &mut self,
        prepared: &Arc<Prepared>,
        admitted: &Admitted,
        parameters: Vec<ScalarValue>,
        bounds: Bounds,
        record: Record,
    ) -> Result<String> {
        let world = self.engine.world();
        let written = self.write_now(prepared, admitted, parameters, &bounds).await;
        match written {
            Ok(Written { tag, target, makes }) => {
                record.target(&target).done();
                if makes {
                    // the next statement of this session sees what this one made
                    self.await_change(&world).await;
                }
                Ok(tag)
            }
            Err(error) => {
                record.failed(&error);
                Err(error)
            }
        }
    }

    async fn await_change(&self, world: &Arc<super::World>) {
        for _ in 0..40 {
            if !Arc::ptr_eq(&self.engine.world(), world) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    async fn write_now(
        &mut self,
        prepared: &Arc<Prepared>,
        admitted: &Admitted,
        parameters: Vec<ScalarValue>,
        bounds: &Bounds,
    ) -> Result<Written> {
        let facts = self.facts()?;
        match admitted {
            Admitted::CreateSchema { name, if_not_exists } => {
                let makes = write::create_schema(&facts, name, *if_not_exists).await?;
                Ok(Written::new("CREATE SCHEMA", name.clone(), makes))
            }
            Admitted::DropSchema { names, if_exists } => {
                let mut dropped = vec![];
                for name in names {
                    match write::writer_for_drop(&facts, name) {
                        Ok(writer) => {
                            writer.drop_schema(name).await?;
                            dropped.push(name.as_str());
                        }
                        Err(e) if *if_exists && e.kind() == Kind::UndefinedSchema => {}
                        Err(e) => return Err(e),
                    }
                }
                Ok(Written::new("DROP SCHEMA", dropped.join(" "), !dropped.is_empty()))
            }
            Admitted::CreateTable { name, columns, if_not_exists } => {
                let name = write::new_table(&facts, name)?;
                let writer = write::writer_for_create(&facts, &name)?;
                let schema = write::schema_of(columns)?;
                let made = made(writer.create_table(&name, schema, None).await, *if_not_exists)?;
                Ok(Written::new("CREATE TABLE", name.to_string(), made.is_some()))
            }
            Admitted::CreateTableAs { name, if_not_exists, .. } => {
                let name = write::new_table(&facts, name)?;
                let writer = write::writer_for_create(&facts, &name)?;
                let ready = bounds.hold(self.ready(prepared, parameters, Caching::Never, bounds)).await?;
                let schema = write::schema_of_query(&ready.columns)?;
                let rows = self.rows_to_write(ready, bounds, None, &schema)?;
                let target = name.clone();
                let write = async move { writer.create_table(&target, schema, Some(rows)).await };
                let made = made(self.engine.shared.lanes.run(write).await, *if_not_exists)?;
                let tag = format!("SELECT {}", made.unwrap_or(0));
                Ok(Written::new(tag, name.to_string(), made.is_some()))
            }
            Admitted::DropTable { names, if_exists } => {
                let mut dropped = vec![];
                for name in names {
                    match write::target(&facts, name, Action::Drop) {
                        Ok((entry, writer)) => {
                            writer.drop_table(&entry.object.name).await?;
                            dropped.push(entry.object.name.to_string());
                        }
                        Err(e) if *if_exists && e.kind() == Kind::UndefinedTable => {}
                        Err(e) => return Err(e),
                    }
                }
                Ok(Written::new("DROP TABLE", dropped.join(" "), !dropped.is_empty()))
            }
            Admitted::Insert { table, columns, .. } => {
                let (entry, writer) = write::target(&facts, table, Action::Insert)?;
                let (name, schema) = (&entry.object.name, &entry.object.schema);
                let (table, shown) = (write::table(entry)?, write::insertable(&facts, entry)?);
                let ready = bounds.hold(self.ready(prepared, parameters, Caching::Never, bounds)).await?;
                let order = write::arrange(columns, ready.columns.fields().len(), &shown, schema)?;
                let rows = self.rows_to_write(ready, bounds, Some(order), schema)?;
                let write = async move { writer.append(table.as_ref(), rows).await };
                let tag = format!("INSERT 0 {}", self.engine.shared.lanes.run(write).await?);
                Ok(Written::new(tag, name.to_string(), false))
            }
            other => Err(Error::internal(format!("{} does not write", other.kind()))),
        }
    }

    fn rows_to_write(
        &self,
        ready: pipeline::Ready,
        bounds: &Bounds,
        order: Option<Vec<Option<usize>>>,
        schema: &SchemaRef,
    ) -> Result<datafusion::execution::SendableRecordBatchStream> {
        let generation = ready.guarded.opened().len() as u64;
        let record = Record::new(self.identity.principal.user(), "select for writing", 0, generation);
        let rows = run::run(&self.engine.shared.lanes, ready, bounds.clone(), record)?;
        Ok(rows.into_stream(order, Arc::clone(schema)))
    }
}

impl Prepared {
    fn without_rows(admitted: Option<Deep<Admitted>>, text: Text) -> Self {
        Self { parameters: vec![], columns: None, admitted, text, planned: Mutex::new(None), held: OnceLock::new() }
    }

    /// An empty statement that is said to have this text.
    #[cfg(test)]
    pub(super) fn of_text(text: &str) -> Self {
        Self::without_rows(None, Text::of(text))
    }

    /// Nothing between two semicolons.
    pub fn is_empty(&self) -> bool {
        self.admitted.is_none()
    }
}

/// `SELECT` with this list. Made of a text that is always the same: what a client wrote is put in as it was parsed.
fn select(list: Vec<Expr>) -> Result<Admitted> {
    let statement = limits::parse("SELECT NULL", &limits::Limits::default())?.pop();
    let Some(Statement::Query(mut query)) = statement else { return Err(Error::internal("SELECT NULL is no query")) };
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = list.into_iter().map(SelectItem::UnnamedExpr).collect();
    }
    admit(Statement::Query(query))
}

fn in_block(what: &str) -> Error {
    Error::new(Kind::ActiveTransaction, format!("{what} cannot run inside a transaction block"))
        .with_hint("Each write to the lake is a commit of its own: send it alone, with autocommit on.")
}

/// What a statement wrote.
struct Written {
    tag: String,
    target: String,
    /// Something is there now that was not, or the other way round.
    makes: bool,
}

impl Written {
    fn new(tag: impl Into<String>, target: String, makes: bool) -> Self {
        Self { tag: tag.into(), target, makes }
    }
}

/// `None`: it was there already, and may.
fn made(made: Result<u64>, if_not_exists: bool) -> Result<Option<u64>> {
    match made {
        Err(e) if if_not_exists && e.kind() == Kind::DuplicateTable => Ok(None),
        other => other.map(Some),
    }
}

fn declared_field(number: usize, oid: u32) -> Result<Option<FieldRef>> {
    if matches!(oid, 0 | 705) {
        return Ok(None);
    }
    let data_type = postgres::parameter_type(oid)?;
    let metadata = [(postgres::OID.to_string(), oid.to_string())].into();
    Ok(Some(Arc::new(Field::new(format!("${number}"), data_type, true).with_metadata(metadata))))
}

fn same_types(a: &Schema, b: &Schema) -> bool {
    let pairs = a.fields().iter().zip(b.fields());
    a.fields().len() == b.fields().len()
        && pairs.clone().all(|(x, y)| x.name() == y.name() && x.data_type() == y.data_type())
}

fn text_batch(names: &[&str], columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let fields = names.iter().map(|n| Field::new(*n, DataType::Utf8, true)).collect::<Vec<_>>();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// `-c name=value` and `--name=value`, blanks escaped by a backslash.
fn options(text: &str) -> Result<Vec<(String, String)>> {
    let mut words: Vec<String> = vec![];
    let (mut word, mut escaped) = (String::new(), false);
    for c in text.chars() {
        match c {
            '\\' if !escaped => escaped = true,
            ' ' if !escaped => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => {
                word.push(c);
                escaped = false;
            }
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    let bad = || Error::new(Kind::InvalidParameter, "invalid command-line argument for server process");
    let mut settings = vec![];
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let pair = match word.as_str() {
            "-c" => words.next().ok_or_else(bad)?,
            w => w.strip_prefix("-c").or_else(|| w.strip_prefix("--")).ok_or_else(bad)?.to_string(),
        };
        let (name, value) = pair.split_once('=').ok_or_else(bad)?;
        settings.push((name.to_string(), value.to_string()));
    }
    Ok(settings)
}
