//! Building a catalog: conflicts, sources that are down, datasets over datasets. No source here is a real one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;

use super::*;
use crate::sources::{self, Pinned, memory};

/// A source whose every answer the test decides.
#[derive(Debug, Default)]
struct Stub {
    name: String,
    schemas: Vec<String>,
    tables: Mutex<Vec<(&'static str, &'static str)>>,
    down: std::sync::atomic::AtomicBool,
    revision: AtomicU64,
    asked: AtomicUsize,
}

#[derive(Debug)]
struct StubTable(TableName, String);

#[async_trait]
impl Table for StubTable {
    fn name(&self) -> &TableName {
        &self.0
    }

    fn identity(&self) -> String {
        self.1.clone()
    }

    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]))
    }

    async fn pin(&self) -> Result<Pinned> {
        Err(Error::unsupported("pinning a stub"))
    }
}

#[async_trait]
impl Source for Stub {
    fn name(&self) -> &str {
        &self.name
    }

    fn schemas(&self) -> Vec<String> {
        self.schemas.clone()
    }

    async fn revision(&self) -> Result<Option<u64>> {
        match self.revision.load(Ordering::Relaxed) {
            0 => Ok(None),
            n => Ok(Some(n)),
        }
    }

    async fn tables(&self) -> Result<Vec<Arc<dyn Table>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.down.load(Ordering::Relaxed) {
            return Err(super::super::unreachable_source(&self.name));
        }
        let tables = self.tables.lock().expect("no panic under the lock");
        let table = |(name, identity): &(&str, &str)| {
            let (schema, table) = name.split_once('.').expect("schema.table");
            Arc::new(StubTable(TableName::new(schema, table), identity.to_string())) as Arc<dyn Table>
        };
        Ok(tables.iter().map(table).collect())
    }
}

fn stub(name: &str, schemas: &[&str], tables: &[(&'static str, &'static str)]) -> Arc<Stub> {
    let schemas = schemas.iter().map(|s| s.to_string()).collect();
    Arc::new(Stub { name: name.into(), schemas, tables: Mutex::new(tables.to_vec()), ..Stub::default() })
}

fn source_file(name: &str) -> SourceFile {
    let config = sources::Config::Memory(memory::Config { table: vec![] });
    SourceFile { name: name.into(), config, hash: 1, file: format!("catalog/sources/{name}.toml") }
}

/// `reports.a` over what its text lists: `needs x.y z.w`.
fn dataset(name: &str, needs: &str) -> Dataset {
    let (schema, table) = name.split_once('.').expect("schema.name");
    let file = format!("catalog/datasets/{name}.sql");
    Dataset {
        name: TableName::new(schema, table),
        owner: "admin".into(),
        sql: format!("-- owner: admin\n{needs}"),
        file,
    }
}

/// Plans the little language of [`dataset`].
fn plan(dataset: &Dataset, catalog: &Catalog) -> Result<SchemaRef> {
    for word in dataset.sql.lines().nth(1).unwrap_or_default().split_whitespace() {
        let (schema, table) = word.split_once('.').expect("schema.table");
        if catalog.find(&TableName::new(schema, table))?.is_none() {
            let error = Error::new(Kind::UndefinedTable, format!("relation \"{word}\" does not exist"));
            return Err(error.at("-- owner: admin\n".len() + 1));
        }
    }
    Ok(Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)])))
}

async fn asked(sources: &[Arc<Stub>], previous: &[Connected], again: bool) -> (Draft, Vec<Connected>) {
    let files = sources.iter().map(|s| source_file(&s.name)).collect();
    let draft = Draft { sources: files, ..Draft::default() };
    let connect = |file: &SourceFile| -> Result<Arc<dyn Source>> {
        let found = sources.iter().find(|s| s.name == file.name).expect("a stub of this name");
        Ok(Arc::clone(found) as Arc<dyn Source>)
    };
    let connected =
        ask(&draft, previous, &connect, &|_| again, Duration::from_secs(60)).await.expect("every stub connects");
    (draft, connected)
}

async fn built(
    sources: &[Arc<Stub>],
    datasets: Vec<Dataset>,
    previous: &Catalog,
) -> Result<(Catalog, Objects), Vec<String>> {
    let (mut draft, connected) = asked(sources, &[], true).await;
    draft.datasets = datasets;
    assemble(&draft, &connected, previous, "lakegate", &plan)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

fn names(catalog: &Catalog) -> Vec<String> {
    catalog.entries.keys().map(ToString::to_string).collect()
}

/// Sources, datasets, the first fault.
type Case = (Vec<Arc<Stub>>, Vec<Dataset>, &'static str);

#[tokio::test]
async fn conflicts_are_faults_that_name_both_files() {
    let one = || stub("one", &["crm"], &[("crm.customers", "one:1")]);
    let rows: Vec<Case> = vec![
        (
            vec![one(), stub("two", &["crm"], &[])],
            vec![],
            "catalog/sources/two.toml:1:1: the schema `crm` is mounted by catalog/sources/one.toml too",
        ),
        (
            vec![one()],
            vec![dataset("crm.customers", "")],
            "catalog/datasets/crm.customers.sql:1:1: the schema `crm` is mounted by catalog/sources/one.toml; \
             datasets stand in schemas of their own",
        ),
        (
            vec![stub("one", &["pg_catalog"], &[])],
            vec![],
            "catalog/sources/one.toml:1:1: the schema name `pg_catalog` is reserved",
        ),
        (
            vec![stub("one", &["lakegate"], &[("lakegate.admin", "x")])],
            vec![],
            "catalog/sources/one.toml:1:1: the schema name `lakegate` is reserved",
        ),
        (
            vec![stub("one", &["a"], &[("a.x", "same"), ("a.y", "same")])],
            vec![],
            "catalog/sources/one.toml:1:1: `a.x` and `a.y` are the same table under two names",
        ),
        (
            vec![stub("one", &["a"], &[("a.x", "1"), ("a.x", "2")])],
            vec![],
            "catalog/sources/one.toml:1:1: there are two tables `a.x`",
        ),
        (
            vec![],
            vec![dataset("r.a", "r.b"), dataset("r.b", "r.a")],
            "catalog/datasets/r.a.sql:2:1: datasets in a ring: r.a → r.b → r.a",
        ),
        (vec![], vec![dataset("r.a", "r.a")], "catalog/datasets/r.a.sql:2:1: datasets in a ring: r.a → r.a"),
        (vec![], vec![dataset("r.a", "crm.x")], "catalog/datasets/r.a.sql:2:1: relation \"crm.x\" does not exist"),
        (
            vec![],
            vec![dataset("r.a", "r.b"), dataset("r.b", "crm.x")],
            "catalog/datasets/r.a.sql:2:1: needs `r.b`, which cannot be planned",
        ),
    ];
    for (sources, datasets, expect) in rows {
        let faults = built(&sources, datasets, &Catalog::default()).await.expect_err(expect);
        assert_eq!(faults[0], expect);
    }
}

#[tokio::test]
async fn datasets_are_planned_in_the_order_they_need() {
    let sources = [stub("one", &["sales"], &[("sales.orders", "o")])];
    let datasets =
        vec![dataset("a.top", "b.middle sales.orders"), dataset("b.middle", "c.low"), dataset("c.low", "sales.orders")];
    let (catalog, objects) = built(&sources, datasets, &Catalog::default()).await.expect("a chain");
    assert_eq!(names(&catalog), ["a.top", "b.middle", "c.low", "sales.orders"]);
    assert_eq!(objects.schemas.iter().collect::<Vec<_>>(), ["a", "b", "c", "sales"]);
    let kinds: Vec<_> = objects.objects.iter().map(|o| o.kind == ObjectKind::Dataset).collect();
    assert_eq!(kinds, [true, true, true, false]);
}

#[tokio::test]
async fn a_source_that_is_down_takes_its_own_tables_along_and_nothing_else() {
    let lake = stub("lake", &["sales"], &[("sales.orders", "o")]);
    let crm = stub("crm", &["crm"], &[("crm.customers", "c")]);
    let sources = [Arc::clone(&lake), Arc::clone(&crm)];
    let datasets = || vec![dataset("r.mixed", "crm.customers sales.orders"), dataset("r.plain", "sales.orders")];
    crm.down.store(true, Ordering::Relaxed);
    let (down, objects) = built(&sources, datasets(), &Catalog::default()).await.expect("no fault");
    assert_eq!(names(&down), ["r.plain", "sales.orders"]);
    assert_eq!(objects.unanswered.iter().collect::<Vec<_>>(), ["crm", "r"]);
    let error = down.find(&TableName::new("crm", "customers")).expect_err("08006");
    assert_eq!((error.kind().sqlstate(), error.message()), ("08006", "source \"crm\" cannot be reached"));

    crm.down.store(false, Ordering::Relaxed);
    let (up, objects) = built(&sources, datasets(), &down).await.expect("all there");
    assert_eq!(names(&up), ["crm.customers", "r.mixed", "r.plain", "sales.orders"]);
    assert_eq!((objects.unanswered.len(), up.generation), (0, 2));

    // Once known, the dataset stays: a statement over it says which source is missing.
    crm.down.store(true, Ordering::Relaxed);
    let (again, objects) = built(&sources, datasets(), &up).await.expect("no fault");
    assert_eq!(names(&again), ["r.mixed", "r.plain", "sales.orders"]);
    assert_eq!(objects.unanswered.iter().collect::<Vec<_>>(), ["crm"]);
}

#[tokio::test]
async fn oids_follow_identities_not_names() {
    let before = [stub("one", &["a"], &[("a.x", "table-1"), ("a.y", "table-2")])];
    let after = [stub("one", &["a"], &[("a.renamed", "table-1"), ("a.y", "table-3")])];
    let (first, _) = built(&before, vec![], &Catalog::default()).await.expect("built");
    let (second, _) = built(&after, vec![], &first).await.expect("built");
    let (alone, _) = built(&after, vec![], &Catalog::default()).await.expect("built");
    let oid = |catalog: &Catalog, table: &str| catalog.entries[&TableName::new("a", table)].oid;
    assert_eq!(oid(&first, "x"), oid(&second, "renamed"));
    assert_ne!(oid(&first, "y"), oid(&second, "y"));
    assert_eq!(oid(&second, "y"), oid(&alone, "y"));
    assert!(first.entries.values().all(|e| (FIRST_OID..1 << 31).contains(&e.oid)));
}

#[test]
fn an_oid_in_use_stays_with_its_holder() {
    let (a, b) = (ObjectId(5), ObjectId(5 + u64::from((1_u32 << 31) - FIRST_OID)));
    assert_eq!(oid_from(a.0), oid_from(b.0));
    let mut oids = Oids { kept: BTreeMap::from([(b, oid_from(b.0))]), taken: BTreeSet::from([oid_from(b.0)]) };
    assert_eq!((oids.of(a), oids.of(b), oids.of(a)), (FIRST_OID + 6, FIRST_OID + 5, FIRST_OID + 6));
}

#[tokio::test]
async fn sources_are_asked_again_only_for_a_reason() {
    let stub = stub("one", &["a"], &[("a.x", "1")]);
    let sources = [Arc::clone(&stub)];
    let asked_times = || stub.asked.load(Ordering::Relaxed);
    stub.revision.store(7, Ordering::Relaxed);
    let (_, first) = asked(&sources, &[], false).await;
    let (_, second) = asked(&sources, &first, true).await;
    assert_eq!(asked_times(), 1, "its revision did not move");
    stub.revision.store(8, Ordering::Relaxed);
    let (_, third) = asked(&sources, &second, false).await;
    assert_eq!(asked_times(), 2, "its revision moved");
    stub.revision.store(0, Ordering::Relaxed);
    let (_, fourth) = asked(&sources, &third, false).await;
    let (_, fifth) = asked(&sources, &fourth, false).await;
    assert_eq!(asked_times(), 3, "it has no revision any more, and nobody wants to know");
    stub.down.store(true, Ordering::Relaxed);
    let (_, sixth) = asked(&sources, &fifth, true).await;
    let (_, seventh) = asked(&sources, &sixth, false).await;
    assert_eq!((asked_times(), sixth[0].tables.is_err(), seventh[0].tables.is_err()), (4, true, true));
    stub.down.store(false, Ordering::Relaxed);
    let (_, eighth) = asked(&sources, &seventh, true).await;
    assert_eq!((asked_times(), eighth[0].tables.is_ok()), (5, true));
}

/// Never answers.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl Source for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    fn schemas(&self) -> Vec<String> {
        vec!["quiet".into()]
    }

    async fn revision(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    async fn tables(&self) -> Result<Vec<Arc<dyn Table>>> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_source_that_never_answers_is_down() {
    let draft = Draft { sources: vec![source_file("silent")], ..Draft::default() };
    let at_once = Duration::from_millis(1);
    let connected = ask(&draft, &[], &|_| Ok(Arc::new(Silent)), &|_| true, at_once).await.expect("no fault");
    let (catalog, _) = assemble(&draft, &connected, &Catalog::default(), "lakegate", &plan).expect("no fault");
    assert!(catalog.find(&TableName::new("quiet", "t")).is_err());
}
