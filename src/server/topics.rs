//! Declaring a topic in its source's file without writing its columns by hand. It changes no table: the file is read again
//! by whoever serves it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::catalog::file::Draft;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::sources::{self, kafka};

/// What a topic's declaration would be.
#[derive(Clone, Debug)]
pub struct Inferred {
    pub block: String,
    file: PathBuf,
}

/// `source`: by its file's name. Refused where the table is declared already.
pub async fn topic_infer(config: &Config, source: &str, table: &str, topic: &str) -> Result<Inferred> {
    let fault = |what: String| Error::new(Kind::Config, what);
    let draft = Draft::read(&config.catalog_dir).map_err(|faults| {
        let first = faults.first().map(ToString::to_string).unwrap_or_default();
        fault(format!("{} cannot be read: {first}", config.catalog_dir.display()))
    })?;
    let found = draft.sources.iter().find(|file| file.name == source);
    let found = found.ok_or_else(|| fault(format!("there is no source \"{source}\"")))?;
    let sources::Config::Kafka(kafka) = &found.config else {
        return Err(fault(format!("source \"{source}\" is not of kind \"kafka\"")));
    };
    if kafka.topics.contains_key(table) {
        let text = format!("source \"{source}\" declares table \"{table}\" already");
        return Err(fault(text).with_hint("Remove [topics.…] of it from the source's file first."));
    }
    let block = kafka::infer(source, kafka, table, topic).await?;
    // Before it is written: what is written must be read.
    let file = config.catalog_dir.join("sources").join(format!("{source}.toml"));
    let whole = format!("{}\n{block}", read(&file)?);
    let whole: toml::Table = toml::from_str(&whole)
        .map_err(|error| fault(format!("{} cannot take a table behind its end", file.display())).with_source(error))?;
    let read = sources::Config::read("kafka", toml::Value::Table(without_kind(whole)));
    match read {
        Some(Ok(sources::Config::Kafka(config))) => drop(kafka::Kafka::new(source, config)?),
        _ => return Err(Error::internal("an inferred declaration that cannot be read")),
    }
    Ok(Inferred { block, file })
}

fn without_kind(mut table: toml::Table) -> toml::Table {
    table.remove("kind");
    table
}

fn read(file: &Path) -> Result<String> {
    let fault = |error| Error::new(Kind::Config, format!("{} cannot be read", file.display())).with_source(error);
    fs::read_to_string(file).map_err(fault)
}

impl Inferred {
    /// Behind the end of the file, whose place is given.
    pub fn write(&self) -> Result<&Path> {
        let append = || -> std::io::Result<()> {
            let mut file = fs::OpenOptions::new().append(true).open(&self.file)?;
            file.write_all(format!("\n{}", self.block).as_bytes())?;
            file.sync_all()
        };
        let fault =
            |error| Error::new(Kind::Config, format!("{} cannot be written", self.file.display())).with_source(error);
        append().map_err(fault).map(|()| self.file.as_path())
    }
}
