//! What a table's metadata say, as rows: its snapshots, their history, names, manifests, partitions and files, under the
//! names that Trino and Spark have for them. Bounds and partitions are values of the table; who may see them is judged above.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::ScalarValue;
use iceberg::spec::{
    DataContentType, DataFile, Datum, Literal, ManifestContentType, ManifestFile, SnapshotRef, StructType, Type,
};
use serde_json::{Map, Value, json};

use super::manifest::{Entries, Entry};
use super::{Lake, Table, connect};
use crate::error::{Error, Kind, Result};

/// Files of a table that are listed: more are a matter for other tools.
const ROWS_MAX: usize = 500_000;

/// One of the tables of a table's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inspected {
    Snapshots,
    History,
    Refs,
    Manifests,
    Partitions,
    Files,
}

type Row = Vec<ScalarValue>;

impl Inspected {
    pub const ALL: [Self; 6] =
        [Self::Snapshots, Self::History, Self::Refs, Self::Manifests, Self::Partitions, Self::Files];

    /// Behind the table's name and a dollar sign.
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshots => "snapshots",
            Self::History => "history",
            Self::Refs => "refs",
            Self::Manifests => "manifests",
            Self::Partitions => "partitions",
            Self::Files => "files",
        }
    }

    /// Its rows tell values of the table, or how many rows it has.
    pub fn tells_values(self) -> bool {
        match self {
            Self::Snapshots | Self::Manifests | Self::Partitions | Self::Files => true,
            Self::History | Self::Refs => false,
        }
    }

    /// Columns whose text is JSON.
    pub fn json_columns(self) -> &'static [&'static str] {
        match self {
            Self::Snapshots => &["summary"],
            Self::History | Self::Refs => &[],
            Self::Manifests => &["partition_summaries"],
            Self::Partitions => &["partition"],
            Self::Files => &[
                "partition",
                "column_sizes",
                "value_counts",
                "null_value_counts",
                "nan_value_counts",
                "lower_bounds",
                "upper_bounds",
                "split_offsets",
                "equality_ids",
            ],
        }
    }

    pub fn schema(self) -> SchemaRef {
        use DataType::{Boolean, Int32, Int64, Utf8};
        let moment = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let columns: Vec<(&str, DataType)> = match self {
            Self::Snapshots => vec![
                ("committed_at", moment()),
                ("snapshot_id", Int64),
                ("parent_id", Int64),
                ("operation", Utf8),
                ("manifest_list", Utf8),
                ("summary", Utf8),
            ],
            Self::History => vec![
                ("made_current_at", moment()),
                ("snapshot_id", Int64),
                ("parent_id", Int64),
                ("is_current_ancestor", Boolean),
            ],
            Self::Refs => vec![
                ("name", Utf8),
                ("type", Utf8),
                ("snapshot_id", Int64),
                ("max_reference_age_in_ms", Int64),
                ("min_snapshots_to_keep", Int32),
                ("max_snapshot_age_in_ms", Int64),
            ],
            Self::Manifests => vec![
                ("content", Int32),
                ("path", Utf8),
                ("length", Int64),
                ("partition_spec_id", Int32),
                ("added_snapshot_id", Int64),
                ("added_data_files_count", Int32),
                ("existing_data_files_count", Int32),
                ("deleted_data_files_count", Int32),
                ("added_rows_count", Int64),
                ("existing_rows_count", Int64),
                ("deleted_rows_count", Int64),
                ("partition_summaries", Utf8),
            ],
            Self::Partitions => vec![
                ("partition", Utf8),
                ("spec_id", Int32),
                ("record_count", Int64),
                ("file_count", Int32),
                ("total_data_file_size_in_bytes", Int64),
                ("position_delete_record_count", Int64),
                ("position_delete_file_count", Int32),
                ("equality_delete_record_count", Int64),
                ("equality_delete_file_count", Int32),
            ],
            Self::Files => vec![
                ("content", Int32),
                ("file_path", Utf8),
                ("file_format", Utf8),
                ("spec_id", Int32),
                ("partition", Utf8),
                ("record_count", Int64),
                ("file_size_in_bytes", Int64),
                ("column_sizes", Utf8),
                ("value_counts", Utf8),
                ("null_value_counts", Utf8),
                ("nan_value_counts", Utf8),
                ("lower_bounds", Utf8),
                ("upper_bounds", Utf8),
                ("split_offsets", Utf8),
                ("equality_ids", Utf8),
                ("sort_order_id", Int32),
                ("referenced_data_file", Utf8),
            ],
        };
        let fields = columns.into_iter().map(|(name, of)| Field::new(name, of, true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

impl Lake {
    /// The rows of one of them, of the table as it is.
    pub async fn inspect(&self, table: &Table, what: Inspected) -> Result<RecordBatch> {
        let rows = match what {
            Inspected::Snapshots => snapshots(table),
            Inspected::History => history(table),
            Inspected::Refs => refs(table)?,
            Inspected::Manifests => self.manifest_rows(table).await?,
            Inspected::Partitions => self.partitions(table).await?,
            Inspected::Files => self.file_rows(table).await?,
        };
        let schema = what.schema();
        let column = |(at, field): (usize, &Arc<Field>)| -> Result<ArrayRef> {
            if rows.is_empty() {
                return Ok(new_empty_array(field.data_type()));
            }
            let values = rows.iter().map(|row| row.get(at).cloned().unwrap_or(ScalarValue::Null));
            Ok(ScalarValue::iter_to_array(values)?)
        };
        let columns = schema.fields().iter().enumerate().map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    async fn listed(&self, table: &Table) -> Result<Vec<ManifestFile>> {
        let list = self.manifests(table).await?;
        Ok(list.map(|list| list.entries().to_vec()).unwrap_or_default())
    }

    async fn manifest_rows(&self, table: &Table) -> Result<Vec<Row>> {
        let manifests = self.listed(table).await?;
        too_many(manifests.len())?;
        Ok(manifests.iter().map(|manifest| manifest_row(table, manifest)).collect())
    }

    /// Every live file with what its partition is called.
    async fn live(&self, table: &Table) -> Result<Vec<(ManifestContentType, Arc<Entry>, Value)>> {
        let mut live = vec![];
        for listed in self.listed(table).await? {
            let entries = self.manifest(&listed).await?;
            let of = entries.spec.partition_type(&entries.schema).ok();
            for entry in entries.entries.iter().filter(|entry| entry.is_live()) {
                live.push((listed.content, Arc::clone(entry), partition(&entries, of.as_ref(), &entry.file)));
            }
            too_many(live.len())?;
        }
        Ok(live)
    }

    async fn file_rows(&self, table: &Table) -> Result<Vec<Row>> {
        let live = self.live(table).await?;
        Ok(live.iter().map(|(_, entry, partition)| file_row(entry, partition)).collect())
    }

    async fn partitions(&self, table: &Table) -> Result<Vec<Row>> {
        #[derive(Default)]
        struct Sums {
            rows: u64,
            files: i32,
            bytes: u64,
            positions: (u64, i32),
            equalities: (u64, i32),
        }
        let mut all: BTreeMap<(i32, String), Sums> = BTreeMap::new();
        for (_, entry, partition) in self.live(table).await? {
            let sums = all.entry((entry.spec_id, partition.to_string())).or_default();
            let rows = entry.file.record_count();
            match entry.file.content_type() {
                DataContentType::Data => {
                    sums.rows = sums.rows.saturating_add(rows);
                    sums.files = sums.files.saturating_add(1);
                    sums.bytes = sums.bytes.saturating_add(entry.file.file_size_in_bytes());
                }
                DataContentType::PositionDeletes => {
                    sums.positions = (sums.positions.0.saturating_add(rows), sums.positions.1.saturating_add(1));
                }
                DataContentType::EqualityDeletes => {
                    sums.equalities = (sums.equalities.0.saturating_add(rows), sums.equalities.1.saturating_add(1));
                }
            }
        }
        let row = |((spec, partition), sums): ((i32, String), Sums)| {
            vec![
                text(partition),
                int(spec),
                count(sums.rows),
                int(sums.files),
                count(sums.bytes),
                count(sums.positions.0),
                int(sums.positions.1),
                count(sums.equalities.0),
                int(sums.equalities.1),
            ]
        };
        Ok(all.into_iter().map(row).collect())
    }
}

fn too_many(rows: usize) -> Result<()> {
    match rows > ROWS_MAX {
        true => Err(Error::new(Kind::TooLarge, format!("the table has more than {ROWS_MAX} files"))),
        false => Ok(()),
    }
}

fn snapshots(table: &Table) -> Vec<Row> {
    let mut all: Vec<&SnapshotRef> = table.metadata.snapshots().collect();
    all.sort_by_key(|snapshot| (snapshot.timestamp_ms(), snapshot.sequence_number()));
    let row = |snapshot: &&SnapshotRef| {
        let summary: BTreeMap<_, _> = snapshot.summary().additional_properties.iter().collect();
        vec![
            moment(snapshot.timestamp_ms()),
            ScalarValue::Int64(Some(snapshot.snapshot_id())),
            ScalarValue::Int64(snapshot.parent_snapshot_id()),
            text(snapshot.summary().operation.as_str()),
            text(snapshot.manifest_list()),
            text(json!(summary).to_string()),
        ]
    };
    all.iter().map(row).collect()
}

fn history(table: &Table) -> Vec<Row> {
    let main: HashSet<i64> = table.ancestry().collect();
    let parent = |id: i64| table.metadata.snapshot_by_id(id).and_then(|snapshot| snapshot.parent_snapshot_id());
    let row = |(ms, id): (i64, i64)| {
        vec![
            moment(ms),
            ScalarValue::Int64(Some(id)),
            ScalarValue::Int64(parent(id)),
            ScalarValue::Boolean(Some(main.contains(&id))),
        ]
    };
    table.log().into_iter().map(row).collect()
}

/// The crate lists them nowhere but in the file that it writes.
fn refs(table: &Table) -> Result<Vec<Row>> {
    let written = serde_json::to_value(table.metadata.as_ref()).map_err(|e| connect::broken(e.into()))?;
    let refs = written.get("refs").and_then(Value::as_object).cloned().unwrap_or_default();
    let refs: BTreeMap<String, Value> = refs.into_iter().collect();
    let row = |(name, said): (String, Value)| {
        let number = |key: &str| said.get(key).and_then(Value::as_i64);
        let kind = said.get("type").and_then(Value::as_str).unwrap_or_default().to_uppercase();
        vec![
            text(name),
            text(kind),
            ScalarValue::Int64(number("snapshot-id")),
            ScalarValue::Int64(number("max-ref-age-ms")),
            ScalarValue::Int32(number("min-snapshots-to-keep").and_then(|n| i32::try_from(n).ok())),
            ScalarValue::Int64(number("max-snapshot-age-ms")),
        ]
    };
    Ok(refs.into_iter().map(row).collect())
}

fn manifest_row(table: &Table, manifest: &ManifestFile) -> Row {
    let files = |n: Option<u32>| ScalarValue::Int32(n.and_then(|n| i32::try_from(n).ok()));
    let rows = |n: Option<u64>| ScalarValue::Int64(n.and_then(|n| i64::try_from(n).ok()));
    let types = table.metadata.partition_spec_by_id(manifest.partition_spec_id);
    let types = types.and_then(|spec| spec.partition_type(table.metadata.current_schema()).ok());
    let fields = types.iter().flat_map(|of| of.fields());
    let bound = |bytes: Option<&[u8]>, of: &Type| {
        let of = of.as_primitive_type()?.clone();
        Some(value(&Datum::try_from_bytes(bytes?, of).ok()?))
    };
    let summaries = manifest.partitions.iter().flatten().zip(fields).map(|(summary, field)| {
        json!({
            "field": field.name,
            "contains_null": summary.contains_null,
            "contains_nan": summary.contains_nan,
            "lower_bound": bound(summary.lower_bound.as_ref().map(|b| b.as_ref()), &field.field_type),
            "upper_bound": bound(summary.upper_bound.as_ref().map(|b| b.as_ref()), &field.field_type),
        })
    });
    let summaries = Value::Array(summaries.collect());
    let content = match manifest.content {
        ManifestContentType::Data => 0,
        ManifestContentType::Deletes => 1,
    };
    vec![
        int(content),
        text(manifest.manifest_path.as_str()),
        ScalarValue::Int64(Some(manifest.manifest_length)),
        int(manifest.partition_spec_id),
        ScalarValue::Int64(Some(manifest.added_snapshot_id)),
        files(manifest.added_files_count),
        files(manifest.existing_files_count),
        files(manifest.deleted_files_count),
        rows(manifest.added_rows_count),
        rows(manifest.existing_rows_count),
        rows(manifest.deleted_rows_count),
        text(summaries.to_string()),
    ]
}

fn file_row(entry: &Entry, partition: &Value) -> Row {
    let file = &entry.file;
    let content = match file.content_type() {
        DataContentType::Data => 0,
        DataContentType::PositionDeletes => 1,
        DataContentType::EqualityDeletes => 2,
    };
    let counts = |of: &std::collections::HashMap<i32, u64>| {
        let sorted: BTreeMap<i32, u64> = of.iter().map(|(id, n)| (*id, *n)).collect();
        text(json!(sorted).to_string())
    };
    let bounds = |of: &std::collections::HashMap<i32, Datum>| {
        let sorted: BTreeMap<i32, Value> = of.iter().map(|(id, datum)| (*id, value(datum))).collect();
        text(json!(sorted).to_string())
    };
    vec![
        int(content),
        text(file.file_path()),
        text(file.file_format().to_string().to_uppercase()),
        int(entry.spec_id),
        text(partition.to_string()),
        count(file.record_count()),
        count(file.file_size_in_bytes()),
        counts(file.column_sizes()),
        counts(file.value_counts()),
        counts(file.null_value_counts()),
        counts(file.nan_value_counts()),
        bounds(file.lower_bounds()),
        bounds(file.upper_bounds()),
        ScalarValue::Utf8(file.split_offsets().map(|offsets| json!(offsets).to_string())),
        ScalarValue::Utf8(file.equality_ids().map(|ids| json!(ids).to_string())),
        ScalarValue::Int32(file.sort_order_id()),
        ScalarValue::Utf8(file.referenced_data_file()),
    ]
}

/// `{"field": value}`.
fn partition(entries: &Entries, of: Option<&StructType>, file: &DataFile) -> Value {
    let fields = of.map(|of| of.fields()).unwrap_or_default();
    let mut shown = Map::new();
    for (at, field) in entries.spec.fields().iter().enumerate() {
        let literal = file.partition().fields().get(at).cloned().flatten();
        let of = fields.get(at).map(|field| field.field_type.as_ref());
        let value = literal.zip(of).and_then(|(literal, of)| literal.try_into_json(of).ok());
        shown.insert(field.name.clone(), value.unwrap_or(Value::Null));
    }
    Value::Object(shown)
}

fn value(datum: &Datum) -> Value {
    let literal = Literal::Primitive(datum.literal().clone());
    literal.try_into_json(&Type::Primitive(datum.data_type().clone())).unwrap_or(Value::Null)
}

fn text(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(value.into()))
}

fn int(value: i32) -> ScalarValue {
    ScalarValue::Int32(Some(value))
}

fn count(value: u64) -> ScalarValue {
    ScalarValue::Int64(i64::try_from(value).ok())
}

fn moment(ms: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(ms.checked_mul(1_000), Some("UTC".into()))
}
