//! What stands in the mounted schemas: tables, views and partitioned parents with their columns, from the source's
//! catalogs. It reads no rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::physical_plan::ExecutionPlan;
use tokio_postgres::Row;

mod keys;

use super::change::Changing;
use super::connect::{Pool, Use};
use super::dialect::Facts;
use super::scan::{PostgresExec, Provider};
use super::transaction::Transaction;
use crate::error::{self, Error, Result};
use crate::formats::postgres::{OID, TYPMOD, by_oid, copy, field, pg_type};
use crate::sources::declared::{Declared, Kind};
use crate::sources::{Base, Pinned, Table};
use crate::types::{TableName, Version};

pub(super) const NUMERIC: u32 = 1700;
const INET: u32 = 869;
const TEXT: u32 = 25;

/// One row a column, in order. Partitions are read through their parents, so that there is one name for one row; a
/// domain is its base type. `to_jsonb` reads columns of catalogs that older or newer servers do not have. NOT NULL
/// is believed only where the source has checked it (since PostgreSQL 18 it may not have).
const COLUMNS: &str = "
SELECT n.nspname::text, c.oid, c.relname::text, a.attname::text,
       has_column_privilege(c.oid, a.attnum, 'SELECT'),
       a.attnotnull AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'n'
                                    AND NOT k.convalidated AND a.attnum = ANY (k.conkey)),
       b.oid, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, b.typtype = 'e',
       CASE WHEN l.collprovider = 'd' THEN d.provider ELSE l.collprovider::text END,
       CASE WHEN l.collprovider = 'd' THEN d.locale ELSE coalesce(l.collcollate, to_jsonb(l)->>'colllocale') END,
       coalesce((to_jsonb(l)->>'collisdeterministic')::bool, true),
       current_setting('server_encoding') = 'UTF8', a.attnum,
       CASE WHEN c.reltuples >= 0 AND c.relkind <> 'v' THEN c.reltuples::float8 END,
       format_type(a.atttypid, -1)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_collation l ON l.oid = a.attcollation
CROSS JOIN (SELECT coalesce(to_jsonb(x)->>'datlocprovider', 'c') AS provider,
                   CASE coalesce(to_jsonb(x)->>'datlocprovider', 'c') WHEN 'c' THEN x.datcollate
                        ELSE coalesce(to_jsonb(x)->>'datlocale', to_jsonb(x)->>'daticulocale') END AS locale
            FROM pg_database x WHERE x.datname = current_database()) d
WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition
ORDER BY n.nspname, c.relname, a.attnum";

/// The same of catalogs in which nothing newer and no collation is looked for: equality of text in the default collation is
/// that of bytes, and more is not known of it.
const FEWER_COLUMNS: &str = "
SELECT n.nspname::text, c.oid, c.relname::text, a.attname::text,
       has_column_privilege(c.oid, a.attnum, 'SELECT'), a.attnotnull,
       b.oid, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, b.typtype = 'e',
       NULL::text, NULL::text, coalesce(l.collname, 'default') = 'default', true, a.attnum, NULL::float8, ''
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_collation l ON l.oid = a.attcollation
WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'p', 'v', 'm')
ORDER BY n.nspname, c.relname, a.attnum";

/// Functions that are the server's own and whose results follow their arguments alone, and its aggregates.
const FUNCTIONS: &str = "
SELECT p.oid, p.prosrc FROM pg_proc p
WHERE p.oid < 16384 AND p.pronamespace = 'pg_catalog'::regnamespace AND p.provolatile = 'i' AND p.prokind IN ('f', 'a')";

/// Reads the catalogs of one source.
#[derive(Debug)]
pub(super) struct Relations {
    pool: Arc<Pool>,
    schemas: BTreeMap<String, String>,
    numeric_scale: BTreeMap<String, u8>,
    /// Columns whose absence was told already.
    told: Mutex<BTreeSet<String>>,
    /// By the server's version, with which alone they change.
    functions: Mutex<Option<(i32, Functions)>>,
    /// Of the last look.
    known: Mutex<Option<Vec<Arc<Relation>>>>,
}

/// Oid → `prosrc`.
pub(super) type Functions = Arc<HashMap<u32, String>>;

/// One table or view of the source.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) name: TableName,
    pub(super) remote: TableName,
    pub(super) schema: SchemaRef,
    pub(super) columns: Vec<Column>,
    pub(super) pool: Arc<Pool>,
    pub(super) oid: u32,
    pub(super) declared: Declared,
    /// As far as the source has counted them.
    pub(super) rows: Option<f64>,
    pub(super) functions: Functions,
}

/// A column as the source has it, beside the field of the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Never given to another column of its table.
    pub(super) attnum: i16,
    /// What the row description must say: the type asked for, which is text in all forms but the binary.
    pub(super) oid: u32,
    /// What the source has, under a domain.
    pub(super) own_oid: u32,
    /// The field says this type.
    pub(super) is_typed: bool,
    pub(super) typmod: i32,
    pub(super) form: Form,
    pub(super) text_order: TextOrder,
    /// What its source is.
    pub(super) dialect: &'static Facts,
    /// Its type as the source spells it, without a modifier.
    pub(super) spelt: Arc<str>,
}

impl Column {
    /// One that every table has, as text.
    pub(super) fn of_system(name: &str, of: &Relation) -> Self {
        let (name, spelt) = (name.to_owned(), "text".into());
        let (form, text_order, dialect) = (Form::Text, TextOrder::Unknown, of.pool.dialect);
        Self {
            name,
            attnum: 0,
            oid: TEXT,
            own_oid: TEXT,
            is_typed: false,
            typmod: -1,
            form,
            text_order,
            dialect,
            spelt,
        }
    }
}

/// In which form a column's values are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Binary,
    /// Its binary form is not read: a cast to text.
    Text,
    /// The cast to text spells it otherwise than the type itself does (inet adds a netmask).
    Output,
}

impl Form {
    /// The type that is asked for where the source has `oid`.
    pub(super) fn asked(self, oid: u32) -> u32 {
        match self {
            Form::Binary => oid,
            Form::Text | Form::Output => TEXT,
        }
    }

    /// What is asked for of a column, whose name is quoted.
    pub(super) fn sql(self, quoted: &str) -> String {
        match self {
            Form::Binary => quoted.to_owned(),
            Form::Text => format!("{quoted}::pg_catalog.text"),
            // `format` runs the type's own output function; of NULL it makes an empty text.
            Form::Output => format!("CASE WHEN {quoted} IS NOT NULL THEN pg_catalog.format('%s', {quoted}) END"),
        }
    }
}

/// What of a text column's comparisons means the same in the source as here, where text is bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextOrder {
    /// Equality may be looser there, or literals may not arrive.
    Unknown,
    /// Equal means equal bytes; the order is a language's.
    Equality,
    /// Bytes in order.
    Bytes,
}

impl Relations {
    pub(super) fn new(pool: Arc<Pool>, schemas: BTreeMap<String, String>, numeric_scale: BTreeMap<String, u8>) -> Self {
        Self {
            pool,
            schemas,
            numeric_scale,
            told: Mutex::default(),
            functions: Mutex::default(),
            known: Mutex::default(),
        }
    }

    pub(super) async fn read(&self) -> Result<Vec<Arc<dyn Table>>> {
        let read = self.read_now().await;
        if read.is_err() {
            *self.known.lock().expect("no panic under the lock") = None;
        }
        read
    }

    async fn read_now(&self) -> Result<Vec<Arc<dyn Table>>> {
        let remote: Vec<&str> = self.schemas.keys().map(String::as_str).collect();
        let is_whole = self.pool.dialect.has_whole_catalogs;
        let columns = if is_whole { COLUMNS } else { FEWER_COLUMNS };
        let (rows, mut declared, functions) = loop {
            let lease = self.pool.lease(Use::Tables).await?;
            match self.pool.within(lease.client().query(columns, &[&remote])).await {
                Ok(rows) if is_whole => {
                    let declared = self.declared(lease.client(), &remote).await?;
                    let functions = self.functions(lease.client()).await?;
                    lease.finish();
                    break (rows, declared, functions);
                }
                Ok(rows) => {
                    lease.finish();
                    break (rows, HashMap::new(), Functions::default());
                }
                // The server was restarted while the connection lay idle.
                Err(_) if lease.used && lease.client().is_closed() => lease.discard(),
                Err(error) => return Err(error),
            }
        };
        let mut known: Vec<Arc<Relation>> = vec![];
        let mut rest = rows.as_slice();
        while let Some(first) = rest.first() {
            let oid: u32 = get(&self.pool, first, 1)?;
            let of_one = rest.iter().take_while(|row| row.try_get::<_, u32>(1).ok() == Some(oid)).count().max(1);
            let (columns, after) = rest.split_at(of_one);
            rest = after;
            let declared = declared.remove(&oid).unwrap_or_default();
            if let Some(relation) = self.relation(oid, columns, declared, &functions)? {
                known.push(Arc::new(relation));
            }
        }
        *self.known.lock().expect("no panic under the lock") = Some(known.clone());
        Ok(known.into_iter().map(|relation| RelationTable::of(relation, None)).collect())
    }

    /// What the last look found, for a transaction; `None` where it found nothing to read.
    pub(super) fn known(&self) -> Option<Vec<Arc<Relation>>> {
        self.known.lock().expect("no panic under the lock").clone()
    }

    async fn functions(&self, client: &tokio_postgres::Client) -> Result<Functions> {
        const VERSION: &str = "SELECT current_setting('server_version_num')::int4";
        let version: i32 = get(&self.pool, &self.pool.within(client.query_one(VERSION, &[])).await?, 0)?;
        let known = self.functions.lock().expect("no panic under the lock").clone();
        if let Some((_, functions)) = known.filter(|(of, _)| *of == version) {
            return Ok(functions);
        }
        let rows = self.pool.within(client.query(FUNCTIONS, &[])).await?;
        let each = rows.iter().map(|row| Ok((get(&self.pool, row, 0)?, get(&self.pool, row, 1)?)));
        let functions: Functions = Arc::new(each.collect::<Result<_>>()?);
        *self.functions.lock().expect("no panic under the lock") = Some((version, Arc::clone(&functions)));
        Ok(functions)
    }

    /// `None` where no column is left.
    fn relation(&self, oid: u32, rows: &[Row], declared: Declared, functions: &Functions) -> Result<Option<Relation>> {
        let Some(first) = rows.first() else { return Ok(None) };
        let remote = TableName::new(get::<String>(&self.pool, first, 0)?, get::<String>(&self.pool, first, 2)?);
        let Some(mounted) = self.schemas.get(&remote.schema) else { return Ok(None) };
        let name = TableName::new(mounted, &remote.table);
        let (mut fields, mut columns) = (vec![], vec![]);
        for row in rows {
            if let Some((field, column)) = self.column(&name, oid, row)? {
                fields.push(field);
                columns.push(column);
            }
        }
        let schema = Arc::new(Schema::new(fields));
        let (pool, functions) = (Arc::clone(&self.pool), Arc::clone(functions));
        let counted = get(&self.pool, first, 14)?;
        let relation = Relation { name, remote, schema, columns, pool, oid, declared, rows: counted, functions };
        Ok((!relation.columns.is_empty()).then_some(relation))
    }

    fn column(&self, table: &TableName, table_oid: u32, row: &Row) -> Result<Option<(Field, Column)>> {
        let pool = &self.pool;
        let name: String = get(pool, row, 3)?;
        if !get::<bool>(pool, row, 4)? {
            self.tell(table, &name, "the source's role may not select it");
            return Ok(None);
        }
        let (nullable, oid, typmod): (bool, u32, i32) =
            (!get::<bool>(pool, row, 5)?, get(pool, row, 6)?, get(pool, row, 7)?);
        let label: bool = get(pool, row, 8)?;
        let lying = self.lying(table, &name, (table_oid, oid, typmod), label);
        let field = match lying {
            Lying::Typed => field(&name, oid, typmod, nullable),
            Lying::Numeric(data_type) => Some(numeric(&name, data_type, typmod, nullable)),
            Lying::Text => None,
        };
        let (field, form) = shaped(&name, oid, field, nullable);
        let asked = form.asked(oid);
        let text_order = match oid {
            25 | 1043 | 1042 => {
                text_order(get(pool, row, 9)?, get(pool, row, 10)?, get(pool, row, 11)?, get(pool, row, 12)?)
            }
            _ => TextOrder::Unknown,
        };
        let is_typed = pg_type(&field).is_ok_and(|found| found.oid == oid);
        let attnum = get(pool, row, 13)?;
        let (dialect, spelt) = (pool.dialect, get::<String>(pool, row, 15)?.into());
        let own_oid = oid;
        let column = Column { name, attnum, oid: asked, own_oid, is_typed, typmod, form, text_order, dialect, spelt };
        Ok(Some((field, column)))
    }

    /// How a column's values lie here.
    fn lying(&self, table: &TableName, column: &str, (table_oid, oid, typmod): (u32, u32, i32), label: bool) -> Lying {
        let misfit = self.pool.misfit(table_oid);
        // an enum is read as its label: text, whose order is not the enum's
        if label || misfit.arrays && is_array(oid) {
            return Lying::Text;
        }
        if oid != NUMERIC {
            return Lying::Typed;
        }
        let scale = self.numeric_scale.get(&format!("{}.{}.{column}", table.schema, table.table));
        let scale = scale.filter(|_| typmod < 0 && !misfit.numerics);
        match scale.and_then(|scale| i8::try_from(*scale).ok()) {
            Some(scale) => Lying::Numeric(DataType::Decimal128(38, scale)),
            // a value's own scale, NaN, the infinities
            None if typmod < 0 || misfit.numerics || field(column, oid, typmod, true).is_none() => {
                Lying::Numeric(DataType::Binary)
            }
            None => Lying::Typed,
        }
    }

    /// Once a process, not at each look.
    fn tell(&self, table: &TableName, column: &str, reason: &str) {
        let mut told = self.told.lock().expect("no panic under the lock");
        if told.insert(format!("{table}.{column} {reason}")) {
            tracing::warn!(source = self.pool.source(), table = %table, column, reason, "column left out");
        }
    }
}

/// How a column's values lie.
enum Lying {
    /// As the language has the type.
    Typed,
    Numeric(DataType),
    Text,
}

/// A column of a type as it lies here, and the form in which it is asked for. What has no type here, or holds values that its
/// type here cannot hold, is a text.
pub(super) fn shaped(name: &str, oid: u32, field: Option<Field>, nullable: bool) -> (Field, Form) {
    let typed = field.filter(|field| oid == INET || copy::reads(field.data_type(), oid) || is_spelt(field, oid));
    let field = typed.unwrap_or_else(|| Field::new(name, DataType::Utf8, nullable));
    let form = match oid {
        INET => Form::Output,
        _ if !copy::reads(field.data_type(), oid) => Form::Text,
        _ => Form::Binary,
    };
    (field, form)
}

/// Types that lie as their texts though the source has binary forms of them.
fn is_spelt(field: &Field, oid: u32) -> bool {
    *field.data_type() == DataType::Utf8 && pg_type(field).is_ok_and(|found| found.oid == oid)
}

/// As wide as any value, NaN and the infinities among them.
pub(super) fn any_numeric(name: &str, typmod: i32) -> Field {
    numeric(name, DataType::Binary, typmod, true)
}

fn numeric(name: &str, data_type: DataType, typmod: i32, nullable: bool) -> Field {
    let metadata = [(OID.to_owned(), NUMERIC.to_string()), (TYPMOD.to_owned(), typmod.to_string())];
    Field::new(name, data_type, nullable).with_metadata(metadata.into())
}

fn is_array(oid: u32) -> bool {
    by_oid(oid).is_some_and(|row| row.category == 'A')
}

/// `provider`: c(libc), b(uiltin), i(cu); an ICU locale is never bytes.
fn text_order(provider: Option<String>, locale: Option<String>, deterministic: bool, utf8: bool) -> TextOrder {
    if !utf8 || !deterministic {
        return TextOrder::Unknown;
    }
    match (provider.as_deref(), locale.as_deref()) {
        (Some("c" | "b"), Some("C" | "POSIX" | "C.UTF-8" | "C.utf8")) => TextOrder::Bytes,
        _ => TextOrder::Equality,
    }
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(pool: &Pool, row: &'a Row, column: usize) -> Result<T> {
    row.try_get(column).map_err(|error| {
        let text = format!("source \"{}\" failed", pool.source());
        Error::new(error::Kind::SourceFailed, text).with_source(error)
    })
}

/// By which the source knows a row: nobody else's has the three, and another version of it has another one.
pub(super) const PLACE: [&str; 3] = ["tableoid", "ctid", "xmin"];

#[derive(Debug)]
pub(super) struct RelationTable {
    relation: Arc<Relation>,
    /// In which it is read and changed.
    transaction: Option<Arc<Transaction>>,
}

impl RelationTable {
    pub(super) fn of(relation: Arc<Relation>, transaction: Option<Arc<Transaction>>) -> Arc<dyn Table> {
        Arc::new(Self { relation, transaction })
    }
}

impl Relation {
    /// Its rows lie in it, and may be changed.
    fn is_changed(&self) -> bool {
        self.pool.writable && self.declared.kind == Kind::Table
    }

    /// As one statement sees it.
    pub(super) fn pinned(self: &Arc<Self>, transaction: Option<&Arc<Transaction>>, placed: bool) -> Pinned {
        let (pool, oid) = (Arc::clone(&self.pool), self.oid);
        let reads = Arc::new(move |leaf: &dyn ExecutionPlan| PostgresExec::share(leaf, &pool, oid));
        let provider = Provider::new(Arc::clone(self), transaction.cloned(), placed);
        Pinned { version: Version::Live, reads, provider: Arc::new(provider) }
    }

    /// A column by its name here.
    pub(super) fn column(&self, name: &str) -> Result<(usize, &Column)> {
        let at = self.schema.index_of(name)?;
        self.columns.get(at).map(|column| (at, column)).ok_or_else(|| Error::internal("a field without its column"))
    }

    /// Under names that no column has.
    pub(super) fn place(&self) -> Vec<FieldRef> {
        PLACE.iter().map(|name| Arc::new(Field::new(format!("\0\0{name}"), DataType::Utf8, false))).collect()
    }
}

#[async_trait]
impl Table for RelationTable {
    fn name(&self) -> &TableName {
        &self.relation.name
    }

    fn identity(&self) -> String {
        format!("postgres:{}:{}", self.relation.pool.source(), self.relation.oid)
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.relation.schema)
    }

    fn declared(&self) -> &Declared {
        &self.relation.declared
    }

    fn column_ids(&self) -> Vec<Vec<String>> {
        self.relation.columns.iter().map(|column| vec![format!("#{}", column.attnum)]).collect()
    }

    fn place(&self) -> Vec<FieldRef> {
        if self.relation.is_changed() { self.relation.place() } else { vec![] }
    }

    fn is_foreign(&self) -> bool {
        self.relation.is_changed()
    }

    async fn base(&self) -> Result<Arc<dyn Base>> {
        match self.relation.is_changed() {
            true => Ok(Changing::of(Arc::clone(&self.relation), self.transaction.clone())),
            false => Err(Error::unsupported("changing rows of this table")),
        }
    }

    fn pin_beside(&self, base: &dyn Base) -> Option<Pinned> {
        let transaction = base.transaction()?.downcast_ref::<Arc<Transaction>>()?;
        transaction.is_of(&self.relation.pool).then(|| self.relation.pinned(Some(transaction), false))
    }

    /// The row description of each scan is compared with these columns, so there is nothing to ask now.
    async fn pin(&self) -> Result<Pinned> {
        Ok(self.relation.pinned(self.transaction.as_ref(), false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_byte_order_is_called_byte_order() {
        let check = |provider: &str, locale: &str, deterministic, utf8, expect| {
            let got = text_order(Some(provider.into()), Some(locale.into()), deterministic, utf8);
            assert_eq!(got, expect, "{provider} {locale} {deterministic} {utf8}");
        };
        check("c", "C", true, true, TextOrder::Bytes);
        check("c", "POSIX", true, true, TextOrder::Bytes);
        check("c", "C.UTF-8", true, true, TextOrder::Bytes);
        check("b", "C.UTF-8", true, true, TextOrder::Bytes);
        check("c", "en_US.UTF-8", true, true, TextOrder::Equality);
        // An ICU database may carry a libc locale of C that does not count.
        check("i", "C", true, true, TextOrder::Equality);
        check("i", "und-u-ks-level2", false, true, TextOrder::Unknown);
        check("c", "C", true, false, TextOrder::Unknown);
        assert_eq!(text_order(None, None, true, true), TextOrder::Equality);
    }
}
