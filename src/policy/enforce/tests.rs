//! Casbin as the oracle: the index says what `enforce` says.

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
            let theirs = oracle.allows(user, &schema_request(schema), Action::Drop).unwrap();
            assert_eq!(theirs, session.may_drop_schema(schema), "{user} drops {schema}\n{csv}");
        }
        let theirs = oracle.allows(user, "lakegate.admin", Action::Select).unwrap();
        assert_eq!(theirs, session.is_admin(), "{user} is admin\n{csv}");
        asked += 7;
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
    assert_eq!(table && !theirs.is_empty(), matches!(decision, Decision::Allow(_)), "{user} {}\n{csv}", object.name);
    columns.len() + 1
}

fn small_world() -> Objects {
    let two = [("x", DataType::Int64), ("y", DataType::Int64)];
    let mut objects: Vec<_> =
        ["s.a", "s.b", "s.B", "t.a", "t.b"].map(|name| object(name, ObjectKind::Table, &two, &[])).into();
    objects.push(object("s.a$snapshots", ObjectKind::Metadata, &two, &[]));
    objects.push(object("s.a__dlq", ObjectKind::Metadata, &two, &[]));
    objects.push(object("u.raw", ObjectKind::Table, &[("x", DataType::Int64), ("_key", DataType::Int64)], &["_key"]));
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
            _ => (*dice.pick(OBJECTS), ["select", "select", "insert", "drop"][dice.below(4)]),
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

#[test]
fn casbin_and_the_index_agree_on_every_question() {
    let mut dice = Dice(20_260_101);
    let (mut asked, mut accepted) = (0, 0);
    while asked < 100_000 {
        let csv = random_rules(&mut dice);
        // a subject that no `g` line makes a role is a fault in a deny; such sets are not asked about
        let Ok((policies, _)) = compile_over(&csv, USERS, &small_world()) else { continue };
        let oracle = Oracle::new(&policies).unwrap();
        asked += compare(&oracle, &policies, &csv);
        accepted += 1;
    }
    println!("{asked} questions over {accepted} sets of lines, 0 differences");
}

#[test]
fn the_example_of_the_manual_is_a_casbin_file() {
    let (draft, _) = Draft::parse(EXAMPLE, USERS).unwrap();
    let (policies, _) = Policies::compile(&draft, &objects(), &key(), 1).unwrap();
    let policies = Arc::new(policies);
    let oracle = Oracle::new(&policies).unwrap();
    assert!(compare(&oracle, &policies, EXAMPLE) > 400);
}

/// The tag is on the table; `enforce` asked for a column alone says yes though the table is denied.
#[test]
fn a_column_is_never_asked_for_alone() {
    let policies = policies(EXAMPLE);
    let oracle = Oracle::new(&policies).unwrap();
    assert!(oracle.allows("alice", "sales.customer_notes/body", Action::Select).unwrap());
    assert!(!oracle.allows("alice", "sales.customer_notes", Action::Select).unwrap());
    let notes = policies.objects.iter().find(|o| o.name.table == "customer_notes").unwrap();
    assert!(matches!(session(&policies, "alice").decide(notes.id, Action::Select), Decision::Deny));
}

/// Casbin looks at ten names and no further; a longer chain is a fault here, so both mean the same by each file.
#[test]
fn a_chain_of_ten_names_counts_to_its_end() {
    let mut csv = String::from("p, r9, sales.orders, select, allow\ng, alice, r1\n");
    (1..9).for_each(|n| csv.push_str(&format!("g, r{n}, r{}\n", n + 1)));
    let policies = policies(&csv);
    let oracle = Oracle::new(&policies).unwrap();
    assert!(oracle.allows("alice", "sales.orders", Action::Select).unwrap());
    compare(&oracle, &policies, &csv);
}
