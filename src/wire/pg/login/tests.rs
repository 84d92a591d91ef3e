//! Logins over a pipe, with the SASL client of `postgres-protocol`.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use pgwire::messages::startup::{SASLInitialResponse, SASLResponse};
use pgwire::messages::{DecodeContext, Message, PgWireBackendMessage};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::wire::auth::SCRAM;
use crate::wire::auth::tests::verifier;
use crate::wire::pg::error::{Severity, response};
use crate::wire::pg::frame::Decoder;

fn startup(user: &str) -> Startup {
    let parameters = vec![("user".to_owned(), user.to_owned())];
    Startup { minor: 0, parameters, unknown_options: Vec::new() }
}

/// What the server said at the end, as a client would read it: `ok` or the fields of the error.
async fn log_in(startup: Startup, throttle: &Throttle, client: impl AsyncFnOnce(DuplexStream)) -> String {
    let (ours, theirs) = tokio::io::duplex(4_096);
    let (read, write) = tokio::io::split(ours);
    let mut frames = Frames::new(read, Decoder::new(1_024, 1 << 20));
    let mut output = Output::new(write, Duration::from_secs(5));
    let gate = Gate { mechanisms: &Mechanisms::plain(), throttle, ip: [10, 0, 0, 1].into() };
    // As the engine: a mock verifier for a name nobody has.
    let stored = |user: &str| verifier(if user == "ann" { "secret" } else { "no password fits this" });
    let server = async {
        let outcome = gate.pass(&startup, &mut frames, &mut output, stored).await;
        if let Err(Stop::Failed(error)) = &outcome {
            output.put_error(error, Severity::Fatal).unwrap();
        }
        let _ = output.flush().await;
        outcome
    };
    let (outcome, ()) = tokio::join!(server, client(theirs));
    match outcome {
        Ok(user) => format!("ok {user}"),
        Err(Stop::Gone) => "gone".into(),
        Err(Stop::Failed(error) | Stop::Lost(error)) => format!("{:?}", response(&error, Severity::Fatal).fields),
    }
}

async fn receive(stream: &mut DuplexStream, buffer: &mut BytesMut) -> PgWireBackendMessage {
    let context = DecodeContext::default();
    loop {
        if let Some(message) = PgWireBackendMessage::decode(buffer, &context).unwrap() {
            return message;
        }
        assert!(stream.read_buf(buffer).await.unwrap() > 0, "the server hung up");
    }
}

async fn send(stream: &mut DuplexStream, message: impl Message) {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes).unwrap();
    stream.write_all(&bytes).await.unwrap();
}

async fn scram(mut stream: DuplexStream, password: &str) {
    let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
    let mut buffer = BytesMut::new();
    let mut message = receive(&mut stream, &mut buffer).await;
    if matches!(message, PgWireBackendMessage::NegotiateProtocolVersion(_)) {
        message = receive(&mut stream, &mut buffer).await;
    }
    let PgWireBackendMessage::Authentication(Authentication::SASL(names)) = message else { panic!("{message:?}") };
    assert_eq!(names, [SCRAM]);
    let first = Bytes::copy_from_slice(client.message());
    send(&mut stream, SASLInitialResponse::new(SCRAM.into(), Some(first))).await;
    let message = receive(&mut stream, &mut buffer).await;
    let PgWireBackendMessage::Authentication(Authentication::SASLContinue(data)) = message else {
        panic!("{message:?}")
    };
    client.update(&data).unwrap();
    send(&mut stream, SASLResponse::new(Bytes::copy_from_slice(client.message()))).await;
    let _ = stream.read_buf(&mut buffer).await;
}

#[tokio::test]
async fn right_and_wrong_passwords() {
    let throttle = Throttle::new(5);
    assert_eq!(log_in(startup("ann"), &throttle, async |s| scram(s, "secret").await).await, "ok ann");
    let wrong = log_in(startup("ann"), &throttle, async |s| scram(s, "guess").await).await;
    let unknown = log_in(startup("bob"), &throttle, async |s| scram(s, "guess").await).await;
    assert!(wrong.contains("28P01") && wrong.contains("password authentication failed for user"), "{wrong}");
    assert_eq!(wrong.replace("ann", "?"), unknown.replace("bob", "?"), "nobody can tell a user from a guess");
}

#[tokio::test]
async fn a_newer_protocol_is_negotiated_down() {
    let newer = Startup { minor: 9_999, unknown_options: vec!["_pq_.x".into()], ..startup("ann") };
    let client = async |mut stream: DuplexStream| {
        let mut buffer = BytesMut::new();
        let message = receive(&mut stream, &mut buffer).await;
        let PgWireBackendMessage::NegotiateProtocolVersion(answer) = message else { panic!("{message:?}") };
        assert_eq!((answer.newest_minor_protocol, answer.unsupported_options), (196_610, vec!["_pq_.x".to_owned()]));
    };
    assert_eq!(log_in(newer, &Throttle::new(5), client).await, "gone");
}

#[tokio::test]
async fn only_password_frames_are_read_and_only_small_ones() {
    let frame = |kind: u8, length: i32| [&[kind][..], &length.to_be_bytes()].concat();
    for (bytes, expect) in [
        (frame(b'Q', 0x3fff_fff0), "expected password response, got message type 81"),
        (frame(b'P', 20), "expected password response, got message type 80"),
        (frame(b'X', 4), "expected password response, got message type 88"),
        (frame(b'p', 0x3fff_fff0), "invalid message length"),
        (frame(b'p', 1_029), "invalid message length"),
        (frame(b'p', 4), "malformed SASL message"),
        ([frame(b'p', 8), b"abcd".to_vec()].concat(), "malformed SASL message"),
        ([frame(b'p', 18), b"SCRAM-SHA-256\0".to_vec()].concat(), "malformed SASL message"),
        ([frame(b'p', 22), b"SCRAM-SHA-256\0\x7f\xff\xff\xff".to_vec()].concat(), "malformed SASL message"),
        ([frame(b'p', 9), b"\0\0\0\0\0".to_vec()].concat(), "client selected an invalid SASL"),
    ] {
        let shown = format!("{bytes:?}");
        let client = async |mut stream: DuplexStream| {
            stream.write_all(&bytes).await.unwrap();
            let _ = stream.read(&mut [0; 64]).await;
        };
        let told = log_in(startup("ann"), &Throttle::new(5), client).await;
        assert!(told.contains("08P01") && told.contains(expect), "{shown}: {told}");
    }
}

#[tokio::test]
async fn names_and_purposes_we_do_not_serve() {
    let hang_up = async |_stream: DuplexStream| {};
    assert!(log_in(startup(""), &Throttle::new(5), hang_up).await.contains("28000"));
    let mut replica = startup("ann");
    replica.parameters.push(("replication".into(), "database".into()));
    assert!(log_in(replica, &Throttle::new(5), hang_up).await.contains("0A000"));
}

#[tokio::test]
async fn after_the_limit_a_wrong_password_has_to_wait() {
    let throttle = Throttle::new(1);
    log_in(startup("ann"), &throttle, async |s| scram(s, "guess").await).await;
    let since = Instant::now();
    log_in(startup("ann"), &throttle, async |s| scram(s, "guess").await).await;
    assert!(since.elapsed() >= Duration::from_millis(900), "{:?}", since.elapsed());
}
