//! Iceberg's SQL catalog in SQLite. It knows rows and no file.

use std::hash::Hasher;

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use xxhash_rust::xxh3::Xxh3;

#[cfg(test)]
use super::super::Loss;
use super::super::tables::{no_views, schema_in_use, undefined_schema};
use super::super::{Also, RowKind, Swap, SwapError, Swapped, TableKey, TableRow};
use super::{Sqlite, Write, failed, holds, put};
#[cfg(test)]
use crate::error::Error;
use crate::error::{Kind, Result};

/// Keeps the last answer of [`Sqlite::revision`], so that an unchanged database costs one pragma.
#[derive(Debug)]
pub(super) struct Watcher {
    connection: SqliteConnection,
    version: Option<i64>,
    revisions: Vec<(String, u64)>,
}

impl Watcher {
    pub(super) fn new(connection: SqliteConnection) -> Self {
        Self { connection, version: None, revisions: vec![] }
    }
}

impl Sqlite {
    /// Every table and view of a catalog, in order of name.
    pub(in crate::metastore) async fn tables(&self, catalog: &str) -> Result<Vec<TableRow>> {
        let mut connection = self.reader.acquire().await.map_err(failed)?;
        list(&mut connection, catalog, self.typed).await
    }

    /// What stands under a name, a table or a view.
    pub(in crate::metastore) async fn row(&self, table: &TableKey) -> Result<Option<TableRow>> {
        let sql = format!(
            "SELECT table_namespace, table_name, metadata_location, {} FROM iceberg_tables
             WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location IS NOT NULL",
            kind_column(self.typed)
        );
        let row = sqlx::query(&sql)
            .bind(&table.catalog)
            .bind(&table.namespace)
            .bind(&table.name)
            .fetch_optional(&self.reader)
            .await
            .map_err(failed)?;
        row.as_ref().map(row_of).transpose()
    }

    /// Where a table's metadata lay before they came to `location`, while they are still there.
    pub(in crate::metastore) async fn previous_location(
        &self,
        table: &TableKey,
        location: &str,
    ) -> Result<Option<String>> {
        let row = sqlx::query(
            "SELECT previous_metadata_location FROM iceberg_tables
             WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?",
        )
        .bind(&table.catalog)
        .bind(&table.namespace)
        .bind(&table.name)
        .bind(location)
        .fetch_optional(&self.reader)
        .await
        .map_err(failed)?;
        Ok(row.and_then(|r| r.try_get::<Option<String>, _>(0).ok().flatten()))
    }

    /// Moves whenever [`Metastore::tables`] or [`Metastore::namespaces`] of this catalog would answer differently,
    /// whoever committed.
    pub(in crate::metastore) async fn revision(&self, catalog: &str) -> Result<u64> {
        let mut watcher = self.watcher.lock().await;
        let Watcher { connection, version, revisions } = &mut *watcher;
        // Read before the rows: a commit in between shows up as a newer version the next time.
        let row = sqlx::query("PRAGMA data_version").fetch_one(&mut *connection).await.map_err(failed)?;
        let now: i64 = row.try_get(0).map_err(failed)?;
        if *version != Some(now) {
            revisions.clear();
            *version = Some(now);
        }
        if let Some((_, revision)) = revisions.iter().find(|(name, _)| name == catalog) {
            return Ok(*revision);
        }
        let mut hash = Xxh3::new();
        let mut say = |text: &str| {
            hash.write(text.as_bytes());
            hash.write_u8(0);
        };
        for row in list(connection, catalog, self.typed).await? {
            say(&row.namespace);
            say(&row.name);
            say(&row.location);
            say(row.kind.word());
        }
        for namespace in list_namespaces(connection, catalog).await? {
            say(&namespace);
        }
        let revision = hash.finish();
        revisions.push((catalog.to_string(), revision));
        Ok(revision)
    }

    /// Every namespace of a catalog, with or without tables.
    pub(in crate::metastore) async fn namespaces(&self, catalog: &str) -> Result<Vec<String>> {
        let mut connection = self.reader.acquire().await.map_err(failed)?;
        list_namespaces(&mut connection, catalog).await
    }

    /// False where it exists already.
    pub(in crate::metastore) async fn create_namespace(&self, catalog: &str, namespace: &str) -> Result<bool> {
        let mut write = self.begin().await?;
        let made = create_namespace(&mut write, catalog, namespace).await?;
        write.commit().await.map_err(failed)?;
        Ok(made)
    }

    /// Forgets an empty namespace: 3F000 where there is none, 2BP01 while tables stand in it.
    pub(in crate::metastore) async fn drop_namespace(&self, catalog: &str, namespace: &str) -> Result<()> {
        let mut write = self.begin().await?;
        drop_namespace(&mut write, catalog, namespace).await?;
        write.commit().await.map_err(failed)
    }

    /// All swaps and everything in `also`, or nothing.
    pub(in crate::metastore) async fn swap(&self, swaps: &[&Swap], also: &Also) -> Result<Swapped, SwapError> {
        let mut write = self.begin().await.map_err(SwapError::Before)?;
        if let Some(held) = &also.lease
            && !holds(&mut write, held).await.map_err(SwapError::Before)?
        {
            return Ok(Swapped::LeaseLost);
        }
        for swap in swaps {
            if !self.apply(&mut write, swap).await.map_err(SwapError::Before)? {
                return Ok(Swapped::Moved);
            }
        }
        for (name, value) in &also.puts {
            put(&mut write, name, value).await.map_err(SwapError::Before)?;
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
        write.commit().await.map_err(|e| SwapError::Unknown(failed(e)))?;
        Ok(Swapped::Done)
    }

    /// Whether the row was as the swap demands.
    async fn apply(&self, write: &mut Write, swap: &Swap) -> Result<bool> {
        // no two metadata files have one location, so that it tells tables and views apart
        const UPDATE: &str = "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ?
             WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?";
        const DELETE: &str = "DELETE FROM iceberg_tables
             WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?";
        const LOCATION: &str = "SELECT metadata_location FROM iceberg_tables
             WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?";
        const RENAME: &str = "UPDATE OR IGNORE iceberg_tables SET table_namespace = ?, table_name = ?
             WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?";
        let (query, table, from) = match swap {
            Swap::Insert { table, to } => (self.insert(RowKind::Table)?.bind(to), table, None),
            Swap::InsertView { table, to } => (self.insert(RowKind::View)?.bind(to), table, None),
            Swap::Update { table, from, to } => (sqlx::query(UPDATE).bind(to).bind(from), table, Some(from)),
            Swap::Delete { table, from } => (sqlx::query(DELETE), table, Some(from)),
            Swap::Rename { table, at, to } => (sqlx::query(RENAME).bind(&to.namespace).bind(&to.name), table, Some(at)),
            Swap::Hold { table, at } => {
                let now = sqlx::query(LOCATION).bind(&table.catalog).bind(&table.namespace).bind(&table.name);
                let now = now.fetch_optional(&mut **write).await.map_err(failed)?;
                let now = now.and_then(|row| row.try_get::<Option<String>, _>(0).ok().flatten());
                return Ok(now == *at);
            }
            Swap::CreateNamespace { catalog, namespace } => return create_namespace(write, catalog, namespace).await,
            Swap::DropNamespace { catalog, namespace } => {
                return match drop_namespace(write, catalog, namespace).await {
                    // gone with its last table, or by others
                    Err(error) if error.kind() == Kind::UndefinedSchema => Ok(true),
                    dropped => dropped.map(|()| true),
                };
            }
        };
        let query = query.bind(&table.catalog).bind(&table.namespace).bind(&table.name);
        let query = match from {
            Some(from) => query.bind(from),
            None => query,
        };
        Ok(query.execute(&mut **write).await.map_err(failed)?.rows_affected() == 1)
    }

    fn insert<'q>(&self, kind: RowKind) -> Result<Query<'q>> {
        match (self.typed, kind) {
            (true, RowKind::Table) => Ok(sqlx::query(
                "INSERT OR IGNORE INTO iceberg_tables (metadata_location, iceberg_type, catalog_name, table_namespace, table_name)
                 VALUES (?, 'TABLE', ?, ?, ?)",
            )),
            (true, RowKind::View) => Ok(sqlx::query(
                "INSERT OR IGNORE INTO iceberg_tables (metadata_location, iceberg_type, catalog_name, table_namespace, table_name)
                 VALUES (?, 'VIEW', ?, ?, ?)",
            )),
            (false, RowKind::Table) => Ok(sqlx::query(
                "INSERT OR IGNORE INTO iceberg_tables (metadata_location, catalog_name, table_namespace, table_name)
                 VALUES (?, ?, ?, ?)",
            )),
            (false, RowKind::View) => Err(no_views()),
        }
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments<'q>>;

/// Where the column is missing there are tables alone.
fn kind_column(typed: bool) -> &'static str {
    if typed { "iceberg_type" } else { "NULL" }
}

fn row_of(row: &SqliteRow) -> Result<TableRow> {
    let kind: Option<String> = row.try_get(3).map_err(failed)?;
    Ok(TableRow {
        namespace: row.try_get(0).map_err(failed)?,
        name: row.try_get(1).map_err(failed)?,
        location: row.try_get(2).map_err(failed)?,
        kind: RowKind::of(kind.as_deref()),
    })
}

async fn list(connection: &mut SqliteConnection, catalog: &str, typed: bool) -> Result<Vec<TableRow>> {
    let sql = format!(
        "SELECT table_namespace, table_name, metadata_location, {} FROM iceberg_tables
         WHERE catalog_name = ? AND metadata_location IS NOT NULL ORDER BY 1, 2",
        kind_column(typed)
    );
    let rows = sqlx::query(&sql).bind(catalog).fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(row_of).collect()
}

async fn list_namespaces(connection: &mut SqliteConnection, catalog: &str) -> Result<Vec<String>> {
    let rows = sqlx::query(
        "SELECT namespace FROM iceberg_namespace_properties WHERE catalog_name = ?
         UNION SELECT table_namespace FROM iceberg_tables WHERE catalog_name = ? ORDER BY 1",
    )
    .bind(catalog)
    .bind(catalog)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter().map(|r| r.try_get(0).map_err(failed)).collect()
}

async fn create_namespace(write: &mut Write, catalog: &str, namespace: &str) -> Result<bool> {
    if list_namespaces(write, catalog).await?.iter().any(|n| n == namespace) {
        return Ok(false);
    }
    // PyIceberg's own mark of a namespace without properties.
    sqlx::query("INSERT INTO iceberg_namespace_properties VALUES (?, ?, 'exists', 'true')")
        .bind(catalog)
        .bind(namespace)
        .execute(&mut **write)
        .await
        .map_err(failed)?;
    Ok(true)
}

async fn drop_namespace(write: &mut Write, catalog: &str, namespace: &str) -> Result<()> {
    if !list_namespaces(write, catalog).await?.iter().any(|n| n == namespace) {
        return Err(undefined_schema(namespace));
    }
    let row = sqlx::query("SELECT 1 FROM iceberg_tables WHERE catalog_name = ? AND table_namespace = ? LIMIT 1")
        .bind(catalog)
        .bind(namespace)
        .fetch_optional(&mut **write)
        .await
        .map_err(failed)?;
    if row.is_some() {
        return Err(schema_in_use(namespace));
    }
    sqlx::query("DELETE FROM iceberg_namespace_properties WHERE catalog_name = ? AND namespace = ?")
        .bind(catalog)
        .bind(namespace)
        .execute(&mut **write)
        .await
        .map_err(failed)?;
    Ok(())
}
