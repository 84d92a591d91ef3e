//! What a dataset's barrier costs: over a lake, from the metrics of its scans. A predicate that cannot fail prunes files
//! and row groups as if there were no barrier; any other reads what the body reads.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Field;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::metrics::MetricValue;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{collect, displayable};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::catalog::file::SourceFile;
use crate::engine::facts::Identity;
use crate::engine::settings::{Settings, SharedSettings};
use crate::engine::statement::as_query;
use crate::engine::temporary::Temporary;
use crate::engine::world::{Builder, Current, Origin};
use crate::engine::{Config, Engine, limits};
use crate::metastore::{self, Metastore};
use crate::secret::Secret;
use crate::sources;
use crate::types::TableName;
use arrow::datatypes::Schema;

/// The first file has two row groups, of 256 Ki rows and of the rest; the others are small.
const ROWS: [i64; 5] = [300_000, 1_000, 1_000, 1_000, 1_000];

const DATASETS: [(&str, &str); 5] = [
    ("eu", "SELECT id, region, product FROM shop.orders WHERE region = 'EU'"),
    ("outer", "SELECT id AS number, region, product FROM views.eu WHERE product <> 3"),
    (
        "joined",
        "SELECT o.id, o.region, p.product, p.name FROM shop.orders o JOIN shop.products p ON p.product = o.product \
         WHERE p.name <> 'secret'",
    ),
    ("groups", "SELECT id, count(*) AS n, max(product) AS product FROM shop.orders WHERE region = 'EU' GROUP BY id"),
    ("shifted", "SELECT id + 1 AS id, region, product FROM shop.orders WHERE region = 'EU'"),
];

const POLICY: &str = "p, whole, *, select, allow\np2, whole, *, unfiltered\np, reader, views.*, select, allow\n";

struct Shop {
    engine: Arc<Engine>,
    _dir: tempfile::TempDir,
}

fn orders(file: usize) -> RecordBatch {
    let (first, rows) = (ROWS[..file].iter().sum::<i64>(), ROWS[file]);
    let ids = Int64Array::from_iter_values(first..first + rows);
    let regions = StringArray::from_iter_values((0..rows).map(|n| if n % 3 == 0 { "EU" } else { "US" }));
    let products = Int64Array::from_iter_values((0..rows).map(|n| n % 7));
    RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as arrow::array::ArrayRef),
        ("region", Arc::new(regions)),
        ("product", Arc::new(products)),
    ])
    .unwrap()
}

fn products() -> RecordBatch {
    let products = Int64Array::from_iter_values(0..7);
    let names = StringArray::from_iter_values((0..7).map(|n| if n == 6 { "secret".into() } else { format!("p{n}") }));
    RecordBatch::try_from_iter([("product", Arc::new(products) as arrow::array::ArrayRef), ("name", Arc::new(names))])
        .unwrap()
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

async fn fill(source: &dyn sources::Source) {
    let writer = source.writer().unwrap();
    let rows = |batch: RecordBatch| {
        let schema = batch.schema();
        let stream = futures::stream::iter([Ok(batch)]);
        Box::pin(RecordBatchStreamAdapter::new(schema, stream)) as datafusion::execution::SendableRecordBatchStream
    };
    writer.create_schema("shop").await.unwrap();
    for (name, batch) in [("orders", orders(0)), ("products", products())] {
        let fields = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect::<Vec<Field>>();
        let schema = Arc::new(Schema::new(fields));
        writer
            .create_table(&TableName::new("shop", name), schema, Default::default(), Some(rows(batch)))
            .await
            .unwrap();
    }
    let tables = source.tables().await.unwrap();
    let table = tables.iter().find(|t| t.name().table == "orders").unwrap();
    for file in 1..ROWS.len() {
        writer.append(table.as_ref(), rows(orders(file))).await.unwrap();
    }
}

impl Shop {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let lake = format!("kind = \"iceberg\"\nwarehouse = \"file://{}\"\n", at("warehouse").display());
        write(&at("catalog/sources/lake.toml"), &lake);
        let users = ["whole", "reader"].map(|name| {
            let verifier = crate::policy::scram::scram_verifier(name, b"sixteen byte salt", 4096);
            format!("[user.{name}]\nscram = \"{verifier}\"\n")
        });
        write(&at("policies/users.toml"), &users.concat());
        write(&at("policies/policy.csv"), POLICY);
        write(&at("policies/model.conf"), include_str!("../../../policies/model.conf"));
        let config = metastore::Config { path: at("metastore.db"), ..metastore::Config::default() };
        let metastore = Arc::new(Metastore::open(&config).await.unwrap());
        let connect = {
            let metastore = Arc::clone(&metastore);
            move |file: &SourceFile| sources::connect(&file.name, &file.config, &metastore)
        };
        for file in crate::catalog::file::Draft::read(&at("catalog")).unwrap().sources {
            fill(connect(&file).unwrap().as_ref()).await;
        }
        for (name, body) in DATASETS {
            write(&at(&format!("catalog/datasets/views.{name}.sql")), &format!("-- owner: whole\n{body}"));
        }
        let origin = Origin {
            catalog_dir: at("catalog"),
            policies_dir: at("policies"),
            database: "lakegate".into(),
            mask_key: Secret::new(vec![0; 32]),
            connect: Box::new(connect),
            metastore: Some(metastore),
            remember: true,
            judge: crate::policy::Config::default(),
        };
        let (_, world) = Builder::start(origin, None).await.unwrap_or_else(|faults| panic!("{faults:?}"));
        let current = Arc::new(Current::new(Arc::new(world)));
        let config = Config { partitions: 1, ..Config::default() };
        let engine = Engine::new(config, current, Secret::new(vec![0; 32])).unwrap();
        Self { engine, _dir: dir }
    }

    /// Rows, files and row groups read.
    async fn read(&self, user: &str, sql: &str) -> (usize, usize, usize) {
        let shared = &self.engine.shared;
        let identity = Identity {
            given: Default::default(),
            principal: self.engine.login(user).unwrap(),
            pid: 1,
            others: Default::default(),
            server_started_at: 0,
            session_started_at: 0,
            cursors: Default::default(),
            random: Default::default(),
            asked: Default::default(),
            temporary: Temporary::new(&shared.runtime.memory_pool, 1 << 30),
        };
        let settings = SharedSettings::new(Settings::new(user, "public"));
        let facts = Facts::new(self.engine.world(), &identity, &settings, shared).unwrap();
        let parsed = limits::parse(sql, &limits::Limits::default()).unwrap().pop().unwrap();
        let query = as_query(parsed).unwrap().expect("a query");
        let asked = Asked { what: What::Query(Deep::new(*query)), told: Told::default() };
        let planned = plan(shared, &Arc::new(facts), asked).await.unwrap();
        let bounds = Bounds { cancel: CancellationToken::new(), deadline: None };
        let ready = ready(shared, &planned, vec![], Caching::Never, &Within::default(), &bounds).await;
        let ready = ready.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let super::Origin::Plan { physical, state, .. } = ready.rows else { panic!("a plan") };
        let batches = collect(Arc::clone(&physical), state.task_ctx()).await.unwrap();
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        let (mut files, mut groups) = (0, 0);
        physical
            .apply(|node| {
                let shown = displayable(node.as_ref()).one_line().to_string();
                if node.is::<DataSourceExec>() && shown.contains(".parquet") && !shown.contains("/products-") {
                    files += shown.matches(".parquet").count();
                    groups += row_groups(node.as_ref());
                }
                Ok(TreeNodeRecursion::Continue)
            })
            .unwrap();
        (rows, files, groups)
    }
}

/// Those that its statistics left over.
fn row_groups(scan: &dyn ExecutionPlan) -> usize {
    let metrics = scan.metrics().unwrap();
    let matched = metrics.iter().filter_map(|metric| match metric.value() {
        MetricValue::PruningMetrics { name, pruning_metrics } if name == "row_groups_pruned_statistics" => {
            Some(pruning_metrics.matched())
        }
        _ => None,
    });
    matched.sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_predicate_that_cannot_fail_prunes_below_the_barrier_as_above_no_barrier() {
    let shop = Shop::open().await;
    let all = (ROWS.len(), ROWS.len() + 1);
    let last = ROWS.iter().sum::<i64>() - 1;
    for (sql, rows, read) in [
        ("SELECT id FROM {v}.eu WHERE id = 3", 1, (1, 1)),
        ("SELECT id FROM {v}.eu WHERE id IN (3, 300003)", 2, (2, 2)),
        ("SELECT id FROM {v}.eu WHERE id >= 290000 AND id < 300000 AND region = 'EU'", 3_333, (1, 1)),
        ("SELECT product FROM {v}.eu WHERE id > 301000 AND product IS NOT NULL", 1_001, (3, 3)),
        ("SELECT number FROM {v}.outer WHERE number = 6", 1, (1, 1)),
        ("SELECT id FROM {v}.joined WHERE id = 7", 1, (1, 1)),
        ("SELECT n FROM {v}.groups WHERE id = 9", 1, (1, 1)),
        ("SELECT id FROM {v}.eu ORDER BY id LIMIT 1", 1, all),
    ] {
        let sql = sql.replace("{v}", "views");
        let (whole, reader) = (shop.read("whole", &sql).await, shop.read("reader", &sql).await);
        assert_eq!(reader, (rows, read.0, read.1), "{sql}: below a barrier");
        assert_eq!((whole.0, whole.1), (rows, read.0), "{sql}: without one");
        assert!(whole.2 <= read.1, "{sql}: {whole:?}");
    }
    // what is computed, or can fail, is not looked for in files
    for (sql, rows) in [
        ("SELECT id FROM views.shifted WHERE id = 4".to_string(), 1),
        ("SELECT id FROM views.eu WHERE 1 / (id + 1) > 5".to_string(), 0),
        (format!("SELECT n FROM views.groups WHERE n = 2 OR id = {last}"), 1),
    ] {
        let reader = shop.read("reader", &sql).await;
        assert_eq!((reader.0, reader.1), (rows, ROWS.len()), "{sql}");
    }
}
