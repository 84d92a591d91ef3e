//! What catalogs and errors tell of what one may not see (attacks 15, 16, 37).

use super::{World, both};
use crate::gateway::simple;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_a_grant_is_as_absent_as_one_that_never_was() {
    let world = World::A.start().await;
    let client = world.connect("zoe").await;
    for (real, absent) in [
        ("hr.emp", "hr.nix"),
        ("lake.emp", "lake.nix"),
        ("hidden.vault", "hidden.nixxx"),
        ("views.team", "views.nixx"),
        ("lakegate.hr.emp", "lakegate.hr.nix"),
        ("\"hr\".\"emp\"", "\"hr\".\"nix\""),
        ("HR.Emp", "HR.Nix"),
    ] {
        for shape in
            ["SELECT * FROM {}", "SELECT count(*) FROM {} x", "TABLE {}", "INSERT INTO {} VALUES (1)", "DROP TABLE {}"]
        {
            let told = |name: &str| shape.replace("{}", name);
            let (a, b) = (simple(&client, &told(real)).await, simple(&client, &told(absent)).await);
            let name = |n: &str| n.replace('"', "").to_lowercase().replace("lakegate.", "");
            assert_eq!(a.replace(&name(real), "X"), b.replace(&name(absent), "X"), "{shape} {real}");
            assert!(a.starts_with("ERROR 42P01"), "{shape} {real}: {a}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn system_relations_hold_nothing_that_is_not_granted() {
    let world = World::A.start().await;
    let client = world.connect("ann").await;
    let relations = simple(&client, "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('pg_catalog', 'information_schema')").await;
    let mut asked = 0;
    for name in relations.lines().filter(|l| l.contains('.')) {
        let rows = simple(&client, &format!("SELECT * FROM {name}")).await;
        for secret in ["vault", "CNRY", "confession", "zoe", "region ="] {
            assert!(!rows.contains(secret) || rows.starts_with("ERROR"), "{name} tells of {secret}");
        }
        // `root` as a whole cell: PostgreSQL has a column `pubviaroot`
        let mut cells = rows.lines().flat_map(|row| row.split('|'));
        assert!(cells.all(|cell| cell != "root"), "{name} tells of root");
        asked += 1;
    }
    assert!(asked > 30, "{asked} relations");
    let columns = "SELECT column_name, ordinal_position FROM information_schema.columns WHERE table_schema = 'hr' AND table_name = 'emp' ORDER BY 2";
    assert_eq!(
        simple(&client, columns).await,
        "id|1\nname|2\nregion|3\nsalary|4\nsecret|5\nssn|6\nbonus|7\nactive|8\n(8)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spelling_is_the_table_with_its_policy_or_nothing() {
    let world = World::A.start().await;
    let plain = both(&world, "ann", "SELECT id FROM hr.emp ORDER BY id").await;
    let client = world.connect("ann").await;
    for spelling in [
        "HR.EMP",
        "hr.Emp",
        "\"hr\".emp",
        "\"hr\".\"emp\"",
        "lakegate.hr.emp",
        "LAKEGATE.hr.emp",
        "hr . emp",
        "hr./* x */emp",
    ] {
        assert_eq!(simple(&client, &format!("SELECT id FROM {spelling} ORDER BY id")).await, plain[0], "{spelling}");
    }
    for spelling in [
        "\"HR\".emp",
        "\"hr.emp\"",
        "hr.\"Emp\"",
        "hr.\"emp \"",
        "hr.\"еmp\"",
        "other.hr.emp",
        "a.b.hr.emp",
        "hr.emp#",
        "\"hr.emp#0000000000000000\"",
    ] {
        assert!(
            simple(&client, &format!("SELECT id FROM {spelling} ORDER BY id")).await.starts_with("ERROR"),
            "{spelling}"
        );
    }
}
