//! Changing who one is, by any route a client has (attack 24), and passing for another at the door.

use super::{World, both};
use crate::gateway::{simple, told};

/// Names that would change identity, authority or the engine, if they were settings.
const NAMES: &[&str] = &[
    "role",
    "session_authorization",
    "is_superuser",
    "row_security",
    "user.region",
    "lakegate.user",
    "lakegate.role",
    "lakegate.region",
    "datafusion.execution.target_partitions",
    "datafusion.catalog.information_schema",
    "datafusion.sql_parser.dialect",
    "datafusion.optimizer.max_passes",
    "datafusion.execution.parquet.pushdown_filters",
    "server_version",
    "transaction_deferrable",
    "local_preload_libraries",
    "session_preload_libraries",
    "data_directory",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_setting_changes_who_one_is() {
    let world = World::A.start().await;
    let before = both(&world, "ann", "SELECT id, region, ssn FROM hr.emp ORDER BY id").await;
    let client = world.connect("ann").await;
    for name in NAMES {
        for sql in [
            format!("SET {name} = 'root'"),
            format!("SET {name} TO root"),
            format!("SET SESSION {name} = 'root'"),
            format!("SELECT set_config('{name}', 'root', false)"),
        ] {
            let answer = simple(&client, &sql).await;
            assert!(answer.starts_with("ERROR"), "{sql}: {answer}");
        }
    }
    for sql in [
        "SET ROLE root",
        "SET SESSION AUTHORIZATION root",
        "SET LOCAL ROLE root",
        "RESET SESSION AUTHORIZATION; SET ROLE root",
    ] {
        assert!(simple(&client, sql).await.starts_with("ERROR"), "{sql}");
    }
    let after = simple(&client, "SELECT id, region, ssn FROM hr.emp ORDER BY id").await;
    assert_eq!(after, before[0]);
    assert_eq!(simple(&client, "SELECT current_user, session_user").await, "ann|ann\n(1)");
}

/// Whatever DataFusion lets its own users configure, by each route a client has.
#[tokio::test(flavor = "multi_thread")]
async fn no_option_of_the_engine_is_a_setting() {
    let world = World::A.start().await;
    let client = world.connect("ann").await;
    let options = datafusion::config::ConfigOptions::default().entries();
    let names: Vec<String> = options.into_iter().map(|entry| entry.key).filter(|key| key.contains('.')).collect();
    assert!(names.len() >= 100, "{}", names.len());
    for name in &names {
        for sql in [
            format!("SET {name} = 1"),
            format!("SET LOCAL {name} TO 'true'"),
            format!("SELECT set_config('{name}', '1', true)"),
            format!("RESET {name}"),
            format!("SHOW {name}"),
        ] {
            let answer = simple(&client, &sql).await;
            // set_config is no function of ours
            assert!(answer.starts_with("ERROR 42") || answer.starts_with("ERROR 0A000"), "{sql}: {answer}");
        }
    }
    let before = both(&world, "ann", "SELECT * FROM hr.emp ORDER BY id").await;
    assert_eq!(simple(&client, "SELECT * FROM hr.emp ORDER BY id").await, before[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn startup_parameters_are_settings_and_nothing_more() {
    let world = World::A.start().await;
    let address = world.server.pg;
    for options in
        ["-c role=root", "-c session_authorization=root", "-c user.region=US", "-c datafusion.execution.batch_size=1"]
    {
        let text = format!(
            "host={} port={} user=ann password=ann dbname=lakegate options='{options}'",
            address.ip(),
            address.port()
        );
        let refused = tokio_postgres::connect(&text, tokio_postgres::NoTls).await.err().map(|e| told(&e));
        assert!(refused.as_deref().is_some_and(|e| e.starts_with("ERROR 42")), "{options}: {refused:?}");
    }
    let text = format!("host={} port={} user=ann password=ann dbname=hr", address.ip(), address.port());
    let refused = tokio_postgres::connect(&text, tokio_postgres::NoTls).await.err().map(|e| told(&e));
    assert_eq!(refused.as_deref(), Some("ERROR 3D000 database \"hr\" does not exist"));
}
