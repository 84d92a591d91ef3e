//! A lake whose catalog speaks Iceberg's REST protocol: names, logins, pages, conflicts, lost answers, several tables at
//! once. The server is one of the test's own, for it must fail on demand.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use lakegate::error::Kind;
use lakegate::lake::{Also, BatchId, Columns, Isolation, Lake, Making, Outcome, Staged};
use lakegate::sources::Source as _;

use super::oracle::{all_rows, lines};
use super::rest_server::{Fault, Server};
use super::world::{World, open_as, stream};

fn row(value: i64) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![value]))]).unwrap()
}

fn file(server: &Server, warehouse: &std::path::Path, more: &str) -> String {
    format!(
        "catalog = 'rest'\nuri = 'http://127.0.0.1:{}/'\nwarehouse = 'file://{}/warehouse'\n\
         [rest]\nwarehouse = 'w h'\nclient_id = 'who'\nclient_secret = 'p&ss'\n{more}",
        server.port,
        warehouse.display()
    )
}

async fn world(server: &Server, more: &str) -> World {
    let directory = tempfile::tempdir().unwrap();
    let written = file(server, directory.path(), more);
    let world = World::configured(directory, &written).await;
    world.writer.create_schema("s").await.unwrap();
    world
}

async fn append(lake: &Lake, name: &str, value: i64) -> lakegate::error::Result<Outcome> {
    let base = lake.table(&lake.key("s", name)).await.unwrap().unwrap();
    let batch = BatchId::new();
    let written = lake.write(&base, batch, stream(row(value).schema(), vec![row(value)])).await.unwrap();
    lake.commit(vec![Staged::append(base, written, batch)], &Also::default()).await
}

async fn values(world: &World, name: &str) -> Vec<i64> {
    let rows = all_rows(&world.table("s", name).await).await;
    let mut values: Vec<i64> = lines(&rows).iter().map(|line| line.parse().unwrap()).collect();
    values.sort_unstable();
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_made_changed_renamed_and_dropped() {
    let server = Server::start().await;
    let world = world(&server, "").await;
    for name in ["t", "u", "v/w", "x%41 y", "z"] {
        world.create(name, row(1)).await;
        world.append(name, row(2)).await;
    }
    for name in ["t", "v/w", "x%41 y"] {
        assert_eq!(values(&world, name).await, [1, 2], "{name}");
    }
    let lake = &world.lake;
    assert_eq!(lake.tables().await.unwrap().len(), 5);
    assert!(world.writer.drop_schema("s").await.is_err());
    lake.rename_table(&lake.key("s", "t"), &lake.key("s", "t2")).await.unwrap();
    let taken = lake.rename_table(&lake.key("s", "t2"), &lake.key("s", "u")).await;
    assert_eq!(taken.unwrap_err().kind(), Kind::DuplicateTable);
    lake.drop_table(&lake.key("s", "u")).await.unwrap();
    let names: Vec<String> = lake.tables().await.unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["t2", "v/w", "x%41 y", "z"]);
    // levels are namespaces within each other
    for namespace in ["a", "a.b", "a.b.c"] {
        assert!(lake.create_namespace(namespace).await.unwrap());
    }
    assert!(!lake.create_namespace("a.b").await.unwrap());
    assert_eq!(lake.namespaces().await.unwrap(), ["a", "a.b", "a.b.c", "s"]);
    assert_eq!(lake.drop_namespace("a.b").await.unwrap_err().kind(), Kind::DependentObjects);
    lake.drop_namespace("a.b.c").await.unwrap();
    assert_eq!(lake.drop_namespace("a.b.c").await.unwrap_err().kind(), Kind::UndefinedSchema);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_looked_up_and_never_doubles_a_row() {
    let server = Server::start().await;
    let world = world(&server, "").await;
    world.create("t", row(0)).await;
    let faults =
        [&[Fault::Lost][..], &[Fault::Refused], &[Fault::Refused, Fault::Lost], &[Fault::Refused, Fault::Refused]];
    for (value, faults) in (1..).zip(faults) {
        server.kept().faults.extend(faults);
        let done = append(&world.lake, "t", value).await.unwrap();
        assert!(matches!(done, Outcome::Committed(_)), "{faults:?}");
        assert_eq!(values(&world, "t").await, (0..=value).collect::<Vec<_>>(), "{faults:?}");
    }
    // of a table that is made, too
    server.kept().faults.push_back(Fault::Lost);
    world.create("made", row(7)).await;
    assert_eq!(values(&world, "made").await, [7]);
}

/// It is not in the server's transaction, and no commit that has happened may be without it.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_with_a_commit_is_noted_though_its_answer_is_lost() {
    let server = Server::start().await;
    let world = world(&server, "").await;
    world.create("t", row(0)).await;
    let lake = &world.lake;
    let faults = [&[][..], &[Fault::Lost], &[Fault::LostBehind], &[Fault::Refused, Fault::Lost]];
    for (at, faults) in faults.into_iter().enumerate() {
        server.kept().faults.extend(faults);
        let base = lake.table(&lake.key("s", "t")).await.unwrap().unwrap();
        let batch = BatchId::new();
        let written = lake.write(&base, batch, stream(row(1).schema(), vec![row(1)])).await.unwrap();
        let name = format!("beside {at}");
        let also = Also { lease: None, puts: vec![(name.clone(), b"it".to_vec())] };
        let done = lake.commit(vec![Staged::append(base, written, batch)], &also).await.unwrap();
        assert!(matches!(done, Outcome::Committed(_)), "{faults:?}");
        assert_eq!(lake.metastore().get(&name).await.unwrap().as_deref(), Some(&b"it"[..]), "{faults:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_whose_making_was_not_answered_is_looked_up() {
    let server = Server::start().await;
    let world = world(&server, "").await;
    let lake = &world.lake;
    server.kept().faults.push_back(Fault::Lost);
    assert!(lake.create_namespace("made").await.unwrap());
    assert_eq!(lake.namespaces().await.unwrap(), ["made", "s"]);
    server.kept().faults.push_back(Fault::Refused);
    assert_eq!(lake.create_namespace("not_made").await.unwrap_err().kind(), Kind::SourceUnreachable);
    assert_eq!(lake.namespaces().await.unwrap(), ["made", "s"]);
    server.kept().faults.push_back(Fault::Refused);
    assert_eq!(lake.drop_namespace("made").await.unwrap_err().kind(), Kind::SourceUnreachable);
    server.kept().faults.push_back(Fault::Lost);
    lake.drop_namespace("made").await.unwrap();
    assert_eq!(lake.namespaces().await.unwrap(), ["s"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_names_that_does_not_end_is_refused() {
    let server = Server::start().await;
    let world = world(&server, "").await;
    server.kept().endless = true;
    let error = world.lake.tables().await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge, "{error:?}");
    assert!(server.asked("GET /v1/namespaces/s/tables") <= 101);
}

/// Others have committed on top of it before anybody could look.
#[tokio::test(flavor = "multi_thread")]
async fn where_the_catalog_shows_no_history_a_lost_answer_stays_unknown() {
    for forgets in [false, true] {
        let server = Server::start().await;
        let world = world(&server, "").await;
        world.create("t", row(0)).await;
        server.kept().forgets = forgets;
        server.kept().faults.push_back(Fault::LostBehind);
        let outcome = append(&world.lake, "t", 1).await.unwrap();
        match forgets {
            false => assert!(matches!(outcome, Outcome::Committed(_))),
            true => assert!(matches!(outcome, Outcome::Unknown(_))),
        }
        assert_eq!(values(&world, "t").await, [0, 1], "{forgets}");
    }
}

/// Nessie lets one writer's first snapshot take the place of another's.
#[tokio::test(flavor = "multi_thread")]
async fn no_table_is_first_written_where_two_first_commits_would_both_happen() {
    let server = Server::start().await;
    let plain = world(&server, "").await;
    let make = async |lake: &Lake, name: &str| {
        let schema = row(1).schema();
        let columns = Columns { schema: &schema, is_uuid: &|_| false, all_nullable: true };
        lake.create_table(&lake.key("s", name), &columns, Making::default(), None).await.unwrap().0
    };
    assert_eq!(make(&plain.lake, "theirs").await.snapshot_id(), None);
    server.kept().is_nessie = true;
    let theirs = tempfile::tempdir().unwrap();
    let (lake, _) = open_as(theirs.path(), &file(&server, plain.directory.path(), "")).await;
    let refused = append(&lake, "theirs", 1).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unsupported);
    assert!(make(&lake, "ours").await.snapshot_id().is_some());
    assert!(matches!(append(&lake, "ours", 1).await, Ok(Outcome::Committed(_))));
    assert_eq!(values(&plain, "ours").await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_two_machines_lose_nothing_though_answers_are_lost() {
    let server = Server::start().await;
    let world = world(&server, "").await;
    world.create("t", row(0)).await;
    server.kept().faults.extend([Fault::Lost, Fault::Refused, Fault::Lost, Fault::Lost, Fault::Refused]);
    let theirs = tempfile::tempdir().unwrap();
    let (other, _) = open_as(theirs.path(), &file(&server, world.directory.path(), "")).await;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..4i64 {
        let lake = Arc::clone(if writer % 2 == 0 { &world.lake } else { &other });
        tasks.spawn(async move {
            for value in (1 + writer * 10)..(11 + writer * 10) {
                assert!(matches!(append(&lake, "t", value).await, Ok(Outcome::Committed(_))));
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(values(&world, "t").await, (0..41).collect::<Vec<_>>());
    // what was a draft of the metadata is gone
    let files = walk(world.directory.path());
    assert_eq!(files.iter().filter(|name| name.ends_with(".metadata.json")).count(), drafts_left(&files));
}

/// Of attempts that came to nothing, or whose answer was lost: the sweeper's.
fn drafts_left(files: &[String]) -> usize {
    let left = files.iter().filter(|name| name.ends_with(".metadata.json")).count();
    assert!(left < 41, "{left} drafts stayed");
    left
}

fn walk(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    let each = |path: std::path::PathBuf| match path.is_dir() {
        true => walk(&path),
        false => vec![path.display().to_string()],
    };
    entries.flat_map(|entry| each(entry.path())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tables_change_together_only_where_the_server_can() {
    for atomic in [false, true] {
        let server = Server::start().await;
        let world = world(&server, &format!("atomic_transactions = {atomic}")).await;
        world.create("t", row(0)).await;
        world.create("u", row(0)).await;
        let transaction = world.lake.begin(Isolation::Committed).await.unwrap();
        // the same table twice is one change
        assert!(matches!(append(transaction.lake(), "t", 1).await, Ok(Outcome::Committed(_))));
        assert!(matches!(append(transaction.lake(), "t", 2).await, Ok(Outcome::Committed(_))));
        let second = append(transaction.lake(), "u", 1).await;
        server.asked("");
        if !atomic {
            assert_eq!(second.unwrap_err().kind(), Kind::Unsupported);
            assert_eq!((values(&world, "t").await, values(&world, "u").await), (vec![0], vec![0]));
            transaction.commit().await.unwrap();
            assert_eq!((values(&world, "t").await, values(&world, "u").await), (vec![0, 1, 2], vec![0]));
            assert_eq!(server.asked("/transactions/commit"), 0);
            continue;
        }
        assert!(matches!(second, Ok(Outcome::Committed(_))));
        server.kept().faults.push_back(Fault::Lost);
        // another comes between
        let between = append(&world.lake, "u", 5).await;
        assert!(matches!(between, Ok(Outcome::Committed(_))));
        server.kept().faults.extend([Fault::Refused, Fault::Lost]);
        transaction.commit().await.unwrap();
        assert_eq!((values(&world, "t").await, values(&world, "u").await), (vec![0, 1, 2], vec![0, 1, 5]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_table_is_not_sent_again_and_no_file_of_the_servers_is_read() {
    let server = Server::start().await;
    let world = world(&server, "").await;
    world.create("t", row(0)).await;
    let (lake, key) = (&world.lake, world.lake.key("s", "t"));
    let first = lake.table(&key).await.unwrap().unwrap();
    assert!(!std::path::Path::new(first.location.trim_start_matches("file://")).exists());
    server.asked("");
    for _ in 0..3 {
        assert_eq!(lake.table(&key).await.unwrap().unwrap().location, first.location);
    }
    assert_eq!(server.asked("GET /v1/pre/fix/namespaces/s/tables/t"), 3);
    // whoever opens the lake anew has it from the server
    let theirs = tempfile::tempdir().unwrap();
    let (other, source) = open_as(theirs.path(), &file(&server, world.directory.path(), "")).await;
    assert_eq!(other.table(&key).await.unwrap().unwrap().uuid(), first.uuid());
    assert_eq!(source.tables().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_wrong_is_told_without_its_secret() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let written = file(&server, directory.path(), "").replace("p&ss", "wrong-secret");
    let (lake, _) = open_as(directory.path(), &written).await;
    let error = lake.tables().await.unwrap_err();
    assert_eq!(error.message(), "the lake's catalog denies the login");
    assert!(!format!("{error:?}{lake:?}").contains("wrong-secret"));
}

/// The lake's own keys open nothing. Those that come with the table have run out, and are wrong besides.
#[tokio::test(flavor = "multi_thread")]
async fn a_tables_files_are_opened_with_the_keys_that_come_with_it() {
    let server = Server::start().await;
    let s3 = |variable: &str| super::s3::service(variable);
    let keys = |secret: &str, until: i64| {
        serde_json::json!({
            "s3.access-key-id": s3("ACCESS_KEY"),
            "s3.secret-access-key": secret,
            "s3.session-token-expires-at-ms": until.to_string(),
        })
    };
    let directory = tempfile::tempdir().unwrap();
    let written = file(&server, directory.path(), "vended_credentials = true").replace(
        &format!("file://{}", directory.path().display()),
        &format!("s3://{}/vended-{}", s3("BUCKET"), uuid::Uuid::new_v4().simple()),
    );
    let written = format!(
        "{written}\n[s3]\nendpoint = '{}'\nallow_http = true\naccess_key_id = 'nobody'\nsecret_access_key = 'nothing'",
        s3("ENDPOINT")
    );
    let world = World::configured(directory, &written).await;
    world.writer.create_schema("s").await.unwrap();
    let (past, later) = (1_000, chrono::Utc::now().timestamp_millis() + 3_600_000);
    // of the table that is announced; of its first description, to be asked for anew; for good
    let right = s3("SECRET_KEY");
    server.kept().keys.extend([keys(&right, past), keys("wrong", past), keys(&right, later)]);
    world.create("t", row(1)).await;
    world.append("t", row(2)).await;
    assert_eq!(values(&world, "t").await, [1, 2]);
    // wrong ones, with which nothing opens
    let theirs = tempfile::tempdir().unwrap();
    server.kept().keys = [keys("wrong", later)].into();
    let (lake, _) = open_as(theirs.path(), &written).await;
    let base = lake.table(&lake.key("s", "t")).await.unwrap().unwrap();
    let written = lake.write(&base, BatchId::new(), stream(row(3).schema(), vec![row(3)])).await;
    assert!(written.is_err());
}
