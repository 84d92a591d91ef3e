//! Why one user sees of one table what they see: for `lakegate policy explain`. It decides nothing itself.

use std::sync::Arc;

use super::baseline;
use super::compile::{BoundObject, Policies};
use super::decide::{Gathered, SessionPolicy};
use super::enforce::Oracle;
use super::file::did_you_mean;
use super::file::lines::Permit;
use super::file::object::{self, Segment, Target};
use super::matrix::{filter_text, mask_of};
use super::{Action, Decision, Grant};
use crate::error::{Error, Kind, Result};

/// The grant of `user` on `object` (`schema.table` or `schema.table/column`), each line that had a part in it, the
/// filter with the user's attributes in it, every column.
pub fn explain(policies: &Arc<Policies>, user: &str, object: &str) -> Result<String> {
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

/// What Casbin says to the same question, and whether both agree.
pub async fn verify(policies: &Arc<Policies>, user: &str, object: &str) -> Result<(String, bool)> {
    let asked = Asked::new(policies, user, object)?;
    let bound = asked.object;
    let oracle = Oracle::new(policies).await?;
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
        let unknown = |what: String| Error::new(Kind::UndefinedObject, what);
        let Some(session) = policies.owner(user) else {
            let names: Vec<&str> = policies.subjects.iter().map(|s| s.name.as_ref()).collect();
            return Err(unknown(format!("there is no user or role `{user}`{}", did_you_mean(user, &names))));
        };
        let target =
            object::parse(text).map_err(|m| unknown(format!("`{text}`, character {}: {}", m.at + 1, m.text)))?;
        let Target::Tables(pattern) = target else {
            return Err(unknown(format!("`{text}` is not a table; write `schema.table` or `schema.table/column`")));
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
            ("alice", "tag:pii", "`tag:pii` is not a table; write `schema.table` or `schema.table/column`"),
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

    #[tokio::test]
    async fn casbin_is_asked_the_same() {
        let policies = policies(EXAMPLE);
        for user in policies.users() {
            for object in &policies.objects {
                let (text, agree) = verify(&policies, user, &object.name.to_string()).await.unwrap();
                assert!(agree, "{user} {}: {text}", object.name);
            }
        }
        let (text, _) = verify(&policies, "ann", "sales.products").await.unwrap();
        assert_eq!(text, "casbin and lakegate agree\n  casbin:   nothing\n  lakegate: nothing\n");
    }
}
