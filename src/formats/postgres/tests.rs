//! Round trips against PostgreSQL's own answers, the encoder's promises, and parameters of arbitrary bytes.

mod values;

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::*;
use bytes::BytesMut;
use datafusion::common::ScalarValue;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::error::{Error, Kind, Result};

/// Names of types are all that it knows of a catalog.
fn style(zone: &str) -> Style {
    let object_names =
        ObjectNames::by(|of, oid| (of == super::types::REGTYPE).then(|| super::types::type_name(oid, -1)));
    Style { object_names, ..Style::of(zone.parse().unwrap()) }
}

fn new_york() -> Style {
    style("America/New_York")
}

/// One column, one row, without the frame: DataRow, length, column count and the value's length are eleven bytes.
fn value_bytes(field: &Field, array: &ArrayRef, format: Format, style: &Style) -> Result<Vec<u8>> {
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let batch = RecordBatch::try_new(schema.clone(), vec![array.clone()]).unwrap();
    let mut out = BytesMut::new();
    let next = RowEncoder::new(schema, &[format], style)?.encode(&batch, 0, usize::MAX, &mut out)?;
    assert_eq!(next, 1);
    assert_eq!(out[0], b'D');
    assert_eq!(u32::from_be_bytes(out[1..5].try_into().unwrap()) as usize, out.len() - 1);
    Ok(out[11..].to_vec())
}

fn text_of(field: &Field, array: &ArrayRef, style: &Style) -> String {
    String::from_utf8(value_bytes(field, array, Format::Text, style).unwrap()).unwrap()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The field of a parameter's value: of its oid, with the data type that the value has (numerics differ).
fn field_of(oid: u32, value: &ScalarValue) -> Field {
    let declared = field("v", oid, -1, true).unwrap();
    let plain = Field::new("v", value.data_type(), true);
    if pg_type(&plain).is_ok_and(|found| found.oid == oid) { plain } else { declared.with_data_type(value.data_type()) }
}

#[test]
fn values_are_spelt_and_read_as_postgres_does() {
    let style = new_york();
    for (name, input, text, binary) in values::VALUES {
        let (oid, _) = by_name(name).unwrap();
        let value = decode_parameter(oid, Format::Text, Some(input.as_bytes()), &style);
        let value = value.unwrap_or_else(|error| panic!("{name} {input:?}: {error:?}"));
        let (field, array) = (field_of(oid, &value), value.to_array().unwrap());
        assert_eq!(text_of(&field, &array, &style), *text, "{name} {input:?}");
        assert_eq!(to_hex(&value_bytes(&field, &array, Format::Binary, &style).unwrap()), *binary, "{name} {input:?}");
        let back = decode_parameter(oid, Format::Binary, Some(&from_hex(binary)), &style).unwrap();
        assert_eq!(
            text_of(&field_of(oid, &back), &back.to_array().unwrap(), &style),
            *text,
            "{name} {input:?} from binary"
        );
    }
}

#[test]
fn errors_are_those_of_postgres() {
    let style = new_york();
    for (name, input, sqlstate, message) in values::REFUSED {
        let (oid, _) = by_name(name).unwrap();
        match decode_parameter(oid, Format::Text, Some(input.as_bytes()), &style) {
            Ok(value) => panic!("{name} {input:?} was taken as {value:?}"),
            Err(error) => {
                assert_eq!((error.kind().sqlstate(), error.message()), (*sqlstate, *message), "{name} {input:?}")
            }
        }
    }
}

#[test]
fn every_type_that_a_parameter_can_have_has_a_null_and_a_field() {
    let style = style("UTC");
    for row in types() {
        let Ok(data_type) = parameter_type(row.oid) else { continue };
        let null = decode_parameter(row.oid, Format::Binary, None, &style).unwrap();
        assert!(null.is_null());
        assert_eq!(null.data_type(), data_type, "{}", row.name);
        let field = field("c", row.oid, -1, true).unwrap();
        assert_eq!(field.data_type(), &data_type);
        let shown = pg_type(&field).unwrap();
        assert_eq!((shown.oid, shown.size, shown.typmod), (row.oid, row.size, -1), "{}", row.name);
    }
    for oid in [0, 705] {
        assert_eq!(parameter_type(oid).unwrap(), DataType::Utf8);
    }
    assert_eq!(parameter_type(9).unwrap_err().kind(), Kind::UndefinedObject);
}

#[test]
fn arrow_types_show_as_the_nearest_postgres_type() {
    let list = |item| DataType::new_list(item, true);
    let entries =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int32, true)]);
    let rows = [
        (DataType::Int8, 21, 2, -1),
        (DataType::UInt16, 23, 4, -1),
        (DataType::UInt32, 20, 8, -1),
        (DataType::UInt64, 20, 8, -1),
        (DataType::Float16, 700, 4, -1),
        (DataType::Null, 25, -1, -1),
        (DataType::Utf8View, 25, -1, -1),
        (DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), 25, -1, -1),
        (DataType::Decimal128(12, 2), 1700, -1, 786438),
        (DataType::Decimal256(76, 0), 1700, -1, (76 << 16) + 4),
        (DataType::FixedSizeBinary(16), 17, -1, -1),
        (DataType::Date64, 1082, 4, -1),
        (DataType::Time32(TimeUnit::Second), 1083, 8, -1),
        (DataType::Timestamp(TimeUnit::Nanosecond, None), 1114, 8, -1),
        (DataType::Timestamp(TimeUnit::Second, Some("+02:00".into())), 1184, 8, -1),
        (DataType::Duration(TimeUnit::Microsecond), 1186, 16, -1),
        (list(DataType::Int64), 1016, -1, -1),
        (list(list(DataType::Int64)), 1016, -1, -1),
        (list(DataType::Decimal128(12, 2)), 1231, -1, 786438),
        (DataType::Struct(entries.clone()), 2249, -1, -1),
        (list(DataType::Struct(entries.clone())), 2287, -1, -1),
        (DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false), 2287, -1, -1),
    ];
    for (data_type, oid, size, typmod) in rows {
        let shown = pg_type(&Field::new("c", data_type.clone(), true)).unwrap();
        assert_eq!(shown, PgType { oid, size, typmod }, "{data_type}");
    }
    for data_type in [DataType::Decimal128(5, -2), list(DataType::Decimal128(5, -2))] {
        let error = pg_type(&Field::new("price", data_type, true)).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.message().contains("\"price\""), "{error:?}");
    }
}

#[test]
fn metadata_counts_only_where_the_data_can_be_of_its_type() {
    let with = |data_type, oid: &str, typmod: &str| {
        let metadata = [(OID.to_owned(), oid.to_owned()), (TYPMOD.to_owned(), typmod.to_owned())];
        pg_type(&Field::new("c", data_type, true).with_metadata(metadata.into())).unwrap()
    };
    assert_eq!(with(DataType::Utf8, "1043", "14"), PgType { oid: 1043, size: -1, typmod: 14 });
    assert_eq!(with(DataType::UInt32, "26", "-1").oid, 26);
    // A cast kept what its argument said.
    assert_eq!(with(DataType::Int64, "26", "-1").oid, 20);
    assert_eq!(with(DataType::Utf8, "26", "3"), PgType { oid: 25, size: -1, typmod: -1 });
    assert_eq!(with(DataType::Decimal128(5, 1), "1700", "786438").typmod, (5 << 16) + 1 + 4, "digits are Arrow's");
    assert_eq!(with(DataType::Decimal128(38, 10), "1700", "-1").typmod, -1);
    assert_eq!(with(DataType::Utf8, "70000", "-1"), PgType { oid: 70000, size: 4, typmod: -1 }, "an enum");
    assert_eq!(with(DataType::Int32, "70000", "-1").oid, 23);
    assert_eq!(with(DataType::Utf8, "no number", "").oid, 25);
    assert_eq!(
        with(DataType::new_list(DataType::Utf8, true), "1015", "14"),
        PgType { oid: 1015, size: -1, typmod: 14 }
    );
    let label = enum_field("mood", 70000, true);
    assert_eq!(pg_type(&label).unwrap(), PgType { oid: 70000, size: 4, typmod: -1 });
}

#[test]
fn fields_hold_what_modifiers_ask_for() {
    let numeric = |p: i32, s: i32| field("n", 1700, ((p << 16) | (s & 0x7ff)) + 4, true).map(|f| f.data_type().clone());
    assert_eq!(numeric(12, 2), Some(DataType::Decimal128(12, 2)));
    assert_eq!(numeric(50, 10), Some(DataType::Decimal256(50, 10)));
    assert_eq!(numeric(3, 5), Some(DataType::Decimal128(5, 5)));
    assert_eq!(numeric(5, -2), Some(DataType::Decimal128(7, 0)));
    assert_eq!(numeric(1000, 0), None);
    let varchar = field("v", 1043, 14, false).unwrap();
    assert_eq!((varchar.data_type(), varchar.is_nullable()), (&DataType::Utf8, false));
    assert_eq!(pg_type(&varchar).unwrap().typmod, 14);
    assert!(field("i", 23, -1, true).unwrap().metadata().is_empty(), "Arrow's type tells");
    assert_eq!(field("r", 2249, -1, true), None);
    assert_eq!(field("x", 70000, -1, true), None);
}

/// Types whose values are not reached through parameters.
#[test]
fn other_arrow_types_are_spelt_alike() {
    let style = style("Asia/Kolkata");
    let rows: Vec<(ArrayRef, &str)> = vec![
        (Arc::new(UInt64Array::from(vec![u64::MAX >> 1])), "9223372036854775807"),
        (Arc::new(Date64Array::from(vec![-1])), "1969-12-31"),
        (Arc::new(Time32MillisecondArray::from(vec![1_500])), "00:00:01.5"),
        (Arc::new(Time64NanosecondArray::from(vec![1_999])), "00:00:00.000001"),
        (Arc::new(TimestampSecondArray::from(vec![0])), "1970-01-01 00:00:00"),
        (Arc::new(TimestampNanosecondArray::from(vec![-1])), "1969-12-31 23:59:59.999999"),
        (Arc::new(TimestampMillisecondArray::from(vec![1]).with_timezone("+02:00")), "1970-01-01 05:30:00.001+05:30"),
        (Arc::new(IntervalYearMonthArray::from(vec![-13])), "-1 years -1 mons"),
        (Arc::new(IntervalDayTimeArray::from(vec![IntervalDayTime::new(1, -500)])), "1 day -00:00:00.5"),
        (Arc::new(DurationSecondArray::from(vec![90_061])), "1 day 01:01:01"),
        (
            Arc::new(Decimal256Array::from(vec![i256::MIN])),
            "-5789604461865809771178549250434395392663499233282028201972879200395.6564819968",
        ),
        (Arc::new(FixedSizeBinaryArray::try_from_iter([[1u8, 255]].into_iter()).unwrap()), "\\x01ff"),
        (Arc::new(["low"].into_iter().collect::<DictionaryArray<Int8Type>>()), "low"),
        (Arc::new(NullArray::new(1)), ""),
    ];
    for (array, expect) in rows {
        let field = Field::new("v", array.data_type().clone(), true);
        assert_eq!(text_of(&field, &array, &style), expect, "{}", array.data_type());
    }
    let array: ArrayRef = Arc::new(UInt64Array::from(vec![1 << 63]));
    let error = value_bytes(&Field::new("v", DataType::UInt64, true), &array, Format::Text, &style).unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::NumericRange, "bigint out of range"));
    let uuid = Field::new("u", DataType::FixedSizeBinary(16), true)
        .with_metadata([("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())].into());
    assert_eq!(pg_type(&uuid).unwrap().oid, 2950);
}

#[test]
fn a_numeric_without_scale_drops_its_zeros_and_character_keeps_its_blanks() {
    let style = style("UTC");
    let bare = field("n", 1700, -1, true).unwrap();
    for (value, expect) in [(15_000_000_000i128, "1.5"), (0, "0"), (-10_000_000_000_000, "-1000"), (1, "0.0000000001")]
    {
        let array: ArrayRef = Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(38, 10).unwrap());
        assert_eq!(text_of(&bare, &array, &style), expect);
    }
    let mut shown = bare.metadata().clone();
    shown.insert(SCALE.to_owned(), "shown".to_owned());
    let array: ArrayRef = Arc::new(Decimal128Array::from(vec![150]).with_precision_and_scale(3, 2).unwrap());
    let whole = Field::new("n", array.data_type().clone(), true).with_metadata(shown);
    assert_eq!(text_of(&whole, &array, &style), "1.50");
    let trims = |field: &Field| super::mapping::shown(field).unwrap().trims;
    assert_eq!((trims(&bare), trims(&whole)), (true, false));
    let padded: ArrayRef = Arc::new(StringArray::from(vec!["é"]));
    assert_eq!(text_of(&field("c", 1042, 4 + 3, true).unwrap(), &padded, &style), "é  ");
}

/// The expectations are PostgreSQL's, from `select row(…)`.
#[test]
fn records_and_arrays_of_them_quote_their_members() {
    let texts = [Some("a"), None, Some(""), Some("a b"), Some("x\"y"), Some("p\\q"), Some("(z)")];
    let mut members: Vec<(Arc<Field>, ArrayRef)> =
        vec![(Arc::new(Field::new("n", DataType::Int32, true)), Arc::new(Int32Array::from(vec![1])))];
    for text in texts {
        members.push((Arc::new(Field::new("t", DataType::Utf8, true)), Arc::new(StringArray::from(vec![text]))));
    }
    let record: ArrayRef = Arc::new(StructArray::from(members));
    let field = Field::new("r", record.data_type().clone(), true);
    assert_eq!(text_of(&field, &record, &style("UTC")), r#"(1,a,,"","a b","x""y","p\\q","(z)")"#);

    let small = StructArray::from(vec![
        (Arc::new(Field::new("n", DataType::Int32, true)), Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef),
        (Arc::new(Field::new("t", DataType::Utf8, true)), Arc::new(StringArray::from(vec!["x\"y", "b c"])) as ArrayRef),
    ]);
    let item = Arc::new(Field::new_list_field(small.data_type().clone(), true));
    let list: ArrayRef = Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([2]), Arc::new(small), None));
    let field = Field::new("l", list.data_type().clone(), true);
    assert_eq!(text_of(&field, &list, &style("UTC")), r#"{"(1,\"x\"\"y\")","(2,\"b c\")"}"#);

    let pair: ArrayRef = Arc::new(StructArray::from(vec![
        (Arc::new(Field::new("n", DataType::Int32, true)), Arc::new(Int32Array::from(vec![1])) as ArrayRef),
        (Arc::new(Field::new("t", DataType::Utf8, true)), Arc::new(StringArray::from(vec!["a"])) as ArrayRef),
        (Arc::new(Field::new("z", DataType::Utf8, true)), Arc::new(StringArray::from(vec![None::<&str>])) as ArrayRef),
    ]));
    let binary = value_bytes(&Field::new("r", pair.data_type().clone(), true), &pair, Format::Binary, &style("UTC"));
    assert_eq!(to_hex(&binary.unwrap()), "0000000300000017000000040000000100000019000000016100000019ffffffff");
}

#[test]
fn lists_of_lists_must_be_boxes() {
    let inner = |lengths: &[usize], nulls: Option<Vec<bool>>| {
        let values = Arc::new(Int32Array::from_iter_values(1..=lengths.iter().sum::<usize>() as i32));
        let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
        Arc::new(ListArray::new(
            Arc::new(Field::new_list_field(DataType::Int32, true)),
            offsets,
            values,
            nulls.map(Into::into),
        ))
    };
    let outer = |inner: Arc<ListArray>| -> ArrayRef {
        let lengths = OffsetBuffer::from_lengths([inner.len()]);
        Arc::new(ListArray::new(Arc::new(Field::new_list_field(inner.data_type().clone(), true)), lengths, inner, None))
    };
    let check = |array: ArrayRef| {
        let field = Field::new("a", array.data_type().clone(), true);
        value_bytes(&field, &array, Format::Text, &style("UTC")).map(|text| String::from_utf8(text).unwrap())
    };
    assert_eq!(check(outer(inner(&[2, 2], None))).unwrap(), "{{1,2},{3,4}}");
    assert_eq!(check(outer(inner(&[0, 0], None))).unwrap(), "{}");
    assert_eq!(check(outer(inner(&[], None))).unwrap(), "{}");
    for uneven in
        [outer(inner(&[1, 2], None)), outer(inner(&[0, 1], None)), outer(inner(&[1, 1], Some(vec![true, false])))]
    {
        assert_eq!(check(uneven).unwrap_err().kind(), Kind::Unsupported);
    }
}

fn numbers(rows: i32) -> (SchemaRef, RecordBatch) {
    let schema =
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, true), Field::new("t", DataType::Utf8View, true)]));
    let numbers = Int32Array::from_iter((0..rows).map(|n| (n % 3 != 0).then_some(n)));
    let texts = StringViewArray::from_iter((0..rows).map(|n| (n % 5 != 0).then(|| format!("row {n}"))));
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(numbers), Arc::new(texts)]).unwrap();
    (schema, batch)
}

#[test]
fn rows_taken_in_slices_are_the_rows_taken_at_once() {
    let (schema, batch) = numbers(1_000);
    let mut encoder = RowEncoder::new(schema, &[Format::Text, Format::Binary], &style("UTC")).unwrap();
    let mut whole = BytesMut::new();
    assert_eq!(encoder.encode(&batch, 0, usize::MAX, &mut whole).unwrap(), 1_000);
    let (mut slices, mut row) = (BytesMut::new(), 0);
    while row < batch.num_rows() {
        let mut slice = BytesMut::new();
        let next = encoder.encode(&batch, row, 100, &mut slice).unwrap();
        assert!(next > row && slice.len() < 100 + 64, "each call gets on and stops soon behind the mark");
        slices.extend_from_slice(&slice);
        row = next;
    }
    assert_eq!(slices, whole);
    assert_eq!(encoder.encode(&batch.slice(10, 0), 0, 100, &mut slices).unwrap(), 0);
    let mut full = BytesMut::from(&[0; 200][..]);
    assert_eq!(encoder.encode(&batch, 5, 100, &mut full).unwrap(), 6, "one row even into a full buffer");
}

#[test]
fn slices_of_nested_and_dictionary_arrays_show_their_own_rows() {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)]), None, Some([Some(3)])]);
    let fixed = FixedSizeListArray::from_iter_primitive::<Int32Type, _, _>((0..3).map(|n| Some([Some(n), None])), 2);
    let values = Arc::new(StringArray::from(vec![Some("low"), None]));
    let labels = DictionaryArray::new(Int32Array::from(vec![Some(0), Some(1), Some(0)]), values);
    let members: Vec<(Arc<Field>, ArrayRef)> =
        vec![(Arc::new(Field::new("n", DataType::Int32, true)), Arc::new(Int32Array::from(vec![7, 8, 9])))];
    let records = StructArray::from(members);
    let arrays: Vec<ArrayRef> = vec![Arc::new(lists), Arc::new(fixed), Arc::new(labels), Arc::new(records)];
    let schema = Arc::new(Schema::new(
        arrays.iter().map(|array| Field::new("c", array.data_type().clone(), true)).collect::<Vec<_>>(),
    ));
    let batch = RecordBatch::try_new(schema.clone(), arrays).unwrap().slice(1, 2);
    let mut out = BytesMut::new();
    RowEncoder::new(schema, &[Format::Text; 4], &style("UTC"))
        .unwrap()
        .encode(&batch, 0, usize::MAX, &mut out)
        .unwrap();
    let expect =
        [[None, Some("{1,NULL}"), None, Some("(8)")], [Some("{3}"), Some("{2,NULL}"), Some("low"), Some("(9)")]];
    assert_eq!(rows_of(&out), expect.map(|row| row.map(|text| text.map(str::to_owned)).to_vec()));
}

/// Reads DataRow messages of text back.
fn rows_of(mut out: &[u8]) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    while let [b'D', rest @ ..] = out {
        let (length, _) = rest.split_first_chunk().unwrap();
        let (message, after) = rest.split_at(u32::from_be_bytes(*length) as usize);
        let (count, mut fields) = message[4..].split_first_chunk().unwrap();
        let mut row = Vec::new();
        for _ in 0..u16::from_be_bytes(*count) {
            let (length, rest) = fields.split_first_chunk().unwrap();
            let length = i32::from_be_bytes(*length);
            let (value, rest) = rest.split_at(length.max(0) as usize);
            row.push((length >= 0).then(|| String::from_utf8(value.to_vec()).unwrap()));
            fields = rest;
        }
        assert!(fields.is_empty());
        rows.push(row);
        out = after;
    }
    assert!(out.is_empty());
    rows
}

#[test]
fn first_row_of_a_batch_is_a_whole_message() {
    let (schema, batch) = numbers(2);
    let mut out = BytesMut::new();
    RowEncoder::new(schema, &[Format::Text; 2], &style("UTC"))
        .unwrap()
        .encode(&batch, 1, usize::MAX, &mut out)
        .unwrap();
    assert_eq!(&out[..], b"D\0\0\0\x14\0\x02\0\0\0\x011\0\0\0\x05row 1");
}

#[test]
fn an_error_leaves_whole_messages_only() {
    let schema =
        Arc::new(Schema::new(vec![Field::new("t", DataType::Utf8, true), Field::new("n", DataType::UInt64, true)]));
    let texts = StringArray::from(vec!["a", "b"]);
    let batch =
        RecordBatch::try_new(schema.clone(), vec![Arc::new(texts), Arc::new(UInt64Array::from(vec![1, u64::MAX]))]);
    let mut out = BytesMut::new();
    let mut encoder = RowEncoder::new(schema, &[Format::Text; 2], &style("UTC")).unwrap();
    encoder.encode(&batch.unwrap(), 0, usize::MAX, &mut out).unwrap_err();
    assert_eq!(out.len(), 1 + 4 + 2 + 4 + 1 + 4 + 1);
}

#[test]
fn binary_is_refused_before_the_first_row_where_there_is_none() {
    let schema = Arc::new(Schema::new(vec![field("address", 869, -1, true).unwrap()]));
    assert!(RowEncoder::new(schema.clone(), &[Format::Text], &style("UTC")).is_ok());
    let error = RowEncoder::new(schema, &[Format::Binary], &style("UTC")).unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Unsupported, "binary format of type inet is not supported"));
    let list = Arc::new(Schema::new(vec![field("addresses", 1041, -1, true).unwrap()]));
    assert_eq!(RowEncoder::new(list, &[Format::Binary], &style("UTC")).unwrap_err().kind(), Kind::Unsupported);
}

#[test]
fn a_value_beyond_a_gibibyte_is_too_large() {
    assert!(column::check_length(column::VALUE_BYTES_MAX).is_ok());
    assert_eq!(column::check_length(1 << 30).unwrap_err().kind(), Kind::TooLarge);
    // 2^29 bytes are 2^30 + 2 characters of hex. Zeroed pages that nobody touches take no memory.
    let zeros = arrow::buffer::Buffer::from_vec(vec![0u8; 1 << 29]);
    let huge: ArrayRef = Arc::new(BinaryArray::new(OffsetBuffer::from_lengths([1 << 29]), zeros, None));
    let error = value_bytes(&Field::new("b", DataType::Binary, true), &huge, Format::Text, &style("UTC")).unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);
}

#[test]
fn text_is_what_a_cast_to_text_gives() {
    let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None]).with_timezone("UTC"));
    let mut out = BytesMut::new();
    assert!(text(array.as_ref(), 0, &new_york(), &mut out).unwrap());
    assert!(!text(array.as_ref(), 1, &new_york(), &mut out).unwrap());
    assert!(!text(array.as_ref(), 2, &new_york(), &mut out).unwrap(), "no such row");
    assert_eq!(&out[..], b"1969-12-31 19:00:00-05");
    let field = Field::new("t", array.data_type().clone(), true);
    assert_eq!(
        texts(&field, &array, &new_york()).unwrap(),
        StringArray::from(vec![Some("1969-12-31 19:00:00-05"), None])
    );
}

/// Text and binary are `numeric_out`'s and `numeric_send`'s.
#[test]
fn numerics_beyond_decimals_keep_every_digit() {
    let style = style("UTC");
    let long = format!("{}.{}", "9".repeat(90), "8".repeat(3));
    let rows = [
        ("NaN", "NaN", "00000000c0000000".to_owned()),
        ("-nan", "", String::new()),
        ("inf", "Infinity", "00000000d0000020".to_owned()),
        ("-Infinity", "-Infinity", "00000000f0000020".to_owned()),
        (long.as_str(), long.as_str(), format!("00180016000000030063{}22b0", "270f".repeat(22))),
    ];
    for (input, text, binary) in rows {
        let value = decode_parameter(1700, Format::Text, Some(input.as_bytes()), &style);
        if text.is_empty() {
            assert_eq!(value.unwrap_err().kind(), Kind::InvalidText, "{input}");
            continue;
        }
        let value = value.unwrap();
        assert!(matches!(value, ScalarValue::Binary(Some(_))), "{value:?}");
        let (field, array) = (field_of(1700, &value), value.to_array().unwrap());
        assert_eq!(text_of(&field, &array, &style), text);
        let sent = value_bytes(&field, &array, Format::Binary, &style).unwrap();
        assert_eq!(to_hex(&sent), binary, "{input}");
        assert_eq!(decode_parameter(1700, Format::Binary, Some(&sent), &style).unwrap(), value);
    }
    // short ones in the same form, as an expression has them
    let field = field("n", 1700, -1, true).unwrap().with_data_type(DataType::Binary);
    for (name, _, text, binary) in values::VALUES.iter().filter(|row| row.0 == "numeric") {
        let value = numeric::Numeric::parse(text).unwrap();
        let array: ArrayRef = Arc::new(BinaryArray::from_iter_values([value.encode()]));
        assert_eq!(text_of(&field, &array, &style), *text, "{name}");
        assert_eq!(to_hex(&value_bytes(&field, &array, Format::Binary, &style).unwrap()), *binary, "{text}");
    }
    let value = decode_parameter(1231, Format::Text, Some(b"{1.50,NaN,NULL}"), &style).unwrap();
    let array = value.to_array().unwrap();
    let field = field_of(1231, &value);
    assert_eq!(pg_type(&field).unwrap().oid, 1231);
    assert_eq!(text_of(&field, &array, &style), "{1.50,NaN,NULL}");
    let sent = value_bytes(&field, &array, Format::Binary, &style).unwrap();
    assert_eq!(decode_parameter(1231, Format::Binary, Some(&sent), &style).unwrap(), value);
}

#[test]
fn numerics_of_an_array_take_the_widest_scale() {
    let value = decode_parameter(1231, Format::Text, Some(b"{1,2.50,NULL,3.125}"), &style("UTC")).unwrap();
    let array = value.to_array().unwrap();
    assert_eq!(text_of(&field_of(1231, &value), &array, &style("UTC")), "{1.000,2.500,NULL,3.125}");
}

#[test]
fn long_arrays_are_read_in_pieces() {
    let style = style("UTC");
    let text = format!("{{{},NULL,2.125,12345678901234567890123456789012345678}}", ["1.5"; 10_000].join(","));
    let value = decode_parameter(1231, Format::Text, Some(text.as_bytes()), &style).unwrap();
    let array = value.to_array().unwrap();
    assert_eq!(array.as_list::<i32>().value_length(0), 10_003);
    let shown = text_of(&field_of(1231, &value), &array, &style);
    assert!(shown.starts_with("{1.500,1.500,"), "{}", &shown[..40]);
    assert!(shown.ends_with(",NULL,2.125,12345678901234567890123456789012345678.000}"));
    let pairs = format!("{{{}}}", ["{a,NULL}"; 5_000].join(","));
    let value = decode_parameter(1009, Format::Text, Some(pairs.as_bytes()), &style).unwrap();
    assert_eq!(text_of(&field_of(1009, &value), &value.to_array().unwrap(), &style), pairs);
}

#[test]
fn json_keeps_its_spelling_and_jsonb_does_not() {
    let style = style("UTC");
    let check = |oid, text: &str| match decode_parameter(oid, Format::Text, Some(text.as_bytes()), &style) {
        Ok(ScalarValue::Utf8(Some(text))) => Ok(text),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.kind().sqlstate()),
    };
    assert_eq!(check(114, r#"{"b": 1,"a":"\u0000", "b":2}"#).unwrap(), r#"{"b": 1,"a":"\u0000", "b":2}"#);
    assert_eq!(check(3802, r#"{"bb": 1,"a":"\u00e9", "bb":1.50}"#).unwrap(), r#"{"a": "é", "bb": 1.50}"#);
    let nested = ["[".repeat(100_000), "]".repeat(100_000)].concat();
    assert_eq!(check(114, &nested), Err("54001"));
    assert_eq!(check(3802, &nested), Err("54001"));
    assert_eq!([114, 3802].map(|oid| check(oid, "[1,]")), [Err("22P02"), Err("22P02")]);
    assert_eq!(check(3802, r#""\u0000""#), Err("22P05"));
    assert_eq!(check(3802, "1e1000000"), Err("22003"));
}

#[test]
fn hostile_array_headers_take_no_room() {
    let style = style("UTC");
    let header = |dimensions: i32, sizes: &[i32]| {
        let mut bytes = [dimensions, 0, 23].map(i32::to_be_bytes).concat();
        sizes.iter().for_each(|size| bytes.extend([size.to_be_bytes(), 1i32.to_be_bytes()].concat()));
        bytes
    };
    for bytes in [
        header(1, &[i32::MAX]),
        header(2, &[i32::MAX, i32::MAX]),
        header(1, &[-1]),
        header(7, &[1; 7]),
        header(-1, &[]),
    ] {
        let error = decode_parameter(1007, Format::Binary, Some(&bytes), &style).unwrap_err();
        assert!(matches!(error.kind(), Kind::InvalidBinary | Kind::Protocol), "{bytes:?}");
    }
    let error = decode_parameter(1009, Format::Binary, Some(&header(0, &[])), &style).unwrap_err();
    assert_eq!(error.kind(), Kind::TypeMismatch);
}

/// Whatever a client sends is a value or an error; what became a value can be shown, and in binary comes back the same.
#[test]
fn no_bytes_make_a_parameter_panic() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let style = new_york();
    let known = |oid| values::VALUES.iter().filter(|row| by_name(row.0).is_some_and(|(of, _)| of == oid)).collect();
    let kinds: Vec<(&TypeRow, Vec<_>)> = types().map(|row| (row, known(row.oid))).collect();
    let mut taken = 0;
    for round in 0..60_000 {
        let (row, known) = &kinds[random.random_range(0..kinds.len())];
        let oid = row.oid;
        let format = if random.random() { Format::Text } else { Format::Binary };
        let bytes = foreign_bytes(&mut random, row.size, known, format);
        let Ok(value) = decode_parameter(oid, format, Some(&bytes), &style) else { continue };
        taken += 1;
        if let Err(error) = shows_and_comes_back(oid, &value, &style) {
            panic!("seed {seed} round {round}: oid {oid} {format:?} {bytes:?}: {error:?}");
        }
    }
    println!("{taken} of 60000 were values");
    assert!(taken > 1_000, "too few reach the second half: {taken}");
}

/// Noise, noise of the right length, or a true value with a few bytes changed.
fn foreign_bytes(random: &mut StdRng, size: i16, known: &[&(&str, &str, &str, &str)], format: Format) -> Vec<u8> {
    let mut bytes = match (random.random_range(0..4), known.get(random.random_range(0..known.len().max(1)))) {
        (0..2, Some((_, input, _, _))) if format == Format::Text => input.as_bytes().to_vec(),
        (0..2, Some((_, _, _, hex))) => from_hex(hex),
        (2, _) => {
            const LETTERS: &[u8] = b"0123456789+-.:,/ {}[]()\"\\exTZPYMDHSaBCdayjnfi\xc3\xa9\x00";
            (0..random.random_range(0..24)).map(|_| LETTERS[random.random_range(0..LETTERS.len())]).collect()
        }
        _ => {
            let length = usize::try_from(size).unwrap_or(random.random_range(0..40));
            (0..length).map(|_| random.random()).collect()
        }
    };
    for _ in 0..random.random_range(0..3) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..3) {
            0 => bytes.insert(at, random.random()),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] = random.random(),
            _ => {}
        }
    }
    bytes
}

fn shows_and_comes_back(oid: u32, value: &ScalarValue, style: &Style) -> Result<()> {
    let array = value.to_array().map_err(|error| Error::internal("array").with_source(error))?;
    let field = field_of(oid, value);
    let text = value_bytes(&field, &array, Format::Text, style)?;
    let Ok(binary) = value_bytes(&field, &array, Format::Binary, style) else { return Ok(()) };
    let back = decode_parameter(oid, Format::Binary, Some(&binary), style)?;
    let array = back.to_array().map_err(|error| Error::internal("array").with_source(error))?;
    if value_bytes(&field_of(oid, &back), &array, Format::Text, style)? != text {
        return Err(Error::internal("another value came back"));
    }
    Ok(())
}
