//! What is hidden because it is new: for whom, until which line, under which name.

use arrow::datatypes::DataType;

use super::*;
use crate::policy::compile::Objects;
use crate::policy::decide::SessionPolicy;
use crate::policy::fixture::{USERS, compile_over, id, lines, objects, session};
use crate::policy::{Decision, Grant};

/// As a lake would tell columns apart: `sales.orders` has two that its baseline does not know, `phone` and `Weird`.
fn world() -> Objects {
    let mut world = objects();
    for object in &mut world.objects {
        object.column_ids = (0..object.column_ids.len()).map(|at| vec![format!("#{at}")]).collect();
    }
    let orders = world.objects.iter().find(|o| o.id == id("sales.orders")).unwrap();
    let columns = orders.schema.fields().iter().zip(&orders.column_ids);
    let known = columns.filter(|(field, _)| !["phone", "Weird"].contains(&field.name().as_str()));
    let known = known.flat_map(|(_, ids)| ids.clone()).collect();
    world.baselines.insert(id("sales.orders"), known);
    world
}

const SELECT: &str = "p, analyst, sales.*, select, allow\ng, alice, analyst\n";

fn grant(csv: &str, user: &str) -> std::sync::Arc<Grant> {
    let (policies, _) = compile_over(csv, USERS, &world()).unwrap_or_else(|f| panic!("{}", lines(&f)));
    match session(&policies, user).decide(id("sales.orders"), Action::Select) {
        Decision::Allow(grant) => grant,
        Decision::Deny => panic!("{user} has no grant: {csv}"),
    }
}

#[test]
fn a_new_column_is_hidden_from_whom_a_line_restricts_until_a_line_names_it() {
    let filter = "p2, analyst, sales.orders, \"region = 'EU'\"\n";
    let rows: [(&str, &[&str]); 18] = [
        // nobody is restricted
        ("", &[]),
        ("p2, analyst, sales.orders, unfiltered\n", &[]),
        ("p3, analyst, sales.orders, buyer, unmasked\n", &[]),
        ("p, analyst, sales.orders, insert, deny\n", &[]),
        // somebody else is
        ("p2, bob, sales.orders, \"region = 'EU'\"\n", &[]),
        // a filter, a mask, a column denied: by name, by pattern, by tag
        (filter, &["Weird", "phone"]),
        ("p2, alice, *, \"true\"\n", &["Weird", "phone"]),
        ("p3, analyst, sales.*, buyer, redact\n", &["Weird", "phone"]),
        ("p, analyst, sales.orders/buyer, select, deny\n", &["Weird", "phone"]),
        ("p, analyst, sales.*/buyer, select, deny\n", &["Weird", "phone"]),
        ("p, analyst, tag:pii, select, deny\ng2, sales.orders/buyer, tag:pii\n", &["Weird", "phone"]),
        // named by a line
        ("p2, analyst, sales.orders, paid\np, analyst, sales.orders/phone, select, allow\n", &["Weird"]),
        ("p2, analyst, sales.orders, paid\np, alice, sales.*/phone, select, allow\n", &["Weird"]),
        ("p3, analyst, sales.orders, phone, redact\n", &["Weird"]),
        ("p3, analyst, sales.orders, phone, unmasked\np2, analyst, sales.orders, paid\n", &["Weird"]),
        (
            "p2, analyst, sales.orders, paid\np, analyst, tag:new, select, allow\ng2, sales.orders/phone, tag:new\n",
            &["Weird"],
        ),
        // not by a pattern, nor by a line of somebody else
        ("p2, analyst, sales.orders, paid\np, analyst, sales.orders/*, select, allow\n", &["Weird", "phone"]),
        ("p2, analyst, sales.orders, paid\np, bob, sales.orders/phone, select, allow\n", &["Weird", "phone"]),
    ];
    for (more, hidden) in rows {
        let grant = grant(&format!("{SELECT}{more}"), "alice");
        let found: Vec<&str> = grant.hidden.iter().map(String::as_str).filter(|c| *c != "buyer").collect();
        assert_eq!(found, hidden, "{more}");
        // as one that does not exist: 42703, where a denied one is 42501
        assert!(grant.denied.iter().all(|c| c == "buyer"), "{more}");
        assert!(grant.masks.keys().all(|c| !grant.hidden.contains(c)), "{more}");
    }
}

/// Inside a dataset each of those whose lines count: its owner and its caller.
#[test]
fn through_a_dataset_a_new_column_is_hidden_from_either() {
    let through = |more: &str| {
        let csv = format!("p, dora, sales.*, select, allow\n{more}");
        let (policies, _) = compile_over(&csv, USERS, &world()).unwrap();
        let (alice, dora) = (session(&policies, "alice"), session(&policies, "dora"));
        match alice.through(&dora, &[], id("sales.orders")) {
            Decision::Allow(grant) => grant.hidden.iter().cloned().collect::<Vec<_>>(),
            Decision::Deny => panic!("{more}"),
        }
    };
    let none: [&str; 0] = [];
    assert_eq!(through(""), none);
    assert_eq!(through("p2, alice, sales.orders, paid\n"), ["Weird", "phone"]);
    assert_eq!(through("p2, dora, sales.orders, paid\n"), ["Weird", "phone"]);
    // the owner may name it for himself, not for his reader
    let named = "p, dora, sales.orders/phone, select, allow\n";
    assert_eq!(through(&format!("{named}p2, dora, sales.orders, paid\n")), ["Weird"]);
    assert_eq!(through(&format!("{named}p2, alice, sales.orders, paid\n")), ["Weird", "phone"]);
}

#[test]
fn a_table_of_new_columns_alone_does_not_exist() {
    let mut world = world();
    world.baselines.insert(id("sales.products"), BTreeSet::from(["#7".into()]));
    let csv = format!("{SELECT}p2, analyst, sales.products, \"name = 'x'\"\n");
    let (policies, _) = compile_over(&csv, USERS, &world).unwrap();
    let alice: SessionPolicy = session(&policies, "alice");
    assert!(matches!(alice.decide(id("sales.products"), Action::Select), Decision::Deny));
}

/// Whatever a column is called: a new name under an old id is an old column, an old name under a new id a new one.
#[test]
fn a_renamed_column_is_known_and_one_made_anew_is_not() {
    let baselines = |ids: &[&str]| {
        let mut all = Baselines::default();
        all.insert(id("s.t"), ids.iter().map(ToString::to_string).collect());
        all
    };
    let table = |columns: &[(&str, &[&str])]| {
        let named: Vec<(&str, DataType)> = columns.iter().map(|(name, _)| (*name, DataType::Int64)).collect();
        let mut object = crate::policy::fixture::object("s.t", crate::policy::ObjectKind::Table, &named, &[]);
        object.column_ids = columns.iter().map(|(_, ids)| ids.iter().map(ToString::to_string).collect()).collect();
        object
    };
    let known = baselines(&["#1", "#2", "#3"]);
    let new = |columns: &[(&str, &[&str])]| known.new_columns(&table(columns)).into_iter().collect::<Vec<_>>();
    let none: [usize; 0] = [];
    assert_eq!(new(&[("a", &["#1"]), ("b", &["#2"])]), none);
    assert_eq!(new(&[("z", &["#2"]), ("a", &["#1"])]), none, "renamed and moved");
    assert_eq!(new(&[("a", &["#1"]), ("b", &["#4"])]), [1], "dropped and added again");
    assert_eq!(new(&[("a", &["#1"]), ("b", &["#2", "#3"])]), none);
    assert_eq!(new(&[("a", &["#1"]), ("b", &["#2", "#3", "#9"])]), [1], "a field within it is new");
    assert_eq!(Baselines::default().new_columns(&table(&[("a", &["#1"])])).len(), 0, "never restricted");
}

#[test]
fn new_columns_are_told_where_somebody_does_not_see_them() {
    let csv = format!("{SELECT}p2, analyst, sales.orders, paid\np3, analyst, sales.orders, phone, redact\n");
    let told = |csv: &str| {
        let (_, warnings) = compile_over(csv, USERS, &world()).unwrap();
        let new = warnings.into_iter().filter(|w| w.text.contains("accept-columns"));
        new.map(|w| w.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        told(&csv),
        ["policy.csv:3:5: `sales.orders` has columns that came after it was restricted, hidden from whoever a line \
          restricts there: `Weird`; name each in a `p` or `p3` line, or run `lakegate policy accept-columns sales.orders`"]
    );
    let none: [&str; 0] = [];
    assert_eq!(told(SELECT), none, "nobody is restricted");
    assert_eq!(told(&format!("{csv}p, analyst, sales.orders/\"Weird\", select, allow\n")), none, "each is named");
}

#[test]
fn every_line_that_restricts_a_table_gives_it_a_baseline() {
    let restricted = |more: &str| {
        let (policies, _) = compile_over(&format!("{SELECT}{more}"), USERS, &objects()).unwrap();
        let orders = policies.restricted().find(|(object, _)| *object == id("sales.orders"));
        orders.map(|(_, columns)| columns.len())
    };
    for (more, yes) in [
        ("", false),
        ("p2, analyst, sales.orders, unfiltered\n", false),
        ("p3, analyst, sales.orders, buyer, unmasked\n", false),
        ("p, analyst, sales.orders, select, deny\n", false),
        ("p, analyst, sales.orders/buyer, select, allow\n", false),
        ("p2, analyst, sales.orders, paid\n", true),
        ("p2, bob, sales.*, \"true\"\n", true),
        ("p3, analyst, *.orders, buyer, redact\n", true),
        ("p, analyst, sales.orders/buyer, select, deny\n", true),
        ("p, analyst, sales.orders/*, select, deny\n", true),
        ("p, analyst, */buyer, select, deny\n", true),
        ("p, analyst, tag:pii, select, deny\ng2, sales.orders/buyer, tag:pii\n", true),
        ("p3, analyst, tag:pii, buyer, redact\ng2, sales.orders/buyer, tag:pii\n", true),
    ] {
        assert_eq!(restricted(more), yes.then_some(13), "{more}");
    }
}
