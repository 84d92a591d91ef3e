//! A private PostgreSQL for a test: its own cluster in a temporary directory, a free port, gone when dropped. It is
//! never the machine's own server.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// `nobody`: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;
const PATIENCE: Duration = Duration::from_secs(60);

/// User `postgres`, database `postgres`, password `sesame` over TCP, none over the socket.
pub struct Server {
    dir: TempDir,
    settings: Vec<String>,
    process: Option<Child>,
    pub port: u16,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// `settings`: as after `postgres -c`.
    pub async fn with(settings: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        if root() {
            chown(dir.path(), Some(NOBODY), Some(NOBODY)).expect("root may give files away");
        }
        let password = dir.path().join("password");
        fs::write(&password, "sesame\n").expect("the directory is ours");
        let mut initdb = command("initdb");
        initdb.args([
            "-N",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
        ]);
        initdb.arg("--pwfile").arg(&password).arg("-D").arg(dir.path().join("data"));
        let made = initdb.output().expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = settings.iter().map(|s| s.to_string()).collect();
        let mut server = Self { dir, settings, process: None, port: free_port() };
        server.resume().await;
        server
    }

    /// A file in the data directory, readable by the server alone.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join("data").join(name);
        fs::write(&path, text).expect("the directory is ours");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("the file is ours");
        if root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).expect("root may give files away");
        }
    }

    /// Where its socket lies: a host to connect to.
    pub fn socket(&self) -> String {
        self.dir.path().to_str().expect("temporary paths are UTF-8").to_string()
    }

    pub async fn resume(&mut self) {
        let mut postgres = command("postgres");
        postgres.arg("-D").arg(self.dir.path().join("data")).arg("-k").arg(self.dir.path());
        postgres.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
        for setting in &self.settings {
            postgres.args(["-c", setting]);
        }
        let log = fs::File::create(self.dir.path().join("log")).expect("the directory is ours");
        self.process = Some(postgres.stdout(Stdio::null()).stderr(log).spawn().expect("postgres runs"));
        let started = Instant::now();
        while self.try_client().await.is_err() {
            let log = || fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            let ended = self.process.as_mut().and_then(|p| p.try_wait().expect("our child"));
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "PostgreSQL does not start: {}", log());
            tokio::task::yield_now().await;
        }
    }

    /// As a machine that loses power; connections are reset.
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let mut stop = command("pg_ctl");
        stop.arg("-D").arg(self.dir.path().join("data")).args(["-m", "immediate", "-w", "stop"]);
        let stopped = stop.output().is_ok_and(|o| o.status.success());
        if !stopped {
            let _ = process.kill();
        }
        let _ = process.wait();
    }

    pub async fn client(&self) -> Client {
        self.try_client().await.expect("the server runs")
    }

    pub async fn run(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    /// One value, as text.
    pub async fn ask(&self, sql: &str) -> String {
        let row = self.client().await.query_one(&format!("SELECT ({sql})::text"), &[]).await;
        row.unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0)
    }

    async fn try_client(&self) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host(self.socket()).port(self.port).user("postgres").dbname("postgres").application_name("test");
        let (client, connection) = config.connect(NoTls).await?;
        // Ends with its client.
        tokio::spawn(connection);
        Ok(client)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// A program of PostgreSQL's, never as root.
fn command(program: &str) -> Command {
    let mut command = Command::new(programs().join(program));
    command.current_dir("/").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    if root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// `LAKEGATE_PG_BIN`, or the newest that the system has.
fn programs() -> PathBuf {
    if let Ok(dir) = std::env::var("LAKEGATE_PG_BIN") {
        return dir.into();
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|v| v.path()).max_by_key(|path| version(path));
    let found = newest.map(|path| path.join("bin")).filter(|bin| bin.join("initdb").exists());
    found
        .expect("these tests need PostgreSQL's server: install postgresql, or set LAKEGATE_PG_BIN to its bin directory")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}
