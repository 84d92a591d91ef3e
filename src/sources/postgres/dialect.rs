//! What the databases that speak PostgreSQL's protocol have of PostgreSQL: one table of facts. Nothing else asks which one a
//! source is. Facts are the vendors' word where no such database was at hand; what is not certain is left to be done here.

use serde::Deserialize;

/// `dialect` in a source's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    #[default]
    Postgres,
    Timescale,
    Cockroachdb,
    Redshift,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// `COPY (query) TO STDOUT (FORMAT binary)`. Without it rows come as the extended protocol has them.
    pub(super) copies: bool,
    /// Its functions are PostgreSQL's own, by their oids: whole parts of plans are printed for it.
    pub(super) computes: bool,
    /// Catalogs as PostgreSQL has them: collations, keys, indexes, comments, functions.
    pub(super) has_whole_catalogs: bool,
    /// Types, by oid, whose comparisons mean there what they mean here for every value.
    pub(super) compares: &'static [u32],
    /// Text may be ordered there, where its collation is that of bytes.
    pub(super) orders_text: bool,
    /// It knows rows by `ctid` and `xmin`, and its statements change them.
    pub(super) changes: bool,
    /// What a session is told besides the settings that all have.
    pub(super) settings: &'static str,
}

const BOOL: u32 = 16;
const BYTEA: u32 = 17;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const VARCHAR: u32 = 1043;
const DATE: u32 = 1082;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const UUID: u32 = 2950;

const POSTGRES: Facts = Facts {
    copies: true,
    computes: true,
    has_whole_catalogs: true,
    compares: &[BOOL, BYTEA, INT8, INT2, INT4, TEXT, FLOAT4, FLOAT8, VARCHAR, DATE, TIMESTAMP, TIMESTAMPTZ, UUID],
    orders_text: true,
    changes: true,
    settings: "SET lc_monetary = 'C'; SET array_nulls = on",
};

/// An extension: hypertables are tables, and what it adds is no function of PostgreSQL's own, so that it stays here.
const TIMESCALE: Facts = POSTGRES;

/// COPY TO knows text and CSV alone (cockroachdb/cockroach#97180). NaN stands before all other numbers there, and infinite
/// times are finite; functions have other oids; collations are part of a type.
const COCKROACHDB: Facts = Facts {
    copies: false,
    computes: false,
    has_whole_catalogs: false,
    compares: &[BOOL, BYTEA, INT8, INT2, INT4, TEXT, VARCHAR, UUID],
    orders_text: false,
    changes: false,
    settings: "SET application_name = 'lakegate'",
};

impl Dialect {
    /// Why there is no reading of it, where there is none.
    pub(super) fn facts(self) -> Result<&'static Facts, &'static str> {
        match self {
            Self::Postgres => Ok(&POSTGRES),
            Self::Timescale => Ok(&TIMESCALE),
            Self::Cockroachdb => Ok(&COCKROACHDB),
            Self::Redshift => {
                Err("`dialect = \"redshift\"` cannot be read yet: it has no COPY TO STDOUT, and its catalogs and \
                                   its binary forms are those of PostgreSQL 8.0, which are not known here")
            }
        }
    }
}
