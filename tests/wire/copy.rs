//! COPY as messages. What is written to a lake is `gateway`'s to see; here rows only leave.

use super::{ENDLESS, HALF_WAY, Server, client::cancel};

#[tokio::test]
async fn rows_leave_a_message_each_in_both_protocols() {
    let server = Server::start("").await;
    let mut ann = server.ann().await;
    for (sql, bodies) in [
        ("copy (values (1, null, 'a\"b,c'), (2, E'x\\ty', 'z')) to stdout", vec!["1\t\\N\ta\"b,c\n", "2\tx\\ty\tz\n"]),
        ("copy (select 1 as a, 'b,c' as b) to stdout with csv header force quote a", vec!["a,b\n", "\"1\",\"b,c\"\n"]),
        ("copy (select 1 where false) to stdout (format csv, header)", vec!["?column?\n"]),
        ("copy (select 1 where false) to stdout", vec![]),
    ] {
        let rows = bodies.len() - usize::from(sql.contains("header"));
        let tag = format!("COPY {rows}\0");
        for extended in [false, true] {
            if extended {
                ann.parse("", sql).await;
                ann.bind("", "", &[]).await;
                ann.send(b'D', b"P\0").await;
                ann.execute("", 1).await;
                ann.send(b'S', b"").await;
                for letter in [b'1', b'2', b'n'] {
                    assert_eq!(ann.receive().await.unwrap().0, letter, "{sql}");
                }
            } else {
                ann.send(b'Q', format!("{sql}\0").as_bytes()).await;
            }
            assert_eq!(ann.receive().await.unwrap().0, b'H', "{sql}");
            for body in &bodies {
                let (kind, sent) = ann.receive().await.unwrap();
                assert_eq!((kind, String::from_utf8(sent).unwrap().as_str()), (b'd', *body), "{sql}");
            }
            assert_eq!(ann.receive().await.unwrap(), (b'c', vec![]), "{sql}");
            assert_eq!(ann.receive().await.unwrap(), (b'C', tag.clone().into_bytes()), "{sql}");
            assert_eq!(ann.until_ready().await, "ZI");
        }
    }
}

#[tokio::test]
async fn a_copy_is_refused_in_postgresqls_words_and_ends_in_step() {
    let server = Server::start("").await;
    let mut ann = server.ann().await;
    for (sql, code) in [
        ("copy (select 1) to '/tmp/x'", "42501"),
        ("copy (select 1) to program 'cat'", "42501"),
        ("copy nothing to stdout", "42P01"),
        ("copy nothing from stdin", "42P01"),
        ("copy (select $1) to stdout", "42P02"),
        ("copy (select 1) to stdout (format xml)", "22023"),
        ("copy (select 1) from stdin", "42601"),
        ("copy (select 1 as a) to stdout (format csv, force_quote (b))", "42703"),
    ] {
        assert_eq!(ann.query(sql).await, "EZI", "{sql}");
        assert_eq!(ann.code(), code, "{sql}");
    }
    let half = ann.query(&format!("copy ({HALF_WAY}) to stdout")).await;
    assert!(half.starts_with("Hd") && half.ends_with("dEZI"), "{}", half.len());
    assert_eq!(ann.code(), "22012");
    assert_eq!(ann.query("select 1; copy (select 2) to stdout; select 3").await, "TDCHdcCTDCZI");
}

#[tokio::test]
async fn a_copy_is_cancelled_like_a_query() {
    let server = Server::start("").await;
    let mut ann = server.ann().await;
    let packet = ann.cancel_request();
    ann.send(b'Q', format!("copy ({ENDLESS}) to stdout\0").as_bytes()).await;
    assert_eq!(ann.receive().await.unwrap().0, b'H');
    cancel(server.address, &packet).await;
    let rest = ann.until_ready().await;
    assert!(rest.ends_with("EZI") && !rest.contains('C'), "{}", rest.len());
    assert_eq!(ann.code(), "57014");
}
