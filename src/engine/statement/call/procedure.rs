//! The procedures: names, parameters with their defaults, and the columns of what they answer.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Utc};

use super::arguments::Given;
use crate::error::{Error, Kind, Result};
use crate::pgtype::{self, Ty, oid};

/// The schema of all of them.
pub(super) const SCHEMA: &str = "lakegate";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Procedure {
    Compact,
    ExpireSnapshots,
    RemoveOrphans,
    RewriteManifests,
    Of(Wish),
    RefreshSource,
    AdviseReflections,
}

/// What a person has a pipeline do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Pause,
    Resume,
    Resync,
    Replay,
    Run,
}

/// A parameter; all but the first may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    Table,
    Pipeline,
    From,
    Source,
    OlderThan,
    RetainLast,
    DryRun,
}

/// With defaults for what was left out.
#[derive(Clone, Debug)]
pub(super) struct Values {
    /// Of the table, the pipeline or the source.
    pub(super) name: String,
    /// Where a table may be left out.
    pub(super) table: Option<String>,
    pub(super) from: Option<String>,
    pub(super) older_than: Option<DateTime<Utc>>,
    pub(super) retain_last: Option<i64>,
    pub(super) dry_run: bool,
}

impl Procedure {
    const ALL: [Self; 11] = [
        Self::Compact,
        Self::ExpireSnapshots,
        Self::RemoveOrphans,
        Self::RewriteManifests,
        Self::Of(Wish::Pause),
        Self::Of(Wish::Resume),
        Self::Of(Wish::Resync),
        Self::Of(Wish::Replay),
        Self::Of(Wish::Run),
        Self::RefreshSource,
        Self::AdviseReflections,
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|procedure| procedure.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Compact => "compact",
            Self::ExpireSnapshots => "expire_snapshots",
            Self::RemoveOrphans => "remove_orphans",
            Self::RewriteManifests => "rewrite_manifests",
            Self::Of(Wish::Pause) => "pause_pipeline",
            Self::Of(Wish::Resume) => "resume_pipeline",
            Self::Of(Wish::Resync) => "resync_pipeline",
            Self::Of(Wish::Replay) => "replay_dead_letters",
            Self::Of(Wish::Run) => "run_pipeline",
            Self::RefreshSource => "refresh_source",
            Self::AdviseReflections => "advise_reflections",
        }
    }

    pub(super) fn parameters(self) -> &'static [Parameter] {
        match self {
            Self::Compact | Self::RewriteManifests => &[Parameter::Table],
            Self::ExpireSnapshots => &[Parameter::Table, Parameter::OlderThan, Parameter::RetainLast],
            // A look first: what is removed is gone.
            Self::RemoveOrphans => &[Parameter::Table, Parameter::DryRun, Parameter::OlderThan],
            Self::Of(Wish::Resume) => &[Parameter::Pipeline, Parameter::From],
            Self::Of(Wish::Pause | Wish::Resync | Wish::Replay | Wish::Run) => &[Parameter::Pipeline],
            Self::RefreshSource => &[Parameter::Source],
            Self::AdviseReflections => &[Parameter::Table],
        }
    }

    /// What it is about: the one parameter that has no default, if any.
    pub(super) fn subject(self) -> Option<Parameter> {
        match self {
            Self::Compact | Self::ExpireSnapshots | Self::RemoveOrphans | Self::RewriteManifests => {
                Some(Parameter::Table)
            }
            Self::Of(_) => Some(Parameter::Pipeline),
            Self::RefreshSource => Some(Parameter::Source),
            // of all tables
            Self::AdviseReflections => None,
        }
    }

    pub(super) fn columns(self) -> SchemaRef {
        let counts =
            |names: &[&str]| names.iter().map(|n| pgtype::field(n, Ty::INT8, DataType::Int64)).collect::<Vec<_>>();
        let texts =
            |names: &[&str]| names.iter().map(|n| pgtype::field(n, Ty::TEXT, DataType::Utf8)).collect::<Vec<_>>();
        let columns: Vec<_> = match self {
            Self::Compact => {
                counts(&["files_before", "files_after", "bytes_before", "bytes_after", "rows", "files_given_up"])
            }
            Self::ExpireSnapshots => counts(&["snapshots", "refs", "files"]),
            Self::RemoveOrphans => {
                vec![pgtype::field("file", Ty::TEXT, DataType::Utf8), pgtype::field("bytes", Ty::INT8, DataType::Int64)]
            }
            Self::RewriteManifests => counts(&["manifests_before", "manifests_after"]),
            Self::Of(Wish::Pause | Wish::Run) => texts(&["pipeline"]),
            Self::Of(Wish::Resume | Wish::Resync) => texts(&["table_name", "position"]),
            Self::Of(Wish::Replay) => {
                texts(&["table_name"]).into_iter().chain(counts(&["rows", "resolved", "left_over"])).collect()
            }
            Self::RefreshSource => counts(&["tables"]),
            Self::AdviseReflections => texts(&["definition", "table_name"])
                .into_iter()
                .chain(counts(&["statements", "rows_read", "expected_groups", "expected_bytes", "saved_ms"]))
                .collect(),
        };
        Arc::new(Schema::new(columns))
    }

    /// Of the one row that the arguments make.
    pub(super) fn values(self, given: &Given, row: &RecordBatch) -> Result<Values> {
        let column = |parameter| {
            let at = given.assigned(self)?.iter().position(|given| *given == parameter)?;
            row.columns().get(at).filter(|column| column.is_valid(0))
        };
        let text = |parameter| column(parameter)?.as_string_opt::<i32>().map(|c| c.value(0).to_string());
        let at = column(Parameter::OlderThan).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
        let count = column(Parameter::RetainLast).and_then(|c| c.as_primitive_opt::<Int64Type>());
        let flag = column(Parameter::DryRun).and_then(|c| c.as_boolean_opt());
        let older_than = match at.map(|at| at.value(0)) {
            None => None,
            // 'infinity' and its like are no moments.
            Some(micros) => Some(
                DateTime::from_timestamp_micros(micros)
                    .ok_or_else(|| Error::new(Kind::DateRange, "timestamp out of range"))?,
            ),
        };
        Ok(Values {
            name: match self.subject() {
                Some(subject) => text(subject).ok_or_else(|| subject.is_null())?,
                None => String::new(),
            },
            table: text(Parameter::Table),
            from: text(Parameter::From),
            older_than,
            retain_last: count.map(|count| count.value(0)),
            dry_run: flag.is_none_or(|flag| flag.value(0)),
        })
    }
}

impl Parameter {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Table => "table_name",
            Self::Pipeline => "pipeline",
            // "from" is a keyword, which a name of an argument would have to be quoted for.
            Self::From => "go_on_from",
            Self::Source => "source_name",
            Self::OlderThan => "older_than",
            Self::RetainLast => "retain_last",
            Self::DryRun => "dry_run",
        }
    }

    pub(super) fn ty(self) -> Ty {
        match self {
            Self::Table | Self::Pipeline | Self::From | Self::Source => Ty::TEXT,
            Self::OlderThan => Ty::of(oid::TIMESTAMPTZ),
            Self::RetainLast => Ty::INT8,
            Self::DryRun => Ty::BOOL,
        }
    }

    fn is_null(self) -> Error {
        let what = match self {
            Self::Table => "the name of a table",
            Self::Source => "the name of a source",
            Self::Pipeline => "the name of a pipeline",
            Self::From | Self::OlderThan | Self::RetainLast | Self::DryRun => self.name(),
        };
        Error::new(Kind::NullNotAllowed, format!("{what} must not be null"))
    }

    /// How its values lie.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Table | Self::Pipeline | Self::From | Self::Source => DataType::Utf8,
            Self::OlderThan => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::RetainLast => DataType::Int64,
            Self::DryRun => DataType::Boolean,
        }
    }

    /// Whether a value of another type becomes one of it without a cast (pg_cast, implicit).
    pub(super) fn takes(self, given: u32) -> bool {
        given == self.ty().oid
            || match self {
                Self::Table => matches!(given, oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::CHAR | oid::REGCLASS),
                Self::Source | Self::Pipeline | Self::From => {
                    matches!(given, oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::CHAR)
                }
                Self::OlderThan => matches!(given, oid::DATE | oid::TIMESTAMP),
                Self::RetainLast => matches!(given, oid::INT2 | oid::INT4),
                Self::DryRun => false,
            }
    }
}
