//! Kinds, keys, indexes and comments of the mounted tables, from the source's catalogs.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::{Relations, get};
use crate::error::Result;
use crate::sources::declared::{Declared, Index, Key, KeyKind, Kind};
use crate::types::TableName;

/// Keys that the source holds to; a partition's are its parent's.
const KEYS: &str = "
SELECT k.conrelid, k.conname::text, k.contype::text,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, place)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum ORDER BY u.place),
       f.nspname::text, t.relname::text,
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u (attnum, place)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum ORDER BY u.place),
       k.confupdtype::text, k.confdeltype::text, k.confmatchtype::text, k.condeferrable, k.condeferred
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class t ON t.oid = k.confrelid
LEFT JOIN pg_namespace f ON f.oid = t.relnamespace
WHERE n.nspname = ANY ($1) AND k.contype IN ('p', 'u', 'f') AND k.convalidated
ORDER BY k.conrelid, k.conname";

/// Whole indexes over columns alone: an expression or a condition may tell of columns that a session does not see.
const INDEXES: &str = "
SELECT i.indrelid, x.relname::text, i.indisunique, i.indisprimary,
       ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS u (attnum, place)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum ORDER BY u.place),
       i.indoption::int2[]
FROM pg_index i
JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
JOIN pg_namespace n ON n.oid = x.relnamespace
WHERE n.nspname = ANY ($1) AND i.indisvalid AND i.indexprs IS NULL AND i.indpred IS NULL
ORDER BY i.indrelid, x.relname";

const VIEWS: &str = "
SELECT c.oid, c.relkind::text
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY ($1) AND c.relkind IN ('v', 'm')";

const COMMENTS: &str = "
SELECT d.objoid, a.attname::text, d.description
FROM pg_description d
JOIN pg_class c ON c.oid = d.objoid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid AND d.objsubid > 0
WHERE d.classoid = 'pg_class'::regclass AND n.nspname = ANY ($1)";

impl Relations {
    /// By the oid of the table in the source.
    pub(super) async fn declared(
        &self,
        client: &tokio_postgres::Client,
        remote: &[&str],
    ) -> Result<HashMap<u32, Declared>> {
        let mut found: HashMap<u32, Declared> = HashMap::new();
        for row in self.pool.within(client.query(KEYS, &[&remote])).await? {
            if let Some(key) = self.key(&row)? {
                found.entry(get(&self.pool, &row, 0)?).or_default().keys.push(key);
            }
        }
        for row in self.pool.within(client.query(INDEXES, &[&remote])).await? {
            let index = Index {
                name: get(&self.pool, &row, 1)?,
                unique: get(&self.pool, &row, 2)?,
                primary: get(&self.pool, &row, 3)?,
                columns: get(&self.pool, &row, 4)?,
                options: get(&self.pool, &row, 5)?,
            };
            found.entry(get(&self.pool, &row, 0)?).or_default().indexes.push(index);
        }
        for row in self.pool.within(client.query(VIEWS, &[&remote])).await? {
            let kind = match get::<&str>(&self.pool, &row, 1)? {
                "v" => Kind::View,
                _ => Kind::MaterializedView,
            };
            found.entry(get(&self.pool, &row, 0)?).or_default().kind = kind;
        }
        for row in self.pool.within(client.query(COMMENTS, &[&remote])).await? {
            let of = found.entry(get(&self.pool, &row, 0)?).or_default();
            let text: String = get(&self.pool, &row, 2)?;
            match get::<Option<String>>(&self.pool, &row, 1)? {
                Some(column) => drop(of.comments.insert(column, text)),
                None => of.comment = Some(text),
            }
        }
        Ok(found)
    }

    /// `None` for a key into a schema that is not mounted.
    fn key(&self, row: &Row) -> Result<Option<Key>> {
        let pool = &self.pool;
        let letter = |at| get::<&str>(pool, row, at).map(|text| text.chars().next().unwrap_or(' '));
        let kind = match letter(2)? {
            'p' => KeyKind::Primary,
            'u' => KeyKind::Unique,
            _ => {
                let schema: Option<String> = get(pool, row, 4)?;
                let Some(mounted) = schema.and_then(|schema| self.schemas.get(&schema)) else { return Ok(None) };
                KeyKind::Foreign {
                    table: TableName::new(mounted, get::<String>(pool, row, 5)?),
                    columns: get(pool, row, 6)?,
                    on_update: letter(7)?,
                    on_delete: letter(8)?,
                    matching: letter(9)?,
                }
            }
        };
        Ok(Some(Key {
            name: get(pool, row, 1)?,
            kind,
            columns: get(pool, row, 3)?,
            deferrable: get(pool, row, 10)?,
            deferred: get(pool, row, 11)?,
        }))
    }
}
