//! A thin client of the PostgreSQL protocol: it logs in, asks, and counts what comes without looking into it, so that
//! what is measured is the server's work. It knows no types.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xxhash_rust::xxh3::xxh3_64;

const READ_BYTES: usize = 256 << 10;

/// Where and as whom.
#[derive(Clone, Debug)]
pub struct Login {
    pub address: SocketAddr,
    pub user: &'static str,
    pub password: &'static str,
    pub database: &'static str,
}

pub struct Client {
    stream: TcpStream,
    /// `buffer[start..end]` has come and has not been looked at.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// An answer, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub rows: u64,
    pub bytes: u64,
    /// Of all rows' bytes, whatever their order; 0 where nobody asked for it.
    pub sum: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Binary,
}

/// What is done with rows.
enum Look<'a> {
    Count,
    Sum,
    Keep(&'a mut Vec<Vec<Option<String>>>),
}

impl Client {
    pub async fn connect(login: &Login) -> Result<Self> {
        let stream = TcpStream::connect(login.address).await?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, buffer: vec![0; READ_BYTES], start: 0, end: 0 };
        client.log_in(login).await.context("login")?;
        Ok(client)
    }

    /// A simple Query, its rows in text.
    pub async fn simple(&mut self, sql: &str) -> Result<Answer> {
        self.ask_simple(sql).await?;
        self.answer(Look::Count).await.with_context(|| sql.to_string())
    }

    /// The rows' values over the simple protocol.
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let mut rows = vec![];
        self.ask_simple(sql).await?;
        self.answer(Look::Keep(&mut rows)).await.with_context(|| sql.to_string())?;
        Ok(rows)
    }

    /// Asked in the extended protocol, anew each time.
    pub async fn extended(&mut self, sql: &str, format: Format) -> Result<Answer> {
        self.ask_extended(sql, format).await?;
        self.answer(Look::Count).await.with_context(|| sql.to_string())
    }

    /// As [`Client::extended`], with a sum over the rows' bytes.
    pub async fn summed(&mut self, sql: &str, format: Format) -> Result<Answer> {
        self.ask_extended(sql, format).await?;
        self.answer(Look::Sum).await.with_context(|| sql.to_string())
    }

    /// A statement that [`Client::execute`] runs.
    pub async fn prepare(&mut self, sql: &str) -> Result<()> {
        let mut out = frame(b'P', format!("kept\0{sql}\0\0\0").as_bytes());
        out.extend(frame(b'S', b""));
        self.stream.write_all(&out).await?;
        self.answer(Look::Count).await.map(|_| ())
    }

    pub async fn execute(&mut self, format: Format) -> Result<Answer> {
        let mut out = bind("kept", format);
        out.extend(frame(b'E', b"\0\0\0\0\0"));
        out.extend(frame(b'S', b""));
        self.stream.write_all(&out).await?;
        self.answer(Look::Count).await
    }

    async fn ask_simple(&mut self, sql: &str) -> Result<()> {
        Ok(self.stream.write_all(&frame(b'Q', format!("{sql}\0").as_bytes())).await?)
    }

    async fn ask_extended(&mut self, sql: &str, format: Format) -> Result<()> {
        let mut out = frame(b'P', format!("\0{sql}\0\0\0").as_bytes());
        out.extend(bind("", format));
        out.extend(frame(b'D', b"P\0"));
        out.extend(frame(b'E', b"\0\0\0\0\0"));
        out.extend(frame(b'S', b""));
        Ok(self.stream.write_all(&out).await?)
    }

    async fn log_in(&mut self, login: &Login) -> Result<()> {
        let body = format!("user\0{}\0database\0{}\0\0", login.user, login.database);
        let mut out = u32::try_from(body.len() + 8)?.to_be_bytes().to_vec();
        out.extend((3u32 << 16).to_be_bytes());
        out.extend(body.as_bytes());
        self.stream.write_all(&out).await?;
        let mut scram = ScramSha256::new(login.password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let (kind, body) = self.message().await?;
            let step = body.get(3).copied().unwrap_or_default();
            let said = body.get(4..).unwrap_or_default();
            let reply = match (kind, step) {
                (b'Z', _) => return Ok(()),
                (b'E', _) => bail!("{}", told(body)),
                (b'R', 10) => {
                    let mut reply = format!("{SCRAM_SHA_256}\0").into_bytes();
                    reply.extend(u32::try_from(scram.message().len())?.to_be_bytes());
                    reply.extend(scram.message());
                    reply
                }
                (b'R', 11) => {
                    scram.update(said)?;
                    scram.message().to_vec()
                }
                (b'R', 12) => {
                    scram.finish(said)?;
                    continue;
                }
                _ => continue,
            };
            self.stream.write_all(&frame(b'p', &reply)).await?;
        }
    }

    /// Until the server is ready for the next question.
    async fn answer(&mut self, mut look: Look<'_>) -> Result<Answer> {
        let mut answer = Answer::default();
        let mut error = None;
        loop {
            let (kind, body) = self.message().await?;
            match kind {
                b'D' => {
                    answer.rows += 1;
                    answer.bytes += body.len() as u64 + 5;
                    match &mut look {
                        Look::Count => {}
                        Look::Sum => answer.sum = answer.sum.wrapping_add(xxh3_64(body)),
                        Look::Keep(rows) => rows.push(values(body).context("a row that ends early")?),
                    }
                }
                b'E' => error = Some(told(body)),
                b'Z' => break,
                _ => {}
            }
        }
        match error {
            Some(error) => bail!("{error}"),
            None => Ok(answer),
        }
    }

    /// The next message's letter and body.
    async fn message(&mut self) -> Result<(u8, &[u8])> {
        loop {
            let held = &self.buffer[self.start..self.end];
            let whole = match held.get(1..5).map(<[u8; 4]>::try_from) {
                Some(Ok(length)) => 1 + u32::from_be_bytes(length) as usize,
                _ => 5,
            };
            if held.len() >= whole && held.len() >= 5 {
                let at = self.start;
                self.start += whole;
                return Ok((self.buffer[at], &self.buffer[at + 5..at + whole]));
            }
            self.more(whole).await?;
        }
    }

    /// Reads on, with room for a message of `whole` bytes.
    async fn more(&mut self, whole: usize) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.buffer.len() < whole {
            self.buffer.resize(whole, 0);
        }
        match self.stream.read(&mut self.buffer[self.end..]).await? {
            0 => bail!("the server closed the connection"),
            read => self.end += read,
        }
        Ok(())
    }
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend((body.len() as u32 + 4).to_be_bytes());
    frame.extend(body);
    frame
}

/// Without parameters, all columns in one format.
fn bind(statement: &str, format: Format) -> Vec<u8> {
    let mut body = format!("\0{statement}\0").into_bytes();
    body.extend([0, 0, 0, 0, 0, 1, 0, u8::from(format == Format::Binary)]);
    frame(b'B', &body)
}

fn values(row: &[u8]) -> Option<Vec<Option<String>>> {
    let count = u16::from_be_bytes(row.get(..2)?.try_into().ok()?);
    let (mut values, mut at) = (vec![], 2);
    for _ in 0..count {
        let length = i32::from_be_bytes(row.get(at..at + 4)?.try_into().ok()?);
        at += 4;
        values.push(match usize::try_from(length) {
            Ok(length) => {
                at += length;
                Some(String::from_utf8_lossy(row.get(at - length..at)?).into_owned())
            }
            Err(_) => None,
        });
    }
    Some(values)
}

fn told(error: &[u8]) -> String {
    String::from_utf8_lossy(error).trim_end_matches('\0').replace('\0', " ")
}
