//! A table as it was: which snapshots and names its metadata still have, and the table at one of them. Who may read which
//! version is judged above; nothing is read here.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, SortOrder, UnboundPartitionSpec};

use super::{Table, connect, schema};
use crate::error::{Error, Kind, Result};

/// A retained snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    pub snapshot: i64,
    pub schema: i32,
}

impl Table {
    /// Every retained snapshot.
    pub fn versions(&self) -> Vec<Version> {
        let current = self.metadata.current_schema_id();
        let version = |snapshot: &iceberg::spec::SnapshotRef| Version {
            snapshot: snapshot.snapshot_id(),
            schema: snapshot.schema_id().unwrap_or(current),
        };
        self.metadata.snapshots().map(version).collect()
    }

    /// When each snapshot became the newest, in milliseconds since 1970, in that order.
    pub fn log(&self) -> Vec<(i64, i64)> {
        self.metadata.history().iter().map(|entry| (entry.timestamp_ms(), entry.snapshot_id)).collect()
    }

    /// Where a tag or a branch stands.
    pub fn named(&self, name: &str) -> Option<i64> {
        self.metadata.snapshot_for_ref(name).map(|snapshot| snapshot.snapshot_id())
    }

    /// The columns under each schema that the table has had.
    pub fn schemas(&self) -> Vec<(i32, SchemaRef)> {
        let one = |of: &iceberg::spec::SchemaRef| (of.schema_id(), schema::arrow_schema(of, &self.beyond));
        self.metadata.schemas_iter().map(one).collect()
    }

    /// The table at a snapshot, to be read and nothing else: under that snapshot's schema, with no word of later ones.
    pub fn at(&self, snapshot: i64) -> Result<Self> {
        let gone = || Error::new(Kind::InvalidParameter, format!("table {} has no snapshot {snapshot}", self.shown()));
        let found = self.metadata.snapshot_by_id(snapshot).ok_or_else(gone)?;
        let schema = found.schema_id().unwrap_or(self.metadata.current_schema_id());
        let reference = SnapshotReference::new(snapshot, SnapshotRetention::branch(None, None, None));
        // specs and orders of today may be by columns that were not there; files are read by the specs they were written with
        let built = self
            .metadata
            .as_ref()
            .clone()
            .into_builder(None)
            .add_default_partition_spec(UnboundPartitionSpec::builder().build())
            .and_then(|builder| builder.add_sort_order(SortOrder::unsorted_order()))
            // the one that was added last
            .and_then(|builder| builder.set_default_sort_order(-1))
            .and_then(|builder| builder.set_current_schema(schema))
            .and_then(|builder| builder.set_ref(MAIN_BRANCH, reference))
            .and_then(|builder| builder.build());
        let metadata = built.map_err(connect::broken)?.metadata;
        Ok(Self { metadata: Arc::new(metadata), ..self.clone() })
    }
}
