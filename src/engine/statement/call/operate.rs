//! Procedures that have a pipeline do something: for admins, who alone see pipelines. To all others none is there. How it is
//! done whoever runs pipelines knows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;

use super::procedure::{Procedure, Values, Wish};
use super::{Execution, Outcome, signed};
use crate::engine::notice::Notice;
use crate::engine::run::Rows;
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::pipelines::{From, Operate, no_pipeline};

pub(super) async fn run(
    session: &mut Session,
    execution: Execution<'_>,
    wish: Wish,
    values: &Values,
) -> Result<Outcome> {
    let facts = session.facts()?;
    let pipeline = values.name.clone();
    execution.record.target(format!("pipeline {pipeline}"));
    if !facts.view.is_admin {
        return Err(no_pipeline(&pipeline));
    }
    let from = values.from.as_deref().map(read).transpose()?;
    let here = || {
        Error::new(Kind::NotInState, "this server operates no pipelines")
            .with_hint("Say `lakegate ingest` beside the catalog that describes them.")
    };
    let operate = Arc::clone(session.engine.operator().get().ok_or_else(here)?);
    let columns = Procedure::Of(wish).columns();
    let lanes = session.engine.shared.lanes.clone();
    let work = lanes.run(Box::pin(async move { done(operate.as_ref(), &pipeline, wish, from, &columns).await }));
    let (rows, said) = execution.bounds.hold(work).await?;
    said.into_iter().for_each(|said| session.say(Notice::notice("00000", said)));
    Ok(Outcome::Rows(Rows::computed("CALL", rows, execution.bounds)))
}

/// 22023 for a word that is none.
fn read(word: &str) -> Result<From> {
    From::WORDS.iter().find(|(known, _)| *known == word).map(|(_, from)| *from).ok_or_else(|| {
        let words: Vec<&str> = From::WORDS.iter().map(|(word, _)| *word).collect();
        Error::new(Kind::InvalidParameter, format!("go_on_from must be one of {}", words.join(", ")))
    })
}

/// The rows, and what is said of each.
async fn done(
    operate: &dyn Operate,
    pipeline: &str,
    wish: Wish,
    from: Option<From>,
    columns: &SchemaRef,
) -> Result<(RecordBatch, Vec<String>)> {
    let moved = |moved: Vec<(String, String)>| {
        let said = moved.iter().map(|(table, at)| format!("{pipeline}: {table} goes on at {at}")).collect();
        let (tables, places): (Vec<String>, Vec<String>) = moved.into_iter().unzip();
        (vec![texts(tables), texts(places)], said)
    };
    let (columns_of, said) = match (wish, from) {
        (Wish::Pause, _) => {
            operate.pause(pipeline, true).await?;
            let said = format!("{pipeline} rests once it has committed what was read");
            (vec![texts(vec![pipeline.to_string()])], vec![said])
        }
        (Wish::Run, _) => {
            operate.pull(pipeline).await?;
            (
                vec![texts(vec![pipeline.to_string()])],
                vec![format!("{pipeline} is told to look at its table; it does so where it runs")],
            )
        }
        (Wish::Resume, None) => {
            operate.pause(pipeline, false).await?;
            (vec![texts(vec![]), texts(vec![])], vec![format!("{pipeline} goes on")])
        }
        (Wish::Resume, Some(from)) => moved(operate.resume(pipeline, from).await?),
        (Wish::Resync, _) => moved(operate.resume(pipeline, From::Anew).await?),
        (Wish::Replay, _) => {
            let done = operate.replay(pipeline).await?;
            let said = done.iter().map(|(table, r)| {
                let (rows, resolved, left) = (r.rows, r.resolved, r.left);
                format!("{pipeline}: {resolved} dead letters became {rows} rows of {table}, {left} still do not fit")
            });
            let said = said.collect();
            let tables = texts(done.iter().map(|(table, _)| table.clone()).collect());
            let counts = |of: &dyn Fn(&crate::pipelines::Replayed) -> u64| -> ArrayRef {
                Arc::new(Int64Array::from_iter_values(done.iter().map(|(_, replayed)| signed(of(replayed)))))
            };
            (vec![tables, counts(&|r| r.rows), counts(&|r| r.resolved), counts(&|r| r.left)], said)
        }
    };
    Ok((RecordBatch::try_new(Arc::clone(columns), columns_of)?, said))
}

fn texts(of: Vec<String>) -> ArrayRef {
    Arc::new(StringArray::from(of))
}
