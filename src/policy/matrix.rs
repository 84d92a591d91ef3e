//! Everybody × everything as stable text, one fact a line: what a change of policy means is the difference of two such
//! texts. It decides nothing itself.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::Expr;
use datafusion::sql::unparser::Unparser;
use datafusion::sql::unparser::dialect::Dialect;

use super::compile::{BoundObject, Policies};
use super::decide::{Gathered, SessionPolicy};
use super::file::lines::ACTIONS;
use super::file::object::SOURCE;
use super::{Action, Decision};
use crate::sql::lower;
use crate::types::Identifier;

/// `user table column word`: `see`, `mask <how>`, `deny`, `hidden`; `*` for the table: `filter <text>`, `deny`, and the
/// other actions the user has.
pub fn matrix(policies: &Arc<Policies>) -> String {
    let mut objects: Vec<&BoundObject> = policies.objects.iter().collect();
    objects.sort_by(|a, b| a.name.cmp(&b.name));
    let mut schemas: Vec<&str> = objects.iter().map(|o| o.name.schema.as_str()).collect();
    schemas.dedup();
    let mut text = String::new();
    for user in policies.users() {
        let Some(session) = policies.owner(user) else { continue };
        if session.is_admin() {
            line(&mut text, user, "lakegate.admin", "*", "see");
        }
        for schema in schemas.iter().filter(|s| session.may_create(s)) {
            line(&mut text, user, &format!("{schema}.*"), "*", "create");
        }
        for source in policies.sources().into_iter().filter(|s| session.may_query(s)) {
            line(&mut text, user, &format!("{SOURCE}{source}"), "*", "query");
        }
        for object in &objects {
            describe(&mut text, policies, &session, user, object);
        }
    }
    text
}

fn line(text: &mut String, user: &str, object: &str, column: &str, what: &str) {
    // writing to a String cannot fail
    let _ = writeln!(text, "{user} {object} {column} {what}");
}

fn describe(text: &mut String, policies: &Policies, session: &SessionPolicy, user: &str, object: &BoundObject) {
    let name = object.name.to_string();
    for (word, action) in ACTIONS.iter().filter(|(_, a)| !matches!(a, Action::Select | Action::Create | Action::Query))
    {
        if let Decision::Allow(_) = session.decide_afresh(object.id, *action) {
            line(text, user, &name, "*", word);
        }
    }
    let Decision::Allow(grant) = session.decide_afresh(object.id, Action::Select) else {
        // each table has six tables of its metadata, which nobody has without a line
        return match object.about {
            Some(_) => (),
            None => line(text, user, &name, "*", "deny"),
        };
    };
    if let Some(filter) = &grant.filter {
        line(text, user, &name, "*", &format!("filter {}", filter_text(filter)));
    }
    let gathered = session.gather(object.id).map(|(_, gathered)| gathered).unwrap_or_default();
    for column in object.schema.fields().iter().map(|f| f.name().as_str()) {
        let what =
            match (grant.denied.contains(column), grant.hidden.contains(column), grant.masks.contains_key(column)) {
                (true, ..) => "deny".to_owned(),
                (false, true, _) => "hidden".to_owned(),
                (false, false, true) => format!("mask {}", mask_of(policies, &gathered, object, column)),
                (false, false, false) => "see".to_owned(),
            };
        line(text, user, &name, column, &what);
    }
}

/// Names in quotes where they need them, as everywhere else in messages.
struct Spelling;

impl Dialect for Spelling {
    fn identifier_quote_style(&self, name: &str) -> Option<char> {
        Identifier(name).to_string().starts_with('"').then_some('"')
    }
}

/// A bound condition as SQL, without what only makes values comparable.
pub(in crate::policy) fn filter_text(filter: &Expr) -> String {
    let plain = filter.clone().transform_up(|e| match e {
        Expr::ScalarFunction(mut call) if lower::is_key(&call.func) && call.args.len() == 1 => {
            Ok(call.args.pop().map_or_else(|| Transformed::no(Expr::ScalarFunction(call)), Transformed::yes))
        }
        other => Ok(Transformed::no(other)),
    });
    let filter = plain.map_or_else(|_| filter.clone(), |plain| plain.data);
    let sql = Unparser::new(&Spelling).with_pretty(true).expr_to_sql(&filter);
    sql.map_or_else(|_| filter.to_string(), |sql| sql.to_string())
}

/// The mask that holds for a column, as the file spells it; `nullify` where several differ.
pub(in crate::policy) fn mask_of(
    policies: &Policies,
    gathered: &Gathered,
    object: &BoundObject,
    column: &str,
) -> String {
    let index = object.schema.fields().iter().position(|f| f.name() == column);
    let applies = |line: &u32| {
        let columns = policies.bound.masks.get(&(*line, gathered.object));
        columns.into_iter().flatten().any(|(c, _)| Some(*c) == index)
    };
    let lines = gathered.masks.iter().filter(|line| applies(line));
    let masks: Vec<_> =
        lines.filter_map(|line| policies.draft.lines.masks.get(*line as usize)).map(|l| &l.mask).collect();
    let strictest = masks.iter().map(|m| m.rank()).max();
    let mut strictest = masks.iter().filter(|m| Some(m.rank()) == strictest);
    match strictest.next() {
        Some(first) if strictest.all(|other| other == first) => first.to_string(),
        _ => "nullify".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use arrow::datatypes::DataType;

    use super::*;
    use crate::policy::ObjectKind;
    use crate::policy::check::lints;
    use crate::policy::compile::Objects;
    use crate::policy::fixture::{compile_over, lines, object, policies, session};
    use crate::policy::scram::scram_verifier;

    #[test]
    fn every_fact_is_one_line() {
        let csv = "p, ann, hr.pay, select, allow\np, ann, hr.*, insert, allow\np, ann, hr.*, create, allow\n\
                   p, ann, lakegate.admin, select, allow\np2, ann, hr.pay, \"salary > 10 AND id IN (1, 2)\"\n\
                   p3, ann, hr.pay, salary, redact\np, ann, stream.order_events, select, allow\n\
                   p, ann, stream.order_events/amount, select, deny\n";
        let policies = policies(csv);
        let text = matrix(&policies);
        let ann: Vec<&str> = text.lines().filter(|l| l.starts_with("ann ") && !l.ends_with("* deny")).collect();
        assert_eq!(
            ann,
            [
                "ann lakegate.admin * see",
                "ann hr.* * create",
                "ann hr.pay * insert",
                "ann hr.pay * filter salary > 10 AND id IN (1, 2)",
                "ann hr.pay id see",
                "ann hr.pay salary mask redact",
                "ann stream.order_events event_id see",
                "ann stream.order_events amount deny",
                "ann stream.order_events _key hidden",
            ]
        );
        // everybody else sees nothing, and each table is told of
        assert_eq!(
            text.lines().filter(|l| l.starts_with("bob ") && l.ends_with("* deny")).count(),
            policies.objects.len()
        );
        assert_eq!(text, matrix(&policies));
        assert!(!session(&policies, "bob").is_admin());
    }

    const CSV: &str = include_str!("../../policies/policy.csv");
    const USERS: &str = include_str!("../../policies/users.toml");

    fn shop() -> Objects {
        let text = |names: &[&'static str]| names.iter().map(|n| (*n, DataType::Utf8)).collect::<Vec<_>>();
        let table = |name: &str, columns: &[&'static str]| object(name, ObjectKind::Table, &text(columns), &[]);
        let events = ["event_id", "event_type", "_partition", "_offset", "_timestamp", "_key"];
        let objects = vec![
            table("sales.products", &["name"]),
            table("sales.orders", &["status", "region"]),
            table("sales.order_items", &["quantity"]),
            table("crm.customers", &["name", "email", "ssn", "region"]),
            table("lake_crm.customers", &["name", "email", "ssn", "region"]),
            object("events.order_events", ObjectKind::Table, &text(&events), &["_key"]),
            object(
                "sales.order_events",
                ObjectKind::Table,
                &text(&["event_id", "_key", "_headers"]),
                &["_key", "_headers"],
            ),
            object("reports.revenue_by_region", ObjectKind::Dataset, &text(&["region", "revenue"]), &[]),
        ];
        let schemas = ["sales", "crm", "lake_crm", "events", "reports"].map(String::from).into();
        Objects { objects, schemas, ..Objects::default() }
    }

    /// The shipped policy files, over the tables they were written for.
    #[test]
    fn the_shipped_files_have_no_fault_and_mean_what_their_comments_say() {
        let (policies, warnings) = compile_over(CSV, USERS, &shop()).unwrap_or_else(|f| panic!("{}", lines(&f)));
        assert_eq!([lines(&warnings), lines(&lints(&policies))], ["", ""]);
        let text = matrix(&policies);
        let seen = |user: &str| {
            text.lines().filter_map(|l| l.strip_prefix(user)).map(|l| format!("{l}\n")).collect::<String>()
        };
        assert_eq!(
            seen("analyst "),
            "crm.customers * filter region = 'EU'\ncrm.customers name see\ncrm.customers email mask partial(2, '***', 4)\n\
             crm.customers ssn deny\ncrm.customers region see\nevents.order_events event_id see\n\
             events.order_events event_type see\nevents.order_events _partition see\nevents.order_events _offset see\n\
             events.order_events _timestamp see\nevents.order_events _key hidden\n\
             lake_crm.customers * filter region = 'EU'\nlake_crm.customers name see\n\
             lake_crm.customers email mask partial(2, '***', 4)\nlake_crm.customers ssn deny\n\
             lake_crm.customers region see\nreports.revenue_by_region region see\n\
             reports.revenue_by_region revenue see\nsales.order_events event_id see\nsales.order_events _key hidden\n\
             sales.order_events _headers hidden\nsales.order_items quantity see\nsales.orders * filter region = 'EU'\n\
             sales.orders status see\nsales.orders region see\nsales.products name see\n"
        );
        assert_eq!(
            seen("auditor "),
            "crm.customers * deny\nevents.order_events * deny\nlake_crm.customers * deny\nreports.revenue_by_region * deny\nsales.order_events * deny\nsales.order_items * deny\nsales.orders status see\n\
             sales.orders region see\nsales.products * deny\n"
        );
        let admin = seen("admin ");
        let restricted = ["deny", "hidden", "mask", "filter"].iter().filter(|word| admin.contains(*word)).count();
        assert_eq!(restricted, 0, "{admin}");
        assert!(session(&policies, "admin").is_admin() && session(&policies, "admin").may_create("anything"));
        let columns: BTreeSet<&str> = admin.lines().filter_map(|l| l.strip_suffix(" see")).collect();
        assert!(columns.contains("events.order_events _key"));
    }

    #[test]
    fn the_shipped_passwords_are_the_users_names() {
        let (policies, _) = compile_over(CSV, USERS, &shop()).unwrap();
        assert_eq!(policies.users(), ["admin", "analyst", "auditor"]);
        for user in policies.users() {
            let verifier = policies.verifier(user).unwrap();
            let salt = verifier.split(['$', ':']).nth(2).unwrap();
            let salt = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, salt).unwrap();
            assert_eq!(scram_verifier(user, &salt, 4096), verifier);
        }
    }
}
