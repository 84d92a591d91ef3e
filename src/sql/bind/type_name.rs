//! Type names of the grammar → oid and modifier (parse_type.c).

use datafusion::sql::sqlparser::ast::{self, DataType};

use super::Binder;
use super::name::segments;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres;
use crate::pgtype::{self, Ty, oid};

impl Binder<'_> {
    /// Where the type of a cast stands, whose `::` or AS stands at a place.
    pub(super) fn type_at(&self, at: usize) -> usize {
        let mut rest = self.text.chars().skip(at.saturating_sub(1));
        let mark: String = rest.by_ref().take(2).collect();
        match at > 0 && (mark == "::" || mark.eq_ignore_ascii_case("as")) {
            true => at + 2 + rest.take_while(|c| c.is_whitespace()).count(),
            false => at,
        }
    }

    /// 42704 for a type that is not there.
    pub(super) fn type_named(&self, data_type: &DataType, at: usize) -> Result<Ty> {
        named(data_type).map_err(|e| if e.position().is_none() && at > 0 { e.at(at) } else { e })
    }
}

fn undefined(name: &str) -> Error {
    Error::new(Kind::UndefinedObject, format!("type \"{name}\" does not exist"))
}

fn named(data_type: &DataType) -> Result<Ty> {
    if let DataType::Array(element) = data_type {
        let inner = match element {
            ast::ArrayElemTypeDef::SquareBracket(inner, _)
            | ast::ArrayElemTypeDef::AngleBracket(inner)
            | ast::ArrayElemTypeDef::Parenthesis(inner) => inner,
            ast::ArrayElemTypeDef::None => return Err(undefined("array")),
        };
        let inner = named(inner).map_err(|error| match error.kind() {
            // the whole of what is written is no type
            Kind::UndefinedObject if !error.message().contains("[]\"") => {
                error.map_message(|text| text.replacen("\" does not exist", "[]\" does not exist", 1))
            }
            _ => error,
        })?;
        // int[][] is int[]
        if pgtype::element(inner.oid).is_some() {
            return Ok(inner);
        }
        let array = pgtype::array(inner.oid);
        let array = array.ok_or_else(|| undefined(&format!("{}[]", inner.name())))?;
        return Ok(Ty { oid: array, typmod: inner.typmod });
    }
    let text = match data_type {
        DataType::Float(ast::ExactNumberInfo::Precision(bits)) => return float(*bits),
        DataType::Float(_) | DataType::Float64 => return Ok(Ty::of(oid::FLOAT8)),
        // not PostgreSQL's: the word of Spark, Trino and MySQL
        DataType::Double(_) => return Ok(Ty::of(oid::FLOAT8)),
        DataType::Interval { fields, precision } => {
            let range = fields.as_ref().map_or(INTERVAL_FULL_RANGE, |f| interval_range(&f.to_string()));
            return interval(range, precision.map(|p| p as i32));
        }
        DataType::Custom(name, modifiers) => {
            let mut path = segments(name);
            let last = path.pop().unwrap_or_default();
            let quoted = name
                .0
                .last()
                .is_some_and(|part| matches!(part, ast::ObjectNamePart::Identifier(i) if i.quote_style.is_some()));
            match path.as_slice() {
                [] => {}
                [schema] if schema == "pg_catalog" || schema == "information_schema" => {}
                [schema] => {
                    return Err(Error::new(Kind::UndefinedSchema, format!("schema \"{schema}\" does not exist")));
                }
                _ => return Err(undefined(&name.to_string())),
            }
            // pg_type's own names, which are not the grammar's: "char" is no char(1), and "bit" is of any length
            let own = quoted || !path.is_empty() || last == "bpchar";
            if own && let Some(row) = postgres::by_internal_name(&last) {
                if modifiers.is_empty() {
                    return Ok(Ty::of(row.oid));
                }
                return modified(&last, modifiers);
            }
            if !modifiers.is_empty() {
                return modified(&last, modifiers);
            }
            if quoted || last.contains(' ') { format!("\"{last}\"") } else { last }
        }
        other => other.to_string().to_lowercase(),
    };
    match postgres::by_name(&text) {
        Some((oid, typmod)) => Ok(Ty { oid, typmod }),
        None => match text.split_once('(') {
            Some((name, rest)) => {
                let modifiers: Vec<String> = rest.trim_end_matches(')').split(',').map(|m| m.trim().into()).collect();
                modified(name, &modifiers)
            }
            None => domain(&text).ok_or_else(|| undefined(text.trim_matches('"'))),
        },
    }
}

/// A type with modifiers, by the rules of its `typmodin` function.
fn modified(name: &str, modifiers: &[String]) -> Result<Ty> {
    let text = format!("{name}({})", modifiers.join(","));
    if let Some((oid, typmod)) = postgres::by_name(&text) {
        return Ok(Ty { oid, typmod });
    }
    let Some((of, _)) = postgres::by_name(name) else { return Err(undefined(name)) };
    let mut numbers = vec![];
    for modifier in modifiers {
        let wrong = || Error::new(Kind::InvalidText, format!("invalid input syntax for type integer: \"{modifier}\""));
        numbers.push(modifier.parse::<i64>().map_err(|_| wrong())?);
    }
    let refused = |text: String| Err(Error::new(Kind::InvalidParameter, text));
    let length = |name: &str, max: i64| match numbers.as_slice() {
        [..=0] => refused(format!("length for type {name} must be at least 1")),
        [_] => refused(format!("length for type {name} cannot exceed {max}")),
        _ => refused("invalid type modifier".to_owned()),
    };
    match of {
        oid::NUMERIC => match numbers.as_slice() {
            [precision] | [precision, _] if !(1..=1000).contains(precision) => {
                refused(format!("NUMERIC precision {precision} must be between 1 and 1000"))
            }
            [_, scale] => refused(format!("NUMERIC scale {scale} must be between -1000 and 1000")),
            _ => refused("invalid NUMERIC type modifier".to_owned()),
        },
        oid::VARCHAR => length("varchar", 10_485_760),
        oid::BPCHAR => length("char", 10_485_760),
        oid::BIT => length("bit", 83_886_080),
        oid::VARBIT => length("varbit", 83_886_080),
        oid::TIME | oid::TIMETZ | oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::INTERVAL => {
            refused("invalid type modifier".to_owned())
        }
        _ => Err(Error::new(Kind::Syntax, format!("type modifier is not allowed for type \"{name}\""))),
    }
}

/// Domains of information_schema stand for their base types.
fn domain(name: &str) -> Option<Ty> {
    Some(match name {
        "sql_identifier" => Ty::of(oid::NAME),
        "cardinal_number" => Ty::of(oid::INT4),
        "character_data" => Ty::of(oid::VARCHAR),
        "yes_or_no" => Ty { oid: oid::VARCHAR, typmod: 7 },
        "time_stamp" => Ty { oid: oid::TIMESTAMPTZ, typmod: 2 },
        // words of other dialects, where PostgreSQL has none
        "string" => Ty::of(oid::TEXT),
        "tinyint" => Ty::of(oid::INT2),
        "datetime" => Ty::of(oid::TIMESTAMP),
        _ => return None,
    })
}

fn float(bits: u64) -> Result<Ty> {
    let wrong = |text: &str| Err(Error::new(Kind::InvalidParameter, text));
    match bits {
        0 => wrong("precision for type float must be at least 1 bit"),
        1..=24 => Ok(Ty::of(oid::FLOAT4)),
        25..=53 => Ok(Ty::of(oid::FLOAT8)),
        _ => wrong("precision for type float must be less than 54 bits"),
    }
}

pub(super) const INTERVAL_FULL_RANGE: i32 = 0x7fff;
const INTERVAL_FULL_PRECISION: i32 = 0xffff;

/// INTERVAL_MASK of the fields that `DAY TO SECOND` and the like name (datetime.h).
pub(super) fn interval_range(fields: &str) -> i32 {
    const UNITS: [(&str, i32); 6] =
        [("year", 2), ("month", 1), ("day", 3), ("hour", 10), ("minute", 11), ("second", 12)];
    const ORDER: [i32; 6] = [2, 1, 3, 10, 11, 12];
    let lower = fields.to_lowercase();
    let unit = |word: &str| UNITS.iter().find(|(name, _)| *name == word).map(|(_, bit)| *bit);
    let mut words = lower.split(" to ").map(|w| w.split('(').next().unwrap_or(w).trim());
    let Some(first) = words.next().and_then(unit) else { return INTERVAL_FULL_RANGE };
    let Some(last) = words.next().and_then(unit) else { return 1 << first };
    let from = ORDER.iter().position(|u| *u == first).unwrap_or(0);
    let to = ORDER.iter().position(|u| *u == last).unwrap_or(0);
    ORDER[from..=to.max(from)].iter().map(|bit| 1 << bit).sum()
}

/// `intervaltypmodin`.
pub(super) fn interval(range: i32, precision: Option<i32>) -> Result<Ty> {
    let typmod = match (range, precision) {
        (INTERVAL_FULL_RANGE, None) => -1,
        (range, precision) => {
            (range << 16) | precision.unwrap_or(INTERVAL_FULL_PRECISION).min(6.max(precision.unwrap_or(0xffff)))
        }
    };
    Ok(Ty { oid: oid::INTERVAL, typmod })
}

/// `typname`, for a column that is called after its cast.
pub(super) fn internal_name(data_type: &DataType) -> Option<String> {
    let ty = named(data_type).ok()?;
    // an array is called after its element, but for the vectors of the catalogs
    let element = pgtype::element(ty.oid).filter(|_| !matches!(ty.oid, oid::INT2VECTOR | oid::OIDVECTOR));
    let ty = element.map_or(ty, Ty::of);
    ty.row().map(|row| row.name.to_owned())
}
