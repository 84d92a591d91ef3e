//! Sessions that know of each other: channels, and ending what another one runs.

use super::client::Client;
use super::{SLEEP, Server};

async fn notification(client: &mut Client) -> (i32, String) {
    loop {
        if let (b'A', body) = client.receive().await.unwrap() {
            let pid = i32::from_be_bytes(body[..4].try_into().unwrap());
            return (pid, String::from_utf8_lossy(&body[4..]).replace('\0', "|"));
        }
    }
}

#[tokio::test]
async fn what_one_session_says_another_hears_when_it_is_idle() {
    let server = Server::start("").await;
    let (mut ann, mut bob) = (server.ann().await, Client::log_in(server.address, "bob", "hunter2").await.unwrap());
    let pid = i32::from_be_bytes(ann.pid);
    assert_eq!(bob.query("listen news").await, "CZI");
    assert_eq!(ann.query("notify news, 'now'").await, "CZI");
    assert_eq!(notification(&mut bob).await, (pid, "news|now|".into()), "bob waits and says nothing");

    assert_eq!(ann.query("begin").await, "CZT");
    assert_eq!(ann.query("select pg_notify('news', 'at last')").await, "TDCZT");
    assert_eq!(bob.query("select 1").await, "TDCZI", "not before the commit");
    assert_eq!(ann.query("commit").await, "CZI");
    assert_eq!(notification(&mut bob).await, (pid, "news|at last|".into()));

    assert_eq!(bob.query("begin").await, "CZT");
    assert_eq!(ann.query("notify news").await, "CZI");
    assert_eq!(bob.query("select 1").await, "TDCZT", "not inside a transaction");
    assert_eq!(bob.query("rollback").await, "CAZI");
    assert_eq!(bob.query("unlisten *").await, "CZI");
    assert_eq!(ann.query("notify news").await, "CZI");
    assert_eq!(bob.query("select 1").await, "TDCZI");

    assert_eq!(ann.query("listen own").await, "CZI");
    assert_eq!(ann.query("notify own").await, "CAZI", "a session hears itself in the same breath");
    // the only row of a query without a table is computed before it is described
    assert_eq!(ann.query("select pg_notify('', 'x')").await, "EZI");
    assert_eq!(ann.code(), "22023");
}

#[tokio::test]
async fn a_session_ends_its_users_other_ones_and_nobody_elses() {
    let server = Server::start("").await;
    let (mut ann, mut other) = (server.ann().await, server.ann().await);
    let mut bob = Client::log_in(server.address, "bob", "hunter2").await.unwrap();
    let pid = i32::from_be_bytes(other.pid);
    other.send(b'Q', format!("{SLEEP}\0").as_bytes()).await;
    // bob may not, and is told what he is told of a process that is not there
    for sql in [format!("select pg_cancel_backend({pid})"), "select pg_cancel_backend(1)".into()] {
        bob.send(b'Q', format!("{sql}\0").as_bytes()).await;
        assert_eq!(bob.receive().await.unwrap().0, b'T');
        assert_eq!(bob.receive().await.unwrap(), (b'D', b"\0\x01\0\0\0\x01f".to_vec()), "{sql}");
        bob.until_ready().await;
    }
    loop {
        ann.query(&format!("select pg_cancel_backend({pid})")).await;
        // the statement may not have begun when it was first asked
        let answered = tokio::time::timeout(std::time::Duration::from_millis(200), other.until_ready()).await;
        if let Ok(letters) = answered {
            assert!(letters.ends_with("EZI"), "{letters}");
            break;
        }
    }
    assert_eq!(other.code(), "57014");
    assert_eq!(other.query("select 1").await, "TDCZI");
    assert_eq!(ann.query(&format!("select pg_terminate_backend({pid})")).await, "TDCZI");
    assert_eq!(other.until_ready().await, "E.");
    assert_eq!(other.code(), "57P01");
}
