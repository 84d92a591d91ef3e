//! Casbin's own answer, from the same lines: the oracle of the tests and of `policy explain --verify`. It knows `p`, `g`
//! and `g2`; rows and masks are nothing to it. No statement ever waits for it.

use casbin::function_map::OperatorFunction;
use casbin::rhai::Dynamic;
use casbin::{Adapter, CoreApi, DefaultModel, Enforcer, MemoryAdapter};

use super::Action;
use super::compile::{BoundObject, Policies};
use super::file::MODEL;
use super::file::lines::ACTIONS;
use super::file::object::{self, Pattern, Segment, Target};
use crate::error::{Error, Result};
use crate::types::{Identifier, TableName};

/// Two enforcers over one set of policies.
pub(in crate::policy) struct Oracle {
    /// The lines as they are.
    lines: Enforcer,
    /// The same beside a line that lets everybody select everything: it says no where a line denies.
    denies: Enforcer,
}

impl Oracle {
    pub(in crate::policy) async fn new(policies: &Policies) -> Result<Self> {
        let rules = rules(policies);
        let subjects =
            policies.subjects.iter().flat_map(|s| ACTIONS.iter().map(|(word, _)| (s.name.to_string(), *word)));
        let all = subjects.map(|(subject, action)| {
            ("p", "p", vec![subject, EVERYTHING.to_owned(), action.to_owned(), "allow".to_owned()])
        });
        let permissive = rules.iter().cloned().chain(all).collect();
        Ok(Self { lines: enforcer(rules).await?, denies: enforcer(permissive).await? })
    }

    /// What `enforce` says to one question.
    pub(in crate::policy) fn allows(&self, subject: &str, object: &str, action: Action) -> Result<bool> {
        self.lines.enforce((subject, object, word(action))).map_err(failed)
    }

    /// The table is allowed and no line denies the column; a raw column needs a line that allows it besides.
    pub(in crate::policy) fn sees(&self, subject: &str, object: &BoundObject, column: &str) -> Result<bool> {
        let asked = request(object, Some(column));
        let denied = !self.denies.enforce((subject, asked.as_str(), word(Action::Select))).map_err(failed)?;
        let named = !object.raw_columns.contains(column) || self.allows(subject, &asked, Action::Select)?;
        Ok(!denied && named && self.allows(subject, &request(object, None), Action::Select)?)
    }
}

async fn enforcer(rules: Vec<Rule>) -> Result<Enforcer> {
    let model = DefaultModel::from_str(MODEL).await.map_err(failed)?;
    let mut adapter = MemoryAdapter::default();
    for (section, kind, fields) in rules {
        adapter.add_policy(section, kind, fields).await.map_err(failed)?;
    }
    let mut enforcer = Enforcer::new(model, adapter).await.map_err(failed)?;
    enforcer.add_function("objMatch", OperatorFunction::Arg2(object_match));
    Ok(enforcer)
}

/// A pattern that no file can hold.
const EVERYTHING: &str = "everything at all";

/// How a request names an object. What no `*` covers says so in front, for the text alone does not tell.
pub(in crate::policy) fn request(object: &BoundObject, column: Option<&str>) -> String {
    let named = if object.named_only { NAMED_TABLE } else { "" };
    let raw = if column.is_some_and(|c| object.raw_columns.contains(c)) { NAMED_COLUMN } else { "" };
    let column = column.map(|c| format!("/{}", Identifier(c))).unwrap_or_default();
    format!("{named}{raw}{}{column}", object.name)
}

/// `create` is asked of a schema.
#[cfg(test)]
pub(in crate::policy) fn schema_request(schema: &str) -> String {
    format!("{}.*", Identifier(schema))
}

const NAMED_TABLE: &str = "named table ";
const NAMED_COLUMN: &str = "named column ";

fn failed(error: casbin::Error) -> Error {
    Error::internal(format!("casbin: {error}"))
}

fn word(action: Action) -> &'static str {
    ACTIONS.iter().find(|(_, a)| *a == action).map_or("", |(word, _)| word)
}

type Rule = (&'static str, &'static str, Vec<String>);

/// Every line, names in canonical spelling. Rows and masks go along, so that the set is the whole file.
fn rules(policies: &Policies) -> Vec<Rule> {
    let lines = &policies.draft.lines;
    let effect = |allow| if allow { "allow" } else { "deny" };
    let permits = lines.permits.iter().map(|l| {
        let fields = [&l.subject.text, &l.target.to_string(), word(l.action), effect(l.allow)].map(String::from);
        ("p", "p", fields.to_vec())
    });
    let filters = lines
        .filters
        .iter()
        .map(|l| ("p", "p2", vec![l.subject.text.clone(), l.target.to_string(), l.text.text.clone()]));
    let masks = lines.masks.iter().map(|l| {
        let fields = [l.subject.text.clone(), l.target.to_string(), l.column.to_string(), l.text.text.clone()];
        ("p", "p3", fields.to_vec())
    });
    let members = lines.members.iter().map(|l| ("g", "g", vec![l.member.text.clone(), l.role.text.clone()]));
    let tags = lines.tags.iter().map(|l| ("g", "g2", vec![tagged(policies, &l.target), format!("tag:{}", l.tag)]));
    permits.chain(filters).chain(masks).chain(members).chain(tags).collect()
}

/// A tagged object as requests name it.
fn tagged(policies: &Policies, target: &Target) -> String {
    let Target::Tables(pattern) = target else { return target.to_string() };
    let name = pattern.exact_table().map(|(schema, table)| TableName::new(schema, table));
    let found = policies.objects.iter().find(|o| Some(&o.name) == name.as_ref());
    match (found, &pattern.column) {
        (Some(object), Some(Segment::Exact(column))) => request(object, Some(column)),
        (Some(object), _) => request(object, None),
        (None, _) => target.to_string(),
    }
}

/// `objMatch(request, pattern)` of the model.
fn object_match(request: Dynamic, pattern: Dynamic) -> Dynamic {
    let (request, pattern) = (request.into_string(), pattern.into_string());
    match (request, pattern) {
        (Ok(request), Ok(pattern)) => matches(&request, &pattern).into(),
        _ => false.into(),
    }
}

fn matches(request: &str, pattern: &str) -> bool {
    if pattern == EVERYTHING {
        return true;
    }
    let (named_table, request) = flag(request, NAMED_TABLE);
    let (named_column, request) = flag(request, NAMED_COLUMN);
    match (object::parse(request), object::parse(pattern)) {
        (Ok(Target::Admin), Ok(Target::Admin)) => true,
        (Ok(Target::Tables(asked)), Ok(Target::Tables(pattern))) => {
            tables_match(&asked, &pattern, named_table) && columns_match(&asked, &pattern, named_column)
        }
        _ => false,
    }
}

fn flag<'a>(text: &'a str, flag: &str) -> (bool, &'a str) {
    match text.strip_prefix(flag) {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

fn tables_match(asked: &Pattern, pattern: &Pattern, named: bool) -> bool {
    if named {
        return asked.schema == pattern.schema && asked.table == pattern.table;
    }
    let matches = |asked: &Segment, pattern: &Segment| *pattern == Segment::Any || asked == pattern;
    matches(&asked.schema, &pattern.schema) && matches(&asked.table, &pattern.table)
}

/// A table's pattern covers its columns; a column's pattern says nothing about the table.
fn columns_match(asked: &Pattern, pattern: &Pattern, named: bool) -> bool {
    match (&asked.column, &pattern.column) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(_), None) => !named,
        (Some(_), Some(Segment::Any)) => !named,
        (Some(asked), Some(pattern)) => asked == pattern,
    }
}

#[cfg(test)]
mod tests;
