//! Rows of the extended protocol, put down as COPY in binary has them: each value's bytes are the same in both, so that one
//! decoder reads either. For sources that have no such COPY. It decodes nothing.

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Error, Row, RowStream};

use crate::formats::postgres::copy;

/// The messages that COPY would have sent.
pub(super) fn as_copied(rows: RowStream) -> BoxStream<'static, Result<Bytes, Error>> {
    let begin = stream::once(async { Ok(Bytes::from(copy::beginning())) });
    let end = stream::once(async { Ok(Bytes::from_static(&copy::TRAILER)) });
    begin.chain(rows.and_then(|row| async move { tuple(&row) })).chain(end).boxed()
}

pub(super) fn tuple(row: &Row) -> Result<Bytes, Error> {
    let mut tuple = BytesMut::new();
    // a row has at most 1,664 columns
    tuple.put_i16(i16::try_from(row.len()).unwrap_or(i16::MAX));
    for at in 0..row.len() {
        match row.try_get::<_, Value<'_>>(at)?.0 {
            None => tuple.put_i32(-1),
            Some(bytes) => {
                // a message has at most 2³¹ − 1
                tuple.put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
                tuple.put_slice(bytes);
            }
        }
    }
    Ok(tuple.freeze())
}

/// As it came, whatever its type.
struct Value<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Value<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
