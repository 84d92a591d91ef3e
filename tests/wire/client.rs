//! A client that can misbehave: it frames whatever it is told and reads answers as letters. It checks nothing itself.

use std::net::SocketAddr;
use std::time::Duration;

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing the server should answer takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    pub(crate) pid: [u8; 4],
    pub(crate) key: Vec<u8>,
    /// The whole of the last ErrorResponse.
    pub(crate) error: String,
}

impl Client {
    pub(crate) async fn dial(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![], pid: [0; 4], key: vec![], error: String::new() }
    }

    /// `Err`: the text of the server's refusal.
    pub(crate) async fn log_in(address: SocketAddr, user: &str, password: &str) -> Result<Self, String> {
        let mut client = Self::dial(address).await;
        client.startup(3 << 16, user).await;
        client.prove(password).await?;
        Ok(client)
    }

    pub(crate) async fn startup(&mut self, version: u32, user: &str) {
        let mut body = version.to_be_bytes().to_vec();
        body.extend_from_slice(format!("user\0{user}\0database\0lakegate\0\0").as_bytes());
        self.send_raw(&u32::try_from(body.len() + 4).unwrap().to_be_bytes()).await;
        self.send_raw(&body).await;
    }

    /// SCRAM, up to the first ReadyForQuery.
    pub(crate) async fn prove(&mut self, password: &str) -> Result<(), String> {
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        loop {
            match self.receive().await {
                Some((b'R', body)) => match body[3] {
                    10 => {
                        let first = scram.message().to_vec();
                        let mut answer = b"SCRAM-SHA-256\0".to_vec();
                        answer.extend_from_slice(&u32::try_from(first.len()).unwrap().to_be_bytes());
                        answer.extend_from_slice(&first);
                        self.send(b'p', &answer).await;
                    }
                    11 => {
                        scram.update(&body[4..]).unwrap();
                        self.send(b'p', scram.message()).await;
                    }
                    12 => scram.finish(&body[4..]).unwrap(),
                    _ => {}
                },
                Some((b'K', body)) => {
                    self.pid.copy_from_slice(&body[..4]);
                    self.key = body[4..].to_vec();
                }
                Some((b'Z', _)) => return Ok(()),
                Some((b'E', _)) => return Err(self.error.clone()),
                Some(_) => {}
                None => return Err("closed".into()),
            }
        }
    }

    pub(crate) async fn send(&mut self, kind: u8, body: &[u8]) {
        let mut frame = vec![kind];
        frame.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        frame.extend_from_slice(body);
        self.send_raw(&frame).await;
    }

    /// Errors are ignored: a server may close while we still write.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        let _ = tokio::time::timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("the server takes bytes");
    }

    /// `None` at the end of the stream.
    pub(crate) async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = async {
            loop {
                if let Some(length) = self.buffer.get(1..5) {
                    let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
                    if self.buffer.len() > length {
                        let frame: Vec<u8> = self.buffer.drain(..=length).collect();
                        return Some((frame[0], frame[5..].to_vec()));
                    }
                }
                if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                    return None;
                }
            }
        };
        let message = tokio::time::timeout(PATIENCE, read).await.expect("the server answers");
        if let Some((b'E', body)) = &message {
            self.error = String::from_utf8_lossy(body).replace('\0', "|");
        }
        message
    }

    /// The letters up to ReadyForQuery (with its status) or the end (`.`); runs of rows are one `D`, parameters silent.
    pub(crate) async fn until_ready(&mut self) -> String {
        let mut letters = String::new();
        loop {
            match self.receive().await {
                Some((b'S', _)) => {}
                Some((b'D', _)) if letters.ends_with('D') => {}
                Some((b'Z', body)) => return format!("{letters}Z{}", char::from(body[0])),
                Some((kind, _)) => letters.push(char::from(kind)),
                None => return letters + ".",
            }
        }
    }

    pub(crate) async fn query(&mut self, sql: &str) -> String {
        self.send(b'Q', format!("{sql}\0").as_bytes()).await;
        self.until_ready().await
    }

    /// The SQLSTATE of the last error.
    pub(crate) fn code(&self) -> &str {
        self.error.split('|').find_map(|field| field.strip_prefix('C')).unwrap_or("none")
    }

    // --- extended messages, parameters in text

    pub(crate) async fn parse(&mut self, name: &str, sql: &str) {
        self.send(b'P', format!("{name}\0{sql}\0\0\0").as_bytes()).await;
    }

    pub(crate) async fn bind(&mut self, portal: &str, statement: &str, values: &[&str]) {
        let mut body = format!("{portal}\0{statement}\0\0\0").into_bytes();
        body.extend_from_slice(&u16::try_from(values.len()).unwrap().to_be_bytes());
        for value in values {
            body.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
            body.extend_from_slice(value.as_bytes());
        }
        body.extend_from_slice(&[0, 0]);
        self.send(b'B', &body).await;
    }

    pub(crate) async fn execute(&mut self, portal: &str, max_rows: i32) {
        let mut body = format!("{portal}\0").into_bytes();
        body.extend_from_slice(&max_rows.to_be_bytes());
        self.send(b'E', &body).await;
    }

    pub(crate) async fn sync(&mut self) -> String {
        self.send(b'S', b"").await;
        self.until_ready().await
    }

    /// What a CancelRequest of this session says.
    pub(crate) fn cancel_request(&self) -> Vec<u8> {
        let mut packet = u32::try_from(12 + self.key.len()).unwrap().to_be_bytes().to_vec();
        packet.extend_from_slice(&80_877_102u32.to_be_bytes());
        packet.extend_from_slice(&self.pid);
        packet.extend_from_slice(&self.key);
        packet
    }
}

/// Sends a CancelRequest and waits until the server has dealt with it (it closes without a word).
pub(crate) async fn cancel(address: SocketAddr, packet: &[u8]) {
    let mut client = Client::dial(address).await;
    client.send_raw(packet).await;
    assert_eq!(client.receive().await, None, "a cancel request gets no answer");
}
