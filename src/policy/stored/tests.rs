//! Stored groups offered for a table: opened by the right that the statement has, or not at all.

use std::collections::HashMap;

use arrow::datatypes::DataType;
use datafusion::datasource::empty::EmptyTable;
use datafusion::logical_expr::{cast, col};

use super::*;
use crate::policy::fixture::{EXAMPLE, Tables, id, lowered, objects, policies, schema, session};
use crate::policy::guard::{Opening, Pins};
use crate::policy::{Action, Decision, Sealed, guard};
use crate::types::{Share, Version};

const SQL: &str = "SELECT region, count(*) FROM sales.orders GROUP BY region";

fn guarded(user: &str) -> Guarded {
    let policy = session(&policies(EXAMPLE), user);
    let object = objects().objects.into_iter().find(|object| object.id == id("sales.orders")).unwrap();
    let object = Arc::new(object);
    let Decision::Allow(grant) = policy.decide(object.id, Action::Select) else { panic!("not granted") };
    let tables = Tables(vec![("sales.orders".into(), Sealed::object(Arc::clone(&object), &grant))]);
    let mut pins = Pins::default();
    let raw = Arc::new(EmptyTable::new(Arc::clone(&object.schema)));
    pins.insert(object.id, Version::Fixed(1), raw, reads("base"));
    let bodies = HashMap::new();
    guard(lowered(SQL, &tables).unwrap(), &Opening { policy: &policy, pins: &pins, bodies: &bodies }).unwrap()
}

fn reads(name: &'static str) -> Reads {
    Arc::new(move |leaf| (leaf.name() == name).then_some(Share::WHOLE))
}

fn stored() -> Arc<dyn TableProvider> {
    let columns = [("kept0", DataType::Utf8View), ("kept1", DataType::Int64), ("kept2", DataType::Utf8View)];
    Arc::new(EmptyTable::new(Arc::new(schema(&columns))))
}

fn scans(plan: &LogicalPlan) -> Vec<TableScan> {
    let mut found = vec![];
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found.push(scan.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    found
}

/// The groups as the part has them.
fn honest(node: &LogicalPlan, input: LogicalPlan) -> Result<LogicalPlan> {
    let schema = node.schema();
    let named = [cast(col("kept0"), DataType::Utf8), col("kept1")].into_iter().zip(schema.iter());
    let named = named.map(|(e, (qualifier, field))| e.alias_qualified(qualifier.cloned(), field.name()));
    Ok(LogicalPlanBuilder::from(input).project(named.collect::<Vec<_>>())?.build()?)
}

struct Offered {
    dimension: &'static str,
    of: &'static str,
    is_padded: bool,
    plan: fn(&LogicalPlan, LogicalPlan) -> Result<LogicalPlan>,
}

/// The plan that comes of it, or why none does.
fn offered(user: &str, offer: &Offered) -> Result<LogicalPlan, Refused> {
    let guarded = guarded(user);
    let opened = guarded.opened().len();
    let why = RefCell::new(None);
    let groups = |node: &LogicalPlan| {
        let (node, plan) = (node.clone(), offer.plan);
        vec![Stand {
            name: "r".into(),
            tables: vec![Replaced {
                scan: scans(&node)[0].table_name.clone(),
                named: TableReference::bare("t"),
                of: [offer.of.to_owned()].into(),
                is_padded: offer.is_padded,
            }],
            provider: stored(),
            reads: reads("stored"),
            since: None,
            dimensions: vec![("kept0".into(), Expr::Column(Column::new(Some("t"), offer.dimension)))],
            columns: ["kept0", "kept1"].map(String::from).into(),
            plan: Box::new(move |input, _| plan(&node, input)),
        }]
    };
    let offers = Offers {
        parts: &groups,
        rows: &|_| None,
        taken: &|_| {},
        refused: &|_, refused| *why.borrow_mut() = Some(refused),
    };
    let found = guarded.with_stored(&offers).unwrap();
    assert_eq!(found.opened().len(), opened, "what is audited stays the table");
    match why.into_inner() {
        Some(refused) => {
            assert!(scans(found.plan())[0].source.schema().fields().len() > 3, "the table itself");
            Err(refused)
        }
        None => Ok(found.plan().clone()),
    }
}

#[test]
fn a_store_is_opened_by_the_right_on_its_table() {
    let offer = Offered { dimension: "region", of: "region", is_padded: false, plan: honest };
    let whole = offered("dora", &offer).unwrap();
    assert!(!provider_of(&scans(&whole)[0]).unwrap().is::<Opened>());
    let filtered = offered("alice", &offer).unwrap();
    let provider = provider_of(&scans(&filtered)[0]).unwrap();
    let opened = provider.downcast_ref::<Opened>().unwrap();
    assert_eq!((opened.table.as_str(), opened.schema.fields().len()), ("sales.orders", 2));
    let filter = opened.grant.filter.as_ref().unwrap().to_string();
    assert!(filter.contains("kept0") && !filter.contains("region"), "{filter}");
}

#[test]
fn a_store_that_cannot_be_filtered_or_that_shows_what_is_masked_is_not_opened() {
    let offer = Offered { dimension: "region", of: "region", is_padded: true, plan: honest };
    assert_eq!(offered("alice", &offer).unwrap_err(), Refused::Padded);
    assert!(offered("dora", &offer).is_ok());
    let offer = Offered { dimension: "status", of: "region", is_padded: false, plan: honest };
    assert_eq!(offered("alice", &offer).unwrap_err(), Refused::Filtered);
    assert!(offered("dora", &offer).is_ok());
    for of in ["buyer", "card_no", "phone", "internal_note"] {
        let offer = Offered { dimension: "region", of, is_padded: false, plan: honest };
        assert_eq!(offered("alice", &offer).unwrap_err(), Refused::Masked, "{of}");
        assert!(offered("dora", &offer).is_ok());
        // whatever is said of what the part reads
        let offer = Offered { dimension: of, of: "region", is_padded: false, plan: honest };
        assert_eq!(offered("alice", &offer).unwrap_err(), Refused::Masked, "{of}");
    }
}

#[test]
fn nothing_comes_in_beside_what_was_opened() {
    let plans: [fn(&LogicalPlan, LogicalPlan) -> Result<LogicalPlan>; 3] = [
        |node, _| {
            let raw = LogicalPlanBuilder::scan("raw", provider_as_source(stored()), None)?.build()?;
            honest(node, raw)
        },
        |node, input| {
            let raw = LogicalPlanBuilder::scan("raw", provider_as_source(stored()), None)?.build()?;
            honest(node, LogicalPlanBuilder::from(input).union(raw)?.build()?)
        },
        |_, input| Ok(LogicalPlanBuilder::from(input).project([col("kept1"), col("kept0")])?.build()?),
    ];
    for plan in plans {
        for user in ["alice", "dora"] {
            let offer = Offered { dimension: "region", of: "region", is_padded: false, plan };
            assert_eq!(offered(user, &offer).unwrap_err(), Refused::Columns);
        }
    }
}
