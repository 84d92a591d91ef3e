//! Rules follow columns by their ids, whatever they were called.

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::logical_expr::{col, lit};

use super::*;
use crate::policy::ObjectKind;
use crate::types::TableName;

fn schema(names: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>()))
}

fn ids(ids: &[&str]) -> Vec<Vec<String>> {
    ids.iter().map(|id| vec![(*id).to_string()]).collect()
}

/// Now `region`, `mail`, `added`; then `area` (1), `mail` (9, dropped since), `address` (2).
fn past() -> Arc<Past> {
    let object = Object {
        id: ObjectId(7),
        name: TableName::new("s", "t"),
        schema: schema(&["region", "mail", "added"]),
        column_ids: ids(&["#1", "#2", "#3"]),
        raw_columns: BTreeSet::new(),
        kind: ObjectKind::Table,
    };
    Past::of(&object, &AsOf::Snapshot(5), schema(&["area", "mail", "address"]), &ids(&["#1", "#9", "#2"]))
}

#[test]
fn what_was_dropped_since_is_nobodys() {
    let then = past().grant(&Grant::full()).unwrap();
    assert_eq!((then.hidden.len(), then.hidden.contains("mail"), then.filter.is_none()), (1, true, true));
}

#[test]
fn a_rule_speaks_of_the_column_it_was_written_for() {
    let now = Grant {
        filter: Some(col("region").eq(lit(1_i64))),
        masks: [("mail".to_string(), lit(0_i64)), ("added".to_string(), lit(1_i64))].into(),
        ..Grant::full()
    };
    let then = past().grant(&now).unwrap();
    assert_eq!(then.filter.unwrap(), col("area").eq(lit(1_i64)));
    assert_eq!(then.masks.keys().collect::<Vec<_>>(), ["address"]);
    // the old `mail` is another column, of which no line can speak
    assert_eq!(then.hidden.iter().collect::<Vec<_>>(), ["mail"]);
}

#[test]
fn a_hidden_column_is_hidden_under_its_old_name() {
    let hidden: BTreeSet<String> = ["mail".to_string()].into();
    let then = past().grant(&Grant { hidden: hidden.clone(), denied: hidden, ..Grant::full() }).unwrap();
    assert_eq!(then.hidden.iter().collect::<Vec<_>>(), ["address", "mail"]);
    assert_eq!(then.denied.iter().collect::<Vec<_>>(), ["address"]);
}

#[test]
fn a_version_without_a_column_of_the_policy_is_nobodys() {
    for now in [
        Grant { filter: Some(col("added").gt(lit(0_i64))), ..Grant::full() },
        Grant { masks: [("mail".to_string(), col("added"))].into(), ..Grant::full() },
    ] {
        assert_eq!(past().grant(&now).unwrap_err().kind(), Kind::PermissionDenied);
    }
}
