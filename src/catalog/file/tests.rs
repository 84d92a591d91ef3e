//! Catalog files with every kind of mistake: what is said of each, and where. Nothing is connected.

use std::fs;

use super::*;

/// Writes files below a temporary catalog and reads it; paths in faults are shortened to the catalog's own.
fn read(files: &[(&str, &[u8])]) -> Result<Draft, Vec<String>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("catalog");
    fs::create_dir(&root).expect("catalog/");
    for (path, bytes) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("below catalog/")).expect("its folder");
        fs::write(path, bytes).expect("the file");
    }
    let prefix = format!("{}/", folder.path().display());
    Draft::read(&root).map_err(|faults| faults.iter().map(|f| f.to_string().replace(&prefix, "")).collect())
}

const TABLE: &str = "[[table]]\nname = \"a.b\"\ncolumns = [{ name = \"id\", type = \"int8\" }]\n";

fn source(text: &str) -> Vec<String> {
    read(&[("sources/fixtures.toml", text.as_bytes())]).err().unwrap_or_default()
}

#[test]
fn each_fault_of_a_source_file_is_told_at_its_place() {
    let here = "catalog/sources/fixtures.toml";
    let rows: &[(&str, &[&str])] = &[
        ("", &["1:1: the key `kind` is missing; it is one of "]),
        ("kind = \"memroy\"", &["1:8: `memroy` is not a kind of source; did you mean `memory`?; the kinds are "]),
        (
            "kind = \"oracle_database_server\"",
            &["1:8: `oracle_database_server` is not a kind of source; the kinds are "],
        ),
        ("kind = 7", &["1:8: `kind` is a text, one of "]),
        ("kind = \"memory\"\nkind = \"memory\"", &["2:1: duplicate key"]),
        (
            "kind = \"memory\"\ntabel = []",
            &["2:1: unknown key `tabel`; did you mean `table`?; expected one of `table`"],
        ),
        ("kind = \"memory\"\n[[table]]\nname = \"a.b\"", &["2:1: missing field `columns`"]),
        ("kind = \"memory\"\ntable = 1", &["2:9: invalid type: integer, expected a sequence"]),
        ("kind = \"memory\"\n[[table]]\nname = 3\ncolumns = []", &["3:8: invalid type: integer, expected a string"]),
        (
            "kind = \"memory\"\n[[table]]\nname = \"a.b\"\ncolumns = [{ nam = \"id\", type = \"int8\" }]",
            &[
                "4:14: unknown key `nam`; did you mean `name`?; expected one of `name`, `type`",
                "4:12: missing field `name`",
            ],
        ),
        (
            "kind = \"memory\"\nfirst = 1\n\n  second = 2\n[third]\nx = 1",
            &["2:1: unknown key `first`", "4:3: unknown key `second`", "5:2: unknown key `third`"],
        ),
        (
            "kind = \"postgres\"\nhost = \"h\"\ndatabase = \"d\"\nuser = \"u\"\ndialect = \"cockroach\"",
            &["5:11: unknown word `cockroach`; did you mean `cockroachdb`?; expected one of `postgres`, `timescale`"],
        ),
        ("kind = \"memory\"\nx =", &["2:4: string values must be quoted"]),
        ("kind = \"memory", &["1:"]),
        ("kind = \"memory\"\nx = 1 2\ny = [1", &["2:5: ", "3:7: "]),
    ];
    for (text, expect) in rows {
        let faults = source(text);
        assert_eq!(faults.len(), expect.len(), "{text:?} gave {faults:#?}");
        for (fault, expect) in faults.iter().zip(*expect) {
            assert!(fault.starts_with(&format!("{here}:{expect}")), "{text:?}: {fault} is not {expect}");
        }
    }
    assert_eq!(source(&format!("kind = \"memory\"\n{TABLE}")), [""; 0]);
    assert_eq!(source(&format!("\u{feff}kind = \"memory\"\r\n{TABLE}")), [""; 0]);
}

#[test]
fn each_fault_of_a_dataset_and_of_the_folder_is_told() {
    let query = b"-- owner: admin\nselect 1" as &[u8];
    let rows: &[(&str, &[u8], &str)] = &[
        (
            "datasets/a.b.sql",
            b"select 1",
            "catalog/datasets/a.b.sql:1:1: the first line of a dataset is `-- owner: NAME`",
        ),
        ("datasets/a.b.sql", b"", "catalog/datasets/a.b.sql:1:1: the first line of a dataset is `-- owner: NAME`"),
        ("datasets/a.b.sql", b"-- owner:\nselect 1", "catalog/datasets/a.b.sql:1:11: `` cannot be an owner: names are"),
        ("datasets/a.b.sql", b"-- owner: A B\nselect 1", "catalog/datasets/a.b.sql:1:11: `A B` cannot be an owner"),
        ("datasets/a.b.sql", b"-- owner: admin\n-- nothing\n;", "catalog/datasets/a.b.sql:2:1: a query is expected"),
        ("datasets/a.b.sql", b"-- owner: admin\nselect '\xff'", "catalog/datasets/a.b.sql:2:9: is not UTF-8 here"),
        (
            "datasets/a.b.sql",
            b"-- owner: admin\n--  max_staleness:  5 mins\nselect 1",
            "catalog/datasets/a.b.sql:2:21: `5 mins` is no age; say for example",
        ),
        (
            "datasets/a.b.sql",
            b"-- owner: admin\n-- what it is\n-- max_stalenes: 5 min\nselect 1",
            "catalog/datasets/a.b.sql:3:4: `max_stalenes` is not a key of a dataset; did you mean `max_staleness`?",
        ),
        (
            "datasets/a.b.sql",
            b"-- owner: admin\n-- max_staleness: 5 min\n-- max_staleness: 1 s\nselect 1",
            "catalog/datasets/a.b.sql:3:4: `max_staleness` stands here twice",
        ),
        ("datasets/b.sql", query, "catalog/datasets/b.sql:1:1: `b` names no schema"),
        ("datasets/a.b.c.sql", query, "catalog/datasets/a.b.c.sql:1:1: `b.c` cannot name a schema or a dataset"),
        ("datasets/A.b.sql", query, "catalog/datasets/A.b.sql:1:1: `A` cannot name a schema or a dataset"),
        (
            "datasets/pg_catalog.x.sql",
            query,
            "catalog/datasets/pg_catalog.x.sql:1:1: the schema name `pg_catalog` is reserved",
        ),
        ("datasets/pg_temp.x.sql", query, "catalog/datasets/pg_temp.x.sql:1:1: the schema name `pg_temp` is reserved"),
        ("datasets/information_schema.x.sql", query, "catalog/datasets/information_schema.x.sql:1:1: the schema name"),
        (
            "datasets/lakegate.x.sql",
            query,
            "catalog/datasets/lakegate.x.sql:1:1: the schema name `lakegate` is reserved",
        ),
        ("datasets/a.b.txt", query, "catalog/datasets/a.b.txt:1:1: is not a dataset; datasets are files"),
        ("datasets/more/a.b.sql", query, "catalog/datasets/more:1:1: is a folder; files are expected here"),
        ("sources/crm.tml", b"", "catalog/sources/crm.tml:1:1: is not a source; sources are files `<name>.toml`"),
        ("sources/my crm.toml", b"", "catalog/sources/my crm.toml:1:1: `my crm` cannot name a source"),
        ("dataset/a.b.sql", query, "catalog/dataset:1:1: is not expected here"),
        ("readme.md", b"", "catalog/readme.md:1:1: is not expected here"),
    ];
    for (path, bytes, expect) in rows {
        let faults = read(&[(path, bytes)]).expect_err(path);
        assert!(faults.len() == 1 && faults[0].starts_with(expect), "{path}: {faults:#?} is not {expect}");
    }
    let large = vec![b' '; 2 << 20];
    let faults = read(&[("datasets/a.b.sql", &large)]).expect_err("too large");
    assert_eq!(faults, ["catalog/datasets/a.b.sql:1:1: is larger than 1048576 bytes"]);
    let missing = Draft::read(Path::new("/nowhere/catalog")).expect_err("no folder");
    assert!(missing[0].to_string().starts_with("/nowhere/catalog:1:1: cannot be read"), "{missing:?}");
}

#[test]
fn all_faults_of_all_files_come_at_once() {
    let faults = read(&[
        ("sources/one.toml", b"kind = 1"),
        ("sources/two.toml", b"kind = \"memory\"\na = 1\nb = 2"),
        ("datasets/x.y.sql", b"select 1"),
        ("odd", b""),
    ]);
    assert_eq!(faults.expect_err("faults").len(), 5);
}

#[test]
fn a_dataset_says_how_far_behind_it_may_be_above_its_query() {
    for (text, ms) in [
        ("-- owner: admin\n-- max_staleness: 5 min\nselect 1", Some(300_000)),
        ("-- owner: admin\r\n--max_staleness:0 s\r\nselect 1", Some(0)),
        ("-- owner: admin\n-- What follows: words.\n\n-- max_staleness: 2 s\nselect 1", Some(2_000)),
        ("-- owner: admin\nselect 1 -- or 2\n-- max_staleness: nothing here\n", None),
    ] {
        let draft =
            read(&[("datasets/a.b.sql", text.as_bytes())]).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
        assert_eq!(draft.datasets[0].max_staleness_ms, ms, "{text}");
    }
}

#[test]
fn a_draft_holds_names_owners_and_hashes_that_move_with_the_bytes() {
    let files = |sql: &'static str| {
        let fixtures = format!("kind = \"memory\"\n{TABLE}");
        let files: [(&str, &[u8]); 5] = [
            ("sources/fixtures.toml", fixtures.as_bytes()),
            ("sources/kafka.toml.example", b"anything"),
            ("sources/.fixtures.toml.swp", b"anything"),
            ("pipelines/x.toml", b"anything"),
            ("datasets/reports.sums.sql", sql.as_bytes()),
        ];
        read(&files).expect("a sound catalog")
    };
    let one = files("-- owner: admin\nselect 1 as n;\n");
    let two = files("-- owner: admin\nselect 2 as n;\n");
    let dataset = &one.datasets[0];
    assert_eq!((dataset.name.to_string(), dataset.owner.as_str()), ("reports.sums".into(), "admin"));
    assert_eq!(dataset.max_staleness_ms, None);
    assert_eq!(dataset.sql, "-- owner: admin\nselect 1 as n");
    assert_eq!((one.sources[0].name.as_str(), one.sources.len()), ("fixtures", 1));
    assert_eq!(one.sources[0].hash, two.sources[0].hash);
    assert_ne!(one.hash, two.hash);
}

#[test]
fn each_fault_of_a_reflection_is_told_at_its_place() {
    let here = "catalog/reflections/r.sql";
    let sound = "-- owner: admin\nCREATE REFLECTION r ON s.t USING DISPLAY (a);\n";
    let draft = read(&[("reflections/r.sql", sound.as_bytes())]).unwrap();
    assert_eq!((draft.reflections.len(), draft.reflections[0].owner.as_str()), (1, "admin"));
    for (text, fault) in [
        ("CREATE REFLECTION r ON s.t USING DISPLAY (a)", "1:1: the first line of a reflection is `-- owner: NAME`"),
        ("-- owner: X\nCREATE REFLECTION r ON s.t USING DISPLAY (a)", "1:11: `X` cannot be an owner: "),
        ("-- owner: admin\n", "1:1: a reflection is exactly one statement, CREATE REFLECTION"),
        ("-- owner: admin\nSELECT 1", "1:1: a reflection is exactly one statement, CREATE REFLECTION"),
        ("-- owner: admin\nCREATE REFLECTION r ON s.t\n  USING DISPLY (a)", "3:9: syntax error at or near \"DISPLY\""),
        (
            "-- owner: admin\nCREATE REFLECTION q ON s.t USING DISPLAY (a)",
            "1:1: the file is of `r`, and what stands in it of `q`",
        ),
        (
            "-- owner: admin\nCREATE REFLECTION \"R r\" ON s.t USING DISPLAY (a)",
            "1:1: \"R r\" cannot name a reflection: ",
        ),
        (
            "-- owner: admin\nCREATE REFLECTION r ON s.t USING DISPLAY (a); DROP REFLECTION r",
            "1:1: a reflection is exactly one statement, CREATE REFLECTION",
        ),
    ] {
        let faults = read(&[("reflections/r.sql", text.as_bytes())]).unwrap_err();
        assert_eq!(faults.len(), 1, "{text:?} gave {faults:#?}");
        assert!(faults[0].starts_with(&format!("{here}:{fault}")), "{text:?}: {} is not {fault}", faults[0]);
    }
    let faults = read(&[("reflections/a.b.sql", sound.as_bytes()), ("reflections/r.txt", b"")]).unwrap_err();
    assert!(
        faults[0].contains("`a.b` cannot name a reflection") && faults[1].contains("is not a reflection"),
        "{faults:?}"
    );
}
