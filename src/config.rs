//! `lakegate.toml` and the environment, read once: first *read* (what was written), then *settled* (what is true, every
//! default filled in and every contradiction found). Nothing is bound, connected to or made here.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::secret::{self, Secret};
use crate::{engine, ingest, metastore, telemetry, wire};

pub use crate::document::Fault;

/// The settled configuration: each section is its module's own.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    pub catalog_dir: PathBuf,
    pub policies_dir: PathBuf,
    /// The deployment's key: `hash` masks and the mock login of unknown users are made with it. `None`: a new one for
    /// each process.
    #[serde(serialize_with = "secret::redacted")]
    pub key: Option<Secret<Vec<u8>>>,
    pub metastore: metastore::Config,
    pub wire: wire::Config,
    pub engine: engine::Config,
    pub ingest: ingest::Config,
    pub log: Log,
}

/// `[log]`: what is written to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `warn`, `info,lakegate::engine=debug`, …
    pub filter: String,
    pub format: telemetry::Format,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_string(), format: telemetry::Format::Text }
    }
}

/// The file's own shape.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    catalog_dir: Option<PathBuf>,
    policies_dir: Option<PathBuf>,
    key_file: Option<PathBuf>,
    metastore: metastore::Config,
    wire: wire::Config,
    engine: engine::Config,
    ingest: ingest::Config,
    log: Log,
}

/// Shorter keys and tokens can be guessed.
const KEY_BYTES_MIN: usize = 16;

/// Environment variables that override the file: paths and secrets, nothing else.
pub const OVERRIDES: [(&str, &str); 5] = [
    ("LAKEGATE_CATALOG_DIR", "catalog_dir"),
    ("LAKEGATE_POLICIES_DIR", "policies_dir"),
    ("LAKEGATE_METASTORE_PATH", "metastore.path"),
    ("LAKEGATE_KEY", "the content of key_file"),
    ("LAKEGATE_HTTP_TOKEN", "the content of wire.http_token_file"),
];

impl Config {
    /// Reads and settles `file`; on any fault, all of them. `environment` is asked for [`OVERRIDES`] alone.
    pub fn load(file: &Path, environment: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Fault>> {
        let name = file.display().to_string();
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                let text = format!("cannot be read: {error}; `lakegate serve --config FILE` names another one");
                return Err(vec![Fault { file: name, line: 1, column: 1, text }]);
            }
        };
        let home = file.parent().unwrap_or(Path::new(""));
        Self::settle(&name, &text, home, environment)
    }

    /// The settled form as TOML, secrets redacted.
    pub fn print(&self) -> String {
        toml::to_string(self).expect("every field of the settled configuration has a TOML form")
    }

    /// Relative paths start at `home`, the directory of the file.
    fn settle(
        name: &str,
        text: &str,
        home: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Fault>> {
        let mut document = Document::parse(name, text);
        let Some(written) = document.read::<Written>() else { return Err(document.into_faults()) };
        let path_of = |variable: &str| environment(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
        let mut secret = |what, key: &[&str], file: &Option<PathBuf>, variable| {
            read_secret(
                &mut document,
                home,
                &Place { what, key, file: file.as_deref(), variable },
                environment(variable),
            )
        };
        let key = secret("key", &["key_file"], &written.key_file, "LAKEGATE_KEY");
        let token_file = &written.wire.http_token_file;
        let token = secret("token", &["wire", "http_token_file"], token_file, "LAKEGATE_HTTP_TOKEN");
        let at_home = |path: PathBuf| home.join(path);

        let mut config = Self {
            catalog_dir: at_home(
                path_of("LAKEGATE_CATALOG_DIR").or(written.catalog_dir).unwrap_or_else(|| "catalog".into()),
            ),
            policies_dir: at_home(
                path_of("LAKEGATE_POLICIES_DIR").or(written.policies_dir).unwrap_or_else(|| "policies".into()),
            ),
            key,
            metastore: written.metastore,
            wire: written.wire,
            engine: written.engine.settled(),
            ingest: written.ingest,
            log: written.log,
        };
        if let Some(path) = path_of("LAKEGATE_METASTORE_PATH") {
            config.metastore.path = path;
        }
        config.metastore.path = at_home(config.metastore.path);
        config.wire.certificate = config.wire.certificate.map(at_home);
        config.wire.key = config.wire.key.map(at_home);
        config.wire.http_token_file = config.wire.http_token_file.map(at_home);
        config.wire.http_token = token;
        config.engine.spill_dir = config.engine.spill_dir.map(at_home);
        config.judge(&mut document);
        if document.is_sound() { Ok(config) } else { Err(document.into_faults()) }
    }

    /// Contradictions, ranges and unreadable files: whatever each value alone cannot tell.
    fn judge(&self, document: &mut Document<'_>) {
        for (key, directory) in [("catalog_dir", &self.catalog_dir), ("policies_dir", &self.policies_dir)] {
            if let Err(error) = fs::read_dir(directory) {
                document.fault_at(&[key], format!("`{key}`: {} cannot be read: {error}", directory.display()));
            }
        }
        for (key, file) in [("certificate", &self.wire.certificate), ("key", &self.wire.key)] {
            if let Some(error) = file.as_ref().and_then(|file| fs::File::open(file).err()) {
                let file = file.as_deref().unwrap_or(Path::new("")).display();
                document.fault_at(&["wire", key], format!("`{key}` in [wire]: {file} cannot be read: {error}"));
            }
        }
        let sections =
            [("wire", self.wire.faults()), ("engine", self.engine.faults()), ("ingest", self.ingest.faults())];
        for (section, faults) in sections {
            for text in faults {
                // Every such sentence names the key it is about first.
                let key = text.split('`').nth(1).unwrap_or_default().to_string();
                document.fault_at(&[section, &key], format!("[{section}]: {text}"));
            }
        }
    }
}

/// Where a secret may stand: in the file that `key` of the configuration names, or in a variable, which wins.
struct Place<'a> {
    /// `key`, `token`.
    what: &'a str,
    key: &'a [&'a str],
    file: Option<&'a Path>,
    variable: &'a str,
}

fn read_secret(
    document: &mut Document<'_>,
    home: &Path,
    place: &Place<'_>,
    given: Option<String>,
) -> Option<Secret<Vec<u8>>> {
    let (bytes, from) = match (given, place.file) {
        (Some(text), _) => (text.into_bytes(), place.variable.to_string()),
        (None, None) => return None,
        (None, Some(file)) => match fs::read(home.join(file)) {
            Ok(bytes) => (bytes, file.display().to_string()),
            Err(error) => {
                let name = place.key.last().copied().unwrap_or_default();
                let text = format!("`{name}`: {} cannot be read: {error}", file.display());
                document.fault_at(place.key, text);
                return None;
            }
        },
    };
    if bytes.trim_ascii().len() < KEY_BYTES_MIN {
        document.fault_at(place.key, format!("the {} in {from} is shorter than {KEY_BYTES_MIN} bytes", place.what));
        return None;
    }
    Some(Secret::new(bytes.trim_ascii().to_vec()))
}
