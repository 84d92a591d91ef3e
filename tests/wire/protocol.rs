//! Messages in and out of order: what comes back, letter by letter.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{Client, cancel};
use super::{HALF_WAY, NAP, SLEEP, Server};

#[tokio::test]
async fn simple_queries_stop_at_the_first_error() {
    let server = Server::start("").await;
    let mut ann = server.ann().await;
    for (sql, expect) in [
        ("select 1", "TDCZI"),
        ("select 1; select 2; select 3", "TDCTDCTDCZI"),
        ("", "IZI"),
        (" ; ", "IZI"),
        ("select 1; select nonsense; select 3", "TDCEZI"),
        ("select from where", "EZI"),
        ("begin", "CZT"),
        ("select nonsense", "EZE"),
        ("select 1", "EZE"),
        ("rollback", "CZI"),
        ("select $1", "EZI"),
        ("select 1 where false", "TCZI"),
    ] {
        assert_eq!(ann.query(sql).await, expect, "{sql}");
    }
}

#[tokio::test]
async fn an_error_inside_a_result_ends_it_without_a_command_complete() {
    let server = Server::start("").await;
    let mut ann = server.ann().await;
    assert_eq!(ann.query(HALF_WAY).await, "TDEZI");
    assert_eq!(ann.code(), "22012");
    ann.parse("", HALF_WAY).await;
    ann.bind("", "", &[]).await;
    ann.execute("", 0).await;
    assert_eq!(ann.sync().await, "12DEZI");
    assert_eq!(ann.query("select 1").await, "TDCZI");
}

#[tokio::test]
async fn the_extended_protocol_and_errors_until_sync() {
    let server = Server::start("").await;
    let mut ann = server.ann().await;
    ann.parse("one", "select $1::int8 + 1 as n").await;
    ann.send(b'D', b"Sone\0").await;
    ann.bind("", "one", &["41"]).await;
    ann.send(b'D', b"P\0").await;
    ann.execute("", 0).await;
    ann.send(b'C', b"P\0").await;
    assert_eq!(ann.sync().await, "1tT2TDC3ZI");

    for (broken, code) in
        [("bind", "08P01"), ("parse", "42P05"), ("describe", "26000"), ("execute", "34000"), ("body", "08P01")]
    {
        match broken {
            "bind" => ann.bind("", "one", &[]).await,
            "parse" => ann.parse("one", "select 1").await,
            "describe" => ann.send(b'D', b"Snone\0").await,
            "execute" => ann.execute("none", 0).await,
            _ => ann.send(b'B', b"\0one\0\0\x01").await,
        }
        ann.parse("never", "select 1").await;
        ann.execute("", 0).await;
        ann.send(b'H', b"").await;
        assert_eq!(ann.sync().await, "EZI", "{broken}");
        assert_eq!(ann.code(), code, "{broken}");
    }
    ann.send(b'D', b"Snever\0").await;
    assert_eq!(ann.sync().await, "EZI", "what stood behind the error was not done");
    assert_eq!(ann.query("select 1").await, "TDCZI");
}

#[tokio::test]
async fn portals_are_fetched_in_parts_and_end_with_their_transaction() {
    let server = Server::start("").await;
    let mut ann = server.ann().await;
    ann.parse("", "select * from generate_series(1, 5)").await;
    ann.bind("p", "", &[]).await;
    for _ in 0..4 {
        ann.execute("p", 2).await;
    }
    // 2, 2, 1 and none: the fetch that finds the end says so with its count.
    assert_eq!(ann.sync().await, "12DsDsDCCZI");
    ann.execute("p", 2).await;
    assert_eq!(ann.sync().await, "EZI");
    assert_eq!(ann.code(), "34000");

    ann.query("begin").await;
    ann.parse("", "select * from generate_series(1, 5)").await;
    ann.bind("p", "", &[]).await;
    ann.execute("p", 2).await;
    assert_eq!(ann.sync().await, "12DsZT");
    ann.bind("p", "", &[]).await;
    assert_eq!(ann.sync().await, "EZE");
    assert_eq!(ann.code(), "42P03");
    ann.execute("p", 2).await;
    assert_eq!(ann.sync().await, "EZE", "a failed transaction's portals are gone");
    assert_eq!(ann.query("rollback").await, "CZI");
}

#[tokio::test]
async fn messages_we_do_not_serve_leave_the_session_in_step() {
    let server = Server::start("message_bytes_max = 10000").await;
    let mut ann = server.ann().await;
    ann.send(b'F', b"\0\x0f\x42\x40\0\0\0\0\0\0").await;
    assert_eq!(ann.until_ready().await, "EZI");
    assert_eq!(ann.code(), "42883");
    for (arguments, answer) in [(&b"\0\x02\0\0\0\x015\0\0\0\x016"[..], "VZI"), (b"\0\x01\0\0\0\x015", "EZI")] {
        // int4pl in text
        let call = [b"\0\0\0\xb1\0\0", arguments, b"\0\0"].concat();
        ann.send(b'F', &call).await;
        assert_eq!(ann.until_ready().await, answer);
    }
    assert_eq!(ann.code(), "08P01");
    for (kind, body) in [(b'd', &b"1\t2\n"[..]), (b'c', b""), (b'f', b"why\0"), (b'd', &[0; 20_000])] {
        ann.send(kind, body).await;
    }
    assert_eq!(ann.query("select 1").await, "TDCZI", "leftovers of a copy are no error");

    let large = format!("select '{}'", "x".repeat(20_000));
    assert_eq!(ann.query(&large).await, "EZI");
    assert_eq!(ann.code(), "54000");
    ann.parse("", &large).await;
    ann.bind("", "", &[]).await;
    assert_eq!(ann.sync().await, "EZI");
    assert_eq!(ann.code(), "54000");
    ann.parse("p", "select $1::text").await;
    ann.bind("", "p", &[&large]).await;
    ann.execute("", 0).await;
    assert_eq!(ann.sync().await, "1EZI");
    assert_eq!(ann.query("select 1").await, "TDCZI");

    for bytes in [&b"?\0\0\0\x04"[..], b"S\0\0\0\x03", b"E\x7f\xff\xff\xff", b"p\0\0\0\x04"] {
        let mut bob = Client::log_in(server.address, "bob", "hunter2").await.unwrap();
        bob.send_raw(bytes).await;
        assert_eq!(bob.until_ready().await, "E.", "{bytes:?}");
        assert_eq!(bob.code(), "08P01");
    }
    assert_eq!(ann.query("select 1").await, "TDCZI");
}

#[tokio::test]
async fn a_cancel_request_ends_the_running_statement_and_no_other() {
    let server = Server::start("").await;
    let mut ann = server.ann().await;
    let mut bob = Client::log_in(server.address, "bob", "hunter2").await.unwrap();
    let packet = ann.cancel_request();
    assert_eq!(ann.key.len(), 4);

    cancel(server.address, &packet).await;
    assert_eq!(ann.query("select 1").await, "TDCZI", "nothing ran: nothing was cancelled");

    for extended in [false, true] {
        bob.send(b'Q', format!("{NAP}\0").as_bytes()).await;
        if extended {
            ann.parse("", SLEEP).await;
            ann.bind("", "", &[]).await;
            ann.execute("", 0).await;
            ann.send(b'S', b"").await;
        } else {
            ann.send(b'Q', format!("{SLEEP}\0").as_bytes()).await;
        }
        let mut wrong = packet.clone();
        *wrong.last_mut().unwrap() ^= 1;
        cancel(server.address, &wrong).await;
        // The statement may not have begun when the first request comes: such a one hits nothing.
        let asked = async {
            loop {
                cancel(server.address, &packet).await;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let answered = tokio::select! {
            () = asked => unreachable!(),
            answered = ann.until_ready() => answered,
        };
        assert!(answered.ends_with("EZI"), "{answered}");
        assert_eq!(ann.code(), "57014");
        assert_eq!(bob.until_ready().await, "TDCZI", "another session does not notice");
    }
    assert_eq!(ann.query("select 1").await, "TDCZI");
}

/// As libpq 17 and later ask for it: over TLS, and only TLS's own end is taken for an answer.
#[tokio::test]
async fn a_cancel_request_over_tls_ends_the_statement_and_then_tls() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = Server::start(&format!("tls = 'allow'\ncertificate = {certificate:?}\nkey = {key:?}")).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let tls = tokio_rustls::TlsConnector::from(std::sync::Arc::new(client));

    let mut ann = server.ann().await;
    let packet = ann.cancel_request();
    ann.send(b'Q', format!("{SLEEP}\0").as_bytes()).await;
    let asked = async {
        loop {
            let mut asking = Client::dial(server.address).await;
            asking.send_raw(&[0, 0, 0, 8, 4, 210, 22, 47]).await;
            let mut answer = [0];
            asking.stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, *b"S");
            let mut asking = tls.connect("localhost".try_into().unwrap(), asking.stream).await.unwrap();
            asking.write_all(&packet).await.unwrap();
            let end = asking.read(&mut [0]).await;
            assert_eq!(end.expect("close_notify comes before the socket's end"), 0);
        }
    };
    let answered = tokio::select! {
        () = asked => unreachable!(),
        answered = ann.until_ready() => answered,
    };
    assert!(answered.ends_with("EZI"), "{answered}");
    assert_eq!(ann.code(), "57014");
}

#[tokio::test]
async fn protocol_3_2_has_a_long_key_and_newer_ones_are_talked_down() {
    let server = Server::start("").await;
    for (minor, negotiated, key) in [(0, false, 4), (2, false, 32), (9_999, true, 32)] {
        let mut client = Client::dial(server.address).await;
        client.startup(3 << 16 | minor, "ann").await;
        if negotiated {
            let (kind, body) = client.receive().await.unwrap();
            assert_eq!((kind, &body[..]), (b'v', &[0, 3, 0, 2, 0, 0, 0, 0][..]));
        }
        client.prove("secret").await.unwrap();
        assert_eq!(client.key.len(), key, "3.{minor}");
    }
    let mut client = Client::dial(server.address).await;
    client.startup(2 << 16, "ann").await;
    assert_eq!(client.until_ready().await, "E.");
    assert_eq!(client.code(), "0A000");
}

#[tokio::test]
async fn portals_and_cursors_share_their_names() {
    let server = Server::start("").await;
    let mut ann = server.ann().await;
    assert_eq!(ann.query("begin; declare c cursor for values (1), (2), (3)").await, "CCZT");
    ann.send(b'D', b"Pc\0").await;
    ann.execute("c", 2).await;
    assert_eq!(ann.sync().await, "TDsZT");
    assert_eq!(ann.query("fetch all c").await, "TDCZT");

    ann.parse("three", "values (4), (5), (6)").await;
    ann.bind("p", "three", &[]).await;
    ann.execute("p", 1).await;
    assert_eq!(ann.sync().await, "12DsZT");
    assert_eq!(ann.query("fetch 1 from p").await, "TDCZT");
    ann.execute("p", 0).await;
    assert_eq!(ann.sync().await, "DCZT");
    assert_eq!(ann.query("close p").await, "CZT");

    // in binary before a statement names it, and after
    ann.send(b'B', b"q\0three\0\0\0\0\0\0\x01\0\x01").await;
    assert_eq!(ann.sync().await, "2ZT");
    assert_eq!(ann.query("move 1 from q").await, "CZT");
    ann.execute("q", 1).await;
    ann.send(b'S', b"").await;
    assert_eq!(ann.receive().await.unwrap(), (b'D', b"\0\x01\0\0\0\x04\0\0\0\x05".to_vec()));
    assert_eq!(ann.until_ready().await, "sZT");

    ann.bind("c", "three", &[]).await;
    assert_eq!((ann.sync().await.as_str(), ann.code()), ("EZE", "42P03"));
    assert_eq!(ann.query("rollback; begin").await, "CCZT");
    ann.bind("r", "three", &[]).await;
    assert_eq!(ann.sync().await, "2ZT");
    assert_eq!((ann.query("declare r cursor for select 1").await.as_str(), ann.code()), ("EZE", "42P03"));
    assert_eq!(ann.query("rollback").await, "CZI");
}

/// What was bound before a savepoint outlives a failure behind it; the transaction's end it does not.
#[tokio::test]
async fn portals_live_as_long_as_what_they_were_bound_in() {
    let server = Server::start("").await;
    let mut ann = server.ann().await;
    ann.parse("three", "values (4), (5), (6)").await;
    assert_eq!(ann.sync().await, "1ZI");
    assert_eq!(ann.query("begin").await, "CZT");
    ann.bind("p", "three", &[]).await;
    ann.execute("p", 1).await;
    assert_eq!(ann.sync().await, "2DsZT");
    assert_eq!(ann.query("savepoint s").await, "CZT");
    ann.bind("q", "three", &[]).await;
    assert_eq!(ann.sync().await, "2ZT");
    assert_eq!(ann.query("select nonsense").await, "EZE");
    assert_eq!(ann.query("rollback to s").await, "CZT");
    ann.execute("p", 1).await;
    assert_eq!(ann.sync().await, "DsZT");
    ann.execute("q", 1).await;
    assert_eq!((ann.sync().await.as_str(), ann.code()), ("EZE", "34000"));
    assert_eq!(ann.query("rollback").await, "CZI");
    ann.execute("p", 1).await;
    assert_eq!((ann.sync().await.as_str(), ann.code()), ("EZI", "34000"));
}

#[tokio::test]
async fn notices_come_before_the_answer_and_settings_are_a_cycle_s() {
    let server = Server::start("").await;
    let mut ann = server.ann().await;
    assert_eq!(ann.query("commit").await, "NCZI");
    assert_eq!(ann.query("set client_min_messages = error; commit").await, "CCZI");
    // what stands before a Sync is one transaction
    ann.parse("", "set application_name = 'x'").await;
    ann.bind("", "", &[]).await;
    ann.execute("", 0).await;
    ann.parse("", "select nonsense").await;
    assert_eq!(ann.sync().await, "12CEZI");
    // one row where the name is still empty
    assert_eq!(ann.query("select 1 where current_setting('application_name') = ''").await, "TDCZI");
}
