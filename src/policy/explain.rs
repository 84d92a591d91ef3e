//! Why one user sees of one table what they see: for `lakegate policy explain`. It decides nothing itself.

use std::sync::Arc;

use super::baseline;
use super::compile::{BoundObject, Policies};
use super::decide::{Gathered, SessionPolicy};
use super::enforce::{Oracle, source_request};
use super::file::did_you_mean;
use super::file::lines::Permit;
use super::file::object::{self, SOURCE, Segment, Target};
use super::matrix::{filter_text, mask_of};
use super::{Action, Decision, Grant};
use crate::error::{Error, Kind, Result};

/// The grant of `user` on `object` (`schema.table`, `schema.table/column` or `source:name`), each line that had a part in it, the
/// filter with the user's attributes in it, every column.
pub fn explain(policies: &Arc<Policies>, user: &str, object: &str) -> Result<String> {
    if let Ok(Target::Source(source)) = object::parse(object) {
        return query(policies, user, &source);
    }
    let asked = Asked::new(policies, user, object)?;
    let (bound, gathered) = (asked.object, &asked.gathered);
    let decision = asked.session.decide_afresh(bound.id, Action::Select);
    let mut text = format!("{user} select {}: {}\n", bound.name, headline(policies, gathered, &decision));
    text.push_str(&format!("  {user} is {}\n", asked.session.closure().join(", ")));
    for line in lines(policies, gathered) {
        text.push_str(&format!("  {line}\n"));
    }
    if let Decision::Allow(grant) = &decision {
        let rows = grant.filter.as_ref().map_or("all".into(), |f| format!("where {}", filter_text(f)));
        text.push_str(&format!("  rows: {rows}\n  columns:\n"));
        let shown = bound.schema.fields().iter().map(|f| f.name().as_str());
        for column in shown.filter(|c| asked.column.as_deref().is_none_or(|asked| asked == *c)) {
            text.push_str(&format!("    {column}: {}\n", column_text(policies, bound, gathered, grant, column)));
        }
    }
    Ok(text)
}

/// The right to have a source run texts, and the lines that it comes from.
fn query(policies: &Arc<Policies>, user: &str, source: &str) -> Result<String> {
    let session = session(policies, user)?;
    let is_about = |p: &&Permit| {
        let named = session.closure().iter().any(|name| name.as_ref() == p.subject.text);
        named && p.target.source().is_some_and(|name| name == source)
    };
    let lines: Vec<&Permit> = policies.draft.lines.permits.iter().filter(is_about).collect();
    let told = match (session.may_query(source), lines.is_empty()) {
        (true, _) => "allowed: it reads what the source's own role may read",
        (false, true) => "no line allows it",
        (false, false) => "a line denies it",
    };
    let mut text = format!("{user} query {SOURCE}{source}: {told}\n  {user} is {}\n", session.closure().join(", "));
    for line in lines {
        let word = if line.allow { "allows" } else { "denies" };
        let from = policies.line(line.subject.line);
        text.push_str(&format!("  {from} {word} `{}` to `{}`\n", line.object.text, line.subject.text));
    }
    Ok(text)
}

/// What Casbin says to the same question, and whether both agree.
pub fn verify(policies: &Arc<Policies>, user: &str, object: &str) -> Result<(String, bool)> {
    if let Ok(Target::Source(source)) = object::parse(object) {
        let ours = session(policies, user)?.may_query(&source);
        let oracle = Oracle::new(policies)?;
        let theirs = oracle.class_allows(&oracle.class(user), &source_request(&source), Action::Query)?;
        let (word, say) = (if ours == theirs { "agree" } else { "DIFFER" }, |yes: bool| if yes { "yes" } else { "no" });
        let text = format!("casbin and lakegate {word}\n  casbin:   {}\n  lakegate: {}\n", say(theirs), say(ours));
        return Ok((text, ours == theirs));
    }
    let asked = Asked::new(policies, user, object)?;
    let bound = asked.object;
    let oracle = Oracle::new(policies)?;
    let decision = asked.session.decide_afresh(bound.id, Action::Select);
    let columns: Vec<&str> = bound.schema.fields().iter().map(|f| f.name().as_str()).collect();
    let mut theirs = vec![];
    for column in &columns {
        if oracle.sees(user, bound, column)? {
            theirs.push(*column);
        }
    }
    let ours: Vec<&str> = match &decision {
        Decision::Allow(grant) => columns.iter().copied().filter(|c| !grant.hidden.contains(*c)).collect(),
        Decision::Deny => vec![],
    };
    // lakegate hides more than Casbin can know: raw columns beside a field rule, new columns, tables whose lines no
    // longer fit
    let new = baseline::unnamed(policies, bound, &asked.gathered);
    let withheld = |c: &&str| bound.raw_columns.contains(*c) || new.contains(*c) || !asked.gathered.withheld.is_empty();
    let agree =
        ours.iter().all(|c| theirs.contains(c)) && theirs.iter().filter(|c| !withheld(c)).all(|c| ours.contains(c));
    let list = |columns: &[&str]| if columns.is_empty() { "nothing".into() } else { columns.join(", ") };
    let word = if agree { "agree" } else { "DIFFER" };
    Ok((format!("casbin and lakegate {word}\n  casbin:   {}\n  lakegate: {}\n", list(&theirs), list(&ours)), agree))
}

struct Asked<'a> {
    session: SessionPolicy,
    object: &'a BoundObject,
    gathered: Gathered,
    column: Option<String>,
}

impl<'a> Asked<'a> {
    fn new(policies: &'a Arc<Policies>, user: &str, text: &str) -> Result<Self> {
        let session = session(policies, user)?;
        let target =
            object::parse(text).map_err(|m| unknown(format!("`{text}`, character {}: {}", m.at + 1, m.text)))?;
        let Target::Tables(pattern) = target else {
            return Err(unknown(format!(
                "`{text}` is not a table; write `schema.table`, `schema.table/column` or `source:name`"
            )));
        };
        let found = policies
            .objects
            .iter()
            .find(|o| pattern.exact_table() == Some((o.name.schema.as_str(), o.name.table.as_str())));
        let Some(object) = found else {
            let names: Vec<String> = policies.objects.iter().map(|o| o.name.to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            return Err(unknown(format!("there is no table `{text}`{}", did_you_mean(text, &names))));
        };
        let column = match pattern.column {
            Some(Segment::Exact(name)) if object.schema.field_with_name(&name).is_ok() => Some(name),
            Some(column) => {
                let names: Vec<&str> = object.schema.fields().iter().map(|f| f.name().as_str()).collect();
                let column = column.to_string();
                let what = format!("`{}` has no column `{column}`{}", object.name, did_you_mean(&column, &names));
                return Err(unknown(what));
            }
            None => None,
        };
        let gathered = session.gather(object.id).map(|(_, gathered)| gathered);
        let gathered = gathered.ok_or_else(|| unknown(format!("`{text}` is one table under two names")))?;
        Ok(Self { session, object, gathered, column })
    }
}

fn unknown(what: String) -> Error {
    Error::new(Kind::UndefinedObject, what)
}

fn session(policies: &Arc<Policies>, user: &str) -> Result<SessionPolicy> {
    policies.owner(user).ok_or_else(|| {
        let names: Vec<&str> = policies.subjects.iter().map(|s| s.name.as_ref()).collect();
        unknown(format!("there is no user or role `{user}`{}", did_you_mean(user, &names)))
    })
}

fn headline(policies: &Policies, gathered: &Gathered, decision: &Decision) -> String {
    match decision {
        Decision::Allow(grant) => grant.class().into(),
        Decision::Deny if !gathered.withheld.is_empty() => "withheld: a line below names a column that is gone".into(),
        Decision::Deny => {
            let mut selects = permits(policies, gathered).filter(|p| p.action == Action::Select).peekable();
            match (selects.peek().is_some(), selects.any(|p| !p.allow)) {
                (false, _) => "does not exist for this user: no line allows it".into(),
                (true, true) => "does not exist for this user: a line denies it".into(),
                (true, false) => "does not exist for this user: no column is left, or a filter no longer fits".into(),
            }
        }
    }
}

fn permits<'a>(policies: &'a Policies, gathered: &Gathered) -> impl Iterator<Item = &'a Permit> {
    let lines: Vec<u32> = gathered.tables.iter().copied().collect();
    lines.into_iter().filter_map(|line| policies.draft.lines.permits.get(line as usize))
}

/// Every line about this table and this user, in the order of the file.
fn lines(policies: &Policies, gathered: &Gathered) -> Vec<String> {
    let draft = &policies.draft.lines;
    let mut found: Vec<(u32, String)> = vec![];
    for permit in permits(policies, gathered).filter(|p| p.action == Action::Select) {
        let word = if permit.allow { "allows" } else { "denies" };
        found.push((permit.subject.line, format!("{word} `{}` to `{}`", permit.object.text, permit.subject.text)));
    }
    for (_, line) in &gathered.columns {
        if let Some(permit) = draft.permits.get(*line as usize) {
            let word = if permit.allow { "names" } else { "denies" };
            found.push((
                permit.subject.line,
                format!("{word} column `{}` to `{}`", permit.object.text, permit.subject.text),
            ));
        }
    }
    for filter in gathered.filters.iter().filter_map(|line| draft.filters.get(*line as usize)) {
        let text = filter.condition.text();
        found.push((filter.subject.line, format!("shows `{}` the rows where {text}", filter.subject.text)));
    }
    for mask in gathered.masks.iter().filter_map(|line| draft.masks.get(*line as usize)) {
        found.push((mask.subject.line, format!("masks `{}` for `{}`: {}", mask.column, mask.subject.text, mask.mask)));
    }
    found.sort();
    found.dedup();
    found.into_iter().map(|(line, text)| format!("{} {text}", policies.line(line))).collect()
}

fn column_text(policies: &Policies, object: &BoundObject, gathered: &Gathered, grant: &Grant, column: &str) -> String {
    if grant.denied.contains(column) {
        return "hidden, a line denies it".into();
    }
    if grant.hidden.contains(column) {
        return match object.raw_columns.contains(column) {
            true => "hidden, a raw column without a line of its own or beside a masked or denied field".into(),
            false => "hidden, new since the table became restricted and named by no line of this user's".into(),
        };
    }
    match grant.masks.contains_key(column) {
        true => format!("masked, {}", mask_of(policies, gathered, object, column)),
        false => "visible".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::{EXAMPLE, policies};
    use crate::policy::matrix::matrix;

    #[test]
    fn a_grant_is_told_with_every_line_that_made_it() {
        let policies = policies(EXAMPLE);
        let text = explain(&policies, "alice", "sales.orders").unwrap();
        assert_eq!(
            text,
            "alice select sales.orders: filtered\n\
             \x20 alice is alice, analyst\n\
             \x20 policy.csv:2 allows `sales.*` to `analyst`\n\
             \x20 policy.csv:4 denies column `tag:pii` to `analyst`\n\
             \x20 policy.csv:11 denies column `sales.*/internal_note` to `analyst`\n\
             \x20 policy.csv:16 shows `analyst` the rows where region = user.region\n\
             \x20 policy.csv:21 masks `card_no` for `analyst`: partial(0, '****', 4)\n\
             \x20 policy.csv:22 masks `buyer` for `analyst`: custom(\"coalesce(nickname, 'n/a')\")\n\
             \x20 rows: where region = 'EU'\n\
             \x20 columns:\n\
             \x20   order_id: visible\n\
             \x20   region: visible\n\
             \x20   status: visible\n\
             \x20   total: visible\n\
             \x20   ordered_at: visible\n\
             \x20   due: visible\n\
             \x20   paid: visible\n\
             \x20   buyer: masked, custom(\"coalesce(nickname, 'n/a')\")\n\
             \x20   nickname: visible\n\
             \x20   card_no: masked, partial(0, '****', 4)\n\
             \x20   phone: hidden, a line denies it\n\
             \x20   internal_note: hidden, a line denies it\n\
             \x20   Weird: visible\n"
        );
        let one = explain(&policies, "alice", "sales.orders/phone").unwrap();
        assert!(one.ends_with("  columns:\n    phone: hidden, a line denies it\n"), "{one}");
        let denied = explain(&policies, "bob", "sales.customer_notes").unwrap();
        assert_eq!(
            denied,
            "bob select sales.customer_notes: does not exist for this user: a line denies it\n\
             \x20 bob is analyst, bob, hr\n\
             \x20 policy.csv:2 allows `sales.*` to `analyst`\n\
             \x20 policy.csv:4 denies `tag:pii` to `analyst`\n"
        );
        let silent = explain(&policies, "ann", "hr.pay").unwrap();
        assert_eq!(
            silent,
            "ann select hr.pay: does not exist for this user: no line allows it\n  ann is ann, auditor\n"
        );
    }

    #[test]
    fn what_does_not_exist_is_said_with_its_nearest_name() {
        let policies = policies(EXAMPLE);
        let table = [
            ("alcie", "sales.orders", "there is no user or role `alcie`; did you mean `alice`?"),
            ("alice", "sales.order", "there is no table `sales.order`; did you mean `sales.orders`?"),
            ("alice", "sales.orders/phon", "`sales.orders` has no column `phon`; did you mean `phone`?"),
            ("alice", "sales.*", "there is no table `sales.*`"),
            (
                "alice",
                "tag:pii",
                "`tag:pii` is not a table; write `schema.table`, `schema.table/column` or `source:name`",
            ),
            (
                "alice",
                "sales.O",
                "`sales.O`, character 7: names are lower case; did you mean `o`? A name with capitals is written in double quotes",
            ),
        ];
        for (user, object, expected) in table {
            assert_eq!(explain(&policies, user, object).unwrap_err().message(), expected);
        }
    }

    #[test]
    fn a_right_to_query_a_source_is_told_with_its_lines() {
        let csv = format!("{EXAMPLE}p, analyst, source:crm, query, allow\np, hr, source:crm, query, deny\n");
        let policies = policies(&csv);
        let last = u32::try_from(csv.lines().count()).unwrap();
        let told = |user| explain(&policies, user, "source:crm").unwrap();
        assert_eq!(
            told("alice"),
            format!(
                "alice query source:crm: allowed: it reads what the source's own role may read\n  alice is alice, analyst\n  \
                 policy.csv:{} allows `source:crm` to `analyst`\n",
                last - 1
            )
        );
        assert!(told("bob").starts_with("bob query source:crm: a line denies it\n"), "{}", told("bob"));
        assert_eq!(told("ann"), "ann query source:crm: no line allows it\n  ann is ann, auditor\n");
        for user in policies.users() {
            let (text, agree) = verify(&policies, user, "source:crm").unwrap();
            assert!(agree, "{user}: {text}");
        }
        assert!(matrix(&policies).contains("alice source:crm * query\n"));
        assert!(!matrix(&policies).contains("bob source:crm * query\n"));
    }

    #[test]
    fn casbin_is_asked_the_same() {
        let policies = policies(EXAMPLE);
        for user in policies.users() {
            for object in &policies.objects {
                let (text, agree) = verify(&policies, user, &object.name.to_string()).unwrap();
                assert!(agree, "{user} {}: {text}", object.name);
            }
        }
        let (text, _) = verify(&policies, "ann", "sales.products").unwrap();
        assert_eq!(text, "casbin and lakegate agree\n  casbin:   nothing\n  lakegate: nothing\n");
    }
}
