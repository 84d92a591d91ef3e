//! A function called by its oid, as the protocol's FunctionCall does: the query that it is.

use crate::error::{Error, Kind, Result};
use crate::sql::image::{self, Kind as ProcKind, Schema};

/// The text of the query, and the types of its parameters. 42883 for an oid that is no function's.
pub fn called(oid: u32) -> Result<(String, Vec<u32>)> {
    let missing = || Error::new(Kind::UndefinedFunction, format!("function with OID {oid} does not exist"));
    let proc = image::proc(oid).ok_or_else(missing)?;
    if proc.set || !matches!(proc.kind, ProcKind::Function) {
        return Err(Error::unsupported(format!("a call of {} by its oid", proc.name)));
    }
    let schema = match proc.schema {
        Schema::Catalog => "pg_catalog",
        Schema::Information => "information_schema",
        Schema::Public => "public",
    };
    let arguments: Vec<String> = (1..=proc.arguments.len()).map(|i| format!("${i}")).collect();
    let name = proc.name.replace('"', "\"\"");
    Ok((format!("SELECT {schema}.\"{name}\"({})", arguments.join(", ")), proc.arguments.clone()))
}

#[cfg(test)]
mod tests {
    use super::called;

    #[test]
    fn a_function_is_the_query_that_calls_it() {
        assert_eq!(called(177).unwrap(), ("SELECT pg_catalog.\"int4pl\"($1, $2)".to_owned(), vec![23, 23]));
        let error = called(999_999).unwrap_err();
        assert_eq!((error.kind().sqlstate(), error.message()), ("42883", "function with OID 999999 does not exist"));
        assert_eq!(called(2147).unwrap_err().kind().sqlstate(), "0A000", "an aggregate");
    }
}
