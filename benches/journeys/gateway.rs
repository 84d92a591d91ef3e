//! lakegate's own binary over a lake of its own: a directory, the files an administrator would write, and `lakegate
//! serve` as a process whose CPU can be told from everybody else's. Tables are made through the lake's writer before the
//! server starts.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use lakegate::metastore::{self, Metastore};
use lakegate::policy::scram::{ITERATIONS, scram_verifier};
use lakegate::sources::{self, Source, Table, Writer};
use lakegate::types::TableName;
use tempfile::TempDir;

use crate::client::Login;
use crate::measure::Process;

const USER: &str = "bench";
const POLICY: &str = "p, bench, *, select, allow\np, bench, *, insert, allow\np, bench, *, create, allow\n\
                      p, bench, *, refresh, allow\np2, bench, *, unfiltered\n";
const PATIENCE: Duration = Duration::from_secs(60);

/// A lake without a server.
pub struct Lake {
    dir: TempDir,
    source: Arc<dyn Source>,
    pub writer: Arc<dyn Writer>,
}

/// A process of lakegate's binary; ends with its value.
pub struct Running {
    child: Child,
    http: SocketAddr,
    log: PathBuf,
}

/// A server over a lake.
pub struct Gateway {
    pub running: Running,
    pub login: Login,
    /// Dropped after the server has ended.
    pub lake: Lake,
}

impl Lake {
    /// One schema, no table.
    pub async fn new(schema: &str) -> Result<Self> {
        // Not in the system's temporary directory, which may be memory.
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
        let text = format!("warehouse = \"file://{}\"\n", dir.path().join("warehouse").display());
        write(&dir.path().join("catalog/sources/lake.toml"), &format!("kind = \"iceberg\"\n{text}"))?;
        let config = metastore::Config { path: dir.path().join("metastore.db"), ..Default::default() };
        let metastore = Arc::new(Metastore::open(&config).await?);
        let described = sources::Config::Iceberg(toml::from_str(&text)?);
        let source = sources::connect("lake", &described, &metastore)?;
        let writer = source.writer().context("a lake can be written")?;
        writer.create_schema(schema).await?;
        Ok(Self { dir, source, writer })
    }

    /// A table as a statement would be planned over it now.
    pub async fn table(&self, name: &TableName) -> Result<Arc<dyn Table>> {
        let tables = self.source.tables().await?;
        tables.into_iter().find(|table| table.name() == name).with_context(|| format!("{name} is not there"))
    }

    /// Makes the table and fills it in one commit; the rows written.
    pub async fn fill<I>(&self, name: &TableName, schema: SchemaRef, batches: I) -> Result<u64>
    where
        I: Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'static,
    {
        let batches = futures::stream::iter(batches.map(|batch| batch.map_err(Into::into)));
        let rows = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), batches));
        Ok(self.writer.create_table(name, schema, Default::default(), Some(rows)).await?)
    }

    /// The data files of a table that was written once.
    pub fn files(&self, name: &TableName) -> Result<Vec<PathBuf>> {
        let mut files = vec![];
        let mut folders = vec![self.dir.path().join("warehouse").join(&name.schema)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)?.flatten() {
                match entry.path() {
                    path if path.is_dir() => folders.push(path),
                    path if path.extension().is_some_and(|e| e == "parquet") => files.push(path),
                    _ => {}
                }
            }
        }
        // The folder of a table is its name and an id.
        let folder = format!("{}-", name.table);
        let of_table = |path: &PathBuf| path.components().any(|c| c.as_os_str().to_string_lossy().starts_with(&folder));
        files.retain(of_table);
        ensure!(!files.is_empty(), "{name} has no files");
        files.sort();
        Ok(files)
    }

    /// The newest metadata file of a table in bytes, all its files, and their bytes.
    pub fn kept(&self, table: &str) -> Result<(u64, usize, u64)> {
        let (mut newest, mut files, mut bytes) = (None, 0, 0);
        let mut folders = vec![self.dir.path().join("warehouse")];
        let folder = format!("{table}-");
        let of_table = |path: &Path| path.components().any(|c| c.as_os_str().to_string_lossy().starts_with(&folder));
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)?.flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                // The keeper may have taken it away by now.
                let Ok(found) = entry.metadata() else { continue };
                if !of_table(&path) {
                    continue;
                }
                files += 1;
                bytes += found.len();
                if path.to_string_lossy().ends_with(".metadata.json") {
                    newest = newest.max(Some((found.modified()?, found.len())));
                }
            }
        }
        Ok((newest.map_or(0, |(_, bytes)| bytes), files, bytes))
    }

    /// A file of the catalog.
    pub fn describe(&self, name: &str, text: &str) -> Result<()> {
        write(&self.dir.path().join("catalog").join(name), text)
    }

    /// `lakegate serve`; returns when it takes connections.
    pub fn serve(self) -> Result<Gateway> {
        let (pg, http) = (free_address()?, free_address()?);
        let login = Login { address: pg, user: USER, password: USER, database: "lakegate" };
        let running = self.start(&["serve"], pg, http, pg)?;
        Ok(Gateway { running, login, lake: self })
    }

    /// `lakegate ingest`; returns when its HTTP door is open.
    pub fn ingest(&self) -> Result<Running> {
        let (pg, http) = (free_address()?, free_address()?);
        self.start(&["ingest", "--http-listen", &http.to_string()], pg, http, http)
    }

    fn start(&self, words: &[&str], pg: SocketAddr, http: SocketAddr, door: SocketAddr) -> Result<Running> {
        let dir = self.dir.path();
        fs::create_dir_all(dir.join("catalog/datasets"))?;
        let verifier = scram_verifier(USER, b"sixteen byte salt", ITERATIONS);
        write(&dir.join("policies/model.conf"), include_str!("../../policies/model.conf"))?;
        write(&dir.join("policies/policy.csv"), POLICY)?;
        write(&dir.join("policies/users.toml"), &format!("[user.{USER}]\nscram = \"{verifier}\"\n"))?;
        let config = format!(
            "catalog_dir = \"catalog\"\npolicies_dir = \"policies\"\n[metastore]\npath = \"metastore.db\"\n\
             [wire]\nlisten = [\"{pg}\"]\nhttp_listen = \"{http}\"\ntls = \"off\"\n[ingest]\nenabled = false\n"
        );
        let path = dir.join("lakegate.toml");
        write(&path, &config)?;
        let log = dir.join("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
        command.args(words).arg("--config").arg(path).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(fs::File::create(&log)?).spawn().context("lakegate's binary")?;
        let mut running = Running { child, http, log };
        running.await_door(door)?;
        Ok(running)
    }
}

impl Running {
    pub fn process(&self) -> Process {
        Process::One(self.child.id())
    }

    /// A counter of `/metrics`, all its labels together.
    pub fn counter(&self, name: &str) -> Result<f64> {
        let text = self.get("/metrics")?;
        let lines = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|l| l.starts_with([' ', '{'])));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// What the HTTP door answers, head and body.
    pub fn get(&self, path: &str) -> Result<String> {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect(self.http)?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn await_door(&mut self, door: SocketAddr) -> Result<()> {
        let begin = Instant::now();
        while TcpStream::connect(door).is_err() {
            let ended = self.child.try_wait()?;
            ensure!(ended.is_none() && begin.elapsed() < PATIENCE, "lakegate does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// With its directory; readable by its owner alone, as policies must be.
fn write(path: &Path, text: &str) -> Result<()> {
    fs::create_dir_all(path.parent().context("a file in a directory")?)?;
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
