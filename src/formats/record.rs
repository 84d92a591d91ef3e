//! Records of a topic → changes of a table, by what its source file declares: the format of a record's bytes, the envelope
//! that its value lies in, columns with PostgreSQL's types. Total over any bytes: a record that does not fit is told by its
//! place and column, never by its value, and never changes its neighbours. No I/O: what a registry has to say is asked for
//! beforehand ([`Decoder::unknown`], [`Decoder::learn`]). It knows no offsets and no topic.

mod avro;
mod csv;
mod decimal;
mod envelope;
mod given;
mod json;
mod learnt;
mod moment;
mod out;
mod protobuf;
mod raw;
mod rows;
mod sink;
#[cfg(test)]
mod tests;
mod text;
mod types;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};

pub use self::avro::Ids;
pub use self::csv::{Csv, TOO_MANY_FIELDS, csv_fields};
pub use self::given::{Decimals, Encoding, Problem, Unit};
pub use self::protobuf::{Messages, columns as protobuf_columns};
pub use self::types::any_numeric;
use super::change::{Changed, Op};
use crate::error::{Error, Result};
use given::How;
use json::tree::Tree;
use out::Out;
use sink::Sink;

/// How the bytes of keys and values are spelt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Json,
    Csv,
    /// Each behind the id of its schema.
    Avro,
    Protobuf,
    /// The one column is the value.
    Raw,
}

/// What a value is of its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Envelope {
    /// The row. One without a value is the end of its key's row.
    #[default]
    None,
    /// What happened, with the row before and after it.
    Debezium,
    /// The row, written by Kafka Connect: in Connect's types, perhaps beside its schema, perhaps with what Debezium's
    /// `ExtractNewRecordState` adds to it.
    Connect,
}

/// One column as the source file declares it.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name and type, with oid and modifier.
    pub field: Field,
    /// The names of the members from the row to the value.
    pub path: Vec<String>,
    pub unit: Option<Unit>,
    pub encoding: Encoding,
    /// Rows without the value have NULL there. Without, such a record does not fit, but where the envelope is none.
    pub optional: bool,
}

/// What a topic's records are.
#[derive(Clone, Debug)]
pub struct Declaration {
    pub format: Format,
    pub envelope: Envelope,
    pub columns: Vec<Column>,
    /// Those that tell rows apart, in their order.
    pub key: Vec<usize>,
    pub decimals: Decimals,
    /// What Debezium writes in the place of a large value that did not change.
    pub placeholder: String,
    pub ids: Ids,
    pub csv: Csv,
    /// Before JSON a serializer may have written the id of a schema, as those of topics do.
    pub is_framed: bool,
    /// The messages of Protobuf, where no registry has them.
    pub messages: Option<Messages>,
}

/// What Debezium writes unless it is told otherwise.
pub const PLACEHOLDER: &str = "__debezium_unavailable_value";

impl Declaration {
    pub fn new(format: Format, envelope: Envelope, columns: Vec<Column>) -> Self {
        Self {
            format,
            envelope,
            columns,
            key: vec![],
            decimals: Decimals::default(),
            placeholder: PLACEHOLDER.into(),
            ids: Ids::default(),
            csv: Csv::default(),
            is_framed: false,
            messages: None,
        }
    }
}

/// The text of a value in JSON, without what a serializer wrote before it.
pub fn json_text(value: &[u8]) -> &[u8] {
    json::unframed(value)
}

/// One record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    pub key: Option<&'a [u8]>,
    /// `None`: a tombstone.
    pub value: Option<&'a [u8]>,
    pub at_ms: Option<i64>,
    /// The header `__debezium.oldkey`: the key that the row had before it got this one.
    pub old_key: Option<&'a [u8]>,
}

/// The header that [`Record::old_key`] is the value of.
pub const OLD_KEY: &str = "__debezium.oldkey";

/// Where a change stands in the database that it was made in, as far as its envelope says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub lsn: Option<u64>,
    /// Of the transaction before it, and of the event itself: `source.sequence`.
    pub sequence: Option<(u64, u64)>,
    pub transaction: Option<i64>,
    /// Of the event among those of its transaction; only with `provide.transaction.metadata`.
    pub order: Option<i64>,
}

/// What becomes of a record that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// It makes no row.
    Leave,
    /// Its row holds NULLs only, and counts as an insert.
    Null,
}

/// Why a record does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its place in the slice that was decoded.
    pub index: usize,
    /// `None` where the record as a whole is not what it should be.
    pub column: Option<String>,
    /// Holds nothing of the record.
    pub problem: Problem,
}

/// Changes in the order of their records. A record in neither `kept` nor `faults` changes nothing: a tombstone behind a
/// delete, a message of the database that is about no row.
#[derive(Debug)]
pub struct Decoded {
    pub changed: Changed,
    /// Of each row its record's place, ascending.
    pub kept: Vec<usize>,
    /// The rows as they were, NULL where the envelope does not say; only where it was asked for.
    pub before: Option<RecordBatch>,
    /// When each happened, in microseconds of the Unix epoch: as the envelope says, else the record.
    pub at_micros: Vec<Option<i64>>,
    pub positions: Vec<Position>,
    /// In the order of their records.
    pub faults: Vec<Fault>,
}

/// Knows the columns; one serves any number of slices, and threads.
#[derive(Clone, Debug)]
pub struct Decoder {
    declared: Arc<Declared>,
    /// `None`: all of them.
    wanted: Option<Arc<[bool]>>,
    before: bool,
}

/// What follows from a declaration alone.
#[derive(Debug)]
struct Declared {
    declaration: Declaration,
    schema: SchemaRef,
    hows: Vec<How>,
    tree: Tree,
    placeholder: envelope::Placeholder,
    avro: avro::Schemas,
    protobuf: protobuf::Schemas,
}

impl Decoder {
    /// 0A000 naming a column of a type that records are not read as.
    pub fn new(declaration: Declaration) -> Result<Self> {
        let mut fields = vec![];
        let mut hows = vec![];
        for column in &declaration.columns {
            let field = column.field.clone().with_nullable(true);
            let sink = Sink::new(&field);
            let unread =
                || Error::unsupported(format_args!("reading records as the type of column \"{}\"", field.name()));
            hows.push(envelope::how(&declaration, column, sink.ok_or_else(unread)?.ty()));
            fields.push(field);
        }
        if let Some(column) = declaration.key.iter().find(|column| **column >= fields.len()) {
            return Err(Error::internal(format!("a key of column {column}, which is not declared")));
        }
        if declaration.format == Format::Raw && fields.len() != 1 {
            return Err(Error::unsupported("a topic of raw values with other than one column"));
        }
        let placeholder = envelope::Placeholder::new(&declaration.placeholder);
        let tree = Tree::new(declaration.columns.iter().map(|column| column.path.as_slice()));
        let protobuf = protobuf::Schemas::new(declaration.messages.as_ref());
        let (schema, avro) = (Arc::new(Schema::new(fields)), avro::Schemas::default());
        let declared = Declared { declaration, schema, hows, tree, placeholder, avro, protobuf };
        Ok(Self { declared: Arc::new(declared), wanted: None, before: false })
    }

    /// The declared columns, all nullable.
    pub fn schema(&self) -> &SchemaRef {
        &self.declared.schema
    }

    /// Which columns tell rows apart.
    pub fn key(&self) -> &[usize] {
        &self.declared.declaration.key
    }

    pub fn envelope(&self) -> Envelope {
        self.declared.declaration.envelope
    }

    /// One that reads these columns and passes over the others, whether they fit or not. What it makes has these alone, in
    /// the order of the declaration.
    pub fn only(&self, columns: &[usize]) -> Self {
        let wanted = (0..self.declared.schema.fields().len()).map(|column| columns.contains(&column)).collect();
        Self { wanted: Some(wanted), ..self.clone() }
    }

    /// One that gives rows as they were, too.
    pub fn with_before(&self) -> Self {
        Self { before: true, ..self.clone() }
    }

    /// What a record comes to depends on what a registry answers.
    pub fn asks_registry(&self) -> bool {
        match self.declared.declaration.format {
            Format::Avro => true,
            Format::Protobuf => self.declared.declaration.messages.is_none(),
            Format::Json | Format::Csv | Format::Raw => false,
        }
    }

    /// Ids of schemas that these records are written by and that have to be asked for, each once: those that were not learnt
    /// yet, or so long ago as ones that there are not that there may be by now.
    pub fn unknown(&self, records: &[Record<'_>]) -> Vec<u64> {
        match self.declared.declaration.format {
            Format::Avro => self.declared.avro.unknown(self.declared.declaration.ids, records),
            Format::Protobuf => self.declared.protobuf.unknown(self.declared.declaration.ids, records),
            Format::Json | Format::Csv | Format::Raw => vec![],
        }
    }

    /// What the registry says of an id. A schema that cannot be read is learnt as one that no record fits, for a while.
    pub fn learn(&self, id: u64, schema: &Registered) {
        match self.declared.declaration.format {
            Format::Avro => self.declared.avro.learn(id, schema, &self.declared),
            Format::Protobuf => self.declared.protobuf.learn(id, schema),
            Format::Json | Format::Csv | Format::Raw => {}
        }
    }

    /// Errors are the decoder's own; a record never causes one.
    pub fn decode(&self, records: &[Record<'_>], misfit: Misfit) -> Result<Decoded> {
        let mut out = Out::new(&self.declared, self.wanted.as_deref(), self.before, misfit)?;
        match self.declared.declaration.format {
            Format::Json => json::decode(&self.declared, records, &mut out),
            Format::Avro => avro::decode(&self.declared, records, &mut out),
            Format::Csv => csv::decode(&self.declared, records, &mut out),
            Format::Protobuf => protobuf::decode(&self.declared, records, &mut out),
            Format::Raw => raw::decode(records, &mut out),
        }
        out.finish()
    }
}

/// A schema as a registry has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub struct Registered {
    pub schema: String,
    /// Schemas that it names, each whole, those that name no other first.
    #[serde(skip)]
    pub references: Vec<(String, String)>,
}

impl Registered {
    /// How long its texts are.
    fn bytes(&self) -> usize {
        self.schema.len() + self.references.iter().map(|(name, text)| name.len() + text.len()).sum::<usize>()
    }
}

/// What a delete or an update of these is called in `_op`.
pub(super) fn op_of(letter: &str) -> Option<Op> {
    match letter {
        "c" | "r" => Some(Op::Insert),
        "u" => Some(Op::Update),
        "d" => Some(Op::Delete),
        "t" => Some(Op::Truncate),
        _ => None,
    }
}
