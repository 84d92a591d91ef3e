//! A dot inside a quoted name. The planner looks a query of WITH up by the text of a table's name, and by that text
//! `"hr.emp"` is `hr.emp`. So a dot in the name of a relation becomes a character that separates nothing, and
//! [`undotted`] turns it back where the name is looked up or shown.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, TableAlias, TableFactor,
    VisitorMut,
};

/// Cannot be typed in SQL text by accident.
const DOT: &str = "\u{2}";

/// The name as it was written.
pub(crate) fn undotted(name: &str) -> String {
    name.replace(DOT, ".")
}

pub(super) struct Dots;

impl VisitorMut for Dots {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        for cte in query.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            hide(&mut cte.alias.name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, .. } = factor
            && let [ObjectNamePart::Identifier(only)] = name.0.as_mut_slice()
        {
            hide(only);
        }
        if let Some(alias) = alias(factor) {
            hide(&mut alias.name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item
                && let [ObjectNamePart::Identifier(only)] = name.0.as_mut_slice()
            {
                hide(only);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && let [relation, _] = parts.as_mut_slice()
        {
            hide(relation);
        }
        ControlFlow::Continue(())
    }
}

fn hide(name: &mut Ident) {
    if name.value.contains('.') {
        name.value = name.value.replace('.', DOT);
    }
}

fn alias(factor: &mut TableFactor) -> Option<&mut TableAlias> {
    match factor {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::TableFunction { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. } => alias.as_mut(),
        // the others are not ours
        _ => None,
    }
}
