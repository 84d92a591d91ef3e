//! The system relations as a session without much rights sees them, and whether the image hangs together. No SQL runs here.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int16Type, Schema, UInt32Type};
use arrow::util::display::array_value_to_string;

use super::*;
use crate::catalog::visible::{
    BOOTSTRAP, Constraint, Declared, FIRST_OID, Index, References, Role, Sight, VisibleTable, named_oid,
};
use crate::formats::postgres::{OID, TYPMOD};

/// A key into another table's, and comments.
fn keys() -> Declared {
    let references = References { table: 30_001, columns: vec![1], on_update: 'a', on_delete: 'c', matching: 's' };
    let key = |oid, name: &str, kind, references| Constraint {
        oid,
        name: name.into(),
        kind,
        columns: vec![1],
        index: 40_001,
        references,
        deferrable: false,
        deferred: false,
    };
    Declared {
        indexes: vec![Index {
            oid: 40_001,
            name: TableName::new("crm", "orders_pkey"),
            columns: vec![1],
            options: vec![3],
            classes: vec![image::default_operator_class(20)],
            unique: true,
            primary: true,
        }],
        constraints: vec![
            key(40_002, "orders_pkey", 'p', None),
            key(40_003, "orders_customer_fkey", 'f', Some(references)),
        ],
        comment: Some("what was bought".into()),
        comments: vec![(1, "its number".into())],
        defaults: vec![(1, "0".into())],
        sequences: vec![],
        reads: vec![],
        is_unpopulated: false,
    }
}

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
        may_update: false,
        may_delete: false,
        owner: BOOTSTRAP.0.to_string(),
        definition: None,
        declared: if table == "orders" { keys() } else { Declared::default() },
    };
    View {
        database: "shop".into(),
        user: "ann".into(),
        sight: Arc::new(Sight {
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
                table("reports", "kept", 30_004, 'm', vec![Field::new("n", DataType::Float64, true)]),
                table("reports", "sums", 30_003, 'v', vec![Field::new("n", DataType::Float64, true)]),
            ],
            ..Sight::default()
        }),
        pid: 4711,
        ..View::default()
    }
}

fn rows(name: &str) -> RecordBatch {
    let (schema, table) = name.split_once('.').expect("schema.table");
    let relation = relation(&TableName::new(schema, table)).expect(name);
    let batches = relation.read(&view(), &Asked::default()).expect(name);
    concat_batches(&relation.declared.schema, &batches).expect(name)
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
    assert_eq!(image::relations().iter().filter(|r| r.kind != 't').count(), 208);
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
    let declared = image::relation_by_name(&TableName::new("pg_catalog", "pg_type")).expect("pg_type");
    let types = image::fixed(declared).expect("rows");
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
            assert!(function == 0 || image::function_by_oid(function).is_some(), "{} {function}", kind.name);
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
        [
            "id|1|20|-1|8|true",
            "name|2|1043|24|-1|false",
            "credit|3|1700|786438|-1|false",
            "tableoid|-6|26|-1|4|true",
            "cmax|-5|29|-1|4|true",
            "xmax|-4|28|-1|4|true",
            "cmin|-3|29|-1|4|true",
            "xmin|-2|28|-1|4|true",
            "ctid|-1|27|-1|6|true"
        ]
    );
    let declared = select("pg_catalog.pg_attribute", &["attname", "attnum"], ("attrelid", "1259"));
    assert_eq!((declared.len(), declared[0].as_str(), declared[32].as_str()), (39, "oid|1", "relpartbound|33"));
    let index = select("pg_catalog.pg_attribute", &["attname", "attnum"], ("attrelid", "40001"));
    assert_eq!(index, ["id|1"]);
    let numbers = rows("pg_catalog.pg_attribute");
    let numbers = numbers.column_by_name("attnum").expect("attnum").as_primitive::<Int16Type>();
    assert!(numbers.iter().flatten().all(|n| n != 0));
}

#[test]
fn keys_are_shown_in_every_form() {
    let columns = ["conname", "contype", "conrelid", "conindid", "confrelid", "conkey", "confkey", "confdeltype"];
    assert_eq!(
        select("pg_catalog.pg_constraint", &columns, ("connamespace", "20003")),
        ["orders_pkey|p|30002|40001|0|[1]|| ", "orders_customer_fkey|f|30002|40001|30001|[1]|[1]|c"]
    );
    let columns = ["indrelid", "indisunique", "indkey", "indclass"];
    assert_eq!(select("pg_catalog.pg_index", &columns, ("indexrelid", "40001")), ["30002|true|[1]|[3124]"]);
    assert_eq!(
        select("pg_catalog.pg_indexes", &["indexdef"], ("tablename", "orders")),
        ["CREATE UNIQUE INDEX orders_pkey ON crm.orders USING btree (id DESC)"]
    );
    assert_eq!(select("pg_catalog.pg_class", &["oid", "relkind"], ("relname", "orders_pkey")), ["40001|i"]);
    let columns = ["constraint_name", "constraint_type"];
    assert_eq!(
        select("information_schema.table_constraints", &columns, ("table_name", "orders")),
        ["orders_pkey|PRIMARY KEY", "orders_customer_fkey|FOREIGN KEY", "20003_30002_1_not_null|CHECK"]
    );
    let columns = ["table_name", "column_name"];
    assert_eq!(
        select("information_schema.constraint_column_usage", &columns, ("constraint_name", "orders_customer_fkey")),
        ["customers|id"]
    );
    let view = view();
    let shown = |oid| view.constraint_by_oid(oid).map(|(of, key)| keys::constraint_definition(&view, of, key));
    assert_eq!(shown(40_002).as_deref(), Some("PRIMARY KEY (id)"));
    assert_eq!(shown(40_003).as_deref(), Some("FOREIGN KEY (id) REFERENCES crm.customers(id) ON DELETE CASCADE"));
    assert_eq!(shown(10_115).as_deref(), Some("PRIMARY KEY (oid)"));
    assert_eq!(shown(1), None);
}

#[test]
fn comments_are_those_of_sources_and_of_postgresql() {
    let view = view();
    assert_eq!(text::comment(&view, 30_002, Some(text::CLASS), 0), Some("what was bought"));
    assert_eq!(text::comment(&view, 30_002, None, 1), Some("its number"));
    assert_eq!(text::comment(&view, 30_001, None, 0), None);
    assert_eq!(text::comment(&view, 1397, Some(1255), 0), Some("absolute value"));
    assert_eq!(text::comment(&view, 1397, Some(1247), 0), None);
    let columns = ["objsubid", "description"];
    let own = select("pg_catalog.pg_description", &columns, ("objoid", "30002"));
    assert_eq!(own, ["0|what was bought", "1|its number"]);
}

#[test]
fn what_is_not_asked_for_is_not_made() {
    let relation = relation(&TableName::new("pg_catalog", "pg_attribute")).expect("pg_attribute");
    let at = |name: &str| relation.declared.schema.index_of(name).expect(name);
    let asked = Asked {
        columns: Some(vec![at("attrelid"), at("attname")]),
        equal: vec![("attrelid".into(), vec![30_002.into()])],
    };
    let batches = relation.read(&view(), &asked).expect("rows");
    let own = batches.last().expect("the session's own");
    assert_eq!((own.num_columns(), own.num_rows()), (2, 7));
    assert_eq!(own.schema().field(1).name(), "attname");
}

#[test]
fn a_relation_without_rows_is_said_to_have_none() {
    let mut said: Vec<&str> = EMPTY.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let of_catalog = image::relations().iter().filter(|r| r.name.schema == "pg_catalog");
    let mut empty: Vec<&str> =
        of_catalog.filter(|r| rows(&r.name.to_string()).num_rows() == 0).map(|r| r.name.table.as_str()).collect();
    said.sort_unstable();
    empty.sort_unstable();
    // this session has no cursor open and holds no lock, and there is no view and no column that counts
    empty.retain(|name| !matches!(*name, "pg_cursors" | "pg_depend" | "pg_locks" | "pg_sequence" | "pg_sequences"));
    assert_eq!(said, empty);
}

#[test]
fn functions_are_written_as_postgresql_writes_them() {
    let function = |oid| image::function_by_oid(oid).expect("a function");
    assert_eq!(function(1397).arguments(true), "integer");
    assert_eq!(function(1397).result_text().as_deref(), Some("integer"));
    assert_eq!(
        function(3713).arguments(true),
        "parser_oid oid, OUT tokid integer, OUT alias text, OUT description text"
    );
    assert_eq!(function(3464).arguments(false).split(", ").last(), Some("secs double precision"));
    assert_eq!(function(3464).arguments(true).split(", ").last(), Some("secs double precision DEFAULT 0.0"));
    assert_eq!(function(3713).result_text().as_deref(), Some("SETOF record"));
    assert_eq!(
        function(1397).definition().as_deref(),
        Some(
            "CREATE OR REPLACE FUNCTION pg_catalog.abs(integer)\n RETURNS integer\n LANGUAGE internal\n \
             IMMUTABLE PARALLEL SAFE STRICT\nAS $function$int4abs$function$\n"
        )
    );
    assert_eq!(function(2147).definition(), None);
}

#[test]
fn classes_tell_nothing_of_sizes() {
    let columns = ["relname", "relkind", "relnatts", "reltuples", "relpages", "relrowsecurity", "relam"];
    assert_eq!(
        select("pg_catalog.pg_class", &columns, ("relnamespace", "20003")),
        ["customers|r|3|-1.0|0|false|2", "orders|r|1|-1.0|0|false|2", "orders_pkey|i|1|-1.0|0|false|403"]
    );
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
        ["ann|INSERT", "ann|SELECT"]
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
    let mut rows = Rows::all(declared);
    assert!(rows.push([("oid", 1.into()), ("amtype", 't'.into())]).is_ok());
    assert!(rows.push([("amtype", 't'.into()), ("oid", 1.into())]).is_err());
    assert!(rows.push([("nosuch", 1.into())]).is_err());
}
