//! The system relations as a session without much rights sees them, and whether the image hangs together. No SQL runs here.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int16Type, Schema, UInt32Type};
use arrow::util::display::array_value_to_string;

use super::*;
use crate::catalog::visible::{BOOTSTRAP, FIRST_OID, Role, VisibleTable, named_oid};
use crate::formats::postgres::{OID, TYPMOD};

/// What an analyst sees of two tables and a dataset.
fn view() -> View {
    let typed = |name: &str, data_type, oid: u32, typmod: i32| {
        let metadata = [(OID.to_string(), oid.to_string()), (TYPMOD.to_string(), typmod.to_string())];
        Field::new(name, data_type, true).with_metadata(metadata.into())
    };
    let table = |schema: &str, table: &str, oid, kind, fields: Vec<Field>| VisibleTable {
        name: TableName::new(schema, table),
        oid,
        kind,
        schema: Arc::new(Schema::new(fields)),
        may_insert: table == "orders",
        owner: BOOTSTRAP.0.to_string(),
        definition: None,
    };
    View {
        database: "shop".into(),
        user: "ann".into(),
        roles: vec![
            Role { name: BOOTSTRAP.0.into(), oid: BOOTSTRAP.1, login: false, admin: true, member_of: vec![] },
            Role { name: "analyst".into(), oid: 20_001, login: false, admin: false, member_of: vec![] },
            Role { name: "ann".into(), oid: 20_002, login: true, admin: false, member_of: vec!["analyst".into()] },
        ],
        schemas: vec![
            ("crm".into(), 20_003),
            ("information_schema".into(), 13_207),
            ("pg_catalog".into(), 11),
            ("reports".into(), 20_004),
        ],
        tables: vec![
            table(
                "crm",
                "customers",
                30_001,
                'r',
                vec![
                    Field::new("id", DataType::Int64, false),
                    typed("name", DataType::Utf8, 1043, 24),
                    typed("credit", DataType::Decimal128(12, 2), 1700, ((12 << 16) | 2) + 4),
                ],
            ),
            table("crm", "orders", 30_002, 'r', vec![Field::new("id", DataType::Int64, false)]),
            table("reports", "sums", 30_003, 'v', vec![Field::new("n", DataType::Float64, true)]),
        ],
        pid: 4711,
        ..View::default()
    }
}

fn rows(name: &str) -> RecordBatch {
    let (schema, table) = name.split_once('.').expect("schema.table");
    let relation = relation(&TableName::new(schema, table)).expect(name);
    relation.rows(&view()).expect(name)
}

/// Chosen columns of the rows that a filter keeps, as text.
fn select(name: &str, columns: &[&str], keep: (&str, &str)) -> Vec<String> {
    let batch = rows(name);
    let text = |column: &str, row: usize| {
        array_value_to_string(batch.column_by_name(column).expect(column), row).expect("printable")
    };
    let kept = (0..batch.num_rows()).filter(|row| text(keep.0, *row) == keep.1);
    kept.map(|row| columns.iter().map(|c| text(c, row)).collect::<Vec<_>>().join("|")).collect()
}

#[test]
fn every_relation_gives_rows_of_its_own_columns() {
    assert!(image::relations().len() > 120);
    for declared in image::relations() {
        let batch = rows(&declared.name.to_string());
        assert_eq!(batch.schema(), declared.schema, "{}", declared.name);
        for (column, not_null) in batch.columns().iter().zip(&declared.not_null) {
            assert!(!not_null || column.null_count() == 0, "{}", declared.name);
        }
    }
}

#[test]
fn the_image_hangs_together() {
    let types = rows("pg_catalog.pg_type");
    let column = |name: &str| types.column_by_name(name).expect(name).as_primitive::<UInt32Type>().clone();
    let (oids, elements, arrays) = (column("oid"), column("typelem"), column("typarray"));
    for row in 0..types.num_rows() {
        let (oid, element, array) = (oids.value(row), elements.value(row), arrays.value(row));
        let kind = image::type_by_oid(oid).expect("a type of the same image");
        assert_eq!((kind.element, kind.array), (element, array), "{}", kind.name);
        if array != 0 {
            assert_eq!(image::type_by_oid(array).map(|a| a.element), Some(oid), "{}", kind.name);
        }
        for function in ["typinput", "typoutput", "typreceive", "typsend", "typsubscript"] {
            let function = column(function).value(row);
            assert!(function == 0 || image::procedure_name(function).is_some(), "{} {function}", kind.name);
        }
    }
    let unique: BTreeSet<u32> = image::relations().iter().map(|r| r.oid).collect();
    assert_eq!(unique.len(), image::relations().len());
    assert!(unique.iter().all(|oid| *oid < FIRST_OID));
}

#[test]
fn attributes_are_dense_and_typed_as_the_wire_types_them() {
    let columns = ["attname", "attnum", "atttypid", "atttypmod", "attlen", "attnotnull"];
    assert_eq!(
        select("pg_catalog.pg_attribute", &columns, ("attrelid", "30001")),
        ["id|1|20|-1|8|true", "name|2|1043|24|-1|false", "credit|3|1700|786438|-1|false"]
    );
    let declared = select("pg_catalog.pg_attribute", &["attname", "attnum"], ("attrelid", "1259"));
    assert_eq!((declared.len(), declared[0].as_str(), declared[32].as_str()), (33, "oid|1", "relpartbound|33"));
    let numbers = rows("pg_catalog.pg_attribute");
    let numbers = numbers.column_by_name("attnum").expect("attnum").as_primitive::<Int16Type>();
    assert!(numbers.iter().flatten().all(|n| n > 0));
}

#[test]
fn classes_tell_nothing_of_sizes() {
    let columns = ["relname", "relkind", "relnatts", "reltuples", "relpages", "relrowsecurity", "relam"];
    assert_eq!(
        select("pg_catalog.pg_class", &columns, ("relnamespace", "20003")),
        ["customers|r|3|-1.0|0|false|2", "orders|r|1|-1.0|0|false|2"]
    );
    assert_eq!(select("pg_catalog.pg_class", &["relname"], ("relkind", "v"))[0], "administrable_role_authorizations");
    assert_eq!(select("pg_catalog.pg_class", &["oid", "relkind"], ("relname", "pg_type")), ["1247|r"]);
    assert_eq!(select("pg_catalog.pg_views", &["viewowner", "definition"], ("viewname", "sums")), ["pg_lakegate|"]);
    assert_eq!(select("pg_catalog.pg_tables", &["tablename"], ("schemaname", "crm")), ["customers", "orders"]);
}

#[test]
fn information_schema_speaks_in_the_standards_words() {
    let columns = [
        "column_name",
        "ordinal_position",
        "is_nullable",
        "data_type",
        "character_maximum_length",
        "numeric_precision",
        "numeric_scale",
        "udt_name",
    ];
    assert_eq!(
        select("information_schema.columns", &columns, ("table_name", "customers")),
        [
            "id|1|NO|bigint||64|0|int8",
            "name|2|YES|character varying|20|||varchar",
            "credit|3|YES|numeric||12|2|numeric"
        ]
    );
    let tables = ["table_catalog", "table_schema", "table_type", "is_insertable_into"];
    assert_eq!(select("information_schema.tables", &tables, ("table_name", "orders")), ["shop|crm|BASE TABLE|YES"]);
    assert_eq!(select("information_schema.tables", &tables, ("table_name", "sums")), ["shop|reports|VIEW|NO"]);
    assert_eq!(select("information_schema.views", &["view_definition"], ("table_name", "sums")), [""]);
    let privileges = ["grantee", "privilege_type"];
    assert_eq!(
        select("information_schema.table_privileges", &privileges, ("table_name", "orders")),
        ["ann|SELECT", "ann|INSERT"]
    );
    assert_eq!(select("information_schema.applicable_roles", &["role_name"], ("grantee", "ann")), ["analyst"]);
    assert_eq!(select("information_schema.enabled_roles", &["role_name"], ("role_name", "ann")), ["ann"]);
    assert_eq!(select("information_schema.schemata", &["catalog_name"], ("schema_name", "crm")), ["shop"]);
}

#[test]
fn a_session_finds_itself_and_nobody_else() {
    assert_eq!(rows("pg_catalog.pg_roles").num_rows(), 3);
    assert_eq!(select("pg_catalog.pg_roles", &["rolname", "rolsuper"], ("rolcanlogin", "true")), ["ann|false"]);
    assert_eq!(select("pg_catalog.pg_auth_members", &["roleid"], ("member", "20002")), ["20001"]);
    assert_eq!(select("pg_catalog.pg_user", &["usesysid", "passwd"], ("usename", "ann")), ["20002|********"]);
    assert_eq!(select("pg_catalog.pg_stat_activity", &["usename", "datname", "query"], ("pid", "4711")), ["ann|shop|"]);
    let database = named_oid("database", "shop").to_string();
    assert_eq!(
        select("pg_catalog.pg_database", &["datname", "encoding", "datcollate"], ("oid", &database)),
        ["shop|6|C"]
    );
    assert_eq!(rows("pg_catalog.pg_namespace").num_rows(), 4);
    assert_eq!(select("pg_catalog.pg_settings", &["setting"], ("name", "search_path")), ["\"$user\", public"]);
}

#[test]
fn a_cell_for_an_unknown_column_is_an_error() {
    let declared = image::relations().iter().find(|r| r.name.table == "pg_am").expect("pg_am");
    let mut rows = Rows::new(declared.schema.clone(), &declared.not_null);
    assert!(rows.push([("oid", 1.into()), ("amtype", 't'.into())]).is_ok());
    assert!(rows.push([("amtype", 't'.into()), ("oid", 1.into())]).is_err());
    assert!(rows.push([("nosuch", 1.into())]).is_err());
}
