//! Rows that users send to the HTTP door of a whole gateway: who may, what is answered, and that a body is taken in once,
//! however often it is sent and whatever dies in between.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lakegate::ingest::Replayed;
use lakegate::policy::scram::{ITERATIONS, scram_verifier};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::home::PATIENCE;
use crate::gateway::{Files, Gateway, simple, until};

const COLUMNS: &str = "columns = [{ name = \"id\", type = \"int8\" }, { name = \"region\", type = \"text\" }, \
                       { name = \"total\", type = \"numeric(12,2)\" }]";

/// Added, current, and with bad lines set aside.
fn pipelines() -> [(&'static str, String); 3] {
    let of = |write: &str, table: &str, more: &str| {
        format!(
            "origin = \"http\"\nwrite = \"{write}\"\ntarget = \"sales\"\n{more}\n[commit]\nage_ms = 50\n\
             [http]\ntable = \"{table}\"\n{COLUMNS}\nbody_bytes_max = 4096\n"
        )
    };
    [
        ("orders", of("append", "orders", "")),
        ("stock", of("upsert", "stock", "") + "key_columns = [\"id\"]\n"),
        ("loose", of("append", "loose", "[dead_letter]\npercent_max = 100") + "bad_lines = \"dead_letter\"\n"),
    ]
}

/// bob adds and sees nothing, ann adds rows of her region, cid sees and adds nothing, eve knows of none of it, and fay sees no
/// region.
const POLICY: &str = r#"
p, root, *, select, allow
p, root, *, insert, allow
p, root, *, update, allow
p2, root, *, unfiltered
p, root, sales.__dlq, select, allow
p, bob, sales.orders, insert, allow
p, bob, sales.stock, insert, allow
p, ann, sales.orders, select, allow
p, ann, sales.orders, insert, allow
p2, ann, sales.orders, "region = 'EU'"
p, dan, sales.orders, select, allow
p, dan, sales.orders, insert, allow
p, dan, sales.orders/total, select, deny
p, ann, sales.loose, insert, allow
p2, ann, sales.loose, "region = 'EU'"
p, cid, sales.*, select, allow
p, fay, sales.stock, select, allow
p, fay, sales.stock, insert, allow
p, fay, sales.stock, update, allow
p2, fay, sales.stock, unfiltered
p3, fay, sales.stock, region, nullify
"#;

const USERS: [&str; 7] = ["root", "ann", "bob", "cid", "dan", "eve", "fay"];

fn files() -> Files {
    let users = USERS.map(|name| (name.to_string(), String::new())).to_vec();
    Files { policy: POLICY.into(), users, ..Files::default() }.with_lake()
}

async fn gateway() -> Gateway {
    Gateway::start_after(&files(), async |dir: &Path| write_pipelines(dir)).await
}

fn write_pipelines(dir: &Path) {
    std::fs::create_dir_all(dir.join("catalog/pipelines")).unwrap();
    for (name, text) in pipelines() {
        std::fs::write(dir.join(format!("catalog/pipelines/{name}.toml")), text).unwrap();
    }
}

/// A request as a user whose password is the name.
struct Send<'a> {
    path: &'a str,
    user: Option<(&'a str, &'a str)>,
    key: Option<&'a str>,
    headers: &'a str,
    body: &'a str,
}

impl<'a> Send<'a> {
    fn to(path: &'a str, user: &'a str, key: &'a str, body: &'a str) -> Self {
        Self { path, user: Some((user, user)), key: Some(key), headers: "", body }
    }

    /// Status, headers, and the body; `None` where the connection ended before.
    async fn answer(&self, address: SocketAddr) -> Option<(u16, String, Value)> {
        let authorization = self.user.map(|(user, password)| {
            format!("authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
        });
        let key = self.key.map(|key| format!("idempotency-key: {key}\r\n"));
        let text = format!(
            "POST /v1/ingest/{} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n{}{}{}\r\n{}",
            self.path,
            self.body.len(),
            authorization.unwrap_or_default(),
            key.unwrap_or_default(),
            self.headers,
            self.body
        );
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(text.as_bytes()).await.ok()?;
        let mut answer = vec![];
        stream.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split_whitespace().nth(1)?.parse().unwrap();
        Some((status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    async fn status(&self, address: SocketAddr) -> (u16, Value) {
        let (status, _, body) = self.answer(address).await.expect("an answer");
        (status, body)
    }
}

/// The pipelines begin beside the doors.
async fn running(address: SocketAddr) {
    let begin = Instant::now();
    for (pipeline, _) in pipelines() {
        loop {
            // A body without a line is looked at by a pipeline that runs or not; one with a line only by one that does.
            let (status, _) = Send::to(pipeline, "root", "begin", "{\"id\": 0}").status(address).await;
            if status == 200 {
                break;
            }
            assert_eq!(status, 503, "{pipeline}: it does not run yet, and is there");
            assert!(begin.elapsed() < PATIENCE, "{pipeline}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn done(rows: u64, again: bool) -> (u16, Value) {
    (200, json!({ "rows": rows, "dead_letters": 0, "committed": true, "again": again }))
}

const TWO: &str =
    "{\"id\": 1, \"region\": \"EU\", \"total\": 9.99}\n{\"id\": 2, \"region\": \"US\", \"total\": \"10.50\"}\n";

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_in_the_table_when_they_are_answered_for_and_once() {
    let gateway = gateway().await;
    let address = gateway.server.http.unwrap();
    running(address).await;
    let root = gateway.connect("root").await;
    let sql = "SELECT id, region, total, _op, _source FROM sales.orders WHERE id > 0 ORDER BY id";
    assert_eq!(Send::to("orders", "bob", "k1", TWO).status(address).await, done(2, false));
    let both = "1|EU|9.99|insert|http/bob\n2|US|10.50|insert|http/bob\n(2)";
    assert_eq!(simple(&root, sql).await, both);
    assert_eq!(Send::to("orders", "bob", "k1", TWO).status(address).await, done(2, true));
    assert_eq!(simple(&root, sql).await, both);
    let (status, body) = Send::to("orders", "bob", "k1", "{\"id\": 3}").status(address).await;
    assert_eq!((status, body["error"].as_str()), (422, Some("this Idempotency-Key came before with another body")));
    // Another user's key is another one.
    assert_eq!(Send::to("orders", "root", "k1", "{\"id\": 3}").status(address).await, done(1, false));

    let upsert = |id: &str| format!("{{\"id\": 1, \"region\": \"{id}\"}}");
    for region in ["a", "b"] {
        let body = upsert(region);
        let keyless = Send { key: None, ..Send::to("stock", "root", "", &body) };
        assert_eq!(keyless.status(address).await, done(1, false));
    }
    assert_eq!(simple(&root, "SELECT id, region FROM sales.stock WHERE id > 0").await, "1|b\n(1)");

    let dir = gateway.stop().await;
    let gateway = Box::pin(Gateway::again(dir)).await;
    let address = gateway.server.http.unwrap();
    running(address).await;
    assert_eq!(Send::to("orders", "bob", "k1", TWO).status(address).await, done(2, true), "after a restart");
    let root = gateway.connect("root").await;
    assert_eq!(simple(&root, "SELECT count(*) FROM sales.orders WHERE id > 0").await, "3\n(1)");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_learns_nothing() {
    let gateway = gateway().await;
    let address = gateway.server.http.unwrap();
    running(address).await;
    let denied = (403, json!({ "error": "permission denied for this pipeline" }));
    for (user, path) in [
        ("eve", "orders"),
        ("eve", "nowhere"),
        ("cid", "orders"),
        ("cid", "stock"),
        // Rows that take others' places need more than a right to add some.
        ("bob", "stock"),
        // Nor does she replace what she does not see as it is.
        ("fay", "stock"),
        ("bob", "loose"),
        ("bob", "nowhere"),
        // A column that she does not see is not hers to fill.
        ("dan", "orders"),
        ("root", "nowhere"),
    ] {
        assert_eq!(Send::to(path, user, "k", TWO).status(address).await, denied, "{user} {path}");
    }
    let unknown = json!({ "error": "authentication failed" });
    for user in [None, Some(("bob", "wrong")), Some(("nobody", "nobody")), Some(("bob", ""))] {
        for path in ["orders", "nowhere"] {
            let (status, head, body) =
                Send { user, ..Send::to(path, "", "k", TWO) }.answer(address).await.expect("an answer");
            assert_eq!((status, body), (401, unknown.clone()), "{user:?} {path}");
            assert!(head.contains("www-authenticate: basic realm=\"lakegate\""), "{head}");
        }
    }
    let root = gateway.connect("root").await;
    assert_eq!(simple(&root, "SELECT count(*) FROM sales.orders WHERE id > 0").await, "0\n(1)");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_outside_of_a_users_filter_are_refused_by_the_policy_of_now() {
    let gateway = gateway().await;
    let address = gateway.server.http.unwrap();
    running(address).await;
    let (status, body) = Send::to("orders", "ann", "k1", TWO).status(address).await;
    let text = "new row violates row-level security policy for table \"orders\"";
    assert_eq!((status, body["error"].as_str()), (403, Some(text)));
    let hers = "{\"id\": 1, \"region\": \"EU\"}";
    assert_eq!(Send::to("orders", "ann", "k1", hers).status(address).await, done(1, false));
    gateway.change_policy(&POLICY.replace("region = 'EU'", "region = 'US'")).await;
    assert_eq!(Send::to("orders", "ann", "k2", hers).status(address).await.0, 403);
    gateway.change_policy(&POLICY.replace("p, ann, sales.orders, insert, allow\n", "")).await;
    let denied = (403, json!({ "error": "permission denied for this pipeline" }));
    assert_eq!(Send::to("orders", "ann", "k1", hers).status(address).await, denied, "though it was sent before");
    let root = gateway.connect("root").await;
    assert_eq!(simple(&root, "SELECT id, region FROM sales.orders WHERE id > 0").await, "1|EU\n(1)");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_said() {
    let gateway = gateway().await;
    let address = gateway.server.http.unwrap();
    running(address).await;
    let check = async |send: Send<'_>, status: u16, error: &str| {
        let answered = send.status(address).await;
        assert_eq!((answered.0, answered.1["error"].as_str()), (status, Some(error)), "{}", send.body);
        answered.1
    };
    let bad = "{\"id\": 1}\n\n{\"id\": \"one\", \"total\": 1}\nnonsense\n";
    let text = "line 3, field \"id\" has another type than the column";
    let body = check(Send::to("orders", "bob", "k", bad), 400, text).await;
    assert_eq!((body["bad_lines"].as_u64(), body["lines"][1]["line"].as_u64()), (Some(2), Some(4)));
    let missing = "this pipeline adds rows, so that each body needs an Idempotency-Key";
    check(Send { key: None, ..Send::to("orders", "bob", "", TWO) }, 400, missing).await;
    check(Send::to("orders", "bob", "k", "\n \n"), 400, "the body has no line").await;
    let long = "k".repeat(201);
    check(Send::to("orders", "bob", &long, TWO), 400, "Idempotency-Key is 1 to 200 visible ASCII characters").await;
    check(Send::to("orders?wait=no", "bob", "k", TWO), 400, "the one parameter is `wait`, true or false").await;
    let coded = Send { headers: "content-encoding: gzip\r\n", ..Send::to("orders", "bob", "k", TWO) };
    check(coded, 415, "bodies are not compressed").await;
    let large = "{\"id\": 1}\n".repeat(1_000);
    let text = "a body of this pipeline has at most 4096 bytes; send the lines in several";
    check(Send::to("orders", "bob", "k", &large), 413, text).await;
    let root = gateway.connect("root").await;
    assert_eq!(simple(&root, "SELECT count(*) FROM sales.orders WHERE id > 0").await, "0\n(1)");

    let accepted = Send::to("orders?wait=false", "bob", "k", TWO).status(address).await;
    assert_eq!(accepted, (202, json!({ "rows": 2, "dead_letters": 0, "committed": false, "again": false })));
    assert_eq!(Send::to("orders", "bob", "k", TWO).status(address).await, done(2, true), "and now it is waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_lines_are_set_aside_where_the_pipeline_says_so() {
    let gateway = gateway().await;
    let address = gateway.server.http.unwrap();
    running(address).await;
    let bad = "{\"id\": 1}\n{\"id\": \"one\"}\nnonsense\n{\"id\": 4}";
    let answer = Send::to("loose", "root", "k", bad).status(address).await;
    assert_eq!(answer, (200, json!({ "rows": 2, "dead_letters": 2, "committed": true, "again": false })));
    let root = gateway.connect("root").await;
    assert_eq!(simple(&root, "SELECT id FROM sales.loose WHERE id > 0 ORDER BY id").await, "1\n4\n(2)");
    let dead = "SELECT pipeline, source, error_class, convert_from(raw, 'UTF8') FROM sales.__dlq ORDER BY id";
    let expected = "loose|http/root|misfit|{\"id\": \"one\"}\nloose|http/root|malformed|nonsense\n(2)";
    assert_eq!(simple(&root, dead).await, expected);
    // A line that is set aside is taken in later as it is: whoever may not send every row sends none that is.
    let hers = "{\"id\": 7, \"region\": \"EU\"}\n{\"region\": \"US\", \"total\": 12345678901.25}";
    let (status, body) = Send::to("loose", "ann", "k", hers).status(address).await;
    assert_eq!((status, body["lines"][0]["line"].as_u64()), (400, Some(2)), "{body}");
    assert_eq!(simple(&root, dead).await, expected);
}

/// How far a pipeline is says how many rows there are, hidden ones too.
#[tokio::test(flavor = "multi_thread")]
async fn a_topics_place_is_asked_for_by_those_who_see_all_of_a_table() {
    let gateway = gateway().await;
    let address = gateway.server.http.unwrap();
    running(address).await;
    assert_eq!(Send::to("orders", "root", "k", TWO).status(address).await, done(2, false));
    let beyond = "SET lakegate.freshness = 'offset:0:999'; SET lakegate.freshness_timeout = '20 ms'";
    let mut codes = vec![];
    for user in ["root", "cid", "ann", "dan"] {
        let client = gateway.connect(user).await;
        client.batch_execute(beyond).await.unwrap();
        let error = client.simple_query("SELECT count(*) FROM sales.orders").await.unwrap_err();
        codes.push((user, error.code().unwrap().code().to_owned()));
    }
    let codes: Vec<_> = codes.iter().map(|(user, code)| (*user, code.as_str())).collect();
    assert_eq!(codes, [("root", "22023"), ("cid", "22023"), ("ann", "42501"), ("dan", "42501")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_fit_by_now_become_rows_while_the_pipeline_runs() {
    let gateway = gateway().await;
    let address = gateway.server.http.unwrap();
    running(address).await;
    let large = "{\"id\": 1, \"total\": 12345678901.25}\nnonsense\n{\"id\": 2, \"total\": 1}";
    let answer = Send::to("loose", "root", "k", large).status(address).await.1;
    assert_eq!((answer["rows"].as_u64(), answer["dead_letters"].as_u64()), (Some(1), Some(2)));
    let config = lakegate::config::Config::load(&gateway.path("lakegate.toml"), |_| None).unwrap();
    let operations = lakegate::server::ingest_operations(&config).await.unwrap();
    // The pipeline widens the table's column too, when it sees its file.
    let replay = async || loop {
        match operations.replay("loose").await {
            Ok(done) => break done,
            Err(error) => assert_eq!(error.kind().sqlstate(), "40001", "{error}"),
        }
    };
    let replayed = |rows, left| vec![("sales.loose".to_string(), Replayed { rows, resolved: rows, left })];
    assert_eq!(replay().await, replayed(0, 2), "by the columns of before");
    let (_, text) = pipelines()[2].clone();
    let wider = text.replace("numeric(12,2)", "numeric(14,2)");
    std::fs::write(gateway.path("catalog/pipelines/loose.toml"), wider).unwrap();
    assert_eq!(replay().await, replayed(1, 1));
    assert_eq!(replay().await, replayed(0, 1), "once");
    let root = gateway.connect("root").await;
    let rows = "SELECT id, total, _source FROM sales.loose WHERE id > 0 ORDER BY id";
    until(&root, rows, |answer| answer == "1|12345678901.25|http/root\n2|1.00|http/root\n(2)").await;
    let dead = "SELECT convert_from(raw, 'UTF8') FROM sales.__dlq";
    until(&root, dead, |answer| answer == "nonsense\n(1)").await;
    // The pipeline goes on where it was.
    let begin = Instant::now();
    loop {
        let status = Send::to("loose", "root", "k2", "{\"id\": 3}").status(address).await.0;
        if status == 200 {
            break;
        }
        assert!(status == 503 && begin.elapsed() < PATIENCE, "it does not run: {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let refused = operations.replay("stock").await.unwrap_err();
    assert_eq!(refused.kind().sqlstate(), "0A000");
    let nowhere = operations.replay("nowhere").await.unwrap_err();
    assert_eq!(nowhere.kind().sqlstate(), "42704");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_the_other_door_serves_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let pair = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&pair.0, made.cert.pem()).unwrap();
    std::fs::write(&pair.1, made.signing_key.serialize_pem()).unwrap();
    let files = Files { certificate: Some(pair), ..files() };
    let gateway = Gateway::start_after(&files, async |dir: &Path| write_pipelines(dir)).await;
    let address = gateway.server.http.unwrap();
    // As orchestrators ask, without TLS, and from this machine.
    running(address).await;
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().add_root_certificate(root).resolve("localhost", address).build().unwrap();
    let url = format!("https://localhost:{}/v1/ingest/stock", address.port());
    let sent = client.post(url).basic_auth("root", Some("root")).body("{\"id\": 1}").send().await.unwrap();
    let (status, body) = (sent.status().as_u16(), sent.text().await.unwrap());
    assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), done(1, false));
}

/// The real binary over files of its own.
struct Served {
    directory: tempfile::TempDir,
}

impl Served {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for folder in ["catalog/sources", "policies", "warehouse"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        write_pipelines(root);
        let lake = format!("kind = \"iceberg\"\nwarehouse = \"file://{}/warehouse\"\n", root.display());
        std::fs::write(root.join("catalog/sources/lake.toml"), lake).unwrap();
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/model.conf");
        std::fs::copy(model, root.join("policies/model.conf")).unwrap();
        let verifier = scram_verifier("root", b"sixteen byte salt", ITERATIONS);
        let users = format!("[attributes]\n[user.root]\nscram = \"{verifier}\"\nattributes = {{ }}\n");
        let policy = POLICY.lines().filter(|line| line.contains("root")).collect::<Vec<_>>().join("\n");
        for (file, text) in [("policies/policy.csv", policy), ("policies/users.toml", users)] {
            std::fs::write(root.join(file), text).unwrap();
            std::fs::set_permissions(root.join(file), std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let config = "[wire]\nlisten = [\"127.0.0.1:0\"]\nhttp_listen = \"127.0.0.1:0\"\n\
                      [metastore]\npath = \"metastore.db\"\n[ingest]\nlease_ms = 500\nretry_ms_max = 500\n\
                      [log]\nfilter = \"warn,lakegate=info\"\n";
        std::fs::write(root.join("lakegate.toml"), config).unwrap();
        Self { directory }
    }

    fn serve(&self, failpoint: Option<&str>) -> Process {
        let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lakegate"));
        command.current_dir(self.directory.path()).arg("serve").env_remove("LAKEGATE_CONFIG");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        if let Some(step) = failpoint {
            command.env("LAKEGATE_FAILPOINT", step);
        }
        Process(command.spawn().unwrap())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Where the process that was started last listens, once it does.
    fn address(&self) -> Option<SocketAddr> {
        self.log().lines().find_map(|line| line.split_once(" http=")?.1.trim().parse().ok())
    }

    /// Sends until there is an answer that is final, or the process is gone.
    async fn answered(&self, process: &mut Process, key: &str, body: &str) -> Option<Value> {
        let begin = Instant::now();
        loop {
            if process.0.try_wait().unwrap().is_some() {
                return None;
            }
            let send = Send::to("orders", "root", key, body);
            let answer = match self.address() {
                Some(address) => send.answer(address).await,
                None => None,
            };
            match answer {
                Some((200, _, body)) => return Some(body),
                // Not listening yet, not running yet, or dead in the midst of it.
                None | Some((503, ..)) => tokio::time::sleep(Duration::from_millis(20)).await,
                Some(other) => panic!("{other:?}\n{}", self.log()),
            }
            assert!(begin.elapsed() < PATIENCE, "no answer\n{}", self.log());
        }
    }
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Steps of a commit and around it, before and after it happens.
const POINTS: [&str; 6] =
    ["after_read", "after_upload", "after_metadata", "after_swap", "after_commit", "before_confirm"];
const ABORTED: i32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_between_commit_and_answer_takes_a_body_in_once() {
    let served = Served::new();
    for (at, point) in POINTS.iter().enumerate() {
        let mut process = served.serve(Some(point));
        let (key, body) = (format!("k{at}"), format!("{{\"id\": {at}}}\n{{\"id\": {}}}", 100 + at));
        assert_eq!(served.answered(&mut process, &key, &body).await, None, "{point}: it answers and should be dead");
        let status = process.0.wait().unwrap();
        assert_eq!(status.signal(), Some(ABORTED), "{point}: {status}\n{}", served.log());
    }
    let mut process = served.serve(None);
    for (at, point) in POINTS.iter().enumerate() {
        let (key, body) = (format!("k{at}"), format!("{{\"id\": {at}}}\n{{\"id\": {}}}", 100 + at));
        let answer = served.answered(&mut process, &key, &body).await.expect("alive");
        let is_in = *point == "after_swap" || *point == "after_commit" || *point == "before_confirm";
        assert_eq!((answer["rows"].as_u64(), answer["again"].as_bool()), (Some(2), Some(is_in)), "{point}");
    }
    drop(process);
    let config: lakegate::sources::iceberg::Config =
        toml::from_str(&format!("warehouse = 'file://{}/warehouse'", served.directory.path().display())).unwrap();
    let path = served.directory.path().join("metastore.db");
    let metastore = lakegate::metastore::Config { path, busy_timeout_ms: 30_000 };
    let metastore = std::sync::Arc::new(lakegate::metastore::Metastore::open(&metastore).await.unwrap());
    let lake = std::sync::Arc::new(lakegate::lake::Lake::connect(&config.lake(), metastore).unwrap());
    let ids = super::world::rows(&lake, "sales", "orders", "id").await;
    let mut expected: Vec<String> = (0..POINTS.len()).flat_map(|at| [at.to_string(), (100 + at).to_string()]).collect();
    expected.sort();
    assert_eq!(ids, expected, "every row once");
}
