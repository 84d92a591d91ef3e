//! Results on their way out: RowDescription, and batches into DataRows slice by slice. The next batch is pulled only
//! when the socket took the last slice, so a slow reader slows the scan. Values are spelt by `formats`.

use std::future::Future;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::BytesMut;
use metrics::counter;
use pgwire::messages::data::{FieldDescription, RowDescription};
use tokio::io::AsyncWrite;
use tokio_util::sync::CancellationToken;

use super::error::Stop;
use super::output::{FLUSH_BYTES, Output};
use crate::engine::Rows;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::copy::{CopyEncoder, Layout};
use crate::formats::postgres::{Format, RowEncoder, Style, pg_type};
use crate::telemetry::metrics::ROWS_SENT;

/// As in PostgreSQL (`MaxTupleAttributeNumber`).
const COLUMNS_MAX: usize = 1_664;
/// Encoding for this long, a connection lets the others of its thread go on: a fast reader's socket never makes it wait.
const SLICE: Duration = Duration::from_millis(5);
/// Rows wait this long for company.
const LINGER: Duration = Duration::from_millis(20);

/// `formats`: none (all text), one for all, or one per column.
pub(crate) fn describe(schema: &Schema, formats: &[Format]) -> Result<RowDescription> {
    if schema.fields().len() > COLUMNS_MAX {
        return Err(Error::new(Kind::TooManyColumns, format!("target lists can have at most {COLUMNS_MAX} entries")));
    }
    let formats = per_column(formats, schema.fields().len())?;
    let fields = schema.fields().iter().zip(formats).map(|(field, format)| {
        let of = pg_type(field)?;
        Ok(FieldDescription::new(field.name().clone(), 0, 0, of.oid, of.size, of.typmod, code(format)))
    });
    fields.collect::<Result<_>>().map(RowDescription::new)
}

/// 08P01 where the count is neither 0, 1 nor `columns`.
pub(crate) fn per_column(formats: &[Format], columns: usize) -> Result<Vec<Format>> {
    match formats {
        [] => Ok(vec![Format::Text; columns]),
        [all] => Ok(vec![*all; columns]),
        each if each.len() == columns => Ok(each.to_vec()),
        _ => Err(Error::new(
            Kind::Protocol,
            format!("bind message has {} result formats but query has {columns} columns", formats.len()),
        )),
    }
}

/// In which formats rows go out where nobody asked for any.
pub(crate) fn own_formats(is_binary: bool) -> &'static [Format] {
    if is_binary { &[Format::Binary] } else { &[] }
}

/// Format codes of a Bind.
pub(crate) fn read_formats(codes: &[i16]) -> Result<Vec<Format>> {
    let one = |code: &i16| match code {
        0 => Ok(Format::Text),
        1 => Ok(Format::Binary),
        other => Err(Error::new(Kind::InvalidParameter, format!("unsupported format code: {other}"))),
    };
    codes.iter().map(one).collect()
}

fn code(format: Format) -> i16 {
    match format {
        Format::Text => 0,
        Format::Binary => 1,
    }
}

/// A result being sent, perhaps in several fetches.
pub(crate) struct Cursor {
    rows: Rows,
    encoder: Encoder,
    /// The batch being sent and the first row of it not yet sent.
    current: Option<(RecordBatch, usize)>,
    /// Rows of all fetches.
    sent: usize,
}

/// As what rows leave.
enum Encoder {
    DataRows(RowEncoder),
    Copy(CopyEncoder),
}

impl Encoder {
    fn encode(&mut self, batch: &RecordBatch, from: usize, out: &mut BytesMut) -> Result<usize> {
        match self {
            Self::DataRows(encoder) => encoder.encode(batch, from, FLUSH_BYTES, out),
            Self::Copy(encoder) => encoder.encode(batch, from, FLUSH_BYTES, out),
        }
    }
}

/// How a fetch ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Fetched {
    /// There may be more.
    Suspended,
    Ended,
}

impl Cursor {
    pub(crate) fn new(rows: Rows, formats: &[Format], style: &Style) -> Result<Self> {
        let schema = rows.schema();
        let formats = per_column(formats, schema.fields().len())?;
        let encoder = Encoder::DataRows(RowEncoder::new(schema, &formats, style)?);
        Ok(Self { encoder, rows, current: None, sent: 0 })
    }

    /// For COPY TO.
    pub(crate) fn copy(rows: Rows, layout: Layout, style: &Style) -> Result<Self> {
        let encoder = Encoder::Copy(CopyEncoder::new(&rows.schema(), layout, style)?);
        Ok(Self { encoder, rows, current: None, sent: 0 })
    }

    /// What stands behind the last row of a COPY.
    pub(crate) fn finish<W: AsyncWrite + Unpin>(&mut self, output: &mut Output<W>) -> Result<()> {
        match &mut self.encoder {
            Encoder::DataRows(_) => Ok(()),
            Encoder::Copy(encoder) => output.append(|buffer| encoder.finish(buffer)),
        }
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    pub(crate) fn rows(&mut self) -> &mut Rows {
        &mut self.rows
    }

    /// The rows to come, those of them that were read already, and how many were sent.
    pub(crate) fn into_parts(self) -> (Rows, Option<RecordBatch>, usize) {
        let rest = self.current.map(|(batch, from)| batch.slice(from, batch.num_rows().saturating_sub(from)));
        (self.rows, rest, self.sent)
    }

    pub(crate) fn tag(&self, sent: usize) -> String {
        self.rows.tag(sent)
    }

    /// Sends at most `rows_max` rows (all when `None`) and says how many. Rows written before an error stay written:
    /// what follows them is the error, never a CommandComplete.
    pub(crate) async fn fetch<W: AsyncWrite + Unpin>(
        &mut self,
        output: &mut Output<W>,
        rows_max: Option<usize>,
        token: &CancellationToken,
        grace: Duration,
    ) -> std::result::Result<(usize, Fetched), Stop> {
        let mut sent = 0;
        let mut busy_since = Instant::now();
        while rows_max.is_none_or(|max| sent < max) {
            if self.current.is_none() {
                match self.next(output, token, grace).await? {
                    Some(batch) => self.current = Some((batch, 0)),
                    None => return Ok((sent, Fetched::Ended)),
                }
            }
            sent += self.send_slice(output, rows_max.map(|max| max - sent))?;
            if output.is_full() {
                flush_unless_cancelled(output, token).await?;
            }
            if busy_since.elapsed() > SLICE {
                tokio::task::yield_now().await;
                busy_since = Instant::now();
            }
        }
        Ok((sent, Fetched::Suspended))
    }

    /// The next batch. What lies ready meanwhile is not held back for long: first rows are seen before the last ones.
    async fn next<W: AsyncWrite + Unpin>(
        &mut self,
        output: &mut Output<W>,
        token: &CancellationToken,
        grace: Duration,
    ) -> std::result::Result<Option<RecordBatch>, Stop> {
        let next = or_cancelled(self.rows.next(), token, grace);
        tokio::pin!(next);
        let next = match tokio::time::timeout(LINGER, &mut next).await {
            Ok(next) => next,
            Err(_) => {
                flush_unless_cancelled(output, token).await?;
                next.await
            }
        };
        Ok(next?.transpose()?)
    }

    /// Rows of the current batch until the buffer is full; returns their number and forgets a batch that is through.
    fn send_slice<W: AsyncWrite + Unpin>(&mut self, output: &mut Output<W>, rows_max: Option<usize>) -> Result<usize> {
        let Some((batch, from)) = self.current.take() else { return Ok(0) };
        if from >= batch.num_rows() {
            return Ok(0);
        }
        let end = rows_max.map_or(batch.num_rows(), |max| batch.num_rows().min(from.saturating_add(max)));
        let slice = if end < batch.num_rows() { batch.slice(0, end) } else { batch.clone() };
        let next = output.append(|buffer| self.encoder.encode(&slice, from, buffer))?;
        if next <= from || next > end {
            return Err(Error::internal(format!("the encoder went from row {from} to {next} of {end}")));
        }
        counter!(ROWS_SENT).increment((next - from) as u64);
        self.sent += next - from;
        if next < batch.num_rows() {
            self.current = Some((batch, next));
        }
        Ok(next - from)
    }
}

/// While a slow reader keeps us waiting a cancel is still heard; what was not yet written then goes before the error.
async fn flush_unless_cancelled<W: AsyncWrite + Unpin>(
    output: &mut Output<W>,
    token: &CancellationToken,
) -> std::result::Result<(), Stop> {
    match token.run_until_cancelled(output.flush()).await {
        Some(flushed) => Ok(flushed?),
        None => Err(cancelled().into()),
    }
}

/// A cancelled piece of work has `grace` to end by itself, which tells the engine's books the truth; then it is dropped.
pub(crate) async fn or_cancelled<F: Future>(work: F, token: &CancellationToken, grace: Duration) -> Result<F::Output> {
    tokio::pin!(work);
    if let Some(done) = token.run_until_cancelled(&mut work).await {
        return Ok(done);
    }
    tokio::time::timeout(grace, work).await.map_err(|_| cancelled())
}

fn cancelled() -> Error {
    Error::new(Kind::Cancelled, "canceling statement due to user request")
}
