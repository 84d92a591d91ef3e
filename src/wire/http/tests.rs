//! The door over real sockets: what it says, to whom, and for how long it listens.

use std::sync::Mutex;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn answers(unready: &Arc<Mutex<Vec<String>>>) -> Answers {
    let asked = Arc::clone(unready);
    Answers {
        unready: Arc::new(move || asked.lock().unwrap().clone()),
        degraded: Arc::new(|| vec!["source \"events\"".to_owned()]),
        metrics: Arc::new(|| "lakegate_connections 3\n".into()),
    }
}

/// A running door, with `settings` of `[wire]`.
async fn door(settings: &str, unready: &Arc<Mutex<Vec<String>>>) -> (SocketAddr, Shutdown) {
    let shutdown = Shutdown::new();
    let config: Config = toml::from_str(settings).unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let door = Door::bind(address, &config, answers(unready), &shutdown).await.unwrap();
    let address = door.local_addr().unwrap();
    shutdown.spawn("http door", door.run());
    (address, shutdown)
}

async fn send(address: SocketAddr, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A door that has heard enough closes while we still write.
    let _ = stream.write_all(bytes.as_bytes()).await;
    stream
}

/// Up to the server's end; a reset counts as one.
async fn answer(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let mut buffer = [0; 1_024];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(answer).unwrap()
}

/// Status and body; empty where the door hung up.
async fn ask(address: SocketAddr, path: &str, headers: &str) -> (String, String) {
    let answer = answer(send(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n")).await).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (head.split_whitespace().nth(1).unwrap_or_default().to_owned(), body.to_owned())
}

fn expect(code: &str, body: &str) -> (String, String) {
    (code.to_owned(), body.to_owned())
}

#[tokio::test]
async fn says_what_is_not_ready_until_it_is() {
    let unready = Arc::new(Mutex::new(vec!["source \"crm\"".to_owned()]));
    let (address, shutdown) = door("", &unready).await;
    assert_eq!(ask(address, "/healthz", "").await, expect("200", "ok\n"));
    assert_eq!(
        ask(address, "/readyz", "").await,
        expect("503", r#"{"degraded":["source \"events\""],"ready":false,"waiting_for":["source \"crm\""]}"#)
    );
    unready.lock().unwrap().clear();
    assert_eq!(
        ask(address, "/readyz", "").await,
        expect("200", r#"{"degraded":["source \"events\""],"ready":true,"waiting_for":[]}"#)
    );
    assert_eq!(ask(address, "/metrics", "").await, expect("200", "lakegate_connections 3\n"));
    assert_eq!(ask(address, "/", "").await.0, "404");

    assert!(shutdown.finish(Duration::from_secs(5)).await);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn strangers_learn_that_it_lives_and_nothing_else() {
    let (address, _shutdown) = door("", &Arc::default()).await;
    // What a proxy passes on comes from a stranger.
    let strange = "x-forwarded-for: 203.0.113.9\r\n";
    assert_eq!(ask(address, "/healthz", strange).await, expect("200", "ok\n"));
    for path in ["/readyz", "/metrics"] {
        assert_eq!(ask(address, path, strange).await, expect("401", ""), "{path}");
    }
}

#[tokio::test]
async fn half_sent_requests_end_by_the_deadline_and_hold_few_places() {
    let settings = "http_request_timeout_ms = 500\nhttp_connections_per_ip_max = 3";
    let (address, _shutdown) = door(settings, &Arc::default()).await;
    let since = Instant::now();
    let mut half = Vec::new();
    for text in ["", "GET /healthz HTT", "GET /healthz HTTP/1.1\r\nhost: x\r\n"] {
        half.push(send(address, text).await);
    }
    let full = answer(TcpStream::connect(address).await.unwrap()).await;
    assert!(full.starts_with("HTTP/1.1 503 "), "{full:?}");
    for stream in half {
        assert_eq!(answer(stream).await, "");
    }
    assert!(since.elapsed() >= Duration::from_millis(500), "they were not let go before");
    assert_eq!(ask(address, "/healthz", "").await.0, "200", "the places are free again");
}

#[tokio::test]
async fn a_reader_who_takes_no_answer_is_let_go() {
    let shutdown = Shutdown::new();
    let config: Config =
        toml::from_str("http_request_timeout_ms = 300\nhttp_connections_max = 1\nhttp_connections_per_ip_max = 1")
            .unwrap();
    let large = Answers { metrics: Arc::new(|| "x".repeat(64 << 20)), ..answers(&Arc::default()) };
    let door = Door::bind("127.0.0.1:0".parse().unwrap(), &config, large, &shutdown).await.unwrap();
    let address = door.local_addr().unwrap();
    shutdown.spawn("http door", door.run());
    let lazy = send(address, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let since = Instant::now();
    while ask(address, "/healthz", "").await.0 != "200" {
        assert!(since.elapsed() < Duration::from_secs(20), "the reader holds its place");
        tokio::task::yield_now().await;
    }
    assert!(answer(lazy).await.len() < 64 << 20);
}

#[tokio::test]
async fn headers_are_bounded_and_bodies_are_not_read() {
    let (address, _shutdown) = door("http_header_bytes_max = 1000", &Arc::default()).await;
    assert_eq!(ask(address, "/healthz", &format!("a: {}\r\n", "x".repeat(900))).await.0, "200");
    for bytes in [1_000, 7_000, 100_000] {
        let status = ask(address, "/healthz", &format!("a: {}\r\n", "x".repeat(bytes))).await.0;
        assert_eq!(status, "431", "{bytes}");
    }
    for body in ["content-length: 1000000000\r\n", "transfer-encoding: chunked\r\n"] {
        assert_eq!(ask(address, "/healthz", body).await.0, "413", "{body}");
    }
    assert_eq!(ask(address, "/healthz", "content-length: 0\r\n").await.0, "200");
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_half_a_request() {
    let (address, shutdown) = door("", &Arc::default()).await;
    let half = send(address, "GET /healthz HTT").await;
    // Accepted in order: an answer to this one means that the first is inside.
    ask(address, "/healthz", "").await;
    let since = Instant::now();
    assert!(shutdown.finish(Duration::from_secs(9)).await);
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    drop(half);
}
