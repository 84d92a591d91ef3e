//! One statement's life: the one door through which anything is asked. No front end holds a plan or a table.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::formats::postgres::Style;
use arrow::array::RecordBatch;

pub use crate::policy::Principal;

/// Shared by every session.
#[derive(Debug)]
pub struct Engine {}

/// One login: principal, settings, prepared statements, transaction state.
#[derive(Debug)]
pub struct Session {}

/// `I`, `T`, `E` of ReadyForQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    Active,
    Failed,
}

/// A parsed statement, its parameter types and its result columns: what Describe answers.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Oids of `$1 …`.
    pub parameters: Vec<u32>,
    /// `None`: the statement returns no rows.
    pub columns: Option<SchemaRef>,
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

/// A result: its columns (names as Postgres would give them) and a stream of batches under deadline, budget and cancel.
#[derive(Debug)]
pub struct Rows {}

impl Rows {
    pub fn schema(&self) -> SchemaRef {
        todo!()
    }

    /// `SELECT`, `SHOW` …: the word of the command tag.
    pub fn tag(&self) -> &str {
        todo!()
    }

    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        todo!()
    }
}

impl Engine {
    /// The SCRAM verifier of `user`, in the text form Postgres stores, for the exchange; for an unknown user a mock one
    /// that no password fits, the same at each call (salt = HMAC(server key, name)).
    pub fn verifier(&self, user: &str) -> String {
        let _ = user;
        todo!()
    }

    /// After a SCRAM exchange succeeded; called by `wire/auth.rs` alone. 28000 where the user was removed meanwhile.
    pub fn login(&self, user: &str) -> Result<Principal> {
        let _ = user;
        todo!()
    }

    /// `startup`: the parameters of the startup message (database, options, client_encoding, TimeZone …); 3D000 for
    /// another database, 22023/42704 for settings. `pid` is shown in pg_stat_activity and pg_backend_pid().
    pub fn session(self: &Arc<Self>, principal: Principal, startup: &[(String, String)], pid: i32) -> Result<Session> {
        let _ = (principal, startup, pid);
        todo!()
    }
}

impl Session {
    pub fn status(&self) -> TransactionStatus {
        todo!()
    }

    /// How values are spelt now (TimeZone).
    pub fn style(&self) -> Style {
        todo!()
    }

    /// ParameterStatus pairs that changed since last asked; the first call gives all.
    pub fn reported(&mut self) -> Vec<(String, String)> {
        todo!()
    }

    /// Splits a simple Query into statements; a syntax error refuses all of them. Unnamed prepared statements without
    /// declared parameter types. An empty text gives an empty list.
    pub fn split(&mut self, sql: &str) -> Result<Vec<String>> {
        let _ = sql;
        todo!()
    }

    /// Plans one statement for this principal under the policy of now. `oids`: declared parameter types, 0 = infer.
    pub async fn prepare(&mut self, sql: &str, oids: &[u32]) -> Result<Arc<Prepared>> {
        let _ = (sql, oids);
        todo!()
    }

    /// Runs it, guarded anew under the policy of now. A failure marks an open transaction failed.
    pub async fn execute(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<ScalarValue>,
        cancel: CancellationToken,
    ) -> Result<Answer> {
        let _ = (prepared, parameters, cancel);
        todo!()
    }

    /// Named prepared statements, shared between Parse and SQL PREPARE. 42P05 for a name in use.
    pub fn keep(&mut self, name: &str, prepared: Arc<Prepared>) -> Result<()> {
        let _ = (name, prepared);
        todo!()
    }

    /// 26000 where there is none; the unnamed one is "".
    pub fn kept(&self, name: &str) -> Result<Arc<Prepared>> {
        let _ = name;
        todo!()
    }

    /// Closing an unknown name is no error.
    pub fn forget(&mut self, name: &str) {
        let _ = name;
        todo!()
    }

    /// The protocol layer met an error between statements (bad Bind, cancelled portal): an open transaction is failed.
    pub fn fail(&mut self) {
        todo!()
    }

    /// Sync outside a transaction block, end of a simple Query: implicit transactions end here.
    pub fn sync(&mut self) {
        todo!()
    }
}
