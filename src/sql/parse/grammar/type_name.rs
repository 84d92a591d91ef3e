//! Types: Typename and ConstTypename of gram.y, as sqlparser's variants where it has them.

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, DateTimeField, ExactNumberInfo, Expr, Ident, IntervalFields,
    TimezoneInfo, UnaryOperator, Value,
};

use super::{Lexeme, Naming, Parser, object_name};
use crate::error::{Error, Kind, Result};

/// As PostgreSQL's MAXDIM.
const ARRAY_DIMENSIONS_MAX: usize = 6;

/// `DAY TO SECOND(3)`.
#[derive(Default)]
pub(super) struct IntervalParts {
    pub(super) first: Option<DateTimeField>,
    pub(super) first_precision: Option<u64>,
    pub(super) last: Option<DateTimeField>,
    pub(super) last_precision: Option<u64>,
}

impl Parser<'_> {
    /// Typename.
    pub(super) fn type_name(&mut self) -> Result<DataType> {
        if self.is("setof") {
            return Err(Error::unsupported("SETOF").at(self.place(self.at)));
        }
        let simple = self.simple_type()?;
        if self.eat("array") {
            let length = match self.eat_symbol('[') {
                true => {
                    let length = self.integer()?;
                    self.expect_symbol(']')?;
                    Some(length)
                }
                false => None,
            };
            return Ok(array(simple, length));
        }
        let (mut made, mut dimensions) = (simple, 0usize);
        while self.eat_symbol('[') {
            let length = if self.is_symbol(']') { None } else { Some(self.integer()?) };
            self.expect_symbol(']')?;
            dimensions += 1;
            if dimensions > ARRAY_DIMENSIONS_MAX {
                let text = format!("number of array dimensions exceeds the maximum allowed ({ARRAY_DIMENSIONS_MAX})");
                return Err(Error::new(Kind::TooLarge, text));
            }
            made = array(made, length);
        }
        Ok(made)
    }

    /// Whether a constant of the type that the keyword here names follows: `int '1'`, `numeric(5, 2) '1'`.
    pub(super) fn type_constant_follows(&self, word: &str) -> bool {
        let text = |n: usize| matches!(self.lexeme(n), Some(Lexeme::Text(_)));
        let modifier = self.symbol_ahead(1) == Some('(');
        match word {
            "int" | "integer" | "smallint" | "bigint" | "real" | "boolean" => text(1),
            "float" | "decimal" | "dec" | "numeric" => text(1) || modifier,
            "double" => self.word(1) == Some("precision"),
            "bit" | "character" | "char" | "varchar" | "nchar" => {
                text(1) || modifier || self.word(1) == Some("varying")
            }
            "national" => matches!(self.word(1), Some("character" | "char")),
            "time" | "timestamp" => {
                let zone = self.word(1) == Some("with") && self.word(2) == Some("time");
                text(1) || modifier || zone || self.word(1) == Some("without")
            }
            _ => false,
        }
    }

    /// ConstTypename. A character type without a length cuts nothing.
    pub(super) fn constant_type(&mut self) -> Result<DataType> {
        let made = self.simple_type()?;
        Ok(match made {
            DataType::Char(None) | DataType::Character(None) => generic(vec![Ident::new("bpchar")], vec![]),
            DataType::Bit(None) => generic(vec![Ident::with_quote('"', "bit")], vec![]),
            other => other,
        })
    }

    fn simple_type(&mut self) -> Result<DataType> {
        let start = self.at;
        let word = self.word(0);
        if !matches!(self.lexeme(0), Some(Lexeme::Word(_))) || word.is_none() {
            return self.generic_type();
        }
        let number = |modifiers: ExactNumberInfo| match word {
            Some("numeric") => DataType::Numeric(modifiers),
            Some("dec") => DataType::Dec(modifiers),
            _ => DataType::Decimal(modifiers),
        };
        match word.unwrap_or_default() {
            "int" => self.bare(DataType::Int(None)),
            "integer" => self.bare(DataType::Integer(None)),
            "smallint" => self.bare(DataType::SmallInt(None)),
            "bigint" => self.bare(DataType::BigInt(None)),
            "real" => self.bare(DataType::Real),
            "boolean" => self.bare(DataType::Boolean),
            "double" if self.word(1) == Some("precision") => {
                self.advance();
                self.bare(DataType::DoublePrecision)
            }
            "float" => {
                self.advance();
                let bits = self.length()?;
                Ok(DataType::Float(bits.map_or(ExactNumberInfo::None, ExactNumberInfo::Precision)))
            }
            "decimal" | "dec" | "numeric" => {
                self.advance();
                let modifiers = self.modifiers()?;
                let digits: Vec<Option<i64>> = modifiers.iter().map(whole).collect();
                let whole = |digits: i64| u64::try_from(digits).ok();
                match digits.as_slice() {
                    [] => Ok(number(ExactNumberInfo::None)),
                    [Some(precision)] if *precision >= 0 => {
                        Ok(number(ExactNumberInfo::Precision(whole(*precision).unwrap_or(0))))
                    }
                    [Some(precision), Some(scale)] if *precision >= 0 => {
                        let precision = whole(*precision).unwrap_or(0);
                        Ok(number(ExactNumberInfo::PrecisionAndScale(precision, *scale)))
                    }
                    _ => self.modified(vec![Ident::new("numeric")], modifiers, start),
                }
            }
            "bit" => {
                self.advance();
                let varying = self.eat("varying");
                let modifiers = self.modifiers()?;
                let length: Option<u64> = match modifiers.as_slice() {
                    [] => None,
                    [one] => whole(one).and_then(|length| u64::try_from(length).ok()),
                    _ => None,
                };
                match (length, modifiers.is_empty(), varying) {
                    (Some(_), ..) | (_, true, _) => {
                        Ok(if varying { DataType::BitVarying(length) } else { DataType::Bit(length) })
                    }
                    (_, _, true) => self.modified(vec![Ident::new("varbit")], modifiers, start),
                    (_, _, false) => self.modified(vec![Ident::with_quote('"', "bit")], modifiers, start),
                }
            }
            "character" | "char" | "nchar" | "national" | "varchar" => self.character(),
            "time" | "timestamp" => {
                self.advance();
                let precision = self.length()?;
                let zone = self.time_zone();
                match word {
                    Some("time") => Ok(DataType::Time(precision, zone?)),
                    _ => Ok(DataType::Timestamp(precision, zone?)),
                }
            }
            "interval" => {
                self.advance();
                if let Some(precision) = self.length()? {
                    return Ok(DataType::Interval { fields: None, precision: Some(precision) });
                }
                let parts = self.interval_fields()?;
                let precision = parts.last_precision.or(parts.first_precision);
                Ok(DataType::Interval { fields: fields(&parts), precision })
            }
            _ => self.generic_type(),
        }
    }

    fn bare(&mut self, data_type: DataType) -> Result<DataType> {
        self.advance();
        Ok(data_type)
    }

    fn character(&mut self) -> Result<DataType> {
        let national = self.eat("national");
        let varchar = match self.word(0) {
            Some("varchar") if !national => true,
            Some("nchar") if !national => false,
            Some("character" | "char") => false,
            _ => return Err(self.unexpected()),
        };
        let character = self.is("character");
        self.advance();
        let varying = varchar || self.eat("varying");
        let length = self.length()?.map(|length| CharacterLength::IntegerLength { length, unit: None });
        Ok(match (varying, varchar, character) {
            (true, true, _) => DataType::Varchar(length),
            (true, false, true) => DataType::CharacterVarying(length),
            (true, false, false) => DataType::CharVarying(length),
            (false, _, true) => DataType::Character(length),
            (false, _, false) => DataType::Char(length),
        })
    }

    /// `(n)`, if it stands here.
    fn length(&mut self) -> Result<Option<u64>> {
        if !self.eat_symbol('(') {
            return Ok(None);
        }
        let length = self.integer()?;
        self.expect_symbol(')')?;
        Ok(Some(length))
    }

    /// opt_type_modifiers.
    fn modifiers(&mut self) -> Result<Vec<Expr>> {
        if !self.eat_symbol('(') {
            return Ok(vec![]);
        }
        let list = self.expr_list()?;
        self.expect_symbol(')')?;
        Ok(list)
    }

    fn time_zone(&mut self) -> Result<TimezoneInfo> {
        let zone = match self.word(0) {
            // another WITH belongs to what follows
            Some("with") if self.word(1) == Some("time") => TimezoneInfo::WithTimeZone,
            Some("without") => TimezoneInfo::WithoutTimeZone,
            _ => return Ok(TimezoneInfo::None),
        };
        self.advance();
        self.expect_words(&["time", "zone"])?;
        Ok(zone)
    }

    /// opt_interval.
    pub(super) fn interval_fields(&mut self) -> Result<IntervalParts> {
        let mut parts = IntervalParts::default();
        let later: &[&str] = match self.word(0) {
            Some("year") => &["month"],
            Some("day") => &["hour", "minute", "second"],
            Some("hour") => &["minute", "second"],
            Some("minute") => &["second"],
            Some("month" | "second") => &[],
            _ => return Ok(parts),
        };
        parts.first = self.interval_field();
        if matches!(parts.first, Some(DateTimeField::Second)) {
            parts.first_precision = self.length()?;
        }
        if !later.is_empty() && self.eat("to") {
            if !self.word(0).is_some_and(|word| later.contains(&word)) {
                return Err(self.unexpected());
            }
            parts.last = self.interval_field();
            if matches!(parts.last, Some(DateTimeField::Second)) {
                parts.last_precision = self.length()?;
            }
        }
        Ok(parts)
    }

    fn interval_field(&mut self) -> Option<DateTimeField> {
        let field = match self.word(0)? {
            "year" => DateTimeField::Year,
            "month" => DateTimeField::Month,
            "day" => DateTimeField::Day,
            "hour" => DateTimeField::Hour,
            "minute" => DateTimeField::Minute,
            _ => DateTimeField::Second,
        };
        self.advance();
        Some(field)
    }

    fn generic_type(&mut self) -> Result<DataType> {
        let start = self.at;
        let first = self.name(Naming::Function)?;
        let path = self.attributes(first)?;
        let modifiers = self.modifiers()?;
        self.modified(path, modifiers, start)
    }

    fn modified(&self, path: Vec<Ident>, modifiers: Vec<Expr>, start: usize) -> Result<DataType> {
        if modifiers.iter().any(|modifier| written(modifier).is_none()) {
            let text = "type modifiers must be simple constants or identifiers";
            return Err(self.refused(Kind::Syntax, text, start));
        }
        Ok(generic(path, modifiers))
    }
}

fn array(of: DataType, length: Option<u64>) -> DataType {
    DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(of), length))
}

fn fields(parts: &IntervalParts) -> Option<IntervalFields> {
    use DateTimeField::{Day, Hour, Minute, Month, Second, Year};
    Some(match (parts.first.as_ref()?, parts.last.as_ref()) {
        (Year, None) => IntervalFields::Year,
        (Month, None) => IntervalFields::Month,
        (Day, None) => IntervalFields::Day,
        (Hour, None) => IntervalFields::Hour,
        (Minute, None) => IntervalFields::Minute,
        (Second, None) => IntervalFields::Second,
        (Year, Some(_)) => IntervalFields::YearToMonth,
        (Day, Some(Hour)) => IntervalFields::DayToHour,
        (Day, Some(Minute)) => IntervalFields::DayToMinute,
        (Day, Some(_)) => IntervalFields::DayToSecond,
        (Hour, Some(Minute)) => IntervalFields::HourToMinute,
        (Hour, Some(_)) => IntervalFields::HourToSecond,
        (Minute, Some(_)) => IntervalFields::MinuteToSecond,
        _ => return None,
    })
}

/// A whole number that a modifier is.
fn whole(modifier: &Expr) -> Option<i64> {
    written(modifier)?.parse().ok()
}

/// A modifier as it is written: a constant or a name.
fn written(modifier: &Expr) -> Option<String> {
    match modifier {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => Some(digits.clone()),
            other => other.clone().into_string(),
        },
        Expr::Identifier(ident) => Some(ident.value.clone()),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => Some(format!("-{digits}")),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// A type by its name.
pub(super) fn generic(path: Vec<Ident>, modifiers: Vec<Expr>) -> DataType {
    let known = match path.as_slice() {
        [only] if only.quote_style.is_none() => known(&only.value.to_ascii_lowercase(), &modifiers),
        _ => None,
    };
    known.unwrap_or_else(|| {
        let modifiers = modifiers.iter().filter_map(written).collect();
        DataType::Custom(object_name(path), modifiers)
    })
}

/// sqlparser's variants of names that the grammar knows nothing of.
fn known(name: &str, modifiers: &[Expr]) -> Option<DataType> {
    let precision = match modifiers {
        [] => None,
        [one] => Some(whole(one).and_then(|digits| u64::try_from(digits).ok())?),
        _ => return None,
    };
    let made = match name {
        "timestamptz" => DataType::Timestamp(precision, TimezoneInfo::Tz),
        "timetz" => DataType::Time(precision, TimezoneInfo::Tz),
        "varbit" => DataType::VarBit(precision),
        _ if precision.is_some() => return None,
        "int2" => DataType::Int2(None),
        "int4" => DataType::Int4(None),
        "int8" => DataType::Int8(None),
        "float4" => DataType::Float4,
        "float8" => DataType::Float8,
        "bool" => DataType::Bool,
        "text" => DataType::Text,
        "bytea" => DataType::Bytea,
        "date" => DataType::Date,
        "uuid" => DataType::Uuid,
        "json" => DataType::JSON,
        "jsonb" => DataType::JSONB,
        "regclass" => DataType::Regclass,
        // words of Spark, Trino and MySQL, which the binder knows
        "double" => DataType::Double(ExactNumberInfo::None),
        "string" => DataType::String(None),
        "tinyint" => DataType::TinyInt(None),
        "datetime" => DataType::Datetime(None),
        _ => return None,
    };
    Some(made)
}

/// The name in pg_type of a type that the grammar names otherwise.
pub(super) fn internal(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "int4",
        DataType::SmallInt(_) | DataType::Int2(_) => "int2",
        DataType::BigInt(_) | DataType::Int8(_) => "int8",
        DataType::Real | DataType::Float4 => "float4",
        DataType::Float(_) | DataType::DoublePrecision | DataType::Float8 => "float8",
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric",
        DataType::Boolean | DataType::Bool => "bool",
        DataType::Char(_) | DataType::Character(_) => "bpchar",
        DataType::Varchar(_) | DataType::CharVarying(_) | DataType::CharacterVarying(_) => "varchar",
        DataType::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => "time",
        DataType::Time(..) => "timetz",
        DataType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => "timestamp",
        DataType::Timestamp(..) => "timestamptz",
        DataType::Interval { .. } => "interval",
        DataType::Bit(_) => "bit",
        DataType::BitVarying(_) | DataType::VarBit(_) => "varbit",
        DataType::Text => "text",
        DataType::Bytea => "bytea",
        DataType::Date => "date",
        DataType::Uuid => "uuid",
        DataType::JSON => "json",
        DataType::JSONB => "jsonb",
        _ => "",
    }
}
