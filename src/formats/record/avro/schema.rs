//! A schema of Avro, and how records written by it become rows: which field is which column, and how its values are
//! written. Total: schemas come from a registry that anybody may write to. It reads no record.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::read::Bytes;
use crate::formats::record::envelope::Placeholder;
use crate::formats::record::given::{Decimals, Given, How, Problem, Unit};
use crate::formats::record::rows::{Miss, Rows, Take, of};
use crate::formats::record::sink::{Sink, WRONG_TYPE};
use crate::formats::record::{Declared, Envelope, Registered};

/// Values within each other.
const DEPTH_MAX: usize = 64;
/// Types of one schema, which is far more than any table has columns.
const TYPES_MAX: usize = 100_000;
const DEEP: Problem = "has values too deep within each other";

#[derive(Debug)]
pub(super) enum Shape {
    Null,
    Bool,
    Int,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Enum(Vec<String>),
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    /// Names and types.
    Record(Vec<(String, usize)>),
}

#[derive(Debug)]
struct Type {
    shape: Shape,
    /// What Connect calls it, or else Avro's logical type.
    name: Option<String>,
    scale: Option<i32>,
    /// Of a record's fields.
    aliases: Vec<Vec<String>>,
}

#[derive(Debug)]
pub(super) struct Plan {
    types: Vec<Type>,
    pub(super) root: usize,
    pub(super) hows: Vec<How>,
    /// Of a record and a node of the tree: the leaf of each field.
    leaves: HashMap<(usize, usize), Vec<Option<usize>>>,
}

struct Reader {
    types: Vec<Type>,
    named: HashMap<String, usize>,
}

impl Reader {
    fn add(&mut self, shape: Shape) -> Result<usize, ()> {
        if self.types.len() >= TYPES_MAX {
            return Err(());
        }
        self.types.push(Type { shape, name: None, scale: None, aliases: vec![] });
        Ok(self.types.len() - 1)
    }

    fn read(&mut self, schema: &Value, namespace: &str, depth: usize) -> Result<usize, ()> {
        let depth = depth.checked_sub(1).ok_or(())?;
        match schema {
            Value::String(name) => self.word(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.read(branch, namespace, depth));
                let shape = Shape::Union(branches.collect::<Result<_, _>>()?);
                self.add(shape)
            }
            Value::Object(object) => self.object(object, namespace, depth),
            _ => Err(()),
        }
    }

    fn word(&mut self, name: &str, namespace: &str) -> Result<usize, ()> {
        let shape = match name {
            "null" => Shape::Null,
            "boolean" => Shape::Bool,
            "int" | "long" => Shape::Int,
            "float" => Shape::Float,
            "double" => Shape::Double,
            "bytes" => Shape::Bytes,
            "string" => Shape::Text,
            name => {
                let full = full_name(name, namespace);
                return self.named.get(&full).or_else(|| self.named.get(name)).copied().ok_or(());
            }
        };
        self.add(shape)
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str, depth: usize) -> Result<usize, ()> {
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        let kind = match object.get("type").ok_or(())? {
            Value::String(kind) => kind.as_str(),
            nested => return self.read(nested, namespace, depth),
        };
        let own = match (text("namespace"), text("name").and_then(|name| name.rsplit_once('.'))) {
            (_, Some((own, _))) => own,
            (Some(own), None) => own,
            (None, None) => namespace,
        };
        let of = match kind {
            "array" => {
                let items = self.read(object.get("items").ok_or(())?, namespace, depth)?;
                self.add(Shape::Array(items))?
            }
            "map" => {
                let values = self.read(object.get("values").ok_or(())?, namespace, depth)?;
                self.add(Shape::Map(values))?
            }
            "enum" => {
                let symbols = object.get("symbols").and_then(Value::as_array).ok_or(())?;
                let symbols = symbols.iter().map(|symbol| symbol.as_str().map(str::to_owned));
                let shape = Shape::Enum(symbols.collect::<Option<_>>().ok_or(())?);
                let of = self.add(shape)?;
                self.name(text("name").ok_or(())?, own, of);
                of
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
                let of = self.add(Shape::Fixed(size.ok_or(())?))?;
                self.name(text("name").ok_or(())?, own, of);
                of
            }
            "record" | "error" => {
                let of = self.add(Shape::Record(vec![]))?;
                self.name(text("name").ok_or(())?, own, of);
                let (mut fields, mut aliases) = (vec![], vec![]);
                for field in object.get("fields").and_then(Value::as_array).ok_or(())? {
                    let name = field.get("name").and_then(Value::as_str).ok_or(())?;
                    fields.push((name.to_owned(), self.read(field.get("type").ok_or(())?, own, depth)?));
                    let names = field.get("aliases").and_then(Value::as_array).into_iter().flatten();
                    aliases.push(names.filter_map(Value::as_str).map(str::to_owned).collect());
                }
                let record = self.types.get_mut(of).ok_or(())?;
                (record.shape, record.aliases) = (Shape::Record(fields), aliases);
                of
            }
            name => self.word(name, namespace)?,
        };
        let own = self.types.get_mut(of).ok_or(())?;
        let named = text("connect.name").or_else(|| text("logicalType"));
        own.name = own.name.take().or_else(|| named.map(str::to_owned));
        own.scale =
            own.scale.or_else(|| object.get("scale").and_then(Value::as_i64).and_then(|s| i32::try_from(s).ok()));
        Ok(of)
    }

    fn name(&mut self, name: &str, namespace: &str, of: usize) {
        self.named.insert(full_name(name, namespace), of);
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}

impl Plan {
    pub(super) fn new(registered: &Registered, declared: &Declared) -> Result<Self, ()> {
        let mut reader = Reader { types: vec![], named: HashMap::new() };
        let parse = |text: &str| -> Result<Value, ()> {
            // A schema that is one word needs no quotes in some registries.
            serde_json::from_str(text).or_else(|_| {
                match text.bytes().all(|b| b.is_ascii_alphabetic()) && !text.is_empty() {
                    true => Ok(Value::from(text)),
                    false => Err(()),
                }
            })
        };
        for (_, schema) in &registered.references {
            reader.read(&parse(schema)?, "", DEPTH_MAX)?;
        }
        let root = reader.read(&parse(&registered.schema)?, "", DEPTH_MAX)?;
        let mut plan = Self { types: reader.types, root, hows: declared.hows.clone(), leaves: HashMap::new() };
        for how in &mut plan.hows {
            // A string in a json column is a document, whoever wrote it.
            how.connect = true;
        }
        let event = declared.declaration.envelope == Envelope::Debezium;
        match plan.event().filter(|_| event).map(<[_]>::to_vec) {
            Some(event) => {
                for (_, of) in event.iter().filter(|(name, _)| matches!(name.as_str(), "before" | "after")) {
                    plan.bind(*of, 0, declared, DEPTH_MAX);
                }
            }
            None => plan.bind(root, 0, declared, DEPTH_MAX),
        }
        if let (false, [column]) = (plan.is_record(root), declared.declaration.key.as_slice())
            && let Some(how) = plan.hows.get(*column)
        {
            let how = plan.how(root, *how);
            if let Some(slot) = plan.hows.get_mut(*column) {
                *slot = how;
            }
        }
        Ok(plan)
    }

    /// The columns that a row's fields are, in it and in the records below.
    fn bind(&mut self, of: usize, node: usize, declared: &Declared, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let fields = match self.shape(of) {
            Some(Shape::Union(branches)) => {
                for branch in branches.clone() {
                    self.bind(branch, node, declared, depth);
                }
                return;
            }
            Some(Shape::Record(fields)) if !self.leaves.contains_key(&(of, node)) => fields.clone(),
            _ => return,
        };
        let aliases = self.types.get(of).map(|t| t.aliases.clone()).unwrap_or_default();
        let mut leaves = vec![];
        for (at, (name, field)) in fields.iter().enumerate() {
            let find = |name: &str| declared.tree.find(node, name);
            let other = || aliases.get(at).into_iter().flatten().find_map(|alias| find(alias));
            let leaf = find(name).or_else(other);
            if let Some(leaf) = leaf.and_then(|leaf| declared.tree.leaf(node, leaf)) {
                for column in &leaf.columns {
                    let how = self.hows.get(*column).map(|how| self.how(*field, *how));
                    if let (Some(slot), Some(how)) = (self.hows.get_mut(*column), how) {
                        *slot = how;
                    }
                }
                if let Some(below) = leaf.below {
                    self.bind(*field, below, declared, depth);
                }
            }
            leaves.push(leaf);
        }
        self.leaves.insert((of, node), leaves);
    }

    /// How values of a type are written; of a union, of its branch that is not null.
    fn how(&self, of: usize, how: How) -> How {
        let Some(of) = self.types.get(of) else { return how };
        match &of.shape {
            Shape::Union(branches) => {
                let branch = branches.iter().find(|branch| !matches!(self.shape(**branch), Some(Shape::Null)));
                branch.map_or(how, |branch| self.how(*branch, how))
            }
            Shape::Array(items) => self.how(*items, how),
            Shape::Text => How { decimals: Decimals::String, ..how },
            _ => {
                let unit = match of.name.as_deref() {
                    Some("date") => Some(Unit::Days),
                    Some("time-millis" | "timestamp-millis" | "local-timestamp-millis") => Some(Unit::Millis),
                    Some("time-micros" | "timestamp-micros" | "local-timestamp-micros") => Some(Unit::Micros),
                    Some("timestamp-nanos" | "local-timestamp-nanos") => Some(Unit::Nanos),
                    Some("decimal") => return How { scale: Some(of.scale.unwrap_or(0)), ..how },
                    Some(name) => return how.named(name, of.scale),
                    None => return how,
                };
                How { unit, ..how }
            }
        }
    }

    pub(super) fn shape(&self, of: usize) -> Option<&Shape> {
        self.types.get(of).map(|of| &of.shape)
    }

    pub(super) fn is_record(&self, of: usize) -> bool {
        matches!(self.shape(of), Some(Shape::Record(_)))
    }

    /// The fields of Debezium's envelope.
    pub(super) fn event(&self) -> Option<&[(String, usize)]> {
        match self.shape(self.root) {
            Some(Shape::Record(fields)) => {
                let has = |name: &str| fields.iter().any(|(field, _)| field == name);
                (has("op") && has("after")).then_some(fields.as_slice())
            }
            _ => None,
        }
    }

    /// The type that the next value has: of a union, its branch.
    pub(super) fn chosen(&self, mut of: usize, bytes: &mut Bytes<'_>) -> Result<usize, Problem> {
        for _ in 0..DEPTH_MAX {
            match self.shape(of) {
                Some(Shape::Union(branches)) => {
                    let index = bytes.index(branches.len())?;
                    of = branches.get(index).copied().ok_or(WRONG_TYPE)?;
                }
                _ => return Ok(of),
            }
        }
        Err(DEEP)
    }

    /// A record's fields, into the row being built.
    pub(super) fn row(
        &self,
        of_type: usize,
        node: usize,
        bytes: &mut Bytes<'_>,
        rows: &mut Rows,
        take: Take,
        declared: &Declared,
    ) -> Result<(), Miss> {
        let chosen = self.chosen(of_type, bytes)?;
        let Some(Shape::Record(fields)) = self.shape(chosen) else { return Ok(self.skip(chosen, bytes, 0)?) };
        let Some(leaves) = self.leaves.get(&(chosen, node)) else { return Ok(self.skip(chosen, bytes, 0)?) };
        let placeholder = match declared.declaration.envelope {
            Envelope::None => None,
            Envelope::Debezium | Envelope::Connect => Some(&declared.placeholder),
        };
        for ((_, field), leaf) in fields.iter().zip(leaves) {
            let start = *bytes;
            let mut read = false;
            let leaf = leaf.and_then(|leaf| declared.tree.leaf(node, leaf));
            for column in leaf.iter().flat_map(|leaf| &leaf.columns) {
                if !rows.takes(take, *column, &declared.declaration.key) || rows.given(*column) {
                    continue;
                }
                let (Some(sink), Some(how)) = (rows.sink(*column), self.hows.get(*column)) else { continue };
                let mut there = start;
                let left_out = self.give(*field, &mut there, sink, how, placeholder, 0).map_err(of(*column))?;
                if left_out {
                    rows.left_out(*column);
                }
                (*bytes, read) = (there, true);
            }
            if !read {
                self.skip(*field, bytes, 0)?;
            }
            if let Some(below) = leaf.and_then(|leaf| leaf.below) {
                self.row(*field, below, &mut start.clone(), rows, take, declared)?;
            }
        }
        Ok(())
    }

    /// The key's fields as they stand in a row.
    pub(super) fn key_bytes<'a>(
        &self,
        of: usize,
        mut bytes: Bytes<'a>,
        declared: &Declared,
    ) -> Result<Vec<&'a [u8]>, Problem> {
        let (Some(Shape::Record(fields)), Some(leaves)) = (self.shape(of), self.leaves.get(&(of, 0))) else {
            return Ok(vec![]);
        };
        let mut found = vec![];
        let key = &declared.declaration.key;
        for ((_, field), leaf) in fields.iter().zip(leaves) {
            let start = bytes;
            self.skip(*field, &mut bytes, 0)?;
            let leaf = leaf.and_then(|leaf| declared.tree.leaf(0, leaf));
            if leaf.is_some_and(|leaf| leaf.columns.iter().any(|column| key.contains(column))) {
                found.push(bytes.since(start));
            }
        }
        Ok(found)
    }

    /// A value of any type to a column. Whether it is a placeholder, for which the column has NULL.
    pub(super) fn give(
        &self,
        of: usize,
        bytes: &mut Bytes<'_>,
        sink: &mut Sink,
        how: &How,
        placeholder: Option<&Placeholder>,
        depth: usize,
    ) -> Result<bool, Problem> {
        if depth > DEPTH_MAX {
            return Err(DEEP);
        }
        bytes.value()?;
        let of = self.chosen(of, bytes)?;
        let given = match self.shape(of).ok_or(WRONG_TYPE)? {
            Shape::Null => Given::Null,
            Shape::Bool => Given::Bool(bytes.bool()?),
            Shape::Int => Given::Int(bytes.long()?),
            Shape::Float => Given::Float32(f32::from_le_bytes(bytes.chunk()?)),
            Shape::Double => Given::Float(f64::from_le_bytes(bytes.chunk()?)),
            Shape::Bytes | Shape::Fixed(_) => {
                let value = match self.shape(of) {
                    Some(Shape::Fixed(size)) => bytes.take(*size)?,
                    _ => bytes.bytes()?,
                };
                if placeholder.is_some_and(|p| p.is_bytes(value)) {
                    sink.push_null();
                    return Ok(true);
                }
                Given::Bytes(value)
            }
            Shape::Text => {
                let text = bytes.text()?;
                if placeholder.is_some_and(|p| p.is_text(text)) {
                    sink.push_null();
                    return Ok(true);
                }
                Given::Text(text)
            }
            Shape::Enum(symbols) => {
                let index = bytes.index(symbols.len())?;
                Given::Text(symbols.get(index).ok_or(WRONG_TYPE)?)
            }
            Shape::Array(items) if sink.is_list() => {
                if let Some(placeholder) = placeholder
                    && self.is_placeholder(*items, *bytes, placeholder)?
                {
                    self.skip(of, bytes, depth)?;
                    sink.push_null();
                    return Ok(true);
                }
                loop {
                    let count = bytes.block()?;
                    if count == 0 {
                        sink.close(true)?;
                        return Ok(false);
                    }
                    for _ in 0..count {
                        let elements = sink.elements().ok_or(WRONG_TYPE)?;
                        self.give(*items, bytes, elements, how, None, depth + 1)?;
                    }
                }
            }
            Shape::Record(fields) if sink.is_numeric() => {
                let (mut scale, mut value) = (None, None);
                for (name, field) in fields {
                    match (name.as_str(), self.shape(*field)) {
                        ("scale", Some(Shape::Int)) => scale = i32::try_from(bytes.long()?).ok(),
                        ("value", Some(Shape::Bytes)) => value = Some(bytes.bytes()?),
                        _ => return Err(WRONG_TYPE),
                    }
                }
                let (scale, value) = scale.zip(value).ok_or(WRONG_TYPE)?;
                Given::Scaled { scale, value }
            }
            Shape::Record(_) | Shape::Map(_) | Shape::Array(_) => {
                let mut document = String::new();
                self.show(of, bytes, &mut document, depth)?;
                if placeholder.is_some_and(|p| p.is_document(&document)) {
                    sink.push_null();
                    return Ok(true);
                }
                sink.push(Given::Document(&document), how)?;
                return Ok(false);
            }
            // It was chosen from.
            Shape::Union(_) => return Err(WRONG_TYPE),
        };
        sink.push(given, how)?;
        Ok(false)
    }

    /// A list of the placeholder: one text, or its bytes as numbers.
    fn is_placeholder(&self, items: usize, mut bytes: Bytes<'_>, placeholder: &Placeholder) -> Result<bool, Problem> {
        let count = bytes.block()?;
        if count != 1 && count != placeholder.text.len() {
            return Ok(false);
        }
        for expected in placeholder.text.bytes().take(count) {
            let of = self.chosen(items, &mut bytes)?;
            let same = match self.shape(of) {
                Some(Shape::Text) if count == 1 => placeholder.is_text_of_list(bytes.text()?),
                Some(Shape::Int) if count > 1 => bytes.long()? == i64::from(expected.cast_signed()),
                _ => false,
            };
            if !same {
                return Ok(false);
            }
        }
        Ok(bytes.block()? == 0)
    }

    pub(super) fn skip(&self, of: usize, bytes: &mut Bytes<'_>, depth: usize) -> Result<(), Problem> {
        if depth > DEPTH_MAX {
            return Err(DEEP);
        }
        bytes.value()?;
        let of = self.chosen(of, bytes)?;
        match self.shape(of).ok_or(WRONG_TYPE)? {
            Shape::Null | Shape::Union(_) => {}
            Shape::Bool => drop(bytes.bool()?),
            Shape::Int => drop(bytes.long()?),
            Shape::Enum(symbols) => drop(bytes.index(symbols.len())?),
            Shape::Float => drop(bytes.take(4)?),
            Shape::Double => drop(bytes.take(8)?),
            Shape::Bytes | Shape::Text => drop(bytes.bytes()?),
            Shape::Fixed(size) => drop(bytes.take(*size)?),
            Shape::Record(fields) => {
                for (_, field) in fields {
                    self.skip(*field, bytes, depth + 1)?;
                }
            }
            Shape::Array(items) | Shape::Map(items) => loop {
                let count = bytes.block()?;
                if count == 0 {
                    break;
                }
                for _ in 0..count {
                    if matches!(self.shape(of), Some(Shape::Map(_))) {
                        bytes.bytes()?;
                    }
                    self.skip(*items, bytes, depth + 1)?;
                }
            },
        }
        Ok(())
    }

    /// A number that may be null.
    pub(super) fn number(&self, of: usize, bytes: &mut Bytes<'_>) -> Result<Option<i64>, Problem> {
        let of = self.chosen(of, bytes)?;
        match self.shape(of) {
            Some(Shape::Int) => bytes.long().map(Some),
            _ => self.skip(of, bytes, 0).map(|()| None),
        }
    }

    /// A text that may be null.
    pub(super) fn text<'a>(&'a self, of: usize, bytes: &mut Bytes<'a>) -> Result<Option<&'a str>, Problem> {
        let of = self.chosen(of, bytes)?;
        match self.shape(of) {
            Some(Shape::Text) => bytes.text().map(Some),
            Some(Shape::Enum(symbols)) => Ok(symbols.get(bytes.index(symbols.len())?).map(String::as_str)),
            _ => self.skip(of, bytes, 0).map(|()| None),
        }
    }
}
