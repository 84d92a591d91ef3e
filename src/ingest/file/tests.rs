//! Pipeline files with every kind of mistake: what is said of each, and where.

use super::*;

const KAFKA: &str = "brokers = 'b:1'\nschema = 'stream'\n[topics.orders]\ntopic = 'orders-v1'\ncolumns = [{ name = 'id', type = 'int8' }]\n\
                     [topics.keyed]\nkey_columns = ['id']\ncolumns = [{ name = 'id', type = 'int8' }]\n\
                     [topics.odd]\ncolumns = [{ name = '_op', type = 'text' }]";

/// Files below a temporary catalog with a topic source `stream`, a fixture `memory` and so many lakes.
fn read_with(lakes: &[&str], files: &[(&str, &str)]) -> Result<Vec<Spec>, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("pipelines");
    fs::create_dir(&root).unwrap();
    for (name, text) in files {
        fs::write(root.join(name), text).unwrap();
    }
    let kafka = sources::Config::Kafka(toml::from_str(KAFKA).unwrap());
    let memory = sources::Config::Memory(toml::from_str("").unwrap());
    let lake = "warehouse = '/w'\nschemas = { raw = 'bronze' }";
    let lake = sources::Config::Iceberg(toml::from_str(lake).unwrap());
    let mut known =
        vec![Known { name: "stream", config: &kafka, hash: 1 }, Known { name: "fixtures", config: &memory, hash: 2 }];
    known.extend(lakes.iter().map(|name| Known { name, config: &lake, hash: 3 }));
    let prefix = format!("{}/", folder.path().display());
    read(folder.path(), &known).map_err(|faults| faults.iter().map(|f| f.to_string().replace(&prefix, "")).collect())
}

const GOOD: &str = "origin = 'stream'\nmode = 'cdc'\nwrite = 'append'\ntopics = ['orders']\ntarget = 'bronze'\n";

#[test]
fn each_fault_is_told_at_its_place() {
    let check = |text: &str, expect: &[&str]| {
        let faults = read_with(&["lake"], &[("p.toml", text)]).err().unwrap_or_default();
        let expect: Vec<String> = expect.iter().map(|e| format!("pipelines/p.toml:{e}")).collect();
        assert_eq!(faults, expect, "{text}");
    };
    check(GOOD, &[]);
    check(&format!("{GOOD}[commit]\nage_ms = 1\n[dead_letter]\nrows_max = 0\npercent_max = 0"), &[]);
    check(
        &GOOD.replace("origin", "orign"),
        &["1:1: unknown key `orign`; did you mean `origin`?", "1:1: the key `origin` is missing"],
    );
    check(&GOOD.replace("'append'", "'apend'"), &["3:9: `write`: unknown value `apend`; did you mean `append`?"]);
    let keyless = "3:1: topic `orders`: `key_columns` in the file of source `stream` must say by which columns rows are told apart";
    check(&GOOD.replace("'append'", "'upsert'"), &[keyless]);
    check(&GOOD.replace("'append'", "'upsert'").replace("'orders'", "'keyed'"), &[]);
    check(&GOOD.replace("'cdc'", "'cdd'"), &["2:8: `mode`: unknown value `cdd`; did you mean `cdc`?"]);
    check(&format!("{GOOD}[commit]\nage_m = 1"), &["7:1: unknown key `age_m` in [commit]; did you mean `age_ms`?"]);
    check(
        &format!("{GOOD}[commit]\nage_ms = 0\nrows_max = 0"),
        &["7:1: `age_ms` in [commit] must be above 0", "8:1: `rows_max` in [commit] must be above 0"],
    );
    check(
        &format!("{GOOD}[dead_letter]\npercent_max = 101.0"),
        &["7:1: `percent_max` in [dead_letter] is from 0 to 100"],
    );
    check(&GOOD.replace("'stream'", "'strem'"), &["1:1: there is no source `strem`; did you mean `stream`?"]);
    let other = "1:1: source `fixtures` is not of kind `kafka` or `postgres`, which pipelines read";
    check(&GOOD.replace("'stream'", "'fixtures'"), &[other]);
    check(
        &GOOD.replace("'orders'", "'order'"),
        &["4:1: source `stream` declares no topic `order`; did you mean `orders`?"],
    );
    check(&GOOD.replace("['orders']", "[]"), &["4:1: `topics` names no topic"]);
    check(&GOOD.replace("'orders'", "'odd'"), &["4:1: topic `odd`: column \"_op\" is every topic's own"]);
    check(
        &GOOD.replace("'orders'", "'orders', 'orders'"),
        &["4:1: bronze.orders is filled by pipeline `p` already (pipelines/p.toml)"],
    );
    check(&GOOD.replace("'bronze'", "'Bronze'"), &["5:1: `Bronze` cannot name a schema"]);
    let taken = "5:1: `stream` is a schema of source `stream`; name one of the lake, or a new one";
    check(&GOOD.replace("'bronze'", "'stream'"), &[taken]);
    check(&format!("{GOOD}lake = 'lak'"), &["6:1: there is no lake `lak`; did you mean `lake`?"]);
}

#[test]
fn each_fault_of_the_folder_is_told() {
    let check = |lakes: &[&str], files: &[(&str, &str)], expect: &[&str]| {
        let faults = read_with(lakes, files).err().unwrap_or_default();
        assert_eq!(faults, expect, "{files:?}");
    };
    check(
        &["lake"],
        &[("p.tml", GOOD)],
        &["pipelines/p.tml:1:1: is not a pipeline; pipelines are files `<name>.toml`"],
    );
    let name = "pipelines/my p.toml:1:1: `my p` cannot name a pipeline: names are lower-case letters, digits and `_`";
    check(&["lake"], &[("my p.toml", GOOD)], &[name]);
    check(&["lake"], &[("p.toml.example", "nonsense"), (".p.toml.swp", "nonsense")], &[]);
    let none = "pipelines/p.toml:5:1: there is no source of kind `iceberg` to write to";
    check(&[], &[("p.toml", GOOD)], &[none]);
    let which = "pipelines/p.toml:5:1: `lake` must say which of one, two is written to";
    check(&["one", "two"], &[("p.toml", GOOD)], &[which]);
    let twice = "pipelines/q.toml:4:1: bronze.orders is filled by pipeline `p` already (pipelines/p.toml)";
    check(&["lake"], &[("p.toml", GOOD), ("q.toml", GOOD)], &[twice]);
    // Two names of one lake make no second table.
    let (one, two) = (format!("{GOOD}lake = 'one'"), format!("{GOOD}lake = 'two'"));
    check(&["one", "two"], &[("p.toml", &one), ("q.toml", &two)], &[twice]);
    assert!(read(Path::new("/nowhere"), &[]).unwrap().is_empty(), "a catalog without pipelines");
}

#[test]
fn a_spec_holds_names_and_a_hash_that_moves_with_what_it_leans_on() {
    let one = |text: &str| read_with(&["lake"], &[("p.toml", text)]).unwrap().remove(0);
    let spec = one(GOOD);
    let Feed::Topic { layout, .. } = &spec.feed else { panic!("a topic") };
    assert_eq!((spec.pipeline.as_str(), layout.topic()), ("p", "orders-v1"));
    assert_eq!((spec.namespace.as_str(), spec.table.to_string()), ("raw", "bronze.orders".to_string()));
    assert_eq!(one(GOOD).hash, spec.hash);
    assert_ne!(one(&format!("{GOOD}[commit]\nage_ms = 1")).hash, spec.hash);
}

const HTTP: &str = "origin = 'http'\nwrite = 'append'\ntarget = 'bronze'\n[http]\ntable = 'posts'\n\
                    columns = [{ name = 'id', type = 'int8' }]\n";
const FOLDER: &str = "origin = 'folder'\nwrite = 'append'\ntarget = 'bronze'\n[folder]\npath = '/in'\nformat = 'csv'\n\
                      table = 'files'\ncolumns = [{ name = 'id', type = 'int8' }]\n";

/// Faults of one file beside a lake.
fn faults(text: &str) -> Vec<String> {
    let faults = read_with(&["lake"], &[("p.toml", text)]).err().unwrap_or_default();
    faults.into_iter().map(|fault| fault.trim_start_matches("pipelines/p.toml:").to_string()).collect()
}

#[test]
fn what_contradicts_how_rows_are_written_is_told() {
    let check = |text: &str, expect: &[&str]| assert_eq!(faults(text), expect, "{text}");
    let delete = "6:1: `delete` says what becomes of current rows; with `write = \"append\"` a deletion is a row like any change";
    check(&format!("{GOOD}delete = 'mark'"), &[delete]);
    check(&format!("{GOOD}delete = 'remove'"), &[delete]);
    let keyed = GOOD.replace("'append'", "'upsert'").replace("'orders'", "'keyed'");
    check(&format!("{keyed}delete = 'mark'"), &[]);
    let replication = "6:2: [replication] is of a database's log, and source `stream` has topics";
    check(&format!("{GOOD}[replication]\ncopy = true"), &[replication]);
    check(&GOOD.replace("mode = 'cdc'\n", ""), &["1:1: the key `mode` is missing"]);
    let http = "6:2: [http] is of `origin = \"http\"`, not of source `stream`";
    check(&format!("{GOOD}[http]\ntable = 'a'\ncolumns = []"), &[http]);
    let folder = "6:2: [folder] is of `origin = \"folder\"`, not of source `stream`";
    check(&format!("{GOOD}[folder]\npath = '/a'\nformat = 'csv'\ntable = 'a'\ncolumns = []"), &[folder]);
}

#[test]
fn rows_that_are_sent_and_files_of_a_folder_declare_their_own_table() {
    let check = |text: &str, expect: &[&str]| assert_eq!(faults(text), expect, "{text}");
    check(HTTP, &[]);
    check(FOLDER, &[]);
    for (text, own, section) in [(HTTP, "http", "http"), (FOLDER, "folder", "folder")] {
        let mode = format!("4:1: `mode` says how a source is read; to `origin = \"{own}\"` it says nothing");
        check(&text.replacen("\n[", "\nmode = 'cdc'\n[", 1), &[&mode]);
        let topics = format!("4:1: `topics` says nothing to `origin = \"{own}\"`");
        check(&text.replacen("\n[", "\ntopics = ['orders']\n[", 1), &[&topics]);
        let keyless = format!("2:1: `key_columns` in [{section}] must say by which columns rows are told apart");
        check(&text.replace("'append'", "'upsert'"), &[&keyless]);
        let keyed = format!("{}key_columns = ['id']\n", text.replace("'append'", "'upsert'"));
        check(&keyed, &[]);
        let delete = format!("4:1: `delete` says nothing to `origin = \"{own}\"`");
        check(&keyed.replacen("\n[", "\ndelete = 'mark'\n[", 1), &[&delete]);
    }
    check(&HTTP.replace("'posts'", "'my posts'"), &["5:1: `my posts` cannot name a table"]);
    check(&HTTP.replace("'posts'", "'__dlq'"), &["5:1: bronze.__dlq holds the schema's dead letters"]);
    check(&HTTP.replace("'id'", "'_op'"), &["6:1: column \"_op\" is every topic's own"]);
    check(&HTTP.replace("'int8'", "'int9'"), &["6:1: column \"id\" has type \"int9\", which records are not read as"]);
    check(&format!("{HTTP}keys_max = 0"), &["7:1: `keys_max` in [http] is from 1 to 10000"]);
    let aside = "7:2: [dead_letter] is of lines that are set aside; say `bad_lines = \"dead_letter\"` in [http]";
    check(&format!("{HTTP}[dead_letter]\nrows_max = 1"), &[aside]);
    let needs = "1:1: `origin = \"http\"` needs [http], which says the table and its columns";
    check(HTTP.split("[http]").next().unwrap(), &[needs]);
    check(&FOLDER.replace("'/in'", "'in'"), &["5:1: `path` in [folder] is an absolute path, or s3://bucket/prefix"]);
    let other = format!("{HTTP}[folder]\npath = '/a'\nformat = 'csv'\ntable = 'a'\ncolumns = []");
    check(&other, &["7:2: [folder] is of `origin = \"folder\"`, not of `origin = \"http\"`"]);
    let specs = read_with(&["lake"], &[("p.toml", HTTP), ("q.toml", FOLDER)]).unwrap();
    let ages: Vec<_> = specs.iter().map(|spec| (spec.table.to_string(), spec.commit.age_ms)).collect();
    assert_eq!(ages, [("bronze.posts".into(), 200), ("bronze.files".into(), 10_000)], "who sends rows waits for them");
    let named = read_with(&["lake"], &[("p.toml", &format!("{HTTP}[commit]\nage_ms = 7"))]).unwrap();
    assert_eq!(named[0].commit.age_ms, 7);
    let twice = read_with(&["lake"], &[("p.toml", HTTP), ("q.toml", HTTP)]).unwrap_err();
    assert_eq!(twice, ["pipelines/q.toml:5:1: bronze.posts is filled by pipeline `p` already (pipelines/p.toml)"]);
}

const TABLE: &str = "origin = 'table'\nmode = 'incremental'\nwrite = 'upsert'\ntarget = 'bronze'\n[table]\n\
                     name = 'crm.customers'\ncursor = 'updated_at'\nevery = '10 min'\n";

#[test]
fn what_is_said_of_a_table_that_is_read_at_times_is_judged() {
    let check = |text: &str, expect: &[&str]| assert_eq!(faults(text), expect, "{text}");
    let whole = TABLE.replace("incremental", "full_refresh").replace("upsert", "replace").replace("cursor", "# ");
    check(TABLE, &[]);
    check(&whole, &[]);
    check(&format!("{TABLE}key_columns = ['id']\nnull_cursors = 'leave_out'\nto = 'copy'"), &[]);
    check(&TABLE.replace("'10 min'", "'manual'"), &[]);
    let period = "8:1: `10 mins` is no period; say for example `10 min`, `1 h` or `manual`";
    check(&TABLE.replace("10 min", "10 mins"), &[period]);
    check(&TABLE.replace("every = '10 min'\n", ""), &["5:1: [table] needs the key `every`"]);
    let cdc = "2:1: `origin = \"table\"` is read at times: `mode` is \"full_refresh\" or \"incremental\"";
    check(&TABLE.replace("incremental", "cdc"), &[cdc]);
    check(&TABLE.replace("mode = 'incremental'\n", ""), &["1:1: the key `mode` is missing"]);
    let source = "2:1: tables are read at times by `origin = \"table\"`, which names them in [table]; to a source `mode` is \"cdc\"";
    check(&GOOD.replace("'cdc'", "'incremental'"), &[source]);
    let both = "`write = \"replace\"` and `mode = \"full_refresh\"` go with each other: all rows are replaced";
    check(&TABLE.replace("upsert", "replace"), &[&format!("3:1: {both}")]);
    check(&whole.replace("replace", "append"), &[&format!("2:1: {both}")]);
    check(
        &TABLE.replace("cursor", "# "),
        &["5:2: `mode = \"incremental\"` needs `cursor` in [table]: a column that only grows"],
    );
    check(&format!("{whole}cursor = 'a'"), &["9:1: `cursor` says nothing to `mode = \"full_refresh\"`"]);
    check(&format!("{whole}null_cursors = 'leave_out'"), &["9:1: `null_cursors` is of a `cursor`"]);
    let key = "9:1: `key_columns` in [table] is of `write = \"upsert\"`: nothing else tells rows apart";
    check(&format!("{}key_columns = ['id']", TABLE.replace("upsert", "append")), &[key]);
    check(&TABLE.replace("crm.customers", "customers"), &["6:1: `customers` is no table; write `schema.table`"]);
    check(&TABLE.replace("crm.customers", "bronze.customers"), &["6:1: bronze.customers would be filled from itself"]);
    let odd = "6:1: `Odd` cannot name a table of the lake; say in `to` what it is called there";
    check(&TABLE.replace("crm.customers", "crm.Odd"), &[odd]);
    let dead = "9:2: [dead_letter] is of records that are no rows; a table has none";
    check(&format!("{TABLE}[dead_letter]\nrows_max = 1"), &[dead]);
    let none = "1:1: `origin = \"table\"` needs [table], which says which one it is and how often it is read";
    check(TABLE.split("[table]").next().unwrap(), &[none]);
    let spec = read_with(&["lake"], &[("p.toml", TABLE)]).unwrap().remove(0);
    let Feed::Table(pull) = &spec.feed else { panic!("a table") };
    assert_eq!((pull.table.to_string(), pull.at, pull.replaces), ("crm.customers".to_string(), (6, 1), true));
}
