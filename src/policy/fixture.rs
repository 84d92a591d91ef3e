//! A small shop for the tests of this floor: its tables, its people. No rules; each test brings its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, TableSource};
use datafusion::sql::sqlparser::ast::Statement;

use super::compile::{Objects, Policies};
use super::decide::SessionPolicy;
use super::file::{Draft, Fault};
use super::{Object, ObjectKind};
use crate::pgtype::{self, Ty};
use crate::secret::Secret;
use crate::sql::bind::{Binder, Found, Relations};
use crate::sql::kernel::Env;
use crate::sql::resolve::{Context, Parameters};
use crate::types::{ObjectId, TableName};

/// alice: EU, DE and AT; bob: US; the others without attributes.
pub(in crate::policy) const USERS: &str = r#"
[attributes]
region = "text"
countries = "text[]"
level = "int8"
active = "bool"
since = "date"

[user.alice]
scram = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
attributes = { region = "EU", countries = ["DE", "AT"], level = 3, active = true, since = 2020-02-29 }

[user.bob]
scram = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
attributes = { region = "US", countries = [] }

[user.dora]
scram = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

[user.ann]
scram = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

[user.etl]
scram = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
"#;

/// The example of the manual.
pub(in crate::policy) const EXAMPLE: &str = r#"# --- who may do what; deny always wins ---------------------------------
p, analyst, sales.*,          select, allow
p, analyst, crm.customers,    select, allow
p, analyst, tag:pii,          select, deny
p, hr,      hr.*,             select, allow
p, dba,     *,                select, allow
p, auditor, sales.orders,     select, allow
p, loader,  bronze.*,         insert, allow
# --- hidden columns: table + "/" + column ------------------------------
p, analyst, crm.customers/ssn,     select, deny
p, analyst, sales.*/internal_note, select, deny
# --- metadata tables and raw Kafka columns are named, never starred ----
p, dba,     sales.orders$snapshots, select, allow
p, dba,     stream.order_events/_key, select, allow
# --- row filters: who, table, SQL condition ----------------------------
p2, analyst, sales.orders,    "region = user.region"
p2, analyst, crm.customers,   "country IN (user.countries)"
p2, auditor, sales.orders,    unfiltered
# --- masks: who, table, column, how ------------------------------------
p3, analyst, crm.customers, email,   "partial(2, '***', 4)"
p3, analyst, sales.orders, card_no, last4
p3, analyst, sales.orders, buyer,   "custom(""coalesce(nickname, 'n/a')"")"
# --- people, roles, tags ------------------------------------------------
g,  alice, analyst
g,  bob,   hr
g,  hr,    analyst
g,  dora,  dba
g,  ann,   auditor
g,  etl,   loader
g2, sales.customer_notes, tag:pii
g2, sales.orders/phone,   tag:pii
"#;

pub(in crate::policy) fn key() -> Secret<Vec<u8>> {
    Secret::new(b"the key of this deployment".to_vec())
}

pub(in crate::policy) fn id(name: &str) -> ObjectId {
    ObjectId::of(name)
}

/// `name: type, …`; a `?`-less grammar for test tables: every column nullable.
pub(in crate::policy) fn schema(columns: &[(&str, DataType)]) -> Schema {
    Schema::new(columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>())
}

pub(in crate::policy) fn object(name: &str, kind: ObjectKind, columns: &[(&str, DataType)], raw: &[&str]) -> Object {
    let (schema_name, table) = name.split_once('.').unwrap();
    Object {
        id: id(name),
        name: TableName::new(schema_name, table),
        schema: Arc::new(schema(columns)),
        column_ids: columns.iter().map(|(name, _)| vec![name.to_string()]).collect(),
        raw_columns: raw.iter().map(|c| c.to_string()).collect(),
        kind,
    }
}

pub(in crate::policy) fn objects() -> Objects {
    let text = || DataType::Utf8View;
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let orders = [
        ("order_id", DataType::Int64),
        ("region", text()),
        ("status", text()),
        ("total", DataType::Decimal128(12, 2)),
        ("ordered_at", time()),
        ("due", DataType::Date32),
        ("paid", DataType::Boolean),
        ("buyer", text()),
        ("nickname", text()),
        ("card_no", text()),
        ("phone", text()),
        ("internal_note", text()),
        ("Weird", text()),
    ];
    let event = [("event_id", DataType::Utf8), ("amount", DataType::Decimal128(12, 2)), ("_key", DataType::Binary)];
    let customers = [
        ("customer_id", DataType::Int64),
        ("name", DataType::Utf8),
        ("email", DataType::Utf8),
        ("ssn", DataType::Utf8),
        ("country", DataType::Utf8),
        ("region", DataType::Utf8),
    ];
    let id_only = [("id", DataType::Int64)];
    let objects = vec![
        object("sales.orders", ObjectKind::Table, &orders, &[]),
        object("sales.products", ObjectKind::Table, &[("product_id", DataType::Int64), ("name", text())], &[]),
        object("sales.customer_notes", ObjectKind::Table, &[("id", DataType::Int64), ("body", text())], &[]),
        object("sales.orders$snapshots", ObjectKind::Metadata, &id_only, &[]),
        object("sales.events__dlq", ObjectKind::Metadata, &id_only, &[]),
        object("sales.Weird.Name", ObjectKind::Table, &id_only, &[]),
        object("crm.customers", ObjectKind::Table, &customers, &[]),
        object("hr.pay", ObjectKind::Table, &[("id", DataType::Int64), ("salary", DataType::Int32)], &[]),
        object("bronze.events", ObjectKind::Table, &id_only, &[]),
        object("stream.order_events", ObjectKind::Table, &event, &["_key"]),
        object("reports.revenue", ObjectKind::Dataset, &[("region", text()), ("total", DataType::Float64)], &[]),
    ];
    let schemas = objects.iter().map(|o| o.name.schema.clone()).chain(["later".into()]).collect();
    let sources = BTreeSet::from(["crm".into(), "erp".into()]);
    Objects { objects, unanswered: BTreeSet::from(["later".into()]), schemas, sources, ..Objects::default() }
}

/// Reads and binds; faults as text.
pub(in crate::policy) fn compile(csv: &str) -> Result<(Arc<Policies>, Vec<Fault>), Vec<Fault>> {
    compile_over(csv, USERS, &objects())
}

pub(in crate::policy) fn compile_over(
    csv: &str,
    users: &str,
    objects: &Objects,
) -> Result<(Arc<Policies>, Vec<Fault>), Vec<Fault>> {
    let (draft, mut warnings) = Draft::parse(csv, users)?;
    let (policies, more) = Policies::compile(&draft, objects, &key(), 1)?;
    warnings.extend(more);
    Ok((Arc::new(policies), warnings))
}

pub(in crate::policy) fn policies(csv: &str) -> Arc<Policies> {
    match compile(csv) {
        Ok((policies, _)) => policies,
        Err(faults) => panic!("{}", lines(&faults)),
    }
}

pub(in crate::policy) fn session(policies: &Arc<Policies>, user: &str) -> SessionPolicy {
    policies.session(&policies.principal(user).unwrap()).unwrap()
}

pub(in crate::policy) fn lines(faults: &[Fault]) -> String {
    faults.iter().map(|f| f.to_string()).collect::<Vec<_>>().join("\n")
}

/// A table's raw columns as the language declares them: `name type, …`.
pub(in crate::policy) fn declared(columns: &str) -> Schema {
    let field = |column: &str| {
        let (name, ty) = column.trim().split_once(' ').unwrap();
        let (name_of_type, modifier) = match ty.split_once('(') {
            None => (ty, vec![]),
            Some((of, modifier)) => {
                (of, modifier.trim_end_matches(')').split(',').map(|n| n.parse::<i32>().unwrap()).collect())
            }
        };
        let name_of_type = if name_of_type == "char" { "bpchar" } else { name_of_type };
        let (element, array) = match name_of_type.strip_suffix("[]") {
            Some(element) => (element, true),
            None => (name_of_type, false),
        };
        let oid = crate::formats::postgres::by_name(element).unwrap_or_else(|| panic!("{element}")).0;
        let oid = if array { pgtype::array(oid).unwrap() } else { oid };
        let typmod = match *modifier.as_slice() {
            [precision, scale] => ((precision << 16) | scale) + 4,
            [length] => length + 4,
            _ => -1,
        };
        let data_type = match *modifier.as_slice() {
            [precision, scale] => DataType::Decimal128(precision as u8, scale as i8),
            _ => pgtype::arrow(oid).unwrap(),
        };
        pgtype::field(name, Ty { oid, typmod }, data_type)
    };
    // no comma but those in parentheses
    let columns = columns.replace("(10,2)", "(10;2)");
    Schema::new(columns.split(',').map(|c| field(&c.replace(';', ","))).collect::<Vec<_>>())
}

/// Tables by name, as a statement finds them.
pub(in crate::policy) struct Tables(pub Vec<(String, Arc<dyn TableSource>)>);

impl Relations for Tables {
    fn find(&self, path: &[&str], _: Option<&crate::types::AsOf>) -> crate::error::Result<Option<Found>> {
        let name = path.join(".");
        let found = self.0.iter().find(|(known, _)| *known == name);
        Ok(found.map(|(name, table)| {
            let (schema, name) = name.split_once('.').unwrap_or(("public", name));
            let (schema, name, table) = (schema.into(), name.into(), Arc::clone(table));
            Found { schema, name, table, oid: 0, is_materialized: false }
        }))
    }
}

/// A statement as the engine plans it.
pub(in crate::policy) fn lowered(sql: &str, tables: &Tables) -> crate::error::Result<LogicalPlan> {
    let (env, parameters) = (Env::plain(), Parameters::default());
    let statements = crate::sql::parse::parse(sql)?;
    let [Statement::Query(query)] = statements.as_slice() else { panic!("{sql} is no query") };
    let query = Binder::new(tables, Context { env: &env, parameters: &parameters }, sql).bind(query)?;
    crate::sql::lower::lower(&query, &|_| None)
}

/// What the language makes of a WHERE over `t`, and the columns that it reads, as the optimizer finds them.
pub(in crate::policy) fn condition(columns: &str, sql: &str) -> (Expr, DFSchema) {
    let table: Arc<dyn TableProvider> = Arc::new(EmptyTable::new(Arc::new(declared(columns))));
    let tables = Tables(vec![("t".into(), provider_as_source(table))]);
    let plan = lowered(&format!("SELECT 1 FROM t WHERE {sql}"), &tables).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    let mut found: Option<(Expr, DFSchema)> = None;
    plan.apply(|node| {
        if let LogicalPlan::Filter(filter) = node {
            let schema = filter.input.schema().as_ref().clone();
            let predicate = match found.take() {
                Some((above, _)) => above.and(filter.predicate.clone()),
                None => filter.predicate.clone(),
            };
            found = Some((predicate, schema));
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    found.unwrap_or_else(|| panic!("no condition in {}", plan.display_indent()))
}

/// SplitMix64: seeded, so that a failure can be had again.
pub(in crate::policy) struct Dice(pub u64);

impl Dice {
    pub(in crate::policy) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(in crate::policy) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(in crate::policy) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
