//! ALTER VIEW: its name, its schema, its columns' names, its owner. Each is one commit.

use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::alter::NewName;
use super::super::name::Name;
use super::super::{Admitted, Execution, Outcome, Statement, Work, dependents, ident, target};
use super::{Found, entry, name_of};
use crate::engine::facts::Facts;
use crate::engine::notice::Notice;
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::policy::{Action, Decision, SessionPolicy};
use crate::sources::ViewText;
use crate::sql::parse::alter;
use crate::sql::parse::view::{Change, Owner};

#[derive(Debug)]
struct AlterView {
    name: Name,
    if_exists: bool,
    change: Change,
}

pub(super) fn admit(name: &ObjectName, if_exists: bool, change: Change) -> Result<Admitted> {
    if let Change::Other(what) = change {
        return Err(Error::unsupported(what));
    }
    Ok(Admitted::new(AlterView { name: name_of(name)?, if_exists, change }))
}

impl Statement for AlterView {
    fn kind(&self) -> &'static str {
        "alter view"
    }

    fn writes(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, session: &'a mut Session, execution: Execution<'a>) -> Work<'a, Outcome> {
        Box::pin(async move {
            let facts = session.facts()?;
            const TAG: &str = "ALTER VIEW";
            let missing = || target::undefined_relation(&self.name.shown());
            let found = match entry(&facts, &self.name, &missing) {
                Err(error) if self.if_exists && error.kind() == Kind::UndefinedTable => {
                    session.say(Notice::skipping("relation", &self.name.table));
                    return Outcome::done(TAG);
                }
                found => Found::owned(&facts, found?)?,
            };
            execution.record.target(found.name().to_string());
            change(&facts, &found, &self.change, TAG).await
        })
    }
}

/// What ALTER TABLE may do to a view; 42809 for the rest.
pub(in crate::engine::statement) async fn as_table(
    facts: &Facts,
    found: &Found<'_>,
    of_table: &alter::Change,
    tag: &str,
) -> Result<Outcome> {
    let of_view = match of_table {
        alter::Change::Rename(to) => Change::Rename(to.clone()),
        alter::Change::SetSchema(to) => Change::SetSchema(to.clone()),
        alter::Change::RenameColumn { column, to } => Change::RenameColumn { from: column.clone(), to: to.clone() },
        _ => return Err(super::not_a_table(&found.name().table)),
    };
    change(facts, found, &of_view, tag).await
}

async fn change(facts: &Facts, found: &Found<'_>, change: &Change, tag: &str) -> Result<Outcome> {
    match change {
        Change::Rename(to) => return rename(facts, found, NewName::Table(to), tag).await,
        Change::SetSchema(to) => return rename(facts, found, NewName::Schema(to), tag).await,
        Change::RenameColumn { from, to } => {
            let renamed = renamed(facts, found, &ident(from), &ident(to))?;
            found.writer.replace_view(found.table.as_ref(), &renamed).await?;
        }
        Change::Owner(owner) => {
            let given = given(facts, found, owner)?;
            found.writer.replace_view(found.table.as_ref(), &given).await?;
        }
        Change::OfTables(action) => {
            let text = format!("ALTER action {action} cannot be performed on relation \"{}\"", found.name().table);
            let detail = "This operation is not supported for views.";
            return Err(Error::new(Kind::WrongObjectType, text).with_detail(detail));
        }
        Change::Other(what) => return Err(Error::unsupported(what)),
    }
    Outcome::changed(tag, &facts.world)
}

async fn rename(facts: &Facts, found: &Found<'_>, new: NewName<'_>, tag: &str) -> Result<Outcome> {
    match super::super::alter::renamed(facts, found.name(), new)? {
        None => Outcome::done(tag),
        Some(to) => {
            found.writer.rename_view(found.table.as_ref(), &to).await?;
            Outcome::changed(tag, &facts.world)
        }
    }
}

/// Views that read it name its columns in their texts.
fn renamed(facts: &Facts, found: &Found<'_>, from: &str, to: &str) -> Result<ViewText> {
    let mut view = found.view.clone();
    if !view.columns.iter().any(|column| column.name == from) {
        return Err(Error::new(Kind::UndefinedColumn, format!("column \"{from}\" does not exist")));
    }
    if view.columns.iter().any(|column| column.name == to) {
        let text = format!("column \"{to}\" of relation \"{}\" already exists", found.name().table);
        return Err(Error::new(Kind::DuplicateColumn, text));
    }
    if let Some(reader) = dependents::of(facts, &[found.entry]).first() {
        let text = "renaming a column of a view that other views read";
        let hint = "Drop them first, and make them again after it.";
        return Err(Error::unsupported(text).with_detail(reader.words(facts)).with_hint(hint));
    }
    view.columns.iter_mut().filter(|column| column.name == from).for_each(|column| column.name = to.to_owned());
    Ok(view)
}

/// To somebody whose rights the session has, who sees no more of anything that the view reads than the session does: what
/// is given away is read with the rights of who gets it.
fn given(facts: &Facts, found: &Found<'_>, owner: &Owner) -> Result<ViewText> {
    target::as_oneself(facts)?;
    let user = facts.policy.principal().user();
    let owner = match owner {
        Owner::Current => user.to_owned(),
        Owner::Named(name) => ident(name),
    };
    let is_known = facts.view.roles.iter().any(|role| role.name == owner);
    let Some(to) = facts.world.policies.owner(&owner).filter(|_| is_known) else {
        return Err(Error::new(Kind::UndefinedObject, format!("role \"{owner}\" does not exist")));
    };
    let is_member = facts.policy.closure().iter().any(|name| name.as_ref() == owner);
    if !is_member && !facts.view.is_admin {
        return Err(Error::new(Kind::PermissionDenied, format!("must be member of role \"{owner}\"")));
    }
    if owner != user && !sees_no_more(facts, found, &to) {
        let text = format!("role \"{owner}\" sees more of what view {} reads than you do", found.name().table);
        return Err(Error::new(Kind::PermissionDenied, text));
    }
    Ok(ViewText { owner, ..found.view.clone() })
}

fn sees_no_more(facts: &Facts, found: &Found<'_>, to: &SessionPolicy) -> bool {
    let reads = facts.world.catalog.reads.get(&found.entry.object.id);
    reads.into_iter().flatten().all(|object| {
        match (facts.policy.decide(*object, Action::Select), to.decide(*object, Action::Select)) {
            (_, Decision::Deny) => true,
            (Decision::Deny, Decision::Allow(_)) => false,
            (Decision::Allow(own), Decision::Allow(theirs)) => {
                own.is_full() || own.fingerprint() == theirs.fingerprint()
            }
        }
    })
}
