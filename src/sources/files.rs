//! Files as tables: CSV, lines of JSON and Parquet in a folder of this machine or in S3. What is there when a statement
//! begins is what it reads. It writes nothing; files that are taken into a lake, each once, are `ingest`'s.

mod as_found;
mod columns;
mod config;
mod fault;
mod glob;
mod infer;
mod list;
mod parquet;
mod scan;
mod text;
mod unpack;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::future::try_join_all;

use super::{Pinned, Source, Table};
use crate::error::{Error, Kind, Result};
use crate::lake::Store;
use crate::types::{TableName, Version};

use columns::Columns;
pub use config::{Column, Config, TableConfig};
use infer::Inferred;
use list::{Folder, digest};
use parquet::Footers;
use scan::{Provider, Seen};

/// Within the time that a source has to say what its tables are, so that one of them does not take the others with it.
const INFER_MAX: Duration = Duration::from_secs(5);

/// One folder. It is looked at when it is asked something, never before.
#[derive(Debug)]
pub struct Files {
    name: String,
    schema: String,
    tables: Vec<Declared>,
}

/// What is known of a table without its files, and what was found last where that is not enough.
#[derive(Debug)]
struct Declared {
    spec: Arc<Spec>,
    /// Of a declared table the only one that there is.
    found: Mutex<Option<Arc<FileTable>>>,
}

/// A table as its source's file declares it.
#[derive(Debug)]
struct Spec {
    name: TableName,
    identity: String,
    config: TableConfig,
    /// As text: other settings read other rows of the same files, and another folder's are other files.
    declaration: String,
    folder: Arc<Folder>,
    /// Under a name of this table's own.
    store: Store,
    footers: Footers,
}

impl Files {
    /// Settings that contradict each other are found here.
    pub fn new(name: &str, config: &Config) -> Result<Self> {
        let fault = |what: String| Error::new(Kind::Config, format!("source \"{name}\": {what}"));
        if config.s3.is_some() && !config.path.starts_with("s3://") {
            return Err(fault("[s3] is of a `path` in S3".into()));
        }
        let folder = Arc::new(Folder::new(name, &config.path, config.s3.as_ref(), config.files_max)?);
        let mut tables = vec![];
        for (table, settings) in &config.tables {
            let spec = Arc::new(Spec {
                name: TableName::new(&config.schema, table),
                identity: format!("files:{name}:{table}"),
                config: settings.clone(),
                declaration: format!("{}\0{settings:?}", config.path),
                folder: Arc::clone(&folder),
                store: Store::over(Arc::clone(folder.objects()), vec![]),
                footers: Footers::default(),
            });
            let found = match &settings.columns {
                None => None,
                Some(columns) => {
                    let columns = Columns::declared(settings, columns);
                    let columns = columns.map_err(|what| fault(format!("table \"{table}\": {what}")))?;
                    let (spec, columns) = (Arc::clone(&spec), Arc::new(columns));
                    Some(Arc::new(FileTable { spec, columns, told_from: 0, fault: None, is_whole: true }))
                }
            };
            tables.push(Declared { spec, found: Mutex::new(found) });
        }
        Ok(Self { name: name.into(), schema: config.schema.clone(), tables })
    }

    fn is_declared(&self) -> bool {
        self.tables.iter().all(|table| table.spec.config.columns.is_some())
    }
}

#[async_trait]
impl Source for Files {
    fn name(&self) -> &str {
        &self.name
    }

    fn schemas(&self) -> Vec<String> {
        vec![self.schema.clone()]
    }

    /// Columns that are told from files change with those.
    async fn revision(&self) -> Result<Option<u64>> {
        Ok(self.is_declared().then_some(0))
    }

    /// A table without files is one all the same: they may come any moment. Where nobody declared its columns it has none
    /// until then.
    async fn tables(&self) -> Result<Vec<Arc<dyn Table>>> {
        let tables = try_join_all(self.tables.iter().map(Declared::table)).await?;
        Ok(tables.into_iter().map(|table| table as Arc<dyn Table>).collect())
    }
}

impl Declared {
    fn known(&self) -> Option<Arc<FileTable>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn table(&self) -> Result<Arc<FileTable>> {
        let (spec, known) = (&self.spec, self.known());
        if let Some(known) = known.as_ref().filter(|_| spec.config.columns.is_some()) {
            return Ok(Arc::clone(known));
        }
        let files = match spec.folder.list(&spec.name, &spec.config.files).await {
            Ok(files) => files,
            Err(error) if error.kind() == Kind::SourceUnreachable => return Err(error),
            // It is this table's alone, and told to whoever asks for its rows.
            Err(error) => {
                tracing::warn!(table = %spec.name, error = ?error, "the files of a table cannot be read");
                return self.untold(known.as_ref(), 0, None);
            }
        };
        let told_from = digest(&files, &spec.declaration);
        if let Some(known) = known.as_ref().filter(|known| known.told_from == told_from) {
            return Ok(Arc::clone(known));
        }
        let inferred = tokio::time::timeout(INFER_MAX, Box::pin(infer::infer(spec, &files))).await;
        let Ok(inferred) = inferred else {
            let text = format!("the columns of table {} cannot be told from its files in time", spec.name);
            tracing::warn!(table = %spec.name, "the columns of a table could not be told from its files in time");
            let error =
                Error::new(Kind::SourceFailed, text).with_hint("Declare `columns` of the table in its source's file.");
            return self.untold(known.as_ref(), told_from, Some(error));
        };
        let Inferred { columns, fault, is_moving } = inferred?;
        if let Some(error) = &fault {
            tracing::warn!(table = %spec.name, error = ?error, "files are not one table");
        }
        let is_whole = fault.is_none() && !is_moving && !files.is_empty();
        let before = known.filter(|known| known.is_whole);
        let is_same = |known: &FileTable| {
            known.columns.schema == columns.schema && known.columns.stored.len() == columns.stored.len()
        };
        // What was known holds until the files are one table again. The same columns are the same table.
        let kept = before.filter(|known| !is_whole || is_same(known));
        let is_whole = is_whole || kept.is_some();
        let columns = kept.map_or_else(|| Arc::new(columns), |known| Arc::clone(&known.columns));
        // What moves is looked at again, whether it moved on or not.
        let told_from = if is_moving { 0 } else { told_from };
        let fault = fault.map(Arc::new);
        let table = Arc::new(FileTable { spec: Arc::clone(spec), columns, told_from, fault, is_whole });
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&table));
        Ok(table)
    }

    /// As it was known, while nobody can tell; where it was not, of these files, it says why.
    fn untold(&self, known: Option<&Arc<FileTable>>, of: u128, why: Option<Error>) -> Result<Arc<FileTable>> {
        let spec = Arc::clone(&self.spec);
        let (columns, told_from, fault) = match known {
            Some(known) => (Arc::clone(&known.columns), 0, None),
            None => (Arc::new(Columns::new(vec![], vec![], true)?), of, why.map(Arc::new)),
        };
        Ok(Arc::new(FileTable { spec, columns, told_from, fault, is_whole: false }))
    }
}

#[derive(Clone, Debug)]
struct FileTable {
    spec: Arc<Spec>,
    columns: Arc<Columns>,
    /// The files that were looked at last, as a digest.
    told_from: u128,
    /// Why those are not one table.
    fault: Option<Arc<Error>>,
    /// Its columns are those of files that were one table.
    is_whole: bool,
}

#[async_trait]
impl Table for FileTable {
    fn name(&self) -> &TableName {
        &self.spec.name
    }

    fn identity(&self) -> String {
        self.spec.identity.clone()
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.columns.schema)
    }

    async fn pin(&self) -> Result<Pinned> {
        let spec = &self.spec;
        let files = spec.folder.list(&spec.name, &spec.config.files).await?;
        let digest = digest(&files, &spec.declaration);
        // Of other files than those it may be mended.
        if let Some(fault) = self.fault.as_ref().filter(|_| digest == self.told_from) {
            return Err(again(fault));
        }
        spec.footers.keep(&files);
        let parts = self.columns.parts(&spec.name, &files)?;
        let objects = spec.folder.as_found(&files);
        let (spec, columns) = (Arc::clone(spec), Arc::clone(&self.columns));
        let seen = Arc::new(Seen { spec, columns, files, parts, objects });
        Ok(Pinned {
            version: Version::Files(format!("{digest:032x}")),
            reads: seen.reads(),
            provider: Arc::new(Provider(seen)),
        })
    }
}

/// The same once more, its sources left where they were told.
fn again(error: &Error) -> Error {
    let again = Error::new(error.kind(), error.message());
    match error.hint() {
        Some(hint) => again.with_hint(hint),
        None => again,
    }
}

#[cfg(test)]
mod tests;
