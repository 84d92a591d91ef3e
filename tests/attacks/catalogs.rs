//! What catalogs and errors tell of what one may not see (attacks 15, 16, 37).

use super::{World, both};
use crate::gateway::{extended, simple};

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
        for secret in ["vault", "CNRY", "confession", "zoe", "region =", "BETWEEN 1 AND 4"] {
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

/// Names by chance, half of them of tables that exist: what is told does not differ, whatever is asked of them.
#[tokio::test(flavor = "multi_thread")]
async fn existing_and_absent_names_are_told_alike() {
    let world = World::A.start().await;
    let client = world.connect("zoe").await;
    let shapes = [
        "SELECT * FROM {}",
        "SELECT (SELECT count(*) FROM {})",
        "SELECT x FROM {} WHERE y = 1",
        "SELECT * FROM hr.dept d JOIN {} x ON x.id = d.id",
        "WITH w AS (SELECT 1 FROM {}) SELECT * FROM w",
        "INSERT INTO {} SELECT * FROM {}",
        "INSERT INTO {} (id) VALUES (1)",
        "CREATE TABLE {} AS SELECT 1 AS x",
        "DROP TABLE {}",
        "DROP TABLE IF EXISTS {}",
        "PREPARE p AS SELECT * FROM {}",
        "SELECT '{}'::regclass",
        "SELECT to_regclass('{}')",
        "SELECT has_table_privilege('{}', 'select')",
        "UPDATE {} SET id = 1",
        "COPY {} TO STDOUT",
        "EXPLAIN SELECT * FROM {}",
        "SELECT count(*) FROM pg_catalog.pg_class WHERE relname = split_part('{}', '.', 2)",
    ];
    let existing = ["hr.emp", "hr.ghost", "lake.emp", "lake.ghost", "hidden.vault", "views.team", "views.pay"];
    let mut asked = 0;
    for real in existing {
        let (schema, table) = real.split_once('.').unwrap();
        let mut absent: Vec<char> = table.chars().collect();
        absent.reverse();
        let absent: String = absent.into_iter().collect();
        for shape in shapes {
            let mut told = vec![];
            for name in [table, absent.as_str()] {
                let sql = shape.replace("{}", &format!("{schema}.{name}"));
                for answer in [simple(&client, &sql).await, extended(&client, &sql).await] {
                    told.push(answer.replace(name, "X"));
                }
                asked += 1;
            }
            assert_eq!(told[..2], told[2..], "{shape} {real}");
        }
    }
    assert!(asked >= 250, "{asked}");
}

/// By chance: letters in either case, quotes, the database in front, comments, blanks, look-alikes, escapes.
#[tokio::test(flavor = "multi_thread")]
async fn generated_spellings_are_the_table_with_its_policy_or_nothing() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    let seed: u64 = std::env::var("LAKEGATE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("LAKEGATE_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let world = World::A.start().await;
    let client = world.connect("ann").await;
    let plain = simple(&client, "SELECT id, ssn FROM hr.emp ORDER BY id").await;
    let mut part = |word: &str| {
        let mut text: String = word
            .chars()
            .map(|c| match dice.random_range(0..24) {
                0..8 => c.to_ascii_uppercase(),
                8 => ['е', 'ｅ', 'ё', '\u{200b}', 'ſ', '\u{0301}'][dice.random_range(0..6)],
                _ => c,
            })
            .collect();
        match dice.random_range(0..12) {
            0..4 => text = format!("\"{text}\""),
            4 => text = format!("U&\"{text}\""),
            5 => text = format!(" {text} "),
            6 => text = format!("/* x */{text}"),
            7 => text = format!("`{text}`"),
            8 => text = format!("[{text}]"),
            _ => {}
        }
        text
    };
    let (mut found, mut nothing) = (0, 0);
    for n in 0..300 {
        let spelling = match n % 3 {
            0 => format!("{}.{}", part("hr"), part("emp")),
            1 => format!("{}.{}.{}", part("lakegate"), part("hr"), part("emp")),
            _ => format!("{}.{}", part("lake"), part("emp")),
        };
        let answer = simple(&client, &format!("SELECT id, ssn FROM {spelling} ORDER BY id")).await;
        match answer.starts_with("ERROR 42") || answer.starts_with("ERROR 3") || answer.starts_with("ERROR 0A") {
            true => nothing += 1,
            false => {
                assert_eq!(answer, plain, "{spelling}");
                found += 1;
            }
        }
    }
    assert!(found > 30 && nothing > 30, "{found} {nothing}");
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
