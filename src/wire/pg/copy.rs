//! COPY on the wire, both ways: rows leave as CopyData, or come as it until the client says that they are all. What they
//! mean is the engine's.

use pgwire::messages::copy::{CopyDone, CopyInResponse, CopyOutResponse};
use pgwire::messages::response::CommandComplete;
use tokio::io::AsyncWrite;
use tokio_util::sync::CancellationToken;

use super::encode::Cursor;
use super::error::{Severity, Stop};
use super::frame::Frame;
use super::inbox::Inbox;
use super::session::Conversation;
use crate::engine::{CopyIn, Rows};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::copy::Layout;

/// COPY TO, to its CommandComplete.
pub(crate) async fn out<W: AsyncWrite + Unpin>(
    conversation: &mut Conversation<W>,
    rows: Rows,
    layout: Layout,
    token: &CancellationToken,
) -> Result<(), Stop> {
    let (format, codes) = formats(rows.schema().fields().len(), layout.is_binary())?;
    let mut cursor = Cursor::copy(rows, layout, &conversation.session.style())?;
    let grace = conversation.grace();
    let output = &mut conversation.output;
    output.put(&CopyOutResponse::new(format, code_count(&codes)?, codes))?;
    let (sent, _) = cursor.fetch(output, None, token, grace).await?;
    cursor.finish(output)?;
    output.put(&CopyDone::new())?;
    Ok(output.put(&CommandComplete::new(cursor.tag(sent)))?)
}

/// COPY FROM, to its CommandComplete. After an error what the client still sends of its rows is ignored, by the protocol's
/// own rules.
pub(crate) async fn take_in<W: AsyncWrite + Unpin>(
    conversation: &mut Conversation<W>,
    inbox: &mut Inbox,
    mut copy: CopyIn,
) -> Result<(), Stop> {
    let (columns, is_binary) = copy.format();
    let (format, codes) = formats(columns, is_binary)?;
    conversation.output.put(&CopyInResponse::new(format, code_count(&codes)?, codes))?;
    conversation.output.flush().await?;
    loop {
        let (kind, body) = match copy.wait(inbox.next()).await? {
            None => return Err(Stop::Gone),
            Some(Err(error)) => return Err(Stop::Lost(copy.fail(error))),
            Some(Ok(Frame::Message { kind, body })) => (kind, body),
            Some(Ok(Frame::Oversized { kind: b'd' })) => {
                let text = format!("message is larger than {} bytes", conversation.config.message_bytes_max);
                return Err(copy.fail(Error::new(Kind::TooLarge, text)).into());
            }
            Some(Ok(Frame::Oversized { kind })) => return Err(out_of_step(conversation, &mut copy, kind)),
        };
        match kind {
            b'd' => copy.push(&body).await?,
            b'c' => {
                let tag = copy.finish().await?;
                return Ok(conversation.output.put(&CommandComplete::new(tag))?);
            }
            b'f' => {
                let why = body.strip_suffix(b"\0").unwrap_or(&body);
                let text = format!("COPY from stdin failed: {}", String::from_utf8_lossy(why));
                return Err(copy.fail(Error::new(Kind::Cancelled, text)).into());
            }
            // what a client sent behind the Execute, not knowing that rows are wanted
            b'H' | b'S' => {}
            kind => return Err(out_of_step(conversation, &mut copy, kind)),
        }
    }
}

/// Nobody knows what a client means that sends something else in the middle of its rows.
fn out_of_step<W: AsyncWrite + Unpin>(conversation: &mut Conversation<W>, copy: &mut CopyIn, kind: u8) -> Stop {
    let text = format!("unexpected message type 0x{kind:02X} during COPY from stdin");
    let error = copy.fail(Error::new(Kind::Protocol, text));
    let lost = "terminating connection because protocol synchronization was lost";
    match conversation.output.put_error(&error, Severity::Error) {
        Ok(()) => Stop::Lost(Error::new(Kind::Protocol, lost)),
        Err(gone) => gone.into(),
    }
}

/// Overall, and for each column.
fn formats(columns: usize, is_binary: bool) -> Result<(i8, Vec<i16>)> {
    Ok((i8::from(is_binary), vec![i16::from(is_binary); columns]))
}

fn code_count(codes: &[i16]) -> Result<i16> {
    i16::try_from(codes.len()).map_err(|_| Error::new(Kind::TooManyColumns, "more columns than the protocol can count"))
}
