//! One value as a record gives it, before it is a value of its column's type, and what the record or its schema says about
//! how it is written. It converts nothing.

/// What is wrong with a record or a value of it, as the end of a sentence. Holds nothing of the record.
pub type Problem = &'static str;

#[derive(Clone, Copy, Debug)]
pub(super) enum Given<'a> {
    Null,
    Bool(bool),
    /// A number of JSON's, by its digits.
    Digits(&'a str),
    Int(i64),
    Float(f64),
    Float32(f32),
    /// A string.
    Text(&'a str),
    Bytes(&'a [u8]),
    /// `value · 10^-scale`, the value in two's complement, the highest byte first.
    Scaled {
        scale: i32,
        value: &'a [u8],
    },
    /// Anything, as JSON.
    Document(&'a str),
    /// As PostgreSQL's input function of the column's type reads it.
    Spelt(&'a str),
}

/// What a number in a column of days and times counts; moments from 1970, times from midnight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub enum Unit {
    #[serde(rename = "d")]
    Days,
    #[serde(rename = "s")]
    Seconds,
    #[default]
    #[serde(rename = "ms")]
    Millis,
    #[serde(rename = "us")]
    Micros,
    #[serde(rename = "ns")]
    Nanos,
}

/// How bytes stand in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    #[default]
    Base64,
    #[serde(rename = "base64url")]
    Base64Url,
    Hex,
}

/// What a string in a numeric column is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decimals {
    /// Base64 of the digits as a whole number, without the scale: Debezium's default, `precise`.
    #[default]
    Precise,
    /// A number in decimal digits: Debezium's `string` and `double`.
    String,
}

/// How a column's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct How {
    /// `None`: no number is expected there.
    pub(super) unit: Option<Unit>,
    /// Of decimals that come as bytes; the column's where it is not said.
    pub(super) scale: Option<i32>,
    pub(super) decimals: Decimals,
    pub(super) encoding: Encoding,
    /// Written by Kafka Connect: a json column's string holds a document, times and dates may have a `Z`, BC and far years
    /// are spelt as Java does, infinities are words and numbers.
    pub(super) connect: bool,
}

impl How {
    /// As the schema of Connect names the type; what the name does not decide stays.
    pub(super) fn named(self, name: &str, scale: Option<i32>) -> Self {
        let unit = match name {
            "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date" => Some(Unit::Days),
            "io.debezium.time.Time"
            | "io.debezium.time.Timestamp"
            | "org.apache.kafka.connect.data.Time"
            | "org.apache.kafka.connect.data.Timestamp" => Some(Unit::Millis),
            "io.debezium.time.MicroTime" | "io.debezium.time.MicroTimestamp" | "io.debezium.time.MicroDuration" => {
                Some(Unit::Micros)
            }
            "io.debezium.time.NanoTime" | "io.debezium.time.NanoTimestamp" | "io.debezium.time.NanoDuration" => {
                Some(Unit::Nanos)
            }
            "org.apache.kafka.connect.data.Decimal" => return Self { scale, decimals: Decimals::Precise, ..self },
            _ => return self,
        };
        Self { unit, ..self }
    }
}
