//! Letters as the C library of a real server knows them in the locale C.UTF-8: which characters are letters, capitals,
//! punctuation or space, and what each becomes in the other case (one character always becomes one). Read from PostgreSQL
//! itself (`ctype.tsv`), since Rust's tables and mappings are others.

use std::sync::LazyLock;

/// A character class of regular expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::sql::functions) enum Class {
    Alnum,
    Alpha,
    Ascii,
    Blank,
    Cntrl,
    Digit,
    Graph,
    Lower,
    Print,
    Punct,
    Space,
    Upper,
    Xdigit,
    /// Alnum and the underscore.
    Word,
}

/// First and last character of each run.
pub(in crate::sql::functions) type Ranges = Vec<(u32, u32)>;

#[derive(Debug, Default)]
struct Table {
    alpha: Ranges,
    upper: Ranges,
    lower: Ranges,
    punct: Ranges,
    /// First, last, step, and what is added.
    to_lower: Vec<(u32, u32, u32, i32)>,
    to_upper: Vec<(u32, u32, u32, i32)>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::default();
    for line in include_str!("ctype.tsv").lines() {
        let (name, runs) = line.split_once('\t').unwrap_or_default();
        match name {
            "alpha" => table.alpha = ranges(runs),
            "upper" => table.upper = ranges(runs),
            "lower" => table.lower = ranges(runs),
            "punct" => table.punct = ranges(runs),
            "tolower" => table.to_lower = mapping(runs),
            "toupper" => table.to_upper = mapping(runs),
            _ => {}
        }
    }
    table
});

fn hex(text: &str) -> u32 {
    u32::from_str_radix(text, 16).expect("ctype.tsv holds hexadecimal numbers")
}

fn ranges(runs: &str) -> Ranges {
    let run = |run: &str| match run.split_once('-') {
        Some((from, to)) => (hex(from), hex(to)),
        None => (hex(run), hex(run)),
    };
    runs.split(' ').map(run).collect()
}

fn mapping(runs: &str) -> Vec<(u32, u32, u32, i32)> {
    let run = |run: &str| {
        let (range, rest) = run.split_once('/')?;
        let (from, to) = range.split_once('-')?;
        let (step, delta) = rest.split_at(1);
        Some((hex(from), hex(to), step.parse().ok()?, delta.parse().ok()?))
    };
    runs.split(' ').map(|r| run(r).expect("ctype.tsv holds runs")).collect()
}

fn mapped(table: &[(u32, u32, u32, i32)], character: char) -> char {
    let code = u32::from(character);
    let at = table.partition_point(|run| run.1 < code);
    match table.get(at) {
        Some(&(from, _, step, delta)) if from <= code && (code - from).is_multiple_of(step) => {
            code.checked_add_signed(delta).and_then(char::from_u32).unwrap_or(character)
        }
        _ => character,
    }
}

/// towlower.
pub(in crate::sql::functions) fn to_lower(character: char) -> char {
    match character.is_ascii() {
        true => character.to_ascii_lowercase(),
        false => mapped(&TABLE.to_lower, character),
    }
}

/// towupper.
pub(in crate::sql::functions) fn to_upper(character: char) -> char {
    match character.is_ascii() {
        true => character.to_ascii_uppercase(),
        false => mapped(&TABLE.to_upper, character),
    }
}

fn within(ranges: &[(u32, u32)], code: u32) -> bool {
    let at = ranges.partition_point(|run| run.1 < code);
    ranges.get(at).is_some_and(|run| run.0 <= code)
}

/// iswalnum.
pub(in crate::sql::functions) fn is_alnum(character: char) -> bool {
    match character.is_ascii() {
        true => character.is_ascii_alphanumeric(),
        false => within(&TABLE.alpha, u32::from(character)),
    }
}

const SPACES: &[(u32, u32)] = &[
    (9, 13),
    (32, 32),
    (0x1680, 0x1680),
    (0x2000, 0x2006),
    (0x2008, 0x200a),
    (0x2028, 0x2029),
    (0x205f, 0x205f),
    (0x3000, 0x3000),
];

/// Printable without being visible.
const PRINTED_SPACES: &[(u32, u32)] =
    &[(32, 32), (0x1680, 0x1680), (0x2000, 0x2006), (0x2008, 0x200a), (0x205f, 0x205f), (0x3000, 0x3000)];

/// The characters of a class, in order.
pub(in crate::sql::functions) fn ranges_of(class: Class) -> Ranges {
    let table = &*TABLE;
    let all = |parts: &[&[(u32, u32)]]| normal(parts.concat());
    let digits: &[(u32, u32)] = &[(48, 57)];
    match class {
        Class::Alnum => all(&[&table.alpha, digits]),
        Class::Word => all(&[&table.alpha, digits, &[(95, 95)]]),
        Class::Alpha => table.alpha.clone(),
        Class::Ascii => vec![(0, 127)],
        Class::Blank => vec![(9, 9), (32, 32)],
        Class::Cntrl => vec![(0, 31), (127, 159)],
        Class::Digit => digits.to_vec(),
        Class::Graph => all(&[&table.alpha, digits, &table.punct]),
        Class::Print => all(&[&table.alpha, digits, &table.punct, PRINTED_SPACES]),
        Class::Lower => table.lower.clone(),
        Class::Upper => table.upper.clone(),
        Class::Punct => table.punct.clone(),
        Class::Space => SPACES.to_vec(),
        Class::Xdigit => vec![(48, 57), (65, 70), (97, 102)],
    }
}

/// Ordered and without overlaps.
pub(in crate::sql::functions) fn normal(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut out: Ranges = Vec::with_capacity(ranges.len());
    for (from, to) in ranges {
        match out.last_mut() {
            Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
            _ => out.push((from, to)),
        }
    }
    out
}
