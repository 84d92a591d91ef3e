//! Binding to a world that is not all there: sources that have not answered, tables that went or changed.

use std::sync::Arc;

use arrow::datatypes::DataType;

use super::*;
use crate::policy::fixture::{EXAMPLE, USERS, id, key, lines, object, objects, session};
use crate::policy::{Decision, ObjectKind};

fn draft(csv: &str) -> Draft {
    Draft::parse(csv, USERS).unwrap_or_else(|f| panic!("{}", lines(&f))).0
}

fn without(mut world: Objects, table: &str) -> Objects {
    world.objects.retain(|o| o.id != id(table));
    world
}

/// The world with one table's columns changed.
fn changed(mut world: Objects, table: &str, change: impl Fn(&mut Vec<arrow::datatypes::FieldRef>)) -> Objects {
    for object in world.objects.iter_mut().filter(|o| o.id == id(table)) {
        let mut fields = object.schema.fields().to_vec();
        change(&mut fields);
        object.schema = Arc::new(arrow::datatypes::Schema::new(fields));
    }
    world
}

/// (faults or warnings, what alice gets of each table)
fn bound(csv: &str, world: &Objects, tables: &[&str]) -> (String, Vec<String>) {
    match Policies::compile(&draft(csv), world, &key(), 7) {
        Err(faults) => (lines(&faults), vec![]),
        Ok((policies, warnings)) => {
            let alice = session(&Arc::new(policies), "alice");
            let shown = |table: &&str| match alice.decide(id(table), Action::Select) {
                Decision::Allow(grant) => grant.class().to_owned(),
                Decision::Deny => "deny".to_owned(),
            };
            (lines(&warnings), tables.iter().map(shown).collect())
        }
    }
}

#[test]
fn lines_about_a_source_that_has_not_answered_wait_for_it() {
    let csv = "p, alice, later.*, select, allow\np, alice, later.things/secret, select, deny\n\
               p2, alice, later.things, \"owner = 'x'\"\np3, alice, later.things, name, nullify\ng2, later.things/other, tag:pii\n\
               p, alice, tag:pii, select, deny\n";
    let (said, _) = bound(csv, &objects(), &[]);
    assert_eq!(said, "");
    // it answers: everything is bound before the table can be seen
    let columns = ["secret", "owner", "name", "other", "open"].map(|c| (c, DataType::Utf8));
    let mut world = objects();
    world.objects.push(object("later.things", ObjectKind::Table, &columns, &[]));
    let policies = Arc::new(Policies::compile(&draft(csv), &world, &key(), 8).unwrap().0);
    let Decision::Allow(grant) = session(&policies, "alice").decide(id("later.things"), Action::Select) else {
        panic!()
    };
    assert_eq!(grant.denied.iter().map(String::as_str).collect::<Vec<_>>(), ["other", "secret"]);
    assert_eq!(grant.masks.keys().collect::<Vec<_>>(), ["name"]);
    assert_eq!(grant.filter.as_ref().unwrap().to_string(), "owner = Utf8(\"x\")");
    // it answers and one of the names was wrong: a fault, unless the set is in force, when nothing of it is shown
    world.unanswered.clear();
    let world = changed(world, "later.things", |fields| fields.retain(|f| f.name() != "secret"));
    let (said, _) = bound(csv, &world, &[]);
    assert_eq!(said, "policy.csv:2:24: `later.things` has no column `secret`");
    let in_force = Objects { in_force: draft(csv).prints(), ..world };
    let (said, seen) = bound(csv, &in_force, &["later.things"]);
    assert_eq!((said.as_str(), seen[0].as_str()), ("policy.csv:2:24: `later.things` has no column `secret`", "deny"));
}

/// A pipeline's file names tables that nobody has made yet: what is said of them beforehand binds once they are there.
#[test]
fn lines_about_tables_that_a_pipeline_will_make_wait_for_them() {
    let csv = "p, alice, copies.orders_eu, select, allow\np2, alice, copies.orders_eu, \"owner = 'x'\"\n\
               p3, alice, copies.*, owner, nullify\n";
    let awaited = |name: &str| vec![("copies".to_string(), name.to_string())];
    for name in ["orders_eu", "orders_*", "*"] {
        let world = Objects { awaited: awaited(name), ..objects() };
        assert_eq!(bound(csv, &world, &[]).0, "", "{name}");
    }
    // what the pipeline does not make is a mistake as ever
    for name in ["orders", "orders_u*", "*x"] {
        let (said, _) = bound(csv, &Objects { awaited: awaited(name), ..objects() }, &[]);
        assert!(said.starts_with("policy.csv:1:11: there is no schema `copies`"), "{name}: {said}");
    }
    let mut world = Objects { awaited: awaited("orders_*"), ..objects() };
    let columns = [("owner", DataType::Utf8), ("amount", DataType::Int64)];
    world.objects.push(object("copies.orders_eu", ObjectKind::Table, &columns, &[]));
    let policies = Arc::new(Policies::compile(&draft(csv), &world, &key(), 8).unwrap().0);
    let alice = session(&policies, "alice");
    let Decision::Allow(grant) = alice.decide(id("copies.orders_eu"), Action::Select) else { panic!() };
    assert_eq!(grant.masks.keys().collect::<Vec<_>>(), ["owner"]);
    assert_eq!(grant.filter.as_ref().unwrap().to_string(), "owner = Utf8(\"x\")");
}

#[test]
fn the_set_in_force_outlives_what_it_names() {
    let csv = "p, alice, *, select, allow\np, alice, hr.pay, select, deny\np2, alice, sales.orders, paid\n\
               p3, alice, crm.customers, email, nullify\ng2, sales.products, tag:x\np, alice, lakegate.nothing, select, allow\n";
    let world = without(without(without(objects(), "hr.pay"), "sales.orders"), "sales.products");
    let csv = csv.replace("p, alice, lakegate.nothing, select, allow\n", "");
    let (said, _) = bound(&csv, &world, &[]);
    let expected = "policy.csv:2:11: there is no table `hr.pay`\npolicy.csv:3:12: there is no table `sales.orders`\n\
                    policy.csv:5:5: there is no table `sales.products`";
    assert_eq!(said, expected, "a new set is refused");
    let other = Objects { in_force: HashSet::from([1]), ..without(objects(), "hr.pay") };
    assert!(bound(&csv, &other, &[]).0.starts_with("policy.csv:2:11"), "another set being in force is no excuse");
    let world = Objects { in_force: draft(&csv).prints(), ..world };
    let (said, seen) = bound(&csv, &world, &["crm.customers", "bronze.events", "sales.orders"]);
    assert_eq!(said, expected, "as warnings");
    assert_eq!(seen, ["masked", "full", "deny"]);
}

/// A column that a line hides is gone: it may live on under another name, so the table waits for the administrator.
#[test]
fn a_table_that_lost_a_protected_column_is_withheld() {
    let rename = |column: &'static str| {
        move |fields: &mut Vec<arrow::datatypes::FieldRef>| {
            for field in fields.iter_mut().filter(|f| f.name() == column) {
                *field = Arc::new(field.as_ref().clone().with_name("renamed"));
            }
        }
    };
    let table = [
        ("p, alice, crm.customers/ssn, select, deny\n", "ssn", "deny"),
        ("p3, alice, crm.customers, ssn, nullify\n", "ssn", "deny"),
        ("p2, alice, crm.customers, \"ssn = 'x'\"\n", "ssn", "deny"),
        ("p2, alice, crm.*, \"ssn = 'x'\"\n", "ssn", "deny"),
        ("p3, alice, crm.customers, name, \"custom(\"\"ssn\"\")\"\n", "ssn", "masked"),
        ("g2, crm.customers/ssn, tag:pii\np, alice, tag:pii, select, deny\n", "ssn", "deny"),
        ("g2, crm.customers/ssn, tag:pii\np3, alice, tag:pii, *, nullify\n", "ssn", "deny"),
        ("g2, crm.customers/ssn, tag:pii\np, bob, tag:pii, select, deny\n", "ssn", "full"),
        ("p, bob, crm.customers/ssn, select, deny\n", "ssn", "full"),
        ("p, alice, crm.customers/ssn, select, allow\n", "ssn", "full"),
        ("p, alice, crm.customers/ssn, select, deny\n", "name", "masked"),
    ];
    for (rule, column, expected) in table {
        let csv = format!("p, alice, *, select, allow\n{rule}");
        let world = changed(objects(), "crm.customers", rename(column));
        let world = Objects { in_force: draft(&csv).prints(), ..world };
        let (said, seen) = bound(&csv, &world, &["crm.customers", "hr.pay"]);
        assert_eq!(seen, [expected, "full"], "{rule}{said}");
        assert_eq!(said.is_empty(), column == "name", "{rule}{said}");
    }
    // the custom mask that lost its input hides its column
    let csv = "p, alice, *, select, allow\np3, alice, crm.customers, name, \"custom(\"\"ssn\"\")\"\n";
    let world = Objects { in_force: draft(csv).prints(), ..changed(objects(), "crm.customers", rename("ssn")) };
    let policies = Arc::new(Policies::compile(&draft(csv), &world, &key(), 1).unwrap().0);
    let Decision::Allow(grant) = session(&policies, "alice").decide(id("crm.customers"), Action::Select) else {
        panic!()
    };
    assert!(grant.denied.contains("name") && grant.masks.is_empty());
}

#[test]
fn a_table_that_comes_later_and_does_not_fit_the_filter_is_not_granted() {
    let csv = "p, alice, crm.*, select, allow\np2, alice, crm.*, region = 'EU'\n";
    let mut world = objects();
    assert_eq!(bound(csv, &world, &["crm.customers"]), (String::new(), vec!["filtered".into()]));
    world.objects.push(object("crm.later", ObjectKind::Table, &[("id", DataType::Int64)], &[]));
    let misfit = "policy.csv:2:19: there is no column `region` (for `crm.later`)";
    assert_eq!(bound(csv, &world, &[]).0, misfit, "a new line fits every table");
    world.in_force = draft(csv).prints();
    let (said, seen) = bound(csv, &world, &["crm.customers", "crm.later"]);
    assert_eq!(said, format!("{misfit}; the table is withheld from `alice`"));
    assert_eq!(seen, ["filtered", "deny"]);
    // an edit of that line still fits the other table; one that fits none is a typing mistake
    let edit = csv.replace("= 'EU'", "= 'DE'");
    let (said, seen) = bound(&edit, &world, &["crm.customers", "crm.later"]);
    assert_eq!(
        (said, seen),
        (format!("{misfit}; the table is withheld from `alice`"), vec!["filtered".into(), "deny".into()])
    );
    let misspelt = Policies::compile(&draft(&csv.replace("region =", "regoin =")), &world, &key(), 7);
    assert!(lines(&misspelt.unwrap_err()).contains("there is no column `regoin`"));
    // and another line being new is no reason to ask after one that is in force
    let more = format!("{csv}p, alice, hr.pay, select, allow\n");
    let gone = Objects { in_force: world.in_force.clone(), ..without(world, "crm.customers") };
    let (said, seen) = bound(&more, &gone, &["hr.pay"]);
    assert!(said.contains("there is no column `region`") && seen == ["full"], "{said} {seen:?}");
}

#[test]
fn two_names_for_one_table_or_two_tables_of_one_name_are_readable_by_neither() {
    let mut world = objects();
    let mut twin = object("sales.twin", ObjectKind::Table, &[("id", DataType::Int64)], &[]);
    twin.id = id("hr.pay");
    world.objects.push(twin);
    let (said, seen) =
        bound("p, alice, *, select, allow\np, alice, hr.*, select, deny\n", &world, &["hr.pay", "sales.products"]);
    assert_eq!(said, "policy.csv:1:1: `hr.pay` and `sales.twin` are one table under two names; neither can be read");
    assert_eq!(seen, ["deny", "full"]);
}

#[test]
fn names_that_differ_in_composition_alone_are_one_name() {
    let mut world = objects();
    let columns = [("caf\u{e9}", DataType::Utf8), ("cafe\u{301}", DataType::Utf8), ("x", DataType::Utf8)];
    world.objects.push(object("bronze.caf\u{e9}s", ObjectKind::Table, &columns, &[]));
    let csv = "p, alice, *, select, allow\ng2, bronze.cafe\u{301}s/caf\u{e9}, tag:t\np, alice, tag:t, select, deny\n";
    let policies = Arc::new(Policies::compile(&draft(csv), &world, &key(), 1).unwrap().0);
    let Decision::Allow(grant) = session(&policies, "alice").decide(id("bronze.caf\u{e9}s"), Action::Select) else {
        panic!()
    };
    assert_eq!(grant.denied.len(), 2, "both spellings are the tagged column");
    world.objects.push(object("bronze.cafe\u{301}s", ObjectKind::Table, &columns, &[]));
    let (said, seen) = bound(csv, &world, &["bronze.caf\u{e9}s", "bronze.cafe\u{301}s", "hr.pay"]);
    assert!(said.contains("are two tables under one name; neither can be read"), "{said}");
    assert_eq!(seen, ["deny", "deny", "full"]);
}

#[test]
fn masks_that_conflict_for_one_user_are_faults_and_for_two_users_are_not() {
    let two = |first: &str, second: &str, third: &str| {
        format!(
            "p3, staff, sales.orders, buyer, {first}\np3, sales, sales.*, buyer, {second}\ng, alice, staff\n{third}"
        )
    };
    let one_user = "g, alice, sales\np, staff, sales.*, select, allow\np, sales, sales.*, select, allow\n";
    let two_users = "g, bob, sales\n";
    let fault = |csv: &str| bound(csv, &objects(), &[]).0.lines().filter(|l| l.contains("two masks")).count();
    assert_eq!(fault(&two("last4", "first4", one_user)), 1);
    assert_eq!(fault(&two("redact", "\"constant('x')\"", one_user)), 1);
    assert_eq!(fault(&two("\"custom(\"\"nickname\"\")\"", "\"custom(\"\"status\"\")\"", one_user)), 1);
    assert_eq!(fault(&two("last4", "\"partial(0, '****', 4)\"", one_user)), 0, "one mask under two spellings");
    assert_eq!(fault(&two("last4", "nullify", one_user)), 0, "one is the stricter");
    assert_eq!(fault(&two("hash", "hash", one_user)), 0);
    assert_eq!(fault(&two("last4", "first4", two_users)), 0);
}

#[test]
fn a_generation_carries_its_number_the_files_hash_and_its_users() {
    let draft = draft(EXAMPLE);
    let (policies, _) = Policies::compile(&draft, &objects(), &key(), 42).unwrap();
    assert_eq!((policies.generation(), policies.hash()), (42, draft.hash()));
    assert_eq!(policies.users(), ["alice", "ann", "bob", "dora", "etl"]);
    assert!(policies.verifier("alice").unwrap().starts_with("SCRAM-SHA-256$4096:"));
    assert!(policies.verifier("analyst").is_none() && policies.principal("analyst").is_none());
    let principal = policies.principal("alice").unwrap();
    // the user is removed in a later generation
    let fewer = USERS.replace("user.alice", "user.alix");
    let (draft, _) = Draft::parse("", &fewer).unwrap();
    let later = Arc::new(Policies::compile(&draft, &objects(), &key(), 43).unwrap().0);
    assert!(later.session(&principal).is_none());
}

#[test]
fn without_tables_the_subjects_are_judged_all_the_same() {
    let said = |csv: &str| judge_unbound(&draft(csv)).map_or_else(|f| lines(&f), |w| lines(&w));
    assert_eq!(said(EXAMPLE), "");
    assert_eq!(said("p, alice, no.such, select, allow\n"), "");
    assert!(said("g, a, b\ng, b, a\n").contains("the roles go in a ring"));
    assert!(said("p, alcie, no.such, select, deny\n").contains("neither a user nor a role; did you mean `alice`?"));
}

#[test]
fn what_is_printed_for_a_log_holds_neither_verifiers_nor_attributes() {
    let policies = Arc::new(Policies::compile(&draft(EXAMPLE), &objects(), &key(), 1).unwrap().0);
    let printed = format!("{policies:?} {:?} {:?}", session(&policies, "alice"), draft(EXAMPLE));
    assert!(!printed.contains("SCRAM-SHA-256$") && !format!("{policies:?}").contains("EU"), "{printed}");
}
