//! model.conf → [`Model`]: Casbin reads this text where it judges a policy a second time (`judge`), while the index that
//! decides knows one meaning. So the text may be written in any way that means the same (blanks, comments, the order of
//! sections, keys and conditions) and whatever would mean something else is refused, with its line and what to use
//! instead.

use std::collections::BTreeMap;

use super::{Faults, SourceFile, csv, did_you_mean};

/// What the shipped model.conf says, and the meaning every other must have.
pub(in crate::policy) const MODEL: &str = "\
[request_definition]
r = sub, obj, act
[policy_definition]
p  = sub, obj, act, eft
p2 = sub, obj, filter
p3 = sub, obj, col, mask
[role_definition]
g  = _, _
g2 = _, _
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = r.act == p.act && (objMatch(r.obj, p.obj) || g2(r.obj, p.obj)) && g(r.sub, p.sub)
";

/// A model.conf as it was read; its meaning is that of [`MODEL`].
#[derive(Clone, Debug)]
pub(in crate::policy) struct Model {
    pub text: String,
}

/// Key → its section and value, in [`MODEL`].
type Definitions<'a> = BTreeMap<&'a str, (&'a str, &'a str)>;

/// Reads the file; what it must not say is a fault.
pub(super) fn read(source: &SourceFile, faults: &mut Faults) -> Model {
    let lines = csv::lines(source, faults);
    let expected = definitions();
    let sections: Vec<&str> = MODEL.lines().filter_map(section).collect();
    let keys: Vec<&str> = expected.keys().copied().collect();
    let mut within: Option<&str> = None;
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let end = lines.last().map_or(1, |(line, _)| *line);
    let mut say = |line: u32, column: u32, what: String| faults.push(&source.name, line, column, what);
    for (line, text) in &lines {
        let trimmed = text.trim();
        let column = column_of(text, trimmed);
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        if let Some(name) = section(trimmed) {
            within = sections.iter().copied().find(|s| *s == name);
            if within.is_none() {
                say(*line, column, format!("there is no section `{name}`{}", did_you_mean(name, &sections)));
            }
            continue;
        }
        let Some((key, value)) = trimmed.split_once('=').map(|(k, v)| (k.trim(), v.trim())) else {
            say(*line, column, format!("`{trimmed}` is neither a `[section]` nor `key = value`"));
            continue;
        };
        let Some((key, (home, wanted))) = expected.get_key_value(key) else {
            say(*line, column, format!("`{key}` is not defined by lakegate's model{}", did_you_mean(key, &keys)));
            continue;
        };
        if within.is_none_or(|within| within != *home) {
            say(*line, column, format!("`{key}` belongs in the section `[{home}]`"));
        }
        if let Some(before) = seen.insert(key, *line) {
            say(*line, column, format!("`{key}` is defined in line {before} already"));
        }
        if let Err(what) = same_meaning(key, value, wanted) {
            say(*line, column_of(text, value), what);
        }
    }
    for key in keys.iter().filter(|key| !seen.contains_key(*key)) {
        let (home, wanted) = expected.get(key).copied().unwrap_or_default();
        say(end, 1, format!("`{key} = {wanted}` is missing in `[{home}]`"));
    }
    Model { text: lines.into_iter().map(|(_, text)| format!("{text}\n")).collect() }
}

fn definitions() -> Definitions<'static> {
    let mut within = "";
    let mut found = Definitions::new();
    for line in MODEL.lines() {
        match (section(line), line.split_once('=')) {
            (Some(name), _) => within = name,
            (None, Some((key, value))) => {
                found.insert(key.trim(), (within, value.trim()));
            }
            (None, None) => {}
        }
    }
    found
}

fn section(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']')
}

fn column_of(line: &str, part: &str) -> u32 {
    let at = line.find(part).unwrap_or_default();
    let before = line.get(..at).unwrap_or_default().chars().count();
    u32::try_from(before).unwrap_or(u32::MAX - 1) + 1
}

/// Why `found` does not mean what `wanted` means.
fn same_meaning(key: &str, found: &str, wanted: &str) -> Result<(), String> {
    if found.contains('#') {
        return Err("a comment takes a whole line".into());
    }
    if found.ends_with('\\') {
        return Err("a definition stands on one line".into());
    }
    match key {
        "m" => same_matcher(found, wanted),
        // Casbin knows its effects by their text
        "e" if found == wanted => Ok(()),
        "e" => Err(format!("the effect is always `{wanted}`: one line must allow, and a deny wins")),
        _ => same_fields(key, found, wanted),
    }
}

fn same_fields(key: &str, found: &str, wanted: &str) -> Result<(), String> {
    let split = |list: &str| list.split(',').map(|f| f.trim().to_string()).collect::<Vec<_>>();
    let (has, needs) = (split(found), split(wanted));
    if has == needs {
        return Ok(());
    }
    let domain = has.iter().any(|field| matches!(field.as_str(), "dom" | "domain" | "tenant"))
        || (key.starts_with('g') && has.len() > needs.len());
    let reason = match key {
        "g" | "r" if domain => {
            "a role domain is not supported: a role means the same in every schema; give each schema's members a role of \
             its own, as `sales_analyst`"
        }
        "g2" if domain => "a domain of tags is not supported; the schema stands in the object's name",
        "r" => {
            "a request is who, what and which action; further attributes are asked by `p2` lines as `user.ATTRIBUTE`"
        }
        _ => "the fields of a line are fixed: a name that is spelt otherwise would be read as something else",
    };
    Err(format!("`{key} = {found}`: {reason}; write `{key} = {wanted}`"))
}

/// The same conditions in whatever order.
fn same_matcher(found: &str, wanted: &str) -> Result<(), String> {
    let (has, needs) = (conditions(found), conditions(wanted));
    if let Some(extra) = has.iter().find(|c| !needs.contains(c)) {
        let reason = match extra.contains("r.sub.") || extra.contains("user.") {
            true => {
                "a condition over attributes of the subject is not supported here: rows are filtered by a `p2` line, whose \
                 condition may name `user.ATTRIBUTE`"
            }
            false => "lakegate decides by no such condition",
        };
        return Err(format!("`{extra}`: {reason}; write `m = {wanted}`"));
    }
    match needs.iter().find(|c| !has.contains(c)) {
        Some(missing) => Err(format!("the condition `{missing}` is missing; write `m = {wanted}`")),
        None if has.len() == needs.len() => Ok(()),
        None => Err(format!("a condition stands here twice; write `m = {wanted}`")),
    }
}

/// The conjuncts, blanks taken out, the alternatives of each in order.
fn conditions(matcher: &str) -> Vec<String> {
    let plain: String = matcher.chars().filter(|c| !c.is_whitespace()).collect();
    let mut all: Vec<String> = split_outside(&plain, "&&").into_iter().map(alternatives).collect();
    all.sort();
    all
}

fn alternatives(condition: &str) -> String {
    let inner = condition.strip_prefix('(').and_then(|c| c.strip_suffix(')'));
    let Some(inner) = inner.filter(|inner| split_outside(inner, "||").len() > 1) else { return condition.to_string() };
    let mut alternatives = split_outside(inner, "||");
    alternatives.sort_unstable();
    format!("({})", alternatives.join("||"))
}

/// At `separator` where it stands in no parentheses.
fn split_outside<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let (mut parts, mut depth, mut begin, mut at) = (vec![], 0usize, 0, 0);
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 && text.get(at..).is_some_and(|rest| rest.starts_with(separator)) => {
                parts.extend(text.get(begin..at));
                at += separator.len();
                begin = at;
                continue;
            }
            _ => {}
        }
        at += c.len_utf8();
    }
    parts.extend(text.get(begin..));
    parts
}
