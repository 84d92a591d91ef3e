//! Columns as schemas of Connect and Avro name them, and as values of JSON look. Doubt makes text or jsonb. Pure.

use serde_json::Value;

use super::Inferred;

/// A column that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) type_name: String,
    /// Not every row has it.
    pub(super) optional: bool,
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
            self.add(name, type_of(value, connect));
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
                *known = both(known.take(), found);
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
            (name, Found { type_name: found.unwrap_or("text".into()), optional: count < rows })
        };
        self.found.into_iter().map(column).collect()
    }
}

fn both(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (None, known) | (known, None) => known,
        (Some(one), Some(other)) if one == other => Some(one),
        (Some(one), Some(other)) => {
            let numbers = |name: &str| matches!(name, "int8" | "numeric");
            let texts = |name: &str| matches!(name, "text" | "date" | "timestamptz" | "timestamp" | "uuid");
            Some(
                match (one.as_str(), other.as_str()) {
                    (a, b) if numbers(a) && numbers(b) => "numeric",
                    (a, b) if texts(a) && texts(b) => "text",
                    _ => "jsonb",
                }
                .into(),
            )
        }
    }
}

/// `None` for null, which tells nothing.
fn type_of(value: &Value, connect: bool) -> Option<String> {
    let name = match value {
        Value::Null => return None,
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int8",
        Value::Number(_) => "numeric",
        Value::String(text) => type_of_text(text),
        Value::Object(object) if connect && object.len() == 2 && object.contains_key("scale") => "numeric",
        Value::Object(_) => "jsonb",
        Value::Array(elements) => {
            let inner = elements.iter().map(|element| type_of(element, connect)).fold(None, both);
            return Some(match inner.as_deref() {
                None | Some("jsonb") => "jsonb".into(),
                Some(inner) if inner.ends_with("[]") => "jsonb".into(),
                Some(inner) => format!("{inner}[]"),
            });
        }
    };
    Some(name.into())
}

fn type_of_text(text: &str) -> &'static str {
    let shape: String = text.chars().take(40).map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    let clock = |rest: &str| rest.trim_start_matches(['9', '.', ':']).to_owned();
    match shape.as_str() {
        "9999-99-99" => "date",
        _ if uuid::Uuid::try_parse(text).is_ok() && text.len() == 36 => "uuid",
        _ => match shape.strip_prefix("9999-99-99T99:99:99").map(clock).as_deref() {
            Some("Z" | "+99:99" | "-99:99") => "timestamptz",
            Some("") => "timestamp",
            _ => "text",
        },
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
            let found = Found { type_name: avro(of), optional: false };
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
