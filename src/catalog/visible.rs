//! What one principal can see, as plain values: the only input of information_schema and pg_catalog.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::types::TableName;

/// A session's view of the catalog. Objects without a grant and hidden columns are not in it.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub database: String,
    pub user: String,
    pub is_admin: bool,
    /// Roles and users this session may know of: itself and its closure; an admin knows all.
    pub roles: Vec<Role>,
    /// Schemas with something visible, and the system schemas; (name, oid).
    pub schemas: Vec<(String, u32)>,
    pub tables: Vec<VisibleTable>,
    /// name, value, description of every setting of the session.
    pub settings: Vec<(String, String, String)>,
    /// Backend process id of this session.
    pub pid: i32,
}

/// A row of pg_roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    pub oid: u32,
    /// Users log in; roles do not.
    pub login: bool,
    pub admin: bool,
    /// Names of the roles it is a direct member of.
    pub member_of: Vec<String>,
}

/// A table as the session sees it.
#[derive(Debug, Clone)]
pub struct VisibleTable {
    pub name: TableName,
    pub oid: u32,
    /// `r` table, `v` dataset.
    pub kind: char,
    /// Visible columns; nullability as the raw table's.
    pub schema: SchemaRef,
    /// What the session may do besides select.
    pub may_insert: bool,
    pub owner: String,
}

/// One relation of information_schema or pg_catalog: columns fixed, rows computed for a session.
pub trait SystemTable: Send + Sync + std::fmt::Debug {
    fn name(&self) -> TableName;
    fn schema(&self) -> SchemaRef;
    fn rows(&self, view: &View) -> Result<RecordBatch>;
}
