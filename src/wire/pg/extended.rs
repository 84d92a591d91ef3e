//! The extended protocol: Parse, Bind, Describe, Execute, Close. Each puts its answer into the buffer; Sync and Flush
//! send it. Errors go up: the conversation ignores the rest of the cycle.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Schema;
use datafusion::common::ScalarValue;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};
use tokio::io::AsyncWrite;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::copy;
use super::encode::{self, Cursor, Fetched, or_cancelled};
use super::error::Stop;
use super::inbox::Inbox;
use super::message::{Bind, Target};
use super::portal::{Entry, Portal, State};
use super::session::Conversation;
use crate::engine::{Answer, Prepared};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::{Format, pg_type};

pub(crate) async fn parse<W: AsyncWrite + Unpin>(
    conversation: &mut Conversation<W>,
    name: &str,
    sql: &str,
    oids: &[u32],
) -> Result<(), Stop> {
    let cancellable = conversation.begin();
    let prepared = prepare(conversation, sql, oids, &cancellable.token).await?;
    conversation.session.keep(name, prepared)?;
    Ok(conversation.output.put(&ParseComplete::new())?)
}

/// A statement as the session reads it, with the portal that it names among the session's cursors.
pub(crate) async fn prepare<W: AsyncWrite + Unpin>(
    conversation: &mut Conversation<W>,
    sql: &str,
    oids: &[u32],
    token: &CancellationToken,
) -> Result<Arc<Prepared>, Stop> {
    let prepared = or_cancelled(conversation.session.prepare(sql, oids), token, Duration::ZERO).await??;
    match hand_over(conversation, &prepared)? {
        // it has that one's columns now
        true => Ok(or_cancelled(conversation.session.prepare(sql, oids), token, Duration::ZERO).await??),
        false => Ok(prepared),
    }
}

/// A portal that SQL names becomes a cursor of the session's. `false`: it names none of ours.
fn hand_over<W>(conversation: &mut Conversation<W>, prepared: &Prepared) -> Result<bool> {
    let Some(name) = prepared.names_cursor().filter(|name| conversation.portals.has(name)) else { return Ok(false) };
    // what cannot become one stays what it is
    if conversation.portals.get(name)?.prepared.columns.is_none() {
        return Ok(false);
    }
    conversation.session.may_adopt(name)?;
    let Entry { mut portal, level, .. } = conversation.portals.take(name)?;
    let formats = std::mem::take(&mut portal.formats);
    match portal.into_adopted() {
        Some(portal) => conversation.session.adopt(name, portal, formats, level).map(|()| true),
        None => Ok(false),
    }
}

pub(crate) fn bind<W: AsyncWrite + Unpin>(conversation: &mut Conversation<W>, bind: Bind) -> Result<(), Stop> {
    if bind.portal.is_empty() {
        // Replaced: what it held makes room for the new one.
        conversation.portals.close("");
    }
    if conversation.session.has_cursor(&bind.portal) {
        return Err(Error::new(Kind::DuplicateCursor, format!("cursor \"{}\" already exists", bind.portal)).into());
    }
    let prepared = conversation.session.kept(&bind.statement)?;
    let (wanted, given) = (prepared.parameters.len(), bind.parameters.len());
    if wanted != given {
        let text = format!(
            "bind message supplies {given} parameters, but prepared statement \"{}\" requires {wanted}",
            bind.statement
        );
        return Err(Error::new(Kind::Protocol, text).into());
    }
    let formats = parameter_formats(&bind.parameter_formats, given)?;
    let results = encode::read_formats(&bind.result_formats)?;
    if let Some(columns) = &prepared.columns {
        encode::per_column(&results, columns.fields().len())?;
    }
    let values = prepared.parameters.iter().zip(&formats).zip(&bind.parameters).enumerate();
    let style = conversation.session.style();
    let values = values.map(|(i, ((oid, format), bytes))| {
        let value = conversation.session.parameter(*oid, *format, bytes.as_deref(), &style);
        value.map_err(|error| in_parameter(error, &bind.portal, i + 1, *format))
    });
    let values = values.collect::<Result<Vec<_>>>()?;
    // As they lie in memory: a value of one byte takes more than that.
    let bytes = bind.portal.len() + values.iter().map(ScalarValue::size).sum::<usize>();
    let held = conversation.session.hold(bytes)?;
    let portal = Portal { state: State::Bound(values), prepared, formats: results };
    let level = conversation.session.depth();
    conversation.portals.bind(bind.portal, Entry { portal, held, level, idle_since: None })?;
    Ok(conversation.output.put(&BindComplete::new())?)
}

/// `bind_param_error_callback`. Values are not shown: `log_parameter_max_length_on_error` is 0.
fn in_parameter(error: Error, portal: &str, number: usize, format: Format) -> Error {
    let error = match error.kind() {
        Kind::InvalidBinary => error.map_message(|text| match text {
            "incorrect binary data format" => format!("{text} in bind parameter {number}"),
            other => other.to_owned(),
        }),
        _ => error,
    };
    let portal = if portal.is_empty() { "unnamed portal".to_owned() } else { format!("portal \"{portal}\"") };
    // a text that is none has not come to the type's input function
    let is_read = format == Format::Text && error.kind() != Kind::InvalidEncoding;
    error.in_context(format!("{portal} parameter ${number}{}", if is_read { " = '...'" } else { "" }))
}

fn parameter_formats(codes: &[i16], parameters: usize) -> Result<Vec<Format>> {
    match encode::read_formats(codes)?.as_slice() {
        [] => Ok(vec![Format::Text; parameters]),
        [all] => Ok(vec![*all; parameters]),
        each if each.len() == parameters => Ok(each.to_vec()),
        each => {
            let text = format!("bind message has {} parameter formats but {parameters} parameters", each.len());
            Err(Error::new(Kind::Protocol, text))
        }
    }
}

pub(crate) fn describe<W: AsyncWrite + Unpin>(conversation: &mut Conversation<W>, target: &Target) -> Result<(), Stop> {
    let (prepared, formats) = match target {
        Target::Statement(name) => {
            let prepared = conversation.session.kept(name)?;
            conversation.output.put(&ParameterDescription::new(prepared.parameters.clone()))?;
            (prepared, Vec::new())
        }
        Target::Portal(name) if conversation.session.has_cursor(name) => {
            let (columns, formats) = conversation.session.cursor_columns(name)?;
            return Ok(conversation.output.put(&encode::describe(&columns, &formats)?)?);
        }
        Target::Portal(name) => {
            let portal = conversation.portals.get(name)?;
            (portal.prepared.clone(), portal.formats.clone())
        }
    };
    match &prepared.columns {
        Some(columns) => conversation.output.put(&encode::describe(columns, &formats)?)?,
        None => conversation.output.put(&NoData::new())?,
    }
    Ok(())
}

pub(crate) fn close<W: AsyncWrite + Unpin>(conversation: &mut Conversation<W>, target: &Target) -> Result<(), Stop> {
    match target {
        Target::Statement(name) => conversation.session.forget(name),
        Target::Portal(name) => {
            conversation.portals.close(name);
            conversation.session.close_cursor(name);
        }
    }
    Ok(conversation.output.put(&CloseComplete::new())?)
}

pub(crate) async fn execute<W: AsyncWrite + Unpin>(
    conversation: &mut Conversation<W>,
    inbox: &mut Inbox,
    name: String,
    max_rows: i32,
) -> Result<(), Stop> {
    let rows_max = usize::try_from(max_rows).ok().filter(|max| *max > 0);
    if conversation.session.has_cursor(&name) {
        return fetch_cursor(conversation, &name, rows_max).await;
    }
    // Out of the map while it runs: a portal that failed is gone, as in PostgreSQL.
    let Entry { portal, held, level, .. } = conversation.portals.take(&name)?;
    let portal = run(conversation, inbox, &name, portal, rows_max).await?;
    let idle_since = matches!(portal.state, State::Suspended { .. }).then(Instant::now);
    conversation.portals.put_back(name, Entry { portal, held, level, idle_since });
    Ok(())
}

/// The next rows of a cursor that SQL opened, or took over.
async fn fetch_cursor<W: AsyncWrite + Unpin>(
    conversation: &mut Conversation<W>,
    name: &str,
    rows_max: Option<usize>,
) -> Result<(), Stop> {
    let (_, formats) = conversation.session.cursor_columns(name)?;
    let cancellable = conversation.begin();
    let (token, grace) = (&cancellable.token, conversation.grace());
    let fetch = Box::pin(conversation.session.fetch_cursor(name, rows_max, token.clone()));
    let rows = or_cancelled(fetch, token, grace).await??;
    conversation.tell()?;
    let mut cursor = Cursor::new(rows, &formats, &conversation.session.style())?;
    let (sent, _) = cursor.fetch(&mut conversation.output, None, token, grace).await?;
    match rows_max == Some(sent) {
        true => conversation.output.put(&PortalSuspended::new())?,
        false => conversation.output.put(&CommandComplete::new(cursor.tag(sent)))?,
    }
    Ok(())
}

/// Runs or continues the portal; returns it as it is afterwards.
async fn run<W: AsyncWrite + Unpin>(
    conversation: &mut Conversation<W>,
    inbox: &mut Inbox,
    name: &str,
    mut portal: Portal,
    rows_max: Option<usize>,
) -> Result<Portal, Stop> {
    let ended = |tag| State::Ended { tag };
    portal.state = match portal.state {
        State::Ended { tag: None } => {
            let text = format!("portal \"{name}\" cannot be run");
            return Err(Error::new(Kind::NotInState, text).into());
        }
        State::Ended { tag: Some(tag) } => {
            conversation.output.put(&CommandComplete::new(tag.clone()))?;
            ended(Some(tag))
        }
        State::Suspended { mut cursor, token } => {
            conversation.session.recheck(cursor.rows())?;
            fetch(conversation, cursor, token, rows_max).await?
        }
        State::Bound(parameters) => {
            let cancellable = conversation.begin();
            let token = cancellable.token.clone();
            let grace = conversation.grace();
            hand_over(conversation, &portal.prepared)?;
            let execution = Box::pin(conversation.session.execute(&portal.prepared, parameters, token.clone()));
            let answer = or_cancelled(execution, &token, grace).await??;
            conversation.tell()?;
            match answer {
                Answer::Rows(rows) => {
                    same_types(&portal.prepared, &rows.schema())?;
                    let cursor = Cursor::new(rows, &portal.formats, &conversation.session.style())?;
                    drop(cancellable);
                    fetch(conversation, Box::new(cursor), token, rows_max).await?
                }
                Answer::CopyOut { rows, layout } => {
                    copy::out(conversation, rows, layout, &token).await?;
                    ended(None)
                }
                Answer::CopyIn(rows) => {
                    copy::take_in(conversation, inbox, *rows).await?;
                    ended(None)
                }
                Answer::Done(tag) => {
                    conversation.output.put(&CommandComplete::new(tag))?;
                    ended(None)
                }
                Answer::Empty => {
                    conversation.output.put(&EmptyQueryResponse::new())?;
                    ended(None)
                }
            }
        }
    };
    Ok(portal)
}

async fn fetch<W: AsyncWrite + Unpin>(
    conversation: &mut Conversation<W>,
    mut cursor: Box<Cursor>,
    token: CancellationToken,
    rows_max: Option<usize>,
) -> Result<State, Stop> {
    conversation.session.runs(token.clone());
    let cancellable = conversation.resume(token);
    let grace = conversation.grace();
    let (sent, fetched) = cursor.fetch(&mut conversation.output, rows_max, &cancellable.token, grace).await?;
    match fetched {
        Fetched::Suspended => {
            conversation.output.put(&PortalSuspended::new())?;
            Ok(State::Suspended { cursor, token: cancellable.token.clone() })
        }
        Fetched::Ended => {
            conversation.output.put(&CommandComplete::new(cursor.tag(sent)))?;
            Ok(State::Ended { tag: Some(cursor.tag(0)) })
        }
    }
}

/// The client was told the columns' types at Describe and reads binary values by them: they must not have changed.
fn same_types(prepared: &Prepared, now: &Schema) -> Result<()> {
    let types = |schema: &Schema| schema.fields().iter().map(|f| Ok(pg_type(f)?.oid)).collect();
    let Some(told) = &prepared.columns else { return Ok(()) };
    let (told, now): (Result<Vec<_>>, Result<Vec<_>>) = (types(told), types(now));
    if told? == now? {
        return Ok(());
    }
    Err(Error::new(Kind::CachedPlanChanged, "cached plan must not change result type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_counts_are_none_one_or_all() {
        let binary = [Format::Binary; 3].to_vec();
        assert_eq!(parameter_formats(&[], 2).unwrap(), vec![Format::Text; 2]);
        assert_eq!(parameter_formats(&[1], 3).unwrap(), binary);
        assert_eq!(parameter_formats(&[1, 0], 2).unwrap(), vec![Format::Binary, Format::Text]);
        assert_eq!(parameter_formats(&[1, 1], 3).unwrap_err().kind(), Kind::Protocol);
        assert_eq!(parameter_formats(&[2], 1).unwrap_err().kind(), Kind::InvalidParameter);
        assert_eq!(encode::per_column(&[Format::Binary], 3).unwrap(), binary);
        assert_eq!(encode::per_column(&[Format::Binary; 2], 3).unwrap_err().kind(), Kind::Protocol);
    }
}
