//! What the second judge asks, in which order, and that a difference is told with its line.

use super::*;
use crate::policy::compile::Objects;
use crate::policy::fixture::{EXAMPLE, USERS, compile_over, lines, policies};

fn config(judge_ms: u64) -> Config {
    Config { judge_ms }
}

const WHOLE: u64 = 3_600_000;

#[test]
fn casbin_agrees_with_the_example_on_every_question() {
    let judgement = judge(&policies(EXAMPLE), None, &config(WHOLE)).unwrap_or_else(|f| panic!("{}", lines(&f)));
    assert!(judgement.asked == judgement.of && judgement.of > 500, "{judgement}");
    let none = judge(&policies(EXAMPLE), None, &config(0)).unwrap();
    assert_eq!((none.asked, none.of), (0, 0));
}

/// An index that was compiled wrong, for every kind of thing it holds.
#[test]
fn a_difference_is_told_with_its_line_subject_and_object() {
    let told = |break_it: fn(&mut Policies)| {
        let mut broken = Arc::into_inner(policies(EXAMPLE)).unwrap();
        break_it(&mut broken);
        let faults = judge(&Arc::new(broken), None, &config(WHOLE)).expect_err("a difference");
        lines(&faults)
    };
    // every line of the auditor is lost
    let lost = told(|p| p.subjects.iter_mut().filter(|s| s.name.as_ref() == "auditor").for_each(|s| s.rules.clear()));
    assert!(
        lost.contains(
            "policy.csv:7:13: casbin and lakegate differ: may `ann` select `sales.orders`? casbin says yes, lakegate no"
        ),
        "{lost}"
    );
    // a role too much
    let gained = told(|p| {
        let dba = p.subjects.iter().position(|s| s.name.as_ref() == "dba").unwrap();
        p.subjects.iter_mut().filter(|s| s.name.as_ref() == "ann").for_each(|s| {
            s.closure.push(dba);
            s.names.push("dba".into());
        });
    });
    assert!(gained.contains("to casbin `ann` is not `dba`, to lakegate it is"), "{gained}");
    // a deny on a column that is not found any more
    let shown = told(|p| p.objects.iter_mut().for_each(|o| o.column_tags.clear()));
    assert!(
        shown.contains("may `alice` select `sales.orders/phone`? casbin says no, lakegate yes")
            && shown.contains("policy.csv:4:13"),
        "{shown}"
    );
    let admin = told(|p| p.subjects.iter_mut().for_each(|s| s.admins = vec![0]));
    assert!(admin.contains("select `lakegate.admin`? casbin says no, lakegate yes"), "{admin}");
}

#[test]
fn casbin_is_asked_about_sources() {
    let csv = format!(
        "{EXAMPLE}p, analyst, source:crm, query, allow\np, hr, source:crm, query, deny\np, dba, source:erp, query, allow\n"
    );
    let judgement = judge(&policies(&csv), None, &config(WHOLE)).unwrap_or_else(|f| panic!("{}", lines(&f)));
    assert_eq!(judgement.asked, judgement.of);
    let mut broken = Arc::into_inner(policies(&csv)).unwrap();
    broken.subjects.iter_mut().filter(|s| s.name.as_ref() == "hr").for_each(|s| s.queries.clear());
    let told = lines(&judge(&Arc::new(broken), None, &config(WHOLE)).expect_err("a deny is lost"));
    assert!(told.contains("query `source:crm`? casbin says no, lakegate yes"), "{told}");
}

#[test]
fn every_question_is_walked_to_once_in_an_order_of_the_seed() {
    for count in [0, 1, 2, 3, 7, 10, 97, 1_000, 65_536] {
        for seed in [0, 1, 42, u64::MAX, 0xDEAD_BEEF_0BAD_CAFE] {
            let mut walked: Vec<usize> = walk(count, seed).collect();
            let order = walked.clone();
            walked.sort_unstable();
            assert_eq!(walked, (0..count).collect::<Vec<_>>(), "{count} {seed}");
            if count > 100 {
                assert_ne!(order, walked, "{seed}");
            }
        }
    }
    assert_ne!(walk(1_000, 7).take(9).collect::<Vec<_>>(), walk(1_000, 8 << 40).take(9).collect::<Vec<_>>());
}

#[test]
fn what_changed_is_asked_about_first() {
    let edit = format!("{EXAMPLE}p, auditor, hr.pay/salary, select, deny\n");
    let (old, new) = (policies(EXAMPLE), policies(&edit));
    let court = Court::new(&new).unwrap();
    let first = court.about_changes(&old);
    let about: Vec<String> = first
        .iter()
        .filter_map(|q| court.matters.get(q.checked_sub(new.subjects.len())? % court.matters.len()))
        .map(|matter| court.spelt(*matter).0)
        .collect();
    assert!(!about.is_empty() && about.iter().all(|name| name == "hr.pay/salary"), "{about:?}");
    let same = Court::new(&old).unwrap();
    assert!(same.about_changes(&old).is_empty());
    let moved = Court::new(&old).unwrap().about_changes(&policies(&EXAMPLE.replace("g,  dora,  dba\n", "")));
    let dora = old.subjects.iter().position(|s| s.name.as_ref() == "dora").unwrap();
    assert_eq!(moved, [dora]);
}

/// 10,000 lines over 200 tables take longer than anybody waits; what is asked in a tenth of a second is a sample. The
/// measurement prints itself; `LAKEGATE_JUDGE_WHOLE=1` asks everything.
#[test]
fn many_lines_are_judged_within_the_time_given() {
    let whole = std::env::var_os("LAKEGATE_JUDGE_WHOLE").is_some();
    let (tables, roles, each) = if whole { (200, 100, 99) } else { (40, 20, 24) };
    let (csv, world) = many(tables, roles, each);
    let (policies, _) = compile_over(&csv, USERS, &world).unwrap_or_else(|f| panic!("{}", lines(&f)));
    for ms in [100, if whole { WHOLE } else { 400 }] {
        let begin = Instant::now();
        let judgement = judge(&policies, None, &config(ms)).unwrap_or_else(|f| panic!("{}", lines(&f)));
        println!("{} lines × {tables} tables, {ms} ms given: {judgement}", csv.lines().count());
        assert!(judgement.asked > 0);
        if ms != WHOLE {
            // one question and the making of its enforcer may be under way when time is up
            assert!(begin.elapsed() < Duration::from_millis(ms) * 20, "{:?}", begin.elapsed());
        }
    }
}

/// `roles` × `each` lines and a membership each.
fn many(tables: usize, roles: usize, each: usize) -> (String, Objects) {
    use crate::policy::fixture::object;
    use arrow::datatypes::DataType;
    let columns = [("id", DataType::Int64), ("region", DataType::Utf8), ("note", DataType::Utf8)];
    let name = |n: usize| format!("s{}.t{n}", n % 10);
    let list = (0..tables).map(|n| object(&name(n), crate::policy::ObjectKind::Table, &columns, &[])).collect();
    let users = ["alice", "bob", "dora", "ann", "etl"];
    let mut csv = String::new();
    for role in 0..roles {
        csv.push_str(&format!("g, {}, r{role}\n", users[role % users.len()]));
        for line in 0..each {
            let table = name((role * 7 + line * 3) % tables);
            csv.push_str(&match line % 8 {
                0 => format!("p, r{role}, s{}.*, select, allow\n", line / 8 % 10),
                1 => format!("p, r{role}, {table}/note, select, deny\n"),
                2 => format!("p, r{role}, {table}, insert, allow\n"),
                3 if line % 40 == 3 => format!("p, r{role}, {table}, select, deny\n"),
                _ => format!("p, r{role}, {table}, select, allow\n"),
            });
        }
    }
    let schemas = (0..10).map(|n| format!("s{n}")).collect();
    (csv, Objects { objects: list, schemas, ..Objects::default() })
}
