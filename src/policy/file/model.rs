//! model.conf: compared with the one model there is. Nothing is read from it, so nothing in it can be misread.

use super::{Faults, SourceFile, csv};

/// What the shipped model.conf says; Casbin reads the same text where it serves as an oracle.
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

/// Only blank lines and whole-line comments may differ.
pub(super) fn check(source: &SourceFile, faults: &mut Faults) {
    let lines = csv::lines(source, faults);
    let last = lines.last().map_or(1, |(line, _)| *line);
    let mut expected = MODEL.lines();
    for (line, found) in lines {
        if found.trim().is_empty() || found.trim_start().starts_with('#') {
            continue;
        }
        match expected.next() {
            Some(expected) if expected == found => {}
            Some(expected) => {
                return faults.push(&source.name, line, differs_at(expected, found), differs(expected, found));
            }
            None => {
                return faults.push(
                    &source.name,
                    line,
                    1,
                    format!("`{found}` is not part of the model, which is fixed"),
                );
            }
        }
    }
    if let Some(missing) = expected.next() {
        faults.push(
            &source.name,
            last,
            1,
            format!("the model is fixed and goes on with `{missing}`; here the file ends"),
        );
    }
}

fn differs(expected: &str, found: &str) -> String {
    format!("found `{found}`, expected `{expected}`; the model is fixed")
}

fn differs_at(expected: &str, found: &str) -> u32 {
    let same = expected.chars().zip(found.chars()).take_while(|(a, b)| a == b).count();
    u32::try_from(same).unwrap_or(u32::MAX - 1) + 1
}
