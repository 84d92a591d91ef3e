//! Edits of the manual's example: which of them only take away.

use super::*;
use crate::policy::Decision;
use crate::policy::compile::Objects;
use crate::policy::fixture::{Dice, EXAMPLE, USERS, compile_over, id, lines, objects};

fn over(csv: &str, users: &str, world: &Objects) -> Arc<Policies> {
    compile_over(csv, users, world).unwrap_or_else(|faults| panic!("{csv}\n{}", lines(&faults))).0
}

/// reports.revenue reads sales.orders.
fn reads() -> Reads {
    Reads::from([(id("reports.revenue"), BTreeSet::from([id("sales.orders")]))])
}

/// Both ways: from `old` to `new`, and back.
fn check(old: &str, new: &str, narrower: bool, back: bool) {
    let (a, b) = (over(old, USERS, &objects()), over(new, USERS, &objects()));
    assert_eq!((narrows(&b, &a, &reads()), narrows(&a, &b, &reads())), (narrower, back), "{old}---\n{new}");
}

#[test]
fn lines_that_take_away_do_and_their_opposites_do_not() {
    check(EXAMPLE, EXAMPLE, true, true);
    let more = |line: &str| format!("{EXAMPLE}{line}\n");
    for line in [
        "p, analyst, hr.pay, select, deny",
        "p, dba, crm.customers/email, select, deny",
        "p2, analyst, sales.orders, paid",
        "p2, dba, crm.customers, \"country = 'DE'\"",
        "p3, dba, crm.customers, email, nullify",
        "p3, analyst, crm.customers, email, redact",
        "p3, dba, crm.customers, name, \"custom(\"\"upper(name)\"\")\"",
        "p, dba, *, select, deny",
    ] {
        check(EXAMPLE, &more(line), true, false);
    }
    for line in [
        "p, ann, hr.pay, select, allow",
        "p, loader, bronze.*, create, allow",
        "p, loader, bronze.*, drop, allow",
        "p, ann, lakegate.admin, select, allow",
        "p, analyst, source:crm, query, allow",
        "p, dba, sales.events__dlq, select, allow",
        "g, ann, dba",
        "p, etl, bronze.events, delete, allow",
        // what it looks at may be hidden
        "p3, analyst, crm.customers, name, \"custom(\"\"ssn\"\")\"",
    ] {
        let back = !line.starts_with("p3");
        check(EXAMPLE, &more(line), false, back);
    }
    // a line that says again what holds
    check(EXAMPLE, &more("p, dba, sales.orders, select, allow"), true, true);
    check(EXAMPLE, &more("p3, dba, crm.customers, email, unmasked"), true, true);
    let without = |line: &str| EXAMPLE.replacen(line, "", 1);
    for line in ["p, analyst, sales.*,          select, allow\n", "g,  alice, analyst\n", "g,  dora,  dba\n"] {
        assert_ne!(without(line), EXAMPLE);
        check(EXAMPLE, &without(line), true, false);
    }
    for line in [
        "p2, analyst, sales.orders,    \"region = user.region\"\n",
        "p3, analyst, sales.orders, card_no, last4\n",
        "p, analyst, tag:pii,          select, deny\n",
        "g2, sales.orders/phone,   tag:pii\n",
    ] {
        assert_ne!(without(line), EXAMPLE);
        check(EXAMPLE, &without(line), false, true);
    }
}

/// Lines that hide something of a table still count for who reads it through a dataset, allowed or not.
#[test]
fn what_hides_a_base_counts_for_who_reads_a_dataset_over_it() {
    let base = "p, bob, sales.orders, select, allow\np2, bob, sales.orders, paid\n";
    let view = "p, bob, reports.*, select, allow\n";
    check(base, "", true, false);
    check(&format!("{base}{view}"), view, false, false);
    check(&format!("{base}{view}"), &format!("{view}p2, bob, sales.orders, paid\n"), true, false);
    check(&format!("{base}{view}"), "", true, false);
    // a table that no dataset reads
    let other = "p, bob, crm.customers, select, allow\np3, bob, crm.customers, ssn, nullify\n";
    check(&format!("{other}{view}"), view, true, false);
}

#[test]
fn attributes_and_logins_are_compared_too() {
    let csv = "p, alice, sales.orders, select, allow\np2, alice, sales.orders, region = user.region\n";
    let world = objects();
    let old = over(csv, USERS, &world);
    let with = |from: &str, to: &str| {
        assert!(USERS.contains(from));
        narrows(&over(csv, &USERS.replacen(from, to, 1), &world), &old, &reads())
    };
    assert!(with("region = \"EU\", ", ""), "without the attribute no row is left");
    assert!(!with("region = \"EU\"", "region = \"US\""));
    assert!(!with("[user.bob]", "[user.bobby]"), "somebody new may log in");
    let without_bob = USERS.split("[user.bob]").next().unwrap();
    assert!(narrows(&over(csv, without_bob, &world), &old, &reads()));
    assert!(!narrows(&old, &over(csv, without_bob, &world), &reads()));
}

/// Where the answer is yes, no decision about anybody gives more: asked one by one, alone and through a dataset.
#[test]
fn whatever_only_takes_away_gives_nobody_more() {
    let mut dice = Dice(20_261_127);
    let lines = [
        "p, analyst, sales.*, select, allow",
        "p, analyst, crm.*, select, allow",
        "p, bob, sales.orders, select, allow",
        "p, dora, *, select, allow",
        "p, dora, sales.*, insert, allow",
        "p, analyst, reports.*, select, allow",
        "p, bob, reports.revenue, select, allow",
        "p, analyst, sales.orders/phone, select, deny",
        "p, analyst, crm.customers/ssn, select, deny",
        "p, bob, sales.*, select, deny",
        "p2, analyst, sales.orders, paid",
        "p2, bob, sales.orders, \"region = 'EU' AND paid\"",
        "p2, analyst, sales.orders, region = user.region",
        "p3, analyst, sales.orders, card_no, last4",
        "p3, analyst, sales.orders, card_no, nullify",
        "p3, analyst, crm.customers, name, \"custom(\"\"ssn\"\")\"",
        "p3, bob, sales.orders, buyer, redact",
        "g, alice, analyst",
        "g, bob, analyst",
        "g, dora, analyst",
    ];
    let (mut yes, mut no) = (0, 0);
    for _ in 0..400 {
        let mut pick = |keep: usize| -> Vec<&str> { lines.iter().filter(|_| dice.below(10) < keep).copied().collect() };
        let old = pick(7);
        let mut new: Vec<&str> = old.clone();
        for line in lines {
            match dice.below(10) {
                0 => new.retain(|l| *l != line),
                1 if !new.contains(&line) && !line.ends_with("allow") => new.push(line),
                2 if dice.below(4) == 0 && !new.contains(&line) => new.push(line),
                _ => {}
            }
        }
        // a role without members is a fault in a deny
        let csv = |lines: &[&str]| format!("{}\ng, etl, analyst\n", lines.join("\n"));
        let (a, b) = (over(&csv(&old), USERS, &objects()), over(&csv(&new), USERS, &objects()));
        if !narrows(&b, &a, &reads()) {
            no += 1;
            continue;
        }
        yes += 1;
        compare(&a, &b, &format!("{}\n---\n{}", csv(&old), csv(&new)));
    }
    println!("{yes} edits only take away, {no} may not");
    assert!(yes > 40 && no > 40, "{yes} {no}");
}

fn compare(old: &Arc<Policies>, new: &Arc<Policies>, edit: &str) {
    let reports = id("reports.revenue");
    for user in new.users() {
        let (Some(before), Some(after)) = (old.owner(user), new.owner(user)) else { panic!("{edit}") };
        for object in &new.objects {
            let asked = |session: &SessionPolicy| session.decide_afresh(object.id, Action::Select);
            no_more(&asked(&before), &asked(&after), &format!("{user} {}\n{edit}", object.name));
        }
        let may =
            |session: &SessionPolicy| matches!(session.decide_afresh(reports, Action::Select), Decision::Allow(_));
        if may(&after) {
            let through = |policies: &Arc<Policies>, session: &SessionPolicy| {
                let owner = policies.owner("dora").unwrap();
                session.through(&owner, &[], id("sales.orders"))
            };
            no_more(&through(old, &before), &through(new, &after), &format!("{user} through a dataset\n{edit}"));
        }
    }
}

fn no_more(before: &Decision, after: &Decision, edit: &str) {
    let (Decision::Allow(after), before) = (after, before) else { return };
    let Decision::Allow(before) = before else { panic!("a table more: {edit}") };
    assert!(after.hidden.is_superset(&before.hidden), "a column more: {edit}");
    let conjuncts = |filter: &Option<Expr>| {
        let all = filter.iter().flat_map(split_conjunction).map(ToString::to_string);
        all.collect::<BTreeSet<String>>()
    };
    let nothing = after.filter == Some(lit(false));
    assert!(nothing || conjuncts(&after.filter).is_superset(&conjuncts(&before.filter)), "rows more: {edit}");
    for (column, mask) in &before.masks {
        let now = after.masks.get(column);
        let hidden = after.hidden.contains(column);
        // either the same, or one that is stricter by its rank: here nullify over last4, and NULL where two differ
        let stricter = now.is_some_and(|now| now == mask || matches!(now, Expr::Literal(..)));
        assert!(hidden || stricter, "{column} is shown as {now:?}: {edit}");
    }
    for (column, mask) in after.masks.iter().filter(|(column, _)| !before.masks.contains_key(*column)) {
        assert!(mask.column_refs().iter().all(|c| c.name == *column), "{column} shows another: {edit}");
    }
}
