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
mod tests {
    use super::*;
    use crate::policy::Decision;
    use crate::policy::decide::SessionPolicy;
    use crate::policy::file::Draft;
    use crate::policy::fixture::{Dice, EXAMPLE, USERS, compile_over, key, object, objects, policies, session};
    use crate::policy::{ObjectKind, compile::Objects};
    use arrow::datatypes::DataType;
    use std::sync::Arc;

    /// Every user, object, column, action of one set; how many were asked.
    fn compare(oracle: &Oracle, policies: &Arc<Policies>, csv: &str) -> usize {
        let mut asked = 0;
        for user in policies.users() {
            let session = session(policies, user);
            for object in &policies.objects {
                for (_, action) in ACTIONS.iter().filter(|(_, a)| !matches!(a, Action::Create | Action::Select)) {
                    let theirs = oracle.allows(user, &request(object, None), *action).unwrap();
                    let ours = matches!(session.decide_afresh(object.id, *action), Decision::Allow(_));
                    assert_eq!(theirs, ours, "{user} {} {action:?}\n{csv}", object.name);
                    asked += 1;
                }
                asked += compare_columns(oracle, &session, object, csv);
            }
            for schema in ["s", "t", "u"] {
                let theirs = oracle.allows(user, &schema_request(schema), Action::Create).unwrap();
                assert_eq!(theirs, session.may_create(schema), "{user} creates in {schema}\n{csv}");
            }
            let theirs = oracle.allows(user, "lakegate.admin", Action::Select).unwrap();
            assert_eq!(theirs, session.is_admin(), "{user} is admin\n{csv}");
            asked += 4;
        }
        asked
    }

    fn compare_columns(oracle: &Oracle, session: &SessionPolicy, object: &BoundObject, csv: &str) -> usize {
        let user = session.principal().user();
        let decision = session.decide_afresh(object.id, Action::Select);
        let columns: Vec<&str> = object.schema.fields().iter().map(|f| f.name().as_str()).collect();
        let theirs: Vec<&str> = columns.iter().copied().filter(|c| oracle.sees(user, object, c).unwrap()).collect();
        let ours: Vec<&str> = match &decision {
            Decision::Allow(grant) => columns.iter().copied().filter(|c| !grant.hidden.contains(*c)).collect(),
            Decision::Deny => vec![],
        };
        // raw columns beside a denied field stay hidden, which is more than Casbin can know
        let lenient: Vec<&str> = theirs.iter().copied().filter(|c| !object.raw_columns.contains(*c)).collect();
        let field_denied = lenient.len() + object.raw_columns.len() < columns.len();
        let theirs = if field_denied { lenient } else { theirs };
        assert_eq!(theirs, ours, "{user} {}\n{csv}", object.name);
        // a table without a column left is no table; beyond that both mean the same by it
        let table = oracle.allows(user, &request(object, None), Action::Select).unwrap();
        assert_eq!(
            table && !theirs.is_empty(),
            matches!(decision, Decision::Allow(_)),
            "{user} {}\n{csv}",
            object.name
        );
        columns.len() + 1
    }

    fn small_world() -> Objects {
        let two = [("x", DataType::Int64), ("y", DataType::Int64)];
        let mut objects: Vec<_> =
            ["s.a", "s.b", "s.B", "t.a", "t.b"].map(|name| object(name, ObjectKind::Table, &two, &[])).into();
        objects.push(object("s.a$snapshots", ObjectKind::Metadata, &two, &[]));
        objects.push(object("s.a__dlq", ObjectKind::Metadata, &two, &[]));
        objects.push(object(
            "u.raw",
            ObjectKind::Table,
            &[("x", DataType::Int64), ("_key", DataType::Int64)],
            &["_key"],
        ));
        Objects { objects, schemas: ["s", "t", "u"].map(String::from).into(), ..Objects::default() }
    }

    fn random_rules(dice: &mut Dice) -> String {
        const SUBJECTS: &[&str] = &["alice", "bob", "dora", "ann", "r1", "r2", "r3", "r4"];
        const OBJECTS: &[&str] = &[
            "*",
            "*",
            "s.*",
            "s.*",
            "t.*",
            "u.*",
            "*.a",
            "*.b",
            "*.*",
            "s.a",
            "s.b",
            "s.\"B\"",
            "t.a",
            "u.raw",
            "s.a$snapshots",
            "s.a__dlq",
            "tag:one",
            "tag:two",
        ];
        const COLUMNS: &[&str] =
            &["*/x", "s.*/x", "s.a/*", "s.a/y", "u.raw/_key", "u.raw/*", "*.b/y", "u.*/_key", "s.a$snapshots/x"];
        const TAGGED: &[&str] = &["s.a", "s.b/x", "t.a/y", "u.raw/_key", "s.a__dlq", "t.b"];
        let mut csv = String::new();
        for _ in 0..4 + dice.below(12) {
            let subject = dice.pick(SUBJECTS);
            let effect = if dice.below(4) == 0 { "deny" } else { "allow" };
            let (object, action) = match dice.below(10) {
                0 | 1 => (*dice.pick(COLUMNS), "select"),
                2 => (*dice.pick(&["*", "s.*", "*.*", "u.*"]), "create"),
                3 => ("lakegate.admin", "select"),
                _ => (*dice.pick(OBJECTS), ["select", "select", "insert", "delete"][dice.below(4)]),
            };
            csv.push_str(&format!("p, {subject}, {object}, {action}, {effect}\n"));
        }
        for _ in 0..dice.below(5) {
            // upwards only, so that no ring comes about
            let (member, role) = (dice.below(7), 4 + dice.below(4));
            if member < role {
                csv.push_str(&format!("g, {}, {}\n", SUBJECTS[member], SUBJECTS[role]));
            }
        }
        for _ in 0..dice.below(4) {
            csv.push_str(&format!("g2, {}, tag:{}\n", dice.pick(TAGGED), dice.pick(&["one", "two"])));
        }
        csv
    }

    #[tokio::test]
    async fn casbin_and_the_index_agree_on_every_question() {
        let mut dice = Dice(20_260_101);
        let (mut asked, mut accepted) = (0, 0);
        while asked < 100_000 {
            let csv = random_rules(&mut dice);
            // a subject that no `g` line makes a role is a fault in a deny; such sets are not asked about
            let Ok((policies, _)) = compile_over(&csv, USERS, &small_world()) else { continue };
            let oracle = Oracle::new(&policies).await.unwrap();
            asked += compare(&oracle, &policies, &csv);
            accepted += 1;
        }
        println!("{asked} questions over {accepted} sets of lines, 0 differences");
    }

    #[tokio::test]
    async fn the_example_of_the_manual_is_a_casbin_file() {
        let (draft, _) = Draft::parse(EXAMPLE, USERS).unwrap();
        let (policies, _) = Policies::compile(&draft, &objects(), &key(), 1).unwrap();
        let policies = Arc::new(policies);
        let oracle = Oracle::new(&policies).await.unwrap();
        assert!(compare(&oracle, &policies, EXAMPLE) > 400);
    }

    /// The tag is on the table; `enforce` asked for a column alone says yes though the table is denied.
    #[tokio::test]
    async fn a_column_is_never_asked_for_alone() {
        let policies = policies(EXAMPLE);
        let oracle = Oracle::new(&policies).await.unwrap();
        assert!(oracle.allows("alice", "sales.customer_notes/body", Action::Select).unwrap());
        assert!(!oracle.allows("alice", "sales.customer_notes", Action::Select).unwrap());
        let notes = policies.objects.iter().find(|o| o.name.table == "customer_notes").unwrap();
        assert!(matches!(session(&policies, "alice").decide(notes.id, Action::Select), Decision::Deny));
    }

    /// Casbin looks at ten names and no further; a longer chain is a fault here, so both mean the same by each file.
    #[tokio::test]
    async fn a_chain_of_ten_names_counts_to_its_end() {
        let mut csv = String::from("p, r9, sales.orders, select, allow\ng, alice, r1\n");
        (1..9).for_each(|n| csv.push_str(&format!("g, r{n}, r{}\n", n + 1)));
        let policies = policies(&csv);
        let oracle = Oracle::new(&policies).await.unwrap();
        assert!(oracle.allows("alice", "sales.orders", Action::Select).unwrap());
        compare(&oracle, &policies, &csv);
    }
}
