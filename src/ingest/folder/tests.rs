//! Real files in a folder of the test's own: each once, cut anywhere and gone on with, and what is said of those that are no
//! files of rows.

use std::path::PathBuf;

use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch};
use arrow::datatypes::Int64Type;
use parquet::arrow::ArrowWriter;

use super::*;
use crate::formats::cut::RECORD_BYTES_MAX;

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn origin(&self, format: &str, settings: &str) -> Folder {
        let path = self.0.path().display();
        let text = format!(
            "path = '{path}'\ntable = 't'\nformat = '{format}'\nlook_ms = 1\nsettle_ms = 0\nkey_columns = ['id']\n\
             columns = [{{ name = 'id', type = 'int8' }}, {{ name = 'text', type = 'text', optional = true }}]\n{settings}"
        );
        let config: Config = toml::from_str(&text).unwrap();
        assert_eq!(config.faults(), vec![]);
        let of = match config.format {
            Format::Csv => crate::formats::record::Format::Csv,
            Format::Json | Format::Parquet => crate::formats::record::Format::Json,
        };
        let topic = crate::ingest::lines::declared(&config.columns, &config.key_columns, of, config.csv.lines());
        let lines = Lines::new("folder", "t", topic).unwrap();
        Folder::new("p", &config, &Arc::new(lines)).unwrap()
    }
}

/// `source:line id text` of every row, then the dead letters, and where it ended.
struct Read {
    rows: Vec<String>,
    dead: Vec<String>,
    places: Vec<Place>,
}

async fn begin(folder: &mut Folder, place: Option<Place>) -> Result<()> {
    folder.begin(&Kept { tables: vec![place], checkpoint: None }).await
}

/// From a place until nothing comes, so many records at once.
async fn read(folder: &mut Folder, place: Option<Place>, changes: usize) -> Result<Read> {
    begin(folder, place).await?;
    let mut all = Read { rows: vec![], dead: vec![], places: vec![] };
    loop {
        let taken = folder.read(Room { changes, bytes: 1 << 20, wait: Duration::from_millis(20) }).await?;
        if taken.records == 0 {
            return Ok(all);
        }
        for part in &taken.parts {
            let rows = &part.changed.rows;
            let (ids, texts) = (rows.column(0).as_primitive::<Int64Type>(), rows.column(1).as_string::<i32>());
            for row in 0..rows.num_rows() {
                let line: u64 = part.positions.value(row).parse().unwrap();
                let text = if arrow::array::Array::is_null(texts, row) { "∅" } else { texts.value(row) };
                all.rows.push(format!("{}:{line} {} {text}", part.sources.value(row), ids.value(row)));
            }
        }
        all.dead.extend(taken.dead.iter().map(|d| format!("{}:{} {} {}", d.source, d.offset, d.class, d.message)));
        all.places.push(taken.place.unwrap());
    }
}

const JSON: &str = "{\"id\": 1, \"text\": \"a\"}\n\n{\"id\": 2}\n{\"id\": 3, \"text\": \"c\"}";

#[tokio::test]
async fn each_file_is_read_once_and_another_content_is_another_file() {
    let dir = Dir::new();
    dir.put("a.json", JSON);
    dir.put("below/b.json", "{\"id\": 9}");
    dir.put(".hidden.json", "nonsense");
    dir.put("c.txt", "nonsense");
    let mut folder = dir.origin("json", "pattern = '*.json'");
    let mut all = read(&mut folder, None, 100).await.unwrap();
    all.rows.sort();
    assert_eq!(all.rows, ["a.json:1 1 a", "a.json:3 2 ∅", "a.json:4 3 c", "below/b.json:1 9 ∅"]);
    let place = all.places.pop();
    assert_eq!(folder.range(place.as_ref().unwrap()), "2 files");
    let again = read(&mut dir.origin("json", "pattern = '*.json'"), place.clone(), 100).await.unwrap();
    assert_eq!(again.rows, Vec::<String>::new(), "in another process");
    dir.put("a.json", "{\"id\": 11}");
    let again = read(&mut dir.origin("json", "pattern = '*.json'"), place, 100).await.unwrap();
    assert_eq!(again.rows, ["a.json:1 11 ∅"]);
}

#[tokio::test]
async fn a_file_is_gone_on_with_from_every_place_in_it() {
    let dir = Dir::new();
    dir.put("a.csv", "\u{feff}text,id\r\n\"x\ny\",1\r\n,2\n\n\"\",3\nz,4");
    let whole = read(&mut dir.origin("csv", ""), None, 100).await.unwrap();
    assert_eq!(whole.rows, ["a.csv:2 1 x\ny", "a.csv:4 2 ∅", "a.csv:6 3 ", "a.csv:7 4 z"]);
    let steps = read(&mut dir.origin("csv", ""), None, 1).await.unwrap();
    assert_eq!(steps.rows, whole.rows);
    for (at, place) in steps.places.iter().enumerate() {
        let rest = read(&mut dir.origin("csv", ""), Some(place.clone()), 100).await.unwrap();
        assert_eq!(rest.rows, whole.rows[(at + 1).min(4)..], "after {at}");
    }
}

#[tokio::test]
async fn parquet_goes_by_the_names_of_its_columns_and_is_gone_on_with_too() {
    let dir = Dir::new();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("other", Arc::new(Int32Array::from_iter_values(0..20_000))),
        ("id", Arc::new(Int32Array::from_iter_values(0..20_000))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(dir.0.path().join("a.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let whole = read(&mut dir.origin("parquet", ""), None, 3_000).await.unwrap();
    assert_eq!((whole.rows.len(), whole.rows[7].as_str()), (20_000, "a.parquet:8 7 ∅"));
    for place in &whole.places {
        let from = place.0.get(FILE).map_or(20_000, |file| file["at"].as_u64().unwrap() as usize);
        let rest = read(&mut dir.origin("parquet", ""), Some(place.clone()), 100_000).await.unwrap();
        assert_eq!(rest.rows, whole.rows[from..], "from {from}");
    }
    dir.put("broken.parquet", "PAR1 nonsense PAR1");
    let error = read(&mut dir.origin("parquet", ""), whole.places.last().cloned(), 100).await.err().unwrap();
    assert_eq!(error.message(), "file \"broken.parquet\": is not Parquet, or is broken");
}

#[tokio::test]
async fn a_bad_file_stops_before_any_of_it_is_taken_in() {
    let check = async |name: &str, text: &str, expected: &str| {
        let dir = Dir::new();
        dir.put(name, text);
        let format = name.rsplit('.').next().unwrap();
        let error = read(&mut dir.origin(format, ""), None, 1).await.err().unwrap_or_else(|| panic!("{text}"));
        assert_eq!((error.kind(), error.message()), (Kind::InvalidText, expected), "{text}");
    };
    check("a.json", "{\"id\": 1}\n{\"id\": 2}\nx", "file \"a.json\", line 3: the record is not valid JSON").await;
    check(
        "a.csv",
        "id,text\n1,a\nx,b",
        "file \"a.csv\", line 3: column \"id\" is not spelt as a value of the column's type",
    )
    .await;
    check(
        "a.csv",
        "id,secret\n1,a",
        "file \"a.csv\", line 1: the first line names a column in field 2 that is not declared",
    )
    .await;
    check("a.csv", "text\na", "file \"a.csv\", line 1: the first line does not name column \"id\"").await;
    check("a.csv", "id,id\n1,1", "file \"a.csv\", line 1: the first line names column \"id\" twice").await;
}

#[tokio::test]
async fn bad_records_may_be_set_aside_and_files_that_have_none_as_a_whole() {
    let dir = Dir::new();
    dir.put("a.csv", "id,text\n1,a\nx,b\n3,c,d\n4,e\n");
    dir.put("b.csv", "nonsense");
    let all = read(&mut dir.origin("csv", "bad_files = 'dead_letter'"), None, 2).await.unwrap();
    assert_eq!(all.rows, ["a.csv:2 1 a", "a.csv:5 4 e"]);
    let dead: Vec<_> = all.dead.iter().map(|d| d.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(dead, ["a.csv:3 misfit", "a.csv:4 malformed", "b.csv:1 malformed"], "{:?}", all.dead);
    let place = all.places.last().cloned();
    let again = read(&mut dir.origin("csv", "bad_files = 'dead_letter'"), place, 2).await.unwrap();
    assert_eq!((again.rows.len(), again.dead.len()), (0, 0), "each once");
}

/// As the end of a Parquet file writes them: zigzag, seven bits a byte, the second one longer than it need be.
const MANY: i64 = 1_234_567;
const MANY_WRITTEN: [u8; 4] = [0x8e, 0xda, 0x96, 0x01];
const FIVE_WRITTEN: [u8; 4] = [0x8a, 0x80, 0x80, 0x00];

/// A Parquet file of five rows whose end says something else of them.
fn put_lying(dir: &Dir, name: &str, rows: i64) {
    use parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter};
    let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(0..5));
    let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap();
    let mut bytes = vec![];
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let said = ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::from(bytes.clone())).unwrap();
    let file = said.file_metadata();
    let lying = FileMetaData::new(
        file.version(),
        rows,
        file.created_by().map(str::to_string),
        file.key_value_metadata().cloned(),
        file.schema_descr_ptr(),
        None,
    );
    let group = said.row_group(0).clone().into_builder().set_num_rows(rows).build().unwrap();
    let mut end = vec![];
    ParquetMetaDataWriter::new(&mut end, &ParquetMetaData::new(lying, vec![group])).finish().unwrap();
    if rows == MANY {
        // Of the two places that say so, the group's is true again.
        let at = end.windows(4).rposition(|bytes| bytes == MANY_WRITTEN).unwrap();
        end[at..at + 4].copy_from_slice(&FIVE_WRITTEN);
    }
    let length = u32::from_le_bytes(*bytes[bytes.len() - 8..].first_chunk().unwrap()) as usize;
    bytes.truncate(bytes.len() - 8 - length);
    bytes.extend(end);
    std::fs::write(dir.0.path().join(name), bytes).unwrap();
}

#[tokio::test]
async fn a_parquet_file_that_lies_about_its_rows_is_bad_and_is_not_read_for_ever() {
    for (rows, is_well) in [(5, true), (9, false), (-1, false), (MANY, false)] {
        for mode in ["stop", "dead_letter"] {
            let dir = Dir::new();
            put_lying(&dir, "a.parquet", rows);
            let mut folder = dir.origin("parquet", &format!("bad_files = '{mode}'"));
            let done = tokio::time::timeout(Duration::from_secs(60), read(&mut folder, None, 2)).await.expect("an end");
            let case = format!("{rows} {mode}");
            match (is_well, mode, done) {
                (true, _, Ok(all)) => assert_eq!((all.rows.len(), all.dead.len()), (5, 0), "{case}"),
                (false, "stop", Err(error)) => assert_eq!(error.kind(), Kind::InvalidText, "{case}"),
                // As a whole: none of its rows is taken in.
                (false, "dead_letter", Ok(all)) => assert_eq!((all.rows.len(), all.dead.len()), (0, 1), "{case}"),
                (_, _, done) => panic!("{case}: {:?}", done.map(|all| (all.rows, all.dead))),
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_on_stops_and_is_not_passed() {
    let dir = Dir::new();
    dir.put("a.json", &format!("{{\"id\": 1}}\n{}", "x".repeat(RECORD_BYTES_MAX + 100)));
    let mut folder = dir.origin("json", "bad_files = 'dead_letter'");
    begin(&mut folder, None).await.unwrap();
    let room = Room { changes: 1, bytes: 1 << 20, wait: Duration::from_millis(20) };
    let first = folder.read(room).await.unwrap();
    assert_eq!(first.records, 1);
    for _ in 0..2 {
        let error = folder.read(room).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidText);
        assert!(error.message().starts_with("file \"a.json\", line 2: a record is larger than"), "{error}");
        begin(&mut folder, first.place.clone()).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_brings_nothing_that_is_torn() {
    let room = Room { changes: 1, bytes: 1 << 20, wait: Duration::from_millis(20) };
    let lines = |text: &str| format!("{{\"id\": 1, \"text\": \"{text}\"}}\n").repeat(5_000);
    for (mode, now) in [("stop", lines("b")), ("dead_letter", lines("b")), ("dead_letter", "{\"id\": 9}\n".into())] {
        let dir = Dir::new();
        let path = dir.put("a.json", &lines("a"));
        let mut folder = dir.origin("json", &format!("bad_files = '{mode}'"));
        begin(&mut folder, None).await.unwrap();
        assert_eq!(folder.read(room).await.unwrap().records, 1);
        // In place: whoever has it open reads the new bytes from here on. A clock's tick later, which tells the two apart.
        let before = std::fs::metadata(&path).unwrap().modified().unwrap();
        while std::fs::metadata(&path).unwrap().modified().unwrap() == before {
            std::fs::write(&path, &now).unwrap();
        }
        let ended = tokio::time::timeout(Duration::from_secs(60), async {
            loop {
                match folder.read(room).await {
                    Ok(taken) => assert_eq!(taken.records, 0, "{mode}"),
                    Err(error) => break error,
                }
            }
        });
        let error = ended.await.expect("an end");
        assert_eq!((error.kind(), error.message().contains("up to line 2")), (Kind::DataGone, true), "{mode} {error}");
    }
}

#[tokio::test]
async fn a_folder_that_fills_and_is_emptied_for_long_forgets_and_goes_on() {
    let dir = Dir::new();
    let mut folder = dir.origin("json", "files_max = 2");
    let mut place = None;
    for i in 0..10 {
        let path = dir.put(&format!("{i}.json"), &format!("{{\"id\": {i}}}"));
        let all = read(&mut folder, place, 10).await.unwrap();
        assert_eq!(all.rows, [format!("{i}.json:1 {i} ∅")]);
        place = all.places.last().cloned();
        std::fs::remove_file(path).unwrap();
    }
    assert!(folder.seen.len() <= 5, "{}", folder.seen.len());
}

#[tokio::test]
async fn a_file_that_goes_or_changes_in_its_midst_asks_a_person() {
    let dir = Dir::new();
    let path = dir.put("a.json", JSON);
    let steps = read(&mut dir.origin("json", ""), None, 1).await.unwrap();
    let midst = steps.places[0].clone();
    std::fs::write(&path, format!("{JSON}\n{{\"id\": 4}}")).unwrap();
    let mut folder = dir.origin("json", "");
    let error = begin(&mut folder, Some(midst.clone())).await.unwrap_err();
    let expected = "file \"a.json\" was taken in up to line 2, and is gone or another one by now";
    assert_eq!((error.kind(), error.message()), (Kind::DataGone, expected));
    // Where a person goes on there, the rest of it is left out; what is there by now is another file.
    let place = folder.place(Wanted::At(&midst)).await.unwrap();
    let rest = read(&mut folder, Some(place), 100).await.unwrap();
    assert_eq!(rest.rows.len(), 4);
    let latest = folder.place(Wanted::Latest).await.unwrap();
    assert_eq!(read(&mut folder, Some(latest), 100).await.unwrap().rows.len(), 0);
    let earliest = folder.place(Wanted::Earliest).await.unwrap();
    assert_eq!(read(&mut folder, Some(earliest), 100).await.unwrap().rows.len(), 4);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_no_empty_one_and_one_too_full_is_told() {
    let dir = Dir::new();
    (0..3).for_each(|i| _ = dir.put(&format!("{i}.json"), "{\"id\": 1}"));
    let error = begin(&mut dir.origin("json", "files_max = 2"), None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);
    let mut folder = dir.origin("json", "");
    drop(dir);
    assert_eq!(begin(&mut folder, None).await.unwrap_err().kind(), Kind::SourceUnreachable);
}

#[test]
fn patterns_fit_names() {
    for (pattern, name, expected) in [
        ("*", "a/b.csv", true),
        ("*.csv", "a/b.csv", true),
        ("*.csv", "b.csv.tmp", false),
        ("orders-*-*.csv", "orders-1-2.csv", true),
        ("orders-*-*.csv", "orders-1.csv", false),
        ("a.csv", "a.csv", true),
        ("a.csv", "aa.csv", false),
        ("a*a", "a", false),
        ("a*a", "aa", true),
    ] {
        assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn settings_that_no_pipeline_could_run_with() {
    let faults = |text: &str| -> Vec<&str> {
        let config: Config = toml::from_str(&format!("table = 't'\ncolumns = []\n{text}")).unwrap();
        config.faults().into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(faults("path = 's3://b/x'\nformat = 'csv'"), Vec::<&str>::new());
    assert_eq!(faults("path = 'x'\nformat = 'json'\npattern = ''\nlook_ms = 0"), ["path", "pattern", "look_ms"]);
    assert_eq!(faults("path = '/x'\nformat = 'json'\nfiles_max = 0\n[csv]\nheader = false"), ["csv", "files_max"]);
    assert_eq!(faults("path = '/x'\nformat = 'csv'\n[csv]\nquote = ','\n[s3]"), ["s3", "csv"]);
}
