//! An embedded world for newcomers: sample data in Iceberg, a live Kafka topic, a private PostgreSQL, three users, and
//! the ordinary server over them. It has no way of its own to data: it writes files and starts [`Server`] on them.

mod broker;
mod directory;
mod files;
pub mod guardian;
mod postgres;
mod sample;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::catalog::file::Draft;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::lake::Lake;
use crate::metastore::Metastore;
use crate::server::{Server, Signals, refuse};
use crate::sources::iceberg::Iceberg;
use crate::sources::{self, Source, Writer};
use crate::telemetry;
use crate::types::TableName;

use broker::Broker;
use directory::Directory;
use guardian::{Guardian, Ward};

/// An interrupted start ends within this.
const INTERRUPTED_MAX: Duration = Duration::from_secs(10);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// A temporary one where absent.
    pub data_dir: Option<PathBuf>,
    pub pg_port: u16,
    pub http_port: u16,
}

/// Everything that must go when the demo ends, in the order in which it goes.
struct Demo {
    server: Server,
    _broker: Broker,
    postgres: Option<postgres::Server>,
    directory: Directory,
    _guardian: Guardian,
}

/// Runs until the first signal; what it started is stopped when it returns.
pub async fn run(options: Options, metrics: PrometheusHandle) -> Result<()> {
    let mut signals = Signals::listen()?;
    let (begin, stop) = (Instant::now(), CancellationToken::new());
    let mut starting = pin!(start(&options, metrics, &stop));
    let demo = tokio::select! {
        started = &mut starting => started?,
        () = signals.next() => {
            stop.cancel();
            // Ends by itself: dropped in the middle it would leave writers behind that do not know yet.
            let _ = tokio::time::timeout(INTERRUPTED_MAX, starting).await;
            return Ok(());
        }
    };
    println!("{}", greeting(&demo, begin));
    signals.next().await;
    eprintln!("demo: stopping; a second signal does not wait");
    demo.server.drain(signals.next()).await;
    Ok(())
}

async fn start(options: &Options, metrics: PrometheusHandle, stop: &CancellationToken) -> Result<Demo> {
    for (flag, port) in [("--pg-port", options.pg_port), ("--http-port", options.http_port)] {
        TcpListener::bind(("127.0.0.1", port)).map_err(failed(format!("{flag} {port}")))?;
    }
    let directory = Directory::prepare(options.data_dir.as_deref())?;
    let mut guardian = Guardian::start(directory.lock()?)?;
    if directory.is_temporary() {
        guardian.watch(Ward::Directory, directory.path())?;
    }
    let broker = Broker::start().await?;
    let address = postgres::Address::choose()?;
    let places = files::Places {
        kafka: &broker.address,
        postgres: &address,
        pg_port: options.pg_port,
        http_port: options.http_port,
    };
    files::write(&directory, &places)?;
    let config = Config::load(&directory.path().join("lakegate.toml"), |_| None).map_err(|faults| refuse(&faults))?;
    telemetry::init(config.log.format, &config.log.filter)?;
    eprintln!("demo: making the sample in {}", directory.path().display());
    let starting = start_postgres(directory.path(), address, &mut guardian);
    let (postgres, ()) = tokio::try_join!(starting, fill_lake(&config, stop))?;
    let server = Server::start(&config, metrics).await?;
    Ok(Demo { server, _broker: broker, postgres, directory, _guardian: guardian })
}

/// `None` where the host has none, or where it did not start: the rest of the demo is worth having.
async fn start_postgres(
    directory: &Path,
    address: postgres::Address,
    guardian: &mut Guardian,
) -> Result<Option<postgres::Server>> {
    let Some(binaries) = postgres::binaries() else { return Ok(None) };
    let starting = async {
        let home = postgres::Home::make(&directory.join("postgres"))?;
        guardian.watch(Ward::Postgres, home.path())?;
        postgres::Server::start(&binaries, home, address).await
    };
    match starting.await {
        Ok(server) => Ok(Some(server)),
        Err(error) => {
            eprintln!("demo: PostgreSQL did not start, crm.customers is missing: {error}");
            Ok(None)
        }
    }
}

/// Writes the sample into the lake that the catalog describes, one task a table. No task is left when it returns.
async fn fill_lake(config: &Config, stop: &CancellationToken) -> Result<()> {
    let draft = Draft::read(&config.catalog_dir).map_err(|faults| refuse(&faults))?;
    let lake = draft.sources.iter().find_map(|file| match &file.config {
        sources::Config::Iceberg(lake) => Some((&file.name, lake)),
        _ => None,
    });
    let Some((name, described)) = lake else { return Ok(()) };
    let metastore = Arc::new(Metastore::open(&config.metastore).await?);
    let lake = Lake::connect(&described.lake(), metastore)?;
    let source = Iceberg::new(name, described, Arc::new(lake));
    let writer = source.writer().ok_or_else(|| Error::internal("a lake that cannot be written"))?;
    writer.create_schema("sales").await?;
    let mut tables = tokio::task::JoinSet::new();
    for table in sample::lake_tables() {
        tables.spawn(write_table(Arc::clone(&writer), table, stop.clone()));
    }
    let written: Vec<Result<()>> = tables.join_all().await;
    written.into_iter().collect()
}

async fn write_table(writer: Arc<dyn Writer>, table: sample::Table, stop: CancellationToken) -> Result<()> {
    let name = TableName::new(table.schema, table.name);
    let going_on = move |batch| match stop.is_cancelled() {
        true => Err(Error::new(Kind::Cancelled, "the demo was interrupted").into()),
        false => Ok(batch),
    };
    let rows = futures::stream::iter(table.rows.map(going_on));
    let rows = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&table.columns), rows));
    writer.create_table(&name, table.columns, Default::default(), Some(rows)).await?;
    Ok(())
}

/// What the demo could not do, in words for the person who started it.
fn failed<E: std::fmt::Display>(what: impl std::fmt::Display) -> impl Fn(E) -> Error {
    move |error| Error::new(Kind::Config, format!("{what}: {error}"))
}

fn greeting(demo: &Demo, begin: Instant) -> String {
    let (seconds, port) = (begin.elapsed().as_secs_f32(), demo.server.pg.port());
    let url = |user: &str| format!("psql \"postgresql://{user}:{user}@127.0.0.1:{port}/lakegate\"");
    let (admin, analyst, auditor) = (url("admin"), url("analyst"), url("auditor"));
    let directory = demo.directory.path().display();
    let http = demo.server.http.map_or(String::new(), |address| format!("http://{address}/readyz  /healthz  /metrics"));
    let missing = if demo.postgres.is_some() { String::new() } else { format!("\nNote: {}\n", postgres::HOW_TO_GET) };
    let arriving = demo.postgres.as_ref().map_or(String::new(), |postgres| {
        format!(
            r#"
  -- a PostgreSQL table's rows in Iceberg, kept fresh from its log: change one there, in a shell,
  --   psql "{url}" -c "UPDATE customers SET name = 'Ada' WHERE customer_id = 1"
  -- and see it arrive here within two seconds
  SELECT l.customer_id, l.name AS in_the_lake, c.name AS in_postgres
  FROM lake_crm.customers l JOIN crm.customers c ON c.customer_id = l.customer_id WHERE l.customer_id < 4;
"#,
            url = postgres.url()
        )
    });
    format!(
        r#"
lakegate is ready after {seconds:.1} s. Connect as one of three users; what each sees is decided in policies/policy.csv:

  {admin}
  {analyst}
  {auditor}

Try, as admin and then as analyst:

  -- an Iceberg table, a live Kafka topic and a PostgreSQL table in one statement
  SELECT c.region, e.event_type, count(*) AS events, sum(o.total) AS ordered
  FROM events.order_events e
  JOIN sales.orders o ON o.order_id = e.order_id
  JOIN crm.customers c ON c.customer_id = o.customer_id
  GROUP BY c.region, e.event_type ORDER BY c.region, e.event_type;

  -- the same customers, two ways of seeing them
  SELECT customer_id, name, email, region FROM crm.customers ORDER BY customer_id LIMIT 5;

  -- a dataset: a named query that stands in catalog/datasets/
  SELECT * FROM reports.revenue_by_region ORDER BY revenue DESC;

  -- asked of all orders, of which catalog/reflections/ stores sums by day and region; hits are answers from there
  SELECT region, count(*) AS orders, sum(total) AS ordered FROM sales.orders GROUP BY region ORDER BY region;
  SELECT count(*) AS reflections, max(state) AS state, sum(rows) AS rows, sum(hits) AS hits FROM lakegate.reflections;

  -- how far a pipeline is behind its topic: it commits every ten seconds, see catalog/pipelines/
  SELECT (SELECT count(*) FROM events.order_events) - (SELECT count(*) FROM sales.order_events) AS events_behind,
         now() - max(event_time) AS newest_is_old FROM sales.order_events;
{arriving}{missing}
Edit and watch: a saved file is in force within a second.
  who may see   {directory}/policies/policy.csv
  what exists   {directory}/catalog/
  the server    {directory}/lakegate.toml
  its state     {http}

Ctrl-C stops everything and leaves nothing running."#
    )
}
