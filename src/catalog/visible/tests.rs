//! Views of a policy: what is hidden is nowhere. The policies are read from files, as a server reads them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int16Type};
use arrow::util::display::array_value_to_string;

use super::*;
use crate::catalog::Entry;
use crate::catalog::dataset::Dataset;
use crate::catalog::pg_catalog;
use crate::catalog::pg_catalog::settings::{SessionSettings, Setting};
use crate::policy::compile::Objects;
use crate::policy::file::Draft;
use crate::policy::{Object, ObjectKind};
use crate::secret::Secret;
use crate::sources::{Source, memory::Memory};

const MODEL: &str = "[request_definition]
r = sub, obj, act

[policy_definition]
p  = sub, obj, act, eft
p2 = sub, obj, filter
p3 = sub, obj, col, mask

[role_definition]
g  = _, _
g2 = _, _

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = r.act == p.act && (objMatch(r.obj, p.obj) || g2(r.obj, p.obj)) && g(r.sub, p.sub)
";

const POLICY: &str = "p, analyst, crm.customers, select, allow
p, analyst, crm.customers/ssn, select, deny
p, analyst, crm.customers/email, select, deny
p, analyst, reports.sums, select, allow
p, boss, *, select, allow
p, boss, lakegate.admin, select, allow
p, boss, crm.customers, insert, allow
p, boss, scratch.*, create, allow
g, ann, analyst
g, root, boss
";

/// A verifier nobody knows the password of.
const SCRAM: &str = "SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn object(name: TableName, kind: ObjectKind, columns: &[&str]) -> Object {
    let fields = columns.iter().map(|c| Field::new(*c, DataType::Int64, *c != "id")).collect::<Vec<_>>();
    let id = ObjectId::of(&name.to_string());
    let schema = Schema::new(fields);
    let column_ids = crate::sources::by_name(&schema);
    Object { id, name, schema: Arc::new(schema), column_ids, raw_columns: BTreeSet::new(), kind }
}

async fn catalog() -> Catalog {
    let memory = Memory::new("fixtures");
    let mut catalog = Catalog { database: "shop".into(), ..Catalog::default() };
    for (schema, table, columns) in [
        ("crm", "customers", ["id", "ssn", "name", "email", "country"].as_slice()),
        ("crm", "secrets", &["key"]),
        ("hr", "pay", &["id"]),
    ] {
        let object = object(TableName::new(schema, table), ObjectKind::Table, columns);
        memory.put(object.name.clone(), Arc::clone(&object.schema), vec![]);
        catalog.schemas.insert(schema.into(), None);
        let tables = memory.tables().await.expect("memory answers");
        let table = tables.into_iter().find(|t| *t.name() == object.name).expect("it was put");
        let oid = oid_from(object.id.0);
        catalog.entries.insert(object.name.clone(), Entry { object: Arc::new(object), body: Body::Table(table), oid });
    }
    let name = TableName::new("reports", "sums");
    let object = object(name.clone(), ObjectKind::Dataset, &["n"]);
    let (owner, sql, file) = ("boss".into(), "select 1 as n".into(), String::new());
    let dataset = Dataset { name, owner, sql, max_staleness_ms: None, file, kept: None };
    let (oid, body) = (oid_from(object.id.0), Body::Dataset(Arc::new(dataset)));
    catalog.entries.insert(object.name.clone(), Entry { object: Arc::new(object), body, oid });
    catalog.schemas.insert("reports".into(), None);
    catalog.schemas.insert("scratch".into(), None);
    catalog
}

fn policies(catalog: &Catalog) -> Arc<Policies> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let users = format!("[user.ann]\nscram = \"{SCRAM}\"\n[user.root]\nscram = \"{SCRAM}\"\n");
    for (name, text) in [("model.conf", MODEL), ("policy.csv", POLICY), ("users.toml", users.as_str())] {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a policy file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    }
    let (draft, _) = Draft::read(folder.path()).expect("a sound policy");
    let objects = Objects {
        objects: catalog.entries.values().map(|e| e.object.as_ref().clone()).collect(),
        schemas: catalog.schemas.keys().cloned().collect(),
        ..Objects::default()
    };
    let (policies, _) = Policies::compile(&draft, &objects, &Secret::new(vec![7; 32]), 1).expect("it binds");
    Arc::new(policies)
}

async fn view(user: &str) -> View {
    let catalog = catalog().await;
    let policies = policies(&catalog);
    let session = policies.owner(user).expect("a user of the policy");
    let sight = Arc::new(Sight::of(&catalog, &policies, &session));
    View::new(&catalog.database, user, sight, Circumstances::default())
}

/// Every row of a system relation that a session sees: those of everybody, then its own.
fn rows(view: &View, name: &TableName) -> Vec<RecordBatch> {
    let relation = pg_catalog::relation(name).expect("declared");
    let rows = relation.seen_by(&Arc::new(view.clone()));
    let columns: Vec<usize> = (0..rows.schema().fields().len()).collect();
    rows.read(&columns, &[]).expect("rows")
}

fn names(view: &View) -> Vec<String> {
    view.tables.iter().map(|t| t.name.to_string()).collect()
}

#[tokio::test]
async fn what_is_not_granted_is_nowhere() {
    let ann = view("ann").await;
    assert_eq!(names(&ann), ["crm.customers", "reports.sums"]);
    let schemas: Vec<&str> = ann.schemas.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(schemas, ["crm", "information_schema", "pg_catalog", "pg_toast", "reports"]);
    let roles: Vec<&str> = ann.roles.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(roles, [BOOTSTRAP.0, "analyst", "ann"]);
    // Whose dataset it is, and what it says, would tell of roles and tables she does not know.
    let dataset = &ann.tables[1];
    assert_eq!((dataset.owner.as_str(), dataset.definition.as_deref()), (BOOTSTRAP.0, None));
    for relation in image::relations() {
        let rows = rows(&ann, &relation.name);
        let columns = rows.iter().flat_map(|batch| batch.columns());
        let cells = columns
            .flat_map(|column| (0..column.len()).map(|row| array_value_to_string(column, row).expect("printable")));
        for cell in cells {
            let hidden = ["ssn", "email", "secrets", "hr", "pay", "boss", "root", "scratch", "select 1 as n"];
            assert!(!hidden.contains(&cell.as_str()), "{cell} stands in {}", relation.name);
        }
    }
}

#[tokio::test]
async fn a_hidden_column_leaves_no_gap() {
    let ann = view("ann").await;
    let customers = ann.table(&TableName::new("crm", "customers")).expect("granted");
    let batches = rows(&ann, &TableName::new("pg_catalog", "pg_attribute"));
    let rows = batches.last().expect("the session's own");
    let column = |name: &str| rows.column_by_name(name).expect(name);
    let relations = column("attrelid").as_primitive::<arrow::datatypes::UInt32Type>();
    let mine: Vec<(&str, i16, bool)> = (0..rows.num_rows())
        .filter(|row| relations.value(*row) == customers.oid)
        .filter(|row| column("attnum").as_primitive::<Int16Type>().value(*row) > 0)
        .map(|row| {
            let number = column("attnum").as_primitive::<Int16Type>().value(row);
            (column("attname").as_string::<i32>().value(row), number, column("attnotnull").as_boolean().value(row))
        })
        .collect();
    assert_eq!(mine, [("id", 1, true), ("name", 2, false), ("country", 3, false)]);
}

#[tokio::test]
async fn an_admin_sees_everybody_and_every_definition() {
    let root = view("root").await;
    assert_eq!(names(&root), ["crm.customers", "crm.secrets", "hr.pay", "reports.sums"]);
    let roles: Vec<(&str, bool, bool)> = root.roles.iter().map(|r| (r.name.as_str(), r.login, r.admin)).collect();
    let expect = [
        (BOOTSTRAP.0, false, true),
        ("analyst", false, false),
        ("ann", true, false),
        ("boss", false, true),
        ("root", true, true),
    ];
    assert_eq!(roles, expect);
    let dataset = root.table(&TableName::new("reports", "sums")).expect("granted");
    assert_eq!((dataset.owner.as_str(), dataset.definition.as_deref()), ("boss", Some("select 1 as n")));
    assert!(root.table(&TableName::new("crm", "customers")).expect("granted").may_insert);
    assert_eq!(root.creatable.iter().collect::<Vec<_>>(), ["scratch"]);
    assert!(root.schema_oid("scratch").is_some(), "a schema one may create in can be seen");
}

#[test]
fn the_search_path_holds_what_exists() {
    let schemas = [("ann", 1), ("Odd", 2), ("pg_catalog", 11), ("public", 3)];
    let schemas: Vec<(String, u32)> = schemas.map(|(name, oid)| (name.to_string(), oid)).to_vec();
    let sight = Arc::new(Sight { schemas, ..Sight::default() });
    for (setting, expect) in [
        ("\"$user\", public", vec!["ann", "public"]),
        ("$user,PUBLIC", vec!["ann", "public"]),
        ("public, nowhere, public", vec!["public"]),
        ("\"Odd\", odd", vec!["Odd"]),
        ("public, pg_catalog", vec!["public", "pg_catalog"]),
        ("", vec![]),
    ] {
        let settings = Handle::new(Arc::new(Path(setting)));
        let view = View { user: "ann".into(), sight: Arc::clone(&sight), settings, ..View::default() };
        assert_eq!(view.search_path(), expect, "{setting}");
        assert!(view.lookup_path().any(|schema| schema == "pg_catalog"));
    }
}

/// A session that set its search path alone.
#[derive(Debug)]
struct Path(&'static str);

impl SessionSettings for Path {
    fn state(&self, setting: &Setting) -> (String, String, &'static str) {
        (setting.value.into(), setting.value.into(), "default")
    }

    fn shown(&self, _: &str) -> crate::error::Result<String> {
        Ok(self.0.into())
    }

    fn set(&self, name: &str, _: Option<&str>, _: bool) -> crate::error::Result<String> {
        Err(crate::catalog::pg_catalog::settings::unrecognized(name))
    }
}
