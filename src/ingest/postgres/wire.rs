//! A conversation with a PostgreSQL server in its own protocol, by hand, because replication is a part of it that no client
//! here knows: login, simple queries, COPY out, and the frames of both. It knows no catalog and no changes.

use std::fmt;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::trouble::{Amid, Trouble, refusal, unreachable};
use crate::error::{Error, Kind, Result};
use crate::sources::postgres::{Dialer, Socket};

/// PostgreSQL makes no value larger than 1 GiB; a frame that says more is a broken stream.
pub(super) const FRAME_MAX: usize = (1 << 30) + (1 << 20);
/// Of an answer to a query: catalogs, never a table's rows.
const ROWS_MAX: usize = 1_000_000;
/// Values are spelt in one way, whatever the server's defaults are; names are found in no schema of the source's users.
const SETTINGS: &str = "-c DateStyle=ISO -c IntervalStyle=postgres -c TimeZone=UTC -c extra_float_digits=3 \
    -c bytea_output=hex -c client_encoding=UTF8 -c search_path=pg_catalog -c statement_timeout=0 \
    -c idle_in_transaction_session_timeout=0";

/// What kind of session is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Session {
    Plain,
    /// A walsender of the database: SQL, and the commands of replication.
    Replication,
}

/// One message of the server's: its letter and what it holds.
pub(super) type Frame = (u8, Bytes);

/// A row of text values.
pub(super) type Row = Vec<Option<String>>;

pub(super) struct Wire {
    pub(super) source: String,
    pub(super) socket: Box<dyn Socket>,
    pub(super) inbound: BytesMut,
    outbound: BytesMut,
    read_timeout: Duration,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Wire {
    /// A connection that is logged in.
    pub(super) async fn open(dialer: &Dialer, session: Session) -> Result<Self> {
        let dialled = dialer.dial().await?;
        let mut wire = Self {
            source: dialer.source.clone(),
            socket: dialled.socket,
            inbound: BytesMut::new(),
            outbound: BytesMut::new(),
            read_timeout: dialer.read_timeout,
        };
        let mut parameters = vec![
            ("user", dialer.user.as_str()),
            ("database", dialer.database.as_str()),
            ("application_name", "lakegate"),
            ("options", SETTINGS),
        ];
        if session == Session::Replication {
            parameters.push(("replication", "database"));
        }
        frontend::startup_message(parameters, &mut wire.outbound).map_err(|e| wire.broken(e))?;
        let login = Login { dialer, private: dialled.private, end_point: dialled.end_point };
        // The whole of it has one deadline: each message could come in time, and the login never end.
        let told = timeout(dialer.connect_timeout, async {
            wire.flush().await?;
            wire.log_in(login).await
        })
        .await;
        match told {
            Ok(told) => told.map_err(|trouble| wire.error(trouble))?,
            Err(_) => return Err(wire.broken("no login within the connect timeout")),
        }
        Ok(wire)
    }

    /// Over a socket on which somebody else has logged in.
    #[cfg(test)]
    pub(super) fn of_socket(source: &str, socket: Box<dyn Socket>, read_timeout: Duration) -> Self {
        Self { source: source.into(), socket, inbound: BytesMut::new(), outbound: BytesMut::new(), read_timeout }
    }

    pub(super) fn read_timeout(&self) -> Duration {
        self.read_timeout
    }

    /// For what may have to wait for other sessions.
    pub(super) fn be_patient(&mut self, read_timeout: Duration) {
        self.read_timeout = self.read_timeout.max(read_timeout);
    }

    /// All rows of all statements in it.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Vec<Row>, Trouble> {
        self.send_query(sql).await?;
        let mut rows = vec![];
        let mut refused = None;
        loop {
            let (tag, body) = self.frame().await?;
            match tag {
                b'D' if rows.len() >= ROWS_MAX => return Err(self.broken("an answer of too many rows").into()),
                b'D' => rows.push(row(&body).ok_or_else(|| self.broken("a row"))?),
                b'E' => refused = Some(refusal(&body)),
                b'Z' => return refused.map_or(Ok(rows), Err),
                b'T' | b'C' | b'I' | b'N' | b'S' => {}
                _ => return Err(self.broken(format!("message {:?} in answer to a query", char::from(tag))).into()),
            }
        }
    }

    /// The first column of the only row; `None` where there is no row or it is NULL.
    pub(super) async fn value(&mut self, sql: &str) -> Result<Option<String>, Trouble> {
        let rows = self.query(sql).await?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten())
    }

    /// Begins a `COPY … TO STDOUT`; [`Wire::copied`] then gives its bytes.
    pub(super) async fn copy_out(&mut self, sql: &str) -> Result<(), Trouble> {
        self.send_query(sql).await?;
        self.until(b'H').await
    }

    /// The next portion of a COPY; `None` at its end.
    pub(super) async fn copied(&mut self) -> Result<Option<Bytes>, Trouble> {
        loop {
            let (tag, body) = self.frame().await?;
            match tag {
                b'd' => return Ok(Some(body)),
                b'c' | b'C' | b'N' | b'S' => {}
                b'Z' => return Ok(None),
                b'E' => return Err(self.refused(&body).await),
                _ => return Err(self.broken("a message amid COPY").into()),
            }
        }
    }

    /// Begins the stream of a slot; frames then follow in both directions until the connection ends.
    pub(super) async fn stream(&mut self, sql: &str) -> Result<(), Trouble> {
        self.send_query(sql).await?;
        self.until(b'W').await
    }

    /// The next message, whole.
    pub(super) async fn frame(&mut self) -> Result<Frame> {
        loop {
            if let Some(length) = frame_length(&self.inbound).map_err(|e| self.broken(e))? {
                if self.inbound.len() >= length {
                    let mut whole = self.inbound.split_to(length).freeze();
                    let tag = whole.get_u8();
                    whole.advance(4);
                    return Ok((tag, whole));
                }
                self.inbound.reserve(length - self.inbound.len());
            } else {
                self.inbound.reserve(8 << 10);
            }
            let read = match timeout(self.read_timeout, self.socket.read_buf(&mut self.inbound)).await {
                Ok(read) => read.map_err(|e| self.broken(e))?,
                Err(_) => return Err(self.broken("no answer within the read timeout")),
            };
            if read == 0 {
                return Err(self.broken("the server closed the connection"));
            }
        }
    }

    /// What the server answered to a request, in the words of the source's readers.
    pub(super) fn error(&self, trouble: Trouble) -> Error {
        trouble.error(&self.source, Amid::Request)
    }

    pub(super) fn broken(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        unreachable(&self.source).with_source(source)
    }

    async fn send_query(&mut self, sql: &str) -> Result<()> {
        frontend::query(sql, &mut self.outbound).map_err(|e| self.broken(e))?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<()> {
        let outbound = self.outbound.split();
        let sent = async {
            self.socket.write_all(&outbound).await?;
            self.socket.flush().await
        };
        match timeout(self.read_timeout, sent).await {
            Ok(sent) => sent.map_err(|e| self.broken(e)),
            Err(_) => Err(self.broken("nothing could be sent within the read timeout")),
        }
    }

    /// Reads up to a message of this letter.
    async fn until(&mut self, wanted: u8) -> Result<(), Trouble> {
        loop {
            let (tag, body) = self.frame().await?;
            match tag {
                _ if tag == wanted => return Ok(()),
                b'E' => return Err(self.refused(&body).await),
                b'N' | b'S' | b'T' => {}
                _ => return Err(self.broken("an unexpected answer").into()),
            }
        }
    }

    /// After an error the server says when it listens again.
    async fn refused(&mut self, body: &[u8]) -> Trouble {
        let refused = refusal(body);
        loop {
            match self.frame().await {
                Ok((b'Z', _)) => return refused,
                Ok(_) => {}
                // What it said before it went tells more.
                Err(_) => return refused,
            }
        }
    }

    async fn log_in(&mut self, login: Login<'_>) -> Result<(), Trouble> {
        loop {
            let (tag, body) = self.frame().await?;
            match tag {
                b'R' => self.authenticate(&login, &body).await?,
                b'E' => return Err(refusal(&body)),
                b'Z' => return Ok(()),
                b'K' | b'N' | b'S' => {}
                _ => return Err(self.broken("an unexpected message amid the login").into()),
            }
        }
    }

    async fn authenticate(&mut self, login: &Login<'_>, body: &[u8]) -> Result<(), Trouble> {
        let Some((code, data)) = body.split_first_chunk::<4>() else {
            return Err(self.broken("a request to authenticate").into());
        };
        match i32::from_be_bytes(*code) {
            0 => Ok(()),
            3 if !login.private => {
                let text = format!("source \"{}\" asks for a password in the clear", self.source);
                let error = Error::new(Kind::NotAllowedIn, text);
                Err(error.with_hint("Set `tls = \"require\"`, or let the source ask for scram-sha-256.").into())
            }
            3 => self.password(login.password()?).await,
            5 => {
                let salt = data.first_chunk::<4>().ok_or_else(|| self.broken("the salt"))?;
                let hash = md5_hash(login.dialer.user.as_bytes(), login.password()?, *salt);
                self.password(hash.as_bytes()).await
            }
            10 => self.scram(login, data).await,
            other => {
                let text = format!("source \"{}\": its way {other} to authenticate", self.source);
                Err(Error::unsupported(text).into())
            }
        }
    }

    async fn password(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        frontend::password_message(bytes, &mut self.outbound).map_err(|e| self.broken(e))?;
        Ok(self.flush().await?)
    }

    /// SCRAM-SHA-256, bound to the server's certificate where both sides can.
    async fn scram(&mut self, login: &Login<'_>, mechanisms: &[u8]) -> Result<(), Trouble> {
        let offered = |name: &str| mechanisms.split(|byte| *byte == 0).any(|offer| offer == name.as_bytes());
        let (mechanism, binding) = match &login.end_point {
            Some(hash) if offered(sasl::SCRAM_SHA_256_PLUS) => {
                (sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash.clone()))
            }
            // Says that we would have bound, so that nobody between the two can have taken the offer out.
            Some(_) => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
            None => (sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
        };
        if !offered(mechanism) {
            let text = format!("source \"{}\": none of its ways to authenticate", self.source);
            return Err(Error::unsupported(text).into());
        }
        let mut scram = sasl::ScramSha256::new(login.password()?, binding);
        frontend::sasl_initial_response(mechanism, scram.message(), &mut self.outbound).map_err(|e| self.broken(e))?;
        self.flush().await?;
        let data = self.sasl(11).await?;
        scram.update(&data).map_err(|e| self.broken(e))?;
        frontend::sasl_response(scram.message(), &mut self.outbound).map_err(|e| self.broken(e))?;
        self.flush().await?;
        let data = self.sasl(12).await?;
        Ok(scram.finish(&data).map_err(|e| self.broken(e))?)
    }

    async fn sasl(&mut self, step: i32) -> Result<Bytes, Trouble> {
        let (tag, mut body) = self.frame().await?;
        match tag {
            b'E' => Err(refusal(&body)),
            b'R' if body.first_chunk::<4>().map(|c| i32::from_be_bytes(*c)) == Some(step) => {
                body.advance(4);
                Ok(body)
            }
            _ => Err(self.broken("an unexpected step of SCRAM").into()),
        }
    }
}

struct Login<'a> {
    dialer: &'a Dialer,
    private: bool,
    end_point: Option<Vec<u8>>,
}

impl Login<'_> {
    fn password(&self) -> Result<&[u8]> {
        let missing = || {
            let text = format!("source \"{}\" asks for a password and its file gives none", self.dialer.source);
            Error::new(Kind::WrongPassword, text).with_hint("Set `password_env` in the source's file.")
        };
        Ok(self.dialer.password.as_ref().ok_or_else(missing)?.reveal().as_bytes())
    }
}

/// Of the frame that begins here, letter and length included; `None` while that is not here.
pub(super) fn frame_length(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let Some(length) = bytes.get(1..5).and_then(|b| b.first_chunk::<4>()) else { return Ok(None) };
    match usize::try_from(i32::from_be_bytes(*length)) {
        Ok(length @ 4..=FRAME_MAX) => Ok(Some(length + 1)),
        _ => Err("a message of an impossible length"),
    }
}

fn row(body: &[u8]) -> Option<Row> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut row = vec![];
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) => {
                let (value, after) = after.split_at_checked(length)?;
                row.push(Some(std::str::from_utf8(value).ok()?.to_owned()));
                rest = after;
            }
            Err(_) => {
                row.push(None);
                rest = after;
            }
        }
    }
    rest.is_empty().then_some(row)
}

/// A text as it stands in SQL, where backslashes mean themselves.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::quoted;

    #[test]
    fn frames_and_rows_that_lie_about_their_length_are_refused() {
        assert_eq!(frame_length(b"d\0\0\0"), Ok(None));
        assert_eq!(frame_length(b"d\0\0\0\x09"), Ok(Some(10)));
        assert!(frame_length(b"d\0\0\0\x03").is_err());
        assert!(frame_length(b"d\x7f\xff\xff\xff").is_err());
        assert!(frame_length(b"d\xff\xff\xff\xff").is_err());
        let whole = [&[0, 2][..], &3i32.to_be_bytes(), b"abc", &(-1i32).to_be_bytes()].concat();
        assert_eq!(row(&whole), Some(vec![Some("abc".into()), None]));
        for end in 0..whole.len() {
            assert_eq!(row(&whole[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn names_and_texts_cannot_leave_their_quotes() {
        assert_eq!(quoted(r#"a"b"#), r#""a""b""#);
        assert_eq!(literal("it's"), "'it''s'");
    }
}
