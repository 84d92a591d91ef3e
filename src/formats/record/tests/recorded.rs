//! Every recording: what the tables' statements did, event by event, as values of PostgreSQL; or, where a setting of
//! Debezium loses something, what is left of it.

use std::collections::BTreeMap;

use super::*;
use crate::formats::change::Op;

const TABLE: [(&str, &str); 33] = [
    ("id", "int8"),
    // The table's is widened to it in the course of the recording.
    ("c_int2", "int4"),
    ("c_int4", "int4"),
    ("c_int8", "int8"),
    ("c_num", "numeric"),
    ("c_num38", "numeric(38,10)"),
    ("c_num10", "numeric(10,2)"),
    ("c_real", "float4"),
    ("c_double", "float8"),
    ("c_text", "text"),
    ("c_varchar", "varchar(20)"),
    ("c_char", "char(5)"),
    ("c_bytea", "bytea"),
    ("c_bool", "bool"),
    ("c_date", "date"),
    ("c_time", "time"),
    ("c_timetz", "timetz"),
    ("c_ts", "timestamp"),
    ("c_ts3", "timestamp(3)"),
    ("c_tstz", "timestamptz"),
    ("c_interval", "interval"),
    ("c_uuid", "uuid"),
    ("c_json", "json"),
    ("c_jsonb", "jsonb"),
    ("c_iarr", "int4[]"),
    ("c_tarr", "text[]"),
    ("c_enum", "text"),
    ("big_text", "text"),
    ("big_bytea", "bytea"),
    ("big_jsonb", "jsonb"),
    ("big_tarr", "text[]"),
    ("big_iarr", "int4[]"),
    ("c_added", "text"),
];

/// How a recording was made, as far as it matters to what can be read.
#[derive(Clone, Copy, Default)]
struct Made {
    decimals: Decimals,
    /// `decimal.handling.mode=double`
    double: bool,
    /// `time.precision.mode=connect`, `binary.handling.mode=hex`
    connect_time: bool,
    /// `isostring` times and intervals, and `binary.handling.mode=base64`, under which an unsent value is NULL.
    iso: bool,
    full: bool,
    /// Headers are not in the recording as they were.
    no_headers: bool,
}

fn decoder(made: Made, format: Format, envelope: Envelope) -> Decoder {
    let mut columns = columns(&TABLE);
    for column in &mut columns {
        let name = column.field.name().clone();
        // They come, go and are renamed.
        column.optional = ["c_added", "c_real", "c_double"].contains(&name.as_str());
        if made.connect_time {
            column.encoding = Encoding::Hex;
            if ["c_time", "c_ts"].contains(&name.as_str()) {
                column.unit = Some(Unit::Millis);
            }
        }
    }
    let mut declaration = Declaration::new(format, envelope, columns);
    declaration.key = vec![0];
    declaration.decimals = made.decimals;
    Decoder::new(declaration).unwrap()
}

type Row = BTreeMap<&'static str, String>;

/// The row that `ROW` of the recording's script inserts.
fn row(id: i64, minus: bool, made: Made) -> Row {
    let sign = if minus { "-" } else { "" };
    let mut row = Row::new();
    let mut set = |name: &'static str, value: String| drop(row.insert(name, value));
    set("id", id.to_string());
    set("c_int2", format!("{sign}32767"));
    set("c_int4", format!("{sign}2147483647"));
    set("c_int8", format!("{sign}9223372036854775807"));
    set(
        "c_num",
        format!("{sign}{}", if made.double { "12345678901234567000" } else { "12345678901234567890.123456789" }),
    );
    let wide =
        if made.double { "1234567890123456900000000000.0000000000" } else { "1234567890123456789012345678.0123456789" };
    set("c_num38", format!("{sign}{wide}"));
    set("c_num10", format!("{sign}12.30"));
    set("c_real", format!("{sign}1.5"));
    set("c_double", format!("{sign}0.1"));
    set("c_text", format!("héllo \"q\" \\ \n {id}"));
    set("c_varchar", "varchar".into());
    set("c_char", "ch   ".into());
    set("c_bytea", "\\x00ff10".into());
    set("c_bool", "t".into());
    set("c_date", "2024-02-29".into());
    let (time, at) = if made.connect_time { ("23:59:59.123", ".123") } else { ("23:59:59.123456", ".123456") };
    set("c_time", time.into());
    // Debezium moves it to UTC.
    set("c_timetz", "18:29:59.123456+00".into());
    set("c_ts", format!("2024-02-29 23:59:59{at}"));
    set("c_ts3", "2024-02-29 23:59:59.123".into());
    set("c_tstz", "2024-02-29 21:59:59.123456+00".into());
    // A month of 30.4375 days, but for `interval.handling.mode=string`.
    let interval = match (made.iso, minus) {
        (true, false) => "1 mon 2 days 03:04:05.000006",
        (true, true) => "-1 mons +2 days 03:04:05.000006",
        (false, false) => "781:34:05.000006",
        (false, true) => "-679:25:54.999994",
    };
    set("c_interval", interval.into());
    set("c_uuid", "00112233-4455-6677-8899-aabbccddeeff".into());
    set("c_json", "{\"a\": 1, \"a\":  2}".into());
    set("c_jsonb", "{\"a\": [null, true], \"b\": 1.10}".into());
    set("c_iarr", "{1,NULL,-3}".into());
    set("c_tarr", "{a,NULL,\"q\\\"x\"}".into());
    set("c_enum", "happy".into());
    set("big_text", format!("text {id} ").repeat(260));
    set("big_bytea", format!("\\x{}", format!("0{id}ff").repeat(160)));
    set("big_jsonb", format!("{{\"k\": \"{}\"}}", "j".repeat(400)));
    set("big_tarr", format!("{{{},b}}", "a".repeat(300)));
    set("big_iarr", format!("{{{}}}", (1..=120).map(|n| n.to_string()).collect::<Vec<_>>().join(",")));
    row
}

/// What one event came to.
#[derive(Debug, PartialEq)]
struct Event {
    offset: usize,
    op: Op,
    row: Row,
    unchanged: Vec<&'static str>,
    was: Option<String>,
}

const BIG: [&str; 5] = ["big_text", "big_bytea", "big_jsonb", "big_tarr", "big_iarr"];

/// The events of `t_default` and `t_full`.
fn expected(made: Made) -> Vec<Event> {
    let mut events = vec![];
    let key = |id: i64| Row::from([("id", id.to_string())]);
    let small = |id: i64, more: &[(&'static str, &str)]| {
        let mut row = key(id);
        row.insert("c_num10", "1.50".into());
        row.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        row
    };
    let mut push = |offset, op, row: Row, was: Option<&str>| {
        events.push(Event { offset, op, row, unchanged: vec![], was: was.map(str::to_owned) })
    };
    push(0, Op::Insert, row(1, false, made), None);
    push(1, Op::Insert, small(2, &[]), None);
    push(2, Op::Insert, row(3, true, made), None);
    let mut four = row(4, false, made);
    push(3, Op::Insert, four.clone(), None);
    four.insert("c_int4", "5".into());
    four.remove("c_text");
    push(4, Op::Update, four.clone(), None);
    four.insert("big_text", "new ".repeat(530));
    push(5, Op::Update, four.clone(), None);
    four.remove("big_jsonb");
    push(6, Op::Update, four.clone(), None);
    push(7, Op::Delete, key(1), None);
    push(9, Op::Delete, key(3), None);
    let mut twenty = row(3, true, made);
    twenty.insert("id", "20".into());
    push(11, Op::Insert, twenty, (!made.full && !made.no_headers).then_some("3"));
    push(12, Op::Insert, small(6, &[("c_text", "six")]), None);
    push(13, Op::Insert, small(7, &[("c_text", "seven")]), None);
    push(14, Op::Update, small(6, &[("c_text", "six again")]), None);
    push(15, Op::Insert, small(10, &[("c_added", "ten")]), None);
    four.insert("c_bool", "f".into());
    four.insert("c_added", "added".into());
    push(16, Op::Update, four.clone(), None);
    push(17, Op::Insert, small(11, &[("c_int2", "70000"), ("c_added", "added")]), None);
    push(18, Op::Truncate, Row::new(), None);
    push(19, Op::Insert, small(12, &[("c_text", "end"), ("c_added", "added")]), None);
    for event in &mut events {
        // Large values that a statement did not touch are not sent, but under REPLICA IDENTITY FULL.
        let touched: &[&str] = match event.offset {
            4 | 11 | 16 => &[],
            5 => &["big_text"],
            6 => &["big_jsonb"],
            _ => &BIG,
        };
        for name in BIG {
            if made.full || touched.contains(&name) || !event.row.contains_key(name) {
                continue;
            }
            // `binary.handling.mode=base64` writes null for bytes that were not sent: nobody can tell.
            if !(made.iso && name == "big_bytea") {
                event.unchanged.push(name);
            }
            event.row.remove(name);
        }
    }
    events
}

fn found(recorded: &[Recorded], decoded: &Decoded) -> Vec<Event> {
    let rows = shown(&decoded.changed.rows);
    let was = decoded.changed.was.as_ref().map(shown);
    let event = |(at, index): (usize, &usize)| {
        let named =
            |(value, (name, _)): (&Option<String>, &(&'static str, _))| value.clone().map(|value| (*name, value));
        let unchanged = decoded.changed.unchanged.iter().filter(|unchanged| unchanged.rows.value(at));
        Event {
            offset: recorded[*index].offset,
            op: decoded.changed.ops[at],
            row: rows[at].iter().zip(&TABLE).filter_map(named).collect(),
            unchanged: unchanged.map(|unchanged| TABLE[unchanged.column].0).collect(),
            was: was.as_ref().and_then(|was| was[at][0].clone()),
        }
    };
    decoded.kept.iter().enumerate().map(event).collect()
}

/// All of one file, a table at a time, in slices of several sizes.
fn check(file: &str, made: Made, decoder: &Decoder, tables: usize) -> Vec<Decoded> {
    let recorded = recording(file);
    let mut topics: Vec<&str> = recorded.iter().map(|r| r.topic.as_str()).collect();
    topics.dedup();
    let mut all = vec![];
    let mut checked = 0;
    for topic in topics {
        let table: Vec<Recorded> = recorded.iter().filter(|r| r.topic == topic).cloned().collect();
        for size in [1, 7, table.len()] {
            let mut events = vec![];
            for slice in table.chunks(size) {
                let records: Vec<Record<'_>> = slice.iter().map(Recorded::record).collect();
                let decoded = decoder.decode(&records, Misfit::Leave).unwrap();
                assert_eq!(decoded.faults, [], "{file} {topic}");
                events.extend(found(slice, &decoded));
                all.push(decoded);
            }
            let expected = expected(made);
            for (found, expected) in events.iter().zip(&expected) {
                assert_eq!(found, expected, "{file} {topic}");
            }
            assert_eq!(events.len(), expected.len(), "{file} {topic}");
        }
        checked += 1;
    }
    assert_eq!(checked, tables, "{file}");
    all
}

#[test]
fn json_of_every_mode() {
    let string = Made { decimals: Decimals::String, ..Made::default() };
    let double = Made { double: true, ..string };
    let modes = [("precise", Made::default()), ("string", string), ("double", double)];
    for (mode, made) in modes {
        for (schema, identity) in
            [("noschema", "default"), ("noschema", "full"), ("schema", "default"), ("schema", "full")]
        {
            if schema == "schema" && identity == "full" && mode != "precise" {
                continue;
            }
            // With a schema beside the value nothing about decimals needs to be declared.
            let declared = if schema == "schema" { Made { decimals: Decimals::Precise, ..made } } else { made };
            let file = format!("json-{schema}-{mode}.{identity}.jsonl");
            let decoder = decoder(declared, Format::Json, Envelope::Debezium);
            check(&file, Made { full: identity == "full", ..made }, &decoder, 1);
        }
    }
}

#[test]
fn json_of_other_settings() {
    let iso = Made { decimals: Decimals::String, iso: true, ..Made::default() };
    check("json-noschema-isotime.default.jsonl", iso, &decoder(iso, Format::Json, Envelope::Debezium), 1);
    let connect = Made { connect_time: true, ..Made::default() };
    check("json-noschema-connecttime.default.jsonl", connect, &decoder(connect, Format::Json, Envelope::Debezium), 1);
    let made = Made::default();
    let all = check("json-noschema-txmeta.default.jsonl", made, &decoder(made, Format::Json, Envelope::Debezium), 1);
    let whole = all.last().unwrap();
    // Offsets 12 to 14 are one transaction.
    let at = whole.kept.iter().position(|index| *index == 12).unwrap();
    let orders: Vec<_> = whole.positions[at..at + 3].iter().map(|p| (p.transaction, p.order)).collect();
    assert_eq!(orders.iter().map(|(_, order)| *order).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    assert!(orders.windows(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].0.is_some()));
}

#[test]
fn places_in_the_database_and_times_are_those_of_the_source() {
    let recorded = recording("json-noschema-precise.default.jsonl");
    let records: Vec<Record<'_>> = recorded.iter().map(Recorded::record).collect();
    let decoder = decoder(Made::default(), Format::Json, Envelope::Debezium);
    let decoded = decoder.decode(&records, Misfit::Leave).unwrap();
    let first = Position { lsn: Some(22822104), sequence: Some((0, 22822104)), transaction: Some(841), order: None };
    assert_eq!(decoded.positions[0], first);
    assert_eq!(decoded.at_micros[0], Some(1795224941170484));
    assert!(decoded.positions.windows(2).all(|pair| pair[0].lsn <= pair[1].lsn));
}

#[test]
fn avro_of_both_frames() {
    let registry: serde_json::Value = serde_json::from_str(&unpacked("registry.json")).unwrap();
    let global: serde_json::Value = serde_json::from_str(&unpacked("registry-global-ids.json")).unwrap();
    for (frame, ids) in [("confluent", Ids::Confluent), ("apicurio", Ids::Apicurio)] {
        for identity in ["default", "full"] {
            let made = Made { full: identity == "full", no_headers: true, ..Made::default() };
            let mut declaration = decoder(made, Format::Avro, Envelope::Debezium).declared.declaration.clone();
            declaration.ids = ids;
            let decoder = Decoder::new(declaration).unwrap();
            let file = format!("avro-{frame}.{identity}.jsonl");
            let recorded = recording(&file);
            let records: Vec<Record<'_>> = recorded.iter().map(Recorded::record).collect();
            let unknown = decoder.unknown(&records);
            assert!(unknown.len() >= 4, "{unknown:?}");
            // Before it is learnt, nothing fits and nothing is lost.
            let early = decoder.decode(&records, Misfit::Leave).unwrap();
            assert_eq!(early.faults.len(), records.iter().filter(|record| record.value.is_some()).count());
            for id in unknown {
                let schema = match ids {
                    Ids::Confluent => registry[format!("/schemas/ids/{id}")]["schema"].as_str().unwrap().to_owned(),
                    Ids::Apicurio => global[id.to_string()].to_string(),
                };
                decoder.learn(id, &Registered { schema, references: vec![] });
            }
            assert_eq!(decoder.unknown(&records), Vec::<u64>::new());
            check(&file, made, &decoder, 1);
        }
    }
}

#[test]
fn rows_of_extract_new_record_state() {
    let recorded = recording("json-flat.default.jsonl");
    let records: Vec<Record<'_>> = recorded.iter().map(Recorded::record).collect();
    let decoded = decoder(Made::default(), Format::Json, Envelope::Connect).decode(&records, Misfit::Leave).unwrap();
    assert_eq!(decoded.faults, []);
    let mut expected = expected(Made { no_headers: true, ..Made::default() });
    expected.retain(|event| event.op != Op::Truncate);
    let found = found(&recorded, &decoded);
    assert_eq!(found.len(), expected.len());
    for (found, mut expected) in found.into_iter().zip(expected) {
        // Neither tombstones nor truncates are in this topic, so offsets are others.
        expected.offset = found.offset;
        assert_eq!(found, expected);
    }
    assert!(decoded.positions.iter().all(|position| position.lsn.is_some()));
}

#[test]
fn messages_of_the_transaction_topic_are_no_rows() {
    let recorded = recording("json-noschema-txmeta.transactions.jsonl");
    let records: Vec<Record<'_>> = recorded.iter().map(Recorded::record).collect();
    let decoded = decoder(Made::default(), Format::Json, Envelope::Debezium).decode(&records, Misfit::Leave).unwrap();
    assert_eq!(decoded.kept, Vec::<usize>::new());
    assert!(decoded.faults.iter().all(|fault| fault.problem == "is not an event of Debezium: it has no op"));
    assert_eq!(decoded.faults.len(), records.len());
}

/// Of each row its one value; `!` for a record that does not fit, and why.
#[test]
fn numbers_and_moments_beyond_the_common() {
    let declared = [
        ("id", "int4"),
        ("what", "text"),
        ("n", "numeric"),
        ("n38", "numeric(38,10)"),
        ("n10", "numeric(10,2)"),
        ("f8", "float8"),
        ("d", "date"),
        ("ts", "timestamp"),
        ("tz", "timestamptz"),
    ];
    let lost = "-";
    let not_finite = "! is not a finite number, and the column's type holds no others";
    let rows = |snapshot: bool, mode: &str| -> Vec<String> {
        let precise = mode == "precise";
        let special = |word: &'static str| if precise { lost } else { word };
        let narrow = if precise { lost } else { not_finite };
        let days = if snapshot { "0044-03-15" } else { "0044-03-15 BC" };
        let (fine, zero) = match mode {
            "double" => ("1.0", "0.0"),
            "string" => ("1.00000000000000000001", "0.000"),
            _ => ("1.00000000000000000001", "0"),
        };
        let rows = [
            special("NaN"),
            special("Infinity"),
            special("-Infinity"),
            narrow,
            narrow,
            "NaN",
            "-Infinity",
            "-0",
            "infinity",
            "-infinity",
            days,
            "9999-12-31",
            "200000-01-01",
            "infinity",
            "-infinity",
            "0044-03-15 12:00:00 BC",
            "9999-12-31 23:59:59.999999",
            "200000-01-01 00:00:00",
            "infinity",
            "-infinity",
            "0044-03-15 12:00:00+00 BC",
            "200000-01-01 00:00:00+00",
            fine,
            "1000000000000000000000000000000",
            zero,
        ];
        rows.map(str::to_owned).to_vec()
    };
    for mode in ["precise", "string", "double"] {
        let mut declaration = Declaration::new(Format::Json, Envelope::Debezium, columns(&declared));
        declaration.key = vec![0];
        declaration.decimals = if mode == "precise" { Decimals::Precise } else { Decimals::String };
        let decoder = Decoder::new(declaration).unwrap();
        let recorded = recording(&format!("specials-{mode}.jsonl"));
        let records: Vec<Record<'_>> = recorded.iter().map(Recorded::record).collect();
        let decoded = decoder.decode(&records, Misfit::Leave).unwrap();
        let values = shown(&decoded.changed.rows);
        let value = |index: usize| match decoded.faults.iter().find(|fault| fault.index == index) {
            Some(fault) => format!("! {}", fault.problem),
            None => {
                let row = &values[decoded.kept.iter().position(|kept| *kept == index).unwrap()];
                row[2..].iter().flatten().next().cloned().unwrap_or(lost.into())
            }
        };
        let found: Vec<String> = (0..records.len()).map(value).collect();
        let mut expected = rows(true, mode);
        expected.extend(rows(false, mode));
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found, expected, "{mode}, offset {at}");
        }
    }
}
