//! Views over the REST protocol: a draft of a view's metadata file → what the server is asked for. Its text is not read.

use serde_json::{Value, json};

use super::client::{Request, unreadable};
use super::{Rest, Shelf};
use crate::error::{Error, Kind, Result};
use crate::lake::shown;
use crate::metastore::{SwapError, Swapped, TableKey};

impl Rest {
    async fn draft(&self, location: &str) -> Result<Value> {
        let bytes = self.store.read(location).await?;
        serde_json::from_slice(&bytes).map_err(|e| unreadable().with_source(e))
    }

    pub(super) async fn create_view(&self, key: &TableKey, to: &str) -> Result<Swapped, SwapError> {
        if !self.has_views().await.map_err(SwapError::Before)? {
            let error = Error::new(Kind::Unsupported, "this lake's catalog cannot hold views");
            return Err(SwapError::Before(error));
        }
        let draft = self.draft(to).await.map_err(SwapError::Before)?;
        let (version, schema) = current(&draft).map_err(SwapError::Before)?;
        let body = json!({
            "name": key.name,
            "location": draft.get("location"),
            "schema": schema,
            "view-version": version,
            "properties": draft.get("properties").cloned().unwrap_or_else(|| json!({})),
        });
        let namespace = self.namespace_path(&key.namespace).await.map_err(SwapError::Before)?;
        self.send(Request::post(format!("{namespace}/views"), &body), &format!("view {}", shown(key))).await
    }

    /// Of one that stood at `from` a moment ago: the server looks at its identity alone.
    pub(super) async fn replace_view(&self, key: &TableKey, from: &str, to: &str) -> Result<Swapped, SwapError> {
        let (base, draft) = (self.view_metadata(key, from).await, self.draft(to).await);
        let (base, draft) = (base.map_err(SwapError::Before)?, draft.map_err(SwapError::Before)?);
        let (mut version, schema) = current(&draft).map_err(SwapError::Before)?;
        let id = version.get("schema-id").cloned().unwrap_or_default();
        let known = base.get("schemas").and_then(Value::as_array);
        let known = known.is_some_and(|all| all.iter().any(|each| each.get("schema-id") == Some(&id)));
        if let (false, Some(fields)) = (known, version.as_object_mut()) {
            // of the schema that was just added; one that is there is not added again
            fields.insert("schema-id".into(), json!(-1));
        }
        let none = serde_json::Map::new();
        let properties = |of: &Value| of.get("properties").and_then(Value::as_object).unwrap_or(&none).clone();
        let (was, now) = (properties(&base), properties(&draft));
        let gone: Vec<&String> = was.keys().filter(|key| !now.contains_key(*key)).collect();
        let added = (!known).then(|| json!({"action": "add-schema", "schema": schema}));
        let mut updates: Vec<Value> = added.into_iter().collect();
        updates.extend([
            json!({"action": "add-view-version", "view-version": version}),
            json!({"action": "set-current-view-version", "view-version-id": -1}),
            json!({"action": "set-properties", "updates": now}),
        ]);
        if !gone.is_empty() {
            updates.push(json!({"action": "remove-properties", "removals": gone}));
        }
        let body = json!({
            "identifier": super::change::identifier(key),
            "requirements": [{"type": "assert-view-uuid", "uuid": base.get("view-uuid")}],
            "updates": updates,
        });
        let path = self.path(Shelf::Views, key).await.map_err(SwapError::Before)?;
        self.send(Request::post(path, &body), &format!("view {}", shown(key))).await
    }

    async fn view_metadata(&self, key: &TableKey, location: &str) -> Result<Value> {
        let bytes = match super::Catalog::metadata(self, key, location).await? {
            Some(bytes) => bytes,
            None => self.store.read(location).await?,
        };
        serde_json::from_slice(&bytes).map_err(|e| unreadable().with_source(e))
    }
}

/// The version in force and its schema.
fn current(view: &Value) -> Result<(Value, Value)> {
    let among = |list: &str, key: &str, id: &Value| {
        let list = view.get(list).and_then(Value::as_array);
        list.and_then(|list| list.iter().find(|each| each.get(key) == Some(id))).cloned()
    };
    let id = view.get("current-version-id").ok_or_else(unreadable)?;
    let version = among("versions", "version-id", id).ok_or_else(unreadable)?;
    let schema = version.get("schema-id").and_then(|id| among("schemas", "schema-id", id)).ok_or_else(unreadable)?;
    Ok((version, schema))
}
