//! Our error through DataFusion's traits and back: it travels as `External` and is dug out by walking sources.
//! What DataFusion itself says is sorted into kinds here; its texts reach a client only where they name nothing hidden.

use std::error::Error as StdError;

use datafusion::error::DataFusionError;

use super::{Error, Kind};

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        match recover(error) {
            Ok(ours) => ours,
            Err(theirs) => sort(theirs),
        }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        DataFusionError::from(error).into()
    }
}

impl Error {
    /// For what is raised once policy is part of the plan: a planner's own text may print conditions, masks, files and
    /// the bodies of datasets, so none of it is told. What a constant of the statement's own computes to still is.
    pub(crate) fn behind_guard(error: DataFusionError) -> Self {
        let error = match recover(error) {
            Ok(ours) => return ours,
            Err(theirs) => theirs,
        };
        let speaks = matches!(
            error.find_root(),
            DataFusionError::Plan(_)
                | DataFusionError::NotImplemented(_)
                | DataFusionError::SchemaError(..)
                | DataFusionError::SQL(..)
        );
        if speaks {
            return Error::unsupported("a statement of this form").with_source(error.strip_backtrace());
        }
        sort(error)
    }
}

/// Takes our own error out of the wrappings DataFusion put around it, by value where it can.
fn recover(error: DataFusionError) -> Result<Error, DataFusionError> {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => Ok(*ours),
            Err(inner) => match inner.downcast::<DataFusionError>() {
                Ok(nested) => recover(*nested),
                Err(inner) => match inner.downcast::<arrow::error::ArrowError>() {
                    Ok(nested) => recover(DataFusionError::ArrowError(nested, None)),
                    Err(inner) => Err(DataFusionError::External(inner)),
                },
            },
        },
        DataFusionError::Context(text, inner) => {
            recover(*inner).map_err(|e| DataFusionError::Context(text, Box::new(e)))
        }
        DataFusionError::Diagnostic(diagnostic, inner) => {
            recover(*inner).map_err(|e| DataFusionError::Diagnostic(diagnostic, Box::new(e)))
        }
        DataFusionError::ArrowError(inner, trace) => match *inner {
            arrow::error::ArrowError::ExternalError(boxed) => recover(DataFusionError::External(boxed)),
            other => Err(DataFusionError::ArrowError(Box::new(other), trace)),
        },
        DataFusionError::ParquetError(inner) => match *inner {
            parquet::errors::ParquetError::External(boxed) if boxed.is::<Error>() => {
                recover(DataFusionError::External(boxed))
            }
            other => Err(DataFusionError::ParquetError(Box::new(other))),
        },
        DataFusionError::Shared(shared) => match clone_ours(shared.as_ref()) {
            Some(ours) => Ok(ours),
            None => Err(DataFusionError::Shared(shared)),
        },
        DataFusionError::Collection(mut all) if !all.is_empty() => recover(all.swap_remove(0)),
        other => Err(other),
    }
}

/// A shared error cannot be moved out: what a client may read is copied, the source stays with the log of the first.
fn clone_ours(error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut at: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(e) = at {
        if let Some(ours) = e.downcast_ref::<Error>() {
            let mut copy = Error::new(ours.kind(), ours.message()).with_sqlstate(ours.sqlstate());
            if let Some(context) = ours.context() {
                copy = copy.in_context(context);
            }
            if let Some(detail) = ours.detail() {
                copy = copy.with_detail(detail);
            }
            if let Some(hint) = ours.hint() {
                copy = copy.with_hint(hint);
            }
            return Some(copy);
        }
        at = e.source();
    }
    None
}

/// DataFusion's own errors. The fixed texts are PostgreSQL's; the original goes to the source chain.
fn sort(error: DataFusionError) -> Error {
    use arrow::error::ArrowError;
    use datafusion::common::SchemaError;
    let root = error.find_root();
    let (kind, message) = match root {
        DataFusionError::SQL(parser, _) => (Kind::Syntax, syntax(&parser.to_string())),
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, .. } => {
                (Kind::UndefinedColumn, format!("column \"{}\" does not exist", column(field)))
            }
            SchemaError::AmbiguousReference { field } => {
                (Kind::AmbiguousColumn, format!("column reference \"{}\" is ambiguous", field.name()))
            }
            SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
                (Kind::DuplicateColumn, format!("column \"{name}\" specified more than once"))
            }
        },
        DataFusionError::ArrowError(arrow, _) => match arrow.as_ref() {
            ArrowError::DivideByZero => (Kind::DivisionByZero, "division by zero".into()),
            ArrowError::ArithmeticOverflow(_) => (Kind::NumericRange, "value out of range".into()),
            ArrowError::CastError(_) | ArrowError::ParseError(_) => {
                (Kind::InvalidText, "invalid input syntax for the target type".into())
            }
            ArrowError::InvalidArgumentError(_) | ArrowError::ComputeError(_) => {
                (Kind::InvalidParameter, "invalid argument".into())
            }
            _ => (Kind::Internal, "internal error".into()),
        },
        DataFusionError::ResourcesExhausted(_) => (Kind::OutOfMemory, "out of memory".into()),
        DataFusionError::NotImplemented(text) => (Kind::Unsupported, plain(text)),
        // types fit and names are found before DataFusion sees a plan: what it refuses is a fault of ours
        DataFusionError::Plan(_) => (Kind::Internal, "internal error".into()),
        DataFusionError::ObjectStore(_) | DataFusionError::ParquetError(_) | DataFusionError::IoError(_) => {
            (Kind::SourceFailed, "a data file could not be read".into())
        }
        DataFusionError::Execution(_) | DataFusionError::External(_) => {
            (Kind::InvalidParameter, "the statement could not be computed".into())
        }
        _ => (Kind::Internal, "internal error".into()),
    };
    Error::new(kind, message).with_source(error.strip_backtrace())
}

fn column(field: &datafusion::common::Column) -> String {
    match &field.relation {
        Some(relation) => format!("{}.{}", relation.table(), field.name),
        None => field.name.clone(),
    }
}

/// sqlparser says `sql parser error: Expected: …, found: x at Line: 1, Column: 8`; Postgres says what it stumbled on.
fn syntax(text: &str) -> String {
    let text = text.trim_start_matches("sql parser error: ");
    match text.split_once("found: ").map(|(_, rest)| rest.split(" at Line").next().unwrap_or(rest)) {
        Some("EOF") => "syntax error at end of input".into(),
        Some(found) => format!("syntax error at or near \"{found}\""),
        None => format!("syntax error: {text}"),
    }
}

/// First line only, without DataFusion's advice to open an issue.
fn plain(text: &str) -> String {
    text.lines().next().unwrap_or("not supported").trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_error_survives_the_journey_through_datafusion() {
        let e: DataFusionError = Error::new(Kind::SourceUnreachable, "source \"crm\" cannot be reached").into();
        let e = e.context("while scanning");
        let e = DataFusionError::External(Box::new(e));
        let back = Error::from(e);
        assert_eq!((back.kind(), back.message()), (Kind::SourceUnreachable, "source \"crm\" cannot be reached"));
    }

    #[test]
    fn no_plan_is_told_of_behind_the_guard() {
        for error in [
            DataFusionError::Plan("PolicyScan hr.emp FilterExec: region@1 = EU of type /tmp/x.parquet".into()),
            DataFusionError::NotImplemented("Physical plan does not support region = 'EU'".into()).context("x.parquet"),
            DataFusionError::Plan("cast of region".into()).context("check_plan"),
        ] {
            let told = Error::behind_guard(error);
            assert_eq!((told.kind(), told.message()), (Kind::Unsupported, "a statement of this form is not supported"));
            assert!(told.source().is_some());
        }
        let ours: DataFusionError = Error::new(Kind::PermissionDenied, "permission denied").into();
        assert_eq!(Error::behind_guard(ours.context("while planning")).kind(), Kind::PermissionDenied);
        let computed = DataFusionError::from(arrow::error::ArrowError::DivideByZero);
        assert_eq!(Error::behind_guard(computed).kind(), Kind::DivisionByZero);
    }

    #[test]
    fn a_cast_error_never_carries_the_value() {
        let e = arrow::error::ArrowError::CastError("Cannot cast string 'secret:20' to value of Int32 type".into());
        let back = Error::from(e);
        assert_eq!(back.kind().sqlstate(), "22P02");
        assert!(!format!("{back}").contains("secret"));
    }
}
