//! A follower over streams that a server sent, and over mutations of them.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int32Type};
use bytes::{BufMut, BytesMut};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::tables::Column;
use super::*;
use crate::formats::change::Op;
use crate::formats::postgres::field;

/// What PostgreSQL 15 sent for one course of statements, without and with `binary`: each line where a message stands, and
/// the message.
const TEXT: &str = include_str!("recorded_text.txt");
const BINARY: &str = include_str!("recorded_binary.txt");

const PEOPLE: u32 = 0x36064;
const PAIRS: u32 = 0x3606b;
const NUMERIC_12_2: i32 = ((12 << 16) | 2) + 4;

fn column(attnum: i16, name: &str, oid: u32, typmod: i32) -> Column {
    let of = field(name, oid, typmod, true).unwrap();
    let (name, type_oid, read_oid) = (name.to_string(), oid, oid);
    Column { attnum, name, type_oid, typmod, read_oid, binary: true, computed: false, field: of }
}

fn table(oid: u32, name: &str, columns: Vec<Column>, key: Vec<usize>) -> Table {
    let (schema, name) = ("public".to_string(), name.to_string());
    Table { schema, name, oid, partitioned: false, columns, key, estimate: 0, filter: None, gone: false }
}

fn tables() -> Vec<Table> {
    let people = vec![
        column(1, "id", 23, -1),
        column(2, "name", 25, -1),
        column(3, "story", 25, -1),
        column(4, "worth", 1700, NUMERIC_12_2),
        column(5, "at", 1184, -1),
        column(6, "tags", 1009, -1),
    ];
    let mut pairs = vec![column(1, "a", 23, -1), column(2, "b", 25, -1), column(3, "n", 1700, -1)];
    // A numeric without a scale is text, which is the form in which a text stream has it.
    pairs[2].field = Field::new("n", DataType::Utf8, true);
    pairs[2].read_oid = 25;
    vec![table(PEOPLE, "people", people, vec![0]), table(PAIRS, "pairs", pairs, vec![0, 1])]
}

fn messages(recorded: &str) -> Vec<(u64, Vec<u8>)> {
    let line = |line: &str| {
        let (at, hex) = line.split_once(' ').unwrap();
        let at: super::super::place::Lsn = at.parse().unwrap();
        let byte = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
        (at.0, (0..hex.len()).step_by(2).map(byte).collect())
    };
    recorded.lines().map(line).collect()
}

fn frames(messages: &[(u64, Vec<u8>)]) -> BytesMut {
    let mut all = BytesMut::new();
    for (at, message) in messages {
        all.put_u8(b'd');
        all.put_i32(i32::try_from(4 + 25 + message.len()).unwrap());
        all.put_u8(b'w');
        all.put_u64(*at);
        all.put_u64(*at);
        all.put_i64(0);
        all.put_slice(message);
    }
    all
}

fn follower(tables: &[Table], from: Vec<u64>) -> Follower {
    Follower::new("crm", "s", tables, from, 0).unwrap()
}

const ALL: Limit = Limit { records: usize::MAX, bytes: usize::MAX };

/// As an origin does whose catalog still has the keys that it had.
fn run(follower: &mut Follower, limit: Limit) -> Pause {
    loop {
        match follower.run(limit).unwrap() {
            Pause::Strange(relation) if follower.but_for_its_key(&relation).is_some() => {
                assert_eq!(relation.oid, PAIRS, "only they have REPLICA IDENTITY FULL");
                assert!(follower.settle(&relation));
            }
            pause => return pause,
        }
    }
}

/// Up to where people got another column.
fn before_the_change(recorded: &str) -> Vec<(u64, Vec<u8>)> {
    let all = messages(recorded);
    let second = all.iter().enumerate().filter(|(_, (_, m))| m.starts_with(b"R\0\x03\x60\x64")).nth(1).unwrap().0;
    all[..second].to_vec()
}

#[test]
fn a_recorded_stream_gives_its_rows() {
    let mut follower = follower(&tables(), vec![0, 0]);
    follower.feed(Portion::of(frames(&before_the_change(TEXT)).freeze()));
    assert!(matches!(run(&mut follower, ALL), Pause::Dry));
    // The insert before the change has come, its commit has not.
    assert_eq!(follower.boundary(), None);
    let (parts, dead, records) = follower.take().unwrap();
    assert_eq!((parts.len(), dead.len(), records), (2, 0, 11));
    let [people, pairs] = parts.try_into().unwrap();

    use Op::*;
    assert_eq!(people.changed.ops, [Insert, Insert, Update, Update, Delete, Insert]);
    let ids: Vec<_> = people.changed.rows.column(0).as_primitive::<Int32Type>().iter().collect();
    assert_eq!(ids, [1, 2, 1, 10, 2, 3].map(Some));
    // The long story was not sent with the updates, and the key moved in one of them.
    let [story] = people.changed.unchanged.try_into().unwrap();
    assert_eq!(
        (story.column, story.rows.iter().collect::<Vec<_>>()),
        (2, vec![false, false, true, true, false, false])
    );
    assert!(people.changed.rows.column(2).is_null(2) && people.changed.rows.column(2).is_valid(0));
    let was: Vec<_> = people.changed.was.unwrap().column(0).as_primitive::<Int32Type>().iter().collect();
    assert_eq!(was, [None, None, None, Some(1), None, None]);
    let positions: Vec<_> = people.positions.iter().map(Option::unwrap).collect();
    assert_eq!(positions[..2], ["000000024ff13b4000000000", "000000024ff13b4000000001"]);
    assert!(positions.is_sorted());
    assert!(people.sources.iter().all(|source| source == Some("s/public.people")));

    // Identity FULL sends old rows whole; only a key that moved is told.
    assert_eq!(pairs.changed.ops, [Insert, Insert, Update, Update, Delete]);
    let was = pairs.changed.was.unwrap();
    assert_eq!(was.column(1).as_string::<i32>().iter().collect::<Vec<_>>(), [None, None, None, Some("x"), None]);
    let n: Vec<_> = pairs.changed.rows.column(2).as_string::<i32>().iter().collect();
    assert_eq!(n, ["1.5", "NaN", "2", "2", "NaN"].map(Some));
}

#[test]
fn text_and_binary_streams_give_the_same_rows() {
    let taken = |recorded: &str| {
        let mut tables = tables();
        tables.truncate(1);
        let mut follower = follower(&tables, vec![0]);
        follower.feed(Portion::of(frames(&before_the_change(recorded)).freeze()));
        run(&mut follower, ALL);
        follower.take().unwrap().0.remove(0).changed.rows
    };
    assert_eq!(taken(TEXT), taken(BINARY));
}

#[test]
fn a_strange_relation_stops_before_its_change_and_goes_on_as_the_table_is_told() {
    let mut follower = follower(&tables(), vec![0, 0]);
    follower.feed(Portion::of(frames(&messages(TEXT)).freeze()));
    let Pause::Strange(relation) = run(&mut follower, ALL) else { panic!("people have another column") };
    assert_eq!((relation.oid, relation.columns.len()), (PEOPLE, 7));
    follower.take().unwrap();
    let mut now = tables();
    now[0].columns.push(column(7, "extra", 23, -1));
    follower.reshape(&now).unwrap();
    assert!(matches!(run(&mut follower, ALL), Pause::Dry));
    let (parts, ..) = follower.take().unwrap();
    let extra = parts[0].changed.rows.column(6).as_primitive::<Int32Type>();
    assert_eq!(parts[0].changed.ops, [Op::Insert, Op::Truncate]);
    assert_eq!((extra.value(0), extra.is_null(1)), (5, true));
    assert_eq!(parts[1].changed.ops, [Op::Truncate]);
    assert_eq!(follower.boundary(), Some(0x2_4FF1_6778));
}

/// A table that is younger than the stream: what rows had in a column before it came is what the catalog says.
#[test]
fn messages_from_before_a_column_came_are_read_as_of_then() {
    let mut now = tables();
    let mut extra = column(7, "extra", 23, -1);
    extra.field = extra.field.with_metadata([(super::super::MISSING.to_string(), "5".to_string())].into());
    now[0].columns.push(extra);
    let mut follower = follower(&now, vec![0, 0]);
    follower.feed(Portion::of(frames(&messages(TEXT)).freeze()));
    let Pause::Strange(relation) = run(&mut follower, ALL) else { panic!("people had fewer columns") };
    assert!(follower.settle(&relation));
    assert!(matches!(run(&mut follower, ALL), Pause::Dry));
    let (parts, ..) = follower.take().unwrap();
    let extra: Vec<_> = parts[0].changed.rows.column(6).as_primitive::<Int32Type>().iter().collect();
    assert_eq!(extra[..2], [Some(5), Some(5)]);

    // A column that is gone beside one that came could be the same: nobody can tell.
    now[0].columns[1].name = "called".into();
    let mut follower = self::follower(&now, vec![0, 0]);
    assert!(!follower.settle(&relation));
}

/// A key that changed amid the stream: nothing of the table is read by the one that is known.
#[test]
fn rows_that_are_told_by_another_key_are_not_the_tables() {
    for key in [vec![1], vec![0, 1], vec![]] {
        let mut now = tables();
        now[0].key.clone_from(&key);
        let mut follower = follower(&now, vec![0, 0]);
        follower.feed(Portion::of(frames(&before_the_change(TEXT)).freeze()));
        let Pause::Strange(relation) = run(&mut follower, ALL) else { panic!("people are told by their id: {key:?}") };
        assert_eq!(relation.oid, PEOPLE);
        assert!(!follower.settle(&relation), "{key:?}");
    }
}

/// What a table's key is REPLICA IDENTITY FULL does not say, so that its first change waits until somebody has asked.
#[test]
fn a_relation_that_does_not_say_its_key_stops_at_its_first_change() {
    let mut follower = follower(&tables(), vec![0, 0]);
    follower.feed(Portion::of(frames(&before_the_change(TEXT)).freeze()));
    let Pause::Strange(relation) = follower.run(ALL).unwrap() else { panic!("pairs do not say their key") };
    assert_eq!(follower.but_for_its_key(&relation).map(Table::key_numbers), Some(vec![1, 2]));
    let (parts, ..) = follower.take().unwrap();
    assert!(parts.iter().all(|part| part.table == 0), "nothing of it was taken");
}

/// Each table takes up where it is, whatever the others have.
#[test]
fn a_table_passes_over_what_it_has() {
    let all = before_the_change(TEXT);
    // Behind the commit of the first transaction.
    let mut follower = follower(&tables(), vec![0x2_4FF1_3B70, 0]);
    follower.feed(Portion::of(frames(&all).freeze()));
    run(&mut follower, ALL);
    let (parts, ..) = follower.take().unwrap();
    assert_eq!(parts[0].changed.ops[..2], [Op::Update, Op::Update]);
    assert_eq!(parts[1].changed.ops.len(), 5);
}

/// A value that its column cannot hold is set aside with its whole change, and the others come as they are.
#[test]
fn a_row_that_cannot_be_is_set_aside() {
    let mut tables = tables();
    tables[1].columns[2].field = Field::new("n", DataType::Decimal128(38, 4), true);
    tables[1].columns[2].read_oid = 1700;
    let mut follower = follower(&tables, vec![0, 0]);
    follower.feed(Portion::of(frames(&before_the_change(TEXT)).freeze()));
    run(&mut follower, ALL);
    let (parts, dead, _) = follower.take().unwrap();
    // NaN came with an insert and, by identity FULL, with a delete, for which the key is enough.
    assert_eq!(parts[1].changed.ops, [Op::Insert, Op::Update, Op::Update, Op::Delete]);
    let told: Vec<_> = dead.iter().map(|d| (d.source.as_str(), d.class, d.raw[0])).collect();
    assert_eq!(told, [("s/public.pairs", "misfit", b'I')]);
    assert_eq!(dead[0].message, "column \"n\": NaN and infinity cannot be read");
    let was = parts[1].changed.was.as_ref().unwrap();
    assert_eq!(was.column(1).as_string::<i32>().iter().collect::<Vec<_>>(), [None, None, Some("x"), None]);
}

/// However a stream is cut into reads, it gives the same.
#[test]
fn cuts_change_nothing() {
    let whole = frames(&before_the_change(TEXT)).freeze();
    let ops = |step: usize| {
        let mut follower = follower(&tables(), vec![0, 0]);
        follower.feed(Portion::of(whole.clone()));
        let mut ops: BTreeMap<usize, Vec<(Op, String)>> = BTreeMap::new();
        loop {
            let pause = run(&mut follower, Limit { records: step, bytes: usize::MAX });
            for part in follower.take().unwrap().0 {
                let positions = part.positions.iter().map(|p| p.unwrap().to_string());
                ops.entry(part.table).or_default().extend(part.changed.ops.iter().copied().zip(positions));
            }
            if matches!(pause, Pause::Dry) {
                return ops;
            }
        }
    };
    let expected = ops(usize::MAX);
    (1..8).for_each(|step| assert_eq!(ops(step), expected, "{step} at a time"));
}

/// Bytes that are wrong are an error or other rows, never a panic, and memory stays in proportion to them.
#[test]
fn mutated_streams_never_panic() {
    let seed = std::env::var("LAKEGATE_SEED").ok().map_or_else(rand::random, |text| text.parse().unwrap());
    println!("LAKEGATE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut refused = 0;
    for round in 0..1_000 {
        let mut messages = messages(if round % 2 == 0 { TEXT } else { BINARY });
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..messages.len());
            let message = &mut messages[at].1;
            let length = message.len();
            let place = random.random_range(0..length.clamp(1, 200));
            match random.random_range(0..5) {
                0 => message.truncate(place),
                1 => message[place.min(length - 1)] = random.random(),
                2 => message.insert(place.min(length), random.random()),
                3 => message.extend_from_slice(&random.random::<[u8; 8]>()),
                _ => drop(messages.remove(at)),
            }
            messages.retain(|(_, message)| !message.is_empty());
        }
        let mut bytes = frames(&messages);
        if random.random_ratio(1, 4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        let mut follower = follower(&tables(), vec![0, 0]);
        follower.feed(Portion::of(bytes.freeze()));
        let told = loop {
            match follower.run(Limit { records: 3, bytes: 1 << 20 }) {
                Ok(Pause::Full) => drop(follower.take().unwrap()),
                Ok(Pause::Dry) => break Ok(()),
                Ok(Pause::Strange(relation)) if follower.settle(&relation) => {}
                Ok(Pause::Strange(_)) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        refused += u32::from(told.is_err());
    }
    assert!(refused > 250, "{refused} of 1000 were refused");
}
