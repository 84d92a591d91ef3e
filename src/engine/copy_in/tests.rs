//! Rows into a temporary table, which is written as a lake's is: what is taken, and the one error that is told.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::engine::session::tests::{Shop, ask};
use crate::engine::{Answer, Session};

/// The tag, or SQLSTATE, message and context.
async fn copy(session: &mut Session, sql: &str, portions: &[&[u8]]) -> String {
    let prepared = session.prepare(sql, &[]).await.unwrap();
    let mut copy = match session.execute(&prepared, vec![], CancellationToken::new()).await {
        Ok(Answer::CopyIn(copy)) => copy,
        Ok(other) => panic!("{other:?}"),
        Err(error) => return format!("{} {}", error.kind().sqlstate(), error.message()),
    };
    let done = async {
        for portion in portions {
            copy.push(portion).await?;
        }
        copy.finish().await
    };
    match done.await {
        Ok(tag) => {
            session.finish().await.unwrap();
            tag
        }
        Err(error) => {
            session.fail();
            let context = error.context().unwrap_or_default();
            format!("{} {} | {context}", error.kind().sqlstate(), error.message())
        }
    }
}

#[tokio::test]
async fn the_first_error_by_row_and_column_is_told_and_nothing_is_written() {
    let shop = Shop::open().await;
    let mut session = shop.session();
    assert_eq!(
        ask(&mut session, "CREATE TEMP TABLE t (a int4 NOT NULL, b text, c numeric(5,2))").await,
        "CREATE TABLE"
    );
    session.finish().await.unwrap();
    for (rows, told) in [
        ("1\tx\t1.5\n2\t\\N\t\\N\n", "COPY 2"),
        ("x\ty\t1\n", "22P02 invalid input syntax for type integer: \"x\" | COPY t, line 1, column a: \"x\""),
        ("1\ty\tz\nx\ty\t1\n", "22P02 invalid input syntax for type numeric: \"z\" | COPY t, line 1, column c: \"z\""),
        (
            "1\ty\t1\nx\ty\t1\n3\n",
            "22P02 invalid input syntax for type integer: \"x\" | COPY t, line 2, column a: \"x\"",
        ),
        ("1\ty\n", "22P04 missing data for column \"c\" | COPY t, line 1: \"1\ty\""),
        ("x\ty\n", "22P02 invalid input syntax for type integer: \"x\" | COPY t, line 1, column a: \"x\""),
        ("x\ty\t1\t2\n", "22P04 extra data after last expected column | COPY t, line 1: \"x\ty\t1\t2\""),
        ("1\ty\t1234.5\n", "22003 numeric field overflow | COPY t, line 1, column c: \"1234.5\""),
        (
            "\\N\ty\t1\n",
            "23502 null value in column \"a\" of relation \"t\" violates not-null constraint | COPY t, line 1: \"\\N\ty\t1\"",
        ),
    ] {
        assert_eq!(copy(&mut session, "COPY t FROM STDIN", &[rows.as_bytes()]).await, told, "{rows:?}");
    }
    assert_eq!(ask(&mut session, "SELECT count(*), sum(c) FROM t").await, "2 1.50");
    session.finish().await.unwrap();
    assert_eq!(
        copy(&mut session, "COPY t (c, a) FROM STDIN CSV HEADER", &[b"c,", b"a\n2.005,", b"7\n"]).await,
        "COPY 1"
    );
    assert_eq!(ask(&mut session, "SELECT c FROM t WHERE a = 7").await, "2.01");
}

/// As INSERT does: each row its own, where they are not constant.
#[tokio::test]
async fn columns_that_rows_come_without_have_their_defaults() {
    let shop = Shop::open().await;
    let mut session = shop.session();
    let table =
        "CREATE TEMP TABLE t (a int4, b text NOT NULL DEFAULT upper('x') || 'y', c float8 DEFAULT random(), d int4)";
    assert_eq!(ask(&mut session, table).await, "CREATE TABLE");
    session.finish().await.unwrap();
    assert_eq!(copy(&mut session, "COPY t (a) FROM STDIN", &[b"1\n2\n3\n"]).await, "COPY 3");
    assert_eq!(ask(&mut session, "SELECT count(DISTINCT c), min(b), max(b), count(d) FROM t").await, "3 Xy Xy 0");
    session.finish().await.unwrap();
    let null = copy(&mut session, "COPY t (a, b) FROM STDIN", &[b"4\t\\N\n"]).await;
    assert!(null.starts_with("23502 null value in column \"b\""), "{null}");
}

#[tokio::test]
async fn a_copy_that_is_dropped_or_fails_leaves_nothing() {
    let shop = Shop::open().await;
    let mut session = shop.session();
    ask(&mut session, "CREATE TEMP TABLE t (a int4)").await;
    session.finish().await.unwrap();
    let prepared = session.prepare("COPY t FROM STDIN", &[]).await.unwrap();
    let Ok(Answer::CopyIn(mut dropped)) = session.execute(&prepared, vec![], CancellationToken::new()).await else {
        panic!("no copy")
    };
    dropped.push(b"1\n2\n").await.unwrap();
    drop(dropped);
    session.fail();
    assert_eq!(ask(&mut session, "SELECT count(*) FROM t").await, "0");
    session.finish().await.unwrap();
    assert_eq!(copy(&mut session, "COPY t FROM '/etc/passwd'", &[]).await.get(..5), Some("42501"));
    assert_eq!(copy(&mut session, "COPY shop.sales FROM STDIN", &[]).await.get(..5), Some("42501"));
}

/// It may have failed while rows still come, and have let go of them or not: whoever sends them is told why.
#[tokio::test]
async fn a_writers_own_error_is_told_whenever_it_comes() {
    let shop = Shop::open().await;
    let mut session = shop.session();
    ask(&mut session, "CREATE TEMP TABLE t (a int4)").await;
    session.finish().await.unwrap();
    for lets_go in [false, true] {
        let prepared = session.prepare("COPY t FROM STDIN", &[]).await.unwrap();
        let Ok(Answer::CopyIn(mut copy)) = session.execute(&prepared, vec![], CancellationToken::new()).await else {
            panic!("no copy")
        };
        let (batches, received) = mpsc::channel(AHEAD);
        copy.batches = batches;
        let write = async move {
            let held = (!lets_go).then_some(received);
            tokio::task::yield_now().await;
            drop(held);
            Err(Error::new(Kind::PermissionDenied, "no such row"))
        };
        copy.write = write.boxed();
        copy.push(b"1\n2\n").await.unwrap();
        let error = copy.finish().await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (Kind::PermissionDenied, "no such row"), "{lets_go}");
        session.fail();
    }
}
