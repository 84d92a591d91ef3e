//! Keys to a table's files that come with its metadata ("storage-credentials", and the older "config"), and newer ones from
//! the table's `/credentials`. They are handed to the store and kept nowhere else.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::spec::TableMetadata;
use serde::Deserialize;
use serde_json::json;

use super::client::{Answer, Client, Request, unreadable};
use super::{Rest, Shelf};
use crate::error::Result;
use crate::lake::connect::{Granted, Keys, Renew};
use crate::lake::shown;
use crate::metastore::TableKey;

const CREDENTIALS: &str = "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Said {
    metadata: Option<Place>,
    #[serde(default)]
    config: HashMap<String, String>,
    #[serde(default)]
    storage_credentials: Vec<Credential>,
}

#[derive(Deserialize)]
struct Place {
    location: String,
}

#[derive(Deserialize)]
struct Credential {
    prefix: String,
    #[serde(default)]
    config: HashMap<String, String>,
}

impl Rest {
    /// Takes the keys of an answer that describes a table.
    pub(super) async fn keys(&self, shelf: Shelf, key: &TableKey, answer: &Answer) -> Result<()> {
        if !self.vended || matches!(shelf, Shelf::Views) {
            return Ok(());
        }
        let said: Said = serde_json::from_slice(&answer.body).map_err(|e| unreadable().with_source(e))?;
        let location = said.metadata.as_ref().map(|place| place.location.clone()).unwrap_or_default();
        let renew = self.renew(key, &location).await?;
        for granted in granted(&said, &location) {
            if let Err(error) = self.store.grant(&granted, Arc::clone(&renew)) {
                tracing::warn!(table = shown(key), error = ?error, "a catalog's keys to a table are of no use");
            }
        }
        Ok(())
    }

    /// How newer keys to a table are had: by its own question where the server knows it, else by its description.
    async fn renew(&self, key: &TableKey, location: &str) -> Result<Renew> {
        let table = self.path(Shelf::Tables, key).await?;
        let path = match self.client.can(CREDENTIALS, false).await? {
            true => format!("{table}/credentials"),
            false => table,
        };
        let (client, location) = (Arc::clone(&self.client), location.to_string());
        Ok(Arc::new(move || {
            let (client, path, location) = (Arc::clone(&client), path.clone(), location.clone());
            Box::pin(async move { ask(&client, path, &location).await })
        }))
    }

    /// A table that is only announced has its keys already; it is made by its first commit.
    pub(super) async fn keys_to_new(&self, key: &TableKey, metadata: &TableMetadata) -> Result<()> {
        if !self.vended {
            return Ok(());
        }
        let mut properties = metadata.properties().clone();
        properties.insert("format-version".into(), super::difference::number(metadata).to_string());
        let body = json!({
            "name": key.name,
            "location": metadata.location(),
            "schema": metadata.current_schema(),
            "partition-spec": metadata.default_partition_spec().as_ref().clone().into_unbound(),
            "write-order": metadata.default_sort_order(),
            "stage-create": true,
            "properties": properties,
        });
        let path = format!("{}/tables", self.namespace_path(&key.namespace).await?);
        let answer = self.client.read(Request::post(path, &body)).await?;
        match answer.status.is_success() {
            true => self.keys(Shelf::Tables, key, &answer).await,
            false => Err(answer.refused(&format!("table {}", shown(key)))),
        }
    }
}

async fn ask(client: &Client, path: String, location: &str) -> Result<Vec<Granted>> {
    let answer = client.read(Request::get(path)).await?;
    if !answer.status.is_success() {
        return Err(answer.refused("newer keys to a table"));
    }
    let said: Said = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
    Ok(granted(&said, location))
}

/// The specification: credentials by prefix come before those of the whole table.
fn granted(said: &Said, location: &str) -> Vec<Granted> {
    let location = location.trim_end_matches('/');
    let mut granted: Vec<Granted> = vec![];
    if let Some(keys) = Keys::of(&said.config) {
        granted.push(Granted { prefix: location.to_string(), keys });
    }
    for credential in &said.storage_credentials {
        // "s3" is for whatever there is in S3
        let prefix = if credential.prefix.contains("://") { &credential.prefix } else { location };
        let prefix = prefix.trim_end_matches('/').to_string();
        if let Some(keys) = Keys::of(&credential.config) {
            granted.retain(|known| known.prefix != prefix);
            granted.push(Granted { prefix, keys });
        }
    }
    granted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_by_prefix_come_before_those_of_the_whole_table() {
        let said = |text: &str| granted(&serde_json::from_str(text).unwrap(), "s3://b/t/");
        let prefixes = |text: &str| said(text).into_iter().map(|g| g.prefix).collect::<Vec<_>>();
        let key = r#""s3.access-key-id": "k", "s3.secret-access-key": "s""#;
        assert_eq!(prefixes(&format!(r#"{{"config": {{{key}}}}}"#)), ["s3://b/t"]);
        assert!(prefixes(r#"{"config": {"s3.access-key-id": "half"}}"#).is_empty());
        let both = format!(
            r#"{{"config": {{{key}}}, "storage-credentials": [{{"prefix": "s3", "config": {{{key}}}}},
                {{"prefix": "s3://b/t/data/", "config": {{{key}}}}}]}}"#
        );
        assert_eq!(prefixes(&both), ["s3://b/t", "s3://b/t/data"]);
    }
}
