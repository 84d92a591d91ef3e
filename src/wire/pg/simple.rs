//! The simple Query: a text of statements, one implicit transaction, stop at the first error. It ends no cycle itself;
//! the caller sends ReadyForQuery.

use std::time::Duration;

use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};
use tokio::io::AsyncWrite;

use super::copy;
use super::encode::{self, Cursor, or_cancelled};
use super::error::Stop;
use super::extended;
use super::inbox::Inbox;
use super::session::Conversation;
use crate::engine::Answer;
use crate::error::{Error, Kind};

pub(crate) async fn query<W: AsyncWrite + Unpin>(
    conversation: &mut Conversation<W>,
    inbox: &mut Inbox,
    sql: &str,
) -> Result<(), Stop> {
    // As in PostgreSQL, a simple Query takes the unnamed statement and portal away.
    conversation.portals.close("");
    conversation.session.forget("");
    let cancellable = conversation.begin();
    // Parsing and planning hold nothing that has to be wound up: a cancel drops them at once.
    let split = or_cancelled(conversation.session.split(sql), &cancellable.token, Duration::ZERO);
    let statements = split.await??;
    drop(cancellable);
    if statements.is_empty() {
        conversation.output.put(&EmptyQueryResponse::new())?;
        return Ok(());
    }
    let statements_max = conversation.config.statements_per_query_max;
    if statements.len() > statements_max {
        return Err(Error::new(Kind::TooLarge, format!("more than {statements_max} statements in one query")).into());
    }
    for statement in &statements {
        one(conversation, inbox, statement).await?;
        if conversation.output.is_full() {
            conversation.output.flush().await?;
        }
    }
    Ok(())
}

async fn one<W: AsyncWrite + Unpin>(
    conversation: &mut Conversation<W>,
    inbox: &mut Inbox,
    statement: &str,
) -> Result<(), Stop> {
    let cancellable = conversation.begin();
    let (token, grace) = (&cancellable.token, conversation.grace());
    let prepared = extended::prepare(conversation, statement, &[], token).await?;
    if !prepared.parameters.is_empty() {
        return Err(Error::new(Kind::UndefinedParameter, "there is no parameter $1").into());
    }
    let execution = Box::pin(conversation.session.execute(&prepared, Vec::new(), token.clone()));
    let answer = or_cancelled(execution, token, grace).await??;
    conversation.tell()?;
    match answer {
        Answer::Rows(rows) => {
            let formats = encode::own_formats(rows.is_binary());
            let mut cursor = Cursor::new(rows, formats, &conversation.session.style())?;
            let output = &mut conversation.output;
            output.put(&encode::describe(&cursor.schema(), formats)?)?;
            let (sent, _) = cursor.fetch(output, None, token, grace).await?;
            output.put(&CommandComplete::new(cursor.tag(sent)))?;
        }
        Answer::CopyOut { rows, layout } => copy::out(conversation, rows, layout, token).await?,
        Answer::CopyIn(rows) => copy::take_in(conversation, inbox, *rows).await?,
        Answer::Done(tag) => conversation.output.put(&CommandComplete::new(tag))?,
        Answer::Empty => conversation.output.put(&EmptyQueryResponse::new())?,
    }
    Ok(())
}
