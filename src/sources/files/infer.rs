//! Columns that nobody declared: told from the files, of Parquet by footers, of text by some of the first records of some
//! files. Files that do not agree are told by their names. Whoever wants it otherwise declares columns.

use arrow::datatypes::Field;
use serde_json::Value;

use super::Spec;
use super::columns::Columns;
use super::config::{Format, TableConfig};
use super::list::Found;
use super::parquet::widens;
use super::text::{COLUMNS_MAX, TextFile, bytes, fault};
use crate::error::{Error, Kind, Result};
use crate::formats::cut::Records;
use crate::formats::postgres::{NUMERIC, by_name, field, pg_type, type_name};
use crate::formats::record::{self, Encoding, any_numeric, csv_fields};
use crate::sources::guess;

/// Files that are looked into: the first ones, the last ones, and some between.
const TEXTS_MAX: usize = 16;
const FOOTERS_MAX: usize = 256;
/// Of each.
const RECORDS_MAX: usize = 500;
const BYTES_MAX: usize = 256 << 10;

/// A column as one file has it.
struct Told {
    name: String,
    /// `None`: nothing but NULLs were seen.
    field: Option<Field>,
}

/// What is told so far, and by which file.
struct Known<'f> {
    name: String,
    field: Option<(Field, &'f str)>,
}

/// What the files are, and why they are not one table.
pub(super) struct Inferred {
    pub(super) columns: Columns,
    pub(super) fault: Option<Error>,
}

/// An error is a store's: of files that are there, what is wrong is told beside the columns.
pub(super) async fn infer(spec: &Spec, files: &[Found]) -> Result<Inferred> {
    let table = &spec.config;
    let most = if table.format == Format::Parquet { FOOTERS_MAX } else { TEXTS_MAX };
    let looked_at = some_of(files, most);
    let mut fault = None;
    let mut known: Vec<Known<'_>> = vec![];
    for file in &looked_at {
        let told = match table.format {
            Format::Parquet => of_footer(spec, file).await,
            Format::Csv => of_csv(spec, file).await,
            Format::Json => of_json(spec, file).await,
        };
        match told {
            Ok(told) => {
                for told in told {
                    if let Err(error) = merged(spec, &mut known, told, &file.name) {
                        fault.get_or_insert(error);
                    }
                }
            }
            Err(error) if error.kind() == Kind::InvalidText => drop(fault.get_or_insert(error)),
            // Somebody writes it just now; those that are there next are asked next.
            Err(error) if error.kind() == Kind::DataGone => {}
            Err(error) => return Err(error),
        }
    }
    if known.len() > COLUMNS_MAX {
        let text = format!("the files of table {} have more than {COLUMNS_MAX} columns", spec.name);
        fault.get_or_insert(Error::new(Kind::TooLarge, text).with_hint("Declare `columns`."));
        known.truncate(COLUMNS_MAX);
    }
    let parts = match &table.partitions {
        Some(declared) => declared.iter().map(|column| column.field.clone()).collect(),
        None => match parts(spec, files) {
            Ok(parts) => parts,
            Err(error) => {
                fault.get_or_insert(error);
                vec![]
            }
        },
    };
    // A folder's name says more than what a writer left in the file besides.
    known.retain(|column| !parts.iter().any(|part: &Field| *part.name() == column.name));
    let text = |name: &str| field(name, 25, -1, true);
    let stored = known.into_iter().filter_map(|Known { name, field }| {
        let field = field.map(|(field, _)| field).or_else(|| text(&name))?;
        Some(record::Column { field, path: vec![name], unit: None, encoding: Encoding::default(), optional: false })
    });
    Ok(Inferred { columns: Columns::new(stored.collect(), parts, true)?, fault })
}

/// At most so many, evenly.
fn some_of(files: &[Found], most: usize) -> Vec<&Found> {
    if files.len() <= most {
        return files.iter().collect();
    }
    (0..most).filter_map(|at| files.get(at * (files.len() - 1) / (most - 1))).collect()
}

/// Who may see which column is not known here: those that do not agree are named in the log.
fn merged<'f>(spec: &Spec, known: &mut Vec<Known<'f>>, told: Told, file: &'f str) -> Result<()> {
    let Some(before) = known.iter_mut().find(|column| column.name == told.name) else {
        known.push(Known { name: told.name, field: told.field.map(|field| (field, file)) });
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
            let shown = |field: &Field| pg_type(field).map_or("?".into(), |found| type_name(found.oid, found.typmod));
            let text = format!("files \"{of}\" and \"{file}\" of table {} have a column of different types", spec.name);
            let why = format!("column \"{}\" is {} and {}", told.name, shown(other), shown(&field));
            let hint = "Declare `columns` of the table, or move one of the files away.";
            return Err(Error::new(Kind::SourceFailed, text).with_hint(hint).with_source(why));
        }
    }
    Ok(())
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
    let footers = spec.footers.of(&spec.folder, std::slice::from_ref(file)).await?;
    let fields = footers.iter().flat_map(|footer| footer.shown.clone());
    Ok(fields.map(|field| Told { name: field.name().clone(), field: Some(field) }).collect())
}

async fn opened(spec: &Spec, file: &Found) -> Result<TextFile> {
    let objects = spec.folder.as_found([file]);
    TextFile::open(&spec.folder, &objects, &spec.config, file).await
}

async fn of_csv(spec: &Spec, file: &Found) -> Result<Vec<Told>> {
    let table: &TableConfig = &spec.config;
    let mut text = opened(spec, file).await?;
    let mut names = vec![];
    if table.csv.header {
        match text.header(table).await? {
            None => return Ok(vec![]),
            Some(header) => names = header,
        }
        for (at, name) in names.iter().enumerate() {
            if name.is_empty() || names.iter().take(at).any(|other| other == name) {
                return Err(fault(&file.name, Some(1), "has a column without a name, or a name twice"));
            }
        }
    }
    let mut records = Records::default();
    text.next(RECORDS_MAX, BYTES_MAX, &mut records).await?;
    let csv = table.csv.lines();
    let mut found: Vec<Option<String>> = vec![None; names.len()];
    for at in 0..records.len() {
        let line = std::str::from_utf8(bytes(&records, at)).ok();
        // What does not fit is told where it is read.
        let Some(fields) = line.and_then(|line| csv_fields(line, &csv)) else { continue };
        if !table.csv.header && fields.len() > names.len() {
            let more = names.len() + 1..=fields.len().min(COLUMNS_MAX);
            names.extend(more.map(|number| format!("column{number}")));
            found.resize(names.len(), None);
        }
        for (known, field) in found.iter_mut().zip(fields) {
            let Some(field) = field else { continue };
            let looks = guess::of_field(&field).to_owned();
            *known = Some(match known.take() {
                None => looks,
                Some(known) => guess::wider(&known, &looks).unwrap_or_else(|| "text".into()),
            });
        }
    }
    Ok(names.into_iter().zip(found).map(|(name, found)| told(name, found)).collect())
}

async fn of_json(spec: &Spec, file: &Found) -> Result<Vec<Told>> {
    let mut text = opened(spec, file).await?;
    let mut records = Records::default();
    text.next(RECORDS_MAX, BYTES_MAX, &mut records).await?;
    let mut found: Vec<(String, Option<String>)> = vec![];
    for at in 0..records.len() {
        let Ok(Value::Object(row)) = serde_json::from_slice(bytes(&records, at)) else { continue };
        for (name, value) in row {
            let looks = guess::of_json(&value, false);
            let has_room = found.len() <= COLUMNS_MAX;
            match found.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = guess::both(known.take(), looks),
                None if has_room => found.push((name, looks)),
                None => {}
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

/// The names in folders' names, which all files have in one order.
fn parts(spec: &Spec, files: &[Found]) -> Result<Vec<Field>> {
    let Some(first) = files.first() else { return Ok(vec![]) };
    let names = |file: &Found| file.parts().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    let keys = names(first);
    if let Some(other) = files.iter().find(|file| names(file) != keys) {
        let (first, other) = (&first.name, &other.name);
        let text =
            format!("files \"{first}\" and \"{other}\" of table {} lie in folders of different names", spec.name);
        let hint =
            "Say which of the names are columns by `partitions` of the table; none of them are by `partitions = []`.";
        return Err(Error::new(Kind::SourceFailed, text).with_hint(hint));
    }
    let is_twice = |at: usize, key: &String| keys.iter().take(at).any(|other| other == key);
    if keys.iter().enumerate().any(|(at, key)| is_twice(at, key)) {
        return Err(fault(&first.name, None, "lies in folders that give one name twice"));
    }
    let values: Vec<Vec<Option<String>>> =
        files.iter().map(|file| file.parts().map(|(_, value)| value).collect()).collect();
    let part = |(at, key): (usize, &String)| {
        let of_all = values.iter().filter_map(|values| values.get(at)?.as_deref());
        let looks = of_all.map(of_part).reduce(|one, other| if one == other { one } else { of_both(one, other) });
        let (oid, typmod) = looks.and_then(by_name)?;
        field(key, oid, typmod, true)
    };
    let text = |key: &String| field(key, 25, -1, true);
    let fields = keys.iter().enumerate().map(|(at, key)| part((at, key)).or_else(|| text(key)));
    fields.collect::<Option<Vec<_>>>().ok_or_else(|| Error::internal("text has a field"))
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
