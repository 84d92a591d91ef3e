//! Casbin's own answer, from the same files: its model is built from model.conf and its rules from policy.csv, as they
//! were read. It is the second judge of `judge` and of `policy explain --verify`. It knows `p`, `g` and `g2`; rows and
//! masks are nothing to it. No statement ever waits for it.
//!
//! Casbin runs its matcher over every rule for every question, which takes tens of milliseconds at 10,000 rules. So a
//! question is put to an enforcer that holds only the rules of its action whose subject is the asker or one of its roles,
//! as Casbin's own role manager says. That cannot change an answer: the matcher is a conjunction with `r.act == p.act` and
//! `g(r.sub, p.sub)` in it (`file::model` refuses any other), so a rule left out would not have matched, and what does not
//! match has no part in the effect.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use casbin::function_map::OperatorFunction;
use casbin::rhai::Dynamic;
use casbin::{Adapter, CoreApi, DefaultModel, Enforcer, MemoryAdapter};
use futures::executor::block_on;

use super::Action;
use super::compile::{BoundObject, Policies};
use super::file::lines::ACTIONS;
use super::file::object::{SOURCE, Segment, Target, nfc};
use crate::error::{Error, Result};
use crate::types::{Identifier, TableName};

/// Casbin over one set of policies; enforcers are made as they are needed.
pub(in crate::policy) struct Oracle<'a> {
    model: DefaultModel,
    /// Every `g` line and no rule: what Casbin's role manager says of roles.
    roles: Enforcer,
    /// Subject → its `p` rules by action.
    permits: BTreeMap<&'a str, HashMap<Action, Vec<Rule>>>,
    tags: Vec<Rule>,
    enforcers: RefCell<HashMap<(Class, Action, Also), Rc<Enforcer>>>,
}

/// Every name with a rule that a subject is or has as a role: subjects of one class have the same rules.
pub(in crate::policy) type Class = Rc<BTreeSet<String>>;

/// What stands beside the rules of the file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Also {
    Nothing,
    /// A rule that lets everybody do everything: what is then refused, a line denies.
    Everything,
}

impl<'a> Oracle<'a> {
    pub(in crate::policy) fn new(policies: &'a Policies) -> Result<Self> {
        let lines = &policies.draft.lines;
        let mut permits: BTreeMap<&str, HashMap<Action, Vec<Rule>>> = BTreeMap::new();
        for line in &lines.permits {
            let effect = if line.allow { "allow" } else { "deny" };
            let fields = [&line.subject.text, &line.object.text, word(line.action), effect].map(String::from);
            let of = permits.entry(&line.subject.text).or_default().entry(line.action).or_default();
            of.push(("p", "p", fields.to_vec()));
        }
        let members = lines.members.iter().map(|l| ("g", "g", vec![l.member.text.clone(), l.role.text.clone()]));
        let tags = lines.tags.iter().map(|l| ("g", "g2", vec![tagged(policies, &l.target), format!("tag:{}", l.tag)]));
        let model = block_on(DefaultModel::from_str(&policies.draft.model.text)).map_err(failed)?;
        let roles = enforcer(&model, members.collect())?;
        let enforcers = RefCell::default();
        Ok(Self { model, roles, permits, tags: tags.collect(), enforcers })
    }

    /// By Casbin's roles.
    pub(in crate::policy) fn class(&self, subject: &str) -> Class {
        let manager = self.roles.get_role_manager();
        let manager = manager.read();
        let names = self.permits.keys().filter(|name| manager.has_link(subject, name, None));
        Rc::new(names.map(|name| (*name).to_string()).collect())
    }

    /// What `enforce` says to one question.
    #[cfg(test)]
    pub(in crate::policy) fn allows(&self, subject: &str, object: &str, action: Action) -> Result<bool> {
        self.class_allows(&self.class(subject), object, action)
    }

    /// The same for every subject of a class.
    pub(in crate::policy) fn class_allows(&self, class: &Class, object: &str, action: Action) -> Result<bool> {
        self.asked(class, object, action, Also::Nothing)
    }

    /// No line denies the column; a raw column needs a line that allows it besides. Whether its table may be seen is
    /// another question: a column is never asked for alone.
    pub(in crate::policy) fn shows(&self, class: &Class, object: &BoundObject, column: &str) -> Result<bool> {
        let asked = request(object, Some(column));
        let denied = !self.asked(class, &asked, Action::Select, Also::Everything)?;
        let named = !object.raw_columns.contains(column) || self.class_allows(class, &asked, Action::Select)?;
        Ok(!denied && named)
    }

    /// The table is allowed and the column shown.
    pub(in crate::policy) fn sees(&self, subject: &str, object: &BoundObject, column: &str) -> Result<bool> {
        let class = self.class(subject);
        let table = self.class_allows(&class, &request(object, None), Action::Select)?;
        Ok(table && self.shows(&class, object, column)?)
    }

    fn asked(&self, class: &Class, object: &str, action: Action, also: Also) -> Result<bool> {
        let key = (Rc::clone(class), action, also);
        let known = self.enforcers.borrow().get(&key).cloned();
        let enforcer = match known {
            Some(known) => known,
            None => {
                let made = Rc::new(self.enforcer(class, action, also)?);
                self.enforcers.borrow_mut().insert(key, Rc::clone(&made));
                made
            }
        };
        enforcer.enforce((MEMBER, object, word(action))).map_err(failed)
    }

    /// The rules of a class. Who asks is a member of each name in it, and of nothing else.
    fn enforcer(&self, class: &Class, action: Action, also: Also) -> Result<Enforcer> {
        let mut rules: Vec<Rule> = vec![];
        for name in class.iter() {
            rules.push(("g", "g", vec![MEMBER.to_string(), name.clone()]));
            rules.extend(self.permits.get(name.as_str()).and_then(|of| of.get(&action)).into_iter().flatten().cloned());
        }
        if also == Also::Everything {
            let fields = [MEMBER, EVERYTHING, word(action), "allow"].map(String::from);
            rules.push(("p", "p", fields.to_vec()));
        }
        rules.extend(self.tags.iter().cloned());
        enforcer(&self.model, rules)
    }
}

fn enforcer(model: &DefaultModel, rules: Vec<Rule>) -> Result<Enforcer> {
    let mut adapter = MemoryAdapter::default();
    // nothing here waits for anything: the adapter holds its rules in memory
    block_on(async {
        for (section, kind, fields) in rules {
            adapter.add_policy(section, kind, fields).await?;
        }
        let mut enforcer = Enforcer::new(model.clone(), adapter).await?;
        enforcer.add_function("objMatch", OperatorFunction::Arg2(object_match));
        Ok(enforcer)
    })
    .map_err(failed)
}

/// A subject that no file can hold: whoever asks.
const MEMBER: &str = "whoever asks";

/// A pattern that no file can hold.
const EVERYTHING: &str = "everything at all";

/// How a request names an object. What no `*` covers says so in front, for the text alone does not tell.
pub(in crate::policy) fn request(object: &BoundObject, column: Option<&str>) -> String {
    let named = if object.named_only { NAMED_TABLE } else { "" };
    let raw = if column.is_some_and(|c| object.raw_columns.contains(c)) { NAMED_COLUMN } else { "" };
    let column = column.map(|c| format!("/{}", Identifier(c))).unwrap_or_default();
    format!("{named}{raw}{}{column}", object.name)
}

/// `create`, and `drop` of the whole, are asked of a schema.
pub(in crate::policy) fn schema_request(schema: &str) -> String {
    format!("{}.*", Identifier(schema))
}

/// `query` is asked of a source.
pub(in crate::policy) fn source_request(source: &str) -> String {
    format!("{SOURCE}{source}")
}

const NAMED_TABLE: &str = "named table ";
const NAMED_COLUMN: &str = "named column ";

fn failed(error: casbin::Error) -> Error {
    Error::internal(format!("casbin: {error}"))
}

pub(in crate::policy) fn word(action: Action) -> &'static str {
    ACTIONS.iter().find(|(_, a)| *a == action).map_or("", |(word, _)| word)
}

type Rule = (&'static str, &'static str, Vec<String>);

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

/// `objMatch(request, pattern)` of the model. It reads both by itself: the reader of `file::object` has made what is judged
/// here.
fn object_match(request: Dynamic, pattern: Dynamic) -> Dynamic {
    let (request, pattern) = (request.into_string(), pattern.into_string());
    match (request, pattern) {
        (Ok(request), Ok(pattern)) => matches(&request, &pattern).into(),
        _ => false.into(),
    }
}

/// Does a line about `pattern` speak of `request`?
pub(in crate::policy) fn matches(request: &str, pattern: &str) -> bool {
    if pattern == EVERYTHING {
        return true;
    }
    let (named_table, request) = flag(request, NAMED_TABLE);
    let (named_column, request) = flag(request, NAMED_COLUMN);
    let is_name = |text: &str| text != "lakegate.admin" && !text.starts_with("tag:") && !text.starts_with(SOURCE);
    if !is_name(request) || !is_name(pattern) {
        return request == pattern;
    }
    let (Some(asked), Some(pattern)) = (Parts::of(request), Parts::of(pattern)) else { return false };
    tables_match(&asked, &pattern, named_table) && columns_match(&asked, &pattern, named_column)
}

fn flag<'a>(text: &'a str, flag: &str) -> (bool, &'a str) {
    match text.strip_prefix(flag) {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

/// `schema.table/column`; `None` is a `*`.
struct Parts<'a> {
    schema: Option<Cow<'a, str>>,
    table: Option<Cow<'a, str>>,
    column: Option<Option<Cow<'a, str>>>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (schema, rest) = part(text)?;
        let (table, rest) = match rest.strip_prefix('.') {
            Some(rest) => part(rest)?,
            None => (None, rest), // a lone `*`
        };
        // what stands behind a `$` belongs to the name before it
        let (table, rest) = match (table, rest.strip_prefix('$')) {
            (Some(table), Some(meta)) => {
                let (meta, rest) = part(meta)?;
                (Some(Cow::Owned(format!("{table}${}", meta?))), rest)
            }
            (table, _) => (table, rest),
        };
        let (column, rest) = match rest.strip_prefix('/') {
            Some(rest) => part(rest).map(|(column, rest)| (Some(column), rest))?,
            None => (None, rest),
        };
        rest.is_empty().then_some(Self { schema, table, column })
    }
}

/// One part of a name, and what follows it.
fn part(text: &str) -> Option<(Option<Cow<'_, str>>, &str)> {
    if let Some(rest) = text.strip_prefix('*') {
        return Some((None, rest));
    }
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(['.', '/', '$']).unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end)?;
        return Some((Some(composed(name)), rest));
    };
    let mut at = 0;
    loop {
        at += quoted.get(at..)?.find('"')?;
        match quoted.get(at + 1..)?.strip_prefix('"') {
            Some(_) => at += 2,
            None => break,
        }
    }
    let (name, rest) = (quoted.get(..at)?, quoted.get(at + 1..)?);
    Some((Some(Cow::Owned(nfc(&name.replace("\"\"", "\"")))), rest))
}

fn composed(name: &str) -> Cow<'_, str> {
    if name.is_ascii() { Cow::Borrowed(name) } else { Cow::Owned(nfc(name)) }
}

fn tables_match(asked: &Parts<'_>, pattern: &Parts<'_>, named: bool) -> bool {
    let matches = |asked: &Option<Cow<'_, str>>, pattern: &Option<Cow<'_, str>>| match (asked, pattern) {
        (asked, Some(exact)) => asked.as_ref() == Some(exact),
        (_, None) => !named,
    };
    matches(&asked.schema, &pattern.schema) && matches(&asked.table, &pattern.table)
}

/// A table's pattern covers its columns; a column's pattern says nothing about the table.
fn columns_match(asked: &Parts<'_>, pattern: &Parts<'_>, named: bool) -> bool {
    match (&asked.column, &pattern.column) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(_), None) => !named,
        (Some(_), Some(None)) => !named,
        (Some(asked), Some(pattern)) => asked == pattern,
    }
}

#[cfg(test)]
mod tests;
