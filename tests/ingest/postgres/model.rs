//! A lake as simple as can be: rows by key, each table's place, a checkpoint, and what is staged but not committed. It takes no
//! change that does not fit what it holds: an insert of a row that is there was given twice, an update or delete of one that is
//! not was lost.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, RecordBatch};
use lakegate::error::Kind;
use lakegate::formats::change::Op;
use lakegate::formats::postgres::{self, Style};
use lakegate::ingest::origin::{Kept, Origin, Part, Place, SOURCE_ID, Shape, Taken};
use lakegate::ingest::postgres::Slot;

use crate::postgres_server::Server;

/// Column → value as text, by what the source knows the column by.
type Row = BTreeMap<String, Option<String>>;

#[derive(Clone, Debug, Default)]
struct Table {
    rows: BTreeMap<Vec<Option<String>>, Row>,
    /// Of a table without a key.
    bag: Vec<Row>,
    place: Option<Place>,
}

#[derive(Debug, Default)]
pub struct Lake {
    durable: BTreeMap<String, Table>,
    staged: BTreeMap<String, Table>,
    /// Tables that have changes since the last commit and no place of their own.
    touched: Vec<String>,
    checkpoint: Option<Place>,
    shapes: Vec<Shape>,
    pub changes: u64,
    pub commits: u64,
    pub moved: u64,
    pub unchanged: u64,
    pub truncates: u64,
}

pub fn lsn_of(text: &str) -> u64 {
    let (high, low) = text.split_once('/').unwrap();
    u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
}

impl Lake {
    /// `false`: a table was truncated meanwhile, or the source took the locks from us; it is tried again.
    pub async fn begin(&mut self, slot: &mut Slot) -> bool {
        self.reshape(slot).await;
        match slot.begin(&self.kept()).await {
            Err(error) if matches!(error.kind(), Kind::Conflict | Kind::SourceFailed) => false,
            begun => begun.map(|()| true).unwrap_or_else(|e| panic!("{e:?}")),
        }
    }

    pub async fn reshape(&mut self, slot: &mut Slot) {
        self.shapes = slot.tables().await.unwrap_or_else(|e| panic!("{e:?}"));
    }

    pub fn kept(&self) -> Kept {
        let place = |shape: &Shape| self.durable.get(&shape.name).and_then(|t| t.place.clone());
        Kept { tables: self.shapes.iter().map(place).collect(), checkpoint: self.checkpoint.clone() }
    }

    pub fn stage(&mut self, taken: Taken) {
        for part in taken.parts {
            self.part(part);
        }
    }

    /// All of it or nothing.
    pub fn commit(&mut self, place: &Place) {
        for name in self.touched.drain(..) {
            self.staged.get_mut(&name).unwrap().place = Some(place.clone());
        }
        self.durable = self.staged.clone();
        self.checkpoint = Some(place.clone());
        self.commits += 1;
    }

    /// As after a kill.
    pub fn let_go(&mut self) {
        self.staged = self.durable.clone();
        self.touched.clear();
    }

    /// No table is in the midst of its copy, or not begun.
    pub fn is_whole(&self) -> bool {
        let whole = |shape: &Shape| {
            let place = self.durable.get(&shape.name).and_then(|t| t.place.as_ref());
            place.is_some_and(|place| !place.0.contains_key("copying"))
        };
        self.shapes.iter().all(whole)
    }

    fn part(&mut self, part: Part) {
        let shape = self.shapes[part.table].clone();
        let Part { changed, place, positions, .. } = part;
        let table = self.staged.entry(shape.name.clone()).or_default();
        let columns: Vec<String> =
            changed.rows.schema().fields().iter().map(|f| f.metadata()[SOURCE_ID].clone()).collect();
        let key: Vec<String> =
            shape.key.iter().map(|at| shape.columns.field(*at).metadata()[SOURCE_ID].clone()).collect();
        let rows = texts(&changed.rows);
        let was = changed.was.as_ref().map(texts);
        assert_eq!(changed.ops.len(), rows.len());
        assert_eq!(positions.len(), rows.len());
        for (at, (op, values)) in changed.ops.iter().zip(rows).enumerate() {
            self.changes += 1;
            let mut row: Row = columns.iter().cloned().zip(values).collect();
            let key_of = |row: &Row| -> Vec<_> { key.iter().map(|c| row[c].clone()).collect() };
            let told = || format!("{op:?} of {} at {}", shape.name, positions.value(at));
            match op {
                Op::Truncate => {
                    self.truncates += 1;
                    table.rows.clear();
                    table.bag.clear();
                }
                Op::Insert if key.is_empty() => table.bag.push(row),
                Op::Insert => {
                    let doubled = table.rows.insert(key_of(&row), row.clone());
                    assert!(doubled.is_none(), "twice: {} {:?}", told(), key_of(&row));
                }
                Op::Update => {
                    let old = was.as_ref().map(|was| was[at].clone()).filter(|was| was.iter().any(Option::is_some));
                    self.moved += u64::from(old.is_some());
                    let old = old.unwrap_or_else(|| key_of(&row));
                    let before = table.rows.remove(&old).unwrap_or_else(|| panic!("lost: {} {old:?}", told()));
                    for left_out in changed.unchanged.iter().filter(|u| u.rows.value(at)) {
                        self.unchanged += 1;
                        let column = &columns[left_out.column];
                        assert_eq!(row[column], None);
                        row.insert(column.clone(), before[column].clone());
                    }
                    let doubled = table.rows.insert(key_of(&row), row.clone());
                    assert!(doubled.is_none(), "twice: {} {:?}", told(), key_of(&row));
                }
                Op::Delete => {
                    let before = table.rows.remove(&key_of(&row));
                    assert!(before.is_some(), "lost: {} {:?}", told(), key_of(&row));
                }
            }
        }
        match place {
            Some(place) => {
                table.place = Some(place);
                self.touched.retain(|name| *name != shape.name);
            }
            None if !self.touched.contains(&shape.name) => self.touched.push(shape.name),
            None => {}
        }
    }

    /// The tables as they are now, both ways.
    pub async fn assert_equals(&self, server: &Server, told: &str) {
        let client = server.client().await;
        for shape in &self.shapes {
            let (schema, name) = shape.name.split_once('.').unwrap();
            let columns: Vec<String> =
                shape.columns.fields().iter().map(|f| format!("format('%s', {})", quoted(f.name()))).collect();
            let nulls: Vec<String> =
                shape.columns.fields().iter().map(|f| format!("{} IS NULL", quoted(f.name()))).collect();
            let sql = format!(
                "SET TimeZone = 'UTC'; SET extra_float_digits = 3; SELECT {}, {} FROM \"{schema}\".\"{name}\"",
                columns.join(", "),
                nulls.join(", ")
            );
            let count = shape.columns.fields().len();
            let mut expected: Vec<Vec<Option<String>>> = vec![];
            for message in client.simple_query(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")) {
                if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                    let value =
                        |at: usize| (row.get(count + at) == Some("f")).then(|| row.get(at).unwrap().to_string());
                    expected.push((0..count).map(value).collect());
                }
            }
            let ids: Vec<&String> = shape.columns.fields().iter().map(|f| &f.metadata()[SOURCE_ID]).collect();
            let table = self.durable.get(&shape.name).cloned().unwrap_or_default();
            let all = table.rows.values().chain(&table.bag);
            let mut found: Vec<Vec<Option<String>>> =
                all.map(|row| ids.iter().map(|id| row.get(*id).cloned().flatten()).collect()).collect();
            expected.sort();
            found.sort();
            let mut left: HashMap<&Vec<Option<String>>, i64> = HashMap::new();
            expected.iter().for_each(|row| *left.entry(row).or_default() += 1);
            found.iter().for_each(|row| *left.entry(row).or_default() -= 1);
            left.retain(|_, count| *count != 0);
            let shown: Vec<_> =
                left.iter().take(6).map(|(row, n)| (n, row.iter().map(short).collect::<Vec<_>>())).collect();
            assert!(
                left.is_empty(),
                "{told}: {} has {} rows, the fold {}: {shown:?}",
                shape.name,
                expected.len(),
                found.len()
            );
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn short(value: &Option<String>) -> Option<String> {
    value.as_ref().map(|text| text.chars().take(40).collect())
}

/// Values as PostgreSQL spells them.
fn texts(batch: &RecordBatch) -> Vec<Vec<Option<String>>> {
    let style = Style::of(chrono_tz::UTC);
    let mut rows = vec![vec![]; batch.num_rows()];
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let spelt = postgres::texts(field, array, &style).unwrap();
        for (at, row) in rows.iter_mut().enumerate() {
            row.push(array.is_valid(at).then(|| spelt.value(at).to_string()));
        }
    }
    rows
}
