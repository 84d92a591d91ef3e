//! Real files in a folder of the test's own, as tables: what is told from them, what is read of them, and what is said of
//! those that are not what they should be.

use std::io::Write;
use std::path::PathBuf;

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::formats::postgres::{pg_type, type_name};

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn parquet(&self, name: &str, columns: Vec<(&str, Arc<dyn Array>)>) {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let groups = WriterProperties::builder().set_max_row_group_row_count(Some(2)).build();
        let mut writer = ArrowWriter::try_new(vec![], batch.schema(), Some(groups)).unwrap();
        writer.write(&batch).unwrap();
        self.put(name, writer.into_inner().unwrap());
    }

    fn source(&self, table: &str) -> Files {
        let path = self.0.path().display();
        let text = format!("schema = 'raw'\npath = '{path}'\n[tables.t]\n{table}");
        Files::new("drop", &toml::from_str(&text).unwrap()).unwrap()
    }

    async fn table(&self, table: &str) -> Arc<dyn Table> {
        self.source(table).tables().await.unwrap().remove(0)
    }
}

async fn seen(table: &Arc<dyn Table>) -> SessionContext {
    let context = SessionContext::new();
    context.register_table("t", table.pin().await.unwrap().provider).unwrap();
    context
}

async fn ask(context: &SessionContext, sql: &str) -> Result<Vec<String>> {
    let batches = context.sql(sql).await?.collect().await?;
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = vec![];
    for batch in &batches {
        let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        rows.extend(
            (0..batch.num_rows())
                .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|")),
        );
    }
    Ok(rows)
}

async fn rows(table: &Arc<dyn Table>, sql: &str) -> Vec<String> {
    ask(&seen(table).await, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}

async fn refused(table: &Arc<dyn Table>, sql: &str) -> String {
    let error = match table.pin().await {
        Err(error) => error,
        Ok(pinned) => {
            let context = SessionContext::new();
            context.register_table("t", pinned.provider).unwrap();
            ask(&context, sql).await.unwrap_err()
        }
    };
    format!("{} {}", error.kind().sqlstate(), error.message())
}

fn shown(table: &Arc<dyn Table>) -> String {
    let name = |field: &Arc<arrow::datatypes::Field>| {
        let found = pg_type(field).unwrap();
        format!("{} {}", field.name(), type_name(found.oid, found.typmod))
    };
    table.schema().fields().iter().map(name).collect::<Vec<_>>().join(", ")
}

fn gzip(text: &str) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap()
}

const CSV: &str = "format = 'csv'\ncolumns = [{ name = 'id', type = 'int8' }, { name = 'n', type = 'numeric' }, \
                   { name = 'note', type = 'text', optional = true }]\n";

#[tokio::test]
async fn csv_is_read_by_the_names_of_its_first_line_packed_or_not() {
    let dir = Dir::new();
    dir.put("a.csv", "\u{feff}id,n,note\n1,1.50,\"x\ny\"\n2,,\"\"\n");
    dir.put("b.csv.gz", gzip("more,n,id\nz,2,3\n"));
    dir.put("c.csv.zst", zstd::encode_all("n,id,note\r\nNaN,4,\r\n".as_bytes(), 1).unwrap());
    dir.put("d.csv", "id,n\n");
    dir.put("e.txt", "nothing of this table");
    dir.put("_SUCCESS.csv", "nor this");
    let table = dir.table(&format!("files = '*.csv*'\n{CSV}")).await;
    assert_eq!(shown(&table), "id bigint, n numeric, note text");
    let all = rows(&table, "SELECT id, note IS NULL, note = '' FROM t ORDER BY id").await;
    assert_eq!(all, ["1|false|false", "2|false|true", "3|true|NULL", "4|true|NULL"]);
    assert_eq!(rows(&table, "SELECT count(*) FROM t").await, ["4"]);
    assert_eq!(rows(&table, "SELECT count(*) FROM t WHERE id > 2").await, ["2"]);
    assert_eq!(rows(&table, "SELECT id FROM t LIMIT 3").await.len(), 3);
}

#[tokio::test]
async fn csv_without_names_is_read_in_order_in_the_spelling_that_is_declared() {
    let dir = Dir::new();
    dir.put("x/a.dat", "1;'a;b';\\N\n2;\\N;t\n");
    let declared =
        "files = 'x/*.dat'\nformat = 'csv'\ncsv = { header = false, delimiter = ';', quote = \"'\", null = '\\N' }\n";
    let columns =
        "columns = [{ name = 'id', type = 'int4' }, { name = 's', type = 'text' }, { name = 'b', type = 'bool' }]";
    let table = dir.table(&format!("{declared}{columns}")).await;
    assert_eq!(rows(&table, "SELECT * FROM t").await, ["1|a;b|NULL", "2|NULL|true"]);
    let inferred = dir.table(declared).await;
    assert_eq!(shown(&inferred), "column1 bigint, column2 text, column3 text");
}

#[tokio::test]
async fn lines_of_json_are_read_by_paths() {
    let dir = Dir::new();
    dir.put("a.json", "{\"id\":1,\"o\":{\"x\":[1,2]},\"at\":1700000000}\n\n{\"id\":2,\"o\":{}}\n");
    let columns = "format = 'json'\ncolumns = [{ name = 'id', type = 'int8' }, { name = 'x', type = 'int4[]', path = 'o.x' }, \
                   { name = 'at', type = 'timestamptz', unit = 's' }]";
    let table = dir.table(columns).await;
    assert_eq!(rows(&table, "SELECT id, x, at FROM t").await, ["1|[1, 2]|2023-11-14T22:13:20Z", "2|NULL|NULL"]);
}

#[tokio::test]
async fn columns_are_told_from_files_that_agree() {
    let dir = Dir::new();
    dir.put("c/a.csv", "id,code,at,d,n,ok,none\n1,007,2024-01-01 10:00:00,2024-01-01,1,true,\n");
    dir.put("c/b.csv", "id,code,n,later\n2,x,1.5,9\n");
    let csv = dir.table("files = 'c/*'\nformat = 'csv'").await;
    let types =
        "id bigint, code text, at timestamp without time zone, d date, n numeric, ok boolean, none text, later bigint";
    assert_eq!(shown(&csv), types);
    assert_eq!(rows(&csv, "SELECT id, code, later FROM t ORDER BY 1").await, ["1|007|NULL", "2|x|9"]);
    dir.put("j/a.jsonl", "{\"id\":1,\"o\":{\"a\":1},\"tags\":[\"x\"]}\n{\"id\":2.5,\"s\":\"x\"}\n");
    let json = dir.table("files = 'j/*'\nformat = 'json'").await;
    assert_eq!(shown(&json), "id numeric, o jsonb, tags text[], s text");
    let one: Arc<dyn Array> = Arc::new(Int32Array::from(vec![Some(1), None]));
    let wide: Arc<dyn Array> = Arc::new(Int64Array::from(vec![1 << 40]));
    let huge: Arc<dyn Array> = Arc::new(UInt64Array::from(vec![u64::MAX]));
    let text: Arc<dyn Array> = Arc::new(StringArray::from(vec!["x", "y"]));
    dir.parquet("p/a.parquet", vec![("id", one), ("s", text)]);
    dir.parquet("p/b.parquet", vec![("huge", huge), ("id", wide)]);
    let parquet = dir.table("files = 'p/*'\nformat = 'parquet'").await;
    assert_eq!(shown(&parquet), "id bigint, s text, huge numeric(20,0)");
    let all = rows(&parquet, "SELECT id, s, huge FROM t ORDER BY id, s").await;
    assert_eq!(all, ["1|x|NULL", "1099511627776|NULL|18446744073709551615", "NULL|y|NULL"]);
}

#[tokio::test]
async fn files_that_do_not_agree_are_told_by_their_table_and_named_in_the_log() {
    let dir = Dir::new();
    dir.put("a.csv", "id,x\n1,2024-01-01\n");
    dir.put("b.csv", "id,x\n2,true\n");
    let table = dir.table("format = 'csv'").await;
    let told = refused(&table, "SELECT * FROM t").await;
    assert_eq!(told, "HV000 files of table raw.t have a column of different types");
    let int: Arc<dyn Array> = Arc::new(Int32Array::from(vec![1]));
    let text: Arc<dyn Array> = Arc::new(StringArray::from(vec!["x"]));
    dir.parquet("p/a.parquet", vec![("id", Arc::clone(&int))]);
    let source = dir.source("files = 'p/*'\nformat = 'parquet'");
    let table = source.tables().await.unwrap().remove(0);
    assert_eq!(rows(&table, "SELECT id FROM t").await, ["1"]);
    // One that comes after the columns were told.
    dir.parquet("p/b.parquet", vec![("id", Arc::clone(&text))]);
    let told = refused(&table, "SELECT id FROM t").await;
    assert_eq!(told, "HV000 a file of table raw.t has a column of another type than the table");
    let error = ask(&seen(&table).await, "SELECT id FROM t").await.unwrap_err();
    assert!(format!("{error:?}").ends_with("<- file \"p/b.parquet\" <- column \"id\""), "{error:?}");
    let again = source.tables().await.unwrap().remove(0);
    let told = refused(&again, "SELECT id FROM t").await;
    assert_eq!(told, "HV000 files of table raw.t have a column of different types");
    // And nothing is left of it once it is away.
    std::fs::remove_file(dir.0.path().join("p/b.parquet")).unwrap();
    assert_eq!(rows(&again, "SELECT id FROM t").await, ["1"]);
}

#[tokio::test]
async fn folders_names_are_columns_and_what_they_rule_out_is_not_opened() {
    let dir = Dir::new();
    dir.put("year=2023/month=01/a.csv", "id\nthis is no number\n");
    dir.put("year=2024/month=02/a.csv", "id\n1\n");
    dir.put("year=2024/month=__HIVE_DEFAULT_PARTITION__/a.csv", "id\n2\n");
    let declared = "files = 'year=*/**'\nformat = 'csv'\ncolumns = [{ name = 'id', type = 'int8' }]\npartitions = [{ name = 'year', type = 'int4' }, { name = 'month', type = 'int2' }]";
    let table = dir.table(declared).await;
    assert_eq!(shown(&table), "id bigint, year integer, month smallint");
    assert_eq!(
        rows(&table, "SELECT id, year, month FROM t WHERE year = 2024 ORDER BY id").await,
        ["1|2024|2", "2|2024|NULL"]
    );
    assert_eq!(rows(&table, "SELECT id FROM t WHERE year > 2023 AND month IS NULL").await, ["2"]);
    assert_eq!(rows(&table, "SELECT year, count(*) FROM t GROUP BY year ORDER BY 1").await, ["2023|1", "2024|2"]);
    let text = "22P02 file \"year=2023/month=01/a.csv\", line 2: column \"id\" ";
    let told = refused(&table, "SELECT id FROM t WHERE month < 2").await;
    assert!(told.starts_with(text), "{told}");
    let inferred = dir.table("files = 'year=*/**'\nformat = 'csv'").await;
    assert_eq!(shown(&inferred), "id text, year integer, month integer");
    let id: Arc<dyn Array> = Arc::new(Int64Array::from(vec![1, 2, 3]));
    dir.parquet("p/k=a%2Fb/a.parquet", vec![("id", Arc::clone(&id)), ("k", Arc::clone(&id))]);
    dir.put("p/k=c/broken.parquet", "PAR1 and no more");
    let parquet = dir.source("files = 'p/k=a*/*'\nformat = 'parquet'").tables().await.unwrap().remove(0);
    assert_eq!(shown(&parquet), "id bigint, k text");
    assert_eq!(rows(&parquet, "SELECT k, id FROM t WHERE id = 3 AND k = 'a/b'").await, ["a/b|3"]);
    assert_eq!(rows(&parquet, "SELECT count(*) FROM t WHERE k = 'c'").await, ["0"]);
    // A folder's name is a value.
    dir.put("year=secret/month=1/a.csv", "id\n1\n");
    let told = refused(&table, "SELECT id FROM t").await;
    assert!(told.starts_with("22P02 a file of table raw.t lies in a folder of whose name a value "), "{told}");
}

#[tokio::test]
async fn parquet_is_pruned_by_what_it_says_and_never_by_floats() {
    let dir = Dir::new();
    let id: Arc<dyn Array> = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
    let x: Arc<dyn Array> = Arc::new(Float64Array::from(vec![1.0, f64::NAN, 2.0, 3.0]));
    dir.parquet("a.parquet", vec![("id", id), ("x", x)]);
    let table = dir.table("format = 'parquet'").await;
    assert_eq!(rows(&table, "SELECT id FROM t WHERE id >= 3").await, ["3", "4"]);
    // NaN is greater than everything, and no statistics tell of it.
    assert_eq!(rows(&table, "SELECT id FROM t WHERE x > 2.5 ORDER BY id").await, ["2", "4"]);
    let plan = rows(&table, "EXPLAIN SELECT id FROM t WHERE id >= 3").await.join("\n");
    assert!(plan.contains("pruning_predicate") && plan.contains("FilterExec"), "{plan}");
    assert_eq!(rows(&table, "SELECT count(*) FROM t").await, ["4"]);
}

#[tokio::test]
async fn a_file_in_anothers_place_is_read_by_its_own_footer() {
    let dir = Dir::new();
    let values = |values: [i64; 3]| vec![("id", Arc::new(Int64Array::from(values.to_vec())) as Arc<dyn Array>)];
    dir.parquet("a.parquet", values([1, 2, 3]));
    let time = std::fs::metadata(dir.0.path().join("a.parquet")).unwrap().modified().unwrap();
    let table = dir.table("format = 'parquet'").await;
    // One session, and so one cache.
    let context = SessionContext::new();
    for (round, expect) in [("1", "3"), ("2", "9")] {
        if round == "2" {
            dir.parquet("b.parquet", values([7, 8, 9]));
            let path = dir.0.path().join("b.parquet");
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            std::fs::rename(path, dir.0.path().join("a.parquet")).unwrap();
        }
        context.deregister_table("t").unwrap();
        context.register_table("t", table.pin().await.unwrap().provider).unwrap();
        assert_eq!(ask(&context, "SELECT max(id) FROM t WHERE id >= 3").await.unwrap(), [expect]);
    }
}

#[tokio::test]
async fn a_line_that_does_not_fit_is_told_or_left_out_or_nulls() {
    let dir = Dir::new();
    dir.put("a.csv", "id,n\n1,1\n\"2\n\",2\nx,3\n4,5,6\n5,7\n");
    let columns = "format = 'csv'\ncolumns = [{ name = 'id', type = 'int8' }, { name = 'n', type = 'int4' }]\n";
    let strict = dir.table(columns).await;
    let told = refused(&strict, "SELECT id FROM t").await;
    assert!(told.starts_with("22P02 file \"a.csv\", line 5: column \"id\" "), "{told}");
    assert!(!told.contains('x'), "{told}");
    let skip = dir.table(&format!("{columns}on_error = 'skip'")).await;
    assert_eq!(rows(&skip, "SELECT id FROM t").await, ["1", "2", "5"]);
    assert_eq!(rows(&skip, "SELECT count(*) FROM t").await, ["3"], "whatever is asked");
    let null = dir.table(&format!("{columns}on_error = 'null'")).await;
    assert_eq!(rows(&null, "SELECT n FROM t").await, ["1", "2", "NULL", "NULL", "7"]);
    dir.put("b.csv.gz", gzip("id,n\n9,9\n").get(..20).unwrap());
    let told = refused(&skip, "SELECT id FROM t").await;
    assert_eq!(told, "22P02 file \"b.csv.gz\": is not packed as its name says, or is broken");
    dir.put("b.csv.gz", gzip("n\n9\n"));
    let told = refused(&strict, "SELECT id FROM t WHERE id > 5").await;
    assert_eq!(rows(&dir.table(&format!("files = 'b*'\n{columns}")).await, "SELECT n FROM t").await, ["9"]);
    assert!(told.starts_with("22P02 file "), "{told}");
    let lacking = refused(&dir.table(&format!("files = 'b*'\n{columns}")).await, "SELECT id FROM t").await;
    assert_eq!(lacking, "22P02 file \"b.csv.gz\", line 1: the first line does not name column \"id\"");
}

#[tokio::test]
async fn a_statement_reads_what_was_there_when_it_began() {
    let dir = Dir::new();
    dir.put("a.csv", "id,n\n1,1\n");
    let table = dir.table(CSV).await;
    let version = async || table.pin().await.unwrap().version;
    let (first, before) = (version().await, seen(&table).await);
    assert_eq!(first, version().await, "nothing changed");
    dir.put("b.csv", "id,n\n2,2\n");
    assert_eq!(ask(&before, "SELECT id FROM t").await.unwrap(), ["1"]);
    assert_eq!(rows(&table, "SELECT id FROM t ORDER BY id").await, ["1", "2"]);
    let second = version().await;
    assert_ne!(first, second);
    let before = seen(&table).await;
    // Another file in its place, of the same length.
    let path = dir.put("c.csv", "id,n\n3,3\n");
    std::fs::rename(path, dir.0.path().join("a.csv")).unwrap();
    assert_ne!(second, version().await);
    let error = ask(&before, "SELECT id FROM t").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (Kind::DataGone, "a file of table raw.t was changed or removed while it was read")
    );
    // The same files, read otherwise, are another version.
    let other = dir.table(&format!("{CSV}on_error = 'skip'")).await;
    assert_ne!(other.pin().await.unwrap().version, version().await);
}

#[tokio::test]
async fn a_link_out_of_the_folder_is_refused_and_one_within_is_followed() {
    let (dir, other) = (Dir::new(), Dir::new());
    dir.put("a.csv", "id,n\n1,1\n");
    let table = dir.table(CSV).await;
    std::os::unix::fs::symlink(dir.0.path().join("a.csv"), dir.0.path().join("b.csv")).unwrap();
    assert_eq!(rows(&table, "SELECT id FROM t").await, ["1", "1"]);
    let secret = other.put("d/secret.csv", "id,n\n666,1\n");
    for (from, to) in [(other.0.path().join("d"), "out"), (secret, "out.csv")] {
        let link = dir.0.path().join(to);
        std::os::unix::fs::symlink(from, &link).unwrap();
        let told = refused(&table, "SELECT id FROM t").await;
        assert!(told.ends_with("a file of table raw.t leads out of the folder of source \"drop\""), "{told}");
        // Of a table whose columns are told from its files too, which takes no other table with it.
        let told = refused(&dir.table("format = 'csv'").await, "SELECT 1").await;
        assert!(told.ends_with("a file of table raw.t leads out of the folder of source \"drop\""), "{told}");
        // Another table does not look there.
        assert_eq!(rows(&dir.table(&format!("files = 'a*'\n{CSV}")).await, "SELECT id FROM t").await, ["1"]);
        std::fs::remove_file(link).unwrap();
    }
    assert_eq!(rows(&table, "SELECT count(*) FROM t").await, ["2"]);
}

#[tokio::test]
async fn a_folder_may_be_empty_and_must_be_there() {
    let dir = Dir::new();
    let absent = dir.table("files = 'not/there/*'\nformat = 'json'").await;
    assert_eq!(rows(&absent, "SELECT count(*) FROM t").await, ["0"]);
    let source = dir.source("format = 'json'");
    let table = source.tables().await.unwrap().remove(0);
    assert_eq!(shown(&table), "");
    assert_eq!(rows(&table, "SELECT count(*) FROM t").await, ["0"]);
    assert_eq!(source.revision().await.unwrap(), None);
    dir.put("a.json", "{\"id\": 1}\n");
    assert_eq!(shown(&source.tables().await.unwrap().remove(0)), "id bigint");
    let gone = Dir::new();
    let source = gone.source(CSV);
    assert_eq!(source.revision().await.unwrap(), Some(0));
    let table = source.tables().await.unwrap().remove(0);
    drop(gone);
    assert_eq!(refused(&table, "SELECT 1 FROM t").await, "08006 source \"drop\" cannot be reached");
}

#[tokio::test]
async fn a_footer_is_read_of_the_files_that_are_asked_for() {
    let dir = Dir::new();
    let id: Arc<dyn Array> = Arc::new(Int64Array::from(vec![1, 2, 3]));
    dir.parquet("k=a/a.parquet", vec![("id", Arc::clone(&id))]);
    dir.parquet("k=b/a.parquet", vec![("id", id)]);
    dir.put("k=c/a.parquet", "PAR1 and no more");
    let source = dir.source(
        "format = 'parquet'\ncolumns = [{ name = 'id', type = 'int8' }]\npartitions = [{ name = 'k', type = 'text' }]",
    );
    let table = source.tables().await.unwrap().remove(0);
    let context = seen(&table).await;
    assert_eq!(ask(&context, "SELECT sum(id) FROM t WHERE k = 'a'").await.unwrap(), ["6"]);
    // Where the scan finds it again.
    let cache = context.runtime_env().cache_manager.get_file_metadata_cache();
    assert_eq!(cache.list_entries().len(), 1);
    let told = refused(&table, "SELECT id FROM t").await;
    assert_eq!(told, "22P02 a file of table raw.t is not Parquet, or is broken");
}

#[tokio::test]
async fn a_look_at_a_file_ends_however_little_is_in_it() {
    let dir = Dir::new();
    let late = [vec![b'\n'; 8 << 20], b"id\n1\n".to_vec()].concat();
    dir.put("blank/a.csv.zst", zstd::encode_all(late.as_slice(), 1).unwrap());
    for format in ["csv", "json"] {
        let table = dir.table(&format!("files = 'blank/*'\nformat = '{format}'")).await;
        assert_eq!(shown(&table), "", "{format}");
    }
    dir.put("wide/a.csv", ",".repeat(3 << 20));
    let table = dir.table("files = 'wide/*'\nformat = 'csv'").await;
    assert_eq!(refused(&table, "SELECT 1").await, "22P02 the columns of table raw.t cannot be told from its files");
    dir.put("many/a.csv", format!("{}\n", "x,".repeat(2_000)));
    for more in ["", "csv = { header = false }"] {
        let table = dir.table(&format!("files = 'many/*'\nformat = 'csv'\n{more}")).await;
        assert_eq!(refused(&table, "SELECT 1").await, "22P02 the columns of table raw.t cannot be told from its files");
    }
    let member = |at: usize| format!("\"k{at}\":1");
    dir.put("json/a.json", format!("{{{}}}\n", (0..50_000).map(member).collect::<Vec<_>>().join(",")));
    let table = dir.table("files = 'json/*'\nformat = 'json'").await;
    assert_eq!(refused(&table, "SELECT 1").await, "54000 the files of table raw.t have more than 1600 columns");
}

#[tokio::test]
async fn whoever_unpacks_much_lets_others_run() {
    let dir = Dir::new();
    dir.put("a.csv.zst", zstd::encode_all(vec![b'\n'; 32 << 20].as_slice(), 1).unwrap());
    let source = dir.source(CSV);
    let spec = &source.tables[0].spec;
    let files = spec.folder.list(&spec.name, &spec.config.files).await.unwrap();
    let mut text = text::TextFile::open(spec, &spec.folder.as_found(&files), &files[0]).await.unwrap();
    let mut records = crate::formats::cut::Records::default();
    let (mut read, mut polls) = (Box::pin(text.next(1, usize::MAX, &mut records)), 0);
    let is_over = std::future::poll_fn(|context| {
        polls += 1;
        read.as_mut().poll(context)
    });
    assert!(is_over.await.unwrap());
    assert!(polls >= 32, "{polls}");
}

#[tokio::test]
async fn a_table_keeps_its_columns_while_its_files_are_none() {
    let dir = Dir::new();
    dir.put("c/region=EU/a.csv", "id\n1\n");
    let id: Arc<dyn Array> = Arc::new(Int64Array::from(vec![1]));
    dir.parquet("p/a.parquet", vec![("id", id)]);
    for (declared, columns, stray) in [
        ("files = 'c/**'\nformat = 'csv'", "id bigint, region text", "c/region=US/ssn=1/a.csv"),
        ("files = 'c/**'\nformat = 'csv'", "id bigint, region text", "c/a.csv.gz"),
        ("files = 'p/**'\nformat = 'parquet'", "id bigint", "p/0.parquet"),
    ] {
        let source = dir.source(declared);
        let table = async || source.tables().await.unwrap().remove(0);
        assert_eq!(shown(&table().await), columns);
        dir.put(stray, "no such thing");
        for _ in 0..2 {
            let now = table().await;
            assert_eq!(shown(&now), columns, "{stray}");
            refused(&now, "SELECT id FROM t").await;
            // Another stray one is another set of files.
            dir.put(&format!("{stray}.gz"), "nor this");
        }
        std::fs::remove_file(dir.0.path().join(stray)).unwrap();
        std::fs::remove_file(dir.0.path().join(format!("{stray}.gz"))).unwrap();
        assert_eq!(rows(&table().await, "SELECT id FROM t").await, ["1"], "{stray}");
    }
    // Nor are they gone with the last file.
    let source = dir.source("files = 'c/**'\nformat = 'csv'");
    source.tables().await.unwrap();
    std::fs::remove_dir_all(dir.0.path().join("c")).unwrap();
    let empty = source.tables().await.unwrap().remove(0);
    assert_eq!(shown(&empty), "id bigint, region text");
    assert_eq!(rows(&empty, "SELECT count(*) FROM t").await, ["0"]);
    // Whoever looks first while a file is astray has all names of folders, of which policies speak.
    dir.put("c/region=EU/a.csv", "id\n1\n");
    dir.put("c/region=US/ssn=1/a.csv", "id\n1\n");
    let first = dir.table("files = 'c/**'\nformat = 'csv'").await;
    assert_eq!(shown(&first), "id bigint, region text, ssn integer");
    let told = refused(&first, "SELECT id FROM t").await;
    assert_eq!(told, "HV000 files of table raw.t lie in folders that are called unlike each other");
}

#[tokio::test]
async fn a_folder_is_found_by_its_name_as_it_is() {
    let dir = Dir::new();
    for name in ["k=a%2Fb", "50%", "#1", "~x", "[a] {b}", "a b", "é", "a\\b", "k=^`|<>\""] {
        dir.put(&format!("{name}/a.csv"), "id,n\n1,1\n");
        let written = toml::Value::from(format!("{name}/*.csv"));
        let table = dir.table(&format!("files = {written}\n{CSV}")).await;
        assert_eq!(rows(&table, "SELECT id FROM t").await, ["1"], "{name}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_listed_is_its_tables_fault() {
    let dir = Dir::new();
    dir.put("good/a.csv", "id,n\n1,1\n");
    dir.put("bad/a.csv", "id,n\n1,1\n");
    std::os::unix::fs::symlink(dir.0.path().join("bad"), dir.0.path().join("bad/up")).unwrap();
    let bad = dir.table("files = 'bad/**'\nformat = 'csv'").await;
    assert_eq!(refused(&bad, "SELECT 1").await, "HV000 the folder of table raw.t cannot be listed");
    let good = dir.table(&format!("files = 'good/**'\n{CSV}")).await;
    assert_eq!(rows(&good, "SELECT id FROM t").await, ["1"]);
    let file = dir.put("file", "none");
    let text = format!("schema = 'raw'\npath = '{}'\n[tables.t]\n{CSV}", file.display());
    let source = Files::new("drop", &toml::from_str(&text).unwrap()).unwrap();
    let error = source.tables().await.unwrap().remove(0).pin().await.map(drop).unwrap_err();
    assert_eq!(
        (error.kind(), error.hint()),
        (Kind::SourceUnreachable, Some("What `path` of the source's file names is no folder."))
    );
}

/// A service of S3 that lists what a prefix asks for, and never gives any of it. Its address.
async fn stuck() -> (String, tokio::task::JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answer = async |stream: &mut tokio::net::TcpStream| {
        let mut asked = vec![];
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(stream.read_u8().await?);
        }
        let asked = String::from_utf8_lossy(&asked).into_owned();
        let key = match asked.split_whitespace().nth(1).and_then(|path| path.split_once("prefix=")) {
            Some((_, prefix)) if prefix.contains("odd") => "d/odd//a.csv",
            Some((_, prefix)) if prefix.contains("slow") => "d/slow/a.csv",
            Some(_) => {
                let shut = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
                return stream.write_all(shut.as_bytes()).await;
            }
            None => return std::future::pending().await,
        };
        let body = format!(
            "<ListBucketResult><Name>b</Name><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated><Contents><Key>{key}</Key>\
             <LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>x</ETag><Size>9</Size></Contents></ListBucketResult>"
        );
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all([head, body].concat().as_bytes()).await
    };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut open = futures::stream::FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (mut stream, _) = accepted.unwrap();
                    open.push(async move { while answer(&mut stream).await.is_ok() {} });
                }
                Some(()) = futures::StreamExt::next(&mut open) => {}
            }
        }
    });
    (endpoint, tasks)
}

#[tokio::test]
async fn what_a_bucket_cannot_do_is_told_where_it_belongs() {
    let (endpoint, _tasks) = stuck().await;
    let s3 = format!("endpoint = '{endpoint}'\nallow_http = true\naccess_key_id = 'k'\nsecret_access_key = 's'");
    let source = |tables: &str| {
        let text = format!("schema = 'raw'\npath = 's3://b/d'\n[s3]\n{s3}\n{tables}");
        Files::new("drop", &toml::from_str(&text).unwrap()).unwrap()
    };
    let two = "[tables.odd]\nfiles = 'odd/**'\nformat = 'csv'\n[tables.slow]\nfiles = 'slow/**'\nformat = 'csv'";
    // Within the time that a source has.
    let found = tokio::time::timeout(2 * INFER_MAX, source(two).tables()).await.unwrap().unwrap();
    assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), ["", ""]);
    let told = refused(&found[0], "SELECT 1").await;
    assert_eq!(told, "HV000 the folder of table raw.odd cannot be listed");
    let told = refused(&found[1], "SELECT 1").await;
    assert_eq!(told, "HV000 the columns of table raw.slow cannot be told from its files in time");
    let error = source("[tables.shut]\nfiles = 'shut/**'\nformat = 'csv'").tables().await.map(drop).unwrap_err();
    assert_eq!(error.kind(), Kind::SourceUnreachable);
    assert!(error.hint().unwrap().starts_with("Look at the bucket in `path` and at the keys in [s3]"), "{error:?}");
}

#[tokio::test]
async fn another_folder_is_another_version() {
    let (one, other) = (Dir::new(), Dir::new());
    let version = async |dir: &Dir| dir.table(CSV).await.pin().await.unwrap().version;
    assert_eq!(version(&one).await, version(&one).await);
    assert_ne!(version(&one).await, version(&other).await, "whatever lies there");
}

#[tokio::test]
async fn a_line_of_json_has_nothing_before_it() {
    let dir = Dir::new();
    dir.put("a.json", b"\0\0\0\0\x01{\"id\":1}\n");
    let table = dir.table("format = 'json'\ncolumns = [{ name = 'id', type = 'int8' }]").await;
    let told = refused(&table, "SELECT id FROM t").await;
    assert!(told.starts_with("22P02 file \"a.json\", line 1: "), "{told}");
}

#[test]
fn the_example_is_a_file_of_this_kind() {
    #[derive(serde::Deserialize)]
    struct File {
        kind: String,
        #[serde(flatten)]
        rest: toml::Table,
    }
    let example = include_str!("../../../catalog/sources/files.toml.example");
    let file: File = toml::from_str(example).unwrap();
    assert_eq!(file.kind, "files");
    Files::new("files", &file.rest.try_into().unwrap()).unwrap();
    // What it shows in comments too.
    let is_setting = |line: &&str| !line.starts_with("# ") || line.contains(" = ") || line.starts_with("# [");
    let shown: Vec<&str> =
        example.lines().filter(is_setting).map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
    let file: File = toml::from_str(&shown.join("\n")).unwrap_or_else(|error| panic!("{error}"));
    let config: Config = file.rest.try_into().unwrap();
    assert!(config.s3.is_some() && config.tables["orders"].partitions.is_some());
}

#[tokio::test]
async fn what_a_file_of_a_source_cannot_say_is_told_at_its_place() {
    let told = |text: &str| {
        let text = format!("schema = 'raw'\npath = '/data'\n{text}");
        let error = toml::from_str::<Config>(&text).err().unwrap_or_else(|| panic!("{text}"));
        let line = text.get(..error.span().unwrap().start).unwrap().matches('\n').count() + 1;
        format!("{line}: {}", error.message())
    };
    for (text, expect) in [
        ("[tables.t]\nformat = 'csv'\nfiles = '../x'", "5: `files` does not leave `path`: it has no `..`"),
        (
            "[tables.t]\nformat = 'csv'\ncolumns = [\n  { name = 'x', type = 'intt' },\n]",
            "5: column \"x\" has type \"intt\", which files are not read as",
        ),
        ("[tables.t]\nformat = 'xml'", "4: unknown variant `xml`, expected one of `csv`, `json`, `parquet`"),
        ("files_max = 0", "3: `files_max` must be above 0"),
        ("[tables.t]\nformat = 'json'\n[tables.t.csv]\nheader = false", "3: `csv` is of `format = \"csv\"`"),
        (
            "[tables.t]\nformat = 'parquet'\ncolumns = [{ name = 'x', type = 'jsonb' }]",
            "3: column \"x\" has type \"jsonb\", which Parquet is not read as",
        ),
    ] {
        assert_eq!(told(text), expect);
    }
    for bad in ["data", "s3://", "/", "s3:///x", "/a/../b", "/a//b"] {
        assert!(toml::from_str::<Config>(&format!("schema = 'raw'\npath = '{bad}'")).is_err(), "{bad}");
    }
    let config: Config = toml::from_str("schema = 'raw'\npath = '/data'\n[s3]\nregion = 'x'").unwrap();
    assert_eq!(Files::new("drop", &config).unwrap_err().message(), "source \"drop\": [s3] is of a `path` in S3");
}
