//! Files as tables behind the policy: two folders that differ in hidden cells alone must answer alike, whatever the format;
//! and what a table of files is besides: new files seen at once, the catalogs, a source's file edited under a running server.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;

use crate::gateway::{Files, Gateway, extended, simple, until};

const SOURCE: &str = r#"kind = "files"
schema = "raw"
path = "@DIR@/data"
[tables.csv]
files = "csv/**"
format = "csv"
[tables.json]
files = "json/*"
format = "json"
columns = [{ name = "id", type = "int8" }, { name = "region", type = "text" }, { name = "pay", type = "int8" }, { name = "confession", type = "text" }]
[tables.parquet]
files = "parquet/*"
format = "parquet"
[tables.parted]
files = "parted/**"
format = "csv"
"#;

const TABLES: [&str; 4] = ["raw.csv", "raw.json", "raw.parquet", "raw.parted"];

/// id, region, pay, confession: ann sees region EU, no confession, and pay as NULL.
fn rows(world: char) -> Vec<(i64, &'static str, i64, String)> {
    let pay = |at: i64| if world == 'a' { at * 7 } else { 0 };
    let hidden = if world == 'a' { 3 } else { 1 };
    let row = |id: i64, region| (id, region, pay(id), format!("CNRY-{world}{id}"));
    let eu = (1..=3).map(|id| row(id, "EU"));
    eu.chain((1..=hidden).map(|id| row(10 + id, "US"))).collect()
}

fn fill(dir: &Path, world: char) {
    let put = |name: &str, bytes: Vec<u8>| {
        let path = dir.join("data").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let all = rows(world);
    let line = |(id, region, pay, confession): &(i64, &str, i64, String)| format!("{id},{region},{pay},{confession}\n");
    let lines: String = all.iter().map(line).collect();
    put("csv/a.csv", format!("id,region,pay,confession\n{lines}").into_bytes());
    for region in ["EU", "US"] {
        let of = all.iter().filter(|row| row.1 == region);
        let lines: String = of.map(|(id, _, pay, confession)| format!("{id},{pay},{confession}\n")).collect();
        put(&format!("parted/region={region}/a.csv"), format!("id,pay,confession\n{lines}").into_bytes());
    }
    let object = |(id, region, pay, confession): &(i64, &str, i64, String)| {
        serde_json::json!({ "id": id, "region": region, "pay": pay, "confession": confession }).to_string() + "\n"
    };
    put("json/a.json", all.iter().map(object).collect::<String>().into_bytes());
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(all.iter().map(|row| row.0)))),
        ("region", Arc::new(StringArray::from_iter_values(all.iter().map(|row| row.1)))),
        ("pay", Arc::new(Int64Array::from_iter_values(all.iter().map(|row| row.2)))),
        ("confession", Arc::new(StringArray::from_iter_values(all.iter().map(|row| &row.3)))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(vec![], batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    put("parquet/a.parquet", writer.into_inner().unwrap());
}

fn policy() -> String {
    let mut text = "p, root, *, select, allow\np2, root, *, unfiltered\n".to_string();
    for table in TABLES {
        text += &format!(
            "p, ann, {table}, select, allow\np2, ann, {table}, \"region = 'EU'\"\n\
             p3, ann, {table}, pay, nullify\np, ann, {table}/confession, select, deny\n"
        );
    }
    text
}

async fn world(which: char) -> Gateway {
    let users = ["root", "ann"].map(|name| (name.to_string(), String::new())).to_vec();
    let sources = vec![("drop".to_string(), SOURCE.to_string())];
    let files = Files { sources, policy: policy(), users, ..Files::default() };
    Gateway::start_after(&files, async |dir: &Path| fill(dir, which)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_folders_that_differ_in_hidden_cells_answer_alike() {
    let (a, b) = (world('a').await, world('b').await);
    let (in_a, in_b) = (a.connect("ann").await, b.connect("ann").await);
    for table in TABLES {
        for sql in [
            format!("SELECT * FROM {table} ORDER BY id"),
            format!("SELECT count(*), min(pay), max(id) FROM {table}"),
            format!("SELECT id FROM {table} WHERE 1 / pay > 0 ORDER BY 1"),
            format!("SELECT id FROM {table} WHERE 1 / (id - 11) < 5 ORDER BY 1"),
            format!("SELECT id FROM {table} WHERE region = 'US'"),
            format!("SELECT region, count(*) FROM {table} WHERE region LIKE '%' GROUP BY 1 ORDER BY 1"),
            format!("SELECT id FROM {table} WHERE id > 10 LIMIT 1"),
            format!("SELECT confession FROM {table}"),
            format!("SELECT e FROM {table} e ORDER BY id"),
            format!("EXPLAIN SELECT id FROM {table} WHERE id > 10"),
            format!("SELECT count(*) FROM {table} a JOIN {table} b ON a.id = b.pay"),
            format!("INSERT INTO {table} (id) VALUES (1)"),
            format!("DELETE FROM {table}"),
            "SHOW lakegate.snapshot_vector".to_string(),
            "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'raw' ORDER BY 1, 2"
                .to_string(),
            "SELECT relname, relkind, reltuples FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'raw' ORDER BY 1"
                .to_string(),
        ] {
            let (one, other) = (simple(&in_a, &sql).await, simple(&in_b, &sql).await);
            assert_eq!(one, other, "{sql}");
            assert!(!one.contains("CNRY") && !one.contains("XX000"), "{sql}: {one}");
            let (one, other) = (extended(&in_a, &sql).await, extended(&in_b, &sql).await);
            assert_eq!(one, other, "{sql}");
            // In binary as digits.
            assert!(!one.contains("434e5259"), "{sql}: {one}");
        }
        let seen = simple(&in_a, &format!("SELECT id, region, pay FROM {table} ORDER BY id")).await;
        assert_eq!(seen, "1|EU|∅\n2|EU|∅\n3|EU|∅\n(3)", "{table}");
        let all = simple(&a.connect("root").await, &format!("SELECT count(*), max(confession) FROM {table}")).await;
        assert_eq!(all, "6|CNRY-a3\n(1)", "{table}");
        let whole = simple(&a.connect("root").await, &format!("EXPLAIN SELECT id FROM {table} WHERE id > 2")).await;
        assert!(whole.contains("Seq Scan on"), "{whole}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_statement_sees_the_files_of_its_moment_and_an_edit_needs_no_restart() {
    let gateway = world('a').await;
    let root = gateway.connect("root").await;
    for (table, file, more) in [
        ("raw.csv", "csv/later/b.csv", "id,region,pay,confession\n90,EU,1,x\n"),
        ("raw.json", "json/b.json", "{\"id\": 90, \"region\": \"EU\"}\n"),
    ] {
        let count = format!("SELECT count(*), max(id) FROM {table}");
        for _ in 0..2 {
            assert_eq!(simple(&root, &count).await, "6|13\n(1)", "{table}");
        }
        let path = gateway.path("data").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, more).unwrap();
        assert_eq!(simple(&root, &count).await, "7|90\n(1)", "the next one, from no cache: {table}");
        std::fs::remove_file(path).unwrap();
        assert_eq!(simple(&root, &count).await, "6|13\n(1)", "{table}");
    }
    assert_eq!(simple(&root, "SELECT region FROM raw.parted WHERE region = 'US' LIMIT 1").await, "US\n(1)");
    // A column that a file brings is there once the folder was looked at again.
    std::fs::write(gateway.path("data/csv/c.csv"), "id,region,pay,confession,grade\n91,EU,1,x,7\n").unwrap();
    until(&root, "SELECT max(grade) FROM raw.csv", |answer| answer == "7\n(1)").await;
    // ann is restricted there: what came later is hidden until somebody says otherwise.
    let ann = gateway.connect("ann").await;
    let hidden = simple(&ann, "SELECT grade FROM raw.csv").await;
    assert_eq!(hidden, "ERROR 42703 column \"grade\" does not exist");
    let text = SOURCE.replace("@DIR@", &gateway.dir.path().display().to_string());
    let more = format!("{text}[tables.more]\nfiles = \"json/*\"\nformat = \"json\"\n");
    std::fs::write(gateway.path("catalog/sources/drop.toml"), more).unwrap();
    until(&root, "SELECT count(*) FROM raw.more", |answer| answer == "6\n(1)").await;
    assert!(simple(&ann, "SELECT 1 FROM raw.more").await.starts_with("ERROR 42P01"), "nobody gave it to her");
}
