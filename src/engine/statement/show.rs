//! SHOW: the value of a setting, or all of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::sql::sqlparser::ast::Ident;

use super::{Admitted, Described, Execution, Outcome, Statement, Work};
use crate::engine::pipeline::Told;
use crate::engine::run::Rows;
use crate::engine::session::Session;
use crate::engine::settings::Settings;
use crate::error::Result;

/// Of a setting's name, or of `all`.
#[derive(Debug)]
struct Show(String);

pub(super) fn admit(words: &[Ident]) -> Result<Admitted> {
    Ok(Admitted::new(Show(show_name(words))))
}

impl Statement for Show {
    fn kind(&self) -> &'static str {
        "show"
    }

    fn describe<'a>(&'a self, session: &'a mut Session, _: Told) -> Work<'a, Described> {
        Box::pin(async move {
            let columns = Some(shown(&self.0, &session.settings)?.schema());
            Ok(Described { columns, ..Described::default() })
        })
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let rows = shown(&self.0, &session.settings)?;
            Ok(Outcome::Rows(Rows::computed("SHOW", rows, execution.bounds)))
        })
    }
}

fn shown(name: &str, settings: &Settings) -> Result<RecordBatch> {
    if name == "all" {
        let all = settings.all();
        let column = |pick: fn(&(String, String, String)) -> &String| -> ArrayRef {
            Arc::new(all.iter().map(|s| Some(pick(s).as_str())).collect::<StringArray>())
        };
        let columns = [column(|s| &s.0), column(|s| &s.1), column(|s| &s.2)];
        return text_batch(&["name", "setting", "description"], columns.to_vec());
    }
    let value = settings.get(name)?;
    text_batch(&[name], vec![Arc::new(StringArray::from(vec![value]))])
}

fn text_batch(names: &[&str], columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let fields = names.iter().map(|n| Field::new(*n, DataType::Utf8, true)).collect::<Vec<_>>();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// `SHOW TRANSACTION ISOLATION LEVEL` and `SHOW TIME ZONE` are words, not names.
fn show_name(words: &[Ident]) -> String {
    let words: Vec<String> = words.iter().map(|w| w.value.to_lowercase()).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["transaction", "isolation", "level"] => "transaction_isolation".into(),
        ["time", "zone"] => "timezone".into(),
        ["session", "authorization"] => "session_authorization".into(),
        _ => words.join("."),
    }
}
