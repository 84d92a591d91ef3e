//! The floors of ARCHITECTURE.md: which module may name which, and which foreign crate has which home. Test code may look
//! anywhere. It reads tokens, not types: a path through a re-export is its re-exporter's affair.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};

use crate::tree;

/// Anyone may use these.
const GROUND: [&str; 16] = [
    "age",
    "document",
    "error",
    "glance",
    "inlets",
    "jobs",
    "pipelines",
    "refreshes",
    "scan",
    "secret",
    "shutdown",
    "table_reads",
    "telemetry",
    "threads",
    "tls",
    "types",
];

/// Module → the modules it may name besides the ground and itself.
const MAY_SEE: [(&str, &[&str]); 16] = [
    ("metastore", &[]),
    ("lake", &["metastore"]),
    ("formats", &[]),
    ("pgtype", &["formats"]),
    ("sql", &["formats", "pgtype"]),
    // `metastore`: `connect` hands it on to a lake, whose catalog it holds
    ("sources", &["lake", "formats", "metastore"]),
    ("policy", &["sql", "formats", "pgtype"]),
    ("catalog", &["sources", "policy", "sql", "formats", "pgtype", "metastore"]),
    // answers what is stored: it never sees a catalog or a session
    ("reflection", &["lake", "policy", "metastore", "sql", "formats", "pgtype"]),
    // `sources`: world.rs connects what the catalog describes, write.rs hands rows to a lake's writer
    ("engine", &["policy", "catalog", "reflection", "sources", "lake", "sql", "formats", "pgtype", "metastore"]),
    ("wire", &["engine", "formats"]),
    // `sources`: what a source's file says, and the client of a kind; never its tables
    ("ingest", &["sources", "lake", "formats", "metastore"]),
    // Every module's `Config`.
    ("config", &["metastore", "policy", "engine", "ingest", "wire"]),
    ("server", EVERYTHING),
    ("demo", EVERYTHING),
    ("main", EVERYTHING),
];

const EVERYTHING: &[&str] = &[
    "metastore",
    "lake",
    "formats",
    "pgtype",
    "sql",
    "sources",
    "policy",
    "catalog",
    "reflection",
    "engine",
    "wire",
    "ingest",
    "config",
    "server",
    "demo",
    "cli",
];

/// Foreign crate → the modules that may name it.
const HOMES: [(&str, &[&str]); 18] = [
    ("anyhow", &["main"]),
    ("axum", &["wire"]),
    ("casbin", &["policy"]),
    ("clap", &["main"]),
    ("hyper", &["wire"]),
    ("hyper_util", &["wire"]),
    ("iceberg", &["lake"]),
    ("ipnet", &["wire"]),
    ("moka", &["lake", "reflection"]),
    ("mimalloc", &["main"]),
    ("metrics_exporter_prometheus", &["telemetry", "server", "demo"]),
    ("pgwire", &["wire"]),
    ("rcgen", &["demo"]),
    ("rdkafka", &["sources", "ingest", "demo"]),
    ("rustix", &["threads"]),
    ("sqlx", &["metastore"]),
    ("tokio_postgres", &["metastore", "sources", "demo"]),
    ("tokio_rustls", &["wire", "sources"]),
];

/// The server's own right to read is made in the first and used in the others.
const SERVER_READING: [&str; 3] = ["src/policy/own.rs", "src/engine/refresh.rs", "src/engine/table_reads.rs"];

/// DataFusion's own door, with all its statements behind it: named in one file.
const SESSION_CONTEXT: &str = "src/engine/facts.rs";

#[test]
fn modules_name_only_what_stands_below_them() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        MAY_SEE.iter().map(|(module, seen)| (*module, seen.iter().chain(&GROUND).copied().collect())).collect();
    let mut faults = Vec::new();
    for file in sources() {
        // The ground sees the ground: `unwrap_or` gives it.
        let ground = GROUND.into_iter().collect();
        let allowed = if GROUND.contains(&file.module.as_str()) {
            &ground
        } else {
            allowed
                .get(file.module.as_str())
                .unwrap_or_else(|| panic!("{}: module `{}` stands on no floor", file.path, file.module))
        };
        for named in &file.modules {
            if *named != file.module && !allowed.contains(named.as_str()) {
                faults.push(format!("{}: `{}` may not see `{named}`", file.path, file.module));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn foreign_crates_stay_at_home() {
    let mut faults = Vec::new();
    for file in sources() {
        for (name, homes) in HOMES {
            if file.starts.contains(name) && !homes.contains(&file.module.as_str()) {
                faults.push(format!("{}: `{name}` lives in {}", file.path, homes.join(" and ")));
            }
        }
        if file.words.contains("server_reading") && !SERVER_READING.contains(&file.path.as_str()) {
            faults.push(format!(
                "{}: the server's own right to read is asked for in {SERVER_READING:?} alone",
                file.path
            ));
        }
        if file.words.contains("SessionContext") && file.path != SESSION_CONTEXT {
            faults.push(format!("{}: `SessionContext` is named in {SESSION_CONTEXT} alone", file.path));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let text = "use crate::{error::Error, lake as l}; fn f() { metrics::gauge!(crate::telemetry::X); x(crate::wire::y) } \
                #[cfg(test)] mod tests { use crate::engine::Z; } // crate::catalog\n fn g() -> ::sqlx::A { iceberg::b(\"crate::demo\") }";
    let mut found = Source::default();
    found.read(text.parse().unwrap());
    let modules: Vec<&str> = found.modules.iter().map(String::as_str).collect();
    assert_eq!(modules, ["error", "lake", "telemetry", "wire"]);
    for name in ["metrics", "sqlx", "iceberg"] {
        assert!(found.starts.contains(name), "{name} in {:?}", found.starts);
    }
}

/// What one file names outside its tests.
#[derive(Default)]
struct Source {
    path: String,
    module: String,
    /// `crate::X`.
    modules: BTreeSet<String>,
    /// First segments of paths.
    starts: BTreeSet<String>,
    words: BTreeSet<String>,
}

fn sources() -> Vec<Source> {
    let is_test = |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/");
    let files = tree::files("src", ".rs").into_iter().filter(|f| !is_test(&f.path) && f.path != "src/lib.rs");
    files
        .map(|file| {
            let module = file.path.trim_start_matches("src/").split(['/', '.']).next().unwrap().to_string();
            // the binary's own modules
            let module = if module == "cli" || module == "commands" { "main".to_string() } else { module };
            let mut source = Source { path: file.path, module, ..Source::default() };
            source.read(file.text.parse().unwrap());
            source
        })
        .collect()
}

impl Source {
    fn read(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            if is_test_attribute(&tokens, at) {
                at = after_item(&tokens, at + 2);
                continue;
            }
            match token {
                TokenTree::Group(group) => self.read(group.stream()),
                TokenTree::Ident(word) => {
                    let word = word.to_string();
                    if word == "crate" && is_path(&tokens, at + 1) {
                        self.name(tokens.get(at + 3));
                    }
                    let goes_on = is_path(&tokens, at + 1) || at > 0 && tokens[at - 1].to_string() == "use";
                    let continues =
                        at >= 2 && is_path(&tokens, at - 2) && at >= 3 && matches!(tokens[at - 3], TokenTree::Ident(_));
                    if goes_on && !continues {
                        self.starts.insert(word.clone());
                    }
                    self.words.insert(word);
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }

    /// What follows `crate::`: a name, or a group of them.
    fn name(&mut self, token: Option<&TokenTree>) {
        match token {
            Some(TokenTree::Ident(name)) => {
                self.modules.insert(name.to_string());
            }
            Some(TokenTree::Group(group)) => {
                let mut first = true;
                for token in group.stream() {
                    match &token {
                        TokenTree::Ident(name) if first => {
                            self.modules.insert(name.to_string());
                            first = false;
                        }
                        TokenTree::Punct(comma) if comma.as_char() == ',' => first = true,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

fn is_path(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':');
    colon(at) && colon(at + 1)
}

/// `#[cfg(test)]`.
fn is_test_attribute(tokens: &[TokenTree], at: usize) -> bool {
    let hash = matches!(&tokens[at], TokenTree::Punct(p) if p.as_char() == '#');
    hash && matches!(tokens.get(at + 1), Some(TokenTree::Group(g)) if g.stream().to_string().replace(' ', "") == "cfg(test)")
}

/// Past the item that starts at `at`: its braces or its semicolon.
fn after_item(tokens: &[TokenTree], mut at: usize) -> usize {
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Punct(p) if p.as_char() == ';' => break,
            TokenTree::Group(g) if g.delimiter() == proc_macro2::Delimiter::Brace => break,
            _ => {}
        }
    }
    at
}
