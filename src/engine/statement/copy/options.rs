//! The options of COPY: what each takes, and which may stand together (`ProcessCopyOptions`), in PostgreSQL's order and words.

use crate::error::{Error, Kind, Result};
use crate::formats::postgres::copy::{Csv, Header, Layout, Marks};
use crate::formats::postgres::encodings;
use crate::sql::parse::copy::{CopyOption, Direction, OptionValue};

/// Options that each may be given once.
#[derive(Debug, Default)]
struct Given {
    format: Option<Format>,
    delimiter: Option<String>,
    null: Option<String>,
    header: Option<Header>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Option<Columns>,
    force_not_null: Option<Columns>,
    force_null: Option<Columns>,
    freeze: Option<bool>,
    encoding: Option<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Csv,
    Binary,
}

#[derive(Debug)]
enum Columns {
    All,
    Named(Vec<String>),
}

/// What the options come to; columns that they name are looked for in a second step.
#[derive(Debug)]
pub(super) struct Options {
    layout: Layout,
    force_quote: Option<Columns>,
    force_not_null: Option<Columns>,
    force_null: Option<Columns>,
}

impl Options {
    pub(super) fn read(options: &[CopyOption], direction: Direction) -> Result<Self> {
        let mut given = Given::default();
        options.iter().try_for_each(|option| given.take(option, direction))?;
        given.settled(direction)
    }

    /// `relation`: the table whose columns `columns` are part of, for errors, and all that it has; `None` for a query.
    pub(super) fn layout(self, columns: &[&str], relation: Option<(&str, &[&str])>) -> Result<Layout> {
        let Self { mut layout, force_quote, force_not_null, force_null } = self;
        let flags = |forced: Option<Columns>, option: &str| flags(forced, option, columns, relation);
        let (quote, not_null, null) = (
            flags(force_quote, "FORCE_QUOTE")?,
            flags(force_not_null, "FORCE_NOT_NULL")?,
            flags(force_null, "FORCE_NULL")?,
        );
        if let Layout::Csv(csv) = &mut layout {
            (csv.force_quote, csv.force_not_null, csv.force_null) = (quote, not_null, null);
        }
        Ok(layout)
    }
}

impl Given {
    fn take(&mut self, option: &CopyOption, direction: Direction) -> Result<()> {
        let name = option.name.as_str();
        match name {
            "format" => once(&mut self.format, option, format(option)?),
            "freeze" => once(&mut self.freeze, option, boolean(option)?),
            "delimiter" => once(&mut self.delimiter, option, text(option)?),
            "null" => once(&mut self.null, option, text(option)?),
            "header" => once(&mut self.header, option, header(option, direction)?),
            "quote" => once(&mut self.quote, option, text(option)?),
            "escape" => once(&mut self.escape, option, text(option)?),
            "force_quote" => once(&mut self.force_quote, option, columns(option, true)?),
            "force_not_null" => once(&mut self.force_not_null, option, columns(option, false)?),
            "force_null" => once(&mut self.force_null, option, columns(option, false)?),
            "encoding" => once(&mut self.encoding, option, encoding(option)?),
            _ => Err(Error::new(Kind::Syntax, format!("option \"{name}\" not recognized")).at(option.at)),
        }
    }

    fn settled(self, direction: Direction) -> Result<Options> {
        let format = self.format.unwrap_or(Format::Text);
        let is_csv = format == Format::Csv;
        let refuse = |refused: bool, kind: Kind, text: &str| match refused {
            true => Err(Error::new(kind, text)),
            false => Ok(()),
        };
        let (syntax, unsupported, value) = (Kind::Syntax, Kind::Unsupported, Kind::InvalidParameter);
        if format == Format::Binary {
            refuse(self.delimiter.is_some(), syntax, "cannot specify DELIMITER in BINARY mode")?;
            refuse(self.null.is_some(), syntax, "cannot specify NULL in BINARY mode")?;
        }
        let delimiter = self.delimiter.unwrap_or_else(|| if is_csv { "," } else { "\t" }.to_owned());
        let null = self.null.unwrap_or_else(|| if is_csv { "" } else { "\\N" }.to_owned());
        let &[mark] = delimiter.as_bytes() else {
            return Err(Error::new(unsupported, "COPY delimiter must be a single one-byte character"));
        };
        let line_end = |c: char| matches!(c, '\r' | '\n');
        refuse(delimiter.contains(line_end), value, "COPY delimiter cannot be newline or carriage return")?;
        refuse(null.contains(line_end), value, "COPY null representation cannot use newline or carriage return")?;
        let unsafe_mark = matches!(mark, b'\\' | b'.' | b'a'..=b'z' | b'0'..=b'9');
        refuse(!is_csv && unsafe_mark, value, &format!("COPY delimiter cannot be \"{delimiter}\""))?;
        let header = self.header.unwrap_or(Header::None);
        let with_header = header != Header::None;
        refuse(format == Format::Binary && with_header, unsupported, "cannot specify HEADER in BINARY mode")?;
        refuse(!is_csv && self.quote.is_some(), unsupported, "COPY quote available only in CSV mode")?;
        let quote =
            one_byte(self.quote.unwrap_or_else(|| "\"".into()), "COPY quote must be a single one-byte character")?;
        refuse(is_csv && quote == mark, value, "COPY delimiter and quote must be different")?;
        refuse(!is_csv && self.escape.is_some(), unsupported, "COPY escape available only in CSV mode")?;
        let escape = match self.escape {
            Some(escape) => one_byte(escape, "COPY escape must be a single one-byte character")?,
            None => quote,
        };
        let (to, from) = (direction == Direction::To, direction == Direction::From);
        let forced = self.force_quote.is_some();
        refuse(!is_csv && forced, unsupported, "COPY force quote available only in CSV mode")?;
        refuse(from && forced, unsupported, "COPY force quote only available using COPY TO")?;
        let forced = self.force_not_null.is_some();
        refuse(!is_csv && forced, unsupported, "COPY force not null available only in CSV mode")?;
        refuse(to && forced, unsupported, "COPY force not null only available using COPY FROM")?;
        let forced = self.force_null.is_some();
        refuse(!is_csv && forced, unsupported, "COPY force null available only in CSV mode")?;
        refuse(to && forced, unsupported, "COPY force null only available using COPY FROM")?;
        let inside = |mark: u8| null.as_bytes().contains(&mark);
        refuse(inside(mark), unsupported, "COPY delimiter must not appear in the NULL specification")?;
        refuse(is_csv && inside(quote), unsupported, "CSV quote character must not appear in the NULL specification")?;
        let marks = Marks { delimiter: mark, null, header };
        let layout = match format {
            Format::Text => Layout::Text(marks),
            Format::Csv => {
                let (force_quote, force_not_null, force_null) = (vec![], vec![], vec![]);
                Layout::Csv(Csv { marks, quote, escape, force_quote, force_not_null, force_null })
            }
            Format::Binary => Layout::Binary,
        };
        let Self { force_quote, force_not_null, force_null, .. } = self;
        Ok(Options { layout, force_quote, force_not_null, force_null })
    }
}

fn once<T>(place: &mut Option<T>, option: &CopyOption, value: T) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::new(Kind::Syntax, "conflicting or redundant options").at(option.at)),
    }
}

/// defGetString.
fn text(option: &CopyOption) -> Result<String> {
    match &option.value {
        OptionValue::Text(text) | OptionValue::Number(text) => Ok(text.clone()),
        OptionValue::Star => Ok("*".into()),
        OptionValue::List(items) => Ok(items.join(".")),
        OptionValue::Missing => Err(Error::new(Kind::Syntax, format!("{} requires a parameter", option.name))),
    }
}

fn one_byte(text: String, otherwise: &str) -> Result<u8> {
    match text.as_bytes() {
        [one] => Ok(*one),
        _ => Err(Error::new(Kind::Unsupported, otherwise)),
    }
}

/// What a word or a number says; `None` where it says neither.
fn truth(option: &CopyOption) -> Option<bool> {
    match &option.value {
        OptionValue::Missing => Some(true),
        OptionValue::Number(number) => match number.as_str() {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        },
        OptionValue::Text(word) => match word.to_ascii_lowercase().as_str() {
            "true" | "on" => Some(true),
            "false" | "off" => Some(false),
            _ => None,
        },
        OptionValue::Star | OptionValue::List(_) => None,
    }
}

fn boolean(option: &CopyOption) -> Result<bool> {
    truth(option).ok_or_else(|| Error::new(Kind::Syntax, format!("{} requires a Boolean value", option.name)))
}

fn format(option: &CopyOption) -> Result<Format> {
    match text(option)?.as_str() {
        "text" => Ok(Format::Text),
        "csv" => Ok(Format::Csv),
        "binary" => Ok(Format::Binary),
        other => {
            Err(Error::new(Kind::InvalidParameter, format!("COPY format \"{other}\" not recognized")).at(option.at))
        }
    }
}

fn header(option: &CopyOption, direction: Direction) -> Result<Header> {
    match (truth(option), &option.value, direction) {
        (Some(true), ..) => Ok(Header::Line),
        (Some(false), ..) => Ok(Header::None),
        (None, OptionValue::Text(word), Direction::From) if word.eq_ignore_ascii_case("match") => Ok(Header::Match),
        (None, OptionValue::Text(word), Direction::To) if word.eq_ignore_ascii_case("match") => {
            Err(Error::new(Kind::Unsupported, format!("cannot use \"{word}\" with HEADER in COPY TO")))
        }
        _ => Err(Error::new(Kind::Syntax, format!("{} requires a Boolean value or \"match\"", option.name))),
    }
}

fn columns(option: &CopyOption, may_be_all: bool) -> Result<Columns> {
    match &option.value {
        OptionValue::Star if may_be_all => Ok(Columns::All),
        OptionValue::List(names) => Ok(Columns::Named(names.clone())),
        _ => {
            let text = format!("argument to option \"{}\" must be a list of column names", option.name);
            Err(Error::new(Kind::InvalidParameter, text).at(option.at))
        }
    }
}

/// Names of encodings are compared by their letters and digits. What is not UTF-8 is not converted.
fn encoding(option: &CopyOption) -> Result<()> {
    let name = text(option)?;
    match encodings::number(&name) {
        Some(encodings::UTF8 | encodings::SQL_ASCII) => Ok(()),
        Some(_) => Err(Error::unsupported(format!("COPY in encoding {name}")).with_hint("Use the encoding UTF8.")),
        None => {
            let text = format!("argument to option \"{}\" must be a valid encoding name", option.name);
            Err(Error::new(Kind::InvalidParameter, text).at(option.at))
        }
    }
}

/// For each of the columns whether the option names it. 42703 for one that is not there, 42P10 for one that is not copied.
fn flags(
    forced: Option<Columns>,
    option: &str,
    columns: &[&str],
    relation: Option<(&str, &[&str])>,
) -> Result<Vec<bool>> {
    let names = match forced {
        None => return Ok(vec![false; columns.len()]),
        Some(Columns::All) => return Ok(vec![true; columns.len()]),
        Some(Columns::Named(names)) => names,
    };
    let mut flags = vec![false; columns.len()];
    let mut seen: Vec<&str> = vec![];
    for name in &names {
        let all = relation.map_or(columns, |(_, all)| all);
        if !all.contains(&name.as_str()) {
            let text = match relation {
                Some((table, _)) => format!("column \"{name}\" of relation \"{table}\" does not exist"),
                None => format!("column \"{name}\" does not exist"),
            };
            return Err(Error::new(Kind::UndefinedColumn, text));
        }
        if seen.contains(&name.as_str()) {
            return Err(Error::new(Kind::DuplicateColumn, format!("column \"{name}\" specified more than once")));
        }
        seen.push(name);
    }
    for name in &names {
        match columns.iter().position(|column| column == name) {
            Some(at) => flags[at] = true,
            None => {
                let text = format!("{option} column \"{name}\" not referenced by COPY");
                return Err(Error::new(Kind::InvalidColumnReference, text));
            }
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::limits::{Limits, Parsed, parse};

    fn told(sql: &str) -> String {
        let parsed = parse(sql, &Limits::default()).unwrap().pop().unwrap();
        let Parsed::Copy(copy) = parsed else { panic!("{sql}") };
        let options = Options::read(&copy.options, copy.direction);
        match options.and_then(|options| options.layout(&["a", "b"], Some(("t", &["a", "b", "c"])))) {
            Ok(layout) => format!("{layout:?}"),
            Err(error) => {
                let at = error.position().map_or(String::new(), |at| format!(" @{at}"));
                format!("{} {}{at}", error.kind().sqlstate(), error.message())
            }
        }
    }

    // as PostgreSQL 15 answered
    #[test]
    fn options_are_refused_in_postgresqls_words() {
        for (sql, expected) in [
            ("copy t to stdout with (format xml)", "22023 COPY format \"xml\" not recognized @24"),
            ("copy t to stdout with (format csv, format csv)", "42601 conflicting or redundant options @36"),
            ("copy t to stdout csv csv", "42601 conflicting or redundant options @22"),
            ("copy t to stdout (format binary, delimiter ',')", "42601 cannot specify DELIMITER in BINARY mode"),
            ("copy t to stdout (format binary, null ',')", "42601 cannot specify NULL in BINARY mode"),
            ("copy t to stdout (format binary, header)", "0A000 cannot specify HEADER in BINARY mode"),
            ("copy t to stdout (delimiter 'ab')", "0A000 COPY delimiter must be a single one-byte character"),
            ("copy t to stdout (delimiter E'\\n')", "22023 COPY delimiter cannot be newline or carriage return"),
            ("copy t to stdout (delimiter 'a')", "22023 COPY delimiter cannot be \"a\""),
            ("copy t to stdout (delimiter 1)", "22023 COPY delimiter cannot be \"1\""),
            ("copy t to stdout (quote 'x')", "0A000 COPY quote available only in CSV mode"),
            ("copy t to stdout (format csv, quote 'xx')", "0A000 COPY quote must be a single one-byte character"),
            ("copy t to stdout (format csv, quote ',')", "22023 COPY delimiter and quote must be different"),
            ("copy t to stdout (escape 'x')", "0A000 COPY escape available only in CSV mode"),
            ("copy t to stdout (force_quote (a))", "0A000 COPY force quote available only in CSV mode"),
            ("copy t from stdin (format csv, force_quote (a))", "0A000 COPY force quote only available using COPY TO"),
            ("copy t to stdout (format csv, force_null (a))", "0A000 COPY force null only available using COPY FROM"),
            ("copy t to stdout force not null a", "0A000 COPY force not null available only in CSV mode"),
            (
                "copy t to stdout (delimiter ',', null 'a,b')",
                "0A000 COPY delimiter must not appear in the NULL specification",
            ),
            (
                "copy t to stdout (format csv, null 'a\"b')",
                "0A000 CSV quote character must not appear in the NULL specification",
            ),
            ("copy t to stdout (foo 1)", "42601 option \"foo\" not recognized @19"),
            ("copy t to stdout (header match)", "0A000 cannot use \"match\" with HEADER in COPY TO"),
            ("copy t to stdout (header 2)", "42601 header requires a Boolean value or \"match\""),
            ("copy t to stdout (format)", "42601 format requires a parameter"),
            (
                "copy t to stdout (encoding 'zz')",
                "22023 argument to option \"encoding\" must be a valid encoding name @19",
            ),
            (
                "copy t to stdout (format csv, force_quote a)",
                "22023 argument to option \"force_quote\" must be a list of column names @31",
            ),
            ("copy t to stdout (format csv, force_quote (zz))", "42703 column \"zz\" of relation \"t\" does not exist"),
            ("copy t to stdout (format csv, force_quote (c))", "42P10 FORCE_QUOTE column \"c\" not referenced by COPY"),
        ] {
            assert_eq!(told(sql), expected, "{sql}");
        }
    }

    #[test]
    fn both_syntaxes_say_the_same() {
        let old =
            told("copy t to stdout with csv header delimiter as ';' null 'x' quote '''' escape '\\' force quote b");
        let new = told(
            "copy t to stdout (format 'csv', header on, delimiter ';', null x, quote '''', escape '\\', force_quote (b))",
        );
        assert_eq!(old, new);
        assert!(old.contains("force_quote: [false, true]"), "{old}");
        assert_eq!(told("copy binary t to stdout"), "Binary");
        assert_eq!(told("copy t to stdout using delimiters ','"), told("copy t to stdout (delimiter ',')"));
        assert!(told("copy t to stdout csv force quote *").contains("force_quote: [true, true]"));
    }
}
