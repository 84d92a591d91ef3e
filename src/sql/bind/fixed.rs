//! A query's text in words that mean the same whoever reads it and whenever: tables with their schemas, stars as the columns
//! that they stand for. A view is kept so. Only what the text leaves to be looked up is replaced; the rest stays as written.

use std::cell::{Cell, RefCell};

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Span;

use super::scope::{Item, Scope, Side};
use super::{Binder, Found};
use crate::error::{Error, Result};
use crate::sql::expr::{ColumnId, Kind as Node};
use crate::sql::parse::keyword;
use crate::sql::query::{Column, Target};
use crate::types::Identifier;

/// What was looked up while a query was bound.
#[derive(Debug, Default)]
pub(super) struct Notes {
    parts: RefCell<Vec<(Span, String)>>,
    /// Another text is being bound.
    elsewhere: Cell<bool>,
}

impl Notes {
    /// A part may be bound more than once; it means the same each time.
    fn add(&self, span: Span, words: String) {
        let mut notes = self.parts.borrow_mut();
        if !self.elsewhere.get() && !notes.iter().any(|(known, _)| *known == span) {
            notes.push((span, words));
        }
    }
}

impl Binder<'_> {
    /// From now on what names and stars stand for is noted, for [`Binder::fixed`].
    pub(crate) fn noting(self) -> Self {
        Self { notes: Some(Notes::default()), ..self }
    }

    /// The text of what was bound.
    pub(crate) fn fixed(&self) -> Result<String> {
        let lost = || Error::internal("a part of a view's text was not found again");
        let mut parts = vec![];
        for (span, words) in self.notes.iter().flat_map(|notes| notes.parts.borrow().clone()) {
            let (from, to) = (self.byte_of(span.start).ok_or_else(lost)?, self.byte_of(span.end).ok_or_else(lost)?);
            parts.push((from, to, words));
        }
        parts.sort_by_key(|(from, ..)| *from);
        let (mut text, mut at) = (String::with_capacity(self.text.len()), 0);
        for (from, to, words) in parts {
            let was = self.text.get(from..to).ok_or_else(lost)?;
            text.push_str(self.text.get(at..from).ok_or_else(lost)?);
            // TABLE t is a star too, which stands nowhere
            match was.eq_ignore_ascii_case("table") {
                true => text.push_str(&format!("SELECT {words} FROM")),
                false => text.push_str(&words),
            }
            at = to;
        }
        text.push_str(self.text.get(at..).ok_or_else(lost)?);
        Ok(text)
    }

    fn byte_of(&self, at: datafusion::sql::sqlparser::tokenizer::Location) -> Option<usize> {
        let line = self.lines.get(usize::try_from(at.line).ok()?.checked_sub(1)?)?;
        let column = usize::try_from(at.column).ok()?.checked_sub(1)?;
        let rest = self.text.get(line.bytes..)?;
        let within = rest.char_indices().map(|(byte, _)| byte).chain([rest.len()]).nth(column)?;
        Some(line.bytes + within)
    }

    /// For a part of the query that stands in another text.
    pub(super) fn without_notes<T>(&self, bind: impl FnOnce() -> T) -> T {
        let before = self.notes.as_ref().map(|notes| notes.elsewhere.replace(true));
        let bound = bind();
        if let (Some(notes), Some(before)) = (&self.notes, before) {
            notes.elsewhere.set(before);
        }
        bound
    }

    pub(super) fn note_table(&self, name: &ast::ObjectName, found: &Found) {
        self.note_name(name, &found.schema, &found.name);
    }

    pub(super) fn note_name(&self, written: &ast::ObjectName, schema: &str, name: &str) {
        let Some(notes) = &self.notes else { return };
        notes.add(ast::Spanned::span(written), format!("{}.{}", quote_identifier(schema), quote_identifier(name)));
    }

    /// `span` is where the star stands, with the name before it.
    pub(super) fn note_star<'c>(&self, span: Span, columns: impl Iterator<Item = &'c Column>, scope: &Scope<'_>) {
        let Some(notes) = &self.notes else { return };
        let word = |c: &Column| reference(c.id, &scope.items).unwrap_or_else(|| quote_identifier(&c.name));
        let words: Vec<String> = columns.map(word).collect();
        notes.add(span, words.join(", "));
    }

    /// As [`Binder::note_star`], of the targets that a table's star was bound to.
    pub(super) fn note_targets(&self, span: Span, targets: &[Target], scope: &Scope<'_>) {
        let Some(notes) = &self.notes else { return };
        let scopes = || std::iter::successors(Some(scope), |scope| scope.parent);
        let words = targets.iter().map(|target| match &target.expr.kind {
            Node::Column(id) => {
                let found = scopes().find_map(|scope| reference(*id, &scope.items));
                found.unwrap_or_else(|| quote_identifier(&target.column.name))
            }
            _ => quote_identifier(&target.column.name),
        });
        notes.add(span, words.collect::<Vec<_>>().join(", "));
    }

    /// What a natural join joins by would change with the columns of its tables.
    pub(super) fn note_natural(&self) -> Result<()> {
        match self.notes {
            Some(_) => Err(Error::unsupported("NATURAL JOIN in a view")
                .with_hint("Name the columns that it joins by: JOIN … USING (…).")),
            None => Ok(()),
        }
    }
}

/// A column by the table that it is of, under its name there.
fn reference(column: ColumnId, items: &[Item]) -> Option<String> {
    let of = |item: &&Item| item.side != Side::Gone && item.alias.is_some();
    items.iter().filter(of).find_map(|item| {
        let column = item.columns.iter().find(|c| c.id == column)?;
        Some(format!("{}.{}", quote_identifier(item.alias.as_deref()?), quote_identifier(&column.name)))
    })
}

/// As `quote_identifier` has it.
pub(crate) fn quote_identifier(name: &str) -> String {
    if keyword::needs_quotes(name) { format!("\"{name}\"") } else { Identifier(name).to_string() }
}
