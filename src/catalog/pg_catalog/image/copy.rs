//! One value of COPY's text form as a cell of its column. It knows no relation.

use arrow::datatypes::DataType;

use crate::catalog::pg_catalog::rows::Cell;
use crate::error::{Error, Result};
use crate::sql::image as language;

/// The value that stands between two tabs. A function's name stands for its oid where one is asked for.
pub(super) fn cell(data_type: &DataType, text: &str) -> Result<Cell> {
    if text == "\\N" {
        return Ok(Cell::Null);
    }
    value(data_type, &unescaped(text))
}

fn value(data_type: &DataType, text: &str) -> Result<Cell> {
    let wrong = || Error::internal(format!("{text:?} of an image is no {data_type}"));
    Ok(match data_type {
        DataType::Boolean => Cell::Bool(text == "t"),
        DataType::Utf8 => text.into(),
        DataType::Float32 | DataType::Float64 => Cell::Float(text.parse().map_err(|_| wrong())?),
        DataType::List(item) => Cell::List(match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            Some(inner) => {
                let items = items(inner).into_iter().map(|item_text| match item_text.as_deref() {
                    None => Ok(Cell::Null),
                    Some(text) => value(item.data_type(), text),
                });
                items.collect::<Result<_>>()?
            }
            // a vector
            None => text.split_ascii_whitespace().map(|t| value(item.data_type(), t)).collect::<Result<_>>()?,
        }),
        DataType::UInt32 if text == "-" => Cell::Int(0),
        DataType::UInt32 => match (text.parse::<u32>(), language::procs(text)) {
            (Ok(oid), _) => oid.into(),
            (Err(_), [proc]) => proc.oid.into(),
            _ => return Err(wrong()),
        },
        _ => Cell::Int(text.parse().map_err(|_| wrong())?),
    })
}

/// COPY's escapes undone.
pub(super) fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some('b') => '\u{8}',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    plain
}

/// The items between an array's braces; `None` for NULL. The images hold no array of arrays.
fn items(inner: &str) -> Vec<Option<String>> {
    let (mut found, mut item, mut quoted, mut was_quoted) = (vec![], String::new(), false, false);
    let mut letters = inner.chars();
    let end = |item: &mut String, was_quoted: &mut bool| {
        let text = std::mem::take(item);
        (std::mem::take(was_quoted) || text != "NULL").then_some(text)
    };
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => item.extend(letters.next()),
            '"' => (quoted, was_quoted) = (!quoted, true),
            ',' if !quoted => found.push(end(&mut item, &mut was_quoted)),
            other => item.push(other),
        }
    }
    if !inner.is_empty() {
        found.push(end(&mut item, &mut was_quoted));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_copy_are_read() {
        let list = |item| DataType::new_list(item, true);
        let rows = [
            (DataType::Utf8, r"a\tb\\c\n", "a\tb\\c\n".into()),
            (DataType::Utf8, r"\N", Cell::Null),
            (DataType::Utf8, "", "".into()),
            (DataType::UInt32, "-", 0.into()),
            (DataType::UInt32, "boolin", 1242.into()),
            (DataType::Boolean, "f", false.into()),
            (list(DataType::Int16), "1 2", Cell::List(vec![1.into(), 2.into()])),
            (list(DataType::Int16), "", Cell::List(vec![])),
            (list(DataType::UInt32), "{}", Cell::List(vec![])),
            (
                list(DataType::Utf8),
                r#"{a,"",NULL,"b,\\"c"}"#,
                Cell::List(vec!["a".into(), "".into(), Cell::Null, "b,\"c".into()]),
            ),
        ];
        for (data_type, text, expect) in rows {
            assert_eq!(cell(&data_type, text).expect(text), expect, "{text}");
        }
        assert!(cell(&DataType::UInt32, "nosuch").is_err());
        assert!(cell(&DataType::Int32, "one").is_err());
    }
}
