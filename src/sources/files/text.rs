//! One file of text → its records: opened as it was found, unpacked as its name says, cut where records end. It decodes no
//! value and does not know which columns there are.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::{GetOptions, ObjectStore};

use super::config::{Format, TableConfig};
use super::list::{Folder, Found};
use super::unpack::Unpack;
use crate::error::{Error, Kind, Result};
use crate::formats::cut::{Cutter, RECORD_BYTES_MAX, Records};
use crate::formats::record::csv_fields;

/// As editors of one system write it before a text.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// PostgreSQL's limit of a table.
pub(super) const COLUMNS_MAX: usize = 1_600;

/// What is wrong with a file, in words that hold nothing of it.
pub(super) fn fault(name: &str, line: Option<u64>, what: impl std::fmt::Display) -> Error {
    let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
    Error::new(Kind::InvalidText, format!("file \"{name}\"{line}: {what}"))
}

pub(super) struct TextFile {
    folder: Arc<Folder>,
    objects: Arc<dyn ObjectStore>,
    file: Found,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    packed: Bytes,
    unpack: Unpack,
    cutter: Cutter,
    line: u64,
    /// Nothing comes any more.
    is_over: bool,
}

impl TextFile {
    /// `objects`: those of the folder, as they were found.
    pub(super) async fn open(
        folder: &Arc<Folder>,
        objects: &Arc<dyn ObjectStore>,
        table: &TableConfig,
        file: &Found,
    ) -> Result<Self> {
        let answer = objects.get_opts(&file.meta.location, GetOptions::default()).await;
        let answer = answer.map_err(|error| folder.lost(&file.name, error))?;
        let unpack = Unpack::of(&file.name).map_err(|e| Error::internal("unpacking").with_source(e))?;
        let quote = u8::try_from(table.csv.quote).ok().filter(|_| table.format == Format::Csv);
        Ok(Self {
            folder: Arc::clone(folder),
            objects: Arc::clone(objects),
            file: file.clone(),
            stream: answer.into_stream(),
            packed: Bytes::new(),
            unpack,
            cutter: Cutter::new(quote, 0),
            line: 1,
            is_over: false,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.file.name
    }

    /// The names in the first line; `None` where the file has no line.
    pub(super) async fn header(&mut self, table: &TableConfig) -> Result<Option<Vec<String>>> {
        let mut first = Records::default();
        self.next(1, usize::MAX, &mut first).await?;
        let Some(line) = first.get(0) else { return Ok(None) };
        let text = std::str::from_utf8(line.strip_prefix(MARK).unwrap_or(line)).ok();
        let fields = text.and_then(|text| csv_fields(text, &table.csv.lines()));
        let fields = fields.ok_or_else(|| fault(&self.file.name, Some(1), "is not one line of CSV"))?;
        if fields.len() > COLUMNS_MAX {
            return Err(fault(&self.file.name, Some(1), format_args!("names more than {COLUMNS_MAX} columns")));
        }
        Ok(Some(fields.into_iter().map(|name| name.unwrap_or_default().trim().to_owned()).collect()))
    }

    /// Adds records up to so many of them, or bytes. True where the file has no more.
    pub(super) async fn next(&mut self, records_max: usize, bytes_max: usize, records: &mut Records) -> Result<bool> {
        while records.len() < records_max && records.bytes() < bytes_max {
            if self.cutter.cut(records, &mut self.line, self.is_over) {
                continue;
            }
            if self.is_over {
                return Ok(true);
            }
            if self.cutter.waiting() > RECORD_BYTES_MAX {
                let what = format!("a record is larger than {RECORD_BYTES_MAX} bytes");
                return Err(fault(&self.file.name, Some(self.line), what));
            }
            self.feed().await?;
        }
        Ok(false)
    }

    async fn feed(&mut self) -> Result<()> {
        let unpacked = |name: &str, plain: std::io::Result<Bytes>| {
            plain.map_err(|e| fault(name, None, "is not packed as its name says, or is broken").with_source(e))
        };
        if self.packed.is_empty() {
            match self.stream.next().await {
                Some(bytes) => {
                    let bytes = bytes.map_err(|error| self.folder.lost(&self.file.name, error))?;
                    // A file on a disk that became shorter brings nothing, for ever.
                    if bytes.is_empty() {
                        self.unchanged().await?;
                    }
                    self.packed = bytes;
                }
                None => {
                    let plain = unpacked(&self.file.name, self.unpack.last())?;
                    if plain.is_empty() {
                        self.is_over = true;
                        // On a disk a file may be written to while it is read: then what came of it counts for nothing.
                        return self.unchanged().await;
                    }
                    self.cutter.feed(&plain);
                    return Ok(());
                }
            }
        }
        let plain = unpacked(&self.file.name, self.unpack.next(&mut self.packed))?;
        self.cutter.feed(&plain);
        Ok(())
    }

    /// On a disk; in S3 what is read is one version.
    fn unchanged(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let (folder, objects, file) = (Arc::clone(&self.folder), Arc::clone(&self.objects), self.file.clone());
        async move {
            if !folder.is_local() {
                return Ok(());
            }
            let options = GetOptions { head: true, ..GetOptions::default() };
            let answer = objects.get_opts(&file.meta.location, options).await;
            answer.map(drop).map_err(|error| folder.lost(&file.name, error))
        }
    }
}

/// The record's bytes without what an editor wrote before a file.
pub(super) fn bytes(records: &Records, at: usize) -> &[u8] {
    let record = records.get(at).unwrap_or_default();
    match records.line(at) {
        1 => record.strip_prefix(MARK).unwrap_or(record),
        _ => record,
    }
}
