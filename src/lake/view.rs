//! Views of a lake: rows of its catalog beside the tables', whose location is an Iceberg view metadata file. A view is
//! made, replaced, renamed and dropped by one swap, as a table is. What its text means is nobody's business here: it is kept
//! and given back.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use iceberg::NamespaceIdent;
use iceberg::spec::{
    NestedField, PrimitiveType, Schema, Type, ViewFormatVersion, ViewMetadata, ViewMetadataBuilder, ViewRepresentation,
    ViewVersion,
};
use serde::{Deserialize, Serialize};

use super::commit::{directory, taken, unknown};
use super::{Lake, RowKind, TableKey, connect, shown};
use crate::error::{Error, Kind, Result};
use crate::metastore::{Also, Swap, SwapError, Swapped};

/// The dialect of our representation, by which other engines know it.
const DIALECT: &str = "postgres";
/// Properties of a view: by whose rights its text is read, its columns as PostgreSQL has them, its comment.
const OWNER: &str = "lakegate.owner";
const COLUMNS: &str = "lakegate.columns";
const COMMENT: &str = "comment";
/// What a view's file may have: it is read whole whenever its row is new.
const METADATA_BYTES_MAX: usize = 8 << 20;

/// A view as one metadata file describes it. Immutable; the base of whatever changes it.
#[derive(Clone, Debug)]
pub struct View {
    pub key: TableKey,
    /// Of the metadata file, as the catalog names it.
    pub location: String,
    metadata: Arc<ViewMetadata>,
}

/// What a view is, whoever keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewText {
    /// A query in PostgreSQL's dialect, in which every table has its schema.
    pub sql: String,
    /// By whose rights it is read.
    pub owner: String,
    pub columns: Vec<ViewColumn>,
    pub comment: Option<String>,
}

/// A column of a view. It keeps its id when the view is replaced or the column renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewColumn {
    pub id: i32,
    pub name: String,
    pub oid: u32,
    pub typmod: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// What other engines are told; not kept beside the schema that says it.
    #[serde(skip, default = "text")]
    pub lies: DataType,
}

impl View {
    /// The view's own identity: it survives renames and replacements and dies with a drop.
    pub fn uuid(&self) -> uuid::Uuid {
        self.metadata.uuid()
    }

    /// 0A000 for a view that another engine made in a dialect of its own.
    pub fn text(&self) -> Result<ViewText> {
        let foreign = || {
            let text = format!("view {} was made by another engine and cannot be read here", shown(&self.key));
            Error::new(Kind::Unsupported, text)
        };
        let mut representations = self.metadata.current_version().representations().iter();
        let ours = representations.find_map(|ViewRepresentation::Sql(text)| (text.dialect == DIALECT).then_some(text));
        let properties = self.metadata.properties();
        let (Some(text), Some(owner), Some(columns)) = (ours, properties.get(OWNER), properties.get(COLUMNS)) else {
            return Err(foreign());
        };
        let columns = serde_json::from_str(columns).map_err(|e| foreign().with_source(e))?;
        Ok(ViewText { sql: text.sql.clone(), owner: owner.clone(), columns, comment: properties.get(COMMENT).cloned() })
    }
}

impl Lake {
    /// The view as the metadata file at `location` describes it.
    pub async fn load_view(&self, key: &TableKey, location: &str) -> Result<View> {
        let bytes = self.metadata_bytes(key, location).await?;
        if bytes.len() > METADATA_BYTES_MAX {
            return Err(Error::new(Kind::TooLarge, format!("the metadata file of view {} is too large", shown(key))));
        }
        let metadata: ViewMetadata = serde_json::from_slice(&bytes).map_err(|e| {
            Error::new(Kind::SourceFailed, format!("the metadata of view {} cannot be read", shown(key))).with_source(e)
        })?;
        Ok(View { key: key.clone(), location: location.into(), metadata: Arc::new(metadata) })
    }

    /// The view as it was last changed, `None` where there is none.
    pub async fn view(&self, key: &TableKey) -> Result<Option<View>> {
        match self.catalog.row(key).await? {
            Some(row) if row.kind == RowKind::View => self.load_view(key, &row.location).await.map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// 42P07 where the name is taken, 3F000 where the namespace is not there.
    pub async fn create_view(&self, key: &TableKey, text: &ViewText) -> Result<View> {
        self.free(key).await?;
        let id = uuid::Uuid::now_v7().simple();
        let location = format!("{}/{}/{}-{id}", self.warehouse, directory(&key.namespace), directory(&key.name));
        let builder = ViewMetadataBuilder::new(
            location,
            schema(&text.columns)?,
            version(key, text)?,
            ViewFormatVersion::V1,
            properties(text).map_err(connect::broken)?,
        );
        let built = builder.and_then(ViewMetadataBuilder::build).map_err(connect::broken)?;
        let view = self.put_view(key, built.metadata).await?;
        let insert = Swap::InsertView { table: key.clone(), to: view.location.clone() };
        match self.swap_view(&[insert], key, Some(&view.location)).await? {
            true => Ok(view),
            false => Err(taken(key)),
        }
    }

    /// Puts `text` in the place of what `base` says. 40001 where somebody changed the view meanwhile.
    pub async fn replace_view(&self, base: &View, text: &ViewText) -> Result<View> {
        let key = &base.key;
        let builder = ViewMetadataBuilder::new_from_metadata(base.metadata.as_ref().clone());
        let removed = if text.comment.is_none() { vec![COMMENT.to_string()] } else { vec![] };
        let built = builder
            .set_current_version(version(key, text)?, schema(&text.columns)?)
            .and_then(|builder| builder.remove_properties(&removed).set_properties(properties(text)?.clone()))
            .and_then(ViewMetadataBuilder::build)
            .map_err(connect::broken)?;
        let view = self.put_view(key, built.metadata).await?;
        let update = Swap::Update { table: key.clone(), from: base.location.clone(), to: view.location.clone() };
        match self.swap_view(&[update], key, Some(&view.location)).await? {
            true => Ok(view),
            false => Err(changed(key)),
        }
    }

    /// To another name of this lake. 42P07 where that is taken.
    pub async fn rename_view(&self, base: &View, to: &TableKey) -> Result<()> {
        self.free(to).await?;
        let rename = Swap::Rename { table: base.key.clone(), at: base.location.clone(), to: to.clone() };
        match self.swap_view(&[rename], to, Some(&base.location)).await? {
            true => Ok(()),
            false if self.catalog.row(to).await?.is_some() => Err(taken(to)),
            false => Err(changed(&base.key)),
        }
    }

    pub async fn drop_view(&self, base: &View) -> Result<()> {
        let delete = Swap::Delete { table: base.key.clone(), from: base.location.clone() };
        match self.swap_view(&[delete], &base.key, None).await? {
            true => Ok(()),
            false => Err(changed(&base.key)),
        }
    }

    /// Its file is named after nothing, so that none is ever written twice.
    async fn put_view(&self, key: &TableKey, metadata: ViewMetadata) -> Result<View> {
        let (number, id) = (metadata.current_version_id(), uuid::Uuid::new_v4());
        let location = format!("{}/metadata/{number:05}-{id}.metadata.json", metadata.location());
        let bytes = serde_json::to_vec(&metadata).map_err(|e| connect::broken(e.into()))?;
        if bytes.len() > METADATA_BYTES_MAX {
            return Err(Error::new(Kind::TooLarge, format!("the definition of view {} is too large", key.name)));
        }
        self.store.write(&location, bytes).await?;
        Ok(View { key: key.clone(), location, metadata: Arc::new(metadata) })
    }

    /// False where a row did not stand as it must. Where an answer is lost, the row of `key` tells: it stands at `to` after
    /// the change, `None` where the change takes it away.
    async fn swap_view(&self, swaps: &[Swap], key: &TableKey, to: Option<&str>) -> Result<bool> {
        match self.catalog.swap(swaps, &Also::default()).await {
            Ok(Swapped::Done) => Ok(true),
            Ok(Swapped::Moved | Swapped::LeaseLost) => Ok(false),
            Err(SwapError::Before(error)) => Err(error),
            Err(SwapError::Unknown(_)) => match self.catalog.row(key).await {
                Ok(row) if row.as_ref().map(|row| row.location.as_str()) == to => Ok(true),
                Ok(_) | Err(_) => Err(unknown(key)),
            },
        }
    }
}

fn changed(key: &TableKey) -> Error {
    super::overtaken().with_detail(format!("View \"{}\" was changed or dropped meanwhile.", key.name))
}

fn properties(text: &ViewText) -> Result<HashMap<String, String>, iceberg::Error> {
    let mut properties = HashMap::from([
        (OWNER.to_string(), text.owner.clone()),
        (COLUMNS.to_string(), serde_json::to_string(&text.columns)?),
    ]);
    properties.extend(text.comment.clone().map(|comment| (COMMENT.to_string(), comment)));
    Ok(properties)
}

/// The crate gives no other way to make one than from its JSON.
fn version(key: &TableKey, text: &ViewText) -> Result<ViewVersion> {
    let namespace = NamespaceIdent::new(key.namespace.clone());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let version = serde_json::json!({
        "version-id": 1,
        "schema-id": 0,
        "timestamp-ms": u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        "summary": {"engine-name": "lakegate", "engine-version": env!("CARGO_PKG_VERSION")},
        "representations": [{"type": "sql", "sql": text.sql, "dialect": DIALECT}],
        "default-namespace": namespace.inner(),
    });
    serde_json::from_value(version).map_err(|e| connect::broken(e.into()))
}

/// For other engines: what Iceberg has no type for is text to them.
fn schema(columns: &[ViewColumn]) -> Result<Schema> {
    let field =
        |column: &ViewColumn| Arc::new(NestedField::optional(column.id, &column.name, Type::Primitive(of(column))));
    let schema = Schema::builder().with_fields(columns.iter().map(field)).build();
    schema.map_err(|e| Error::new(Kind::InvalidDefinition, "these columns do not make a view").with_source(e))
}

fn of(column: &ViewColumn) -> PrimitiveType {
    match &column.lies {
        DataType::Boolean => PrimitiveType::Boolean,
        DataType::Int16 | DataType::Int32 => PrimitiveType::Int,
        DataType::Int64 => PrimitiveType::Long,
        DataType::Float32 => PrimitiveType::Float,
        DataType::Float64 => PrimitiveType::Double,
        DataType::Date32 => PrimitiveType::Date,
        DataType::Time64(_) => PrimitiveType::Time,
        DataType::Timestamp(_, None) => PrimitiveType::Timestamp,
        DataType::Timestamp(_, Some(_)) => PrimitiveType::Timestamptz,
        DataType::Binary => PrimitiveType::Binary,
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            PrimitiveType::Decimal { precision: u32::from(*precision), scale: scale.unsigned_abs().into() }
        }
        _ => PrimitiveType::String,
    }
}

fn text() -> DataType {
    DataType::Utf8
}

#[cfg(test)]
mod tests;
