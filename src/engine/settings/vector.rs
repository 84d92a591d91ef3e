//! `lakegate.snapshot_vector`: the versions that a statement saw, as text, and a text read again as the versions at which
//! tables of lakes are to be read. Who may read them is the policy's of now. What has no snapshots is read as it is.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::types::{AsOf, Identifier, TableName, Version};

pub(super) const VECTOR: &str = "lakegate.snapshot_vector";

/// By the names of the tables.
pub(crate) type Versions = BTreeMap<TableName, AsOf>;

/// One table's part of a vector. `whole`: its reader sees all of its rows, and so may know how many there are.
pub(crate) fn shown(name: &TableName, version: &Version, whole: bool) -> String {
    let version = match version {
        Version::Fixed(number) => format!("fixed:{number}"),
        Version::Snapshot(Some(id)) => format!("snapshot:{id}"),
        Version::Snapshot(None) => "snapshot:none".to_owned(),
        Version::Fresh(Some(id), _) => format!("fresh:{id}"),
        Version::Fresh(None, _) => "fresh:none".to_owned(),
        Version::Offsets { .. } if !whole => "offsets".to_owned(),
        Version::Offsets { topic_id: _, spans } => {
            let spans = spans.iter().map(|(partition, first, end)| format!("{partition}:{first}-{end}"));
            format!("offsets:{}", spans.collect::<Vec<_>>().join(";"))
        }
        // It tells that files came or went, which is about rows that not everybody sees.
        Version::Files(_) if !whole => "files".to_owned(),
        Version::Files(digest) => format!("files:{digest}"),
        Version::Live => "live".to_owned(),
    };
    format!("{name}={version}")
}

/// A reflection's part: when it was made, in microseconds since 1970.
pub(crate) fn shown_reflection(name: &str, made_at: i64) -> String {
    format!("{}=reflection:{made_at}", Identifier(name))
}

/// 22023 for what is no vector.
pub(super) fn check(value: &str) -> Result<String> {
    let value = value.trim();
    read(value)?;
    Ok(value.to_owned())
}

/// Those of lakes; what else stands there means nothing here.
pub(super) fn read(text: &str) -> Result<Versions> {
    let mut versions = Versions::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (schema, after) = segment(rest)?;
        let (name, value) = match after.strip_prefix('.') {
            Some(after) => {
                let (table, after) = segment(after)?;
                (Some(TableName::new(schema, table)), after)
            }
            // a reflection's
            None => (None, after),
        };
        let value = value.strip_prefix('=').ok_or_else(|| invalid(text))?;
        let (version, after) = value.split_once(',').unwrap_or((value, ""));
        rest = after.trim_start();
        match (name, version.trim().split_once(':')) {
            (Some(name), Some(("snapshot", "none"))) => {
                let detail = format!("{name} had no snapshot, and cannot be read so again.");
                return Err(invalid(text).with_detail(detail));
            }
            (Some(name), Some(("fresh", id))) => {
                let detail =
                    format!("{name} was read with rows that were not committed yet, and cannot be read so again.");
                let error = invalid(text).with_detail(detail);
                let is_id = id.parse::<i64>().is_ok();
                return Err(match is_id {
                    true => error.with_hint(format!("Write {name}=snapshot:{id} for what was committed then.")),
                    false => error,
                });
            }
            (Some(name), Some(("snapshot", id))) => {
                let id = id.parse().map_err(|_| invalid(text))?;
                versions.insert(name, AsOf::Snapshot(id));
            }
            (Some(_), Some(("fixed" | "offsets", _))) | (None, Some(("reflection", _))) => {}
            (Some(_), None) if matches!(version.trim(), "live" | "offsets") => {}
            _ => return Err(invalid(text)),
        }
    }
    Ok(versions)
}

/// An identifier as it is printed, and what stands behind it.
fn segment(text: &str) -> Result<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(['.', '=', ',', '"']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return if name.is_empty() { Err(invalid(text)) } else { Ok((name.to_owned(), rest)) };
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let (part, after) = rest.split_once('"').ok_or_else(|| invalid(text))?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Ok((name, after)),
        }
    }
}

fn invalid(text: &str) -> Error {
    Error::new(Kind::InvalidParameter, format!("invalid value for parameter \"{VECTOR}\": \"{text}\""))
        .with_hint("It is what SHOW lakegate.snapshot_vector says after a statement.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_read_as_it_was_shown() {
        let names = [TableName::new("shop", "sales"), TableName::new("Odd, name", "a\"=b")];
        let parts: Vec<String> = names.iter().map(|name| shown(name, &Version::Snapshot(Some(-7)), false)).collect();
        let other = shown(
            &TableName::new("stream", "events"),
            &Version::Offsets { topic_id: "t".into(), spans: vec![(0, 1, 5), (1, 0, 3)] },
            true,
        );
        let text = format!("{}, {other}, db.t=live, by_day=reflection:5", parts.join(", "));
        let read = read(&text).unwrap();
        assert_eq!(read.keys().cloned().collect::<std::collections::BTreeSet<_>>(), names.into());
        assert!(read.values().all(|at| *at == AsOf::Snapshot(-7)));
        for wrong in
            ["shop.sales", "shop.sales=", "shop.sales=snapshot:x", "=snapshot:1", "a.b=c:1", "\"a.b=snapshot:1"]
        {
            assert_eq!(super::read(wrong).unwrap_err().kind(), Kind::InvalidParameter, "{wrong}");
        }
        assert!(super::read("a.b=snapshot:none").is_err());
        assert!(super::read("").unwrap().is_empty());
    }

    #[test]
    fn who_sees_not_all_of_a_topic_is_not_told_how_much_there_is() {
        let name = TableName::new("stream", "events");
        let version = Version::Offsets { topic_id: "t".into(), spans: vec![(0, 1, 5), (1, 0, 3)] };
        assert_eq!(shown(&name, &version, true), "stream.events=offsets:0:1-5;1:0-3");
        let part = shown(&name, &version, false);
        assert_eq!(part, "stream.events=offsets");
        let read = read(&format!("{part}, shop.sales=snapshot:4")).unwrap();
        assert_eq!(read, Versions::from([(TableName::new("shop", "sales"), AsOf::Snapshot(4))]));
    }

    #[test]
    fn what_was_not_committed_is_not_read_again_and_says_so() {
        let name = TableName::new("shop", "orders");
        let error = read(&shown(&name, &Version::Fresh(Some(5), 1), true)).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidParameter);
        assert!(error.detail().unwrap().contains("not committed yet"), "{error:?}");
        assert!(error.hint().unwrap().contains("shop.orders=snapshot:5"), "{error:?}");
        assert!(read(&shown(&name, &Version::Fresh(None, 1), true)).unwrap_err().detail().is_some());
    }
}
