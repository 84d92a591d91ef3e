//! Limits of connections and sessions, and the end of the server.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::Client;
use super::{ENDLESS, NAP, SLEEP, Server};

/// Logs in as soon as a place is free.
async fn place_for_ann(server: &Server) -> Client {
    let since = Instant::now();
    loop {
        match Client::log_in(server.address, "ann", "secret").await {
            Ok(client) => return client,
            Err(error) => assert!(error.contains("53300") && since.elapsed() < Duration::from_secs(15), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_user_cannot_take_the_others_places() {
    let server = Server::start("connections_per_user_max = 2\nconnections_max = 3").await;
    let held = (server.ann().await, server.ann().await);
    let refused = Client::log_in(server.address, "ann", "secret").await.err().unwrap();
    assert!(refused.contains("|C53300|Mtoo many connections for role \"ann\"|"), "{refused}");
    let _bob = Client::log_in(server.address, "bob", "hunter2").await.unwrap();
    let refused = Client::log_in(server.address, "bob", "hunter2").await.err().unwrap();
    assert!(refused.contains("|C53300|Msorry, too many clients already|"), "{refused}");
    drop(held);
    place_for_ann(&server).await;
}

#[tokio::test]
async fn those_who_do_not_log_in_are_few_and_do_not_stay() {
    let server = Server::start("pending_per_ip_max = 2\nstartup_timeout_ms = 1000").await;
    let mut silent = (Client::dial(server.address).await, Client::dial(server.address).await);
    // The accept loop takes them in order.
    let mut third = Client::dial(server.address).await;
    assert_eq!(third.until_ready().await, "E.");
    assert_eq!(third.code(), "53300");
    // A byte now and then does not keep the place: the timer is of the whole login.
    let _ = silent.0.stream.write_all(&[0]).await;
    assert_eq!((silent.0.receive().await, silent.1.receive().await), (None, None));
    place_for_ann(&server).await;
}

#[tokio::test]
async fn a_stranger_who_announces_a_gigabyte_is_closed_at_once() {
    let server = Server::start("").await;
    for kind in *b"QPBdp" {
        let mut stranger = Client::dial(server.address).await;
        stranger.startup(3 << 16, "nobody").await;
        assert_eq!(stranger.receive().await.unwrap().0, b'R');
        stranger.send_raw(&[&[kind][..], &0x3fff_fff0u32.to_be_bytes()].concat()).await;
        assert_eq!(stranger.until_ready().await, "E.", "{}", char::from(kind));
        assert_eq!(stranger.code(), "08P01");
    }
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_user_read_the_same() {
    let server = Server::start("").await;
    let wrong = Client::log_in(server.address, "ann", "guess").await.err().unwrap();
    let missing = Client::log_in(server.address, "eve", "guess").await.err().unwrap();
    assert!(wrong.contains("|C28P01|Mpassword authentication failed for user \"ann\"|"), "{wrong}");
    assert_eq!(wrong.replace("ann", "eve"), missing);
}

#[tokio::test]
async fn idle_sessions_end_by_their_timers() {
    let server = Server::start("idle_timeout_ms = 200\nidle_in_transaction_timeout_ms = 300").await;
    let mut idle = server.ann().await;
    assert_eq!(idle.until_ready().await, "E.");
    assert_eq!(idle.code(), "57P05");

    let mut open = server.ann().await;
    assert_eq!(open.query("begin").await, "CZT");
    assert_eq!(open.until_ready().await, "E.");
    assert_eq!(open.code(), "25P03");

    let mut busy = server.ann().await;
    assert_eq!(busy.query(NAP).await, "TDCZI", "a running statement is not idle");
}

#[tokio::test]
async fn suspended_portals_are_released_when_nobody_fetches() {
    let server = Server::start("portal_idle_timeout_ms = 100").await;
    let mut ann = server.ann().await;
    ann.query("begin").await;
    ann.parse("", ENDLESS).await;
    ann.bind("p", "", &[]).await;
    ann.execute("p", 2).await;
    assert_eq!(ann.sync().await, "12DsZT");
    tokio::time::sleep(Duration::from_millis(400)).await;
    ann.execute("p", 2).await;
    assert_eq!(ann.sync().await, "EZE");
    assert_eq!(ann.code(), "34000");
}

#[tokio::test]
async fn kept_statements_and_portals_are_limited_and_the_session_lives() {
    let server = Server::start("prepared_max = 3\nportals_max = 2\nprepared_bytes_max = 2000").await;
    let mut ann = server.ann().await;
    for name in ["a", "b", "c"] {
        ann.parse(name, "select 1").await;
        assert_eq!(ann.sync().await, "1ZI");
    }
    ann.parse("d", "select 1").await;
    assert_eq!(ann.sync().await, "EZI");
    assert_eq!(ann.code(), "54000");
    ann.query("deallocate all").await;
    ann.parse("d", &format!("select '{}'", "x".repeat(3_000))).await;
    assert_eq!(ann.sync().await, "EZI");
    ann.parse("d", "select 1").await;
    for portal in ["p", "q", "r"] {
        ann.bind(portal, "d", &[]).await;
    }
    assert_eq!(ann.sync().await, "122EZI");
    assert_eq!(ann.code(), "54000");
    assert_eq!(ann.query("select 1").await, "TDCZI");
}

#[tokio::test]
async fn sqls_prepare_and_parse_keep_statements_under_the_same_limits() {
    let server = Server::start("prepared_max = 3\nprepared_bytes_max = 2000").await;
    let mut ann = server.ann().await;
    let large = "x".repeat(1_500);
    // What the session remembers of its own accord takes no room from what the client keeps.
    for n in 0..8 {
        assert_eq!(ann.query(&format!("select '{n}{}'", &large[..500])).await, "TDCZI");
    }
    assert_eq!(ann.query("prepare a as select 1; prepare b as select 2").await, "CCZI");
    ann.parse("c", "select 3").await;
    assert_eq!(ann.sync().await, "1ZI");
    assert_eq!(ann.query("prepare d as select 4").await, "EZI");
    assert_eq!(ann.code(), "54000");
    ann.parse("d", "select 4").await;
    assert_eq!(ann.sync().await, "EZI");
    assert_eq!(ann.code(), "54000");
    assert_eq!(ann.query("execute c").await, "TDCZI", "each door finds what the other kept");
    assert_eq!(ann.query("deallocate b").await, "CZI");
    assert_eq!(ann.query("prepare d as select 4").await, "CZI");

    assert_eq!(ann.query("deallocate all").await, "CZI");
    assert_eq!(ann.query(&format!("prepare a as select '{large}'")).await, "CZI");
    for _ in 0..2 {
        assert_eq!(ann.query(&format!("prepare b as select '{large}'")).await, "EZI");
        assert_eq!(ann.code(), "54000", "bytes");
    }
    ann.parse("p", "select $1::text").await;
    ann.bind("", "p", &[&large]).await;
    assert_eq!(ann.sync().await, "1EZI");
    assert_eq!(ann.code(), "54000", "a portal's parameters draw on the same bytes");
    assert_eq!(ann.query("discard all").await, "CZI");
    assert_eq!(ann.query(&format!("prepare b as select '{large}'")).await, "CZI");
    assert_eq!(ann.query("execute b").await, "TDCZI");
}

/// A hundred at once, each with a place of its own in front of the door: as many are judged as may fail, and no more.
#[tokio::test]
async fn guesses_in_parallel_are_judged_no_faster_than_one_after_the_other() {
    let server = Server::start("startup_timeout_ms = 3000").await;
    let guesses = (0..100).map(|_| async {
        let since = Instant::now();
        let refused = Client::log_in(server.address, "ann", "guess").await.err().unwrap();
        (refused.contains("|C28P01|"), since.elapsed())
    });
    let elsewhere = async {
        let since = Instant::now();
        // Every address of 127.0.0.0/8 is this machine's.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut ann = Client::over(socket.connect(server.address).await.unwrap());
        ann.startup(3 << 16, "ann").await;
        ann.prove("secret").await.unwrap();
        since.elapsed()
    };
    let (outcomes, legitimate) = tokio::join!(futures::future::join_all(guesses), elsewhere);
    let judged: Vec<_> = outcomes.iter().filter(|(judged, _)| *judged).collect();
    let at_once = judged.iter().filter(|(_, after)| *after < Duration::from_secs(1)).count();
    // Five, then one after a second, one two seconds later, and then their time was over.
    assert!(at_once <= 5 && (5..=7).contains(&judged.len()), "{at_once} and {} of {outcomes:?}", judged.len());
    assert!(legitimate < Duration::from_secs(1), "{legitimate:?}");
}

/// The place is free again only when the statement has ended and its session is gone.
#[tokio::test]
async fn a_client_that_vanishes_takes_its_statement_with_it() {
    let server = Server::start("connections_per_user_max = 1").await;
    let mut ann = server.ann().await;
    ann.send(b'Q', format!("{SLEEP}\0").as_bytes()).await;
    drop(ann);
    let since = Instant::now();
    place_for_ann(&server).await;
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_reader_that_stops_is_let_go() {
    let server = Server::start("connections_per_user_max = 1\nwrite_timeout_ms = 500").await;
    let mut ann = server.ann().await;
    ann.send(b'Q', format!("{ENDLESS}\0").as_bytes()).await;
    place_for_ann(&server).await;
    let mut rest = Vec::new();
    let _ = ann.stream.read_to_end(&mut rest).await;
    assert!(!rest.windows(6).any(|w| w == b"SELECT"), "no part is passed off as the whole");
}

#[tokio::test]
async fn a_drain_ends_idle_sessions_at_once_and_lets_running_ones_finish() {
    let server = Server::start("drain_ms = 10000").await;
    let (mut idle, mut running) = (server.ann().await, server.ann().await);
    running.send(b'Q', format!("{NAP}\0").as_bytes()).await;
    assert_eq!(running.receive().await.map(|(kind, _)| kind), Some(b'T'), "it runs");
    let drained = tokio::spawn({
        let shutdown = server.shutdown.clone();
        async move { shutdown.finish(Duration::from_secs(20)).await }
    });
    assert_eq!(idle.until_ready().await, "E.");
    assert_eq!(idle.code(), "57P01");
    assert_eq!(running.until_ready().await, "DCZI");
    assert_eq!(running.until_ready().await, "E.");
    assert_eq!(running.code(), "57P01");
    assert!(drained.await.unwrap());
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn when_patience_is_over_running_statements_end_too() {
    let server = Server::start("drain_ms = 200").await;
    let mut ann = server.ann().await;
    ann.send(b'Q', format!("{SLEEP}\0").as_bytes()).await;
    assert_eq!(ann.receive().await.map(|(kind, _)| kind), Some(b'T'), "it runs");
    let since = Instant::now();
    assert!(server.stop().await);
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    assert_eq!(ann.until_ready().await, "E.");
    assert_eq!(ann.code(), "57P01");
}
