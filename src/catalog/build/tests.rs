//! Building a catalog: conflicts, sources that are down, datasets over datasets. No source here is a real one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;

use super::*;
use crate::sources::declared::{Declared, Materialized};
use crate::sources::{self, Pinned, memory};

/// A source whose every answer the test decides.
#[derive(Debug, Default)]
struct Stub {
    name: String,
    schemas: Vec<String>,
    /// As a lake does.
    finds: bool,
    tables: Mutex<Vec<(&'static str, &'static str)>>,
    down: std::sync::atomic::AtomicBool,
    revision: AtomicU64,
    asked: AtomicUsize,
}

/// One whose identity is a text of [`dataset`]'s language is a materialized view of that query.
#[derive(Debug)]
struct StubTable(TableName, String, Declared);

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

    fn declared(&self) -> &Declared {
        &self.2
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

    fn finds_schemas(&self) -> bool {
        self.finds
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
            let view = |sql: &str| Materialized { sql: sql.into(), owner: "admin".into(), is_populated: true };
            let materialized = identity.starts_with("-- owner").then(|| view(identity));
            let declared = Declared { materialized, ..Declared::default() };
            Arc::new(StubTable(TableName::new(schema, table), identity.to_string(), declared)) as Arc<dyn Table>
        };
        Ok(tables.iter().map(table).collect())
    }
}

fn stub(name: &str, schemas: &[&str], tables: &[(&'static str, &'static str)]) -> Arc<Stub> {
    let schemas = schemas.iter().map(|s| s.to_string()).collect();
    Arc::new(Stub { name: name.into(), schemas, tables: Mutex::new(tables.to_vec()), ..Stub::default() })
}

/// A source whose schemas are made by others.
fn lake(name: &str, schemas: &[&str], tables: &[(&'static str, &'static str)]) -> Arc<Stub> {
    let mut stub = Arc::into_inner(stub(name, schemas, tables)).expect("one owner");
    stub.finds = true;
    Arc::new(stub)
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
        max_staleness_ms: None,
        file,
        kept: None,
    }
}

/// Plans the little language of [`dataset`].
fn plan(dataset: &Dataset, catalog: &Catalog) -> Result<Planned> {
    let mut reads = BTreeSet::new();
    for word in dataset.sql.lines().nth(1).unwrap_or_default().split_whitespace() {
        let (schema, table) = word.split_once('.').expect("schema.table");
        let Some(entry) = catalog.find(&TableName::new(schema, table))? else {
            let error = Error::new(Kind::UndefinedTable, format!("relation \"{word}\" does not exist"));
            return Err(error.at("-- owner: admin\n".len() + 1));
        };
        reads.insert(entry.object.id);
    }
    Ok(Planned { schema: Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)])), reads })
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

/// What others made in a source is no fault of the files: it is left out, and the rest stands.
#[tokio::test]
async fn what_is_found_gives_way_to_what_is_declared_and_to_who_was_there() {
    let told = |catalog: &Catalog| catalog.left_out.iter().map(ToString::to_string).collect::<Vec<_>>();
    let holder = |catalog: &Catalog, schema: &str| {
        catalog.schemas.get(schema).map(|m| m.as_ref().map(|m| m.source.name().to_string()))
    };
    let crm = || stub("crm", &["crm"], &[("crm.customers", "c")]);
    let late = || lake("a_lake", &["crm", "r", "pg_x", "fine"], &[("crm.customers", "l"), ("fine.t", "t")]);
    let empty = Catalog::default();
    let (clash, _) = built(&[late(), crm()], vec![dataset("r.d", "fine.t")], &empty).await.expect("no fault");
    assert_eq!(names(&clash), ["crm.customers", "fine.t", "r.d"]);
    assert_eq!(holder(&clash, "crm"), Some(Some("crm".into())));
    assert_eq!(
        told(&clash).iter().map(|t| t.split(';').next().unwrap_or_default()).collect::<Vec<_>>(),
        [
            "catalog/sources/a_lake.toml:1:1: the schema `crm` found in source `a_lake` is left out: \
             catalog/sources/crm.toml claims the name too",
            "catalog/sources/a_lake.toml:1:1: the schema name `pg_x` is reserved",
            "catalog/sources/a_lake.toml:1:1: the schema `r` found in source `a_lake` is left out: \
             catalog/datasets/r.d.sql claims the name too",
        ]
    );
    // of two that found one name neither has it, until one was there before the other
    let (one, two) = (|| lake("one", &["x"], &[("x.t", "1")]), || lake("two", &["x"], &[("x.t", "2")]));
    let (neither, _) = built(&[one(), two()], vec![], &empty).await.expect("no fault");
    assert_eq!((holder(&neither, "x"), told(&neither).len(), names(&neither).len()), (None, 2, 0));
    let (alone, _) = built(&[two()], vec![], &empty).await.expect("no fault");
    let (later, _) = built(&[one(), two()], vec![], &alone).await.expect("no fault");
    assert_eq!((holder(&later, "x"), told(&later).len()), (Some(Some("two".into())), 1));
    // who edits files is told so, and takes nothing away
    let (sales, _) = built(&[lake("lake", &["sales"], &[("sales.t", "s")])], vec![], &empty).await.expect("no fault");
    let both = [lake("lake", &["sales"], &[("sales.t", "s")]), stub("other", &["sales"], &[])];
    let faults = built(&both, vec![], &sales).await.expect_err("an edit");
    assert_eq!(
        faults,
        ["catalog/sources/other.toml:1:1: the schema `sales` is mounted by catalog/sources/lake.toml too"]
    );
    let faults = built(&both[..1], vec![dataset("sales.d", "sales.t")], &sales).await.expect_err("an edit");
    assert!(faults[0].contains("datasets stand in schemas of their own"), "{faults:?}");

    let same = stub("one", &["a"], &[("a.x", "same"), ("a.y", "same"), ("a.z", "1"), ("a.z", "2"), ("a.good", "3")]);
    let (odd, objects) = built(&[same], vec![], &empty).await.expect("no fault");
    assert_eq!(names(&odd), ["a.good", "a.x", "a.y"]);
    assert_eq!(
        told(&odd),
        [
            "catalog/sources/one.toml:1:1: `a.x` and `a.y` are the same table under two names; neither can be read",
            "catalog/sources/one.toml:1:1: there are two tables `a.z`; neither can be read",
        ]
    );
    assert_eq!(objects.objects.len(), 3, "the policy knows of both names, and opens neither");
}

/// A dataset whose base went is left out; one that never could be planned is a fault of its file.
#[tokio::test]
async fn a_dataset_whose_table_went_stops_nothing() {
    let before = [stub("one", &["a"], &[("a.x", "1"), ("a.y", "2")])];
    let datasets = || vec![dataset("r.x", "a.x"), dataset("r.y", "a.y"), dataset("r.over", "r.x")];
    let (first, _) = built(&before, datasets(), &Catalog::default()).await.expect("built");
    let read = |of: &str, base: &str| {
        let id = |name: &str| {
            let (schema, table) = name.split_once('.').expect("schema.table");
            first.entries[&TableName::new(schema, table)].object.id
        };
        first.reads[&id(of)].contains(&id(base))
    };
    assert!(read("r.x", "a.x") && read("r.over", "r.x") && read("r.over", "a.x") && !read("r.y", "a.x"));
    let after = [stub("one", &["a"], &[("a.y", "2")])];
    let (second, _) = built(&after, datasets(), &first).await.expect("the rest stands");
    assert_eq!(names(&second), ["a.y", "r.y"]);
    let told: Vec<String> = second.left_out.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    let (third, _) = built(&after, datasets(), &second).await.expect("it stays so");
    let (fourth, _) = built(&before, datasets(), &third).await.expect("built");
    assert_eq!((third.left_out.len(), names(&fourth)), (2, names(&first)));
    assert!(built(&after, datasets(), &Catalog::default()).await.is_err());
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

/// Whoever would drop what it reads is told of it then too.
#[tokio::test]
async fn a_materialized_view_names_what_it_reads_while_a_source_is_away() {
    let crm = stub("crm", &["crm"], &[("crm.customers", "c")]);
    let made = "-- owner: admin\ncrm.customers sales.orders";
    let lake = lake("lake", &["sales"], &[("sales.made", made), ("sales.orders", "o")]);
    let sources = [Arc::clone(&crm), lake];
    let named = |catalog: &Catalog| catalog.names.get(&ObjectId::of(made)).cloned().unwrap_or_default();
    let both = BTreeSet::from([ObjectId::of("c"), ObjectId::of("o")]);
    let (up, _) = built(&sources, vec![], &Catalog::default()).await.expect("built");
    assert_eq!(named(&up), both);
    crm.down.store(true, Ordering::Relaxed);
    let (down, _) = built(&sources, vec![], &up).await.expect("built");
    assert_eq!(named(&down), both);
    // and one whose table is gone names nothing
    crm.down.store(false, Ordering::Relaxed);
    crm.tables.lock().expect("no panic under the lock").clear();
    let (gone, _) = built(&sources, vec![], &down).await.expect("built");
    assert_eq!(named(&gone), BTreeSet::new());
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
