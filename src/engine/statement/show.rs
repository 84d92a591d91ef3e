//! SHOW: the value of a setting, or all of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::{Admitted, Described, Execution, Outcome, Statement, Work};
use crate::engine::pipeline::Told;
use crate::engine::run::Rows;
use crate::engine::session::Session;
use crate::engine::settings::Settings;
use crate::error::Result;

/// `None`: all of them.
#[derive(Debug)]
struct Show(Option<String>);

pub(super) fn admit(name: String) -> Admitted {
    Admitted::new(Show(Some(name)))
}

pub(super) fn admit_all() -> Admitted {
    Admitted::new(Show(None))
}

impl Statement for Show {
    fn kind(&self) -> &'static str {
        "show"
    }

    fn sees_data(&self) -> bool {
        false
    }

    fn describe<'a>(&'a self, session: &'a mut Session, _: Told) -> Work<'a, Described> {
        Box::pin(async move {
            follow(session);
            let columns = Some(self.shown(session)?.schema());
            Ok(Described { columns, ..Described::default() })
        })
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            follow(session);
            let rows = self.shown(session)?;
            Ok(Outcome::Rows(Rows::computed("SHOW", rows, execution.bounds)))
        })
    }
}

/// What is said of roles follows who asks. Whoever may not ask any more is told so by a statement that reads something.
fn follow(session: &mut Session) {
    let _ = session.facts();
}

impl Show {
    fn shown(&self, session: &Session) -> Result<RecordBatch> {
        let settings = session.settings.lock();
        let Some(name) = &self.0 else {
            let all = settings.all();
            let names: ArrayRef = Arc::new(all.iter().map(|(name, _, _)| Some(*name)).collect::<StringArray>());
            let values: ArrayRef =
                Arc::new(all.iter().map(|(_, value, _)| Some(value.as_str())).collect::<StringArray>());
            let about: ArrayRef = Arc::new(all.iter().map(|(_, _, about)| Some(*about)).collect::<StringArray>());
            return text_batch(&["name", "setting", "description"], vec![names, values, about]);
        };
        let value = match Settings::proper_name(name) {
            // what is set is what was seen since
            "lakegate.snapshot_vector" => session.saw().to_owned(),
            _ => settings.shown(name)?,
        };
        text_batch(&[Settings::proper_name(name)], vec![Arc::new(StringArray::from(vec![value]))])
    }
}

fn text_batch(names: &[&str], columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let fields = names.iter().map(|n| Field::new(*n, DataType::Utf8, true)).collect::<Vec<_>>();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
