//! Statements and clauses inside a query that are none of ours. What a query means is `sql`'s business.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement, Visit, Visitor};

use crate::error::{Error, Result};

/// A query can carry DML in its body and a target in its SELECT INTO. Its locks are judged where it is bound.
pub(super) fn refuse(query: &Query) -> Result<()> {
    struct Look(Option<&'static str>);
    impl Visitor for Look {
        type Break = ();
        fn pre_visit_query(&mut self, q: &Query) -> ControlFlow<()> {
            // the settings are SEARCH and CYCLE (`sql::parse::encoding`)
            if q.for_clause.is_some() || q.format_clause.is_some() || !q.pipe_operators.is_empty() {
                self.0 = Some("this clause");
            }
            let mut bodies = vec![q.body.as_ref()];
            while let Some(body) = bodies.pop() {
                match body {
                    SetExpr::Select(select) if select.into.is_some() => self.0 = Some("SELECT INTO"),
                    SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => {}
                    // the grammar makes a SELECT of it; sqlparser drops its quotes
                    SetExpr::Table(_) => self.0 = Some("TABLE in this place"),
                    SetExpr::SetOperation { left, right, .. } => bodies.extend([left.as_ref(), right.as_ref()]),
                    SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                        self.0 = Some("a data-modifying statement in WITH");
                    }
                }
            }
            if self.0.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        fn pre_visit_statement(&mut self, _: &Statement) -> ControlFlow<()> {
            self.0 = Some("a statement inside a query");
            ControlFlow::Break(())
        }
    }
    let mut look = Look(None);
    let _ = query.visit(&mut look);
    look.0.map_or(Ok(()), |what| Err(Error::unsupported(what)))
}
