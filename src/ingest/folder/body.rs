//! One file, from a place in it to its end, a piece at a time: lines of JSON, CSV with or without a first line of names, or
//! Parquet. It knows neither what was taken in before nor what becomes of a file that is not what it should be.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::SchemaRef;
use arrow::util::display::FormatOptions;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::Shape;
use crate::error::{Error, Kind};
use crate::formats::change::{Changed, Op};
use crate::formats::cut::{Cutter, RECORD_BYTES_MAX, Records};
use crate::formats::record::{Decoded, Fault};
use crate::ingest::lines::{Lines, widened};

/// Where a file is read on: of text a byte and its line, of Parquet a row twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) at: u64,
    pub(super) line: u64,
}

/// Why a file is not read.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is not what it should be, in words that hold nothing of it, and since which line.
    Bad {
        line: Option<u64>,
        what: String,
    },
    /// It is not there any more, or another one is.
    Gone(Error),
    Failed(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn bad(what: impl Into<String>) -> Trouble {
    Trouble::Bad { line: None, what: what.into() }
}

fn of_store(error: object_store::Error) -> Trouble {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } | E::Precondition { .. } => {
            Trouble::Gone(Error::new(Kind::DataGone, "a file went while it was read").with_source(error))
        }
        _ => Trouble::Failed(unreachable(error)),
    }
}

pub(super) fn unreachable(error: object_store::Error) -> Error {
    Error::new(Kind::SourceUnreachable, "the folder cannot be read").with_source(error)
}

/// A line that is no row.
#[derive(Debug)]
pub(super) struct BadRecord {
    pub(super) line: u64,
    pub(super) fault: Fault,
    pub(super) raw: Vec<u8>,
}

/// What came next.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) changed: Changed,
    /// Of each row.
    pub(super) lines: Vec<u64>,
    pub(super) bad: Vec<BadRecord>,
    pub(super) records: usize,
    /// Where it is read on.
    pub(super) next: Spot,
    pub(super) is_last: bool,
}

pub(super) enum Body {
    Text(Box<Text>),
    Parquet(Box<Rows>),
}

impl Body {
    /// From there on; the file is the one that was listed, or is told to be gone.
    pub(super) async fn open(
        objects: &Arc<dyn ObjectStore>,
        file: &ObjectMeta,
        lines: &Arc<Lines>,
        shape: &Shape,
        from: Spot,
    ) -> Result<Self, Trouble> {
        match shape {
            Shape::Json => Ok(Self::Text(Box::new(Text::open(objects, file, Arc::clone(lines), None, from).await?))),
            Shape::Csv { quote, header: false, .. } => {
                let text = Text::open(objects, file, Arc::clone(lines), Some(*quote), from);
                Ok(Self::Text(Box::new(text.await?)))
            }
            Shape::Csv { quote, delimiter, header: true } => {
                let (names, behind) = names(objects, file, *quote, *delimiter).await?;
                let Some(names) = names else {
                    let of = File::new(objects, file);
                    return Ok(Self::Text(Box::new(Text::empty(of, Arc::clone(lines), from))));
                };
                let unfit = |what| Trouble::Bad { line: Some(1), what: format!("the first line {what}") };
                let in_order = Arc::new(lines.in_order(&names).map_err(unfit)?);
                let from = if from == Spot::default() { behind } else { from };
                Ok(Self::Text(Box::new(Text::open(objects, file, in_order, Some(*quote), from).await?)))
            }
            Shape::Parquet => Ok(Self::Parquet(Box::new(Rows::open(objects, file, lines, from).await?))),
        }
    }

    /// At most so many records, and about so many bytes of them. `all`: the columns that rows have.
    pub(super) async fn next(&mut self, records: usize, bytes: usize, all: &SchemaRef) -> Result<Piece, Trouble> {
        match self {
            Self::Text(text) => text.next(records, bytes, all).await,
            Self::Parquet(rows) => rows.next(records).await,
        }
    }
}

pub(super) struct Text {
    of: File,
    lines: Arc<Lines>,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    cutter: Cutter,
    line: u64,
    is_over: bool,
}

/// As editors of one system write it before a text.
const MARK: &[u8] = b"\xef\xbb\xbf";

impl Text {
    async fn open(
        objects: &Arc<dyn ObjectStore>,
        file: &ObjectMeta,
        lines: Arc<Lines>,
        quote: Option<u8>,
        from: Spot,
    ) -> Result<Self, Trouble> {
        let (of, mut from) = (File::new(objects, file), from);
        if from == Spot::default() {
            from.line = 1;
            if file.size >= MARK.len() as u64 && got(objects, file, 0..MARK.len() as u64).await? == MARK {
                from.at = MARK.len() as u64;
            }
        }
        if from.at >= file.size {
            return Ok(Self::empty(of, lines, from));
        }
        let options = GetOptions { range: Some(GetRange::Offset(from.at)), ..as_listed(file) };
        let answer = objects.get_opts(&file.location, options).await.map_err(of_store)?;
        let cutter = Cutter::new(quote, from.at);
        Ok(Self { of, lines, stream: answer.into_stream(), cutter, line: from.line, is_over: false })
    }

    fn empty(of: File, lines: Arc<Lines>, from: Spot) -> Self {
        let stream = futures::stream::empty().boxed();
        Self { of, lines, stream, cutter: Cutter::new(None, from.at), line: from.line, is_over: true }
    }

    async fn next(&mut self, records_max: usize, bytes_max: usize, all: &SchemaRef) -> Result<Piece, Trouble> {
        let mut records = Records::default();
        let is_last = loop {
            if records.len() >= records_max || records.bytes() >= bytes_max {
                break false;
            }
            if self.cutter.cut(&mut records, &mut self.line, self.is_over) {
                continue;
            }
            if self.is_over {
                break true;
            }
            if self.cutter.waiting() > RECORD_BYTES_MAX {
                let what = format!("a record is larger than {RECORD_BYTES_MAX} bytes");
                return Err(Trouble::Bad { line: Some(self.line), what });
            }
            match self.stream.next().await {
                Some(bytes) => {
                    let bytes = bytes.map_err(of_store)?;
                    // A file on a disk that became shorter brings nothing, for ever.
                    if bytes.is_empty() {
                        unchanged(&self.of.objects, &self.of.file).await?;
                    }
                    self.cutter.feed(&bytes);
                }
                None => self.is_over = true,
            }
        };
        let next = Spot { at: self.cutter.at(), line: self.line };
        let lines = Arc::clone(&self.lines);
        let all = Arc::clone(all);
        let decoding = tokio::task::spawn_blocking(move || decoded(&lines, &records, &all));
        let piece = decoding.await.map_err(|e| Error::internal("decoding a file panicked").with_source(e))?;
        Ok(Piece { next, is_last, ..piece? })
    }
}

fn decoded(lines: &Lines, records: &Records, all: &SchemaRef) -> Result<Piece, Error> {
    let Decoded { changed, kept, faults, .. } = lines.decode(records.iter())?;
    let changed = Changed { rows: widened(&changed.rows, all)?, ..changed };
    let bad = faults.into_iter().map(|fault| BadRecord {
        line: records.line(fault.index),
        raw: records.get(fault.index).unwrap_or_default().to_vec(),
        fault,
    });
    Ok(Piece {
        changed,
        lines: kept.iter().map(|at| records.line(*at)).collect(),
        bad: bad.collect(),
        records: records.len(),
        next: Spot::default(),
        is_last: false,
    })
}

/// What a first line may hold.
const NAMES_BYTES_MAX: u64 = 256 << 10;

/// The names in the first line, and where the second one begins; `None` in an empty file.
async fn names(
    objects: &Arc<dyn ObjectStore>,
    file: &ObjectMeta,
    quote: u8,
    delimiter: u8,
) -> Result<(Option<Vec<String>>, Spot), Trouble> {
    let bytes = match file.size {
        0 => Bytes::new(),
        size => got(objects, file, 0..size.min(NAMES_BYTES_MAX)).await?,
    };
    let mark = if bytes.starts_with(MARK) { MARK.len() } else { 0 };
    let (mut cutter, mut records, mut line) = (Cutter::new(Some(quote), mark as u64), Records::default(), 1);
    cutter.feed(bytes.get(mark..).unwrap_or_default());
    if !cutter.cut(&mut records, &mut line, file.size <= NAMES_BYTES_MAX) {
        return match cutter.waiting() {
            0 => Ok((None, Spot { at: cutter.at(), line })),
            _ => Err(Trouble::Bad { line: Some(1), what: "the first line is too long for names".into() }),
        };
    }
    let first = records.get(0).unwrap_or_default();
    let mut reader = csv::ReaderBuilder::new().has_headers(false).delimiter(delimiter).quote(quote).from_reader(first);
    let read = reader.records().next().and_then(std::result::Result::ok);
    let read = read.ok_or(Trouble::Bad { line: Some(1), what: "the first line is not one line of CSV".into() })?;
    let names = read.iter().map(|name| name.trim().to_string()).collect();
    Ok((Some(names), Spot { at: cutter.at(), line }))
}

/// Of the file that was listed, and of no other under its name.
fn as_listed(file: &ObjectMeta) -> GetOptions {
    GetOptions { if_match: file.e_tag.clone(), ..GetOptions::default() }
}

/// It is still the file that was listed; else it is gone.
pub(super) async fn unchanged(objects: &Arc<dyn ObjectStore>, file: &ObjectMeta) -> Result<(), Trouble> {
    let options = GetOptions { head: true, ..as_listed(file) };
    objects.get_opts(&file.location, options).await.map(drop).map_err(of_store)
}

async fn got(objects: &Arc<dyn ObjectStore>, file: &ObjectMeta, range: Range<u64>) -> Result<Bytes, Trouble> {
    let options = GetOptions { range: Some(GetRange::Bounded(range)), ..as_listed(file) };
    let answer = objects.get_opts(&file.location, options).await.map_err(of_store)?;
    answer.bytes().await.map_err(of_store)
}

pub(super) struct Rows {
    lines: Arc<Lines>,
    stream: ParquetRecordBatchStream<File>,
    /// Rows that came and were more than asked for.
    left: Option<RecordBatch>,
    next: u64,
    rows: u64,
}

impl Rows {
    async fn open(
        objects: &Arc<dyn ObjectStore>,
        file: &ObjectMeta,
        lines: &Arc<Lines>,
        from: Spot,
    ) -> Result<Self, Trouble> {
        let builder = ParquetRecordBatchStreamBuilder::new(File::new(objects, file)).await.map_err(of_parquet)?;
        let all = lines.schema();
        for field in all.fields() {
            let is_key = lines.key().iter().any(|at| all.fields().get(*at) == Some(field));
            if is_key && builder.schema().field_with_name(field.name()).is_err() {
                return Err(bad(format!("has no column \"{}\"", field.name())));
            }
        }
        let said = builder.metadata();
        let grouped = said.row_groups().iter().map(|group| u64::try_from(group.num_rows()).ok()).sum::<Option<u64>>();
        let rows = u64::try_from(said.file_metadata().num_rows()).ok().filter(|rows| Some(*rows) == grouped);
        let rows = rows.ok_or_else(broken)?;
        let skipped = usize::try_from(from.at).map_err(|_| bad("has too many rows"))?;
        let stream = builder.with_batch_size(8_192).with_offset(skipped).build().map_err(of_parquet)?;
        Ok(Self { lines: Arc::clone(lines), stream, left: None, next: from.at, rows })
    }

    async fn next(&mut self, rows_max: usize) -> Result<Piece, Trouble> {
        let came = match self.left.take() {
            Some(left) => Some(left),
            None => self.stream.try_next().await.map_err(of_parquet)?,
        };
        let first = self.next;
        let rows = match came {
            // It says that it has more: where its end is cannot be told.
            None if first < self.rows => return Err(broken()),
            None => RecordBatch::new_empty(Arc::clone(self.lines.schema())),
            Some(batch) => {
                let taken = batch.num_rows().min(rows_max.max(1));
                self.left = (taken < batch.num_rows()).then(|| batch.slice(taken, batch.num_rows() - taken));
                self.next += taken as u64;
                self.in_columns(&batch.slice(0, taken), first)?
            }
        };
        let count = rows.num_rows();
        let changed = Changed { ops: vec![Op::Insert; count], rows, unchanged: vec![], was: None };
        Ok(Piece {
            changed,
            lines: (first + 1..).take(count).collect(),
            bad: vec![],
            records: count,
            next: Spot { at: self.next, line: self.next },
            is_last: self.left.is_none() && self.next >= self.rows,
        })
    }

    /// By name, each as its column is declared.
    fn in_columns(&self, rows: &RecordBatch, first: u64) -> Result<RecordBatch, Trouble> {
        let all = self.lines.schema();
        let rows = by_name(rows, all).map_err(|what| Trouble::Bad { line: Some(first + 1), what })?;
        for key in self.lines.key() {
            let column = rows.column(*key);
            if let Some(row) = (0..column.len()).find(|row| column.is_null(*row)) {
                let what = format!("column \"{}\" is missing", all.field(*key).name());
                return Err(Trouble::Bad { line: Some(first + 1 + row as u64), what });
            }
        }
        Ok(rows)
    }
}

fn by_name(rows: &RecordBatch, all: &SchemaRef) -> Result<RecordBatch, String> {
    let strict = CastOptions { safe: false, format_options: FormatOptions::default() };
    let mut columns = vec![];
    for field in all.fields() {
        columns.push(match rows.column_by_name(field.name()) {
            None => arrow::array::new_null_array(field.data_type(), rows.num_rows()),
            Some(column) if column.data_type() == field.data_type() => Arc::clone(column),
            Some(column) => cast_with_options(column, field.data_type(), &strict)
                .map_err(|_| format!("column \"{}\" has values that are not of its type", field.name()))?,
        });
    }
    RecordBatch::try_new(Arc::clone(all), columns).map_err(|_| "has columns that do not fit".to_string())
}

/// A store's own error inside it decides; everything else is the file's.
fn of_parquet(error: ParquetError) -> Trouble {
    match error {
        ParquetError::External(inner) => match inner.downcast::<object_store::Error>() {
            Ok(store) => of_store(*store),
            Err(_) => broken(),
        },
        _ => broken(),
    }
}

fn broken() -> Trouble {
    bad("is not Parquet, or is broken")
}

/// A file in a store, as it was listed.
struct File {
    objects: Arc<dyn ObjectStore>,
    file: ObjectMeta,
}

impl File {
    fn new(objects: &Arc<dyn ObjectStore>, file: &ObjectMeta) -> Self {
        Self { objects: Arc::clone(objects), file: file.clone() }
    }
}

impl AsyncFileReader for File {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            let options = GetOptions { range: Some(GetRange::Bounded(range)), ..as_listed(&self.file) };
            let answer = self.objects.get_opts(&self.file.location, options).await;
            let bytes = async { answer?.bytes().await }.await;
            bytes.map_err(|e| ParquetError::External(Box::new(e)))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let size = self.file.size;
            Ok(Arc::new(ParquetMetaDataReader::new().load_and_finish(self, size).await?))
        }
        .boxed()
    }
}
