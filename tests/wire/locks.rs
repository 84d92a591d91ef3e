//! Advisory locks between two clients: who gets one, and what ends a wait.

use super::Server;
use super::client::Client;

/// `t` or `f`.
async fn got(client: &mut Client, lock: u32) -> bool {
    client.send(b'Q', format!("select pg_try_advisory_lock({lock})\0").as_bytes()).await;
    assert_eq!(client.receive().await.unwrap().0, b'T');
    let (letter, row) = client.receive().await.unwrap();
    client.until_ready().await;
    assert_eq!(letter, b'D');
    row.ends_with(b"t")
}

#[tokio::test]
async fn a_session_waits_for_the_lock_of_another() {
    let server = Server::start("").await;
    let (mut ann, mut other) = (server.ann().await, Client::log_in(server.address, "bob", "hunter2").await.unwrap());
    assert!(got(&mut ann, 1).await && !got(&mut other, 1).await && got(&mut other, 2).await);

    other.send(b'Q', b"select pg_advisory_lock(1)\0").await;
    assert_eq!(ann.query("select pg_advisory_unlock(1)").await, "TDCZI");
    assert_eq!(other.until_ready().await, "TDCZI");
    assert!(!got(&mut ann, 1).await, "bob has it now");

    assert_eq!(ann.query("set lock_timeout = '10ms'").await, "CZI");
    assert_eq!(ann.query("select pg_advisory_lock(1)").await, "TEZI");
    assert_eq!(ann.code(), "55P03");
    assert_eq!(ann.query("set lock_timeout = 0").await, "CZI");
    assert_eq!(ann.query("set statement_timeout = '10ms'").await, "CZI");
    assert_eq!(ann.query("select pg_advisory_lock(1)").await, "TEZI");
    assert_eq!(ann.code(), "57014");

    // a session that leaves lets go of what it holds
    drop(other);
    while !got(&mut ann, 1).await {}
}

#[tokio::test]
async fn a_cancel_request_ends_a_wait_for_a_lock() {
    let server = Server::start("").await;
    let (mut ann, mut other) = (server.ann().await, server.ann().await);
    assert!(got(&mut other, 1).await);
    let pid = i32::from_be_bytes(ann.pid);
    ann.send(b'Q', b"select pg_advisory_lock(1)\0").await;
    loop {
        other.query(&format!("select pg_cancel_backend({pid})")).await;
        // the statement may not have begun when it was first asked
        let answered = tokio::time::timeout(std::time::Duration::from_millis(200), ann.until_ready()).await;
        if let Ok(letters) = answered {
            assert!(letters.ends_with("EZI"), "{letters}");
            break;
        }
    }
    assert_eq!(ann.code(), "57014");
    assert_eq!(other.query("select pg_advisory_unlock(1)").await, "TDCZI");
    assert!(got(&mut ann, 1).await, "nobody is left waiting");
}
