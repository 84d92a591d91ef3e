//! What applies to what: places and sequence numbers, one row each of the specification's table.

use iceberg::spec::{DataFileBuilder, Literal, ManifestStatus};

use super::*;

fn entry(
    content: DataContentType,
    format: DataFileFormat,
    place: (i32, &[i32]),
    sequence: i64,
    build: impl FnOnce(&mut DataFileBuilder),
) -> Arc<Entry> {
    let mut builder = DataFileBuilder::default();
    builder
        .content(content)
        .file_path("f".into())
        .file_format(format)
        .record_count(10)
        .file_size_in_bytes(1)
        .partition(Struct::from_iter(place.1.iter().map(|p| Some(Literal::int(*p)))));
    build(&mut builder);
    Arc::new(Entry {
        status: ManifestStatus::Added,
        snapshot_id: Some(1),
        sequence,
        file_sequence: sequence,
        first_row: None,
        spec_id: place.0,
        file: builder.build().unwrap(),
    })
}

fn data(place: (i32, &[i32]), sequence: i64) -> Arc<Entry> {
    entry(DataContentType::Data, DataFileFormat::Parquet, place, sequence, |b| {
        b.file_path("data".into());
    })
}

/// `(positions or vector, keys)` that apply to data of sequence 5 in partition 7 of spec 1.
fn applied(content: DataContentType, place: (i32, &[i32]), sequence: i64, of: Option<&str>) -> (bool, bool) {
    let mut index = Index::default();
    let delete = entry(content, DataFileFormat::Parquet, place, sequence, |b| {
        b.referenced_data_file(of.map(String::from));
    });
    index.add(delete, place.1.is_empty()).unwrap();
    let applied = index.of(&data((1, &[7]), 5));
    (
        matches!(applied.positions, Positions::Files(_)),
        !(applied.keys_anywhere.is_empty() && applied.keys_here.is_empty()),
    )
}

#[test]
fn deletes_apply_by_place_and_sequence() {
    use DataContentType::{EqualityDeletes as Key, PositionDeletes as Position};
    for (content, place, sequence, of, expect) in [
        (Position, (1, &[7][..]), 5, None, (true, false)),
        (Position, (1, &[7]), 4, None, (false, false)),
        (Position, (1, &[8]), 5, None, (false, false)),
        (Position, (2, &[7]), 5, None, (false, false)),
        (Position, (1, &[7]), 5, Some("data"), (true, false)),
        (Position, (1, &[7]), 4, Some("data"), (false, false)),
        (Position, (1, &[7]), 5, Some("other"), (false, false)),
        (Key, (1, &[7]), 6, None, (false, true)),
        // An upsert's own rows stay.
        (Key, (1, &[7]), 5, None, (false, false)),
        (Key, (1, &[8]), 6, None, (false, false)),
        (Key, (2, &[7]), 6, None, (false, false)),
        (Key, (0, &[]), 6, None, (false, true)),
        (Key, (0, &[]), 5, None, (false, false)),
    ] {
        assert_eq!(applied(content, place, sequence, of), expect, "{content:?} {place:?} {sequence} {of:?}");
    }
}

#[test]
fn a_partition_column_that_was_promoted_is_the_same_partition() {
    let promoted = entry(DataContentType::EqualityDeletes, DataFileFormat::Parquet, (1, &[]), 6, |b| {
        b.partition(Struct::from_iter([Some(Literal::long(7))]));
    });
    let mut index = Index::default();
    index.add(promoted, false).unwrap();
    assert_eq!(index.of(&data((1, &[7]), 5)).keys_here.len(), 1);
    assert_eq!(index.of(&data((1, &[8]), 5)).keys_here.len(), 0);
    let float = |literal| {
        let built = entry(DataContentType::Data, DataFileFormat::Parquet, (1, &[]), 1, |b| {
            b.partition(Struct::from_iter([Some(literal)]));
        });
        partition_of(&built.file)
    };
    assert_eq!(float(Literal::float(0.5)), float(Literal::double(0.5)));
}

fn vector(of: Option<&str>, sequence: i64) -> Arc<Entry> {
    entry(DataContentType::PositionDeletes, DataFileFormat::Puffin, (1, &[7]), sequence, |b| {
        b.referenced_data_file(of.map(String::from));
    })
}

#[test]
fn a_vector_stands_for_all_positions_of_its_file() {
    let positions = || entry(DataContentType::PositionDeletes, DataFileFormat::Parquet, (1, &[7]), 6, |_| ());
    let mut index = Index::default();
    index.add(positions(), false).unwrap();
    index.add(vector(Some("data"), 6), false).unwrap();
    assert!(matches!(index.of(&data((1, &[7]), 5)).positions, Positions::Vector(_)));
    // Written before the file: it is another file's of the same name.
    assert!(matches!(index.of(&data((1, &[7]), 7)).positions, Positions::None));
    assert!(index.add(vector(Some("data"), 7), false).is_err());
    assert!(index.add(vector(None, 7), false).is_err());
}

#[test]
fn bounds_tell_which_files_positions_are_of() {
    let bounded = |lower: &str, upper: &str| {
        entry(DataContentType::PositionDeletes, DataFileFormat::Parquet, (1, &[7]), 6, |b| {
            b.lower_bounds([(DELETED_PATH, Datum::string(lower))].into());
            b.upper_bounds([(DELETED_PATH, Datum::string(upper))].into());
        })
    };
    for (lower, upper, expect) in
        [("data", "data", true), ("d", "e", true), ("e", "f", false), ("a", "b", false), ("other", "other", false)]
    {
        let mut index = Index::default();
        index.add(bounded(lower, upper), false).unwrap();
        let applies = matches!(index.of(&data((1, &[7]), 5)).positions, Positions::Files(_));
        assert_eq!(applies, expect, "{lower}..{upper}");
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    let mut index = Index::default();
    let avro = entry(DataContentType::EqualityDeletes, DataFileFormat::Avro, (0, &[]), 1, |_| ());
    assert_eq!(index.add(avro, true).unwrap_err().kind(), Kind::Unsupported);
    assert_eq!(index.add(data((0, &[]), 1), true).unwrap_err().kind(), Kind::SourceFailed);
}
