//! From a startup packet to a user who proved who they are: version negotiation and the SASL messages. It ends before a
//! session is made, and judges passwords only through `auth`.

use std::net::IpAddr;

use bytes::Bytes;
use pgwire::messages::startup::{Authentication, NegotiateProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};

use super::error::Stop;
use super::frame::{Frame, Frames};
use super::output::Output;
use super::startup::Startup;
use crate::error::{Error, Kind, Result};
use crate::wire::auth::{Mechanisms, Throttle, wrong_password};
use crate::wire::slots::host;

/// What a login needs besides the connection.
pub(crate) struct Gate<'a> {
    pub(crate) mechanisms: &'a Mechanisms,
    pub(crate) throttle: &'a Throttle,
    pub(crate) ip: IpAddr,
}

impl Gate<'_> {
    /// Returns the user's name. `verifier` gives the stored text for a name, a mock one for a name nobody has. The
    /// caller holds the timer.
    pub(crate) async fn pass<R, W>(
        &self,
        startup: &Startup,
        frames: &mut Frames<R>,
        output: &mut Output<W>,
        verifier: impl Fn(&str) -> String,
    ) -> Result<String, Stop>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        check(startup)?;
        let user = startup.parameter("user").filter(|user| !user.is_empty());
        let user =
            user.ok_or_else(|| Error::new(Kind::NotAllowedIn, "no PostgreSQL user name specified in startup packet"))?;
        if startup.needs_negotiation() {
            let spoken = (3 << 16) | i32::from(startup.spoken_minor());
            output.put(&NegotiateProtocolVersion::new(spoken, startup.unknown_options.clone()))?;
        }
        output.put(&Authentication::SASL(self.mechanisms.names()))?;
        output.flush().await?;
        let (mechanism, client_first) = read_initial(&self.response(frames).await?)?;

        let attempt = self.throttle.begin(user, host(self.ip)).await;
        let (server_first, exchange) = self.mechanisms.begin(&verifier(user), &mechanism, &client_first)?;
        output.put(&Authentication::SASLContinue(server_first.into()))?;
        output.flush().await?;

        let client_final = self.response(frames).await?;
        match exchange.finish(user, &client_final) {
            Ok(server_final) => {
                attempt.succeeded();
                output.put(&Authentication::SASLFinal(server_final.into()))?;
                output.put(&Authentication::Ok)?;
                Ok(user.to_owned())
            }
            Err(error) => {
                attempt.failed();
                tracing::info!(user, ip = %self.ip, error = %error, "login failed");
                Err(error.into())
            }
        }
    }

    async fn response<R: AsyncRead + Unpin>(&self, frames: &mut Frames<R>) -> Result<Bytes, Stop> {
        match frames.next().await? {
            Some(Frame::Message { kind: b'p', body }) => Ok(body),
            Some(_) => Err(Error::new(Kind::Protocol, "expected SASL response").into()),
            None => Err(Stop::Gone),
        }
    }
}

/// What we cannot be, whoever asks.
fn check(startup: &Startup) -> Result<()> {
    match startup.parameter("replication") {
        None | Some("false" | "off" | "no" | "0") => Ok(()),
        Some(_) => Err(Error::unsupported("replication")),
    }
}

/// Mechanism NUL, length, data. pgwire's own reader panics on a short body.
fn read_initial(body: &[u8]) -> Result<(String, Bytes)> {
    let parse = || {
        let end = body.iter().position(|b| *b == 0)?;
        let mechanism = std::str::from_utf8(body.get(..end)?).ok()?.to_owned();
        let (length, data) = body.get(end + 1..)?.split_first_chunk::<4>()?;
        // Without data (-1) the client would have to be asked for it; nobody sends SCRAM so.
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        (length == data.len()).then(|| (mechanism, Bytes::copy_from_slice(data)))
    };
    parse().ok_or_else(|| Error::new(Kind::Protocol, "malformed SASL message"))
}

/// The engine refused a user whose proof was right: removed meanwhile. The client reads the same sentence.
pub(crate) fn refused(user: &str, error: Error) -> Error {
    wrong_password(user).with_source(error)
}

#[cfg(test)]
mod tests;
