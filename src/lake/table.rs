//! A table as one metadata file describes it, and what that file says of it. It reads nothing and changes nothing.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use iceberg::spec::{FormatVersion, PrimitiveType, SnapshotRef, TableMetadata, Type};

use super::metadata::{Beyond, NewType};
use super::{BATCH, TableKey, schema, shown};

/// A table as one metadata file describes it. Immutable; the base of whatever is staged on it.
#[derive(Clone)]
pub struct Table {
    pub key: TableKey,
    /// Of the metadata file it was read from.
    pub location: String,
    /// What the catalog names: another file than `location` where that one is lost or damaged.
    pub(super) pointer: String,
    pub(super) metadata: Arc<TableMetadata>,
    /// What `metadata` does not say of the columns.
    pub(super) beyond: Arc<Beyond>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("key", &self.key).field("location", &self.location).finish_non_exhaustive()
    }
}

impl Table {
    /// The table's own identity: it survives renames and dies with a drop.
    pub fn uuid(&self) -> uuid::Uuid {
        self.metadata.uuid()
    }

    /// The columns, each field with its [`FIELD_ID`].
    pub fn schema(&self) -> SchemaRef {
        schema::arrow_schema(self.metadata.current_schema(), &self.beyond)
    }

    /// Ids of the columns that there are or were, nested ones too, whose sixteen bytes are a uuid.
    pub fn uuid_columns(&self) -> HashSet<i32> {
        let uuid = Type::Primitive(PrimitiveType::Uuid);
        let fields = self.metadata.schemas_iter().flat_map(|schema| schema.field_id_to_fields());
        fields.filter(|(_, f)| *f.field_type == uuid).map(|(id, _)| *id).collect()
    }

    /// Ids of the columns, nested ones too, that hold variants: their text is JSON.
    pub fn json_columns(&self) -> HashSet<i32> {
        self.beyond.ids(NewType::Variant)
    }

    /// The columns by which a row is known over all changes of the table, `_row_id` and `_last_updated_sequence_number`:
    /// they may be appended to the schema that [`super::Lake::read`] is given. NULL in tables before format version 3.
    pub fn lineage_columns() -> [FieldRef; 2] {
        schema::lineage_columns()
    }

    /// Where a row is, `_file` and `_pos`, for whoever would delete it: they may be appended to the schema that
    /// [`super::Lake::read`] is given.
    pub fn place_columns() -> [FieldRef; 2] {
        schema::place_columns()
    }

    /// Columns that say what they are, in words.
    pub fn documented(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.metadata.current_schema().as_struct().fields();
        fields.iter().filter_map(|field| Some((field.name.as_str(), field.doc.as_deref()?)))
    }

    /// Its rows have ids of their own, which they keep when they are changed.
    pub fn has_lineage(&self) -> bool {
        self.metadata.format_version() >= FormatVersion::V3
    }

    /// The columns by which the table's maker says that its rows are told apart ("Identifier Field IDs"). None where one
    /// of them is inside another column.
    pub fn key(&self) -> Vec<String> {
        let schema = self.metadata.current_schema();
        let fields = schema.as_struct().fields();
        let ids: HashSet<i32> = schema.identifier_field_ids().collect();
        let columns: Vec<String> = fields.iter().filter(|f| ids.contains(&f.id)).map(|f| f.name.clone()).collect();
        if columns.len() == ids.len() { columns } else { vec![] }
    }

    pub fn snapshot_id(&self) -> Option<i64> {
        self.metadata.current_snapshot_id()
    }

    /// Table properties: an ingest position among them.
    pub fn properties(&self) -> &HashMap<String, String> {
        self.metadata.properties()
    }

    /// What a snapshot of the table said of itself; `None` where it is not among the retained ones.
    pub fn summary(&self, snapshot: i64) -> Option<&HashMap<String, String>> {
        Some(&self.metadata.snapshot_by_id(snapshot)?.summary().additional_properties)
    }

    /// Snapshots from the newest back along main's ancestry, as far as they are retained.
    pub fn ancestry(&self) -> impl Iterator<Item = i64> + '_ {
        self.main().map(|snapshot| snapshot.snapshot_id())
    }

    pub(super) fn main(&self) -> impl Iterator<Item = &SnapshotRef> {
        let mut next = self.metadata.current_snapshot();
        std::iter::from_fn(move || {
            let here = next?;
            next = here.parent_snapshot_id().and_then(|id| self.metadata.snapshot_by_id(id));
            Some(here)
        })
    }

    /// Whether [`Table::ancestry`] goes back to the table's first snapshot: nothing of it has expired.
    pub fn is_whole(&self) -> bool {
        self.main().last().is_none_or(|oldest| oldest.parent_snapshot_id().is_none())
    }

    /// The sequence number of the next commit, if it is the next one.
    pub fn next_sequence(&self) -> i64 {
        self.metadata.next_sequence_number()
    }

    /// Whether main still stands on the commit of a batch, whose sequence number was `sequence` or a later one. False
    /// once another program has set the table back behind it. A history that has expired is believed.
    pub fn stands_on(&self, batch: &str, sequence: i64) -> bool {
        let is_ours = |snapshot: &SnapshotRef| {
            snapshot.summary().additional_properties.get(BATCH).is_some_and(|named| named == batch)
        };
        if self.main().any(is_ours) {
            return true;
        }
        let Some(oldest) = self.main().last().map(|oldest| oldest.sequence_number()) else { return false };
        // Retained and not on main. A tag may keep a snapshot from before the history that is known.
        let set_aside = self.metadata.snapshots().any(|s| is_ours(s) && s.sequence_number() >= oldest);
        // Main is known from its first snapshot on, or from one before ours.
        !set_aside && !self.is_whole() && oldest > sequence
    }

    /// A column, of whichever schema, that has a type which the crate does not know.
    pub(super) fn new_type(&self) -> Option<(String, &'static str)> {
        let schemas = std::iter::once(self.metadata.current_schema()).chain(self.metadata.schemas_iter());
        let fields = schemas.flat_map(|s| s.field_id_to_fields().values());
        fields.filter_map(|f| Some((f.name.clone(), self.beyond.of(f.id)?.name()))).next()
    }

    /// How errors name it.
    pub(super) fn shown(&self) -> String {
        shown(&self.key)
    }
}
