//! A stream over a socket whose other end is a server that says what the test says.

use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::error::Kind;

const READ_TIMEOUT: Duration = Duration::from_millis(300);

fn stream() -> (Stream, DuplexStream) {
    let (ours, theirs) = duplex(1 << 16);
    (Stream::over(Wire::of_socket("crm", Box::new(ours), READ_TIMEOUT), 0), theirs)
}

/// What a client tells, letter and length before it; whether it asks for an answer.
async fn told(server: &mut DuplexStream) -> bool {
    let mut frame = [0; 39];
    server.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[..6], *b"d\0\0\0\x26r");
    frame[38] == 1
}

#[tokio::test]
async fn a_server_that_says_nothing_is_gone() {
    let (mut stream, mut server) = stream();
    let quiet = tokio::spawn(async move {
        let mut asked = 0;
        // Takes what it is told, so that only its silence tells.
        loop {
            let mut frame = [0; 39];
            if server.read_exact(&mut frame).await.is_err() {
                return asked;
            }
            asked += u32::from(frame[38] == 1);
        }
    });
    let began = Instant::now();
    let error = stream.next().await.expect("an end that is told").unwrap_err();
    assert_eq!(error.kind(), Kind::SourceUnreachable);
    assert!(began.elapsed() >= READ_TIMEOUT * SILENCES, "{:?}", began.elapsed());
    drop(stream);
    assert!(quiet.await.unwrap() > 0, "it was asked");
}

#[tokio::test]
async fn a_server_that_answers_when_it_is_asked_is_there() {
    let (mut stream, mut server) = stream();
    let mut keepalive = BytesMut::new();
    keepalive.put_slice(b"d\0\0\0\x16k");
    keepalive.put_bytes(0, 17);
    let answering = tokio::spawn(async move {
        for _ in 0..1_000 {
            if told(&mut server).await {
                server.write_all(&keepalive).await.unwrap();
            }
        }
    });
    let began = Instant::now();
    while began.elapsed() < READ_TIMEOUT * SILENCES * 3 {
        stream.next().await.expect("it goes on").expect("a keepalive");
    }
    answering.abort();
}
