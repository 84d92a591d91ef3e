//! One record's way to its answer, by each door. Values are PostgreSQL's text; it compares nothing.

use async_trait::async_trait;
use bytes::BytesMut;
use lakegate::engine::{Answer, Session};
use lakegate::error::Error;
use lakegate::formats::postgres::{Format, RowEncoder};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType};
use std::sync::atomic::{AtomicI32, Ordering};
use tokio_postgres::SimpleQueryMessage;
use tokio_util::sync::CancellationToken;

use crate::gateway::Gateway;
use crate::wire::client::Client;

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Engine,
    Simple,
    Extended,
    Postgres,
}

pub enum Door {
    Engine(Box<Session>),
    Simple(tokio_postgres::Client, &'static str),
    Extended(Box<Client>),
}

/// Process ids of those in process: one session's end must not be another's.
static SESSIONS: AtomicI32 = AtomicI32::new(1);

/// What a client is told.
#[derive(Debug)]
pub struct Told {
    code: String,
    text: String,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.code, self.text)
    }
}

impl std::error::Error for Told {}

impl From<Error> for Told {
    fn from(error: Error) -> Self {
        Self { code: error.kind().sqlstate().into(), text: error.message().into() }
    }
}

impl From<tokio_postgres::Error> for Told {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(e) => Self { code: e.code().code().into(), text: e.message().into() },
            None => Self { code: "08006".into(), text: error.to_string() },
        }
    }
}

type Output = DBOutput<DefaultColumnType>;
type Row = Vec<Option<String>>;

impl Door {
    pub fn engine(gateway: &Gateway) -> Self {
        let engine = &gateway.server.engine;
        let principal = engine.login("root").unwrap();
        let startup = [("database".to_string(), "lakegate".to_string())];
        Self::Engine(Box::new(engine.session(principal, &startup, SESSIONS.fetch_add(1, Ordering::Relaxed)).unwrap()))
    }

    pub fn simple(client: tokio_postgres::Client) -> Self {
        Self::Simple(client, "lakegate")
    }

    pub fn postgres(client: tokio_postgres::Client) -> Self {
        Self::Simple(client, "postgres")
    }

    pub async fn extended(gateway: &Gateway) -> Self {
        let client = Client::log_in(gateway.server.pg, "root", "root").await.unwrap();
        Self::Extended(Box::new(client))
    }
}

#[async_trait]
impl AsyncDB for Door {
    type Error = Told;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<Output, Told> {
        match self {
            Self::Engine(session) => {
                let told = in_process(session, sql).await;
                // as a front end ends each message
                session.finish().await?;
                told
            }
            Self::Simple(client, _) => simple(client, sql).await,
            Self::Extended(client) => extended(client, sql).await,
        }
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        match self {
            Self::Simple(_, name) => name,
            Self::Engine(_) | Self::Extended(_) => "lakegate",
        }
    }

    fn error_sql_state(error: &Told) -> Option<String> {
        Some(error.code.clone())
    }
}

fn table(columns: usize, rows: Vec<Row>) -> Output {
    let cell = |cell: Option<String>| match cell {
        None => "NULL".to_string(),
        Some(text) if text.is_empty() => "(empty)".to_string(),
        Some(text) => text.replace('\n', "\\n"),
    };
    let rows = rows.into_iter().map(|row| row.into_iter().map(cell).collect()).collect();
    DBOutput::Rows { types: vec![DefaultColumnType::Any; columns], rows }
}

/// How many rows a command tag speaks of.
fn count(tag: &str) -> u64 {
    tag.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

async fn in_process(session: &mut Session, sql: &str) -> Result<Output, Told> {
    let prepared = session.prepare(sql, &[]).await?;
    let mut rows = match session.execute(&prepared, vec![], CancellationToken::new()).await? {
        Answer::Rows(rows) => rows,
        Answer::Done(tag) => return Ok(DBOutput::StatementComplete(count(&tag))),
        Answer::Empty => return Ok(DBOutput::StatementComplete(0)),
        // rows that no statement of these files asks for
        Answer::CopyOut { .. } | Answer::CopyIn(_) => return Ok(DBOutput::StatementComplete(0)),
    };
    let columns = rows.schema().fields().len();
    let mut encoder = RowEncoder::new(rows.schema(), &vec![Format::Text; columns], &session.style())?;
    let mut found = vec![];
    while let Some(batch) = rows.next().await {
        let (batch, mut out) = (batch?, BytesMut::new());
        let mut from = 0;
        while from < batch.num_rows() {
            from = encoder.encode(&batch, from, usize::MAX, &mut out)?;
        }
        found.extend(frames(&out).map(cells));
    }
    Ok(table(columns, found))
}

/// The bodies of messages, one after the other.
pub fn frames(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = bytes;
    std::iter::from_fn(move || {
        let (length, rest) = at.get(1..)?.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap() - 4;
        let (body, behind) = rest.split_at(length);
        at = behind;
        Some(body)
    })
}

async fn simple(client: &tokio_postgres::Client, sql: &str) -> Result<Output, Told> {
    let (mut columns, mut rows, mut affected) = (None, vec![], 0);
    for message in client.simple_query(sql).await? {
        match message {
            SimpleQueryMessage::RowDescription(description) => columns = Some(description.len()),
            SimpleQueryMessage::Row(row) => {
                rows.push((0..row.len()).map(|i| row.get(i).map(str::to_string)).collect());
            }
            SimpleQueryMessage::CommandComplete(n) => affected = n,
            _ => {}
        }
    }
    Ok(columns.map_or(DBOutput::StatementComplete(affected), |columns| table(columns, rows)))
}

async fn extended(client: &mut Client, sql: &str) -> Result<Output, Told> {
    client.parse("", sql).await;
    client.bind("", "", &[]).await;
    client.send(b'D', b"P\0").await;
    client.execute("", 0).await;
    client.send(b'S', b"").await;
    let (mut columns, mut rows, mut affected, mut failed) = (None, vec![], 0, false);
    loop {
        match client.receive().await {
            Some((b'T', body)) => columns = Some(usize::from(u16::from_be_bytes([body[0], body[1]]))),
            Some((b'D', body)) => rows.push(cells(&body)),
            Some((b'C', body)) => affected = count(std::str::from_utf8(&body[..body.len() - 1]).unwrap()),
            Some((b'E', _)) => failed = true,
            Some((b'Z', _)) => break,
            Some(_) => {}
            None => return Err(Told { code: "08006".into(), text: "the server closed the connection".into() }),
        }
    }
    if failed {
        let text = client.error.split('|').find_map(|field| field.strip_prefix('M')).unwrap_or_default().to_string();
        return Err(Told { code: client.code().to_string(), text });
    }
    Ok(columns.map_or(DBOutput::StatementComplete(affected), |columns| table(columns, rows)))
}

/// The body of a DataRow in text.
pub fn cells(body: &[u8]) -> Row {
    let (count, mut rest) = body.split_first_chunk::<2>().unwrap();
    let cells = (0..u16::from_be_bytes(*count)).map(|_| {
        let (length, behind) = rest.split_first_chunk::<4>().unwrap();
        rest = behind;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (cell, behind) = rest.split_at(length);
        rest = behind;
        Some(String::from_utf8(cell.to_vec()).unwrap())
    });
    cells.collect()
}
