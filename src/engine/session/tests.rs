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
        ("TRUNCATE shop.sales", "truncate table error 0A000"),
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
        ("CREATE SCHEMA made", "create schema error 25001"),
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
        ("SET LOCAL application_name = 'a'; SHOW application_name", "SET "),
        ("BEGIN READ ONLY; SHOW transaction_read_only; COMMIT; SHOW transaction_read_only", "BEGIN on COMMIT off"),
        ("BEGIN; SET TRANSACTION READ ONLY; SHOW transaction_read_only; END", "BEGIN SET on COMMIT"),
        ("RESET ALL; DEALLOCATE ALL; DISCARD ALL", "RESET DEALLOCATE DISCARD ALL"),
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
