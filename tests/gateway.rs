//! A whole gateway for tests: catalog and policy files in a directory of its own, the ordinary server over them, and
//! clients of the PostgreSQL door. It checks nothing itself.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use lakegate::config::Config;
use lakegate::policy::scram::{ITERATIONS, scram_verifier};
use lakegate::server::Server;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A change of a file must have its effect within this. On a quiet machine it has it within a second; here, other servers
/// start and builds of plans run on the same two cores, and what is to be found out is an edit that waits for something.
pub const EFFECT_MAX: Duration = Duration::from_secs(10);
/// Where a test waits for something, it gives up after this.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Gateway {
    pub dir: tempfile::TempDir,
    pub server: Server,
}

/// Files of a gateway, before it starts.
#[derive(Default, Clone)]
pub struct Files {
    /// name, content of `catalog/sources/<name>.toml`.
    pub sources: Vec<(String, String)>,
    /// name, content of `catalog/datasets/<name>.sql`.
    pub datasets: Vec<(String, String)>,
    pub policy: String,
    /// name, the TOML of its attributes. Everybody's password is the name.
    pub users: Vec<(String, String)>,
    /// A user, and one in whose place it may ask.
    pub may_act_for: Vec<(String, String)>,
    /// `[attributes]` of users.toml.
    pub attributes: String,
    /// More sections of users.toml.
    pub roles: String,
    /// More sections of lakegate.toml.
    pub settings: String,
    /// The files of a certificate and its key; then TLS is required.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The deployment's key, of which hashes are made.
    pub key: Option<String>,
}

impl Files {
    /// A lake in the gateway's own directory, under the name `lake`.
    pub fn with_lake(mut self) -> Self {
        self.sources.push(("lake".into(), "kind = \"iceberg\"\nwarehouse = \"file://@DIR@/warehouse\"\n".into()));
        self
    }

    fn write(&self, dir: &Path) {
        for folder in ["catalog/sources", "catalog/datasets", "policies", "warehouse"] {
            std::fs::create_dir_all(dir.join(folder)).unwrap();
        }
        for (name, text) in &self.sources {
            let text = text.replace("@DIR@", &dir.display().to_string());
            std::fs::write(dir.join(format!("catalog/sources/{name}.toml")), text).unwrap();
        }
        for (name, text) in &self.datasets {
            std::fs::write(dir.join(format!("catalog/datasets/{name}.sql")), text).unwrap();
        }
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/model.conf");
        write_private(&dir.join("policies/model.conf"), &std::fs::read_to_string(shipped).unwrap());
        write_private(&dir.join("policies/policy.csv"), &self.policy);
        write_private(&dir.join("policies/users.toml"), &self.users_file());
        let tls = match &self.certificate {
            Some((certificate, key)) => format!("tls = \"require\"\ncertificate = {certificate:?}\nkey = {key:?}"),
            None => "tls = \"off\"".to_string(),
        };
        let key = self.key.as_ref().map_or("", |key| {
            write_private(&dir.join("deployment.key"), key);
            "key_file = \"deployment.key\"\n"
        });
        let text = format!(
            "{key}catalog_dir = \"catalog\"\npolicies_dir = \"policies\"\n[metastore]\npath = \"metastore.db\"\n\
             [wire]\nlisten = [\"127.0.0.1:0\"]\nhttp_listen = \"127.0.0.1:0\"\n{tls}\n{}",
            self.settings
        );
        std::fs::write(dir.join("lakegate.toml"), text).unwrap();
    }
}

impl Files {
    fn users_file(&self) -> String {
        let users = self.users.iter().map(|(name, attributes)| {
            let verifier = scram_verifier(name, b"sixteen byte salt", ITERATIONS);
            let others = self.may_act_for.iter().filter(|(user, _)| user == name);
            let others = others.map(|(_, other)| format!("{other:?}")).collect::<Vec<_>>().join(", ");
            let acting = if others.is_empty() { String::new() } else { format!("may_act_for = [{others}]\n") };
            format!("[user.{name}]\nscram = \"{verifier}\"\n{acting}attributes = {{ {attributes} }}\n")
        });
        format!("[attributes]\n{}\n{}{}", self.attributes, users.collect::<String>(), self.roles)
    }
}

/// As an admin's editor would: a new file in place of the old.
fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let half = path.with_extension("new");
    std::fs::write(&half, text).unwrap();
    std::fs::set_permissions(&half, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(half, path).unwrap();
}

impl Gateway {
    pub async fn start(files: &Files) -> Self {
        Self::start_after(files, async |_: &Path| {}).await
    }

    /// `before` has the files, and no server beside it yet.
    pub async fn start_after(files: &Files, before: impl AsyncFnOnce(&Path)) -> Self {
        keep_log();
        let dir = tempfile::tempdir().unwrap();
        files.write(dir.path());
        before(dir.path()).await;
        Box::pin(Self::again(dir)).await
    }

    /// Over the files of one that was stopped.
    pub async fn again(dir: tempfile::TempDir) -> Self {
        let config = Config::load(&dir.path().join("lakegate.toml"), |_| None);
        let config = config.unwrap_or_else(|faults| panic!("{faults:?}"));
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let server = Server::start(&config, metrics).await.unwrap();
        Self { dir, server }
    }

    /// Ends the server and keeps its files.
    pub async fn stop(self) -> tempfile::TempDir {
        self.server.drain(std::future::pending()).await;
        self.dir
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write_policy(&self, text: &str) {
        write_private(&self.path("policies/policy.csv"), text);
    }

    /// Writes it and waits until it is in force.
    pub async fn change_policy(&self, text: &str) {
        self.change(|| self.write_policy(text)).await;
    }

    /// As [`Gateway::change_policy`], of users and their attributes.
    pub async fn change_users(&self, files: &Files) {
        self.change(|| write_private(&self.path("policies/users.toml"), &files.users_file())).await;
    }

    async fn change(&self, write: impl FnOnce()) {
        let policies = || self.server.engine.world().policies.hash();
        let (before, begin) = (policies(), Instant::now());
        write();
        while policies() == before {
            assert!(begin.elapsed() < PATIENCE, "the policy is not in force");
            tokio::task::yield_now().await;
        }
    }

    /// Changes of the policy that were refused, as the admin's log tells them: one text a fault.
    pub fn refusals(&self) -> Vec<String> {
        let ours = self.path("policies").display().to_string();
        let log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
        let log = String::from_utf8_lossy(&log).into_owned();
        log.lines().filter(|l| l.contains("change refused") && l.contains(&ours)).map(str::to_string).collect()
    }

    /// Writes it and polls until the server has judged it: `true` where it came into force. `meanwhile` looks at each
    /// moment in between, and once after.
    pub async fn judge_policy(&self, text: &str, meanwhile: impl AsyncFn()) -> bool {
        let state = || (self.server.engine.world().policies.hash(), self.refusals().len());
        let (before, begin) = (state(), Instant::now());
        self.write_policy(text);
        loop {
            let now = state();
            assert!(now != before || begin.elapsed() < PATIENCE, "nothing was said of the new policy");
            meanwhile().await;
            if now != before {
                return now.0 != before.0;
            }
        }
    }

    /// By name, with the name as password.
    pub async fn connect(&self, user: &str) -> Client {
        let address = self.server.pg;
        let text = format!("host={} port={} user={user} password={user} dbname=lakegate", address.ip(), address.port());
        let (client, connection) = tokio_postgres::connect(&text, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Runs statements that must work.
    pub async fn run(&self, user: &str, statements: &[&str]) {
        let client = self.connect(user).await;
        for sql in statements {
            client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {}", told(&e)));
        }
    }
}

/// The log of every gateway in this process, from warnings up.
static LOG: Mutex<Vec<u8>> = Mutex::new(vec![]);

fn keep_log() {
    struct Line;
    impl std::io::Write for Line {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            LOG.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let log = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::WARN);
        log.with_writer(|| Line).init();
    });
}

/// What a client is told of an error, without the id that differs from one to the next.
pub fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(e) => {
            let fields = [e.detail().filter(|d| !d.starts_with("query id ")), e.hint()];
            let more: String = fields.into_iter().flatten().map(|f| format!(" | {f}")).collect();
            format!("ERROR {} {}{more}", e.code().code(), e.message())
        }
        None => format!("BROKEN {error}"),
    }
}

/// Rows as text over the simple protocol, or the error.
pub async fn simple(client: &Client, sql: &str) -> String {
    if let Some(answer) = copied_out(client, sql).await {
        return answer;
    }
    let messages = match client.simple_query(sql).await {
        Ok(messages) => messages,
        Err(error) => return told(&error),
    };
    let mut lines = vec![];
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => {
                let cells = (0..row.len()).map(|i| row.get(i).unwrap_or("∅").to_string());
                lines.push(cells.collect::<Vec<_>>().join("|"));
            }
            SimpleQueryMessage::CommandComplete(n) => lines.push(format!("({n})")),
            _ => {}
        }
    }
    lines.join("\n")
}

/// What a COPY to the client gives; `None` for other statements.
async fn copied_out(client: &Client, sql: &str) -> Option<String> {
    if !(sql.starts_with("COPY") && sql.ends_with("TO STDOUT")) {
        return None;
    }
    let rows = match client.copy_out(sql).await {
        Ok(rows) => rows.try_collect::<Vec<_>>().await,
        Err(error) => Err(error),
    };
    Some(rows.map_or_else(|error| told(&error), |rows| String::from_utf8_lossy(&rows.concat()).into_owned()))
}

/// A COPY of no rows from the client. Where it is refused, the client sends one Sync too many behind it, and takes every
/// answer for another's then: it is used up.
pub async fn copy_nothing_in(client: Client, sql: &str) -> String {
    let rows = match client.copy_in::<_, &'static [u8]>(sql).await {
        Ok(sink) => std::pin::pin!(sink).finish().await,
        Err(error) => Err(error),
    };
    rows.map_or_else(|error| told(&error), |rows| format!("({rows})"))
}

/// Rows in binary over the extended protocol, or the error.
pub async fn extended(client: &Client, sql: &str) -> String {
    if let Some(answer) = copied_out(client, sql).await {
        return answer;
    }
    let rows = match client.query(sql, &[]).await {
        Ok(rows) => rows,
        Err(error) => return told(&error),
    };
    let lines = rows.iter().map(|row| {
        let cells = (0..row.len()).map(|i| row.get::<_, Option<Raw>>(i).map_or("∅".into(), |raw| raw.0));
        cells.collect::<Vec<_>>().join("|")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A value's bytes, whatever its type.
struct Raw(String);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.iter().map(|b| format!("{b:02x}")).collect()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Asks again until the answer is as expected; the time it took. Fails with the last answer.
pub async fn until(client: &Client, sql: &str, expected: impl Fn(&str) -> bool) -> Duration {
    let begin = Instant::now();
    loop {
        let answer = simple(client, sql).await;
        if expected(&answer) {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < PATIENCE, "{sql}: still {answer}");
        tokio::task::yield_now().await;
    }
}
