//! Which views read an object, as far as the session may know of them: of others it learns neither a name nor that they
//! are. One that loses what it reads stands there and cannot be read, or refreshed where it is a materialized one, which the
//! administrator is told. It drops views and no tables but those that are materialized views.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::target;
use crate::catalog::{Body, Entry};
use crate::engine::facts::Facts;
use crate::engine::notice::Notice;
use crate::error::{Error, Kind, Result};
use crate::sources::Writer;
use crate::types::{Identifier, ObjectId, TableName};

/// A view, and what it reads that is to go.
pub(super) struct Dependent<'a> {
    view: &'a Entry,
    on: &'a Entry,
}

impl Dependent<'_> {
    /// `view v depends on table t`.
    pub(super) fn words(&self, facts: &Facts) -> String {
        format!("{} depends on {}", described(facts, self.view), described(facts, self.on))
    }
}

/// Views that name one of `objects`, then those that name these: each once, and none of `objects` itself.
pub(super) fn of<'a>(facts: &'a Facts, objects: &[&'a Entry]) -> Vec<Dependent<'a>> {
    let catalog = &facts.world.catalog;
    let seen = |entry: &&Entry| facts.view.table(&entry.object.name).is_some();
    let reads = |entry: &&Entry| is_view(entry) || target::materialized(entry).is_some();
    let views = || catalog.entries.values().filter(reads).filter(seen);
    let mut known: BTreeSet<ObjectId> = objects.iter().map(|entry| entry.object.id).collect();
    let mut found: Vec<Dependent<'a>> = vec![];
    let mut next: Vec<&'a Entry> = objects.to_vec();
    while !next.is_empty() {
        let mut reached = vec![];
        for on in next {
            let names = |view: &&Entry| catalog.names.get(&view.object.id).is_some_and(|n| n.contains(&on.object.id));
            for view in views().filter(names) {
                if known.insert(view.object.id) {
                    found.push(Dependent { view, on });
                    reached.push(view);
                }
            }
        }
        next = reached;
    }
    found
}

fn is_view(entry: &Entry) -> bool {
    match &entry.body {
        Body::Dataset(dataset) => dataset.kept.is_some(),
        Body::Table(_) => false,
    }
}

/// 2BP01, with PostgreSQL's detail and hint.
fn refused(facts: &Facts, objects: &[&Entry], dependents: &[Dependent<'_>]) -> Error {
    let text = match objects {
        [one] => format!("cannot drop {} because other objects depend on it", described(facts, one)),
        _ => "cannot drop desired object(s) because other objects depend on them".to_owned(),
    };
    let lines: Vec<String> = dependents.iter().map(|dependent| dependent.words(facts)).collect();
    Error::new(Kind::DependentObjects, text)
        .with_detail(lines.join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
}

/// What CASCADE says of the views that go too.
fn cascades(facts: &Facts, dependents: &[Dependent<'_>]) -> Option<Notice> {
    cascaded(&dependents.iter().map(|d| described(facts, d.view)).collect::<Vec<_>>())
}

/// What CASCADE says of what goes too, each by its kind and name (reportDependentObjects).
pub(super) fn cascaded(along: &[String]) -> Option<Notice> {
    match along {
        [] => None,
        [one] => Some(Notice::notice("00000", format!("drop cascades to {one}"))),
        several => {
            let lines: Vec<_> = several.iter().map(|one| format!("drop cascades to {one}")).collect();
            let text = format!("drop cascades to {} other objects", several.len());
            Some(Notice::notice("00000", text).with_detail(lines.join("\n")))
        }
    }
}

/// Drops a temporary table or view, with the views that read it where that is said; 2BP01 where it is not.
pub(super) fn drop_own(facts: &Facts, name: &str, cascade: bool) -> Result<Option<Notice>> {
    let readers = facts.temporary.readers(name);
    let kind = if facts.temporary.view(name).is_some() { "view" } else { "table" };
    if !cascade && !readers.is_empty() {
        let on = |reader: &String| {
            let reads = facts.temporary.view(reader).map(|(_, view)| view.reads.clone()).unwrap_or_default();
            // the nearest: what a view reads by another one is among what it reads
            let own = readers.iter().find(|own| *own != reader && reads.contains(*own));
            let own = own.map_or(name, String::as_str);
            let kind = if own == name { kind } else { "view" };
            format!("view {} depends on {kind} {}", Identifier(reader), Identifier(own))
        };
        let text = format!("cannot drop {kind} {} because other objects depend on it", Identifier(name));
        let lines: Vec<String> = readers.iter().map(on).collect();
        return Err(Error::new(Kind::DependentObjects, text)
            .with_detail(lines.join("\n"))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    readers.iter().for_each(|reader| facts.temporary.drop_table(reader));
    facts.temporary.drop_table(name);
    Ok(cascaded(&readers.iter().map(|reader| format!("view {}", Identifier(reader))).collect::<Vec<_>>()))
}

/// As getObjectDescription has it: with its schema where the search path does not lead there.
pub(super) fn described(facts: &Facts, entry: &Entry) -> String {
    let TableName { table, .. } = &entry.object.name;
    let kind = match (is_view(entry), target::materialized(entry)) {
        (true, _) => "view",
        (false, Some(_)) => "materialized view",
        (false, None) => "table",
    };
    match facts.view.is_on_path(&entry.object.name) {
        true => format!("{kind} {}", Identifier(table)),
        false => format!("{kind} {}", entry.object.name),
    }
}

/// Drops the views that read `objects`, the last reader first, and says so; 2BP01 without CASCADE, 42501 where one of them
/// is not the session's to drop.
pub(super) async fn drop_readers(
    session: &mut crate::engine::session::Session,
    facts: &Facts,
    objects: &[&Entry],
    cascade: bool,
) -> Result<Vec<String>> {
    let readers = of(facts, objects);
    if !cascade && !readers.is_empty() {
        return Err(refused(facts, objects, &readers));
    }
    let views = readers.iter().map(|reader| Ok((reader.view, may_drop(facts, reader.view)?)));
    let views = views.collect::<Result<Vec<_>>>()?;
    if let Some(notice) = cascades(facts, &readers) {
        session.say(notice);
    }
    for (view, writer) in views.iter().rev() {
        drop_one(facts, view, writer.as_ref()).await?;
    }
    Ok(views.iter().map(|(view, _)| view.object.name.to_string()).collect())
}

/// A view, materialized or not; 42501 for whoever may not drop it.
pub(super) fn may_drop(facts: &Facts, entry: &Entry) -> Result<Arc<dyn Writer>> {
    match is_view(entry) {
        true => super::view::Found::of(facts, entry).map(|view| view.writer),
        false => super::view::may_drop_materialized(facts, entry),
    }
}

/// A table or a view of the lake that goes with its schema.
pub(super) async fn drop_one(facts: &Facts, entry: &Entry, writer: &dyn Writer) -> Result<()> {
    match is_view(entry) {
        true => {
            let view = super::view::Found::of(facts, entry)?;
            writer.drop_view(view.table.as_ref()).await
        }
        false => writer.drop_table(&entry.object.name).await,
    }
}
