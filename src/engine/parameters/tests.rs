//! What a place demands, without a client: plans over a table of a few types.

use datafusion::catalog::MemTable;
use datafusion::prelude::SessionContext;

use super::*;

/// `$1`, `$2` … as PostgreSQL calls their types, where the client declared nothing.
async fn check(sql: &str, expect: &[&str]) {
    let columns = [
        ("i", DataType::Int32),
        ("l", DataType::Int64),
        ("t", DataType::Utf8),
        ("n", DataType::Decimal128(12, 2)),
        ("b", DataType::Boolean),
    ];
    let columns = columns.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec();
    let table = MemTable::try_new(Arc::new(arrow::datatypes::Schema::new(columns)), vec![vec![]]).unwrap();
    let context = SessionContext::new();
    context.register_table("s", Arc::new(table)).unwrap();
    let plan = context.state().create_logical_plan(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    let found = types(&plan, &[]).unwrap();
    let shown = found.iter().map(|f| postgres::pg_type(f).unwrap());
    let shown: Vec<_> = shown.map(|t| postgres::type_name(t.oid, t.typmod)).collect();
    assert_eq!(shown, expect, "{sql}");
}

#[tokio::test]
async fn the_place_says_the_type() {
    for (sql, expect) in [
        ("SELECT i FROM s WHERE i = $1 AND l < $2", &["integer", "bigint"][..]),
        ("SELECT i FROM s WHERE $1 >= n", &["numeric(12,2)"]),
        ("SELECT i FROM s WHERE l = ANY($1)", &["bigint[]"]),
        ("SELECT i FROM s WHERE t = ANY($1) OR i IN ($2, $3)", &["text[]", "integer", "integer"]),
        ("SELECT i FROM s WHERE i <> ALL($1) AND l > ALL($2)", &["integer[]", "bigint[]"]),
        ("SELECT i FROM s WHERE (t IS NOT DISTINCT FROM $1) AND (l IS DISTINCT FROM $2)", &["text", "bigint"]),
        ("SELECT i FROM s WHERE $1", &["boolean"]),
        ("SELECT i FROM s WHERE EXISTS (SELECT 1 WHERE $1) AND ($2 OR NOT $3)", &["boolean"; 3]),
        ("SELECT a.i FROM s a JOIN s b ON a.i = b.i AND $1", &["boolean"]),
        ("SELECT CASE WHEN $1 THEN l ELSE $2 END FROM s", &["boolean", "bigint"]),
        ("SELECT coalesce($1, l), coalesce(t, $2) FROM s", &["bigint", "text"]),
        ("SELECT $1::int8, $2::numeric, $3::numeric(5,1)", &["bigint", "numeric", "numeric(5,1)"]),
        ("SELECT i FROM s LIMIT $1 OFFSET $2", &["bigint", "bigint"]),
        ("SELECT $1", &["text"]),
    ] {
        check(sql, expect).await;
    }
}

/// The client's word counts, and it is told its own word again, whatever the planner needs.
#[test]
fn a_varchar_is_a_text_for_the_planner() {
    let declared = |oid: u32, data_type| {
        let metadata = [(OID.to_string(), oid.to_string())].into();
        Arc::new(Field::new("$1", data_type, true).with_metadata(metadata))
    };
    for (oid, data_type, kept) in [
        (postgres::VARCHAR, DataType::Utf8, false),
        (21, DataType::Int16, false),
        (postgres::NUMERIC, DataType::Decimal128(38, 10), true),
        (26, DataType::Int64, true),
        (114, DataType::Utf8, true),
    ] {
        assert_eq!(!for_planning(&declared(oid, data_type)).metadata().is_empty(), kept, "{oid}");
    }
}
