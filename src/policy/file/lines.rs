//! Records of policy.csv → typed lines: kind, arity, words. What a line means for a table is decided by `compile`.

use std::collections::{BTreeMap, HashMap};

use xxhash_rust::xxh3::Xxh3;

use super::csv::{Field, Record};
use super::object::{self, Mistake, Segment, Target};
use super::{Faults, did_you_mean};
use crate::policy::Action;
use crate::policy::language::{Condition, Mask};

/// `p, subject, object, action, effect`
#[derive(Clone, Debug)]
pub(in crate::policy) struct Permit {
    pub subject: Field,
    pub target: Target,
    pub object: Field,
    pub action: Action,
    pub allow: bool,
}

impl Permit {
    pub(in crate::policy) fn denies_select(&self) -> bool {
        !self.allow && self.action == Action::Select
    }
}

/// `p2, subject, object, condition`
#[derive(Clone, Debug)]
pub(in crate::policy) struct RowFilter {
    pub subject: Field,
    pub target: Target,
    pub object: Field,
    pub condition: Condition,
    pub text: Field,
}

/// `p3, subject, object, column, mask`
#[derive(Clone, Debug)]
pub(in crate::policy) struct ColumnMask {
    pub subject: Field,
    pub target: Target,
    pub object: Field,
    pub column: Segment,
    pub column_field: Field,
    pub mask: Mask,
    pub text: Field,
}

/// `g, member, role`
#[derive(Clone, Debug)]
pub(in crate::policy) struct Membership {
    pub member: Field,
    pub role: Field,
}

/// `g2, object, tag:name`
#[derive(Clone, Debug)]
pub(in crate::policy) struct Tagging {
    pub target: Target,
    pub object: Field,
    pub tag: String,
}

/// Every line of policy.csv by kind, each in file order.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct Lines {
    pub permits: Vec<Permit>,
    pub filters: Vec<RowFilter>,
    pub masks: Vec<ColumnMask>,
    pub members: Vec<Membership>,
    pub tags: Vec<Tagging>,
    /// Line → hash of its fields. What a line is called by when it moved: for telling new lines from known ones.
    pub prints: BTreeMap<u32, u64>,
    /// The same of what a line is about alone: for telling a line that was edited from one that is new.
    pub abouts: BTreeMap<u32, u64>,
}

/// What stands in the first field of a line.
const KINDS: &[&str] = &["p", "p2", "p3", "g", "g2"];

/// The words of [`Action`].
pub(in crate::policy) const ACTIONS: &[(&str, Action)] = &[
    ("select", Action::Select),
    ("insert", Action::Insert),
    ("update", Action::Update),
    ("delete", Action::Delete),
    ("create", Action::Create),
    ("drop", Action::Drop),
    ("refresh", Action::Refresh),
    ("maintain", Action::Maintain),
    ("query", Action::Query),
];

/// Reads every record; what is wrong with one does not hide what is wrong with the next.
pub(super) fn read(name: &str, records: Vec<Record>, faults: &mut Faults, warnings: &mut Faults) -> Lines {
    let mut lines = Lines::default();
    let mut seen = Seen::default();
    for record in records {
        let line = record.line;
        match lines.add(&record) {
            Ok(()) => {
                lines.prints.insert(line, print(&record.fields));
                lines.abouts.insert(line, print(record.fields.get(..ABOUT).unwrap_or(&record.fields)) ^ 1);
                seen.note(name, &record, warnings);
            }
            Err(misread) => misread.into_iter().for_each(|(column, what)| faults.push(name, line, column, what)),
        }
    }
    lines
}

/// Kind, subject and object.
const ABOUT: usize = 3;

fn print(fields: &[Field]) -> u64 {
    let mut hasher = Xxh3::new();
    for field in fields {
        hasher.update(&field.text.len().to_le_bytes());
        hasher.update(field.text.as_bytes());
    }
    hasher.digest()
}

/// Column and text, several for one line.
type Misread = Vec<(u32, String)>;

impl Lines {
    fn add(&mut self, record: &Record) -> Result<(), Misread> {
        let kind = record.fields.first().map(|f| f.text.as_str()).unwrap_or_default();
        match kind {
            "p" => self.permits.push(permit(fields(record, ["p", "subject", "object", "action", "effect"])?)?),
            "p2" => self.filters.push(filter(fields(record, ["p2", "subject", "object", "condition"])?)?),
            "p3" => self.masks.push(mask(fields(record, ["p3", "subject", "object", "column", "mask"])?)?),
            "g" => self.members.push(membership(fields(record, ["g", "member", "role"])?)?),
            "g2" => self.tags.push(tagging(fields(record, ["g2", "object", "tag"])?)?),
            other => return Err(vec![unknown_kind(record, other)]),
        }
        Ok(())
    }
}

fn unknown_kind(record: &Record, kind: &str) -> (u32, String) {
    let column = record.fields.first().map_or(1, |f| f.column);
    if let (1, Some(at)) = (record.fields.len(), kind.chars().position(|c| c == ';')) {
        let at = u32::try_from(at).unwrap_or_default();
        return (column + at, "`;` does not separate fields; separate them by commas".into());
    }
    (column, format!("line kind `{kind}` is not one of {}{}", KINDS.join(", "), did_you_mean(kind, KINDS)))
}

/// Exactly the fields the kind of line has.
fn fields<'a, const N: usize>(record: &'a Record, names: [&str; N]) -> Result<[&'a Field; N], Misread> {
    let found: Vec<&Field> = record.fields.iter().collect();
    let empty = |f: &&&Field| f.text.is_empty();
    let count = found.len();
    match <[&Field; N]>::try_from(found) {
        Ok(exact) => match names.iter().zip(&exact).filter(|(_, f)| empty(f)).collect::<Vec<_>>() {
            empty if empty.is_empty() => Ok(exact),
            empty => Err(empty.into_iter().map(|(name, f)| (f.column, format!("the {name} is empty"))).collect()),
        },
        Err(found) if count < N => {
            let missing = names.get(found.len()..).unwrap_or_default().join(", ");
            Err(vec![(record.end, format!("expected `{}`; missing: {missing}", names.join(", ")))])
        }
        Err(found) => Err(vec![too_many(record, &found, &names)]),
    }
}

fn too_many(record: &Record, found: &[&Field], names: &[&str]) -> (u32, String) {
    let expected = names.join(", ");
    let kind = names.first().copied().unwrap_or_default();
    let last = found.last().map(|f| f.text.as_str()).unwrap_or_default();
    if kind == "p2" && matches!(last, "allow" | "deny") {
        let column = found.first().map_or(1, |f| f.column);
        return (column, format!("a `p2` line filters rows: `{expected}`; what allows or denies is a `p` line"));
    }
    if last.is_empty() {
        return (record.last_comma, format!("a comma too many; expected `{expected}`"));
    }
    if let (true, Some(text)) = (matches!(kind, "p2" | "p3"), found.get(names.len() - 1)) {
        let what = if kind == "p2" { "condition" } else { "mask" };
        return (text.column, format!("a {what} that contains commas is written in double quotes"));
    }
    let column = found.get(names.len()).map_or(record.end, |f| f.column);
    (column, format!("a field too many; expected `{expected}`"))
}

fn permit([_, subject, object, action, effect]: [&Field; 5]) -> Result<Permit, Misread> {
    let mut wrong = Wrong::default();
    wrong.check(subject, object::parse_subject(&subject.text));
    let target = wrong.check(object, object::parse(&object.text));
    let names: Vec<&str> = ACTIONS.iter().map(|(name, _)| *name).collect();
    let found = ACTIONS.iter().find(|(name, _)| *name == action.text);
    if found.is_none() {
        let known = format!("action `{}` is not one of {}", action.text, names.join(", "));
        wrong.say(action.column, format!("{known}{}", did_you_mean(&action.text, &names)));
    }
    let effects = ["allow", "deny"];
    if !effects.contains(&effect.text.as_str()) {
        let known = format!("effect `{}` is not `allow` or `deny`", effect.text);
        wrong.say(effect.column, format!("{known}{}", did_you_mean(&effect.text, &effects)));
    }
    if let (Some(target), Some((name, action))) = (&target, found)
        && let Some(what) = out_of_place(target, *action, name)
    {
        wrong.say(object.column, what);
    }
    wrong.end(|| {
        Some(Permit {
            subject: subject.clone(),
            target: target?,
            object: object.clone(),
            action: found?.1,
            allow: effect.text == "allow",
        })
    })
}

/// An action that is never asked of such an object would never match: a deny would be lost.
fn out_of_place(target: &Target, action: Action, name: &str) -> Option<String> {
    match (target, action) {
        (Target::Tag(_), Action::Create) => Some("`create` is asked of a whole schema: `schema.*`".into()),
        (Target::Source(_), Action::Query) => None,
        (Target::Source(_), _) => Some(format!("a source knows `query` only, not `{name}`")),
        (_, Action::Query) => Some("`query` is asked of a source: `source:name`".into()),
        (Target::Admin, Action::Select) | (Target::Tag(_), _) => None,
        (Target::Admin, _) => Some(format!("`lakegate.admin` knows `select` only, not `{name}`")),
        (Target::Tables(pattern), Action::Create) => match (&pattern.table, &pattern.column) {
            (Segment::Any, None) => None,
            _ => Some("`create` is asked of a whole schema: `schema.*`".into()),
        },
        (Target::Tables(pattern), Action::Select) if pattern.column.is_some() => None,
        (Target::Tables(pattern), _) if pattern.column.is_some() => {
            Some(format!("a column knows `select` only, not `{name}`"))
        }
        (Target::Tables(_), _) => None,
    }
}

fn filter([_, subject, object, text]: [&Field; 4]) -> Result<RowFilter, Misread> {
    let mut wrong = Wrong::default();
    wrong.check(subject, object::parse_subject(&subject.text));
    let target = wrong.check(object, object::parse(&object.text));
    if let Some(Target::Tables(pattern)) = &target
        && pattern.column.is_some()
    {
        wrong.say(object.column_of(pattern.column_at), "a row filter is about a table, not a column".into());
    }
    refuse_rowless(target.as_ref(), object, &mut wrong);
    let condition = wrong.check(text, Condition::parse(&text.text));
    wrong.end(|| {
        let (subject, object, text) = (subject.clone(), object.clone(), text.clone());
        Some(RowFilter { subject, target: target?, object, condition: condition?, text })
    })
}

fn mask([_, subject, object, column, text]: [&Field; 5]) -> Result<ColumnMask, Misread> {
    let mut wrong = Wrong::default();
    wrong.check(subject, object::parse_subject(&subject.text));
    let target = wrong.check(object, object::parse(&object.text));
    if let Some(Target::Tables(pattern)) = &target
        && pattern.column.is_some()
    {
        let what = "the column of a mask stands in the field behind the table";
        wrong.say(object.column_of(pattern.column_at), what.into());
    }
    refuse_rowless(target.as_ref(), object, &mut wrong);
    let segment = wrong.check(column, object::parse_column(&column.text));
    let mask = wrong.check(text, Mask::parse(&text.text));
    wrong.end(|| {
        Some(ColumnMask {
            subject: subject.clone(),
            target: target?,
            object: object.clone(),
            column: segment?,
            column_field: column.clone(),
            mask: mask?,
            text: text.clone(),
        })
    })
}

fn refuse_rowless(target: Option<&Target>, object: &Field, wrong: &mut Wrong) {
    match target {
        Some(Target::Admin | Target::Source(_)) => {
            wrong.say(object.column, format!("`{}` has no rows or columns; it belongs in a `p` line", object.text));
        }
        Some(Target::Tag(_) | Target::Tables(_)) | None => {}
    }
}

fn membership([_, member, role]: [&Field; 3]) -> Result<Membership, Misread> {
    let mut wrong = Wrong::default();
    wrong.check(member, object::parse_subject(&member.text));
    wrong.check(role, object::parse_subject(&role.text));
    wrong.end(|| Some(Membership { member: member.clone(), role: role.clone() }))
}

fn tagging([_, object, tag]: [&Field; 3]) -> Result<Tagging, Misread> {
    let mut wrong = Wrong::default();
    let target = wrong.check(object, object::parse(&object.text));
    let exact = match &target {
        Some(Target::Tables(p)) => p.exact_table().is_some() && p.column != Some(Segment::Any),
        Some(Target::Tag(_) | Target::Source(_) | Target::Admin) => false,
        None => true,
    };
    if !exact {
        wrong.say(object.column, "a tag is put on one table or one column, named without `*`".into());
    }
    let name = match wrong.check(tag, object::parse(&tag.text)) {
        Some(Target::Tag(name)) => Some(name),
        Some(Target::Admin | Target::Source(_) | Target::Tables(_)) => {
            wrong.say(tag.column, format!("a tag is written `tag:name`, found `{}`", tag.text));
            None
        }
        None => None,
    };
    wrong.end(|| Some(Tagging { target: target?, object: object.clone(), tag: name? }))
}

/// Collects what is wrong with one line.
#[derive(Default)]
struct Wrong(Misread);

impl Wrong {
    fn say(&mut self, column: u32, what: String) {
        self.0.push((column, what));
    }

    fn check<T>(&mut self, field: &Field, result: Result<T, Mistake>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(mistake) => {
                self.say(field.column_of(mistake.at), mistake.text);
                None
            }
        }
    }

    /// The line, if nothing was wrong with it.
    fn end<T>(self, line: impl FnOnce() -> Option<T>) -> Result<T, Misread> {
        match self.0.is_empty() {
            true => line().ok_or_else(|| vec![(1, "this line cannot be read".into())]),
            false => Err(self.0),
        }
    }
}

/// Finds lines that say a thing twice, or its opposite.
#[derive(Default)]
struct Seen(HashMap<Vec<String>, (u32, String)>);

impl Seen {
    fn note(&mut self, name: &str, record: &Record, warnings: &mut Faults) {
        let mut key: Vec<String> = record.fields.iter().map(|f| f.text.clone()).collect();
        // the effect of a `p` line is what may differ; everything else makes the line
        let effect = if key.first().is_some_and(|k| k == "p") { key.pop().unwrap_or_default() } else { String::new() };
        let column = record.fields.first().map_or(1, |f| f.column);
        match self.0.get(&key) {
            None => {
                self.0.insert(key, (record.line, effect));
            }
            Some((line, before)) if *before == effect => {
                warnings.push(name, record.line, column, format!("the same as line {line}"));
            }
            Some((line, _)) => {
                warnings.push(name, record.line, column, format!("line {line} says the opposite; the deny wins"));
            }
        }
    }
}
