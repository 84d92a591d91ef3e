//! Bytes that are not what they should be: whatever they are, there is an answer, and the neighbours are not touched.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn seeded() -> (u64, StdRng) {
    let seed = std::env::var("LAKEGATE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("seed {seed}");
    (seed, StdRng::seed_from_u64(seed))
}

const COLUMNS: [(&str, &str); 12] = [
    ("id", "int8"),
    ("c_num", "numeric"),
    ("c_num38", "numeric(38,10)"),
    ("c_double", "float8"),
    ("c_bytea", "bytea"),
    ("c_time", "time"),
    ("c_ts", "timestamp"),
    ("c_interval", "interval"),
    ("c_jsonb", "jsonb"),
    ("c_iarr", "int4[]"),
    ("c_tarr", "text[]"),
    ("big_text", "text"),
];

fn damaged(random: &mut StdRng, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match random.random_range(0..5) {
        0 => bytes.truncate(random.random_range(0..=bytes.len())),
        1 => bytes = (0..random.random_range(0..200)).map(|_| random.random()).collect(),
        2 => {
            let at = random.random_range(0..=bytes.len());
            bytes.splice(at..at, (0..random.random_range(1..4)).map(|_| random.random::<u8>()));
        }
        _ => {
            for _ in 0..random.random_range(1..4) {
                if !bytes.is_empty() {
                    let at = random.random_range(0..bytes.len());
                    bytes[at] = random.random();
                }
            }
        }
    }
    bytes
}

/// A slice of good records with damaged ones among them: the good ones' rows are those without the others.
fn among(decoder: &Decoder, recorded: &[Recorded], rounds: usize) {
    let (seed, mut random) = seeded();
    let whole: Vec<&Recorded> = recorded.iter().filter(|r| r.value.is_some() && r.key.is_some()).collect();
    let records: Vec<Record<'_>> = whole.iter().map(|r| r.record()).collect();
    let good = decoder.decode(&records, Misfit::Leave).unwrap();
    let good_rows = shown(&good.changed.rows);
    let (mut faults, mut kept) = (0, 0);
    for round in 0..rounds {
        let mut slice = vec![];
        let mut expected = vec![];
        let mut made: Vec<(Vec<u8>, Vec<u8>, bool)> = vec![];
        for _ in 0..8 {
            let at = random.random_range(0..whole.len());
            let bad = random.random_bool(0.5);
            let (key, value) = (whole[at].key.clone().unwrap(), whole[at].value.clone().unwrap());
            if !bad {
                expected.extend(good.kept.iter().position(|index| *index == at).map(|row| (made.len(), row)));
            }
            made.push(if bad {
                (damaged(&mut random, &key), damaged(&mut random, &value), true)
            } else {
                (key, value, false)
            });
        }
        for (key, value, _) in &made {
            slice.push(Record { key: Some(key), value: Some(value), at_ms: None, old_key: Some(key) });
        }
        for misfit in [Misfit::Leave, Misfit::Null] {
            let decoded = decoder.with_before().decode(&slice, misfit).unwrap();
            let rows = shown(&decoded.changed.rows);
            assert_eq!(rows.len(), decoded.kept.len());
            for (index, row) in &expected {
                let place = decoded.kept.iter().position(|kept| kept == index).expect("a good record is kept");
                assert_eq!(rows[place], good_rows[*row], "seed {seed}, round {round}");
            }
            faults += decoded.faults.len();
            kept += decoded.kept.len();
        }
    }
    assert!(faults > rounds && kept > rounds, "seed {seed}: {faults} faults, {kept} rows");
}

#[test]
fn damaged_json_harms_no_other() {
    for file in ["json-noschema-precise.full.jsonl", "json-schema-precise.default.jsonl"] {
        let mut declaration = Declaration::new(Format::Json, Envelope::Debezium, columns(&COLUMNS));
        declaration.key = vec![0];
        declaration.columns.iter_mut().for_each(|column| column.optional = true);
        among(&Decoder::new(declaration).unwrap(), &recording(file), 400);
    }
}

#[test]
fn damaged_avro_harms_no_other() {
    let registry: serde_json::Value = serde_json::from_str(&unpacked("registry.json")).unwrap();
    let mut declaration = Declaration::new(Format::Avro, Envelope::Debezium, columns(&COLUMNS));
    declaration.key = vec![0];
    declaration.columns.iter_mut().for_each(|column| column.optional = true);
    let decoder = Decoder::new(declaration).unwrap();
    for (path, answer) in registry.as_object().unwrap() {
        if let Some(id) = path.strip_prefix("/schemas/ids/") {
            let schema = answer["schema"].as_str().unwrap().to_owned();
            decoder.learn(id.parse().unwrap(), &Registered { schema, references: vec![] });
        }
    }
    among(&decoder, &recording("avro-confluent.full.jsonl"), 2_000);
}

/// Schemas come from a registry that anybody may write to.
#[test]
fn damaged_schemas_are_learnt_as_ones_that_nothing_fits() {
    let (_, mut random) = seeded();
    let registry: serde_json::Value = serde_json::from_str(&unpacked("registry.json")).unwrap();
    let schema = registry["/schemas/ids/4"]["schema"].as_str().unwrap();
    let mut declaration = Declaration::new(Format::Avro, Envelope::Debezium, columns(&COLUMNS));
    declaration.key = vec![0];
    let recorded = recording("avro-confluent.full.jsonl");
    let records: Vec<Record<'_>> = recorded.iter().map(Recorded::record).collect();
    let decoder = Decoder::new(declaration).unwrap();
    let endless = r#"{"type":"record","name":"a","fields":[{"name":"a","type":"a"}]}"#;
    let deep = format!("{}\"int\"{}", "[".repeat(100_000), "]".repeat(100_000));
    for schema in [endless.to_owned(), deep, String::new(), "\"string\"".into()] {
        decoder.learn(4, &Registered { schema, references: vec![] });
        decoder.decode(&records, Misfit::Leave).unwrap();
    }
    for _ in 0..300 {
        let schema = String::from_utf8_lossy(&damaged(&mut random, schema.as_bytes())).into_owned();
        decoder.learn(4, &Registered { schema, references: vec![] });
        decoder.decode(&records, Misfit::Leave).unwrap();
    }
}
