//! Tables as they were at one exported moment: pieces of them, read by several connections at once in COPY's binary form. It
//! follows no changes, and says when the last piece of a table is there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::server::Exported;
use super::tables::{Column, Table};
use super::trouble::Trouble;
use super::wire::{Session, Wire, literal};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::copy::CopyDecoder;
use crate::sources::postgres::Dialer;
use crate::types::quoted;

/// A batch ends at so many rows, or at so many bytes of the stream.
const BATCH_ROWS: usize = 1 << 16;
const BATCH_BYTES: usize = 4 << 20;
/// Blocks of a piece: 64 MiB where blocks have their usual size.
const PIECE_BLOCKS: u64 = 8_192;
/// From here on the server finds a range of rows by their places without reading the others.
const RANGES: u32 = 140_000;

/// What a table's copy gives.
#[derive(Debug)]
pub(super) enum Copied {
    Rows {
        table: usize,
        rows: RecordBatch,
    },
    /// Nothing of the table follows.
    Whole {
        table: usize,
    },
}

/// Copies under way; they end with this value.
#[derive(Debug)]
pub(super) struct Copies {
    copied: mpsc::Receiver<Result<Copied>>,
    _workers: Vec<AbortOnDropHandle<()>>,
}

/// A part of a table and how it is read.
#[derive(Clone, Debug)]
struct Piece {
    table: usize,
    name: String,
    sql: String,
    schema: SchemaRef,
    oids: Vec<u32>,
}

/// Pieces that nobody has begun, and for each table how many are not done.
#[derive(Debug, Default)]
struct Work {
    pieces: VecDeque<Piece>,
    left: Vec<(usize, usize)>,
}

impl Copies {
    /// `wanted`: tables by their numbers. Once this returns, the moment is held by the copies themselves.
    pub(super) async fn begin(
        dialer: &Dialer,
        moment: Exported,
        wanted: &[(usize, &Table)],
        connections: usize,
        version: u32,
    ) -> Result<Self> {
        let mut wires = vec![];
        for _ in 0..connections.max(1) {
            let mut wire = Wire::open(dialer, Session::Plain).await?;
            let sql = format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}",
                literal(&moment.snapshot)
            );
            wire.query(&sql).await.map_err(|t| wire.error(t))?;
            wires.push(wire);
        }
        let mut work = Work::default();
        if let Some(wire) = wires.first_mut().filter(|_| !wanted.is_empty()) {
            let names: Vec<String> = wanted.iter().map(|(_, table)| table.quoted()).collect();
            let sql = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
            wire.query(&sql).await.map_err(|t| no_right(wire, t, &names.join(", ")))?;
            // TRUNCATE takes a table's rows from older moments too. From here on it waits; what came before is seen.
            let tables: Vec<&Table> = wanted.iter().map(|(_, table)| *table).collect();
            if files(wire, &tables).await? != moment.files {
                let text =
                    format!("a table of source \"{}\" was truncated or rewritten as its copy began", wire.source);
                return Err(Error::new(Kind::Conflict, text));
            }
            for (number, table) in wanted {
                let pieces = pieces(wire, *number, table, version).await?;
                work.left.push((*number, pieces.len()));
                work.pieces.extend(pieces);
            }
        }
        drop(moment);
        let work = Arc::new(Mutex::new(work));
        let (sender, copied) = mpsc::channel(connections.max(1) + 1);
        let worker = |wire: Wire| {
            let (work, sender) = (Arc::clone(&work), sender.clone());
            AbortOnDropHandle::new(tokio::spawn(async move {
                if let Err(error) = run(wire, &work, &sender).await {
                    // The reader went away, or reads it as the last thing.
                    let _ = sender.send(Err(error)).await;
                }
            }))
        };
        Ok(Self { copied, _workers: wires.into_iter().map(worker).collect() })
    }

    /// `None` once all is there.
    pub(super) async fn next(&mut self) -> Result<Option<Copied>> {
        self.copied.recv().await.transpose()
    }
}

async fn run(mut wire: Wire, work: &Mutex<Work>, sender: &mpsc::Sender<Result<Copied>>) -> Result<()> {
    loop {
        let piece = work.lock().expect("no panic under the lock").pieces.pop_front();
        let Some(piece) = piece else { return Ok(()) };
        if !read(&mut wire, &piece, sender).await? {
            return Ok(());
        }
        let whole = {
            let mut work = work.lock().expect("no panic under the lock");
            let left = work.left.iter_mut().find(|(table, _)| *table == piece.table);
            left.is_some_and(|(_, left)| {
                *left = left.saturating_sub(1);
                *left == 0
            })
        };
        // Whoever ends the last piece of a table has sent its rows, and the others had sent theirs before they counted.
        if whole && sender.send(Ok(Copied::Whole { table: piece.table })).await.is_err() {
            return Ok(());
        }
    }
}

fn no_right(wire: &Wire, trouble: Trouble, names: &str) -> Error {
    let lacks = trouble.code() == "42501";
    let error = wire.error(trouble);
    match lacks {
        true => error.with_hint(format!("Its role must be allowed to: GRANT SELECT ON {names} TO …;")),
        false => error,
    }
}

/// In which files the rows of tables lie: others after each TRUNCATE, and after each change that writes all rows anew.
pub(super) async fn files(wire: &mut Wire, tables: &[&Table]) -> Result<Vec<String>> {
    let oids: Vec<String> = tables.iter().map(|table| table.oid.to_string()).collect();
    let sql = format!(
        "SELECT c.oid, pg_relation_filenode(c.oid) FROM pg_class c WHERE c.relkind = 'r' AND c.oid IN (\
         SELECT o FROM unnest(ARRAY[{0}]::oid[]) o UNION SELECT p.relid FROM unnest(ARRAY[{0}]::oid[]) o, \
         pg_partition_tree(o) p) ORDER BY c.oid",
        oids.join(", ")
    );
    let rows = wire.query(&sql).await.map_err(|t| wire.error(t))?;
    Ok(rows.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect())
}

/// `false`: nobody reads any more.
async fn read(wire: &mut Wire, piece: &Piece, sender: &mpsc::Sender<Result<Copied>>) -> Result<bool> {
    let refused = |wire: &Wire, trouble: Trouble| no_right(wire, trouble, &piece.name);
    wire.copy_out(&piece.sql).await.map_err(|t| refused(wire, t))?;
    let mut decoder = CopyDecoder::new(Arc::clone(&piece.schema), &piece.oids)?;
    loop {
        let portion = wire.copied().await.map_err(|t| refused(wire, t))?;
        let ended = portion.is_none();
        match portion {
            Some(bytes) => decoder.feed(&bytes).map_err(|e| misfit(piece, e))?,
            None => decoder.finish().map_err(|e| wire.broken(e))?,
        }
        let full = decoder.rows() >= BATCH_ROWS || decoder.bytes() >= BATCH_BYTES;
        if (full || ended) && decoder.rows() > 0 {
            let rows = decoder.take()?;
            if sender.send(Ok(Copied::Rows { table: piece.table, rows })).await.is_err() {
                return Ok(false);
            }
        }
        if ended {
            return Ok(true);
        }
    }
}

/// A value that the lake has no form for: it stays until somebody changes it, or its column.
fn misfit(piece: &Piece, error: Error) -> Error {
    let hint = "Change the value, or leave the table out of the pipeline.";
    match error.kind() {
        Kind::InvalidBinary => error,
        _ => error.map_message(|text| format!("table {}: {text}", piece.name)).with_hint(hint),
    }
}

/// A table in pieces of about the same size; its partitions each by itself.
async fn pieces(wire: &mut Wire, number: usize, table: &Table, version: u32) -> Result<Vec<Piece>> {
    // A type's own output function spells a value as the stream does; a cast to text may not (inet adds a netmask).
    let column = |column: &Column| {
        let name = quoted(&column.name);
        match column.read_oid != 25 || matches!(column.type_oid, 25 | 1043) {
            true => name,
            false => format!("CASE WHEN {name} IS NOT NULL THEN format('%s', {name}) END"),
        }
    };
    let columns: Vec<String> = table.columns.iter().map(column).collect();
    let leaves = match table.partitioned {
        true => format!("SELECT relid FROM pg_partition_tree({}) WHERE isleaf", table.oid),
        false => format!("SELECT {}::oid AS relid", table.oid),
    };
    let sql = format!(
        "SELECT n.nspname, c.relname, c.relkind, pg_relation_size(c.oid) / current_setting('block_size')::bigint \
         FROM ({leaves}) l JOIN pg_class c ON c.oid = l.relid JOIN pg_namespace n ON n.oid = c.relnamespace"
    );
    let mut pieces = vec![];
    for row in wire.query(&sql).await.map_err(|t| wire.error(t))? {
        let [Some(schema), Some(name), Some(kind), Some(blocks)] = row.as_slice() else {
            return Err(wire.broken("a row of pg_class"));
        };
        let blocks: u64 = blocks.parse().map_err(|_| wire.broken("the size of a table"))?;
        let whole = version < RANGES || kind != "r";
        let count = if whole { 1 } else { blocks.div_ceil(PIECE_BLOCKS).max(1) };
        for piece in 0..count {
            let from = (piece > 0).then(|| format!("ctid >= '({},0)'::tid", piece * PIECE_BLOCKS));
            // The last piece has no end: the table may have grown since, if only by rows that this moment does not see.
            let to = (piece + 1 < count).then(|| format!("ctid < '({},0)'::tid", (piece + 1) * PIECE_BLOCKS));
            let range: Vec<String> = [from, to].into_iter().flatten().chain(table.filter.clone()).collect();
            let range = if range.is_empty() { String::new() } else { format!(" WHERE {}", range.join(" AND ")) };
            let select = format!("SELECT {} FROM ONLY {}.{}{range}", columns.join(", "), quoted(schema), quoted(name));
            pieces.push(Piece {
                table: number,
                name: table.quoted(),
                sql: format!("COPY ({select}) TO STDOUT (FORMAT binary)"),
                schema: table.rows_schema(),
                oids: table.columns.iter().map(|c| c.read_oid).collect(),
            });
        }
    }
    if pieces.is_empty() {
        // A partitioned table without partitions: it has no row, and that has to be said too.
        let select = format!("SELECT {} FROM {}", columns.join(", "), table.quoted());
        pieces.push(Piece {
            table: number,
            name: table.quoted(),
            sql: format!("COPY ({select}) TO STDOUT (FORMAT binary)"),
            schema: table.rows_schema(),
            oids: table.columns.iter().map(|c| c.read_oid).collect(),
        });
    }
    Ok(pieces)
}
