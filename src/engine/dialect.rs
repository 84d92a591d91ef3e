//! PostgreSQL's SQL over DataFusion's planner: pure `Query → Query`, nothing recognised by its text. It resolves no name.

mod dots;
mod names;
mod precedence;
mod rewrite;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Query, VisitMut};

use crate::error::Result;

pub(crate) use dots::undotted;
pub(crate) use names::shown_name;

/// All rewrites, in the order in which they rely on each other.
pub(crate) fn rewrite(query: &mut Query) -> Result<()> {
    if let ControlFlow::Break(error) = VisitMut::visit(query, &mut rewrite::Rewriter) {
        return Err(error);
    }
    let _: ControlFlow<()> = VisitMut::visit(query, &mut dots::Dots);
    let _: ControlFlow<()> = VisitMut::visit(query, &mut names::Names);
    Ok(())
}
