//! A private PostgreSQL from the host's binaries, as an unprivileged user, on loopback alone, with `crm.customers` in it.
//! It lives below the demo's directory and is gone when the demo ends.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::SinkExt;
use tokio_postgres::NoTls;

use super::{failed, sample};
use crate::error::{Error, Kind, Result};

/// The database that `catalog/sources/crm.toml` names.
pub(super) const DATABASE: &str = "shop";
/// Who lakegate connects as: it may read, the log too, and no more.
pub(super) const READER: &str = "lakegate";

const OWNER: &str = "demo";
/// Rows of one COPY message.
const ROWS_IN_MESSAGE: i64 = 2_000;
const START_MAX: Duration = Duration::from_secs(30);
/// What is killed is gone within this.
const END_MAX: Duration = Duration::from_secs(10);

/// What to say where no server program is found.
pub(super) const HOW_TO_GET: &str = "no PostgreSQL server program was found, so crm.customers is missing and everything else works.\n\
    Install one (Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql) or set LAKEGATE_PG_BIN to\n\
    the directory that holds `initdb`, then start the demo again.";

/// Where the server will be and how it is entered: known before it runs, so that files can name it.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) port: u16,
    /// Of [`READER`].
    pub(super) password: String,
}

/// A directory made for a server.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    /// Whom the server runs as there; `None` for ourselves.
    account: Option<Account>,
}

/// A running server; dropping it stops it and removes its files.
#[derive(Debug)]
pub(super) struct Server {
    process: Child,
    binaries: PathBuf,
    directory: PathBuf,
    address: Address,
}

/// Somebody PostgreSQL agrees to run as: it refuses root.
#[derive(Debug)]
struct Account {
    uid: u32,
    gid: u32,
}

/// The directory of `initdb` and `postgres`: `LAKEGATE_PG_BIN` and nothing else where it is set, or else where packages
/// put them, newest first, then the path.
pub(super) fn binaries() -> Option<PathBuf> {
    let usable = |path: &PathBuf| path.join("initdb").is_file() && path.join("postgres").is_file();
    if let Some(named) = std::env::var_os("LAKEGATE_PG_BIN") {
        return Some(PathBuf::from(named)).filter(usable);
    }
    let on_path =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let mut packaged = Vec::new();
    for root in ["/usr/lib/postgresql", "/usr/local/opt", "/opt/homebrew/opt", "/usr"] {
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let version = name.trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().unwrap_or(0);
            let ours = root == "/usr/lib/postgresql" || name.starts_with("postgresql") || name.starts_with("pgsql-");
            packaged.extend(ours.then(|| (version, entry.path().join("bin"))));
        }
    }
    packaged.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    packaged.into_iter().map(|(_, path)| path).chain(on_path).find(usable)
}

impl Address {
    pub(super) fn choose() -> Result<Self> {
        let bound = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr());
        let port = bound.map_err(failed("no free port"))?.port();
        Ok(Self { port, password: uuid::Uuid::new_v4().simple().to_string() })
    }
}

impl Server {
    pub(super) async fn start(binaries: &Path, home: Home, address: Address) -> Result<Self> {
        let Home { path: directory, account } = home;
        initialise(binaries, &directory, account.as_ref(), &address.password).await?;
        let process = launch(binaries, &directory, account.as_ref(), address.port)?;
        let mut server = Self { process, binaries: binaries.to_path_buf(), directory, address };
        server.fill().await?;
        Ok(server)
    }

    /// Waits for the server, makes the table and the reader, and copies the customers in.
    async fn fill(&mut self) -> Result<()> {
        let client = self.connect().await?;
        let password = &self.address.password;
        client
            .batch_execute(&format!(
                "CREATE TABLE public.customers (customer_id bigint PRIMARY KEY, name text NOT NULL, email text NOT NULL, \
                 ssn text NOT NULL, country text NOT NULL, region text NOT NULL, created_at timestamptz NOT NULL);
                 CREATE ROLE {READER} LOGIN REPLICATION PASSWORD '{password}';
                 GRANT SELECT ON public.customers TO {READER};
                 CREATE PUBLICATION lakegate FOR TABLE public.customers;"
            ))
            .await
            .map_err(failed("crm.customers cannot be made"))?;
        let copied = failed("the customers cannot be copied in");
        let sink = client.copy_in("COPY public.customers FROM STDIN").await.map_err(&copied)?;
        futures::pin_mut!(sink);
        for first in (1..=sample::CUSTOMERS).step_by(ROWS_IN_MESSAGE as usize) {
            let last = (first + ROWS_IN_MESSAGE - 1).min(sample::CUSTOMERS);
            sink.send(Bytes::from((first..=last).map(line).collect::<String>())).await.map_err(&copied)?;
        }
        sink.finish().await.map_err(&copied)?;
        client.batch_execute("ANALYZE public.customers").await.map_err(&copied)
    }

    async fn connect(&mut self) -> Result<tokio_postgres::Client> {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.address.port)
            .user(OWNER)
            .password(&self.address.password)
            .dbname("postgres");
        let begin = Instant::now();
        let client = loop {
            match connect(&config).await {
                Ok(client) => break client,
                Err(error) => {
                    if let Some(status) = self.process.try_wait().map_err(failed("PostgreSQL"))? {
                        return Err(broken(format!(
                            "PostgreSQL ended while starting ({status}):\n{}",
                            tail(&self.directory)
                        )));
                    }
                    if begin.elapsed() > START_MAX {
                        return Err(failed("PostgreSQL does not answer")(error));
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        client
            .batch_execute(&format!("CREATE DATABASE {DATABASE}"))
            .await
            .map_err(failed("its database cannot be made"))?;
        config.dbname(DATABASE);
        connect(&config).await.map_err(failed("PostgreSQL"))
    }
}

impl Server {
    /// For whoever would change something there.
    pub(super) fn url(&self) -> String {
        let Address { port, password } = &self.address;
        format!("postgresql://{OWNER}:{password}@127.0.0.1:{port}/{DATABASE}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        stop(&self.binaries, &self.directory, "fast");
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A server that a killed demo left running in `directory` would go on writing there.
pub(super) fn stop_leftover(directory: &Path) {
    if directory.join("data/postmaster.pid").exists()
        && let Some(binaries) = binaries()
    {
        stop(&binaries, directory, "immediate");
    }
}

/// Ends everything that works in `directory`: a server by its own means, so that it gives back what the kernel lent it,
/// then whatever is left, an `initdb` half through for one.
pub(super) fn end(directory: &Path) {
    stop_leftover(directory);
    let begin = Instant::now();
    loop {
        let left = working_in(directory);
        if left.is_empty() || begin.elapsed() > END_MAX {
            return;
        }
        let mut kill = Command::new("sh");
        kill.args(["-c", "kill -KILL \"$@\"", "kill"]).args(left.iter().map(ToString::to_string));
        let _ = kill.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// PostgreSQL's programs whose working directory is `directory` or lies below it, where the system tells of such.
fn working_in(directory: &Path) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let linked = |process: &fs::DirEntry, name: &str| fs::read_link(process.path().join(name)).unwrap_or_default();
    let ours = processes.filter(|process| {
        let program = linked(process, "exe");
        linked(process, "cwd").starts_with(directory) && (program.ends_with("postgres") || program.ends_with("initdb"))
    });
    ours.filter_map(|process| process.file_name().to_str()?.parse().ok()).collect()
}

/// Waits until it has stopped; there is nothing to do about one that does not.
fn stop(binaries: &Path, directory: &Path, mode: &str) {
    let account = fs::metadata(directory).ok().map(|m| Account { uid: m.uid(), gid: m.gid() });
    let ours = fs::metadata("/proc/self").map_or(0, |m| m.uid());
    let account = account.filter(|account| account.uid != ours);
    let mut command = program(binaries, "pg_ctl", directory, account.as_ref());
    command.args(["stop", "--silent", "-w", "-t", "10", "-m", mode, "-D"]).arg(directory.join("data"));
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

async fn connect(config: &tokio_postgres::Config) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    // Ends with its client.
    tokio::spawn(connection);
    Ok(client)
}

impl Home {
    /// `wanted`, or a temporary one where `wanted` lies below somebody's private directory.
    pub(super) fn make(wanted: &Path) -> Result<Self> {
        let made = |place: &Path| fs::DirBuilder::new().mode(0o700).create(place).map_err(failed(place.display()));
        made(wanted)?;
        let owner = fs::metadata(wanted).map_err(failed(wanted.display()))?.uid();
        if owner != 0 {
            return Ok(Self { path: wanted.to_path_buf(), account: None });
        }
        let account = unprivileged()?;
        let open = |path: &Path| path.metadata().is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
        let path = if wanted.ancestors().skip(1).all(|parent| parent.as_os_str().is_empty() || open(parent)) {
            wanted.to_path_buf()
        } else {
            fs::remove_dir(wanted).map_err(failed(wanted.display()))?;
            let path = std::env::temp_dir().join(format!("lakegate-demo-postgres-{}", uuid::Uuid::new_v4().simple()));
            made(&path)?;
            path
        };
        chown(&path, Some(account.uid), Some(account.gid)).map_err(failed(path.display()))?;
        Ok(Self { path, account: Some(account) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn unprivileged() -> Result<Account> {
    let users = fs::read_to_string("/etc/passwd").map_err(failed("the list of users cannot be read"))?;
    let find = |name: &str| {
        let fields: Vec<&str> = users.lines().find(|l| l.split(':').next() == Some(name))?.split(':').collect();
        Some(Account { uid: fields.get(2)?.parse().ok()?, gid: fields.get(3)?.parse().ok()? })
    };
    let nobody = "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as";
    find("postgres").or_else(|| find("nobody")).ok_or_else(|| broken(nobody))
}

async fn initialise(binaries: &Path, directory: &Path, account: Option<&Account>, password: &str) -> Result<()> {
    let secret = directory.join("password");
    let written = failed(secret.display());
    // The directory is 0700 and the account's own: nobody else reads this.
    fs::write(&secret, password).map_err(&written)?;
    if let Some(account) = account {
        chown(&secret, Some(account.uid), Some(account.gid)).map_err(&written)?;
    }
    let mut command = program(binaries, "initdb", directory, account);
    command.args(["-U", OWNER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
    command.arg("--pwfile").arg(&secret).arg("-D").arg(directory.join("data"));
    // Killed when the demo is interrupted while it starts.
    let output = tokio::process::Command::from(command).kill_on_drop(true).output().await;
    let output = output.map_err(failed("initdb does not run"))?;
    fs::remove_file(&secret).map_err(written)?;
    if !output.status.success() {
        return Err(broken(format!("initdb failed:\n{}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(())
}

fn launch(binaries: &Path, directory: &Path, account: Option<&Account>, port: u16) -> Result<Child> {
    let log = fs::File::create(directory.join("log")).map_err(failed("PostgreSQL's log"))?;
    let mut command = program(binaries, "postgres", directory, account);
    command.arg("-D").arg(directory.join("data")).arg("-p").arg(port.to_string()).arg("-k").arg(directory);
    // The sample is made anew at each start: nothing here has to survive a power cut.
    for setting in [
        "listen_addresses=127.0.0.1",
        "wal_level=logical",
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "timezone=UTC",
    ] {
        command.args(["-c", setting]);
    }
    let copy = log.try_clone().map_err(failed("PostgreSQL's log"))?;
    command.stdout(Stdio::from(copy)).stderr(Stdio::from(log));
    command.spawn().map_err(failed("postgres does not run"))
}

fn program(binaries: &Path, name: &str, directory: &Path, account: Option<&Account>) -> Command {
    let mut command = Command::new(binaries.join(name));
    command.current_dir(directory).stdin(Stdio::null());
    // In a group of its own, so that Ctrl-C reaches us first and things end in order.
    command.process_group(0);
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

fn broken(text: impl Into<String>) -> Error {
    Error::new(Kind::Config, text)
}

fn tail(directory: &Path) -> String {
    let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(10)..).unwrap_or_default().join("\n")
}

/// A row in COPY's text form; no value of the sample needs escaping.
fn line(id: i64) -> String {
    let c = sample::customer(id);
    let created = chrono::DateTime::from_timestamp_micros(c.created_at).expect("the sample's days are near 2025");
    let created = created.format("%Y-%m-%d %H:%M:%S+00");
    format!("{}\t{}\t{}\t{}\t{}\t{}\t{created}\n", c.id, c.name, c.email, c.ssn, c.country, c.region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_server_holds_the_customers_and_leaves_nothing_behind() {
        let binaries = binaries().expect("this test needs PostgreSQL's server programs; ./x test installs them");
        let home = tempfile::tempdir().unwrap();
        let made = Home::make(&home.path().join("postgres")).unwrap();
        let server = Server::start(&binaries, made, Address::choose().unwrap()).await.unwrap();
        let (process, directory) = (server.process.id(), server.directory.clone());
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(server.address.port)
            .user(READER)
            .password(&server.address.password)
            .dbname(DATABASE);
        let client = connect(&config).await.unwrap();
        let row = client.query_one("SELECT count(*), count(DISTINCT email) FROM customers", &[]).await.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (100_000, 100_000));
        assert!(client.execute("DELETE FROM customers", &[]).await.is_err(), "the reader may write");
        drop(server);
        assert!(!directory.exists());
        assert!(!Path::new(&format!("/proc/{process}/cmdline")).exists());
    }
}
