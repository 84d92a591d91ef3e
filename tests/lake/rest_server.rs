//! A REST catalog in this process, which keeps its promises and breaks them when it is told to: tables' metadata are made by
//! Iceberg's own builder from the updates that come, requirements are checked, pages are short, tokens run out. It writes
//! no file, so that whoever reads one of its tables has it from an answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use iceberg::spec::{FormatVersion, Snapshot, TableMetadata, TableMetadataBuilder};
use iceberg::{TableRequirement, TableUpdate};
use serde_json::{Value, json};

const PAGE: usize = 2;
/// More than are sent at once.
const TOKEN: usize = 40;

/// What happens to the next change.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// It happens, and the answer is lost on the way.
    Lost,
    /// The same, and somebody else commits on top of it.
    LostBehind,
    /// It does not happen, and nobody says so.
    Refused,
}

#[derive(Default)]
pub(crate) struct Kept {
    namespaces: BTreeSet<Vec<String>>,
    tables: BTreeMap<(Vec<String>, String), (String, TableMetadata)>,
    versions: usize,
    pub(crate) faults: VecDeque<Fault>,
    /// As Nessie: "there is no such branch" is taken for nothing said.
    pub(crate) is_nessie: bool,
    /// It shows the newest snapshot of a table and none before.
    pub(crate) forgets: bool,
    /// Each page of names has another one behind it.
    pub(crate) endless: bool,
    /// Keys that come with a table: the last ones stay.
    pub(crate) keys: VecDeque<Value>,
    /// How many requests each token is still good for.
    tokens: Vec<usize>,
    /// Method and path of each request that was let in.
    pub(crate) log: Vec<String>,
}

/// Gone with the test's runtime.
pub(crate) struct Server {
    pub(crate) port: u16,
    kept: Arc<Mutex<Kept>>,
}

/// A table's name, where its metadata would be, and they themselves.
type Changed = ((Vec<String>, String), String, TableMetadata);
/// Status, entity tag, body.
type Answer = (StatusCode, Option<String>, Value);

impl Server {
    pub(crate) async fn start() -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let app = Router::new().fallback(answer).with_state(Arc::clone(&kept));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { port, kept }
    }

    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    /// How often something was asked for since this was last asked.
    pub(crate) fn asked(&self, what: &str) -> usize {
        let mut kept = self.kept();
        let log = std::mem::take(&mut kept.log);
        log.iter().filter(|line| line.contains(what)).count()
    }
}

async fn answer(
    State(kept): State<Arc<Mutex<Kept>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, String) {
    let mut kept = kept.lock().unwrap();
    let (status, etag, body) = kept.answer(&method, &uri, &headers, &body);
    let mut headers = HeaderMap::new();
    if let Some(etag) = etag {
        headers.insert("etag", etag.parse().unwrap());
    }
    (status, headers, if body.is_null() { String::new() } else { body.to_string() })
}

fn said(status: u16, message: &str) -> Answer {
    let error = json!({"error": {"message": message, "type": "Exception", "code": status}});
    (StatusCode::from_u16(status).unwrap(), None, error)
}

fn done(body: Value) -> Answer {
    (StatusCode::OK, None, body)
}

fn decoded(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        match (first, more) {
            (b'%', [a, b, tail @ ..]) => {
                bytes.push(u8::from_str_radix(std::str::from_utf8(&[*a, *b]).unwrap(), 16).unwrap());
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn levels(text: &str) -> Vec<String> {
    decoded(text).split('\u{1f}').map(String::from).collect()
}

impl Kept {
    fn answer(&mut self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Answer {
        let path: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
        if path == ["v1", "oauth", "tokens"] {
            let form = String::from_utf8_lossy(body).to_string();
            if !form.contains("client_id=who&client_secret=p%26ss&scope=catalog") {
                return said(401, "who are you?");
            }
            self.tokens.push(TOKEN);
            return done(json!({"access_token": format!("t{}", self.tokens.len() - 1), "token_type": "bearer"}));
        }
        let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let token = bearer.strip_prefix("Bearer t").and_then(|number| number.parse::<usize>().ok());
        match token.and_then(|number| self.tokens.get_mut(number)) {
            Some(left) if *left > 0 => *left -= 1,
            _ => return said(401, "the token has run out"),
        }
        self.log.push(format!("{method} {}", uri.path()));
        let query = uri.query().unwrap_or_default();
        let asked = |key: &str| query.split('&').find_map(|p| p.strip_prefix(&format!("{key}="))).map(decoded);
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let [first, rest @ ..] = path.as_slice() else { return said(404, "nothing here") };
        assert_eq!(*first, "v1");
        let rest = match rest {
            ["config"] => {
                assert_eq!(asked("warehouse").as_deref(), Some("w h"));
                let overrides = json!({"prefix": "pre/fix", "nessie.is-nessie-catalog": self.is_nessie.to_string()});
                return done(json!({"defaults": {"prefix": "not this"}, "overrides": overrides}));
            }
            ["pre", "fix", rest @ ..] => rest,
            _ => return said(404, "another prefix"),
        };
        let changes = match *method {
            Method::POST => matches!(rest, ["transactions", ..] | ["namespaces"] | ["namespaces", _, "tables", _]),
            Method::DELETE => matches!(rest, ["namespaces", _]),
            _ => false,
        };
        let fault = if changes { self.faults.pop_front() } else { None };
        if matches!(fault, Some(Fault::Refused)) {
            return said(500, "perhaps");
        }
        let answer = self.within(method, rest, &asked, headers, &body);
        if matches!(fault, Some(Fault::LostBehind)) {
            self.others_commit();
        }
        match fault {
            Some(_) => said(504, "perhaps"),
            None => answer,
        }
    }

    fn within(
        &mut self,
        method: &Method,
        path: &[&str],
        asked: &dyn Fn(&str) -> Option<String>,
        headers: &HeaderMap,
        body: &Value,
    ) -> Answer {
        let strings = |of: &Value| of.as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_string()).collect();
        let named = |of: &Value| -> (Vec<String>, String) {
            (strings(&of["namespace"]), of["name"].as_str().unwrap().to_string())
        };
        match (method.as_str(), path) {
            ("GET", ["namespaces", name]) => match self.namespaces.contains(&levels(name)) {
                true => done(json!({"namespace": levels(name)})),
                false => said(404, "no such namespace"),
            },
            ("GET", ["namespaces", _, "tables"]) if self.endless => {
                let next = asked("pageToken").and_then(|token| token.parse().ok()).unwrap_or(0) + 1;
                let names: Vec<Value> =
                    (0..1_000).map(|at| json!({"namespace": ["s"], "name": format!("t{next}_{at}")})).collect();
                done(json!({"identifiers": names, "next-page-token": next.to_string()}))
            }
            ("GET", ["namespaces"]) => {
                let parent = asked("parent").map(|p| levels(&p)).unwrap_or_default();
                let below = self.namespaces.iter().filter(|n| n.len() == parent.len() + 1 && n.starts_with(&parent));
                page("namespaces", below.map(|n| json!(n)).collect(), asked)
            }
            ("POST", ["namespaces"]) => match self.namespaces.insert(strings(&body["namespace"])) {
                true => done(json!({"namespace": body["namespace"]})),
                false => said(409, "there is one"),
            },
            ("DELETE", ["namespaces", name]) => match self.namespaces.remove(&levels(name)) {
                true => (StatusCode::NO_CONTENT, None, Value::Null),
                false => said(404, "no such namespace"),
            },
            ("GET", ["namespaces", name, "tables"]) => {
                let within = levels(name);
                let tables = self.tables.keys().filter(|(n, _)| *n == within);
                page("identifiers", tables.map(|(n, t)| json!({"namespace": n, "name": t})).collect(), asked)
            }
            ("GET", ["namespaces", name, "tables", table]) => {
                let Some((location, metadata)) = self.tables.get(&(levels(name), decoded(table))) else {
                    return said(404, "no such table");
                };
                let etag = format!("\"{location}\"");
                if headers.get("if-none-match").is_some_and(|known| known.to_str().unwrap() == etag) {
                    return (StatusCode::NOT_MODIFIED, Some(etag), Value::Null);
                }
                let answer = json!({"metadata-location": location, "metadata": metadata});
                let mut answer = (StatusCode::OK, Some(etag), answer);
                answer.2["config"] = self.next_keys();
                answer
            }
            // a table that is announced
            ("POST", ["namespaces", _, "tables"]) => {
                assert_eq!(body["stage-create"], true);
                done(json!({"metadata": {"location": body["location"]}, "config": self.next_keys()}))
            }
            ("POST", ["namespaces", _, "tables", _]) => match self.changed(body) {
                Ok((key, location, metadata)) => {
                    let answer = json!({"metadata-location": location, "metadata": metadata});
                    self.tables.insert(key, (location, metadata));
                    done(answer)
                }
                Err(refused) => refused,
            },
            ("POST", ["transactions", "commit"]) => {
                let mut changed = vec![];
                for change in body["table-changes"].as_array().unwrap() {
                    match self.changed(change) {
                        Ok(table) => changed.push(table),
                        Err(refused) => return refused,
                    }
                }
                self.tables.extend(changed.into_iter().map(|(key, location, metadata)| (key, (location, metadata))));
                (StatusCode::NO_CONTENT, None, Value::Null)
            }
            ("DELETE", ["namespaces", name, "tables", table]) => {
                match self.tables.remove(&(levels(name), decoded(table))) {
                    Some(_) => (StatusCode::NO_CONTENT, None, Value::Null),
                    None => said(404, "no such table"),
                }
            }
            ("POST", ["tables", "rename"]) => {
                let (from, to) = (named(&body["source"]), named(&body["destination"]));
                if self.tables.contains_key(&to) {
                    return said(409, "there is one");
                }
                let Some(table) = self.tables.remove(&from) else { return said(404, "no such table") };
                self.tables.insert(to, table);
                (StatusCode::NO_CONTENT, None, Value::Null)
            }
            _ => said(404, "nothing here"),
        }
    }

    fn told(&self, metadata: TableMetadata) -> TableMetadata {
        let newest = metadata.current_snapshot_id();
        let older: Vec<i64> = metadata.snapshots().map(|s| s.snapshot_id()).filter(|id| Some(*id) != newest).collect();
        match self.forgets && !older.is_empty() {
            true => metadata.into_builder(None).remove_snapshots(&older).build().unwrap().metadata,
            false => metadata,
        }
    }

    /// On top of whatever each table is: the same files once more.
    fn others_commit(&mut self) {
        let mut tables = std::mem::take(&mut self.tables);
        for (location, metadata) in tables.values_mut() {
            let Some(on) = metadata.current_snapshot().cloned() else { continue };
            let snapshot = Snapshot::builder()
                .with_snapshot_id(on.snapshot_id() / 2 + 1)
                .with_parent_snapshot_id(Some(on.snapshot_id()))
                .with_sequence_number(metadata.next_sequence_number())
                .with_timestamp_ms(metadata.last_updated_ms() + 1)
                .with_manifest_list(on.manifest_list())
                .with_summary(on.summary().clone())
                .with_schema_id(metadata.current_schema_id())
                .build();
            let builder = metadata.clone().into_builder(None).set_branch_snapshot(snapshot, "main").unwrap();
            *metadata = self.told(builder.build().unwrap().metadata);
            location.push_str(".others");
        }
        self.tables = tables;
    }

    fn next_keys(&mut self) -> Value {
        match self.keys.len() {
            0 => json!({}),
            1 => self.keys[0].clone(),
            _ => self.keys.pop_front().unwrap_or_default(),
        }
    }

    /// What a table would be.
    fn changed(&mut self, body: &Value) -> Result<Changed, Answer> {
        let levels = body["identifier"]["namespace"].as_array().unwrap();
        let namespace: Vec<String> = levels.iter().map(|l| l.as_str().unwrap().to_string()).collect();
        let key = (namespace, body["identifier"]["name"].as_str().unwrap().to_string());
        let requirements: Vec<TableRequirement> = serde_json::from_value(body["requirements"].clone()).unwrap();
        let updates: Vec<TableUpdate> = serde_json::from_value(body["updates"].clone()).unwrap();
        let creates = requirements.contains(&TableRequirement::NotExist);
        let now = self.tables.get(&key);
        if now.is_none() && !creates {
            return Err(said(404, "no such table"));
        }
        let nothing =
            |r: &TableRequirement| matches!(r, TableRequirement::RefSnapshotIdMatch { snapshot_id: None, .. });
        let mut checked = requirements.iter().filter(|r| !self.is_nessie || !nothing(r));
        if checked.any(|r| r.check(now.map(|(_, metadata)| metadata)).is_err()) {
            return Err(said(409, "a requirement failed"));
        }
        let builder = match now {
            Some((location, metadata)) => metadata.clone().into_builder(Some(location.clone())),
            None => made(&updates),
        };
        let applied = updates.into_iter().filter(|u| !creates || !makes(u)).try_fold(builder, |b, u| u.apply(b));
        let metadata = match applied.and_then(TableMetadataBuilder::build) {
            Ok(built) => built.metadata,
            Err(error) => return Err(said(400, &error.to_string())),
        };
        let metadata = self.told(metadata);
        self.versions += 1;
        let location = format!("{}/metadata/{:05}-x.metadata.json", metadata.location(), self.versions);
        Ok((key, location, metadata))
    }
}

fn page(of: &str, all: Vec<Value>, asked: &dyn Fn(&str) -> Option<String>) -> Answer {
    let from: usize = asked("pageToken").filter(|token| !token.is_empty()).map_or(0, |token| token.parse().unwrap());
    let to = (from + PAGE).min(all.len());
    let next = (to < all.len()).then(|| to.to_string());
    done(json!({of: all[from..to], "next-page-token": next}))
}

/// Said of a table that is not there yet.
fn makes(update: &TableUpdate) -> bool {
    matches!(
        update,
        TableUpdate::UpgradeFormatVersion { .. }
            | TableUpdate::SetLocation { .. }
            | TableUpdate::AddSchema { .. }
            | TableUpdate::SetCurrentSchema { .. }
            | TableUpdate::AddSpec { .. }
            | TableUpdate::SetDefaultSpec { .. }
            | TableUpdate::AddSortOrder { .. }
            | TableUpdate::SetDefaultSortOrder { .. }
            | TableUpdate::SetProperties { .. }
    )
}

fn made(updates: &[TableUpdate]) -> TableMetadataBuilder {
    let (mut schema, mut spec, mut order, mut at, mut version, mut properties) =
        (None, None, None, None, FormatVersion::V2, Default::default());
    for update in updates.iter().cloned() {
        match update {
            TableUpdate::AddSchema { schema: s } => schema = Some(s),
            TableUpdate::AddSpec { spec: s } => spec = Some(s),
            TableUpdate::AddSortOrder { sort_order } => order = Some(sort_order),
            TableUpdate::SetLocation { location } => at = Some(location),
            TableUpdate::UpgradeFormatVersion { format_version } => version = format_version,
            TableUpdate::SetProperties { updates } => properties = updates,
            _ => (),
        }
    }
    TableMetadataBuilder::new(schema.unwrap(), spec.unwrap(), order.unwrap(), at.unwrap(), version, properties).unwrap()
}
