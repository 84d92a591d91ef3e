//! Columns that nobody declared: told from the files, of Parquet by footers, of text by some of the first records of some
//! files. Files that do not agree are a fault of the table. Whoever wants it otherwise declares columns.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::Field;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use serde_json::Value;

use super::Spec;
use super::columns::Columns;
use super::fault::fault;
use super::list::Found;
use super::parquet::widens;
use super::text::{COLUMNS_MAX, TextFile, bytes};
use crate::error::{Error, Kind, Result};
use crate::formats::cut::Records;
use crate::formats::file::FileFormat as Format;
use crate::formats::postgres::{NUMERIC, by_name, field, pg_type, type_name};
use crate::formats::record::{self, Encoding, TOO_MANY_FIELDS, any_numeric, csv_fields};
use crate::sources::guess;

/// Files that are looked into: the first ones, the last ones, and some between.
const TEXTS_MAX: usize = 16;
const FOOTERS_MAX: usize = 256;
/// Of each.
const RECORDS_MAX: usize = 500;
const BYTES_MAX: usize = 256 << 10;

/// Plain bytes of each, whatever they are: blank lines are no records, and a record may be as large as it likes.
const FED_MAX: u64 = 4 * BYTES_MAX as u64;
/// Names of folders that are columns.
const PARTS_MAX: usize = 100;
/// Files that are looked into at one time.
const FOOTERS_AT_ONCE: usize = 16;
const TEXTS_AT_ONCE: usize = 4;

const HINT: &str =
    "Declare `columns` of the table in its source's file, or move away the files that the server's log names.";

/// A column as one file has it.
struct Told {
    name: String,
    /// `None`: nothing but NULLs were seen.
    field: Option<Field>,
}

/// What is told so far.
#[derive(Default)]
struct Known<'f> {
    columns: Vec<Column<'f>>,
    /// By their names.
    places: HashMap<String, usize>,
}

/// And by which file.
struct Column<'f> {
    name: String,
    field: Option<(Field, &'f str)>,
}

/// What the files are, and why they are not one table.
pub(super) struct Inferred {
    pub(super) columns: Columns,
    pub(super) fault: Option<Error>,
    /// A file was changed or removed meanwhile.
    pub(super) is_moving: bool,
}

/// An error is a store's: of files that are there, what is wrong is told beside the columns.
pub(super) async fn infer(spec: &Arc<Spec>, files: &[Found]) -> Result<Inferred> {
    let table = &spec.config;
    let (most, at_once) = match table.format {
        Format::Parquet => (FOOTERS_MAX, FOOTERS_AT_ONCE),
        Format::Csv | Format::Json => (TEXTS_MAX, TEXTS_AT_ONCE),
    };
    let looked_at = some_of(files, most);
    let mut looks: Vec<BoxFuture<'_, Result<Vec<Told>>>> = vec![];
    for file in &looked_at {
        looks.push(match table.format {
            Format::Parquet => of_footer(spec, file).boxed(),
            Format::Csv => of_csv(spec, file).boxed(),
            Format::Json => of_json(spec, file).boxed(),
        });
    }
    let mut looks = futures::stream::iter(looks).buffered(at_once).zip(futures::stream::iter(&looked_at));
    let (mut fault, mut is_moving) = (None, false);
    let mut known = Known::default();
    while let Some((told, file)) = looks.next().await {
        match told {
            Ok(told) => {
                for told in told {
                    if let Err(error) = known.merge(spec, told, &file.name) {
                        fault.get_or_insert(error);
                    }
                }
            }
            // Somebody writes it just now; those that are there next are asked next.
            Err(error) if error.kind() == Kind::DataGone => is_moving = true,
            Err(error) if matches!(error.kind(), Kind::InvalidText | Kind::SourceFailed) => {
                let text = format!("the columns of table {} cannot be told from its files", spec.name);
                fault.get_or_insert(Error::new(error.kind(), text).with_hint(HINT).with_source(error));
            }
            Err(error) => return Err(error),
        }
    }
    let mut known = known.columns;
    if known.len() > COLUMNS_MAX {
        let text = format!("the files of table {} have more than {COLUMNS_MAX} columns", spec.name);
        fault.get_or_insert(Error::new(Kind::TooLarge, text).with_hint(HINT));
        known.truncate(COLUMNS_MAX);
    }
    let parts = match &table.partitions {
        Some(declared) => declared.iter().map(|column| column.field.clone()).collect(),
        None => {
            let (parts, unlike) = parts(spec, files)?;
            fault = fault.or(unlike);
            parts
        }
    };
    // A folder's name says more than what a writer left in the file besides.
    known.retain(|column| !parts.iter().any(|part: &Field| *part.name() == column.name));
    let text = |name: &str| field(name, 25, -1, true);
    let stored = known.into_iter().filter_map(|Column { name, field }| {
        let field = field.map(|(field, _)| field).or_else(|| text(&name))?;
        Some(record::Column { field, path: vec![name], unit: None, encoding: Encoding::default(), optional: false })
    });
    Ok(Inferred { columns: Columns::new(stored.collect(), parts, true)?, fault, is_moving })
}

/// At most so many, evenly.
fn some_of(files: &[Found], most: usize) -> Vec<&Found> {
    if files.len() <= most {
        return files.iter().collect();
    }
    (0..most).filter_map(|at| files.get(at * (files.len() - 1) / (most - 1))).collect()
}

impl<'f> Known<'f> {
    /// Who may see which column is not known here, nor who may see which file: what does not agree is named in the log.
    fn merge(&mut self, spec: &Spec, told: Told, file: &'f str) -> Result<()> {
        let Some(before) = self.places.get(&told.name).and_then(|at| self.columns.get_mut(*at)) else {
            // One more than there may be says that there are too many.
            if self.columns.len() <= COLUMNS_MAX {
                self.places.insert(told.name.clone(), self.columns.len());
                self.columns.push(Column { name: told.name, field: told.field.map(|field| (field, file)) });
            }
            return Ok(());
        };
        let Some(field) = told.field else { return Ok(()) };
        let Some((other, of)) = &before.field else {
            before.field = Some((field, file));
            return Ok(());
        };
        match wider(other, &field) {
            Some(wider) if wider == *other => {}
            Some(wider) => before.field = Some((wider, file)),
            None => {
                let shown =
                    |field: &Field| pg_type(field).map_or("?".into(), |found| type_name(found.oid, found.typmod));
                let text = format!("files of table {} have a column of different types", spec.name);
                let (one, two) = (shown(other), shown(&field));
                let why = format!("column \"{}\" is {one} in \"{of}\" and {two} in \"{file}\"", told.name);
                return Err(Error::new(Kind::SourceFailed, text).with_hint(HINT).with_source(why));
            }
        }
        Ok(())
    }
}

fn wider(one: &Field, other: &Field) -> Option<Field> {
    if one == other {
        return Some(one.clone());
    }
    let is_numeric = |field: &Field| pg_type(field).is_ok_and(|found| found.oid == NUMERIC && found.typmod == -1);
    let is_whole = |field: &Field| field.data_type().is_integer();
    match (is_numeric(one), is_numeric(other)) {
        (true, true) => return Some(one.clone()),
        (true, false) => return is_whole(other).then(|| one.clone()),
        (false, true) => return is_whole(one).then(|| other.clone()),
        (false, false) => {}
    }
    if widens(other.data_type(), one.data_type()) && one.metadata() == other.metadata() {
        return Some(one.clone());
    }
    (widens(one.data_type(), other.data_type()) && one.metadata() == other.metadata()).then(|| other.clone())
}

async fn of_footer(spec: &Spec, file: &Found) -> Result<Vec<Told>> {
    let objects = spec.folder.as_found([file]);
    let footers = spec.footers.of(spec, &objects, &[file], None).await?;
    let fields = footers.iter().flat_map(|footer| footer.shown.clone());
    Ok(fields.map(|field| Told { name: field.name().clone(), field: Some(field) }).collect())
}

async fn opened(spec: &Arc<Spec>, file: &Found) -> Result<TextFile> {
    let objects = spec.folder.as_found([file]);
    Ok(TextFile::open(spec, &objects, file).await?.up_to(FED_MAX))
}

async fn of_csv(spec: &Arc<Spec>, file: &Found) -> Result<Vec<Told>> {
    let table = &spec.config;
    let mut text = opened(spec, file).await?;
    let mut names = vec![];
    if table.csv.header {
        match text.header().await? {
            None => return Ok(vec![]),
            Some(header) => names = header,
        }
        let mut met = HashSet::new();
        if names.iter().any(|name| name.is_empty() || !met.insert(name)) {
            return Err(fault(&file.name, Some(1), "has a column without a name, or a name twice"));
        }
    }
    let mut records = Records::default();
    text.next(RECORDS_MAX, BYTES_MAX, &mut records).await?;
    let csv = table.csv.lines();
    let mut found: Vec<Option<String>> = vec![None; names.len()];
    for at in 0..records.len() {
        let Ok(line) = std::str::from_utf8(bytes(&records, at)) else { continue };
        let fields = match csv_fields(line, &csv, COLUMNS_MAX) {
            Ok(fields) => fields,
            Err(problem @ TOO_MANY_FIELDS) if !table.csv.header => {
                return Err(fault(&file.name, Some(records.line(at)), problem));
            }
            // What does not fit is told where it is read.
            Err(_) => continue,
        };
        if !table.csv.header && fields.len() > names.len() {
            names.extend((names.len() + 1..=fields.len()).map(|number| format!("column{number}")));
            found.resize(names.len(), None);
        }
        guess::of_line(&mut found, fields);
    }
    Ok(names.into_iter().zip(found).map(|(name, found)| told(name, found)).collect())
}

async fn of_json(spec: &Arc<Spec>, file: &Found) -> Result<Vec<Told>> {
    let mut text = opened(spec, file).await?;
    let mut records = Records::default();
    text.next(RECORDS_MAX, BYTES_MAX, &mut records).await?;
    let mut found: Vec<(String, Option<String>)> = vec![];
    let mut places: HashMap<String, usize> = HashMap::new();
    for at in 0..records.len() {
        let Ok(Value::Object(row)) = serde_json::from_slice(bytes(&records, at)) else { continue };
        for (name, value) in row {
            let looks = guess::of_json(&value, false);
            if let Some((_, known)) = places.get(&name).and_then(|at| found.get_mut(*at)) {
                *known = guess::both(known.take(), looks);
            } else if found.len() <= COLUMNS_MAX {
                places.insert(name.clone(), found.len());
                found.push((name, looks));
            }
        }
    }
    Ok(found.into_iter().filter(|(name, _)| !name.is_empty()).map(|(name, found)| told(name, found)).collect())
}

fn told(name: String, found: Option<String>) -> Told {
    let field = found.as_deref().and_then(by_name).and_then(|(oid, typmod)| match oid {
        NUMERIC if typmod == -1 => Some(any_numeric(&name)),
        _ => field(&name, oid, typmod, true),
    });
    Told { name, field }
}

/// The names in folders' names, and why they are not those of one table: all files have them in one order. Where they do
/// not, each name is a column all the same, so that what is said of one, by a policy too, is said of something.
fn parts(spec: &Spec, files: &[Found]) -> Result<(Vec<Field>, Option<Error>)> {
    let Some(first) = files.first() else { return Ok((vec![], None)) };
    let mut fault = None;
    let mut keys: Vec<&str> = vec![];
    let mut looks: HashMap<&str, Option<&'static str>> = HashMap::new();
    for file in files {
        let mut met = HashSet::new();
        let mut is_twice = false;
        for (key, value) in file.parts() {
            is_twice |= !met.insert(key);
            if !looks.contains_key(key) && keys.len() < PARTS_MAX {
                keys.push(key);
                looks.insert(key, None);
            }
            if let (Some(known), Some(value)) = (looks.get_mut(key), value) {
                let now = of_part(&value);
                *known = Some(match *known {
                    Some(before) if before != now => of_both(before, now),
                    Some(_) | None => now,
                });
            }
        }
        let names = |file: &'_ Found| file.parts().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        if fault.is_none() && (is_twice || names(file) != names(first)) {
            let text = format!("files of table {} lie in folders that are called unlike each other", spec.name);
            let hint = "The server's log names them. Say which of the names are columns by `partitions` of the table; none of \
                        them are by `partitions = []`.";
            let why = format!("files \"{}\" and \"{}\"", first.name, file.name);
            fault = Some(Error::new(Kind::SourceFailed, text).with_hint(hint).with_source(why));
        }
    }
    let of = |key: &&str| {
        let known = looks.get(key).copied().flatten().and_then(by_name);
        let typed = known.and_then(|(oid, typmod)| field(key, oid, typmod, true));
        typed.or_else(|| field(key, 25, -1, true)).ok_or_else(|| Error::internal("text has a field"))
    };
    Ok((keys.iter().map(of).collect::<Result<_>>()?, fault))
}

/// `month=01` is a number all the same.
fn of_part(value: &str) -> &'static str {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match (is_whole, guess::of_field(value)) {
        (true, _) if value.parse::<i32>().is_ok() => "int4",
        (true, _) if value.parse::<i64>().is_ok() => "int8",
        (false, "date") => "date",
        _ => "text",
    }
}

fn of_both(one: &'static str, other: &'static str) -> &'static str {
    let is_whole = |name: &str| matches!(name, "int4" | "int8");
    if is_whole(one) && is_whole(other) { "int8" } else { "text" }
}
