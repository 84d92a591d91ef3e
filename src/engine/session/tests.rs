//! A session over a shop in memory: what its statements answer, and the line that each leaves.

use std::path::Path;

use super::*;
use crate::engine::audit::told;
use crate::engine::world::{Builder, Origin};
use crate::engine::{Config, Current};
use crate::policy::scram::scram_verifier;
use crate::secret::Secret;

const SOURCE: &str = r#"
kind = "memory"
[[table]]
name = "shop.sales"
columns = [{ name = "id", type = "int8" }, { name = "region", type = "text" }]
rows = [[1, "EU"], [2, "US"]]
"#;

const POLICY: &str = "p, ann, shop.*, select, allow\np, ann, made.*, create, allow\np2, ann, shop.sales, \"id > 0\"\n";

pub(in crate::engine) struct Shop {
    _folder: tempfile::TempDir,
    engine: Arc<Engine>,
}

impl Shop {
    pub(in crate::engine) async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| write(folder.path(), path, text);
        put("catalog/sources/shop.toml", SOURCE);
        put("policies/model.conf", include_str!("../../../policies/model.conf"));
        put("policies/policy.csv", POLICY);
        let verifier = scram_verifier("ann", b"sixteen byte salt", 4_096);
        put("policies/users.toml", &format!("[user.ann]\nscram = \"{verifier}\"\n"));
        let origin = Origin {
            catalog_dir: folder.path().join("catalog"),
            policies_dir: folder.path().join("policies"),
            database: "lakegate".into(),
            mask_key: Secret::new(vec![1; 32]),
            connect: Box::new(|file| match &file.config {
                crate::sources::Config::Memory(config) => {
                    Ok(Arc::new(crate::sources::memory::Memory::configured(&file.name, config)?))
                }
                other => panic!("{other:?}"),
            }),
            metastore: None,
            remember: false,
            judge: Default::default(),
        };
        let (_, world) = Builder::start(origin, None).await.unwrap_or_else(|faults| panic!("{faults:?}"));
        let current = Arc::new(Current::new(Arc::new(world)));
        let engine = Engine::new(Config::default(), current, Secret::new(vec![2; 32])).unwrap();
        Self { _folder: folder, engine }
    }

    pub(in crate::engine) fn catalog(&self) -> Arc<crate::catalog::Catalog> {
        Arc::clone(&self.engine.world().catalog)
    }

    pub(in crate::engine) fn session(&self) -> Session {
        let principal = self.engine.login("ann").unwrap();
        self.engine.session(principal, &[("database".into(), "lakegate".into())], 1).unwrap()
    }
}

fn write(folder: &Path, path: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Its rows joined by blanks, its tag, or its SQLSTATE and message.
pub(in crate::engine) async fn ask(session: &mut Session, sql: &str) -> String {
    match ask_now(session, sql).await {
        Ok(said) => said,
        Err(error) => format!("{} {}", error.kind().sqlstate(), error.message()),
    }
}

/// As [`ask`], with what was said besides, before it.
async fn ask_all(session: &mut Session, sql: &str) -> String {
    let answer = ask(session, sql).await;
    // a front end tells the session of what fails in rows
    if answer.get(5..6) == Some(" ") && answer.starts_with(|c: char| c.is_ascii_digit()) {
        session.fail();
    }
    let said = session.notices().into_iter().map(|n| format!("[{} {}] ", n.sqlstate, n.message)).collect::<String>();
    format!("{said}{answer}")
}

async fn ask_now(session: &mut Session, sql: &str) -> Result<String> {
    let mut said = vec![];
    for statement in session.split(sql).await? {
        let prepared = session.prepare(&statement, &[]).await?;
        match session.execute(&prepared, vec![], CancellationToken::new()).await? {
            Answer::Empty => {}
            Answer::Done(tag) => said.push(tag),
            Answer::CopyOut { .. } | Answer::CopyIn(_) => panic!("a copy: {statement}"),
            Answer::Rows(mut rows) => {
                while let Some(batch) = rows.next().await {
                    let batch = batch?;
                    for row in 0..batch.num_rows() {
                        for column in batch.columns() {
                            said.push(arrow::util::display::array_value_to_string(column, row)?);
                        }
                    }
                }
            }
        }
    }
    session.finish().await.unwrap();
    // lines of a plan stay lines
    Ok(said.join(if sql.starts_with("EXPLAIN") { "\n" } else { " " }))
}

/// The audit lines of this thread; rows, tables and generation where they say something.
fn lines() -> Vec<String> {
    told::take().into_iter().map(|line| line.replace(" 0  1", "")).collect()
}

#[tokio::test]
async fn every_outcome_has_one_line() {
    let shop = Shop::open().await;
    let mut session = shop.session();
    for (sql, line) in [
        ("SELECT id FROM shop.sales", "select ok 00000 2 shop.sales:filtered 1"),
        // its plan is remembered by now
        ("SELECT id FROM shop.sales", "select ok 00000 2 shop.sales:filtered 1"),
        ("SELECT 1 / (id - 1) FROM shop.sales", "select error 22012 0 shop.sales:filtered 1"),
        ("SELECT 1 +", "unread error 42601"),
        ("TRUNCATE shop.sales", "truncate table error 42501"),
        ("SELECT id FROM shop.vault", "select error 42P01"),
        ("SHOW nothing", "show error 42704"),
        ("SHOW timezone", "show ok 00000 1  1"),
        ("SET timezone = 'Nowhere/Town'", "set error 22023"),
        ("PREPARE p (int) AS SELECT $1 + 1", "prepare ok 00000"),
        ("PREPARE p AS SELECT 1", "prepare error 42P05"),
        ("EXECUTE p(1)", "execute ok 00000 1  1"),
        ("EXECUTE p((SELECT max(id)::int FROM shop.sales))", "execute ok 00000 1 shop.sales:filtered 1"),
        ("EXECUTE p", "execute error 42601"),
        ("EXECUTE p('x')", "execute error 22P02"),
        ("EXECUTE nothing", "execute error 26000"),
        ("CREATE SCHEMA other", "create schema error 42501"),
        ("BEGIN", "begin ok 00000"),
        ("CREATE SCHEMA made", "create schema error 0A000"),
        ("SELECT 1", "select error 25P02"),
        ("ROLLBACK", "rollback ok 00000"),
        ("DISCARD ALL", "discard ok 00000"),
    ] {
        ask(&mut session, sql).await;
        assert_eq!(lines(), [line], "{sql}");
    }
}

#[tokio::test]
async fn rows_that_end_early_say_why() {
    let shop = Shop::open().await;
    let mut session = shop.session();
    let prepared = session.prepare("SELECT id FROM shop.sales", &[]).await.unwrap();
    assert!(lines().is_empty(), "it has not run yet");
    for (refused, line) in [(false, "select abandoned 57014"), (true, "select error 42501")] {
        let answer = session.execute(&prepared, vec![], CancellationToken::new()).await.unwrap();
        let Answer::Rows(mut rows) = answer else { panic!("{answer:?}") };
        if refused {
            rows.fail(&Error::new(Kind::PermissionDenied, "policy changed"));
        }
        drop(rows);
        assert_eq!(lines(), [format!("{line} 0 shop.sales:filtered 1")]);
    }
}

#[tokio::test]
async fn arguments_are_assigned_to_parameters() {
    let shop = Shop::open().await;
    let mut session = shop.session();
    for (types, body, argument, answer) in [
        ("(int)", "$1", "'41'", "41"),
        ("(int)", "$1", "41.5", "42"),
        ("(text)", "$1", "'a''b'", "a'b"),
        ("(int)", "$1", "NULL", ""),
        ("(date)", "$1 + 1", "'2024-02-28'", "2024-02-29"),
        ("(int8)", "$1", "2147483648 + 1", "2147483649"),
        ("(int, text)", "$2", "1, upper('b')", "B"),
        ("", "$1 || 'x'", "'y'", "yx"),
    ] {
        assert_eq!(ask(&mut session, &format!("PREPARE p {types} AS SELECT {body}")).await, "PREPARE");
        assert_eq!(ask(&mut session, &format!("EXECUTE p({argument})")).await, answer, "{types} {argument}");
        assert_eq!(ask(&mut session, "DEALLOCATE p").await, "DEALLOCATE");
    }
    ask(&mut session, "PREPARE p (int) AS SELECT $1").await;
    let wrong = ask(&mut session, "EXECUTE p(1, 2)").await;
    assert_eq!(wrong, "42601 wrong number of parameters for prepared statement \"p\"");
}

#[tokio::test]
async fn an_execute_that_names_itself_is_refused() {
    let shop = Shop::open().await;
    let mut session = shop.session();
    let own = session.prepare("EXECUTE again", &[]).await.unwrap();
    session.keep("again", own).unwrap();
    assert_eq!(ask(&mut session, "EXECUTE again").await, "0A000 EXECUTE of an EXECUTE is not supported");
}

#[tokio::test]
async fn settings_and_failures_are_a_transactions() {
    let shop = Shop::open().await;
    let mut session = shop.session();
    for (sql, answer) in [
        ("BEGIN; SET application_name = 'a'; ROLLBACK; SHOW application_name", "BEGIN SET ROLLBACK "),
        ("BEGIN; SET LOCAL application_name = 'a'; SHOW application_name; COMMIT", "BEGIN SET a COMMIT"),
        ("SHOW application_name", ""),
        ("SET LOCAL application_name = 'a'; SHOW application_name", "SET a"),
        ("SHOW application_name", ""),
        ("SET application_name = 'a'; SELECT 1 / 0", "22012 division by zero"),
        ("SHOW application_name", ""),
        ("BEGIN READ ONLY; SHOW transaction_read_only; COMMIT; SHOW transaction_read_only", "BEGIN on COMMIT off"),
        ("BEGIN; SET TRANSACTION READ ONLY; SHOW transaction_read_only; END", "BEGIN SET on COMMIT"),
        ("RESET ALL; DEALLOCATE ALL", "RESET DEALLOCATE"),
        ("SELECT 1; DISCARD ALL", "25001 DISCARD ALL cannot run inside a transaction block"),
        ("DISCARD ALL", "DISCARD ALL"),
    ] {
        assert_eq!(ask(&mut session, sql).await, answer, "{sql}");
    }
    ask(&mut session, "BEGIN").await;
    ask(&mut session, "SELECT nothing").await;
    assert_eq!(session.status(), TransactionStatus::Failed);
    assert!(ask(&mut session, "SET timezone = 'UTC'").await.starts_with("25P02"));
    assert_eq!(ask(&mut session, "COMMIT").await, "ROLLBACK");
    assert_eq!(session.status(), TransactionStatus::Idle);
}

/// Answers of PostgreSQL 15.18, one session from the first line to the last.
#[tokio::test]
async fn transactions_are_postgresqls() {
    let none = "[25P01 there is no transaction in progress] ";
    let shop = Shop::open().await;
    let mut session = shop.session();
    for (sql, answer) in [
        ("BEGIN", "BEGIN"),
        ("BEGIN", "[25001 there is already a transaction in progress] BEGIN"),
        ("SAVEPOINT a", "SAVEPOINT"),
        ("SAVEPOINT a", "SAVEPOINT"),
        ("ROLLBACK TO a", "ROLLBACK"),
        ("RELEASE a", "RELEASE"),
        ("RELEASE SAVEPOINT a", "RELEASE"),
        ("RELEASE a", "3B001 savepoint \"a\" does not exist"),
        ("SELECT 1", "25P02 current transaction is aborted, commands ignored until end of transaction block"),
        ("ROLLBACK", "ROLLBACK"),
        ("COMMIT", &format!("{none}COMMIT")),
        ("ABORT", &format!("{none}ROLLBACK")),
        ("SAVEPOINT a", "25P01 SAVEPOINT can only be used in transaction blocks"),
        ("SELECT 1; SAVEPOINT a", "25P01 SAVEPOINT can only be used in transaction blocks"),
        ("COMMIT AND CHAIN", "25P01 COMMIT AND CHAIN can only be used in transaction blocks"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY DEFERRABLE", "BEGIN"),
        ("SHOW transaction_deferrable", "on"),
        ("ROLLBACK AND CHAIN", "ROLLBACK"),
        ("SHOW TRANSACTION ISOLATION LEVEL", "serializable"),
        ("COMMIT AND NO CHAIN", "COMMIT"),
        ("SHOW transaction_isolation", "read committed"),
        ("START TRANSACTION READ ONLY READ WRITE NOT DEFERRABLE", "START TRANSACTION"),
        ("SHOW transaction_read_only", "off"),
        ("SELECT 1", "1"),
        (
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "25001 SET TRANSACTION ISOLATION LEVEL must be called before any query",
        ),
        ("END", "ROLLBACK"),
        ("BEGIN", "BEGIN"),
        ("SAVEPOINT a", "SAVEPOINT"),
        ("SELECT 1 / 0", "22012 division by zero"),
        ("ROLLBACK TO a", "ROLLBACK"),
        ("SELECT 2", "2"),
        ("SET TRANSACTION READ ONLY", "SET"),
        ("SET TRANSACTION READ WRITE", "25001 cannot set transaction read-write mode inside a read-only transaction"),
        ("ROLLBACK TO a", "ROLLBACK"),
        ("SHOW transaction_read_only", "off"),
        ("COMMIT", "COMMIT"),
        ("SET LOCAL work_mem = '1MB'", "[25P01 SET LOCAL can only be used in transaction blocks] SET"),
        ("SHOW work_mem", "4MB"),
        ("SELECT 1; COMMIT; SELECT 2", &format!("{none}1 COMMIT 2")),
        ("SET application_name = 'k'; ROLLBACK; SHOW application_name", &format!("{none}SET ROLLBACK ")),
        ("SET application_name = 'k'; COMMIT; SELECT 1 / 0", &format!("{none}22012 division by zero")),
        ("SHOW application_name", "k"),
        ("PREPARE TRANSACTION 'x'", &format!("{none}ROLLBACK")),
        ("COMMIT PREPARED 'x'", "42704 prepared transaction with identifier \"x\" does not exist"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET"),
        ("SHOW transaction_read_only", "on"),
        (
            "SET CONSTRAINTS ALL DEFERRED",
            "[25P01 SET CONSTRAINTS can only be used in transaction blocks] SET CONSTRAINTS",
        ),
        ("BEGIN TRANSACTION ISOLATION LEVEL foo", "42601 syntax error at or near \"foo\""),
        ("BEGIN WORK READ", "42601 syntax error at end of input"),
    ] {
        assert_eq!(ask_all(&mut session, sql).await, answer, "{sql}");
    }
}

#[tokio::test]
async fn temporary_tables_are_known_to_what_tools_send_around_them() {
    let shop = Shop::open().await;
    let mut session = shop.session();
    let nothing = "nothing is analyzed: statistics are written with the files of a lake";
    for (sql, answer) in [
        ("BEGIN", "BEGIN"),
        ("DROP TABLE IF EXISTS w", "[00000 table \"w\" does not exist, skipping] DROP TABLE"),
        ("CREATE TEMP TABLE w AS SELECT 1 AS a", "SELECT 1"),
        ("ANALYZE w", &format!("[00000 {nothing}] ANALYZE")),
        ("ANALYZE w (b)", "42703 column \"b\" of relation \"w\" does not exist"),
        ("ROLLBACK", "ROLLBACK"),
        ("SELECT 1 FROM w", "42P01 relation \"w\" does not exist"),
        ("BEGIN READ ONLY", "BEGIN"),
        ("CREATE TEMP TABLE w (a int)", "25006 cannot execute CREATE TABLE in a read-only transaction"),
        ("ROLLBACK", "ROLLBACK"),
        ("CREATE TEMP TABLE w (a int)", "CREATE TABLE"),
        ("BEGIN READ ONLY", "BEGIN"),
        ("INSERT INTO w VALUES (1)", "INSERT 0 1"),
        ("DROP TABLE w", "25006 cannot execute DROP TABLE in a read-only transaction"),
        ("ROLLBACK", "ROLLBACK"),
        ("SELECT count(*) FROM w", "0"),
    ] {
        assert_eq!(ask_all(&mut session, sql).await, answer, "{sql}");
    }
}

#[tokio::test]
async fn settings_are_postgresqls() {
    let shop = Shop::open().await;
    let mut session = shop.session();
    for (sql, answer) in [
        ("SET TIME ZONE \"Etc/UTC\"", "SET"),
        ("SHOW TIME ZONE", "Etc/UTC"),
        ("SET TIME ZONE -8", "SET"),
        ("SELECT current_setting('TimeZone')", "<-08>+08"),
        ("SET TIME ZONE INTERVAL '-05:00' HOUR TO MINUTE", "SET"),
        ("SHOW timezone", "<-05>+05"),
        ("SET TIME ZONE LOCAL", "SET"),
        ("SHOW timezone", "UTC"),
        ("SET datestyle = postgres, dmy", "SET"),
        ("SELECT timestamp '2024-02-01 03:04:05' || ''", "Thu 01 Feb 03:04:05 2024"),
        ("SELECT '1/2/2024'::date = date '2024-02-01'", "true"),
        ("SET intervalstyle = iso_8601", "SET"),
        ("SELECT interval '1 day 2 hours' || ''", "P1DT2H"),
        ("RESET ALL", "RESET"),
        ("SHOW DateStyle", "ISO, MDY"),
        ("SET names 'utf8'", "SET"),
        ("SET NAMES latin1", "42601 syntax error at or near \"latin1\""),
        ("SET search_path TO \"$user\", public, \"C D\"", "SET"),
        ("SHOW search_path", "\"$user\", public, \"C D\""),
        ("SET work_mem = 1, 2", "22023 SET work_mem takes only one argument"),
        ("SELECT set_config('application_name', 'w', false), current_setting('application_name')", "w w"),
        ("SHOW application_name", "w"),
        ("BEGIN", "BEGIN"),
        ("SELECT set_config('my.own', 'x', true)", "x"),
        ("SHOW my.own", "x"),
        ("COMMIT", "COMMIT"),
        ("SHOW my.own", "42704 unrecognized configuration parameter \"my.own\""),
        ("SELECT current_setting('my.own', true)", ""),
        ("SELECT set_config(NULL, 'x', false)", "22004 SET requires parameter name"),
        ("SELECT set_config('application_name', 'z', false) FROM shop.sales WHERE id > 9", ""),
        ("SHOW application_name", "w"),
        ("SET ROLE NONE", "SET"),
        ("SET SESSION AUTHORIZATION DEFAULT", "SET"),
        ("RESET ROLE", "RESET"),
        ("SET ROLE root", "42501 permission denied to set role \"root\""),
        ("SET SESSION AUTHORIZATION root", "42501 permission denied to set session authorization \"root\""),
        ("DISCARD PLANS", "DISCARD PLANS"),
        ("DISCARD TEMPORARY", "DISCARD TEMP"),
        ("SELECT setting, unit, context FROM pg_settings WHERE name = 'work_mem'", "4096 kB user"),
        ("DROP TABLE IF EXISTS nothing", "[00000 table \"nothing\" does not exist, skipping] DROP TABLE"),
        ("DROP SCHEMA IF EXISTS nothing", "[00000 schema \"nothing\" does not exist, skipping] DROP SCHEMA"),
        ("SET client_min_messages = warning", "SET"),
        ("DROP TABLE IF EXISTS nothing", "DROP TABLE"),
    ] {
        assert_eq!(ask_all(&mut session, sql).await, answer, "{sql}");
    }
}

#[tokio::test]
async fn cursors_are_postgresqls() {
    let shop = Shop::open().await;
    let mut session = shop.session();
    let five = "SELECT x FROM generate_series(1, 5) x";
    let aggregate = "SELECT count(*) FROM shop.sales GROUP BY id";
    let missing = "34000 cursor \"c\" does not exist";
    let forward = "55000 cursor can only scan forward";
    for (sql, answer) in [
        ("DECLARE c CURSOR FOR SELECT 1", "25P01 DECLARE CURSOR can only be used in transaction blocks"),
        ("FETCH c", missing),
        ("CLOSE c", missing),
        ("CLOSE ALL", "CLOSE CURSOR ALL"),
        ("BEGIN", "BEGIN"),
        (&format!("DECLARE c SCROLL CURSOR FOR {five}"), "DECLARE CURSOR"),
        ("FETCH 2 FROM c", "1 2"),
        ("FETCH PRIOR FROM c", "1"),
        ("MOVE FORWARD ALL IN c", "MOVE 4"),
        ("FETCH BACKWARD 2 c", "5 4"),
        ("SELECT name, is_holdable, is_binary, is_scrollable FROM pg_cursors", "c false false true"),
        ("SAVEPOINT s", "SAVEPOINT"),
        ("DECLARE d CURSOR FOR SELECT 1", "DECLARE CURSOR"),
        ("FETCH FIRST c", "1"),
        ("ROLLBACK TO s", "ROLLBACK"),
        ("FETCH NEXT c", "2"),
        ("FETCH d", "34000 cursor \"d\" does not exist"),
        ("ROLLBACK TO s", "ROLLBACK"),
        ("DECLARE c CURSOR FOR SELECT 1", "42P03 cursor \"c\" already exists"),
        ("ROLLBACK TO s", "ROLLBACK"),
        ("CLOSE c", "CLOSE CURSOR"),
        ("COMMIT", "COMMIT"),
        ("BEGIN", "BEGIN"),
        (&format!("DECLARE c CURSOR FOR {aggregate}"), "DECLARE CURSOR"),
        ("FETCH c", "1"),
        ("FETCH PRIOR c", forward),
        ("ROLLBACK", "ROLLBACK"),
        ("BEGIN", "BEGIN"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM shop.sales ORDER BY id", "DECLARE CURSOR"),
        ("FETCH c", "1"),
        ("COMMIT", "COMMIT"),
        ("FETCH ALL c", "2"),
        ("FETCH BACKWARD ALL c", "2 1"),
        ("CLOSE c", "CLOSE CURSOR"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 7", "DECLARE CURSOR"),
        ("FETCH c", "7"),
        ("BEGIN; ROLLBACK", "BEGIN ROLLBACK"),
        ("FETCH c", ""),
        ("DISCARD ALL", "DISCARD ALL"),
        ("FETCH c", missing),
        ("BEGIN", "BEGIN"),
        ("DECLARE c SCROLL NO SCROLL CURSOR FOR SELECT 1", "42P11 cannot specify both SCROLL and NO SCROLL"),
        ("ROLLBACK", "ROLLBACK"),
        ("BEGIN", "BEGIN"),
        ("DECLARE c NO SCROLL CURSOR FOR SELECT 1 / (2 - id) FROM shop.sales ORDER BY id", "DECLARE CURSOR"),
        ("SAVEPOINT s", "SAVEPOINT"),
        ("FETCH ALL c", "22012 division by zero"),
        ("ROLLBACK TO s", "ROLLBACK"),
        ("FETCH c", "55000 portal \"c\" cannot be run"),
        ("ROLLBACK", "ROLLBACK"),
        ("FETCH 99999999999 c", "42601 syntax error at or near \"99999999999\""),
    ] {
        assert_eq!(ask_all(&mut session, sql).await, answer, "{sql}");
    }
}

#[tokio::test]
async fn a_world_is_waited_for_until_it_is_another_one() {
    let shop = Shop::open().await;
    let (current, old) = (&shop.engine.current, shop.engine.world());
    let long = Duration::from_secs(600);
    let waiting = current.replaced(&old, long);
    tokio::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    current.publish_again();
    waiting.await;
    current.replaced(&old, long).await;
    current.replaced(&current.get(), Duration::ZERO).await;
}
