//! A session in one world, by the engine's own door or over the wire, and everything that comes back of a statement.

use bytes::BytesMut;
use lakegate::engine::{Answer as Answered, Prepared, Session};
use lakegate::error::Error;
use lakegate::formats::postgres::{Format, RowEncoder, decode_parameter};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use super::query::Statement;
use super::world::search_path;
use crate::gateway::Gateway;
use crate::wire::client::Client;

/// How a session is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    Engine,
    /// The simple protocol; statements with parameters are executed by SQL's own PREPARE.
    Simple,
    Extended,
}

pub enum Door {
    Engine(Box<Session>),
    Wire(Box<Client>, By),
}

#[derive(Clone, Default, PartialEq, Debug)]
pub struct Answer {
    pub columns: Vec<String>,
    /// As DataRow has them.
    pub rows: Vec<Vec<u8>>,
    pub error: Option<Told>,
    /// All that was sent: descriptions, rows, notices, errors.
    pub bytes: Vec<u8>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Told {
    pub code: String,
    /// Message, detail, hint.
    pub text: String,
}

impl Door {
    pub async fn open(gateway: &Gateway, user: &str, world: &str, by: By) -> Self {
        let path = search_path(world);
        if by == By::Engine {
            let engine = &gateway.server.engine;
            let startup =
                [("database", "lakegate"), ("search_path", &path)].map(|(n, v)| (n.to_string(), v.to_string()));
            let session = engine.session(engine.login(user).unwrap(), &startup, 1).unwrap();
            return Self::Engine(Box::new(session));
        }
        let mut client = Client::log_in(gateway.server.pg, user, user).await.unwrap();
        assert_eq!(client.query(&format!("SET search_path = {path}")).await, "CZI");
        Self::Wire(Box::new(client), by)
    }

    /// The answers of each execution, prepared once.
    pub async fn ask(&mut self, statement: &Statement, times: usize) -> Vec<Answer> {
        let mut answers = vec![];
        match self {
            Self::Engine(session) => {
                let oids: Vec<u32> = statement.parameters.iter().map(|(kind, _)| kind.oid()).collect();
                let prepared = session.prepare(&statement.query.sql(), &oids).await;
                for _ in 0..times {
                    answers.push(match &prepared {
                        Ok(prepared) => in_process(session, prepared, statement).await,
                        Err(error) => Answer::of(error),
                    });
                }
            }
            Self::Wire(client, By::Simple) => {
                for _ in 0..times {
                    answers.push(simple(client, statement).await);
                }
            }
            Self::Wire(client, _) => {
                for _ in 0..times {
                    answers.push(extended(client, statement).await);
                }
            }
        }
        answers.into_iter().map(Answer::normal).collect()
    }
}

impl Answer {
    fn of(error: &Error) -> Self {
        let parts = [Some(error.message()), error.detail(), error.hint()];
        let text = parts.into_iter().flatten().collect::<Vec<_>>().join(" | ");
        let bytes = text.clone().into_bytes();
        Self { error: Some(Told { code: error.kind().sqlstate().into(), text }), bytes, ..Self::default() }
    }

    /// Without what differs from world to world and from query to query and tells nothing: names of schemas, query ids.
    fn normal(mut self) -> Self {
        let own = regex::bytes::Regex::new(r"\b[abc][0-9][mlpkvs]\.|\(?query id [0-9a-f-]+\)?").unwrap();
        let without = |bytes: &[u8]| own.replace_all(bytes, b"".as_slice()).into_owned();
        if let Some(told) = &mut self.error {
            told.text = String::from_utf8_lossy(&without(told.text.as_bytes())).into_owned();
        }
        self.bytes = without(&self.bytes);
        self
    }

    pub fn code(&self) -> &str {
        self.error.as_ref().map_or("", |told| &told.code)
    }

    /// Rows for a reader.
    pub fn shown(&self) -> String {
        if let Some(told) = &self.error {
            return format!("ERROR {} {}", told.code, told.text);
        }
        let rows = self.rows.iter().map(|row| {
            let cells = crate::slt::door::cells(row);
            cells.into_iter().map(|c| c.unwrap_or("∅".into())).collect::<Vec<_>>().join("|")
        });
        format!("{}: {}", self.columns.join("|"), rows.collect::<Vec<_>>().join("; "))
    }

    fn take(&mut self, kind: u8, body: &[u8]) {
        match kind {
            b'T' => self.columns = names(body),
            b'D' => self.rows.push(body.to_vec()),
            b'E' => {
                let field = |letter: u8| {
                    let mut fields = body.split(|b| *b == 0);
                    let found = fields.find(|f| f.first() == Some(&letter));
                    found.map(|f| String::from_utf8_lossy(&f[1..]).into_owned())
                };
                let text = [b'M', b'D', b'H'].into_iter().filter_map(field).collect::<Vec<_>>().join(" | ");
                self.error = Some(Told { code: field(b'C').unwrap_or_default(), text });
                self.rows.clear();
            }
            _ => {}
        }
        if kind != b'Z' {
            self.bytes.extend_from_slice(body);
        }
    }
}

/// Column names of a RowDescription.
fn names(body: &[u8]) -> Vec<String> {
    let mut names = vec![];
    let mut rest = &body[2..];
    while let Some(end) = rest.iter().position(|b| *b == 0) {
        names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        // table, column, type, size, modifier, format
        rest = &rest[end + 1 + 18..];
    }
    names
}

async fn in_process(session: &mut Session, prepared: &Arc<Prepared>, statement: &Statement) -> Answer {
    let style = session.style();
    let values = statement
        .parameters
        .iter()
        .map(|(kind, cell)| decode_parameter(kind.oid(), Format::Text, Some(cell.text().as_bytes()), &style).unwrap());
    let values = values.collect();
    let mut rows = match session.execute(prepared, values, CancellationToken::new()).await {
        Ok(Answered::Rows(rows)) => rows,
        Ok(other) => panic!("a query answers {other:?}"),
        Err(error) => return Answer::of(&error),
    };
    let mut answer = Answer::default();
    for field in rows.schema().fields() {
        answer.bytes.extend_from_slice(field.name().as_bytes());
        answer.columns.push(field.name().clone());
    }
    let mut encoder = match RowEncoder::new(rows.schema(), &vec![Format::Text; answer.columns.len()], &style) {
        Ok(encoder) => encoder,
        Err(error) => return Answer::of(&error),
    };
    while let Some(batch) = rows.next().await {
        let mut out = BytesMut::new();
        let encoded = batch.and_then(|batch| {
            let mut from = 0;
            while from < batch.num_rows() {
                from = encoder.encode(&batch, from, usize::MAX, &mut out)?;
            }
            Ok(())
        });
        if let Err(error) = encoded {
            let bytes = answer.bytes;
            let mut answer = Answer::of(&error);
            answer.bytes.extend(bytes);
            return answer;
        }
        answer.bytes.extend_from_slice(&out);
        answer.rows.extend(crate::slt::door::frames(&out).map(<[u8]>::to_vec));
    }
    answer
}

async fn simple(client: &mut Client, statement: &Statement) -> Answer {
    let sql = statement.query.sql();
    if statement.parameters.is_empty() {
        client.send(b'Q', format!("{sql}\0").as_bytes()).await;
        return until_ready(client).await;
    }
    let types: Vec<&str> = statement.parameters.iter().map(|(kind, _)| kind.name()).collect();
    let types = types.join(", ").replace("(12,2)", "");
    let values: Vec<String> = statement.parameters.iter().map(|(_, cell)| cell.sql()).collect();
    client.send(b'Q', b"DEALLOCATE ALL\0").await;
    until_ready(client).await;
    client.send(b'Q', format!("PREPARE asked ({types}) AS {sql}\0").as_bytes()).await;
    let prepared = until_ready(client).await;
    if prepared.error.is_some() {
        return prepared;
    }
    client.send(b'Q', format!("EXECUTE asked ({})\0", values.join(", ")).as_bytes()).await;
    until_ready(client).await
}

async fn extended(client: &mut Client, statement: &Statement) -> Answer {
    let mut parse = format!("\0{}\0", statement.query.sql()).into_bytes();
    parse.extend_from_slice(&u16::try_from(statement.parameters.len()).unwrap().to_be_bytes());
    for (kind, _) in &statement.parameters {
        parse.extend_from_slice(&kind.oid().to_be_bytes());
    }
    let values: Vec<String> = statement.parameters.iter().map(|(_, cell)| cell.text()).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    client.send(b'P', &parse).await;
    client.bind("", "", &values).await;
    client.send(b'D', b"P\0").await;
    client.execute("", 0).await;
    client.send(b'S', b"").await;
    until_ready(client).await
}

async fn until_ready(client: &mut Client) -> Answer {
    let mut answer = Answer::default();
    loop {
        match client.receive().await {
            Some((b'Z', _)) => return answer,
            // parameters that changed, which is no answer
            Some((b'S', _)) => {}
            Some((kind, body)) => answer.take(kind, &body),
            None => {
                answer.error = Some(Told { code: "08006".into(), text: "the server closed the connection".into() });
                return answer;
            }
        }
    }
}
