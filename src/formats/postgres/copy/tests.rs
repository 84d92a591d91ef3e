//! Streams made by hand: values, framing, cuts and corruption.

use super::*;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, Field, Int32Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A stream as Postgres writes it.
struct Stream(Vec<u8>);

impl Stream {
    fn new() -> Self {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        Self(bytes)
    }

    fn row(mut self, fields: &[Option<&[u8]>]) -> Self {
        self.0.extend((fields.len() as i16).to_be_bytes());
        for field in fields {
            match field {
                None => self.0.extend((-1i32).to_be_bytes()),
                Some(bytes) => {
                    self.0.extend((bytes.len() as i32).to_be_bytes());
                    self.0.extend(*bytes);
                }
            }
        }
        self
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend((-1i16).to_be_bytes());
        self.0
    }
}

fn schema(types: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(types.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()))
}

fn one(data_type: DataType, oid: u32, value: &[u8]) -> Result<RecordBatch> {
    let mut decoder = CopyDecoder::new(schema(&[("c", data_type)]), &[oid])?;
    decoder.feed(&Stream::new().row(&[Some(value)]).end())?;
    decoder.finish()?;
    decoder.take()
}

/// `numeric_send` of groups with the weight of the first.
fn numeric(weight: i16, sign: u16, groups: &[i16]) -> Vec<u8> {
    let mut bytes = vec![];
    bytes.extend((groups.len() as i16).to_be_bytes());
    bytes.extend(weight.to_be_bytes());
    bytes.extend(sign.to_be_bytes());
    bytes.extend(0i16.to_be_bytes());
    groups.iter().for_each(|g| bytes.extend(g.to_be_bytes()));
    bytes
}

#[test]
fn numerics_are_exact_or_refused() {
    let check = |precision: u8, scale: i8, weight, sign, groups: &[i16], expect: &str| {
        let got = match one(DataType::Decimal128(precision, scale), 1700, &numeric(weight, sign, groups)) {
            Ok(batch) => batch.column(0).as_primitive::<Decimal128Type>().value_as_string(0),
            Err(error) => error.kind().sqlstate().to_string(),
        };
        assert_eq!(got, expect, "({precision},{scale}) weight {weight} {groups:?}");
    };
    check(10, 2, 0, 0, &[12, 3400], "12.34");
    check(10, 2, 0, 0x4000, &[12, 3400], "-12.34");
    check(10, 2, 0, 0, &[12, 3450], "22003");
    check(10, 2, 0, 0, &[12, 3400, 1], "22003");
    check(4, 2, 0, 0, &[100], "22003");
    check(4, 2, 0, 0, &[99], "99.00");
    check(10, 2, 1, 0, &[5], "50000.00");
    check(10, 0, 0, 0, &[], "0");
    check(38, 10, -2, 0, &[1], "0.0000000100");
    check(38, 10, -1, 0, &[1], "0.0001000000");
    // 28 digits before the point and 10 after: one group more than 38 digits would hold.
    check(
        38,
        10,
        6,
        0,
        &[9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9999, 9900],
        "9999999999999999999999999999.9999999999",
    );
    check(38, 10, 7, 0, &[1], "22003");
    check(38, 0, 32767, 0, &[1], "22003");
    check(38, 0, 32767, 0, &[0], "0");
    check(10, 2, 0, 0xc000, &[], "22003");
    check(10, 2, 0, 0xd000, &[], "22003");
    check(10, 2, 0, 0, &[10_000], "22P03");
    check(10, 2, 0, 0, &[-1], "22P03");
    check(5, -2, 1, 0, &[12, 3400], "123400");
    check(5, -2, 0, 0, &[1234], "22003");
}

#[test]
fn infinities_keep_their_place_and_other_moments_move_by_the_epoch() {
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let check = |micros: i64, expect: Result<i64, &str>| {
        let got = one(timestamp.clone(), 1184, &micros.to_be_bytes())
            .map(|b| b.column(0).as_primitive::<TimestampMicrosecondType>().value(0));
        assert_eq!(got.map_err(|e| e.kind().sqlstate()), expect);
    };
    check(i64::MAX, Ok(i64::MAX));
    check(i64::MIN, Ok(i64::MIN));
    check(0, Ok(946_684_800_000_000));
    // Beyond what 64 bits hold of microseconds since 1970: the last moment there is.
    check(i64::MAX - 1, Ok(i64::MAX - 1));
}

#[test]
fn arrays_of_one_dimension_are_lists_and_others_are_refused_by_name() {
    let int_list = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
    let array = |header: &[i32], elements: &[Option<i32>]| {
        let mut bytes: Vec<u8> = header.iter().flat_map(|v| v.to_be_bytes()).collect();
        for element in elements {
            match element {
                None => bytes.extend((-1i32).to_be_bytes()),
                Some(v) => {
                    bytes.extend(4i32.to_be_bytes());
                    bytes.extend(v.to_be_bytes());
                }
            }
        }
        bytes
    };
    let batch = one(int_list.clone(), 1007, &array(&[1, 1, 23, 2, 1], &[Some(7), None])).unwrap();
    let values = batch.column(0).as_list::<i32>().value(0);
    let values = values.as_primitive::<Int32Type>();
    assert_eq!((values.len(), values.value(0), values.is_null(1)), (2, 7, true));
    let empty = one(int_list.clone(), 1007, &array(&[0, 0, 23], &[])).unwrap();
    assert_eq!((empty.column(0).as_list::<i32>().value_length(0), empty.column(0).null_count()), (0, 0));

    let refused = |bytes: Vec<u8>| one(int_list.clone(), 1007, &bytes).unwrap_err();
    assert_eq!(
        refused(array(&[2, 0, 23, 1, 1, 1, 1], &[Some(1)])).message(),
        "column \"c\": an array of more than one dimension is not supported"
    );
    assert_eq!(refused(array(&[1, 0, 23, 1, 0], &[Some(1)])).kind(), Kind::Unsupported);
    assert_eq!(refused(array(&[1, 0, 25, 1, 1], &[Some(1)])).kind(), Kind::InvalidBinary);
    assert_eq!(refused(array(&[1, 0, 23, i32::MAX, 1], &[Some(1)])).kind(), Kind::InvalidBinary);
    assert_eq!(refused(array(&[1, 0, 23, -1, 1], &[])).kind(), Kind::InvalidBinary);
}

#[test]
fn a_stream_without_its_trailer_is_no_end() {
    let whole = Stream::new().row(&[Some(&1i64.to_be_bytes())]).end();
    for cut in 0..whole.len() {
        let mut decoder = CopyDecoder::new(schema(&[("c", DataType::Int64)]), &[20]).unwrap();
        decoder.feed(&whole[..cut]).unwrap();
        assert!(decoder.finish().is_err(), "cut at {cut}");
    }
    let mut decoder = CopyDecoder::new(schema(&[("c", DataType::Int64)]), &[20]).unwrap();
    decoder.feed(&whole).unwrap();
    decoder.finish().unwrap();
    assert!(decoder.feed(&[0]).is_err(), "data after the trailer");
}

#[test]
fn framing_is_checked() {
    let check = |bytes: Vec<u8>, expect: &str| {
        let mut decoder = CopyDecoder::new(schema(&[("c", DataType::Int64)]), &[20]).unwrap();
        let error = decoder.feed(&bytes).and_then(|()| decoder.finish()).unwrap_err();
        assert_eq!(std::error::Error::source(&error).map(|s| s.to_string()).as_deref(), Some(expect));
        assert!(decoder.take().is_err(), "{expect}: no batch after an error");
    };
    let mut oids = Stream::new();
    oids.0[12] = 1;
    let value = 1i64.to_be_bytes();
    check(b"PGCOPX".to_vec(), "the signature");
    check(oids.end(), "the flags");
    check(Stream::new().row(&[Some(&value), Some(&value)]).end(), "a row with another number of fields");
    let mut negative = Stream::new().0;
    negative.extend([0, 1, 0xff, 0xff, 0xff, 0xfe]);
    check(negative, "a field length");
    let mut huge = Stream::new().0;
    huge.extend([0, 1, 0x7f, 0xff, 0xff, 0xff]);
    check(huge, "a row above 1 GiB");
}

#[test]
fn a_null_where_none_was_promised_asks_for_a_new_plan() {
    let schema = Arc::new(Schema::new(vec![Field::new("c", DataType::Int64, false)]));
    let mut decoder = CopyDecoder::new(schema, &[20]).unwrap();
    decoder.feed(&Stream::new().row(&[None]).end()).unwrap();
    assert_eq!(decoder.take().unwrap_err().kind(), Kind::CachedPlanChanged);
}

#[test]
fn rows_without_columns_are_counted() {
    let mut decoder = CopyDecoder::new(schema(&[]), &[]).unwrap();
    decoder.feed(&Stream::new().row(&[]).row(&[]).end()).unwrap();
    decoder.finish().unwrap();
    assert_eq!(decoder.take().unwrap().num_rows(), 2);
}

/// Every type at once, cut at random places and with random bytes changed: equal, or an error, never a panic.
#[test]
fn random_cuts_change_nothing_and_corruption_never_panics() {
    let seed = std::env::var("LAKEGATE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let list = |t| DataType::List(Arc::new(Field::new("item", t, true)));
    let columns = [
        ("i", DataType::Int64, 20),
        ("n", DataType::Decimal128(20, 4), 1700),
        ("t", DataType::Utf8View, 25),
        ("j", DataType::Utf8, 3802),
        ("a", list(DataType::Utf8View), 1009),
        ("ts", DataType::Timestamp(TimeUnit::Microsecond, None), 1114),
        ("iv", DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano), 1186),
        ("u", DataType::FixedSizeBinary(16), 2950),
        ("b", DataType::Boolean, 16),
    ];
    let schema = schema(&columns.iter().map(|(n, t, _)| (*n, t.clone())).collect::<Vec<_>>());
    let oids: Vec<u32> = columns.iter().map(|c| c.2).collect();
    let mut stream = Stream::new();
    for i in 0..50i64 {
        let text = "é".repeat(random.random_range(0..20));
        let array: Vec<u8> =
            [1i32, 0, 25, 1, 1, text.len() as i32].iter().flat_map(|v| v.to_be_bytes()).chain(text.bytes()).collect();
        let json = [b"\x01".as_slice(), text.as_bytes()].concat();
        stream = stream.row(&[
            Some(&i.to_be_bytes()),
            Some(&numeric(0, 0, &[i as i16, 500])),
            (i % 3 != 0).then_some(text.as_bytes()),
            Some(&json),
            Some(&array),
            Some(&i.to_be_bytes()),
            Some(&[0; 16]),
            Some(&[7; 16]),
            Some(&[1]),
        ]);
    }
    let bytes = stream.end();
    let decode = |bytes: &[u8], random: &mut StdRng| -> Result<RecordBatch> {
        let mut decoder = CopyDecoder::new(Arc::clone(&schema), &oids)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (portion, after) = rest.split_at(random.random_range(0..=rest.len().min(200)));
            decoder.feed(portion)?;
            rest = after;
        }
        decoder.finish()?;
        decoder.take()
    };
    let whole = {
        let mut decoder = CopyDecoder::new(Arc::clone(&schema), &oids).unwrap();
        decoder.feed(&bytes).unwrap();
        decoder.take().unwrap()
    };
    assert_eq!(whole.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>(), 1225);
    let mut refused = 0;
    for _ in 0..300 {
        assert_eq!(decode(&bytes, &mut random).unwrap(), whole, "seed {seed}");
        let mut broken = bytes.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..broken.len());
            broken[at] = random.random();
        }
        refused += usize::from(decode(&broken, &mut random).is_err());
    }
    assert!(refused > 0, "seed {seed}: no corruption was noticed");
}
