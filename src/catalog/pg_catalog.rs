//! pg_catalog and information_schema as ordinary tables: which relation is filled by whom. Columns and fixed rows come from
//! the image of a real PostgreSQL; what [`EMPTY`] names has no row in any lakegate, and says why. No rows are made here.

mod access;
mod activity;
pub(crate) mod attribute;
pub(super) mod class;
mod cursors;
pub mod image;
pub(crate) mod keys;
mod locks;
mod namespace;
pub mod rows;
pub(super) mod sequences;
pub mod settings;
mod statistics;
pub(crate) mod text;
pub(crate) mod timezones;
pub mod types;

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;

use self::image::Declared;
use self::rows::{Asked, Cell, Rows};
use super::information_schema;
use super::visible::View;
use crate::error::Result;
use crate::policy::{Equal, SystemRows};
use crate::types::TableName;

pub use image::SERVER_VERSION;

/// Adds the rows of a session.
pub(super) type Fill = fn(&View, &mut Rows) -> Result<()>;

/// A relation of pg_catalog or information_schema.
#[derive(Debug, Clone, Copy)]
pub struct Relation {
    declared: &'static Declared,
    fill: Option<Fill>,
}

/// The relation of this name; `None` where there is none.
pub fn relation(name: &TableName) -> Option<Relation> {
    let declared = image::relation_by_name(name)?;
    let fill = match name.schema.as_str() {
        "pg_catalog" => fill(&name.table),
        "information_schema" => information_schema::fill(&name.table),
        // nothing is stored out of line
        _ => None,
    };
    Some(Relation { declared, fill })
}

fn fill(table: &str) -> Option<Fill> {
    Some(match table {
        "pg_attrdef" => attribute::pg_attrdef,
        "pg_attribute" => attribute::pg_attribute,
        "pg_auth_members" => access::pg_auth_members,
        "pg_authid" => access::pg_authid,
        "pg_available_extension_versions" => text::pg_available_extension_versions,
        "pg_available_extensions" => text::pg_available_extensions,
        "pg_class" => class::pg_class,
        "pg_constraint" => keys::pg_constraint,
        "pg_cursors" => cursors::pg_cursors,
        "pg_database" => namespace::pg_database,
        "pg_depend" => class::pg_depend,
        "pg_description" => text::pg_description,
        "pg_group" => access::pg_group,
        "pg_index" => keys::pg_index,
        "pg_indexes" => keys::pg_indexes,
        "pg_locks" => locks::pg_locks,
        "pg_matviews" => class::pg_matviews,
        "pg_namespace" => namespace::pg_namespace,
        "pg_rewrite" => class::pg_rewrite,
        "pg_roles" => access::pg_roles,
        "pg_sequence" => sequences::pg_sequence,
        "pg_sequences" => sequences::pg_sequences,
        "pg_settings" => settings::pg_settings,
        "pg_shadow" => access::pg_shadow,
        "pg_stat_activity" => activity::pg_stat_activity,
        "pg_stat_all_indexes" | "pg_statio_all_indexes" => statistics::all_indexes,
        "pg_stat_all_tables" | "pg_stat_xact_all_tables" | "pg_statio_all_tables" => statistics::all_tables,
        "pg_stat_archiver" => statistics::pg_stat_archiver,
        "pg_stat_bgwriter" => statistics::pg_stat_bgwriter,
        "pg_stat_database" => activity::pg_stat_database,
        "pg_stat_database_conflicts" => activity::pg_stat_database_conflicts,
        "pg_stat_gssapi" => activity::pg_stat_gssapi,
        "pg_stat_ssl" => activity::pg_stat_ssl,
        "pg_stat_sys_indexes" | "pg_statio_sys_indexes" => statistics::system_indexes,
        "pg_stat_sys_tables" | "pg_stat_xact_sys_tables" | "pg_statio_sys_tables" => statistics::system_tables,
        "pg_stat_user_indexes" | "pg_statio_user_indexes" => statistics::user_indexes,
        "pg_stat_user_tables" | "pg_stat_xact_user_tables" | "pg_statio_user_tables" => statistics::user_tables,
        "pg_stat_wal" => statistics::pg_stat_wal,
        "pg_tables" => class::pg_tables,
        "pg_timezone_abbrevs" => timezones::pg_timezone_abbrevs,
        "pg_timezone_names" => timezones::pg_timezone_names,
        "pg_type" => types::pg_type,
        "pg_user" => access::pg_user,
        "pg_views" => class::pg_views,
        _ => return None,
    })
}

/// Relations of pg_catalog without a row, each with what is absent here.
#[cfg(test)]
const EMPTY: &[(&str, &[&str])] = &[
    ("large objects", &["pg_largeobject", "pg_largeobject_metadata"]),
    ("enums, whose columns are shown as texts", &["pg_enum"]),
    ("default privileges", &["pg_default_acl"]),
    ("inheritance and partitions, which are read through their parents", &["pg_inherits", "pg_partitioned_table"]),
    ("rules and triggers", &["pg_rules", "pg_trigger", "pg_event_trigger"]),
    ("statistics of sequences", &["pg_statio_all_sequences", "pg_statio_sys_sequences", "pg_statio_user_sequences"]),
    ("policies as rows: files hold them", &["pg_policies", "pg_policy", "pg_parameter_acl", "pg_init_privs"]),
    ("dependencies on what all databases share", &["pg_shdepend"]),
    (
        "foreign data wrappers: sources stand in files",
        &["pg_foreign_data_wrapper", "pg_foreign_server", "pg_foreign_table", "pg_user_mapping", "pg_user_mappings"],
    ),
    (
        "replication",
        &[
            "pg_publication",
            "pg_publication_namespace",
            "pg_publication_rel",
            "pg_publication_tables",
            "pg_replication_origin",
            "pg_replication_origin_status",
            "pg_replication_slots",
            "pg_stat_recovery_prefetch",
            "pg_stat_replication",
            "pg_stat_replication_slots",
            "pg_stat_subscription",
            "pg_stat_subscription_stats",
            "pg_stat_wal_receiver",
            "pg_subscription",
            "pg_subscription_rel",
        ],
    ),
    (
        "statistics of values, which would tell of hidden rows",
        &[
            "pg_statistic",
            "pg_statistic_ext",
            "pg_statistic_ext_data",
            "pg_stats",
            "pg_stats_ext",
            "pg_stats_ext_exprs",
        ],
    ),
    (
        "work that is under way elsewhere",
        &[
            "pg_stat_progress_analyze",
            "pg_stat_progress_basebackup",
            "pg_stat_progress_cluster",
            "pg_stat_progress_copy",
            "pg_stat_progress_create_index",
            "pg_stat_progress_vacuum",
            "pg_prepared_xacts",
        ],
    ),
    ("functions that somebody made", &["pg_stat_user_functions", "pg_stat_xact_user_functions", "pg_transform"]),
    ("security labels", &["pg_seclabel", "pg_seclabels", "pg_shseclabel"]),
    ("comments on what all databases share", &["pg_shdescription"]),
    ("settings of roles and databases", &["pg_db_role_setting"]),
    (
        "the server's own files and memory, which are nobody's to read",
        &[
            "pg_backend_memory_contexts",
            "pg_config",
            "pg_file_settings",
            "pg_hba_file_rules",
            "pg_ident_file_mappings",
            "pg_shmem_allocations",
            "pg_stat_slru",
        ],
    ),
    ("what a session keeps is not yet told", &["pg_prepared_statements"]),
];

impl Relation {
    /// Its rows for a session.
    pub fn seen_by(self, view: &Arc<View>) -> Arc<dyn SystemRows> {
        Arc::new(Seen { relation: self, view: Arc::clone(view) })
    }

    /// The rows that everybody sees, then the session's.
    pub(crate) fn read(&self, view: &View, asked: &Asked) -> Result<Vec<RecordBatch>> {
        let mut batches = vec![];
        let fixed = image::fixed(self.declared)?;
        if fixed.num_rows() > 0 {
            batches.push(match &asked.columns {
                Some(columns) => fixed.project(columns)?,
                None => fixed,
            });
        }
        if let Some(fill) = self.fill {
            let mut rows = Rows::new(self.declared, asked);
            fill(view, &mut rows)?;
            batches.push(rows.finish()?);
        }
        Ok(batches)
    }
}

/// A relation as one session sees it.
struct Seen {
    relation: Relation,
    view: Arc<View>,
}

/// The view stays out: plans are printed to logs.
impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.relation.declared.name)
    }
}

impl SystemRows for Seen {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.relation.declared.schema)
    }

    fn read(&self, columns: &[usize], equal: &[Equal]) -> Result<Vec<RecordBatch>> {
        let equal = equal.iter().filter_map(|(column, values)| {
            Some((column.clone(), values.iter().map(cell).collect::<Option<Vec<_>>>()?))
        });
        let asked = Asked { columns: Some(columns.to_vec()), equal: equal.collect() };
        self.relation.read(&self.view, &asked)
    }
}

/// `None` for a value of a type by which no rows are left out.
fn cell(value: &ScalarValue) -> Option<Cell> {
    Some(match value {
        ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text) => text.as_ref().into(),
        ScalarValue::UInt32(number) => (*number).into(),
        ScalarValue::Int16(number) => (*number).into(),
        ScalarValue::Int32(number) => (*number).into(),
        ScalarValue::Int64(number) => (*number).into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
