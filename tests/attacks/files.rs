//! Files as tables behind the policy: two folders that differ in hidden cells alone must answer alike, whatever the
//! format; and what a table of files is besides: new files seen at once, the catalogs, a source's file edited under a
//! running server.

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

/// Each is wrong in a folder of region US, whose names hold what ann does not see. What `pin` raises stands above her
/// barrier, and what a lost file is called stays through it.
const WRONG: &str = r#"kind = "files"
schema = "raw"
path = "@DIR@/data"
[tables.broken]
files = "broken/**"
format = "parquet"
columns = [{ name = "id", type = "int8" }]
partitions = [{ name = "region", type = "text" }]
[tables.inferred]
files = "broken/**"
format = "parquet"
[tables.late]
files = "late/**"
format = "parquet"
[tables.value]
files = "value/**"
format = "csv"
columns = [{ name = "id", type = "int8" }]
partitions = [{ name = "region", type = "text" }, { name = "year", type = "int4" }]
[tables.lacking]
files = "value/**"
format = "csv"
columns = [{ name = "id", type = "int8" }]
partitions = [{ name = "region", type = "text" }, { name = "month", type = "int4" }]
[tables.unlike]
files = "unlike/**"
format = "csv"
[tables.stray]
files = "stray/**"
format = "csv"
[tables.link]
files = "link/**"
format = "csv"
columns = [{ name = "id", type = "int8" }]
partitions = [{ name = "region", type = "text" }]
[tables.lost]
files = "lost/**"
format = "csv"
columns = [{ name = "id", type = "int8" }, { name = "region", type = "text" }]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_files_name_is_told_by_no_error() {
    let tables = ["broken", "inferred", "late", "value", "lacking", "unlike", "stray", "link", "lost"];
    let grants =
        tables.map(|t| format!("p, ann, raw.{t}, select, allow\np2, ann, raw.{t}, \"region = 'EU'\"\n")).concat();
    let policy = format!("p, root, *, select, allow\np2, root, *, unfiltered\n{grants}");
    let users = ["root", "ann"].map(|name| (name.to_string(), String::new())).to_vec();
    let files = Files { sources: vec![("drop".into(), WRONG.into())], policy, users, ..Files::default() };
    let parquet = |column: ArrayRef| {
        let batch = RecordBatch::try_from_iter([("id", column)]).unwrap();
        let mut writer = ArrowWriter::try_new(vec![], batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    };
    let (number, text) =
        (parquet(Arc::new(Int64Array::from(vec![1]))), parquet(Arc::new(StringArray::from(vec!["x"]))));
    let put = |dir: &Path, name: &str, bytes: &[u8]| {
        let path = dir.join("data").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let begin = async |dir: &Path| {
        put(dir, "broken/region=EU/a.parquet", &number);
        put(dir, "broken/region=US-CNRY/CNRY.parquet", b"PAR1 and no more");
        put(dir, "late/region=EU/a.parquet", &number);
        put(dir, "value/region=EU/year=2024/a.csv", b"id\n1\n");
        put(dir, "value/region=US-CNRY/year=CNRY/a.csv", b"id\n1\n");
        put(dir, "unlike/region=EU/a.csv", b"id\n1\n");
        put(dir, "unlike/region=US-CNRY/CNRY.csv", b"id\ntrue\n");
        put(dir, "stray/region=EU/a.csv", b"id\n1\n");
        put(dir, "stray/region=US-CNRY/x=CNRY/CNRY.csv", b"id\n1\n");
        put(dir, "link/region=EU/a.csv", b"id\n1\n");
        put(dir, "../elsewhere/a.csv", b"id\n1\n");
        std::os::unix::fs::symlink(dir.join("elsewhere"), dir.join("data/link/region=US-CNRY")).unwrap();
        put(dir, "lost/a.csv", b"id,region\n1,EU\n");
        put(dir, "lost/site=CNRY/a.csv", b"id,region\n2,US\n");
    };
    let gateway = Gateway::start_after(&files, begin).await;
    let ann = gateway.connect("ann").await;
    let asked = async |sql: &str| {
        let (one, other) = (simple(&ann, sql).await, extended(&ann, sql).await);
        for answer in [&one, &other] {
            assert!(
                !answer.contains("CNRY") && !answer.contains("434e5259") && !answer.contains("XX000"),
                "{sql}: {answer}"
            );
        }
        one
    };
    // What came once the columns were told.
    assert_eq!(asked("SELECT id FROM raw.late").await, "1\n(1)");
    put(gateway.dir.path(), "late/region=US-CNRY/CNRY.parquet", &text);
    let mut refused = 0;
    for table in tables {
        for sql in [
            format!("SELECT id FROM raw.{table}"),
            format!("SELECT id FROM raw.{table} WHERE region = 'US-CNRY'").replace("-CNRY", ""),
            format!("EXPLAIN SELECT id FROM raw.{table}"),
            format!("EXPLAIN ANALYZE SELECT * FROM raw.{table}"),
            format!("SELECT count(*) FROM raw.{table} a, raw.{table} b"),
            format!("COPY raw.{table} TO STDOUT"),
            format!("INSERT INTO raw.{table} (id) VALUES (1)"),
        ] {
            refused += usize::from(asked(&sql).await.starts_with("ERROR"));
        }
    }
    assert!(refused > tables.len(), "there is something to be told: {refused}");
    // What she may see is read without what is wrong elsewhere.
    for table in ["broken", "lost"] {
        assert_eq!(asked(&format!("SELECT id FROM raw.{table}")).await, "1\n(1)", "{table}");
    }
    let root = gateway.connect("root").await;
    let told = simple(&root, "EXPLAIN SELECT id FROM raw.broken").await;
    assert_eq!(told, "ERROR 22P02 a file of table raw.broken is not Parquet, or is broken");
    // A file in another's place, while it is read.
    asked("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    assert_eq!(asked("SELECT count(*) FROM raw.lost").await, "1\n(1)");
    put(gateway.dir.path(), "new.csv", b"id,region\n3,US\n");
    std::fs::rename(gateway.path("data/new.csv"), gateway.path("data/lost/site=CNRY/a.csv")).unwrap();
    let told = asked("SELECT max(id) FROM raw.lost").await;
    assert!(
        told.starts_with("ERROR 58000 a file of table raw.lost was changed or removed while it was read"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_there_once_its_columns_can_be_told() {
    let source = r#"kind = "files"
schema = "raw"
path = "@DIR@/data"
[tables.empty]
files = "empty/*"
format = "csv"
[tables.wrong]
files = "wrong/*"
format = "csv"
"#;
    let users = vec![("root".to_string(), String::new())];
    let policy = "p, root, *, select, allow\np2, root, *, unfiltered\n".to_string();
    let files = Files { sources: vec![("drop".into(), source.into())], policy, users, ..Files::default() };
    let gateway = Gateway::start_after(&files, async |dir: &Path| {
        std::fs::create_dir_all(dir.join("data/empty")).unwrap();
        std::fs::create_dir_all(dir.join("data/wrong")).unwrap();
        std::fs::write(dir.join("data/wrong/a.csv"), "id,id\n1,2\n").unwrap();
    })
    .await;
    let root = gateway.connect("root").await;
    // As the README says: no columns, no table.
    for table in ["empty", "wrong"] {
        let told = simple(&root, &format!("SELECT count(*) FROM raw.{table}")).await;
        assert_eq!(told, format!("ERROR 42P01 relation \"raw.{table}\" does not exist"));
    }
    std::fs::write(gateway.path("data/empty/a.csv"), "id\n1\n").unwrap();
    std::fs::write(gateway.path("data/wrong/a.csv"), "id,n\n1,2\n").unwrap();
    until(&root, "SELECT id FROM raw.empty", |answer| answer == "1\n(1)").await;
    until(&root, "SELECT n FROM raw.wrong", |answer| answer == "2\n(1)").await;
    // And it stays there, and says what is wrong, whatever comes.
    std::fs::write(gateway.path("data/wrong/b.csv"), "id,id\n1,2\n").unwrap();
    until(&root, "SELECT n FROM raw.wrong", |answer| answer.starts_with("ERROR 22P02")).await;
    std::fs::remove_file(gateway.path("data/empty/a.csv")).unwrap();
    std::fs::remove_file(gateway.path("data/wrong/b.csv")).unwrap();
    until(&root, "SELECT n FROM raw.wrong", |answer| answer == "2\n(1)").await;
    assert_eq!(simple(&root, "SELECT id FROM raw.empty").await, "(0)");
}
