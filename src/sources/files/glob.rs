//! Which files of a folder are a table's: their names below it, part by part. `*` stands for any letters within a part, `?`
//! for one, `**` for any number of parts. It reads no folder.

use serde::Deserialize;

/// `orders/**/*.csv.gz`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    AnyDepth,
    Named(Vec<char>),
}

impl Default for Pattern {
    fn default() -> Self {
        Self(vec![Part::AnyDepth])
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let part = |part: &str| match part {
            "" | "." => Err("`files` is a pattern below `path`, such as \"orders/**/*.csv\"".to_string()),
            ".." => Err("`files` does not leave `path`: it has no `..`".to_string()),
            "**" => Ok(Part::AnyDepth),
            named if named.contains("**") => Err("`**` in `files` stands for whole parts".to_string()),
            named => Ok(Part::Named(named.chars().collect())),
        };
        text.split('/').map(part).collect::<Result<_, _>>().map(Self)
    }
}

impl Pattern {
    /// The parts that every file of it begins with.
    pub(super) fn prefix(&self) -> Vec<String> {
        let plain = |part: &Part| match part {
            Part::Named(name) if !name.iter().any(|c| matches!(c, '*' | '?')) => Some(name.iter().collect()),
            Part::Named(_) | Part::AnyDepth => None,
        };
        // The last part is a file's name, and no folder.
        let folders = self.0.len().saturating_sub(1);
        self.0.iter().take(folders).map_while(plain).collect()
    }

    pub(super) fn fits(&self, name: &[&str]) -> bool {
        // How many parts of the name the pattern's parts so far can have taken.
        let mut taken = vec![false; name.len() + 1];
        taken[0] = true;
        for part in &self.0 {
            let mut next = vec![false; name.len() + 1];
            match part {
                Part::AnyDepth => {
                    let mut any = false;
                    for (at, next) in next.iter_mut().enumerate() {
                        any |= taken[at];
                        *next = any;
                    }
                }
                Part::Named(pattern) => {
                    for (at, text) in name.iter().enumerate() {
                        next[at + 1] = taken[at] && fits(pattern, text);
                    }
                }
            }
            taken = next;
        }
        taken[name.len()]
    }
}

fn fits(pattern: &[char], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                // The last star takes one letter more.
                Some((at, from)) => {
                    *from += 1;
                    (p, t) = (*at + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_part_by_part() {
        let check = |pattern: &str, name: &str, expect: bool| {
            let read = Pattern::try_from(pattern.to_string()).unwrap();
            assert_eq!(read.fits(&name.split('/').collect::<Vec<_>>()), expect, "{pattern} {name}");
        };
        check("**", "a/b/c.csv", true);
        check("*.csv", "a.csv", true);
        check("*.csv", "a/b.csv", false);
        check("**/*.csv", "a.csv", true);
        check("**/*.csv", "a/b/c.csv", true);
        check("a/**/c.csv", "a/c.csv", true);
        check("a/**/c.csv", "b/c.csv", false);
        check("year=*/m?.csv", "year=2024/m1.csv", true);
        check("year=*/m?.csv", "year=2024/m12.csv", false);
        check("*a*b", "xaybzab", true);
        check("*a*b", "xayc", false);
        check("**/x/**", "a/x", true);
    }

    #[test]
    fn a_pattern_stays_below_its_folder() {
        for bad in ["", "/etc/*", "../x", "a/../../x", "a//b", "./a", "a**"] {
            assert!(Pattern::try_from(bad.to_string()).is_err(), "{bad}");
        }
        let prefix = |text: &str| Pattern::try_from(text.to_string()).unwrap().prefix();
        assert_eq!(prefix("a/b/*.csv"), ["a", "b"]);
        assert_eq!(prefix("a/b.csv"), ["a"]);
        assert!(prefix("**").is_empty() && prefix("*/a/b").is_empty());
    }
}
