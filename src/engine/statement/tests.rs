//! The statement matrix: what is in our language, alone and inside every wrapper.

use super::*;
use crate::engine::limits::{Limits, parse};

fn verdict(sql: &str) -> String {
    let parsed = parse(sql, &Limits::default());
    match parsed.and_then(|mut s| admit(s.remove(0))) {
        Ok(a) => a.kind().to_string(),
        Err(e) => e.kind().sqlstate().to_string(),
    }
}

#[test]
fn only_our_statements_exist() {
    let rows = [
        ("SELECT 1", "select"),
        ("VALUES (1)", "select"),
        ("TABLE t", "select"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "select"),
        ("SET timezone TO 'UTC'", "set"),
        ("SET LOCAL statement_timeout = 5", "set"),
        ("SET TIME ZONE 'Europe/Berlin'", "set"),
        ("RESET ALL", "reset"),
        ("SHOW timezone", "show"),
        ("BEGIN", "begin"),
        ("START TRANSACTION READ ONLY", "begin"),
        ("COMMIT", "commit"),
        ("END", "commit"),
        ("ROLLBACK", "rollback"),
        ("PREPARE p AS SELECT 1", "prepare"),
        ("EXECUTE p(1)", "execute"),
        ("DEALLOCATE ALL", "deallocate"),
        ("DISCARD ALL", "discard"),
        ("SAVEPOINT a", "savepoint"),
        ("RELEASE a", "release"),
        ("ROLLBACK TO a", "rollback to"),
        ("DECLARE c CURSOR FOR SELECT 1", "declare"),
        ("FETCH c", "fetch"),
        ("MOVE 2 c", "move"),
        ("CLOSE c", "close"),
        ("CREATE SCHEMA s", "create schema"),
        ("CREATE TABLE s.t (a int)", "create table"),
        ("CREATE TABLE s.t AS SELECT 1 AS a", "create table as"),
        ("INSERT INTO s.t VALUES (1)", "insert"),
        ("DROP TABLE s.t", "drop table"),
        ("EXPLAIN SELECT 1", "explain"),
        ("EXPLAIN ANALYZE SELECT 1", "explain"),
        ("EXPLAIN (FORMAT JSON, ANALYZE off) SELECT 1", "explain"),
        ("EXPLAIN DELETE FROM t", "explain"),
        ("EXPLAIN ANALYZE INSERT INTO t VALUES (1)", "0A000"),
        ("EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1", "0A000"),
        ("EXPLAIN SELECT * INTO x FROM t", "0A000"),
        ("EXPLAIN EXECUTE p", "explain"),
        ("DESCRIBE t", "0A000"),
        ("PREPARE p AS EXPLAIN SELECT 1", "0A000"),
        ("PREPARE p AS DROP TABLE s.t", "0A000"),
        // what is read or written on the server is refused to everybody when it runs
        ("COPY t TO '/tmp/x'", "copy to"),
        ("COPY t TO PROGRAM 'cat'", "copy to"),
        ("COPY t FROM '/etc/passwd'", "copy from"),
        ("COPY (SELECT 1) TO STDOUT", "copy to"),
        ("COPY (DELETE FROM t RETURNING a) TO STDOUT", "0A000"),
        ("COPY t FROM STDIN WHERE a > 1", "0A000"),
        ("WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d", "0A000"),
        ("WITH d AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM d", "0A000"),
        ("SELECT * INTO x FROM t", "create table as"),
        ("PREPARE p AS SELECT * INTO x FROM t", "0A000"),
        ("DECLARE c CURSOR FOR SELECT * INTO x FROM t", "0A000"),
        ("CREATE EXTENSION IF NOT EXISTS plpgsql", "create extension"),
        ("DROP INDEX i", "drop index"),
        ("UPDATE t SET a = 1", "update"),
        ("DELETE FROM t", "delete"),
        ("TRUNCATE t", "truncate table"),
        ("MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", "merge"),
        ("CREATE VIEW v AS SELECT 1", "create view"),
        ("CREATE EXTERNAL TABLE t (a int) STORED AS PARQUET LOCATION '/etc'", "0A000"),
        ("CREATE TABLE t (a int) WITH (location = '/etc')", "22023"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "0A000"),
        ("GRANT SELECT ON t TO ann", "grant"),
        ("INSERT INTO t VALUES (1) RETURNING *", "insert"),
        ("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", "insert"),
        ("WITH d AS (SELECT 1) DELETE FROM t", "delete"),
        ("PREPARE p AS UPDATE t SET a = $1", "prepare"),
        ("DELETE FROM t WHERE CURRENT OF c", "0A000"),
        ("KILL 5", "0A000"),
        ("ATTACH DATABASE 'x' AS y", "0A000"),
    ];
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(sql, expect)| {
            let got = verdict(sql);
            // a statement the parser itself refuses is refused as well
            (got != *expect && !(*expect == "0A000" && got == "42601"))
                .then(|| format!("{sql}: {got}, expected {expect}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
