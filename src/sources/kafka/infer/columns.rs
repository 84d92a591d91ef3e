//! Columns as schemas of Connect and Avro name them, and as values of JSON look. Doubt makes text or jsonb. Pure.

use serde_json::Value;

use super::Inferred;
use crate::sources::guess;

/// A column that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) type_name: String,
    /// Not every row has it.
    pub(super) optional: bool,
    /// In how many records it was, and of how many, where that was not all.
    pub(super) seen: Option<(usize, usize)>,
}

/// Columns in the order in which they were met.
#[derive(Default)]
pub(super) struct Columns {
    /// Name, type where it is known yet, and how many rows had it.
    found: Vec<(String, Option<String>, usize)>,
    rows: usize,
    /// A string that is a number with a point was seen.
    digits: bool,
}

impl Columns {
    /// A row's own members.
    pub(super) fn of_value(&mut self, row: &Value, connect: bool) {
        let Some(row) = row.as_object() else { return };
        self.rows += 1;
        for (name, value) in row.iter().filter(|(name, _)| !name.starts_with("__")) {
            let text = value.as_str().unwrap_or_default();
            self.digits |= text.contains('.') && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.'));
            self.add(name, guess::of_json(value, connect));
        }
    }

    /// The fields of a schema of Connect.
    pub(super) fn of_connect(&mut self, schema: Option<&Value>) {
        let fields = schema.and_then(|schema| schema.get("fields")).and_then(Value::as_array);
        self.rows += 1;
        for field in fields.into_iter().flatten() {
            if let Some(name) = field.get("field").and_then(Value::as_str).filter(|name| !name.starts_with("__")) {
                self.add(name, Some(of_connect(field)));
            }
        }
    }

    fn add(&mut self, name: &str, found: Option<String>) {
        match self.found.iter_mut().find(|(known, ..)| known == name) {
            Some((_, known, count)) => {
                *known = guess::both(known.take(), found);
                *count += 1;
            }
            None => self.found.push((name.to_owned(), found, 1)),
        }
    }

    pub(super) fn has_digits(&self) -> bool {
        self.digits
    }

    pub(super) fn finish(self) -> Vec<(String, Found)> {
        let rows = self.rows;
        let column = |(name, found, count): (String, Option<String>, usize)| {
            let optional = count < rows;
            (
                name,
                Found { type_name: found.unwrap_or("text".into()), optional, seen: optional.then_some((count, rows)) },
            )
        };
        self.found.into_iter().map(column).collect()
    }
}

/// A field of a schema of Connect, by its name.
pub(super) fn field<'v>(schema: &'v Value, name: &str) -> Option<&'v Value> {
    let fields = schema.get("fields").and_then(Value::as_array)?;
    fields.iter().find(|field| field.get("field").and_then(Value::as_str) == Some(name))
}

fn of_connect(schema: &Value) -> String {
    let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
    let parameter = |key: &str| schema.get("parameters").and_then(|all| all.get(key)).and_then(Value::as_str);
    if let Some(named) = named(text("name"), parameter("connect.decimal.precision"), parameter("scale")) {
        return named;
    }
    match text("type") {
        "int8" | "int16" => "int2".into(),
        "int32" => "int4".into(),
        "int64" => "int8".into(),
        "float" => "float4".into(),
        "double" => "float8".into(),
        "boolean" => "bool".into(),
        "bytes" => "bytea".into(),
        "array" => array(schema.get("items").map(of_connect)),
        "struct" | "map" => "jsonb".into(),
        _ => "text".into(),
    }
}

fn array(items: Option<String>) -> String {
    match items {
        Some(items) if items != "jsonb" && !items.ends_with("[]") => format!("{items}[]"),
        _ => "jsonb".into(),
    }
}

/// Types by the names of Connect and Debezium.
fn named(name: &str, precision: Option<&str>, scale: Option<&str>) -> Option<String> {
    Some(match name {
        "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date" => "date".into(),
        "io.debezium.time.Time" | "org.apache.kafka.connect.data.Time" => "time(3)".into(),
        "io.debezium.time.MicroTime" | "io.debezium.time.NanoTime" => "time".into(),
        "io.debezium.time.ZonedTime" => "timetz".into(),
        "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp" => "timestamp(3)".into(),
        "io.debezium.time.MicroTimestamp" | "io.debezium.time.NanoTimestamp" => "timestamp".into(),
        "io.debezium.time.ZonedTimestamp" => "timestamptz".into(),
        "io.debezium.time.MicroDuration" | "io.debezium.time.NanoDuration" | "io.debezium.time.Interval" => {
            "interval".into()
        }
        "io.debezium.data.Uuid" => "uuid".into(),
        "io.debezium.data.Json" => "jsonb".into(),
        "io.debezium.data.VariableScaleDecimal" => "numeric".into(),
        "io.debezium.data.Bits" => "varbit".into(),
        "io.debezium.data.geometry.Point" => "point".into(),
        "io.debezium.data.geometry.Geometry" | "io.debezium.data.geometry.Geography" | "io.debezium.data.Enum" => {
            "text".into()
        }
        "org.apache.kafka.connect.data.Decimal" => {
            let number = |text: Option<&str>| text.and_then(|text| text.parse::<u16>().ok());
            match (number(precision), number(scale)) {
                (Some(precision), Some(scale)) => format!("numeric({precision},{scale})"),
                _ => "numeric".into(),
            }
        }
        _ => return None,
    })
}

/// A schema of Avro: of a row, or of Debezium's event.
pub(super) fn of_avro(schema: &Value) -> Inferred {
    let mut inferred = Inferred { format: "avro", ..Inferred::default() };
    let fields = |of: &Value| of.get("fields").and_then(Value::as_array).cloned().unwrap_or_default();
    let named = |fields: &[Value], name: &str| {
        fields.iter().find(|field| field.get("name").and_then(Value::as_str) == Some(name)).cloned()
    };
    let mut row = fields(schema);
    if let (Some(before), Some(_)) = (named(&row, "before"), named(&row, "op")) {
        inferred.envelope = "debezium";
        // The record is defined where it is met first, and `after` only names it.
        row = before.get("type").map(chosen).map(|of| fields(&of)).unwrap_or_default();
    }
    for field in row {
        if let (Some(name), Some(of)) = (field.get("name").and_then(Value::as_str), field.get("type")) {
            let found = Found { type_name: avro(of), optional: false, seen: None };
            inferred.columns.push((name.to_owned(), found));
        }
    }
    inferred
}

/// Of a union the branch that is not null.
fn chosen(of: &Value) -> Value {
    match of {
        Value::Array(branches) => {
            branches.iter().find(|branch| branch.as_str() != Some("null")).cloned().unwrap_or(Value::Null)
        }
        other => other.clone(),
    }
}

fn avro(of: &Value) -> String {
    let of = chosen(of);
    let text = |key: &str| of.get(key).and_then(Value::as_str).unwrap_or_default();
    let number = |key: &str| of.get(key).and_then(Value::as_u64).map(|number| number.to_string());
    if let Some(named) = named(text("connect.name"), number("precision").as_deref(), number("scale").as_deref()) {
        return named;
    }
    let kind = of.as_str().unwrap_or_else(|| text("type"));
    match text("logicalType") {
        "decimal" => match number("precision") {
            Some(precision) => format!("numeric({precision},{})", number("scale").unwrap_or("0".into())),
            None => "numeric".into(),
        },
        "date" => "date".into(),
        "time-millis" | "time-micros" => "time".into(),
        "timestamp-millis" | "timestamp-micros" | "timestamp-nanos" => "timestamptz".into(),
        "local-timestamp-millis" | "local-timestamp-micros" | "local-timestamp-nanos" => "timestamp".into(),
        "uuid" => "uuid".into(),
        _ => match kind {
            "int" if text("connect.type") == "int16" || text("connect.type") == "int8" => "int2".into(),
            "int" => "int4".into(),
            "long" => "int8".into(),
            "float" => "float4".into(),
            "double" => "float8".into(),
            "boolean" => "bool".into(),
            "bytes" | "fixed" => "bytea".into(),
            "string" | "enum" => "text".into(),
            "array" => array(of.get("items").map(avro)),
            _ => "jsonb".into(),
        },
    }
}

/// A schema of JSON Schema: of a row, or of Debezium's event.
pub(super) fn of_json_schema(schema: &Value) -> Inferred {
    let mut inferred = Inferred { format: "json", ..Inferred::default() };
    let properties = |of: &Value| meant(schema, of).get("properties").and_then(Value::as_object).cloned();
    let mut row = properties(schema).unwrap_or_default();
    if let (Some(before), true) = (row.get("before").and_then(properties), row.contains_key("op")) {
        inferred.envelope = "debezium";
        row = before;
    }
    for (name, of) in row {
        inferred.columns.push((name, Found { type_name: json_schema(schema, &of), optional: false, seen: None }));
    }
    inferred
}

/// Of alternatives the one that is not null, and what a reference within the schema names.
fn meant<'s>(schema: &'s Value, of: &'s Value) -> &'s Value {
    let mut of = of;
    // References may go in a circle.
    for _ in 0..8 {
        let is_null = |of: &&Value| of.get("type").and_then(Value::as_str) == Some("null");
        let several = of.get("oneOf").or_else(|| of.get("anyOf")).and_then(Value::as_array);
        let named = of.get("$ref").and_then(Value::as_str).and_then(|path| schema.pointer(path.strip_prefix('#')?));
        match (named, several.and_then(|several| several.iter().find(|one| !is_null(one)))) {
            (Some(next), _) | (None, Some(next)) => of = next,
            (None, None) => break,
        }
    }
    of
}

fn json_schema(schema: &Value, of: &Value) -> String {
    let of = meant(schema, of);
    let text = |key: &str| of.get(key).and_then(Value::as_str).unwrap_or_default();
    if let Some(named) = named(text("title"), None, None) {
        return named;
    }
    let mut kinds = match of.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(kind)) => vec![kind.as_str()],
        _ => vec![],
    };
    kinds.retain(|kind| *kind != "null");
    match (kinds.as_slice(), text("connect.type"), text("format")) {
        (["integer"], "int8" | "int16", _) => "int2".into(),
        (["integer"], "int32", _) => "int4".into(),
        (["integer"], ..) => "int8".into(),
        (["number"], "float32", _) => "float4".into(),
        (["number"], "float64", _) => "float8".into(),
        (["number"] | ["integer", "number"] | ["number", "integer"], ..) => "numeric".into(),
        (["boolean"], ..) => "bool".into(),
        (["string"], "bytes", _) => "bytea".into(),
        (["string"], _, "date-time") => "timestamptz".into(),
        (["string"], _, "date") => "date".into(),
        (["string"], _, "uuid") => "uuid".into(),
        (["string"], ..) => "text".into(),
        (["array"], ..) => array(of.get("items").map(|items| json_schema(schema, items))),
        _ => "jsonb".into(),
    }
}
