//! FunctionCall: a function by its oid, without a statement. It is asked as the query that it is, under the same rights.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use datafusion::common::ScalarValue;
use tokio::io::AsyncWrite;

use super::encode::{or_cancelled, read_formats};
use super::error::Stop;
use super::message::FunctionCall;
use super::session::Conversation;
use crate::engine::{Answer, called};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::{Format, RowEncoder};

/// Up to ReadyForQuery, which is the caller's.
pub(crate) async fn call<W: AsyncWrite + Unpin>(
    conversation: &mut Conversation<W>,
    call: FunctionCall,
) -> Result<(), Stop> {
    let cancellable = conversation.begin();
    let (token, grace) = (&cancellable.token, conversation.grace());
    let (sql, oids) = called(call.oid)?;
    let (given, wanted) = (call.arguments.len(), oids.len());
    if given != wanted {
        let text = format!("function call message contains {given} arguments but function requires {wanted}");
        return Err(Error::new(Kind::Protocol, text).into());
    }
    let formats = match read_formats(&call.formats)?.as_slice() {
        [] => vec![Format::Text; given],
        [all] => vec![*all; given],
        each if each.len() == given => each.to_vec(),
        each => {
            let text = format!("function call message contains {} argument formats but {given} arguments", each.len());
            return Err(Error::new(Kind::Protocol, text).into());
        }
    };
    let result = read_formats(&[call.result_format])?;
    let style = conversation.session.style();
    let session = &mut conversation.session;
    let values = oids.iter().zip(&formats).zip(&call.arguments);
    let values = values.map(|((oid, format), bytes)| session.parameter(*oid, *format, bytes.as_deref(), &style));
    let values = values.collect::<Result<Vec<ScalarValue>>>()?;
    let prepared = or_cancelled(session.prepare(&sql, &oids), token, Duration::ZERO).await??;
    let execution = Box::pin(session.execute(&prepared, values, token.clone()));
    let Answer::Rows(mut rows) = or_cancelled(execution, token, grace).await?? else {
        return Err(Error::internal("a function gave no rows").into());
    };
    let batch = match or_cancelled(rows.next(), token, grace).await? {
        Some(batch) => batch?,
        None => return Err(Error::internal("a function gave no row").into()),
    };
    // its record ends with its rows
    while let Some(more) = or_cancelled(rows.next(), token, grace).await? {
        more?;
    }
    let mut row = BytesMut::new();
    RowEncoder::new(rows.schema(), &result, &conversation.session.style())?.encode(&batch, 0, 1, &mut row)?;
    // behind letter, length and count of a DataRow lies what the answer is: a length and a value
    let value = row.get(7..).ok_or_else(|| Error::internal("a row without a value"))?.to_vec();
    Ok(conversation.output.append(|out| {
        let too_long = |_| Error::new(Kind::TooLarge, "a value is longer than a message can be");
        out.put_u8(b'V');
        out.put_i32(i32::try_from(value.len() + 4).map_err(too_long)?);
        out.extend_from_slice(&value);
        Ok(())
    })?)
}
