//! Records and schemas that say more than their bytes hold: what they cost stays in proportion to their length, and the stack
//! holds. Nothing here is measured in time: without its bound each of these would not come to an end.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::*;

fn avro(schema: &Value) -> Decoder {
    let decoder = Decoder::new(Declaration::new(Format::Avro, Envelope::None, columns(&[("a", "jsonb")]))).unwrap();
    decoder.learn(1, &Registered { schema: schema.to_string(), references: vec![] });
    decoder
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, 1], body].concat()
}

/// What is wrong with one record; `None` where it fits.
fn problem(decoder: &Decoder, value: &[u8]) -> Option<Problem> {
    let record = Record { value: Some(value), ..Record::default() };
    let decoded = decoder.decode(&[record], Misfit::Leave).unwrap();
    decoded.faults.first().map(|fault| fault.problem)
}

fn long(value: i64) -> Vec<u8> {
    let mut zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut bytes = vec![];
    loop {
        let byte = u8::try_from(zigzag & 0x7f).unwrap();
        zigzag >>= 7;
        bytes.push(if zigzag == 0 { byte } else { byte | 0x80 });
        if zigzag == 0 {
            return bytes;
        }
    }
}

fn field(name: &str, of: &Value) -> Value {
    field_of("r", name, of)
}

/// Beside a field that is no column stands one that is: a row of no column would be none.
fn field_of(record: &str, name: &str, of: &Value) -> Value {
    let mut fields = vec![json!({"name": name, "type": of})];
    if name != "a" {
        fields.push(json!({"name": "a", "type": "null"}));
    }
    json!({"type": "record", "name": record, "fields": fields})
}

const TOO_MANY: Problem = "claims more values than its bytes can hold";

#[test]
fn values_of_no_length_are_counted() {
    let nothing = json!({"type": "record", "name": "nothing", "fields": []});
    for items in [json!("null"), nothing] {
        let array = json!({"type": "array", "items": items});
        for name in ["a", "passed over"] {
            let decoder = avro(&field(name, &array));
            // A few are as good as any others.
            assert_eq!(problem(&decoder, &framed(&[long(2), long(0)].concat())), None);
            // However many blocks claim them.
            let mut blocks = long(300_000).repeat(200_000);
            blocks.push(0);
            assert_eq!(problem(&decoder, &framed(&blocks)), Some(TOO_MANY), "{name} {items}");
            for count in [1 << 40, i64::MAX, i64::MIN] {
                let block = [long(count), long(0), long(0)].concat();
                assert_eq!(problem(&decoder, &framed(&block)), Some(TOO_MANY), "{name} {items} {count}");
            }
        }
    }
}

/// Each record holds the one before it twice.
#[test]
fn a_schema_that_doubles_is_counted() {
    let mut references = vec![("r0".to_string(), field_of("r0", "a", &json!("null")).to_string())];
    for depth in 1..50 {
        let before = format!("r{}", depth - 1);
        let fields = [json!({"name": "a", "type": before}), json!({"name": "b", "type": before})];
        let record = json!({"type": "record", "name": format!("r{depth}"), "fields": fields});
        references.push((format!("r{depth}"), record.to_string()));
    }
    for name in ["a", "passed over"] {
        let decoder = Decoder::new(Declaration::new(Format::Avro, Envelope::None, columns(&[("a", "jsonb")]))).unwrap();
        let schema = field(name, &json!("r49")).to_string();
        decoder.learn(1, &Registered { schema, references: references.clone() });
        assert_eq!(problem(&decoder, &framed(&[])), Some(TOO_MANY), "{name}");
    }
}

/// A record that holds itself and no byte.
#[test]
fn a_schema_without_an_end_is_one_that_nothing_fits() {
    let of = json!({"type": "record", "name": "n", "fields": [{"name": "n", "type": "n"}]});
    for name in ["a", "passed over"] {
        assert!(problem(&avro(&field(name, &of)), &framed(&[])).is_some(), "{name}");
    }
}

fn schema(random: &mut StdRng, depth: u32, names: &mut u32) -> Value {
    let kinds = if depth == 0 { 6 } else { 10 };
    match random.random_range(0..kinds) {
        0 => json!("null"),
        1 => json!("long"),
        2 => json!("string"),
        3 => json!("boolean"),
        4 => json!("double"),
        5 => json!("bytes"),
        6 => json!({"type": "array", "items": schema(random, depth - 1, names)}),
        7 => json!({"type": "map", "values": schema(random, depth - 1, names)}),
        8 => json!((0..random.random_range(1..4)).map(|_| schema(random, depth - 1, names)).collect::<Vec<_>>()),
        _ => {
            *names += 1;
            let name = format!("n{names}");
            let fields = (0..random.random_range(0..5))
                .map(|at| json!({"name": format!("f{at}"), "type": schema(random, depth - 1, names)}));
            json!({"type": "record", "name": name, "fields": fields.collect::<Vec<_>>()})
        }
    }
}

/// Any bytes by any schema are a row or a fault.
#[test]
fn any_bytes_by_any_schema_come_to_an_end() {
    let seed = std::env::var("LAKEGATE_SEED").ok().map_or_else(rand::random, |text| text.parse().unwrap());
    println!("LAKEGATE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut fit, mut faults) = (0, 0);
    for _ in 0..2_000 {
        let of = schema(&mut random, 5, &mut 0);
        let decoder = avro(&field("a", &of));
        for _ in 0..5 {
            // Small numbers are mostly lengths and counts that could be.
            let byte = |random: &mut StdRng| {
                if random.random_ratio(1, 4) { random.random() } else { random.random_range(0..12) }
            };
            let body: Vec<u8> = (0..random.random_range(0..200)).map(|_| byte(&mut random)).collect();
            match problem(&decoder, &framed(&body)) {
                None => fit += 1,
                Some(_) => faults += 1,
            }
        }
    }
    println!("{fit} fit, {faults} do not");
    assert!(fit > 0 && faults > 0, "LAKEGATE_SEED={seed}");
}

#[test]
fn values_deep_within_each_other_are_refused_in_every_format() {
    let deep = 200_000;
    let json = Decoder::new(Declaration::new(Format::Json, Envelope::None, columns(&[("a", "jsonb")]))).unwrap();
    for name in ["a", "passed over"] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let text = format!("{{\"{name}\":{}1{}}}", open.repeat(deep), close.repeat(deep));
            assert!(problem(&json, text.as_bytes()).is_some(), "{name} {open}");
        }
    }
    let proto = Decoder::new(Declaration::new(Format::Protobuf, Envelope::None, columns(&[("a", "jsonb")]))).unwrap();
    let text = "syntax = \"proto3\"; message m { m a = 1; }";
    proto.learn(1, &Registered { schema: text.into(), references: vec![] });
    let nested = |depth: usize| {
        let mut bytes: Vec<u8> = vec![];
        for _ in 0..depth {
            // Written from its end: lengths stand the wrong way round until it is turned.
            let mut length = bytes.len();
            let mut head = vec![0x0a];
            while length >= 0x80 {
                head.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                length >>= 7;
            }
            head.push(u8::try_from(length).unwrap());
            head.reverse();
            bytes.extend(head);
        }
        bytes.reverse();
        [&[0, 0, 0, 0, 1, 0][..], &bytes].concat()
    };
    assert_eq!(problem(&proto, &nested(10)), None);
    assert!(problem(&proto, &nested(20_000)).is_some());
}

/// Numbers that are short as they are written and long as they are held.
#[test]
fn digits_that_nobody_wrote_are_bounded() {
    let json = |type_name: &str| {
        Decoder::new(Declaration::new(Format::Json, Envelope::None, columns(&[("a", type_name)]))).unwrap()
    };
    let record = |number: &str, count: usize| format!("{{\"a\":[{}]}}", vec![number; count].join(","));
    let jsonb = json("jsonb");
    assert_eq!(problem(&jsonb, record("1e300", 100).as_bytes()), None);
    assert_eq!(problem(&jsonb, record("1e-300", 100).as_bytes()), None);
    // 13 GB of digits, written in 900 KB.
    assert_eq!(problem(&jsonb, record("1e131071", 100_000).as_bytes()), Some("is too long as jsonb"));
    let numeric = json("numeric");
    for (number, expect) in [
        ("1e400", None),
        ("1E+4999", None),
        ("1e131071", Some(super::super::sink::TOO_LARGE)),
        ("1e-0009999", Some(super::super::sink::TOO_LARGE)),
    ] {
        for spelt in [number.to_owned(), format!("\"{number}\"")] {
            assert_eq!(problem(&numeric, format!("{{\"a\":{spelt}}}").as_bytes()), expect, "{spelt}");
        }
    }
}
