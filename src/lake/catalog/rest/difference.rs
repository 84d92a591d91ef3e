//! Two states of one table → what a REST catalog is asked for, so that it makes the second of the first: Iceberg's
//! requirements and updates. The rest of the lake makes metadata; only here are they taken apart again. It sends nothing.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{FormatVersion, MAIN_BRANCH, SnapshotRef, TableMetadata};
use iceberg::{TableRequirement, TableUpdate};

use super::super::super::maintain::retain;
use crate::error::Result;

/// The last one that was added, whatever number the server gave it.
const LAST: i32 = -1;

/// What must hold so that the updates mean what they meant: everything but the properties is as in `base`.
pub(super) fn requirements(base: &TableMetadata) -> Vec<TableRequirement> {
    vec![
        TableRequirement::UuidMatch { uuid: base.uuid() },
        TableRequirement::RefSnapshotIdMatch {
            r#ref: MAIN_BRANCH.to_string(),
            snapshot_id: base.current_snapshot_id(),
        },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: base.current_schema_id() },
        TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: base.last_column_id() },
        TableRequirement::DefaultSpecIdMatch { default_spec_id: base.default_partition_spec_id() },
        TableRequirement::LastAssignedPartitionIdMatch { last_assigned_partition_id: base.last_partition_id() },
        TableRequirement::DefaultSortOrderIdMatch { default_sort_order_id: base.default_sort_order_id() },
    ]
}

/// Of names that are moved or taken away, besides main: they stand where they stood.
pub(super) fn of_refs(base: &TableMetadata, new: &TableMetadata) -> Result<Vec<TableRequirement>> {
    let (was, now) = (retain::refs(base)?, retain::refs(new)?);
    let names: HashSet<&String> = was.keys().chain(now.keys()).collect();
    let moved = names.into_iter().filter(|name| *name != MAIN_BRANCH && was.get(*name) != now.get(*name));
    let stands = |name: &String| TableRequirement::RefSnapshotIdMatch {
        r#ref: name.clone(),
        snapshot_id: was.get(name).map(|reference| reference.snapshot_id),
    };
    Ok(moved.map(stands).collect())
}

/// Everything that makes a new table.
pub(super) fn from_nothing(new: &TableMetadata) -> Result<Vec<TableUpdate>> {
    let mut updates = vec![
        TableUpdate::AssignUuid { uuid: new.uuid() },
        TableUpdate::UpgradeFormatVersion { format_version: new.format_version() },
        TableUpdate::SetLocation { location: new.location().to_string() },
    ];
    columns(None, new, &mut updates);
    updates.push(TableUpdate::SetProperties { updates: new.properties().clone() });
    updates.extend(came(None, new).into_iter().map(added));
    names(None, new, &mut updates)?;
    Ok(updates)
}

/// Nothing where the two say the same, whenever it was said.
pub(super) fn updates(base: &TableMetadata, new: &TableMetadata) -> Result<Vec<TableUpdate>> {
    let mut updates = vec![];
    if base.location() != new.location() {
        updates.push(TableUpdate::SetLocation { location: new.location().to_string() });
    }
    let mut after = came(Some(base), new);
    if number(base) < number(new) {
        // version 3 takes no snapshot without row ids
        let (before, rest): (Vec<_>, Vec<_>) = after.into_iter().partition(|snapshot| snapshot.row_range().is_none());
        updates.extend(before.into_iter().map(added));
        after = rest;
        updates.push(TableUpdate::UpgradeFormatVersion { format_version: new.format_version() });
    }
    columns(Some(base), new, &mut updates);
    updates.extend(after.into_iter().map(added));
    names(Some(base), new, &mut updates)?;
    properties(base.properties(), new.properties(), &mut updates);
    Ok(updates)
}

/// Columns, partitions and orders, each numbered in the order in which they come.
fn columns(base: Option<&TableMetadata>, new: &TableMetadata, updates: &mut Vec<TableUpdate>) {
    let known = |id: i32| base.is_some_and(|base| base.schema_by_id(id).is_some());
    let mut schemas: Vec<_> = new.schemas_iter().filter(|s| !known(s.schema_id())).collect();
    schemas.sort_by_key(|schema| schema.schema_id());
    let last = schemas.last().map(|schema| schema.schema_id());
    updates.extend(schemas.into_iter().map(|s| TableUpdate::AddSchema { schema: s.as_ref().clone() }));
    let id = new.current_schema_id();
    if base.is_none_or(|base| base.current_schema_id() != id) {
        let schema_id = if last == Some(id) { LAST } else { id };
        updates.push(TableUpdate::SetCurrentSchema { schema_id });
    }
    let known = |id: i32| base.is_some_and(|base| base.partition_spec_by_id(id).is_some());
    let mut specs: Vec<_> = new.partition_specs_iter().filter(|s| !known(s.spec_id())).collect();
    specs.sort_by_key(|spec| spec.spec_id());
    let last = specs.last().map(|spec| spec.spec_id());
    updates.extend(specs.into_iter().map(|s| TableUpdate::AddSpec { spec: s.as_ref().clone().into_unbound() }));
    let id = new.default_partition_spec_id();
    if base.is_none_or(|base| base.default_partition_spec_id() != id) {
        let spec_id = if last == Some(id) { LAST } else { id };
        updates.push(TableUpdate::SetDefaultSpec { spec_id });
    }
    let known = |id: i64| base.is_some_and(|base| base.sort_order_by_id(id).is_some());
    let mut orders: Vec<_> = new.sort_orders_iter().filter(|o| !known(o.order_id)).collect();
    orders.sort_by_key(|order| order.order_id);
    let last = orders.last().map(|order| order.order_id);
    updates.extend(orders.into_iter().map(|o| TableUpdate::AddSortOrder { sort_order: o.as_ref().clone() }));
    let id = new.default_sort_order_id();
    if base.is_none_or(|base| base.default_sort_order_id() != id) {
        let sort_order_id = if last == Some(id) { LAST.into() } else { id };
        updates.push(TableUpdate::SetDefaultSortOrder { sort_order_id });
    }
}

/// Snapshots that `base` does not have, the oldest first.
fn came<'a>(base: Option<&TableMetadata>, new: &'a TableMetadata) -> Vec<&'a SnapshotRef> {
    let known = |id: i64| base.is_some_and(|base| base.snapshot_by_id(id).is_some());
    let mut came: Vec<&SnapshotRef> = new.snapshots().filter(|s| !known(s.snapshot_id())).collect();
    came.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.timestamp_ms()));
    came
}

fn added(snapshot: &SnapshotRef) -> TableUpdate {
    TableUpdate::AddSnapshot { snapshot: snapshot.as_ref().clone() }
}

/// Names that move, and snapshots that go; after those that come, since a name needs its snapshot.
fn names(base: Option<&TableMetadata>, new: &TableMetadata, updates: &mut Vec<TableUpdate>) -> Result<()> {
    let was = base.map(retain::refs).transpose()?.unwrap_or_default();
    let now = retain::refs(new)?;
    for (name, reference) in &now {
        if was.get(name) != Some(reference) {
            let (ref_name, reference) = (name.clone(), reference.clone());
            updates.push(TableUpdate::SetSnapshotRef { ref_name, reference });
        }
    }
    let gone = was.keys().filter(|name| !now.contains_key(*name));
    updates.extend(gone.map(|name| TableUpdate::RemoveSnapshotRef { ref_name: name.clone() }));
    let Some(base) = base else { return Ok(()) };
    let statistics = base.statistics_iter().map(|s| s.snapshot_id);
    let statistics = statistics.filter(|id| new.statistics_for_snapshot(*id).is_none());
    updates.extend(statistics.map(|snapshot_id| TableUpdate::RemoveStatistics { snapshot_id }));
    let statistics = base.partition_statistics_iter().map(|s| s.snapshot_id);
    let statistics = statistics.filter(|id| new.partition_statistics_for_snapshot(*id).is_none());
    updates.extend(statistics.map(|snapshot_id| TableUpdate::RemovePartitionStatistics { snapshot_id }));
    let mut gone: Vec<i64> =
        base.snapshots().map(|s| s.snapshot_id()).filter(|id| new.snapshot_by_id(*id).is_none()).collect();
    if !gone.is_empty() {
        gone.sort_unstable();
        updates.push(TableUpdate::RemoveSnapshots { snapshot_ids: gone });
    }
    Ok(())
}

fn properties(base: &HashMap<String, String>, new: &HashMap<String, String>, updates: &mut Vec<TableUpdate>) {
    let changed = new.iter().filter(|(key, value)| base.get(*key) != Some(value));
    let changed: HashMap<String, String> = changed.map(|(key, value)| (key.clone(), value.clone())).collect();
    if !changed.is_empty() {
        updates.push(TableUpdate::SetProperties { updates: changed });
    }
    let mut removals: Vec<String> = base.keys().filter(|key| !new.contains_key(*key)).cloned().collect();
    if !removals.is_empty() {
        removals.sort_unstable();
        updates.push(TableUpdate::RemoveProperties { removals });
    }
}

/// Of the format's version.
pub(super) fn number(metadata: &TableMetadata) -> u8 {
    match metadata.format_version() {
        FormatVersion::V1 => 1,
        FormatVersion::V2 => 2,
        FormatVersion::V3 => 3,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use iceberg::spec::{NestedField, PrimitiveType, Type};

    use super::*;
    use crate::lake::fixture::{lake, rows};
    use crate::lake::{Action, Also, BatchId, Columns, Lake, Making, Outcome, RefKind, Staged, Table, catalog};

    async fn commit(lake: &Lake, base: &Table, actions: Vec<Action>, properties: &[(&str, &str)]) -> Table {
        let properties = properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let staged = Staged { properties, ..Staged::new(base.clone(), actions, BatchId::new()) };
        match lake.commit(vec![staged], &Also::default()).await.unwrap() {
            Outcome::Committed(mut tables) => tables.remove(0),
            other => panic!("{other:?}"),
        }
    }

    async fn append(lake: &Lake, base: &Table) -> Action {
        Action::Append(lake.write(base, BatchId::new(), rows(&[1, 2])).await.unwrap())
    }

    /// Everything that the lake can do to a table, one commit each.
    async fn history(lake: &Lake) -> Vec<Arc<TableMetadata>> {
        let stream = rows(&[1]);
        let schema = stream.schema();
        let columns = Columns { schema: &schema, is_uuid: &|_| false, all_nullable: true };
        let key = lake.key("s", "t");
        let mut table = lake.create_table(&key, &columns, Making::default(), Some(stream)).await.unwrap().0;
        let first = table.snapshot_id().unwrap();
        let mut states = vec![Arc::clone(&table.metadata)];
        let wide = NestedField::optional(2, "y", Type::Primitive(PrimitiveType::String));
        for step in 0..10 {
            let (actions, properties) = match step {
                0 => (vec![append(lake, &table).await], &[][..]),
                1 => (vec![], &[("a", "1"), ("b", "2")][..]),
                2 => (
                    vec![Action::SetRef { name: "kept".into(), was: None, snapshot: first, kind: RefKind::Tag }],
                    &[][..],
                ),
                3 => (vec![Action::partition_by(&table, &[("x", "bucket[4]")]).unwrap()], &[][..]),
                4 => {
                    let now = table.metadata.current_schema().as_ref().clone().into_builder();
                    let schema = now.with_fields([Arc::new(wide.clone())]).with_schema_id(1).build().unwrap();
                    (vec![Action::Evolve { schema: Box::new(schema), judges_rows: false }], &[][..])
                }
                5 => (vec![Action::Unset(vec!["a".into()])], &[("b", "3")][..]),
                6 => (vec![Action::RemoveRef { name: "kept".into(), was: first }], &[][..]),
                7 => (vec![Action::Expire { snapshots: vec![first], refs: vec![] }], &[][..]),
                8 => (vec![Action::Upgrade], &[][..]),
                _ => (vec![Action::partition_by(&table, &[]).unwrap()], &[][..]),
            };
            table = commit(lake, &table, actions, properties).await;
            states.push(Arc::clone(&table.metadata));
        }
        states
    }

    #[tokio::test]
    async fn what_is_asked_for_makes_the_second_state_of_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let states = history(&lake(&directory).await).await;
        for (from, base) in states.iter().enumerate() {
            // several commits at once, too
            for (to, new) in states.iter().enumerate().skip(from) {
                let asked = updates(base, new).unwrap();
                assert_eq!(asked.is_empty(), from == to, "{from} → {to}");
                assert_eq!(catalog::says_the_same(base, new).unwrap(), from == to, "{from} → {to}");
                let sent: Vec<TableUpdate> = serde_json::from_value(serde_json::to_value(&asked).unwrap()).unwrap();
                let builder = base.as_ref().clone().into_builder(Some("before".into()));
                let made = sent.into_iter().try_fold(builder, |builder, update| update.apply(builder)).unwrap();
                let made = made.build().unwrap().metadata;
                let left = updates(&made, new).unwrap();
                assert!(left.is_empty(), "{from} → {to}: {left:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_required_holds_of_the_base_and_of_nothing_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let states = history(&lake(&directory).await).await;
        let holds =
            |base: &TableMetadata, now: &TableMetadata| requirements(base).iter().all(|r| r.check(Some(now)).is_ok());
        for base in &states {
            assert!(holds(base, base));
        }
        // rows, columns, partitions; properties and names are others' to change
        for (from, to) in [(0, 1), (3, 4), (4, 5), (9, 10)] {
            assert!(!holds(&states[from], &states[to]), "{from} → {to}");
        }
        let tagged = of_refs(&states[2], &states[3]).unwrap();
        assert_eq!(tagged.len(), 1);
        assert!(tagged[0].check(Some(&states[2])).is_ok() && tagged[0].check(Some(&states[3])).is_err());
    }
}
