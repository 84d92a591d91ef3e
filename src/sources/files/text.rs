//! One file of text → its records: opened as it was found, unpacked as its name says, cut where records end. It decodes no
//! value and does not know which columns there are.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::{GetOptions, ObjectStore};

use super::Spec;
use super::fault::fault;
use super::list::Found;
use super::unpack::Unpack;
use crate::error::{Error, Result};
use crate::formats::cut::{Cutter, RECORD_BYTES_MAX, Records};
use crate::formats::file::FileFormat as Format;
use crate::formats::record::{TOO_MANY_FIELDS, csv_fields};

/// As editors of one system write it before a text.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// PostgreSQL's limit of a table.
pub(super) const COLUMNS_MAX: usize = 1_600;

pub(super) struct TextFile {
    spec: Arc<Spec>,
    objects: Arc<dyn ObjectStore>,
    file: Found,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    packed: Bytes,
    unpack: Unpack,
    cutter: Cutter,
    line: u64,
    /// Plain bytes so far, and after how many no more are asked for.
    fed: u64,
    fed_max: u64,
    /// Nothing comes any more.
    is_over: bool,
}

impl TextFile {
    /// `objects`: those of the folder, as they were found.
    pub(super) async fn open(spec: &Arc<Spec>, objects: &Arc<dyn ObjectStore>, file: &Found) -> Result<Self> {
        let answer = objects.get_opts(&file.meta.location, GetOptions::default()).await;
        let answer = answer.map_err(|error| spec.folder.lost(&spec.name, &file.name, error))?;
        let unpack = Unpack::of(&file.name).map_err(|e| Error::internal("unpacking").with_source(e))?;
        let table = &spec.config;
        let quote = u8::try_from(table.csv.quote).ok().filter(|_| table.format == Format::Csv);
        Ok(Self {
            spec: Arc::clone(spec),
            objects: Arc::clone(objects),
            file: file.clone(),
            stream: answer.into_stream(),
            packed: Bytes::new(),
            unpack,
            cutter: Cutter::new(quote, 0),
            line: 1,
            fed: 0,
            fed_max: u64::MAX,
            is_over: false,
        })
    }

    /// For whoever looks at its beginning alone: no more is unpacked, and the file seems to end there. Little of it may be
    /// records, and a small file may be very large text.
    pub(super) fn up_to(self, fed_max: u64) -> Self {
        Self { fed_max, ..self }
    }

    pub(super) fn name(&self) -> &str {
        &self.file.name
    }

    /// The names in the first line; `None` where the file has no line.
    pub(super) async fn header(&mut self) -> Result<Option<Vec<String>>> {
        let mut first = Records::default();
        self.next(1, usize::MAX, &mut first).await?;
        let Some(line) = first.get(0) else {
            if self.cutter.waiting() > 0 {
                return Err(fault(&self.file.name, Some(self.line), "is longer than a line of names"));
            }
            return Ok(None);
        };
        let text = std::str::from_utf8(line.strip_prefix(MARK).unwrap_or(line)).unwrap_or("\"");
        let fields = csv_fields(text, &self.spec.config.csv.lines(), COLUMNS_MAX).map_err(|problem| match problem {
            TOO_MANY_FIELDS => fault(&self.file.name, Some(1), format_args!("names more than {COLUMNS_MAX} columns")),
            problem => fault(&self.file.name, Some(1), problem),
        })?;
        Ok(Some(fields.into_iter().map(|name| name.unwrap_or_default().trim().to_owned()).collect()))
    }

    /// Adds records up to so many of them, or bytes. True where the file has no more.
    pub(super) async fn next(&mut self, records_max: usize, bytes_max: usize, records: &mut Records) -> Result<bool> {
        while records.len() < records_max && records.bytes() < bytes_max {
            if self.cutter.cut(records, &mut self.line, self.is_over) {
                continue;
            }
            if self.is_over || self.fed >= self.fed_max {
                return Ok(true);
            }
            if self.cutter.waiting() > RECORD_BYTES_MAX {
                let what = format!("a record is larger than {RECORD_BYTES_MAX} bytes");
                return Err(fault(&self.file.name, Some(self.line), what));
            }
            self.feed().await?;
            // A file on a disk is never waited for, and whoever reads many of them is not alone on its thread.
            tokio::task::yield_now().await;
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
                    let bytes =
                        bytes.map_err(|error| self.spec.folder.lost(&self.spec.name, &self.file.name, error))?;
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
                    self.fed(&plain);
                    return Ok(());
                }
            }
        }
        let plain = unpacked(&self.file.name, self.unpack.next(&mut self.packed))?;
        self.fed(&plain);
        Ok(())
    }

    fn fed(&mut self, plain: &[u8]) {
        self.fed = self.fed.saturating_add(plain.len() as u64);
        self.cutter.feed(plain);
    }

    /// On a disk; in S3 what is read is one version.
    fn unchanged(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let (spec, objects, file) = (Arc::clone(&self.spec), Arc::clone(&self.objects), self.file.clone());
        async move {
            if !spec.folder.is_local() {
                return Ok(());
            }
            let options = GetOptions { head: true, ..GetOptions::default() };
            let answer = objects.get_opts(&file.meta.location, options).await;
            answer.map(drop).map_err(|error| spec.folder.lost(&spec.name, &file.name, error))
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
