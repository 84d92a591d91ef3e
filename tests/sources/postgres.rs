//! What a healthy PostgreSQL gives: every type as it spells it, pushed equal to unpushed, only what is mounted.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use lakegate::formats::postgres::{Style, texts};
use lakegate::sources::Source;
use lakegate::sources::postgres::{Config, Postgres};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::SimpleQueryMessage;

use super::{context, query, rows, table, told};
use crate::postgres_server::Server;

/// `public` as `crm`, over the socket, with more settings.
pub(super) fn source(server: &Server, more: &str) -> Postgres {
    let text = format!(
        "host = \"{}\"\nport = {}\ndatabase = \"postgres\"\nuser = \"postgres\"\n{more}\n[schemas]\npublic = \"crm\"\n",
        server.socket(),
        server.port
    );
    let config: Config = toml::from_str(&text).expect("a good configuration");
    Postgres::new("crm_db", config).expect("a good configuration")
}

/// All of `t`, column by column as our encoder spells it.
async fn spelt(context: &SessionContext, sql: &str) -> Vec<Vec<Option<String>>> {
    let batches = query(context, sql).await.unwrap_or_else(|e| panic!("{e:?}"));
    let batch = concat_batches(&batches[0].schema(), &batches).unwrap();
    let style = Style::of(chrono_tz::UTC);
    let spell = |(field, column): (&Arc<Field>, _)| {
        let texts = texts(field, column, &style).unwrap_or_else(|e| panic!("{}: {e:?}", field.name()));
        texts.iter().map(|v| v.map(str::to_string)).collect()
    };
    batch.schema().fields().iter().zip(batch.columns()).map(spell).collect()
}

/// Type and values; each read back must be spelt as the server spells it.
const TYPES: &[(&str, &[&str])] = &[
    ("bool", &["true", "false"]),
    ("int2", &["-32768", "32767"]),
    ("int4", &["-2147483648", "2147483647"]),
    ("int8", &["-9223372036854775808", "9223372036854775807"]),
    ("float4", &["'NaN'", "'-Infinity'", "1e20", "0.1", "-0.0", "1.1754944e-38"]),
    ("float8", &["'NaN'", "'Infinity'", "1e20", "0.1", "-0.0", "5e-324", "123456789012345.6"]),
    ("numeric(12,2)", &["9999999999.99", "-0.01", "0", "100000000"]),
    ("numeric(38,10)", &["9999999999999999999999999999.9999999999", "0.0000000001"]),
    ("numeric(5,0)", &["99999", "-1"]),
    ("numeric(60,3)", &["-123456789012345678901234567890123456789012345678901234567.125"]),
    ("numeric", &["1.5", "-0.0000000001", "9999999999999999999999999999", "0"]),
    ("text", &["''", "'é漢😀'", "E'a\\\\b\\n''\"'"]),
    ("varchar(10)", &["'abc'", "''"]),
    ("char(5)", &["'ab'", "''"]),
    ("name", &["'a name'"]),
    ("\"char\"", &["'x'"]),
    ("bytea", &["'\\x00ff'", "''"]),
    ("date", &["'0001-01-01'", "'2024-02-29'", "'infinity'", "'-infinity'", "'5874897-12-31'", "'0044-03-15 BC'"]),
    ("time", &["'00:00:00'", "'23:59:59.999999'", "'24:00:00'"]),
    ("timetz", &["'12:00:00+05:30'"]),
    (
        "timestamp",
        &[
            "'2024-01-01 00:00:00.000001'",
            "'infinity'",
            "'-infinity'",
            "'0001-01-01'",
            "'294246-12-31 23:59:59.999999'",
        ],
    ),
    ("timestamptz", &["'2024-01-01 00:00:00+02'", "'infinity'", "'1969-12-31 23:59:59.999999+00'"]),
    ("interval", &["'1 year 2 mons 3 days 04:05:06.789'", "'-1 days +02:03:00'", "'0'"]),
    ("uuid", &["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"]),
    ("json", &["'{\"b\": 1,  \"a\":[1.0]}'"]),
    ("jsonb", &["'{\"b\": 1,  \"a\":[1.0]}'"]),
    ("oid", &["0", "4294967295"]),
    ("inet", &["'192.168.0.1/24'", "'::1'"]),
    ("money", &["12.34"]),
    ("int4range", &["'[1,5)'"]),
    ("xml", &["'<a/>'"]),
    ("bit(3)", &["B'101'"]),
    ("int4[]", &["'{}'", "'{1,NULL,3}'"]),
    ("text[]", &["'{a,\"b c\",NULL,\"NULL\",\"\"}'"]),
    ("timestamptz[]", &["'{2024-01-01 00:00:00+00}'"]),
    ("numeric(8,3)[]", &["'{1.250,-3.000}'"]),
    ("uuid[]", &["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"]),
    ("mood", &["'sad'", "'happy'"]),
    ("positive", &["7"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_read_as_the_server_spells_it() {
    let server = Server::start().await;
    server.run("CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE DOMAIN positive AS int4 CHECK (value > 0)").await;
    let columns: Vec<String> = TYPES.iter().enumerate().map(|(i, (t, _))| format!("c{i} {t}")).collect();
    server.run(&format!("CREATE TABLE everything (row int4 NOT NULL, {})", columns.join(", "))).await;
    // Row 0 is all NULL; then the values of each type, one row each, the other columns NULL.
    let mut expect = 1;
    server.run("INSERT INTO everything VALUES (0)").await;
    for (i, (t, values)) in TYPES.iter().enumerate() {
        for value in *values {
            server.run(&format!("INSERT INTO everything (row, c{i}) VALUES ({expect}, ({value})::{t})")).await;
            expect += 1;
        }
    }
    let client = server.client().await;
    client.batch_execute("SET TimeZone = 'UTC'; SET IntervalStyle = 'postgres'").await.unwrap();
    let answer = client.simple_query("SELECT * FROM everything ORDER BY row").await.unwrap();
    let theirs: Vec<_> =
        answer.iter().filter_map(|m| if let SimpleQueryMessage::Row(row) = m { Some(row) } else { None }).collect();
    // by COPY, and where there is none
    for dialect in ["postgres", "timescale", "cockroachdb"] {
        let everything = table(&source(&server, &format!("dialect = {dialect:?}")), "crm.everything").await;
        assert!(!everything.schema().field(0).is_nullable());
        let ours = spelt(&context(&everything).await, "SELECT * FROM t ORDER BY row").await;
        assert_eq!(ours.len(), TYPES.len() + 1, "no column is left out");
        for (i, (t, _)) in TYPES.iter().enumerate() {
            let theirs: Vec<Option<&str>> = theirs.iter().map(|row| row.get(i + 1)).collect();
            let ours: Vec<Option<&str>> = ours[i + 1].iter().map(Option::as_deref).collect();
            assert_eq!(ours, theirs, "{dialect}: {t}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_mounted_and_readable_is_there() {
    let server = Server::start().await;
    server
        .run(
            "CREATE TABLE orders (id int8 PRIMARY KEY, note text, shape point, path path[]);
             CREATE VIEW big AS SELECT id, note FROM orders WHERE id > 100;
             CREATE TABLE events (at date, x int4) PARTITION BY RANGE (at);
             CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
             INSERT INTO events VALUES ('2024-05-01', 1);
             CREATE TABLE \"We\"\"ird Name\" (\"a\"\"b\" int4, \"SELECT\" text); INSERT INTO \"We\"\"ird Name\" VALUES (1, 'x');
             CREATE TABLE no_columns ();
             CREATE SCHEMA hidden; CREATE TABLE hidden.secrets (s text);
             CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA public TO reader;
             GRANT SELECT (id) ON orders TO reader",
        )
        .await;
    let names = |source: Postgres| async move {
        let mut names = vec![];
        for table in source.tables().await.unwrap() {
            let columns: Vec<String> = table.schema().fields().iter().map(|f| f.name().clone()).collect();
            names.push(format!("{}({})", table.name(), columns.join(",")));
        }
        names
    };
    let mut all = names(source(&server, "")).await;
    all.sort();
    let expect = [
        "crm.\"We\"\"ird Name\"(a\"b,SELECT)",
        "crm.big(id,note)",
        "crm.events(at,x)",
        "crm.orders(id,note,shape,path)",
    ];
    assert_eq!(all, expect);
    let reader: Config = toml::from_str(&format!(
        "host = \"127.0.0.1\"\nport = {}\ndatabase = \"postgres\"\nuser = \"reader\"\nschemas = {{ public = \"crm\" }}\npassword = \"wrong\"",
        server.port
    ))
    .unwrap();
    server.run("ALTER ROLE reader PASSWORD 'open'").await;
    let refused = told(Postgres::new("crm_db", reader.clone()).unwrap().tables().await);
    assert_eq!(refused, ("HV000", "source \"crm_db\" failed".to_string()));
    let reader = Config { password: Some(lakegate::secret::Secret::new("open".into())), ..reader };
    assert_eq!(names(Postgres::new("crm_db", reader).unwrap()).await, ["crm.orders(id)"]);

    let source = source(&server, "");
    let weird = context(&table(&source, "crm.\"We\"\"ird Name\"").await).await;
    assert_eq!(rows(&weird, "SELECT * FROM t WHERE \"a\"\"b\" = 1").await, ["1|x"]);
    let events = table(&source, "crm.events").await;
    assert_eq!(rows(&context(&events).await, "SELECT count(*) FROM t").await, ["1"]);
    let oid = server.ask("'events'::regclass::oid").await;
    assert_eq!(events.identity(), format!("postgres:crm_db:{oid}"));
}

/// Filters over `t`; the flag says that the source is asked.
const FILTERS: &[(&str, bool)] = &[
    ("i = 5", true),
    ("i <> 5", true),
    ("i < 0 OR i IS NULL", true),
    ("NOT (i > 3 AND l <= 4)", true),
    ("i IN (1, 2, 3)", true),
    ("i NOT IN (1, 2, 3)", true),
    ("i BETWEEN -2 AND 2", true),
    ("b", true),
    ("NOT b", true),
    ("b IS NULL", true),
    ("f > 1.5", true),
    ("f <= -1.5", true),
    ("f > 0", false),
    ("c < 'm'", true),
    ("c >= 'é'", true),
    ("c = ''", true),
    ("de = 'Äpfel'", true),
    ("de < 'm'", false),
    ("ci = 'ABC'", false),
    ("n > 1.5", false),
    ("c LIKE 'a%'", false),
    ("d >= DATE '2024-01-01'", true),
    ("d <> DATE '1999-12-31'", true),
    ("ts > TIMESTAMP '2024-01-01 00:00:00'", true),
    ("i + 1 = 5", false),
    ("i = l", false),
    ("upper(c) = 'A'", false),
];

#[tokio::test(flavor = "multi_thread")]
async fn pushed_equals_unpushed() {
    let server = Server::start().await;
    let seed = std::env::var("LAKEGATE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    server
        .run(
            "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             CREATE COLLATION german (provider = icu, locale = 'de');
             CREATE TABLE sample (i int4, l int4, b bool, f float8, c text COLLATE \"C\", de text COLLATE german,
                                  ci text COLLATE nocase, n numeric(10,2), d date, ts timestamp)",
        )
        .await;
    let client = server.client().await;
    for _ in 0..500 {
        let mut pick = |values: &[&str]| values[random.random_range(0..values.len())].to_string();
        let row = [
            pick(&["NULL", "-2147483648", "-3", "-1", "0", "1", "2", "3", "4", "5", "2147483647"]),
            pick(&["NULL", "0", "3", "4", "5"]),
            pick(&["NULL", "true", "false"]),
            pick(&["NULL", "'NaN'", "'Infinity'", "'-Infinity'", "-0.0", "0.0", "1.5", "1.6", "-1.5", "-2"]),
            pick(&["NULL", "''", "'a'", "'A'", "'m'", "'n'", "'é'", "'漢'", "'Z'"]),
            pick(&["NULL", "'Äpfel'", "'apfel'", "'Zebra'"]),
            pick(&["NULL", "'abc'", "'ABC'", "'x'"]),
            pick(&["NULL", "1.5", "1.51", "-2"]),
            pick(&["NULL", "'infinity'", "'-infinity'", "'2024-01-01'", "'1999-12-31'", "'0001-01-01'"]),
            pick(&["NULL", "'infinity'", "'-infinity'", "'2024-01-01'", "'2024-01-01 00:00:00.000001'"]),
        ];
        client.batch_execute(&format!("INSERT INTO sample VALUES ({})", row.join(", "))).await.unwrap();
    }
    let sample = table(&source(&server, ""), "crm.sample").await;
    let pushed = context(&sample).await;
    let whole: Vec<RecordBatch> = query(&pushed, "SELECT * FROM t").await.unwrap();
    let memory = SessionContext::new();
    memory.register_table("t", Arc::new(MemTable::try_new(sample.schema(), vec![whole]).unwrap())).unwrap();
    for (filter, asked) in FILTERS {
        let sql = format!("SELECT * FROM t WHERE {filter} ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10");
        assert_eq!(rows(&pushed, &sql).await, rows(&memory, &sql).await, "seed {seed}: {filter}");
        let plan = rows(&pushed, &format!("EXPLAIN SELECT * FROM t WHERE {filter}")).await.join("\n");
        let scan = plan.lines().find(|l| l.contains("PostgresExec")).unwrap_or_else(|| panic!("{plan}"));
        assert_eq!(scan.contains(" WHERE "), *asked, "{filter}: {scan}");
        assert!(plan.contains("FilterExec"), "the filter stays above: {plan}");
    }
    // a dialect that knows fewer of PostgreSQL's meanings is sent less, and answers the same
    let fewer = context(&table(&source(&server, "dialect = \"cockroachdb\""), "crm.sample").await).await;
    for (filter, asked) in FILTERS {
        let sql = format!("SELECT * FROM t WHERE {filter} ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10");
        assert_eq!(rows(&fewer, &sql).await, rows(&memory, &sql).await, "seed {seed}: {filter}");
        let plan = rows(&fewer, &format!("EXPLAIN SELECT * FROM t WHERE {filter}")).await.join("\n");
        let scan = plan.lines().find(|l| l.contains("PostgresExec")).unwrap_or_else(|| panic!("{plan}"));
        // floats have another order there, infinite times are finite, and no collation is known to be that of bytes
        let means_the_same = !["f ", "c ", "de ", "d ", "ts "].iter().any(|column| filter.starts_with(column));
        assert_eq!(scan.contains(" WHERE "), *asked && means_the_same, "{filter}: {scan}");
    }
}

/// What cannot be read is refused where it is written, not when it is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_dialect_that_cannot_be_read_is_refused_with_its_reason() {
    let config = |dialect: &str| -> Result<Config, toml::de::Error> {
        toml::from_str(&format!("host = \"h\"\ndatabase = \"d\"\nuser = \"u\"\ndialect = {dialect:?}\n"))
    };
    let (code, text) = told(Postgres::new("wh", config("redshift").unwrap()));
    assert_eq!(code, "F0000");
    assert!(
        text.starts_with("source \"wh\": `dialect = \"redshift\"` cannot be read yet: it has no COPY TO STDOUT"),
        "{text}"
    );
    assert!(config("oracle").unwrap_err().message().contains("unknown variant `oracle`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operator_that_is_pushed_is_leakproof_in_the_server() {
    let server = Server::start().await;
    let types = "('bool', 'int2', 'int4', 'int8', 'float4', 'float8', 'text', 'bytea', 'date', 'timestamp', 'timestamptz', 'uuid')";
    let leaky = format!(
        "SELECT count(*) FILTER (WHERE NOT p.proleakproof) || ' of ' || count(*) FROM pg_operator o
         JOIN pg_proc p ON p.oid = o.oprcode JOIN pg_type t ON t.oid = o.oprleft AND o.oprright = t.oid
         WHERE o.oprname IN ('=', '<>', '<', '<=', '>', '>=') AND t.typname IN {types}"
    );
    assert_eq!(server.ask(&leaky).await, "0 of 72");
}

/// Text that tries to leave its quotes comes back as itself, through the filter and through the names.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_literals_mean_themselves() {
    let server = Server::start().await;
    let seed = std::env::var("LAKEGATE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let alphabet: Vec<char> =
        "'\"\\`$;:-/*{}()%_?,|&\t\n\r\u{1}\u{7f} aE0é漢😀\u{200b}\u{feff}\u{202e}".chars().collect();
    let values: Vec<String> = (0..300)
        .map(|_| (0..random.random_range(0..12)).map(|_| alphabet[random.random_range(0..alphabet.len())]).collect())
        .collect();
    server.run("CREATE TABLE words (i int4, w text)").await;
    let client = server.client().await;
    for (i, word) in values.iter().enumerate() {
        client.execute("INSERT INTO words VALUES ($1, $2)", &[&(i as i32), word]).await.unwrap();
    }
    let context = context(&table(&source(&server, ""), "crm.words").await).await;
    for word in &values {
        let sql = format!("SELECT i FROM t WHERE w = '{}' ORDER BY i", word.replace('\'', "''"));
        let expect: Vec<String> =
            values.iter().enumerate().filter(|(_, v)| *v == word).map(|(i, _)| i.to_string()).collect();
        assert_eq!(rows(&context, &sql).await, expect, "seed {seed}: {word:?}");
    }
    // The statements were kept by the server: none of them is anything but ours.
    let others = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lakegate'
                  AND query !~ '^(COPY \\(SELECT|SELECT|SET|$)'";
    assert_eq!(server.ask(others).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_goes_down_only_where_no_filter_stays_above() {
    let server = Server::start().await;
    server.run("CREATE TABLE many AS SELECT i, i % 10 AS r FROM generate_series(1, 20000) i").await;
    let context = context(&table(&source(&server, ""), "crm.many").await).await;
    let scan = |sql: &'static str| {
        let context = context.clone();
        async move {
            let plan = rows(&context, &format!("EXPLAIN {sql}")).await.join("\n");
            plan.lines().find(|l| l.contains("PostgresExec")).map(|l| l.trim().to_string()).unwrap_or(plan)
        }
    };
    let limited = scan("SELECT i FROM t LIMIT 5").await;
    assert!(limited.contains("LIMIT 5"), "{limited}");
    let filtered = scan("SELECT i FROM t WHERE r = 3 LIMIT 5").await;
    assert!(!filtered.contains("LIMIT") && filtered.contains("WHERE (\"r\" = ?)"), "{filtered}");
    assert_eq!(rows(&context, "SELECT count(*) FROM t").await, ["20000"]);
    assert_eq!(rows(&context, "SELECT count(*), sum(i) FROM t WHERE r = 3").await, ["2000|19996000"]);
    assert_eq!(rows(&context, "SELECT i FROM t WHERE r = 3 LIMIT 5").await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_numeric_keeps_the_digits_it_has_and_one_that_does_not_fit_is_read_otherwise_from_then_on() {
    let server = Server::start().await;
    server.run("CREATE TABLE prices (price numeric); INSERT INTO prices VALUES (0.123456789012), (1.50)").await;
    let own = table(&source(&server, ""), "crm.prices").await;
    let told = |texts: &[&str]| vec![texts.iter().map(|text| Some(text.to_string())).collect::<Vec<_>>()];
    assert_eq!(spelt(&context(&own).await, "SELECT price FROM t").await, told(&["0.123456789012", "1.50"]));
    let finer = source(&server, "numeric_scale = { \"crm.prices.price\" = 12 }");
    let prices = context(&table(&finer, "crm.prices").await).await;
    assert_eq!(rows(&prices, "SELECT price FROM t").await, ["0.123456789012", "1.500000000000"]);
    let batches = query(&prices, "SELECT price FROM t").await.unwrap();
    assert_eq!(batches[0].column(0).data_type(), &DataType::Decimal128(38, 12));
    server.run("INSERT INTO prices VALUES ('NaN')").await;
    let error = query(&prices, "SELECT price FROM t").await.unwrap_err();
    let text = "source \"crm_db\" holds a value that its column's type cannot hold here";
    assert_eq!((error.kind().sqlstate(), error.message()), ("40001", text));
    assert_eq!(error.detail(), Some("column \"price\": NaN and infinity cannot be read"));
    assert_eq!(rows(&prices, "SELECT count(*) FROM t").await, ["3"]);
    let again = table(&finer, "crm.prices").await;
    let all = spelt(&context(&again).await, "SELECT price FROM t").await;
    assert_eq!(all, told(&["0.123456789012", "1.50", "NaN"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_of_another_shape_makes_its_column_a_text() {
    let server = Server::start().await;
    server.run("CREATE TABLE grids (grid int4[]); INSERT INTO grids VALUES ('{1,2}'), ('{{1,2},{3,NULL}}')").await;
    let source = source(&server, "");
    let grids = context(&table(&source, "crm.grids").await).await;
    let error = query(&grids, "SELECT grid FROM t").await.unwrap_err();
    assert_eq!(error.kind().sqlstate(), "40001");
    let again = context(&table(&source, "crm.grids").await).await;
    assert_eq!(rows(&again, "SELECT grid FROM t").await, ["{1,2}", "{{1,2},{3,NULL}}"]);
}
