//! Negotiation over loopback sockets, with everything somebody in between could stuff into it.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;
use crate::wire::tls;

const V3_0: u32 = 3 << 16;

fn packet_of(code: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = (u32::try_from(body.len()).unwrap() + 8).to_be_bytes().to_vec();
    packet.extend_from_slice(&code.to_be_bytes());
    packet.extend_from_slice(body);
    packet
}

fn startup_packet() -> Vec<u8> {
    packet_of(V3_0, b"user\0ann\0database\0x\0\0")
}

fn ssl() -> Vec<u8> {
    packet_of(SSL_REQUEST, b"")
}

fn gss() -> Vec<u8> {
    packet_of(GSS_REQUEST, b"")
}

fn cancel() -> Vec<u8> {
    packet_of(CANCEL_REQUEST, &[0, 0, 0, 9, 1, 2, 3, 4])
}

struct Door {
    acceptor: Option<TlsAcceptor>,
    negotiation: Negotiation,
}

/// A door with a certificate (unless `Off`), and a connector that trusts it.
fn new_door(mode: Tls) -> (Arc<Door>, TlsConnector) {
    let (_folder, certificate, key) = tls::tests::pair();
    let loaded = tls::Certificates::load(&certificate, &key).unwrap().current();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(&certificate).unwrap()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let acceptor = (mode != Tls::Off).then(|| loaded.acceptor.clone());
    let negotiation = Negotiation { mode, handshakes: Semaphore::new(4), startup_bytes_max: 10_000 };
    (Arc::new(Door { acceptor, negotiation }), TlsConnector::from(Arc::new(client)))
}

/// A connected pair; the server's half is in `open` already.
async fn dial(door: &Arc<Door>) -> (TcpStream, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let door = Arc::clone(door);
    let opened = tokio::spawn(async move { told(open(server, door.acceptor.as_ref(), &door.negotiation).await) });
    (client, opened)
}

fn told(outcome: std::io::Result<Opening>) -> String {
    match outcome {
        Ok(Opening::Startup { socket, startup }) => {
            let via = if matches!(socket, Either::Right(_)) { "tls" } else { "plain" };
            format!("{via} {}", startup.parameter("user").unwrap_or("nobody"))
        }
        Ok(Opening::Cancel { pid, key, .. }) => format!("cancel {pid} {key:?}"),
        Ok(Opening::Closed(reason)) => format!("closed {reason}"),
        Err(_) => "gone".into(),
    }
}

#[tokio::test]
async fn honest_clients_get_in_by_every_way_we_offer() {
    for (mode, expect) in [(Tls::Require, "closed plaintext"), (Tls::Allow, "plain ann"), (Tls::Off, "plain ann")] {
        let (door, _) = new_door(mode);
        let (mut client, opened) = dial(&door).await;
        client.write_all(&startup_packet()).await.unwrap();
        assert_eq!(opened.await.unwrap(), expect, "{mode:?}");
    }
    // GSS refused, then TLS, then the packet: the order of libpq with Kerberos credentials.
    let (door, connector) = new_door(Tls::Require);
    let (mut client, opened) = dial(&door).await;
    let mut answer = [0];
    for (request, expect) in [(gss(), b'N'), (ssl(), b'S')] {
        client.write_all(&request).await.unwrap();
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[0], expect);
    }
    let mut client = connector.connect(ServerName::try_from("localhost").unwrap(), client).await.unwrap();
    client.write_all(&startup_packet()).await.unwrap();
    assert_eq!(opened.await.unwrap(), "tls ann");
}

#[tokio::test]
async fn tls_asked_for_and_not_offered_goes_on_in_plaintext() {
    let (door, _) = new_door(Tls::Off);
    let (mut client, opened) = dial(&door).await;
    client.write_all(&ssl()).await.unwrap();
    let mut answer = [0];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"N");
    client.write_all(&startup_packet()).await.unwrap();
    assert_eq!(opened.await.unwrap(), "plain ann");
}

#[tokio::test]
async fn a_cancel_request_needs_no_tls() {
    let (door, _) = new_door(Tls::Require);
    let (mut client, opened) = dial(&door).await;
    client.write_all(&cancel()).await.unwrap();
    assert_eq!(opened.await.unwrap(), "cancel 9 [1, 2, 3, 4]");
}

/// Everything behind a request before its answer closes the connection unread, whichever way it is cut.
#[tokio::test]
async fn bytes_behind_an_encryption_request_are_never_interpreted() {
    let variants: [(&str, Vec<Vec<u8>>); 7] = [
        ("ssl + startup", vec![ssl(), startup_packet()]),
        ("ssl + half a startup", vec![ssl(), startup_packet()[..7].to_vec()]),
        ("ssl + ssl", vec![ssl(), ssl()]),
        ("ssl + gss", vec![ssl(), gss()]),
        ("ssl + cancel", vec![ssl(), cancel()]),
        ("gss + startup", vec![gss(), startup_packet()]),
        ("ssl + one byte", vec![ssl(), vec![0]]),
    ];
    for mode in [Tls::Require, Tls::Allow, Tls::Off] {
        for (name, pieces) in &variants {
            let (door, _) = new_door(mode);
            let (mut client, opened) = dial(&door).await;
            client.write_all(&pieces.concat()).await.unwrap();
            assert_eq!(opened.await.unwrap(), "closed stuffed", "{name} {mode:?}");
            let mut rest = Vec::new();
            let _ = client.read_to_end(&mut rest).await;
            assert_eq!(rest, b"", "{name} {mode:?}: not a byte of an answer");
        }
    }
}

#[tokio::test]
async fn a_request_split_from_its_stuffing_is_refused_too() {
    let (door, _) = new_door(Tls::Require);
    let (mut client, opened) = dial(&door).await;
    let request = ssl();
    let (head, tail) = request.split_at(4);
    client.write_all(head).await.unwrap();
    client.write_all(&[tail, &startup_packet()].concat()).await.unwrap();
    assert_eq!(opened.await.unwrap(), "closed stuffed");
}

/// Bytes that come in plaintext after our `S` are fed to the handshake, which they break.
#[tokio::test]
async fn plaintext_after_the_answer_breaks_the_handshake() {
    let (door, _) = new_door(Tls::Require);
    let (mut client, opened) = dial(&door).await;
    client.write_all(&ssl()).await.unwrap();
    let mut answer = [0];
    client.read_exact(&mut answer).await.unwrap();
    client.write_all(&startup_packet()).await.unwrap();
    assert_eq!(opened.await.unwrap(), "gone");
}

#[tokio::test]
async fn inside_tls_there_is_no_second_negotiation() {
    let (door, connector) = new_door(Tls::Allow);
    for request in [ssl(), gss()] {
        let (mut client, opened) = dial(&door).await;
        client.write_all(&ssl()).await.unwrap();
        let mut answer = [0];
        client.read_exact(&mut answer).await.unwrap();
        let mut client = connector.connect(ServerName::try_from("localhost").unwrap(), client).await.unwrap();
        client.write_all(&request).await.unwrap();
        assert_eq!(opened.await.unwrap(), "closed second_request");
    }
}

#[tokio::test]
async fn whoever_does_not_speak_the_protocol_is_let_go() {
    let huge = [0x3f, 0xff, 0xff, 0xff, 0, 3, 0, 0];
    for (bytes, expect) in [
        (vec![0x16, 3, 1], "closed direct_tls"),
        (huge.to_vec(), "closed startup_length"),
        ([0xff; 8].to_vec(), "closed startup_length"),
        ([0; 8].to_vec(), "closed startup_length"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "closed startup_length"),
        (packet_of(2 << 16, b"user\0a\0\0"), "closed startup_packet"),
        (packet_of(CANCEL_REQUEST, &[0; 7]), "closed cancel_length"),
        (packet_of(CANCEL_REQUEST, &[0; 300]), "closed startup_length"),
        ([ssl(), ssl()].concat(), "closed stuffed"),
    ] {
        let (door, _) = new_door(Tls::Off);
        let (mut client, opened) = dial(&door).await;
        client.write_all(&bytes).await.unwrap();
        assert_eq!(opened.await.unwrap(), expect, "{bytes:?}");
    }
}

#[test]
fn startup_packets_are_read_or_refused() {
    let many = |n: usize| [(0..n).flat_map(|i| format!("k{i}\0v\0").into_bytes()).collect(), vec![0u8]].concat();
    let long = |n: usize| [b"k\0".to_vec(), vec![b'v'; n], vec![0, 0]].concat();
    let ok = [b"\0".to_vec(), b"user\0ann\0\0".to_vec(), b"k\0\0\0".to_vec(), many(64), long(1_024)];
    for body in ok {
        assert!(read_startup(V3_0, &body).is_ok(), "{body:?}");
    }
    let broken: [&[u8]; 8] =
        [b"", b"user", b"user\0", b"user\0ann", b"user\0ann\0", b"user\0\0", b"\0\0\0", b"user\0\xff\0\0"];
    for body in broken.into_iter().map(<[u8]>::to_vec).chain([many(65), long(1_025)]) {
        assert_eq!(read_startup(V3_0, &body).unwrap_err().kind(), Kind::Protocol, "{body:?}");
    }
}

#[test]
fn newer_minors_and_unknown_options_ask_for_negotiation() {
    let read = |minor: u32, body: &[u8]| read_startup(V3_0 | minor, body).unwrap();
    let plain = read(0, b"user\0ann\0\0");
    assert!(!plain.needs_negotiation());
    let newest = read(2, b"user\0ann\0\0");
    assert_eq!((newest.needs_negotiation(), newest.spoken_minor()), (false, 2));
    let newer = read(9_999, b"user\0ann\0\0");
    assert_eq!((newer.needs_negotiation(), newer.spoken_minor()), (true, 2));
    let options = read(0, b"user\0ann\0_pq_.x\0on\0\0");
    assert_eq!((options.needs_negotiation(), options.spoken_minor()), (true, 0));
    assert_eq!((options.unknown_options, options.parameters.len()), (vec!["_pq_.x".to_owned()], 1));
    assert_eq!(read_startup(2 << 16, b"\0").unwrap_err().kind(), Kind::Unsupported);
}

#[test]
fn random_startup_packets_never_panic() {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    for seed in 0..50_000 {
        let mut random = StdRng::seed_from_u64(seed);
        let alphabet = b"\0\0au_pq_.\xc3\xff";
        let body: Vec<u8> =
            (0..random.random_range(0..40)).map(|_| alphabet[random.random_range(0..alphabet.len())]).collect();
        let _ = read_startup(V3_0, &body);
        let _ = read_cancel(&body);
    }
}
