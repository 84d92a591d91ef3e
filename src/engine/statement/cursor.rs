//! DECLARE, FETCH, MOVE, CLOSE. What a cursor is, and what it keeps, is `engine/cursor.rs`.

use datafusion::sql::sqlparser::ast::Query;

use super::{Admitted, Described, Execution, Outcome, Statement, Work, hidden};
use crate::catalog::visible;
use crate::engine::cursor::{Cursor, Scroll, Source, goes_backward};
use crate::engine::micros_now;
use crate::engine::pipeline::{Caching, Told};
use crate::engine::session::{Session, outside, own_bounds};
use crate::error::{Error, Kind, Result};
use crate::sql::parse::command;

#[derive(Debug)]
struct Declare {
    how: command::Declare,
    query: Box<Query>,
    /// As it is shown in pg_cursors.
    text: String,
}

#[derive(Debug)]
struct Fetch(command::Fetch);

/// `None`: all of them.
#[derive(Debug)]
struct Close(Option<String>);

pub(super) fn admit(command: command::Cursor, query: Option<Box<Query>>, text: String) -> Result<Admitted> {
    match (command, query) {
        (command::Cursor::Declare(how), Some(query)) => {
            hidden::refuse(&query)?;
            Ok(Admitted::new(Declare { how, query, text }))
        }
        (command::Cursor::Declare(_), None) => Err(Error::internal("DECLARE without a query")),
        (command::Cursor::Fetch(fetch), _) => Ok(Admitted::new(Fetch(fetch))),
        (command::Cursor::Close(name), _) => Ok(Admitted::new(Close(name))),
    }
}

impl Statement for Declare {
    fn kind(&self) -> &'static str {
        "declare"
    }

    /// The front end's portals share its names.
    fn names_cursor(&self) -> Option<&str> {
        Some(&self.how.name)
    }

    fn describe<'a>(&'a self, session: &'a mut Session, told: Told) -> Work<'a, Described> {
        Box::pin(async move {
            let described = Described::shown(session.plan(&self.query, told).await?)?;
            Ok(Described { columns: None, ..described })
        })
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let command::Declare { name, binary, scroll, hold } = self.how.clone();
            if !hold && !session.transaction.is_block() {
                return Err(outside("DECLARE CURSOR"));
            }
            if name.is_empty() {
                return Err(Error::new(Kind::UndefinedCursor, "invalid cursor name: must not be empty"));
            }
            session.cursors.may_open(&name)?;
            let held = session.kept.hold(name.len() + self.text.len())?;
            // the plan outlives this statement, and its deadline
            let (own, guard) = own_bounds();
            let Execution { prepared, parameters, bounds, record } = execution;
            let mut inner = Execution { prepared, parameters, bounds: own.clone(), record: &mut *record };
            let ready = Box::new(bounds.hold(session.ready(&mut inner, Caching::Never)).await?);
            let scroll = match scroll {
                Some(true) => Scroll::Yes,
                Some(false) => Scroll::No,
                None if prepared.planned().is_some_and(|planned| goes_backward(&planned.plan)) => Scroll::Perhaps,
                None => Scroll::No,
            };
            let about = visible::Cursor {
                name: name.clone(),
                statement: self.text.clone(),
                holdable: hold,
                binary,
                scrollable: scroll != Scroll::No,
                created_at: micros_now(),
            };
            let (columns, opened) = (ready.columns.clone(), ready.guarded.opened().to_vec());
            let source = Source::Ready { ready, cancel: own.cancel, guard, scroll };
            let level = session.depth();
            session.cursors.open(Cursor::new(about, columns, source, held).reading(opened), level);
            if hold && !session.transaction.is_explicit() {
                let held = session.hold_cursors(&bounds, record).await;
                held.inspect_err(|_| session.close_cursor(&name))?;
            }
            Outcome::done("DECLARE CURSOR")
        })
    }
}

impl Statement for Fetch {
    fn kind(&self) -> &'static str {
        if self.0.moves { "move" } else { "fetch" }
    }

    fn sees_data(&self) -> bool {
        false
    }

    fn names_cursor(&self) -> Option<&str> {
        Some(&self.0.name)
    }

    /// The rows of what it reads.
    fn describe<'a>(&'a self, session: &'a mut Session, _: Told) -> Work<'a, Described> {
        Box::pin(async move {
            let columns =
                session.cursor_columns(&self.0.name).ok().filter(|_| !self.0.moves).map(|(columns, _)| columns);
            Ok(Described { columns, ..Described::default() })
        })
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let Execution { bounds, record, .. } = execution;
            let command::Fetch { name, direction, moves } = &self.0;
            match moves {
                true => {
                    let passed = session.pass(name, *direction, &bounds, record).await?;
                    Outcome::done(format!("MOVE {passed}"))
                }
                false => session.fetch(name, *direction, "FETCH", &bounds, record).await.map(Outcome::Rows),
            }
        })
    }
}

impl Statement for Close {
    fn kind(&self) -> &'static str {
        "close"
    }

    fn names_cursor(&self) -> Option<&str> {
        self.0.as_deref()
    }

    fn run<'a>(&'a self, session: &'a mut Session, _: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            match &self.0 {
                None => {
                    session.close_all_cursors();
                    Outcome::done("CLOSE CURSOR ALL")
                }
                Some(name) => session.cursors.close(name).and_then(|()| Outcome::done("CLOSE CURSOR")),
            }
        })
    }
}
