//! The kernels: `~` and its kin, substring, regexp_match(es), _replace, _split, _like, _count, _instr, _substr (regexp.c).

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};

use super::{Options, Pattern, Patterns, Span};
use crate::error::{Error, Kind, Result};
use crate::sql::functions::text::{build, byte_of, chars, count, int};
use crate::sql::kernel::{Call, Kernel, Values};

pub(in crate::sql::functions) const KERNELS: &[(&str, Kernel)] = &[
    ("textregexeq", |c| is_match(c, Options::PLAIN, true)),
    ("textregexne", |c| is_match(c, Options::PLAIN, false)),
    ("texticregexeq", |c| is_match(c, Options::ANY_CASE, true)),
    ("texticregexne", |c| is_match(c, Options::ANY_CASE, false)),
    ("nameregexeq", |c| is_match(c, Options::PLAIN, true)),
    ("nameregexne", |c| is_match(c, Options::PLAIN, false)),
    ("nameicregexeq", |c| is_match(c, Options::ANY_CASE, true)),
    ("nameicregexne", |c| is_match(c, Options::ANY_CASE, false)),
    ("regexp_like_no_flags", |c| is_match(c, Options::PLAIN, true)),
    ("regexp_like", like),
    ("textregexsubstr", substring),
    ("substring/2074", |c| super::similar::substring(c)),
    ("regexp_match_no_flags", first_match),
    ("regexp_match", first_match),
    ("regexp_matches_no_flags", all_matches),
    ("regexp_matches", all_matches),
    ("regexp_split_to_array_no_flags", |c| split(c, "regexp_split_to_array()")),
    ("regexp_split_to_array", |c| split(c, "regexp_split_to_array()")),
    ("regexp_split_to_table_no_flags", |c| split(c, "regexp_split_to_table()")),
    ("regexp_split_to_table", |c| split(c, "regexp_split_to_table()")),
    ("textregexreplace_noopt", replace),
    ("textregexreplace", replace_flags),
    ("textregexreplace_extended_no_n", replace_extended),
    ("textregexreplace_extended_no_flags", replace_extended),
    ("textregexreplace_extended", replace_extended),
    ("regexp_count_no_start", count_matches),
    ("regexp_count_no_flags", count_matches),
    ("regexp_count", count_matches),
    ("regexp_instr_no_start", place_of),
    ("regexp_instr_no_n", place_of),
    ("regexp_instr_no_endoption", place_of),
    ("regexp_instr_no_flags", place_of),
    ("regexp_instr_no_subexpr", place_of),
    ("regexp_instr", place_of),
    ("regexp_substr_no_start", part_of),
    ("regexp_substr_no_n", part_of),
    ("regexp_substr_no_flags", part_of),
    ("regexp_substr_no_subexpr", part_of),
    ("regexp_substr", part_of),
];

type Groups = Vec<Option<Span>>;

/// Matches of a text, one after the other.
struct Matches<'p, 't> {
    text: &'t str,
    searcher: super::Searcher<'p, 't>,
    /// `None`: behind the end.
    from: Option<usize>,
}

impl<'p, 't> Matches<'p, 't> {
    /// From character `start`, counted from 0.
    fn new(pattern: &'p Pattern, text: &'t str, start: usize) -> Self {
        let from = byte_of(text, start);
        let inside = from < text.len() || start <= text.chars().count();
        Self { text, searcher: pattern.searcher(text), from: inside.then_some(from) }
    }

    /// An empty match is followed by a search from the next character.
    fn next(&mut self) -> Result<Option<(Span, Groups)>> {
        let Some(from) = self.from else { return Ok(None) };
        let Some(groups) = self.searcher.find(from)? else {
            self.from = None;
            return Ok(None);
        };
        let span = groups.first().copied().flatten().unwrap_or((from, from));
        self.from = match span.0 == span.1 {
            true => self.text[span.1..].chars().next().map(|c| span.1 + c.len_utf8()),
            false => Some(span.1),
        };
        Ok(Some((span, groups)))
    }
}

/// Optional arguments of a function.
struct Optional<'a, T: crate::sql::kernel::Read<'a>>(Option<Values<'a, T>>);

impl<'a, T: crate::sql::kernel::Read<'a>> Optional<'a, T> {
    fn of(call: &Call<'a>, i: usize) -> Result<Self> {
        Ok(Self(match call.args.len() > i {
            true => Some(call.read(i)?),
            false => None,
        }))
    }

    fn get(&self, row: usize, default: T) -> T {
        self.0.as_ref().and_then(|values| values.get(row)).unwrap_or(default)
    }
}

fn invalid_parameter(name: &str, value: i32) -> Error {
    Error::new(Kind::InvalidParameter, format!("invalid value for parameter \"{name}\": {value}"))
}

fn no_global(options: Options, name: &str) -> Result<()> {
    match options.global {
        true => {
            let text = format!("{name} does not support the \"global\" option");
            Err(Error::new(Kind::InvalidParameter, text))
        }
        false => Ok(()),
    }
}

fn is_match(call: &Call<'_>, options: Options, wanted: bool) -> Result<ArrayRef> {
    let (text, pattern) = (call.read::<&str>(0)?, call.read::<&str>(1)?);
    let mut patterns = Patterns::default();
    call.rows_of(|row| {
        let (Some(text), Some(pattern)) = (text.get(row), pattern.get(row)) else { return Ok(None) };
        Ok(Some(patterns.get(pattern, options)?.is_match(text)? == wanted))
    })
}

fn like(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, pattern, flags) = (call.read::<&str>(0)?, call.read::<&str>(1)?, call.read::<&str>(2)?);
    let mut patterns = Patterns::default();
    call.rows_of(|row| {
        let (Some(text), Some(pattern), Some(flags)) = (text.get(row), pattern.get(row), flags.get(row)) else {
            return Ok(None);
        };
        let options = Options::of_flags(flags)?;
        no_global(options, "regexp_like()")?;
        Ok(Some(patterns.get(pattern, options)?.is_match(text)?))
    })
}

/// The first group, or the whole where there is none.
pub(super) fn first_part<'t>(pattern: &Pattern, text: &'t str) -> Result<Option<&'t str>> {
    let groups = pattern.searcher(text).find(0)?;
    let which = usize::from(pattern.groups() > 0);
    let span = groups.and_then(|groups| groups.get(which).copied().flatten());
    Ok(span.map(|(from, to)| &text[from..to]))
}

fn substring(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, pattern) = (call.read::<&str>(0)?, call.read::<&str>(1)?);
    let mut patterns = Patterns::default();
    call.rows_of(|row| {
        let (Some(text), Some(pattern)) = (text.get(row), pattern.get(row)) else { return Ok(None) };
        first_part(patterns.get(pattern, Options::PLAIN)?.as_ref(), text)
    })
}

/// The groups of a match, or the whole where there are none.
fn parts<'t>(text: &'t str, groups: &Groups) -> Vec<Option<&'t str>> {
    let from = usize::from(groups.len() > 1);
    let part = |span: &Option<Span>| span.map(|(from, to)| &text[from..to]);
    groups.iter().skip(from).map(part).collect()
}

fn first_match(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, pattern) = (call.read::<&str>(0)?, call.read::<&str>(1)?);
    let flags = Optional::<&str>::of(call, 2)?;
    let mut patterns = Patterns::default();
    call.rows_of(|row| {
        if call.any_null(row) {
            return Ok(None);
        }
        let (Some(text), Some(pattern)) = (text.get(row), pattern.get(row)) else { return Ok(None) };
        let options = Options::of_flags(flags.get(row, ""))?;
        no_global(options, "regexp_match()").map_err(|e| e.with_hint("Use the regexp_matches function instead."))?;
        let pattern = patterns.get(pattern, options)?;
        let found = pattern.searcher(text).find(0)?;
        Ok(found.map(|groups| Arc::new(StringArray::from(parts(text, &groups))) as ArrayRef))
    })
}

/// A list of lists, one for each match.
fn all_matches(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, pattern) = (call.read::<&str>(0)?, call.read::<&str>(1)?);
    let flags = Optional::<&str>::of(call, 2)?;
    let mut patterns = Patterns::default();
    call.rows_of(|row| {
        if call.any_null(row) {
            return Ok(None);
        }
        let (Some(text), Some(pattern)) = (text.get(row), pattern.get(row)) else { return Ok(None) };
        let options = Options::of_flags(flags.get(row, ""))?;
        let pattern = patterns.get(pattern, options)?;
        let mut matches = Matches::new(&pattern, text, 0);
        let mut lists = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
        while let Some((_, groups)) = matches.next()? {
            lists.append_value(parts(text, &groups));
            if !options.global {
                break;
            }
        }
        let lists = lists.finish();
        let lists = match call.result.data_type() {
            arrow::datatypes::DataType::List(item) => {
                let (_, offsets, values, nulls) = lists.into_parts();
                match item.data_type() {
                    arrow::datatypes::DataType::List(inner) => {
                        arrow::array::ListArray::try_new(Arc::clone(inner), offsets, values, nulls)?
                    }
                    other => return Err(Error::internal(format!("matches were made for a list of {other}"))),
                }
            }
            other => return Err(Error::internal(format!("matches were made for {other}"))),
        };
        Ok(Some(Arc::new(lists) as ArrayRef))
    })
}

/// What stands between matches; empty matches at the ends and right behind another do not cut.
fn split(call: &Call<'_>, name: &str) -> Result<ArrayRef> {
    let (text, pattern) = (call.read::<&str>(0)?, call.read::<&str>(1)?);
    let flags = Optional::<&str>::of(call, 2)?;
    let mut patterns = Patterns::default();
    call.rows_of(|row| {
        if call.any_null(row) {
            return Ok(None);
        }
        let (Some(text), Some(pattern)) = (text.get(row), pattern.get(row)) else { return Ok(None) };
        let options = Options::of_flags(flags.get(row, ""))?;
        no_global(options, name)?;
        let pattern = patterns.get(pattern, options)?;
        let mut matches = Matches::new(&pattern, text, 0);
        let (mut fields, mut rest, mut last_end) = (vec![], 0, 0);
        while let Some(((from, to), _)) = matches.next()? {
            if from < text.len() && to > last_end {
                fields.push(&text[rest..from]);
                rest = to;
            }
            last_end = to;
        }
        fields.push(&text[rest..]);
        Ok(Some(Arc::new(StringArray::from(fields)) as ArrayRef))
    })
}

/// `only`: the match that is replaced; 0 for all.
fn replaced(
    call: &Call<'_>,
    pattern: &Pattern,
    text: &str,
    new: &str,
    start: usize,
    only: usize,
    out: &mut String,
) -> Result<()> {
    let begin = out.len();
    let mut matches = Matches::new(pattern, text, start);
    let (mut rest, mut number) = (0, 0);
    while let Some(((from, to), groups)) = matches.next()? {
        number += 1;
        if only > 0 && number != only {
            continue;
        }
        out.push_str(&text[rest..from]);
        substitute(new, text, &groups, out);
        call.env.budget.value(out.len() - begin)?;
        rest = to;
        if only > 0 {
            break;
        }
    }
    out.push_str(&text[rest..]);
    Ok(())
}

/// `\1` to `\9`, `\&`, `\\`; any other backslash is itself.
fn substitute(new: &str, text: &str, groups: &Groups, out: &mut String) {
    let mut rest = new;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let group = match rest.as_bytes().first() {
            Some(b'&') => 0,
            Some(digit @ b'1'..=b'9') => usize::from(digit - b'0'),
            Some(b'\\') => {
                out.push('\\');
                rest = &rest[1..];
                continue;
            }
            _ => {
                out.push('\\');
                continue;
            }
        };
        rest = &rest[1..];
        if let Some((from, to)) = groups.get(group).copied().flatten() {
            out.push_str(&text[from..to]);
        }
    }
    out.push_str(rest);
}

fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, pattern, new) = (call.read::<&str>(0)?, call.read::<&str>(1)?, call.read::<&str>(2)?);
    let mut patterns = Patterns::default();
    build(call, |row, out| {
        let (Some(text), Some(pattern), Some(new)) = (text.get(row), pattern.get(row), new.get(row)) else {
            return Ok(false);
        };
        let pattern = patterns.get(pattern, Options::PLAIN)?;
        replaced(call, &pattern, text, new, 0, 1, out)?;
        Ok(true)
    })
}

fn replace_flags(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, pattern, new) = (call.read::<&str>(0)?, call.read::<&str>(1)?, call.read::<&str>(2)?);
    let flags = call.read::<&str>(3)?;
    let mut patterns = Patterns::default();
    build(call, |row, out| {
        if call.any_null(row) {
            return Ok(false);
        }
        let (Some(text), Some(pattern), Some(new)) = (text.get(row), pattern.get(row), new.get(row)) else {
            return Ok(false);
        };
        let flags = flags.get(row).unwrap_or("");
        if let Some(digit) = flags.chars().next().filter(char::is_ascii_digit) {
            let text = format!("invalid regular expression option: \"{digit}\"");
            let hint = "If you meant to use regexp_replace() with a start parameter, cast the fourth argument to \
                        integer explicitly.";
            return Err(Error::new(Kind::InvalidParameter, text).with_hint(hint));
        }
        let options = Options::of_flags(flags)?;
        let pattern = patterns.get(pattern, options)?;
        replaced(call, &pattern, text, new, 0, usize::from(!options.global), out)?;
        Ok(true)
    })
}

fn replace_extended(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, pattern, new) = (call.read::<&str>(0)?, call.read::<&str>(1)?, call.read::<&str>(2)?);
    let (start, n) = (call.read::<i32>(3)?, Optional::<i32>::of(call, 4)?);
    let flags = Optional::<&str>::of(call, 5)?;
    let mut patterns = Patterns::default();
    build(call, |row, out| {
        if call.any_null(row) {
            return Ok(false);
        }
        let (Some(text), Some(pattern), Some(new)) = (text.get(row), pattern.get(row), new.get(row)) else {
            return Ok(false);
        };
        let (start, n) = (start.get(row).unwrap_or(1), n.get(row, 1));
        if start <= 0 {
            return Err(invalid_parameter("start", start));
        }
        if n < 0 {
            return Err(invalid_parameter("n", n));
        }
        let pattern = patterns.get(pattern, Options::of_flags(flags.get(row, ""))?)?;
        replaced(call, &pattern, text, new, count(start) - 1, count(n), out)?;
        Ok(true)
    })
}

fn count_matches(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, pattern) = (call.read::<&str>(0)?, call.read::<&str>(1)?);
    let (start, flags) = (Optional::<i32>::of(call, 2)?, Optional::<&str>::of(call, 3)?);
    let mut patterns = Patterns::default();
    call.rows_of(|row| {
        if call.any_null(row) {
            return Ok(None);
        }
        let (Some(text), Some(pattern)) = (text.get(row), pattern.get(row)) else { return Ok(None) };
        let start = start.get(row, 1);
        if start <= 0 {
            return Err(invalid_parameter("start", start));
        }
        let options = Options::of_flags(flags.get(row, ""))?;
        no_global(options, "regexp_count()")?;
        let pattern = patterns.get(pattern, options)?;
        let mut matches = Matches::new(&pattern, text, count(start) - 1);
        let mut number = 0;
        while matches.next()?.is_some() {
            number += 1;
        }
        Ok(Some(int(number)))
    })
}

/// The span of a group (0: the whole) in match `n` from character `start`, both counted from 1.
fn nth(pattern: &Pattern, text: &str, start: i32, n: i32, group: i32) -> Result<Option<Span>> {
    // a pattern without groups is its own first group
    if count(group) > pattern.groups().max(1) {
        return Ok(None);
    }
    let group = if pattern.groups() == 0 { 0 } else { count(group) };
    let mut matches = Matches::new(pattern, text, count(start) - 1);
    for _ in 1..n {
        if matches.next()?.is_none() {
            return Ok(None);
        }
    }
    Ok(matches.next()?.and_then(|(_, groups)| groups.get(group).copied().flatten()))
}

fn place_of(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, pattern) = (call.read::<&str>(0)?, call.read::<&str>(1)?);
    let (start, n) = (Optional::<i32>::of(call, 2)?, Optional::<i32>::of(call, 3)?);
    let (behind, flags) = (Optional::<i32>::of(call, 4)?, Optional::<&str>::of(call, 5)?);
    let group = Optional::<i32>::of(call, 6)?;
    let mut patterns = Patterns::default();
    call.rows_of(|row| {
        if call.any_null(row) {
            return Ok(None);
        }
        let (Some(text), Some(pattern)) = (text.get(row), pattern.get(row)) else { return Ok(None) };
        let (start, n) = (start.get(row, 1), n.get(row, 1));
        let (behind, group) = (behind.get(row, 0), group.get(row, 0));
        if start <= 0 {
            return Err(invalid_parameter("start", start));
        }
        if n <= 0 {
            return Err(invalid_parameter("n", n));
        }
        if !matches!(behind, 0 | 1) {
            return Err(invalid_parameter("endoption", behind));
        }
        if group < 0 {
            return Err(invalid_parameter("subexpr", group));
        }
        let options = Options::of_flags(flags.get(row, ""))?;
        no_global(options, "regexp_instr()")?;
        let pattern = patterns.get(pattern, options)?;
        let span = nth(&pattern, text, start, n, group)?;
        Ok(Some(span.map_or(0, |(from, to)| chars(&text[..if behind == 1 { to } else { from }]) + 1)))
    })
}

fn part_of(call: &Call<'_>) -> Result<ArrayRef> {
    let (text, pattern) = (call.read::<&str>(0)?, call.read::<&str>(1)?);
    let (start, n) = (Optional::<i32>::of(call, 2)?, Optional::<i32>::of(call, 3)?);
    let (flags, group) = (Optional::<&str>::of(call, 4)?, Optional::<i32>::of(call, 5)?);
    let mut patterns = Patterns::default();
    call.rows_of(|row| {
        if call.any_null(row) {
            return Ok(None);
        }
        let (Some(text), Some(pattern)) = (text.get(row), pattern.get(row)) else { return Ok(None) };
        let (start, n, group) = (start.get(row, 1), n.get(row, 1), group.get(row, 0));
        if start <= 0 {
            return Err(invalid_parameter("start", start));
        }
        if n <= 0 {
            return Err(invalid_parameter("n", n));
        }
        if group < 0 {
            return Err(invalid_parameter("subexpr", group));
        }
        let options = Options::of_flags(flags.get(row, ""))?;
        no_global(options, "regexp_substr()")?;
        let pattern = patterns.get(pattern, options)?;
        Ok(nth(&pattern, text, start, n, group)?.map(|(from, to)| &text[from..to]))
    })
}
