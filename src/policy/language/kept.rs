//! A value's type as the language has it, and how a table keeps it: texts as views or in dictionaries, times by the second.

use arrow::datatypes::{DataType, Field};

use crate::pgtype::{self, Ty, oid};
use crate::sql::bind;

/// Types of a source's own have oids from here on; they are texts.
const FIRST_NORMAL_OID: u32 = 16_384;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    pub(super) ty: Ty,
    /// In an expression.
    pub(super) data_type: DataType,
    /// In the table, for what is a column as it is; the same as `data_type` otherwise.
    pub(super) raw: DataType,
}

impl Kept {
    /// A column of a table. What PostgreSQL has no type for can be asked for NULL alone.
    pub(super) fn column(field: &Field) -> Self {
        let raw = field.data_type().clone();
        let ty = match pgtype::of_field(field) {
            Ok(ty) if ty.oid >= FIRST_NORMAL_OID => Ty::TEXT,
            Ok(ty) => ty,
            Err(_) => Ty::of(oid::VOID),
        };
        Self { ty, data_type: bind::canonical(&raw), raw }
    }

    /// Of an expression.
    pub(super) fn of(ty: Ty, data_type: DataType) -> Self {
        Self { ty, raw: data_type.clone(), data_type }
    }

    /// A value of the one is a value of the other as it lies.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.ty.oid == other.ty.oid && self.data_type == other.data_type
    }

    /// text, varchar, bpchar, name and "char": types whose every text is a value.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.ty.oid, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::CHAR | oid::UNKNOWN)
            && self.data_type == DataType::Utf8
    }

    pub(super) fn is_bytes(&self) -> bool {
        self.ty.oid == oid::BYTEA && self.data_type == DataType::Binary
    }

    pub(super) fn is_integer(&self) -> bool {
        matches!(self.ty.oid, oid::INT2 | oid::INT4 | oid::INT8 | oid::OID)
    }

    pub(super) fn is_decimal(&self) -> bool {
        self.ty.oid == oid::NUMERIC && self.lies_as_it_should()
    }

    pub(super) fn is_number(&self) -> bool {
        self.is_decimal()
            || (self.is_integer() || matches!(self.ty.oid, oid::FLOAT4 | oid::FLOAT8)) && self.lies_as_it_should()
    }

    pub(super) fn is_comparable(&self) -> bool {
        let other = matches!(
            self.ty.oid,
            oid::BOOL | oid::DATE | oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::UUID | oid::BYTEA
        );
        self.is_text() || self.is_number() || other && self.lies_as_it_should()
    }

    fn lies_as_it_should(&self) -> bool {
        match self.ty.oid {
            oid::NUMERIC => {
                matches!(self.data_type, DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::Binary)
            }
            other => pgtype::arrow(other).as_ref() == Some(&self.data_type),
        }
    }

    /// The word an administrator knows the type by.
    pub(super) fn word(&self) -> String {
        match (self.ty.oid, &self.data_type) {
            (oid::NUMERIC, DataType::Decimal128(p, s) | DataType::Decimal256(p, s)) => format!("numeric({p},{s})"),
            _ => self.ty.row().map_or_else(|| self.raw.to_string(), |row| row.name.to_owned()),
        }
    }
}
