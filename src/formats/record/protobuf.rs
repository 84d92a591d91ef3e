//! Records in Protobuf, by a descriptor: of a file that the source names, or of a registry by the id before each record.
//! Fields are found by name; a message or a map is JSON for a json column. It reads through prost-reflect, which is total.

use std::path::Path;
use std::time::Instant;

use prost_reflect::{DescriptorPool, DynamicMessage, FileDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};

use super::avro::Ids;
use super::given::{Decimals, Given, How, Problem, Unit};
use super::learnt::Learnt;
use super::out::{Happened, Out};
use super::rows::{Miss, Rows, of};
use super::sink::Sink;
use super::{Declared, Record, Registered};
use crate::error::Result;
use crate::formats::change::Op;

const NO_FRAME: Problem = "does not begin with the id of a schema";
const NO_SCHEMA: Problem = "is written by a schema that the registry does not have or that cannot be read";
const NO_MESSAGE: Problem = "is not a message of its schema";

/// Messages as a `.proto` file has them.
#[derive(Clone, Debug)]
pub struct Messages(MessageDescriptor);

impl Messages {
    /// From a `.proto` file, with what it imports from beside it. Says what is wrong in words for the file's author.
    pub fn read(file: &Path, message: Option<&str>) -> Result<Self, String> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let files = protox::compile([file], [folder]).map_err(|e| format!("`proto` cannot be read: {e}"))?;
        let pool =
            DescriptorPool::from_file_descriptor_set(files).map_err(|e| format!("`proto` cannot be read: {e}"))?;
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let found = match message {
            Some(message) => pool.get_message_by_name(message),
            None => pool.get_file_by_name(name).and_then(|file| file.messages().next()),
        };
        found.map(Self).ok_or_else(|| match message {
            Some(message) => format!("`proto` has no message `{message}`"),
            None => "`proto` has no message".into(),
        })
    }
}

/// A file's own message, and what was learnt of ids: the messages of each schema's own file, and those within each, by their
/// places.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    file: Option<MessageDescriptor>,
    learnt: Learnt<FileDescriptor>,
}

impl Schemas {
    pub(super) fn new(messages: Option<&Messages>) -> Self {
        Self { file: messages.map(|messages| messages.0.clone()), learnt: Learnt::default() }
    }

    pub(super) fn unknown(&self, ids: Ids, records: &[Record<'_>]) -> Vec<u64> {
        if self.file.is_some() {
            return vec![];
        }
        let values: Vec<Record<'_>> =
            records.iter().map(|record| Record { value: record.value, ..Record::default() }).collect();
        ids.unknown(&values, self.learnt.knows(Instant::now()))
    }

    pub(super) fn learn(&self, id: u64, registered: &Registered) {
        self.learnt.learn(id, learnt(registered), registered.bytes(), Instant::now());
    }
}

/// Names that files of a registry have in its references alone.
const OWN_NAME: &str = "lakegate-registered.proto";

/// The texts of a registry, and Google's own files.
struct Texts<'r>(&'r Registered);

impl protox::file::FileResolver for Texts<'_> {
    fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
        let text = match name {
            OWN_NAME => Some(&self.0.schema),
            _ => self.0.references.iter().find(|(known, _)| known == name).map(|(_, text)| text),
        };
        match text {
            Some(text) => protox::file::File::from_source(name, text),
            None => protox::file::GoogleFileResolver::new().open_file(name),
        }
    }
}

/// What is nested deeper than that nobody writes, and the parser of such files would go down as deep as its stack is not.
const NESTED_MAX: usize = 64;

/// Brackets within each other are at most so deep, those in texts and comments left out; `false` too for a text or a comment
/// that does not end, behind which nothing can be counted.
fn is_flat(text: &str) -> bool {
    let mut rest = text.bytes().peekable();
    // Each kind by itself: a bracket that closes nothing must not take another one's place.
    let mut open = [0usize; 4];
    while let Some(byte) = rest.next() {
        match (byte, rest.peek()) {
            (b'/', Some(b'/')) => while rest.next().is_some_and(|byte| byte != b'\n') {},
            (b'/', Some(b'*')) => {
                rest.next();
                let mut before = 0;
                loop {
                    match rest.next() {
                        None => return false,
                        Some(b'/') if before == b'*' => break,
                        Some(byte) => before = byte,
                    }
                }
            }
            (quote @ (b'"' | b'\''), _) => loop {
                match rest.next() {
                    None | Some(b'\n') => return false,
                    Some(b'\\') => drop(rest.next()),
                    Some(byte) if byte == quote => break,
                    Some(_) => {}
                }
            },
            (bracket, _) => {
                let [braces, squares, angles, rounds] = &mut open;
                match bracket {
                    b'{' => *braces += 1,
                    b'[' => *squares += 1,
                    b'<' => *angles += 1,
                    b'(' => *rounds += 1,
                    b'}' => *braces = braces.saturating_sub(1),
                    b']' => *squares = squares.saturating_sub(1),
                    b'>' => *angles = angles.saturating_sub(1),
                    b')' => *rounds = rounds.saturating_sub(1),
                    _ => {}
                }
                if open.iter().sum::<usize>() > NESTED_MAX {
                    return false;
                }
            }
        }
    }
    true
}

fn learnt(registered: &Registered) -> Option<FileDescriptor> {
    let texts = registered.references.iter().map(|(_, text)| text);
    if !texts.chain([&registered.schema]).all(|text| is_flat(text)) {
        return None;
    }

    struct Owned(Registered);
    impl protox::file::FileResolver for Owned {
        fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
            Texts(&self.0).open_file(name)
        }
    }
    let mut compiler = protox::Compiler::with_file_resolver(Owned(registered.clone()));
    compiler.include_imports(true).open_file(OWN_NAME).ok()?;
    let pool = DescriptorPool::from_file_descriptor_set(compiler.file_descriptor_set()).ok()?;
    pool.get_file_by_name(OWN_NAME)
}

/// The columns that a schema's first message has, by PostgreSQL's names of their types, and the message's name. `None` where
/// the schema cannot be read. For whoever declares a topic.
pub fn columns(registered: &Registered) -> Option<(String, Vec<(String, String)>)> {
    let message = learnt(registered)?.messages().next()?;
    let columns = message.fields().map(|field| (field.name().to_owned(), type_of(&field)));
    Some((message.full_name().to_owned(), columns.collect()))
}

fn type_of(field: &prost_reflect::FieldDescriptor) -> String {
    let one = match field.kind() {
        Kind::Double => "float8",
        Kind::Float => "float4",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "int4",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint32 | Kind::Fixed32 => "int8",
        Kind::Uint64 | Kind::Fixed64 => "numeric(20,0)",
        Kind::Bool => "bool",
        Kind::String | Kind::Enum(_) => "text",
        Kind::Bytes => "bytea",
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => "timestamptz",
            "google.protobuf.BoolValue" => "bool",
            "google.protobuf.DoubleValue" => "float8",
            "google.protobuf.FloatValue" => "float4",
            "google.protobuf.Int32Value" => "int4",
            "google.protobuf.Int64Value" | "google.protobuf.UInt32Value" => "int8",
            "google.protobuf.UInt64Value" => "numeric(20,0)",
            "google.protobuf.StringValue" => "text",
            "google.protobuf.BytesValue" => "bytea",
            _ => "jsonb",
        },
    };
    // An array's elements are plain values; a map is a document.
    match (field.is_list(), field.is_map() || one == "jsonb") {
        (_, true) => "jsonb".to_owned(),
        (true, false) => format!("{one}[]"),
        (false, false) => one.to_owned(),
    }
}

pub(super) fn decode(declared: &Declared, records: &[Record<'_>], out: &mut Out<'_>) {
    for (index, record) in records.iter().enumerate() {
        let outcome = row(declared, record, out);
        out.take(index, record.at_ms, outcome);
    }
}

fn row(declared: &Declared, record: &Record<'_>, out: &mut Out<'_>) -> Result<Option<Happened>, Miss> {
    let Some(value) = record.value else {
        if let ([column], Some(key)) = (declared.declaration.key.as_slice(), record.key)
            && let (Some(sink), Ok(text)) = (out.rows.sink(*column), std::str::from_utf8(key))
        {
            sink.push(Given::Spelt(text), &super::sink::PLAIN).map_err(of(*column))?;
        }
        return Ok(Some(Happened::of(Op::Delete)));
    };
    let (message, bytes) = match &declared.protobuf.file {
        Some(message) => (message.clone(), value),
        None => {
            let (id, bytes) = declared.declaration.ids.split(value).ok_or(NO_FRAME)?;
            let file = declared.protobuf.learnt.get(id).ok_or(NO_SCHEMA)?;
            named(&file, bytes)?
        }
    };
    let message = DynamicMessage::decode(message, bytes).map_err(|_| NO_MESSAGE)?;
    fields(declared, 0, &message, &mut out.rows)?;
    Ok(Some(Happened::of(Op::Insert)))
}

/// Confluent's way to say which message of a file it is: how many places, then the places, each a zigzag number; a zero
/// alone is the first message.
fn named<'b>(file: &FileDescriptor, bytes: &'b [u8]) -> Result<(MessageDescriptor, &'b [u8]), Problem> {
    let mut bytes = super::avro::Bytes::new(bytes);
    let count = bytes.long()?;
    let mut found: Option<MessageDescriptor> = None;
    for _ in 0..count.clamp(1, 64) {
        let place = if count == 0 { 0 } else { usize::try_from(bytes.long()?).map_err(|_| NO_MESSAGE)? };
        found = match found {
            None => file.messages().nth(place),
            Some(outer) => outer.child_messages().nth(place),
        };
        if found.is_none() {
            return Err(NO_MESSAGE);
        }
    }
    Ok((found.ok_or(NO_MESSAGE)?, bytes.rest()))
}

fn fields(declared: &Declared, node: usize, message: &DynamicMessage, rows: &mut Rows) -> Result<(), Miss> {
    for field in message.descriptor().fields() {
        let leaf = declared.tree.find(node, field.name()).and_then(|leaf| declared.tree.leaf(node, leaf));
        let Some(leaf) = leaf else { continue };
        // A field that can be absent and is, is NULL; one that cannot has the value that stands for absence.
        let there = !field.supports_presence() || message.has_field(&field);
        let value = message.get_field(&field);
        for column in &leaf.columns {
            if !rows.wants(*column) || rows.given(*column) {
                continue;
            }
            let (Some(sink), Some(how)) = (rows.sink(*column), declared.hows.get(*column)) else { continue };
            let how = How { connect: true, decimals: Decimals::String, ..*how };
            match there {
                true => give(&field, &value, sink, &how).map_err(of(*column))?,
                false => sink.push_null(),
            }
        }
        if let (Some(below), Value::Message(inner), true) = (leaf.below, value.as_ref(), there) {
            fields(declared, below, inner, rows)?;
        }
    }
    Ok(())
}

fn give(field: &prost_reflect::FieldDescriptor, value: &Value, sink: &mut Sink, how: &How) -> Result<(), Problem> {
    let given = match value {
        Value::Bool(value) => Given::Bool(*value),
        Value::I32(value) => Given::Int((*value).into()),
        Value::I64(value) => Given::Int(*value),
        Value::U32(value) => Given::Int((*value).into()),
        Value::U64(value) => return sink.push(Given::Digits(itoa::Buffer::new().format(*value)), how),
        Value::F32(value) => Given::Float32(*value),
        Value::F64(value) => Given::Float(*value),
        Value::String(text) => Given::Text(text),
        Value::Bytes(bytes) => Given::Bytes(bytes),
        Value::EnumNumber(number) => {
            let kind = field.kind();
            let name = kind.as_enum().and_then(|of| of.get_value(*number)).map(|value| value.name().to_owned());
            return match name {
                Some(name) => sink.push(Given::Text(&name), how),
                None => sink.push(Given::Text(itoa::Buffer::new().format(*number)), how),
            };
        }
        Value::List(values) if sink.is_list() => {
            for value in values {
                let elements = sink.elements().ok_or(NO_MESSAGE)?;
                give(field, value, elements, how)?;
            }
            return sink.close(true);
        }
        Value::Message(message) if !sink.is_document() => return known(message, sink, how),
        value => {
            let document = shown(value)?;
            return sink.push(Given::Document(&document), how);
        }
    };
    sink.push(given, how)
}

/// Google's own messages that are values.
fn known(message: &DynamicMessage, sink: &mut Sink, how: &How) -> Result<(), Problem> {
    let number = |name: &str| {
        message.get_field_by_name(name).and_then(|value| match value.as_ref() {
            Value::I64(value) => Some(*value),
            Value::I32(value) => Some((*value).into()),
            _ => None,
        })
    };
    let descriptor = message.descriptor();
    match descriptor.full_name() {
        "google.protobuf.Timestamp" | "google.protobuf.Duration" => {
            let micros = || -> Option<i64> {
                number("seconds")?.checked_mul(1_000_000)?.checked_add(number("nanos")?.div_euclid(1_000))
            };
            let micros = micros().ok_or(super::sink::TOO_LARGE)?;
            sink.push(Given::Int(micros), &How { unit: Some(Unit::Micros), connect: false, ..*how })
        }
        name if name.starts_with("google.protobuf.") && name.ends_with("Value") => {
            match message.descriptor().get_field_by_name("value") {
                Some(field) => give(&field, message.get_field(&field).as_ref(), sink, how),
                None => Err(super::sink::WRONG_TYPE),
            }
        }
        _ => Err(super::sink::WRONG_TYPE),
    }
}

/// As Protobuf's own JSON has it, but for enums, which are numbers here.
fn shown(value: &Value) -> Result<String, Problem> {
    match value {
        Value::Message(message) => {
            let field = |(field, value): (prost_reflect::FieldDescriptor, &Value)| -> Result<String, Problem> {
                Ok(format!("{}:{}", serde_json::Value::from(field.json_name()), shown(value)?))
            };
            Ok(format!("{{{}}}", message.fields().map(field).collect::<Result<Vec<_>, _>>()?.join(",")))
        }
        Value::List(values) => Ok(format!("[{}]", values.iter().map(shown).collect::<Result<Vec<_>, _>>()?.join(","))),
        Value::Map(entries) => {
            let entry = |(key, value): (&prost_reflect::MapKey, &Value)| -> Result<String, Problem> {
                let key = match key {
                    prost_reflect::MapKey::String(text) => text.clone(),
                    prost_reflect::MapKey::Bool(value) => value.to_string(),
                    prost_reflect::MapKey::I32(value) => value.to_string(),
                    prost_reflect::MapKey::I64(value) => value.to_string(),
                    prost_reflect::MapKey::U32(value) => value.to_string(),
                    prost_reflect::MapKey::U64(value) => value.to_string(),
                };
                Ok(format!("{}:{}", serde_json::Value::from(key), shown(value)?))
            };
            let mut entries = entries.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
            entries.sort_unstable();
            Ok(format!("{{{}}}", entries.join(",")))
        }
        Value::String(text) => Ok(serde_json::Value::from(text.as_str()).to_string()),
        Value::Bytes(bytes) => {
            use base64::Engine;
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            Ok(serde_json::Value::from(text).to_string())
        }
        Value::Bool(value) => Ok(value.to_string()),
        Value::I32(value) | Value::EnumNumber(value) => Ok(value.to_string()),
        Value::I64(value) => Ok(value.to_string()),
        Value::U32(value) => Ok(value.to_string()),
        Value::U64(value) => Ok(value.to_string()),
        Value::F32(value) => Ok(serde_json::Value::from(*value).to_string()),
        Value::F64(value) => Ok(serde_json::Value::from(*value).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt_from(schema: &str) -> bool {
        learnt(&Registered { schema: schema.into(), references: vec![] }).is_some()
    }

    #[test]
    fn files_that_are_nested_too_deep_are_not_read() {
        let nested = |depth: usize| {
            let (open, close) = ("message a {".repeat(depth), "}".repeat(depth));
            format!("syntax = \"proto3\"; {open} int64 b = 1; {close}")
        };
        assert!(learnt_from(&nested(8)));
        assert!(!learnt_from(&nested(NESTED_MAX + 1)));
        // The process would end here.
        assert!(!learnt_from(&nested(200_000)));
        assert!(!learnt_from(&format!("option (a) = {};", "{a:".repeat(200_000))));
        assert!(!learnt_from(&format!("message m {{ int64 a = 1 {}", "[".repeat(200_000))));
    }

    #[test]
    fn brackets_in_texts_and_comments_are_none() {
        let many = "{".repeat(NESTED_MAX + 1);
        assert!(is_flat(&format!("// {many}\nmessage a {{}}")));
        assert!(is_flat(&format!("/* {many} **/ message a {{}}")));
        assert!(is_flat(&format!("option a = \"{many}\\\"{many}\"; option b = '{many}\"';")));
        assert!(!is_flat(&format!("/* */ {many}")));
        assert!(!is_flat(&"{>".repeat(NESTED_MAX + 1)));
        assert!(!is_flat(&format!("option a = \"\"; {many}")));
        assert!(!is_flat(&format!("option a = \"\\\\\"; {many}")));
        // What does not end may hide anything.
        assert!(!is_flat("option a = \"b\n\";"));
        assert!(!is_flat("/* a"));
        assert!(!is_flat("/*/ a"));
    }
}
