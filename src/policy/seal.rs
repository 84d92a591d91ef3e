//! Sealed: schema yes, scan no. A [`TableSource`], not a `TableProvider`: there is no `scan` to forget to refuse, so a
//! plan whose guard was forgotten fails in the physical planner instead of returning rows. It carries no statistics.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::TableSource;

use super::{Grant, Object, Past, SystemRows};
use crate::error::Result;
use crate::types::{ObjectId, Reads, TableName};

/// The rows of a temporary table, as they are when they are asked for.
pub trait OwnRows: std::fmt::Debug + Send + Sync {
    fn batches(&self) -> Result<Vec<RecordBatch>>;
}

/// What every name resolves to.
#[derive(Debug)]
pub struct Sealed {
    pub(in crate::policy) content: Content,
    /// The principal's schema: hidden columns absent.
    pub(in crate::policy) schema: SchemaRef,
}

#[derive(Debug)]
pub(in crate::policy) enum Content {
    Object(Arc<Object>),
    /// A table as it was, under the rules about the table.
    Past(Arc<Object>, Arc<Past>),
    /// A system relation: its rows are computed for this session and need no grant.
    System {
        name: TableName,
        rows: Arc<dyn SystemRows>,
    },
    /// The table that a statement changes: its rows as the principal sees them and, for the statement's own use, where
    /// they are and what of them it may not see.
    Target {
        object: Arc<Object>,
        place: Vec<FieldRef>,
    },
    /// What a source answers to a text that it runs as it stands: under no rule about a table, by a right of its own.
    Query(Query),
    /// A temporary table of the session that made it: no other one resolves its name, and it needs no grant.
    Own {
        name: TableName,
        rows: Arc<dyn OwnRows>,
    },
}

/// A text that a source runs, described and not run.
pub struct Query {
    pub source: Arc<str>,
    /// Equal for equal texts.
    pub text_hash: u64,
    pub provider: Arc<dyn TableProvider>,
    pub reads: Reads,
}

/// Without its provider, which may print the text.
impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Sealed {
    /// An object under the principal's grant: the schema a statement is planned with.
    pub fn object(object: Arc<Object>, grant: &Grant) -> Arc<dyn TableSource> {
        let schema = grant.visible(&object.schema);
        Arc::new(Self { content: Content::Object(object), schema })
    }

    /// As [`Sealed::object`], for one of its earlier versions. 42501 where no rule can be asked of it.
    pub fn past(object: Arc<Object>, past: Arc<Past>, grant: &Grant) -> Result<Arc<dyn TableSource>> {
        let schema = past.grant(grant)?.visible(&past.schema);
        Ok(Arc::new(Self { content: Content::Past(object, past), schema }))
    }

    /// A dataset's body is planned over tables as its owner sees them before any policy exists (reading schemas at load).
    pub fn unopenable(object: Arc<Object>) -> Arc<dyn TableSource> {
        Self::object(object, &Grant::full())
    }

    /// The table that a statement changes. `place`: by which its source knows a row.
    pub fn target(object: Arc<Object>, grant: &Grant, place: Vec<FieldRef>) -> Arc<dyn TableSource> {
        let schema = grant.target(&object.schema, &place);
        Arc::new(Self { content: Content::Target { object, place }, schema })
    }

    /// Whoever runs it needs the right to query the source, which is asked again when it is opened.
    pub fn query(query: Query) -> Arc<dyn TableSource> {
        let schema = query.provider.schema();
        Arc::new(Self { content: Content::Query(query), schema })
    }

    /// `None` for what is no object of a catalog.
    pub(crate) fn object_id(&self) -> Option<ObjectId> {
        match &self.content {
            Content::Object(object) | Content::Past(object, _) | Content::Target { object, .. } => Some(object.id),
            Content::System { .. } | Content::Query(_) | Content::Own { .. } => None,
        }
    }

    /// One of a table's earlier versions.
    pub(crate) fn is_past(&self) -> bool {
        matches!(self.content, Content::Past(..))
    }

    /// A table that the session itself made.
    pub fn own(name: TableName, schema: SchemaRef, rows: Arc<dyn OwnRows>) -> Arc<dyn TableSource> {
        Arc::new(Self { content: Content::Own { name, rows }, schema })
    }

    /// Rows that are computed from what this session may see.
    pub fn system(name: TableName, rows: Arc<dyn SystemRows>) -> Arc<dyn TableSource> {
        let schema = rows.schema();
        Arc::new(Self { content: Content::System { name, rows }, schema })
    }
}

impl TableSource for Sealed {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
