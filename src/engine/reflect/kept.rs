//! Definitions that SQL made, as the metastore keeps them: one value a reflection. They mean what a file means that says the
//! same. Nothing is planned here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::reflection::Definition;
use crate::error::{Error, Result};
use crate::metastore::Metastore;
use crate::sql::parse::reflection::Refresh;

/// Before a reflection's name.
const PREFIX: &str = "reflection.kept/";

/// The value under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) owner: String,
    /// The statement.
    pub(crate) text: String,
    pub(crate) enabled: bool,
    /// Where ALTER has said it; else as the statement says.
    pub(crate) refresh: Option<Refresh>,
}

impl Kept {
    /// `None`: there is none of this name.
    pub(crate) async fn find(metastore: &Metastore, name: &str) -> Result<Option<Self>> {
        let value = metastore.get(&format!("{PREFIX}{name}")).await?;
        value.map(|value| serde_json::from_slice(&value).map_err(|error| unreadable(name, error))).transpose()
    }

    /// False where the name is taken.
    pub(crate) async fn add(&self, metastore: &Metastore, name: &str) -> Result<bool> {
        let value = self.bytes()?;
        Ok(metastore.put_if_absent(&format!("{PREFIX}{name}"), &value).await? == value)
    }

    pub(crate) async fn put(&self, metastore: &Metastore, name: &str) -> Result<()> {
        metastore.put(&format!("{PREFIX}{name}"), &self.bytes()?).await
    }

    pub(crate) async fn remove(metastore: &Metastore, name: &str) -> Result<()> {
        metastore.remove(&format!("{PREFIX}{name}")).await
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::internal("a reflection as JSON").with_source(e))
    }

    pub(crate) fn definition(&self) -> Result<Definition> {
        let read = Definition::read(&self.owner, &self.text, None)?;
        Ok(Definition { enabled: self.enabled, refresh: self.refresh.unwrap_or(read.refresh), ..read })
    }
}

fn unreadable(name: &str, error: serde_json::Error) -> Error {
    Error::internal(format!("what the metastore keeps of the reflection {name} cannot be read")).with_source(error)
}

/// All of them, as of the last look.
#[derive(Debug, Default)]
pub(crate) struct KeptReflections {
    metastore: Option<Arc<Metastore>>,
    values: Vec<(String, Vec<u8>)>,
    definitions: Vec<Definition>,
}

impl KeptReflections {
    pub(crate) async fn read(metastore: Option<Arc<Metastore>>) -> Self {
        let mut kept = Self { metastore, ..Self::default() };
        kept.changed().await;
        kept
    }

    pub(crate) fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// Whether there are others since. A metastore that does not answer leaves those that are known.
    pub(crate) async fn changed(&mut self) -> bool {
        let Some(metastore) = &self.metastore else { return false };
        let values = match metastore.values(PREFIX).await {
            Ok(values) => values,
            Err(error) => {
                tracing::debug!(%error, "reflections could not be looked at");
                return false;
            }
        };
        if values == self.values {
            return false;
        }
        self.definitions = values.iter().filter_map(|(name, value)| read(name, value)).collect();
        self.values = values;
        true
    }
}

fn read(name: &str, value: &[u8]) -> Option<Definition> {
    let kept = serde_json::from_slice::<Kept>(value).map_err(|error| unreadable(name, error));
    match kept.and_then(|kept| kept.definition()) {
        Ok(definition) => Some(definition),
        Err(error) => {
            tracing::error!(name, error = ?error, "a reflection that the metastore keeps is left out");
            None
        }
    }
}
