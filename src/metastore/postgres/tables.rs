//! Iceberg's SQL catalog in PostgreSQL, beside its other clients: every change of a row names the location that it must
//! stand at, so that whoever comes second changes nothing. It knows rows and no file.

use std::hash::Hasher;

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use xxhash_rust::xxh3::Xxh3;

#[cfg(test)]
use super::super::Loss;
use super::super::tables::{no_views, schema_in_use, undefined_schema};
use super::super::{Also, Lease, RowKind, Swap, SwapError, Swapped, TableKey, TableRow};
use super::connect::{Failure, Params, Write, failed};
use super::{PUT, Postgres};
use crate::error::{Error, Kind, Result};

/// Why a transaction is not to be committed.
enum Stop {
    Failed(Failure),
    Refused(Error),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// `iceberg_type`, NULL where there is no such column: then there are tables alone.
const KIND: &str = "to_jsonb(t) ->> 'iceberg_type'";
/// Every namespace, with or without tables.
const NAMESPACES: &str = "SELECT namespace FROM iceberg_namespace_properties WHERE catalog_name = $1
     UNION SELECT table_namespace FROM iceberg_tables WHERE catalog_name = $1 ORDER BY 1";
/// Nobody makes, moves or drops anything until the end of the transaction: what is not there cannot be locked by itself.
const ALONE: &str = "LOCK TABLE iceberg_tables IN SHARE ROW EXCLUSIVE MODE";

impl Postgres {
    pub(in crate::metastore) async fn tables(&self, catalog: &str) -> Result<Vec<TableRow>> {
        let sql = format!(
            "SELECT table_namespace, table_name, metadata_location, {KIND} FROM iceberg_tables t
             WHERE catalog_name = $1 AND metadata_location IS NOT NULL
             ORDER BY table_namespace COLLATE \"C\", table_name COLLATE \"C\""
        );
        let rows = self.pool.read(&sql, &[(&catalog, Type::TEXT)]).await?;
        rows.iter().map(row_of).collect()
    }

    pub(in crate::metastore) async fn row(&self, table: &TableKey) -> Result<Option<TableRow>> {
        let sql = format!(
            "SELECT table_namespace, table_name, metadata_location, {KIND} FROM iceberg_tables t
             WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 AND metadata_location IS NOT NULL"
        );
        let rows = self.pool.read(&sql, &named(table)).await?;
        rows.first().map(row_of).transpose()
    }

    pub(in crate::metastore) async fn previous_location(
        &self,
        table: &TableKey,
        location: &str,
    ) -> Result<Option<String>> {
        let sql = "SELECT previous_metadata_location FROM iceberg_tables
             WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 AND metadata_location = $4";
        let [catalog, namespace, name] = named(table);
        let rows = self.pool.read(sql, &[catalog, namespace, name, (&location, Type::TEXT)]).await?;
        Ok(rows.first().and_then(|row| row.try_get::<_, Option<String>>(0).ok().flatten()))
    }

    /// Reckoned where the rows are: it is asked three times a second.
    pub(in crate::metastore) async fn revision(&self, catalog: &str) -> Result<u64> {
        let sql = format!(
            "SELECT coalesce(sum(hashtextextended(row(table_namespace, table_name, metadata_location, {KIND})::text, 1)), 0)::text,
                 (SELECT coalesce(sum(hashtextextended(namespace, 2)), 0)::text
                  FROM (SELECT DISTINCT namespace FROM iceberg_namespace_properties WHERE catalog_name = $1) n)
             FROM iceberg_tables t WHERE catalog_name = $1"
        );
        let rows = self.pool.read(&sql, &[(&catalog, Type::TEXT)]).await?;
        let mut hash = Xxh3::new();
        for at in 0..2 {
            let sum: Option<String> = rows.first().map(|row| row.try_get(at)).transpose().map_err(failed)?;
            hash.write(sum.unwrap_or_default().as_bytes());
            hash.write_u8(0);
        }
        Ok(hash.finish())
    }

    pub(in crate::metastore) async fn namespaces(&self, catalog: &str) -> Result<Vec<String>> {
        let rows = self.pool.read(NAMESPACES, &[(&catalog, Type::TEXT)]).await?;
        rows.iter().map(|row| row.try_get(0).map_err(failed)).collect()
    }

    pub(in crate::metastore) async fn create_namespace(&self, catalog: &str, namespace: &str) -> Result<bool> {
        self.prepared().await?;
        let mut write = self.pool.begin().await?;
        match create_namespace(&mut write, catalog, namespace).await {
            Ok(made) => {
                write.commit().await?;
                Ok(made)
            }
            Err(failure) => {
                write.roll_back().await;
                Err(failure.into())
            }
        }
    }

    pub(in crate::metastore) async fn drop_namespace(&self, catalog: &str, namespace: &str) -> Result<()> {
        self.prepared().await?;
        let mut write = self.pool.begin().await?;
        match drop_namespace(&mut write, catalog, namespace).await {
            Ok(()) => Ok(write.commit().await?),
            Err(stop) => {
                write.roll_back().await;
                Err(stop.into())
            }
        }
    }

    /// See [`super::super::Metastore::swap`]. `swaps` are in the order in which they are to be done.
    pub(in crate::metastore) async fn swap(&self, swaps: &[&Swap], also: &Also) -> Result<Swapped, SwapError> {
        let typed = self.prepared().await.map_err(SwapError::Before)?;
        let mut write = self.pool.begin().await.map_err(SwapError::Before)?;
        match fill(&mut write, typed, swaps, also).await {
            Ok(Swapped::Done) => {}
            Ok(not) => {
                write.roll_back().await;
                return Ok(not);
            }
            Err(stop) => {
                write.roll_back().await;
                return match stop {
                    Stop::Failed(failure) if failure.overtaken() => Ok(Swapped::Moved),
                    stop => Err(SwapError::Before(stop.into())),
                };
            }
        }
        #[cfg(test)]
        let loss = self.losses.lock().unwrap().pop();
        #[cfg(test)]
        if let Some(loss) = loss {
            let lost = || SwapError::Unknown(Error::internal("lost by a test"));
            return match loss {
                Loss::Sent => Err(lost()),
                Loss::Done => write.commit().await.map_err(|_| lost()).and(Err(lost())),
            };
        }
        match write.commit().await {
            Ok(()) => Ok(Swapped::Done),
            Err(failure) if failure.overtaken() => Ok(Swapped::Moved),
            Err(failure) => Err(SwapError::Unknown(failure.into())),
        }
    }
}

impl From<Stop> for Error {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Failed(failure) => failure.into(),
            Stop::Refused(error) => error,
        }
    }
}

/// Everything of a swap but its commit.
async fn fill(write: &mut Write, typed: bool, swaps: &[&Swap], also: &Also) -> Result<Swapped, Stop> {
    if let Some(lease) = &also.lease
        && !holds(write, lease).await?
    {
        return Ok(Swapped::LeaseLost);
    }
    // whoever drops a schema, or counts on a name's being free, must not be surprised by a table that is just being made
    if swaps.iter().any(|swap| matches!(swap, Swap::DropNamespace { .. } | Swap::Hold { at: None, .. })) {
        write.query(ALONE, &[]).await?;
    }
    for swap in swaps {
        if !apply(write, typed, swap).await? {
            return Ok(Swapped::Moved);
        }
    }
    for (name, value) in &also.puts {
        write.query(PUT, &[(name, Type::TEXT), (value, Type::BYTEA)]).await?;
    }
    Ok(Swapped::Done)
}

/// Whether the row was as the swap demands.
async fn apply(write: &mut Write, typed: bool, swap: &Swap) -> Result<bool, Stop> {
    // no two metadata files have one location, so that it tells tables and views apart
    const UPDATE: &str = "UPDATE iceberg_tables SET metadata_location = $5, previous_metadata_location = $4
         WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 AND metadata_location = $4 RETURNING 1";
    const DELETE: &str = "DELETE FROM iceberg_tables
         WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 AND metadata_location = $4 RETURNING 1";
    const RENAME: &str = "UPDATE iceberg_tables SET table_namespace = $5, table_name = $6
         WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 AND metadata_location = $4
         AND NOT EXISTS (SELECT 1 FROM iceberg_tables
             WHERE catalog_name = $1 AND table_namespace = $5 AND table_name = $6) RETURNING 1";
    const HOLD: &str = "SELECT metadata_location FROM iceberg_tables
         WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 FOR SHARE";
    let text = Type::TEXT;
    let changed = match swap {
        Swap::Insert { table, to } => insert(write, typed, RowKind::Table, table, to).await?,
        Swap::InsertView { table, to } => insert(write, typed, RowKind::View, table, to).await?,
        Swap::Update { table, from, to } => {
            let [catalog, namespace, name] = named(table);
            write.query(UPDATE, &[catalog, namespace, name, (from, text.clone()), (to, text)]).await?
        }
        Swap::Delete { table, from } => {
            let [catalog, namespace, name] = named(table);
            write.query(DELETE, &[catalog, namespace, name, (from, text)]).await?
        }
        Swap::Rename { table, at, to } => {
            let [catalog, namespace, name] = named(table);
            let to: [_; 2] = [(&to.namespace as _, text.clone()), (&to.name as _, text.clone())];
            let [to_namespace, to_name] = to;
            write.query(RENAME, &[catalog, namespace, name, (at, text), to_namespace, to_name]).await?
        }
        Swap::Hold { table, at } => {
            let rows = write.query(HOLD, &named(table)).await?;
            let now = rows.first().map(|row| row.try_get::<_, Option<String>>(0)).transpose().map_err(Failure::from)?;
            return Ok(now.flatten() == *at);
        }
        Swap::CreateNamespace { catalog, namespace } => {
            return Ok(create_namespace(write, catalog, namespace).await?);
        }
        Swap::DropNamespace { catalog, namespace } => {
            return match drop_namespace(write, catalog, namespace).await {
                // gone with its last table, or by others
                Err(Stop::Refused(error)) if error.kind() == Kind::UndefinedSchema => Ok(true),
                dropped => dropped.map(|()| true),
            };
        }
    };
    Ok(changed.len() == 1)
}

async fn insert(
    write: &mut Write,
    typed: bool,
    kind: RowKind,
    table: &TableKey,
    to: &String,
) -> Result<Vec<Row>, Stop> {
    const TYPED: &str =
        "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING 1";
    const UNTYPED: &str = "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location)
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING 1";
    let [catalog, namespace, name] = named(table);
    let to: (&(dyn tokio_postgres::types::ToSql + Sync), Type) = (to, Type::TEXT);
    match (typed, kind) {
        (true, kind) => {
            let word = kind.word();
            Ok(write.query(TYPED, &[catalog, namespace, name, to, (&word, Type::TEXT)]).await?)
        }
        (false, RowKind::Table) => Ok(write.query(UNTYPED, &[catalog, namespace, name, to]).await?),
        (false, RowKind::View) => Err(Stop::Refused(no_views())),
    }
}

/// By epoch alone: an expired lease that nobody took over is still good, for nobody else has written. Whoever takes it over
/// waits for the end of this transaction.
async fn holds(write: &mut Write, lease: &Lease) -> Result<bool, Failure> {
    let sql = "SELECT 1 FROM lakegate_leases WHERE pipeline = $1 AND epoch = $2 AND holder = $3 FOR SHARE";
    let params: Params<'_> = &[(&lease.pipeline, Type::TEXT), (&lease.epoch, Type::INT8), (&lease.holder, Type::TEXT)];
    Ok(!write.query(sql, params).await?.is_empty())
}

async fn exists(write: &mut Write, catalog: &str, namespace: &str) -> Result<bool, Failure> {
    let sql = format!("SELECT 1 FROM ({NAMESPACES}) n WHERE namespace = $2");
    Ok(!write.query(&sql, &[(&catalog, Type::TEXT), (&namespace, Type::TEXT)]).await?.is_empty())
}

async fn create_namespace(write: &mut Write, catalog: &str, namespace: &str) -> Result<bool, Failure> {
    if exists(write, catalog, namespace).await? {
        return Ok(false);
    }
    // The mark of a namespace without properties, as Java and PyIceberg make it.
    let sql = "INSERT INTO iceberg_namespace_properties VALUES ($1, $2, 'exists', 'true')
         ON CONFLICT DO NOTHING RETURNING 1";
    Ok(!write.query(sql, &[(&catalog, Type::TEXT), (&namespace, Type::TEXT)]).await?.is_empty())
}

async fn drop_namespace(write: &mut Write, catalog: &str, namespace: &str) -> Result<(), Stop> {
    write.query(ALONE, &[]).await?;
    if !exists(write, catalog, namespace).await? {
        return Err(Stop::Refused(undefined_schema(namespace)));
    }
    let both: Params<'_> = &[(&catalog, Type::TEXT), (&namespace, Type::TEXT)];
    let sql = "SELECT 1 FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 LIMIT 1";
    if !write.query(sql, both).await?.is_empty() {
        return Err(Stop::Refused(schema_in_use(namespace)));
    }
    write.query("DELETE FROM iceberg_namespace_properties WHERE catalog_name = $1 AND namespace = $2", both).await?;
    Ok(())
}

fn named(table: &TableKey) -> [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] {
    [(&table.catalog, Type::TEXT), (&table.namespace, Type::TEXT), (&table.name, Type::TEXT)]
}

fn row_of(row: &Row) -> Result<TableRow> {
    let read = || {
        let kind: Option<String> = row.try_get(3)?;
        let (namespace, name, location) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(TableRow { namespace, name, location, kind: RowKind::of(kind.as_deref()) })
    };
    read().map_err(|error: tokio_postgres::Error| failed(error))
}
