//! Credentials: the server's side of one SCRAM exchange. With the throttle beside it, this is how somebody outside
//! becomes a user's name; the engine alone makes a principal of it.
//!
//! Unknown users walk the same path: the engine gives a mock verifier that no password fits. pgwire does the
//! cryptography; what it says about a failure never reaches the client.

pub(super) mod basic;
mod throttle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth, ScramServerAuthWaitingForClientFinal};
use pgwire::error::PgWireError;

use crate::error::{Error, Kind, Result};

pub(crate) use throttle::Throttle;

pub(crate) const SCRAM: &str = "SCRAM-SHA-256";
pub(crate) const SCRAM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// What a connection may authenticate with.
#[derive(Clone, Debug)]
pub(crate) struct Mechanisms {
    scram: ScramServerAuth,
}

impl Mechanisms {
    pub(crate) fn plain() -> Self {
        Self { scram: ScramServerAuth::new() }
    }

    /// With channel binding to the first certificate of `chain_pem`; where its signature algorithm has no hash that
    /// RFC 5929 names (Ed25519), without.
    pub(crate) fn bound_to(chain_pem: &[u8]) -> Self {
        let mut scram = ScramServerAuth::new();
        if let Err(error) = scram.configure_certificate(chain_pem) {
            tracing::warn!(error = %error, "no channel binding with this certificate");
        }
        Self { scram }
    }

    /// The strongest first, as PostgreSQL lists them.
    pub(crate) fn names(&self) -> Vec<String> {
        let plus = self.scram.supports_channel_binding().then_some(SCRAM_PLUS);
        plus.into_iter().chain([SCRAM]).map(str::to_owned).collect()
    }

    /// The client's first message against `verifier` (the text PostgreSQL stores). Returns what to answer.
    pub(crate) fn begin(&self, verifier: &str, mechanism: &str, client_first: &[u8]) -> Result<(String, Exchange)> {
        let binds = client_first.starts_with(b"p=");
        let offered = mechanism == SCRAM || (mechanism == SCRAM_PLUS && self.scram.supports_channel_binding());
        if !offered {
            return Err(protocol("client selected an invalid SASL authentication mechanism"));
        }
        if binds != (mechanism == SCRAM_PLUS) {
            return Err(protocol("malformed SCRAM message"));
        }
        let secret = parse_verifier(verifier)?;
        let (server_first, waiting) = self
            .scram
            .on_client_first_message_with_secret(client_first, secret)
            .map_err(|e| protocol("malformed SCRAM message").with_source(e))?;
        Ok((server_first, Exchange { waiting }))
    }
}

/// Between the server's first message and the client's proof.
#[derive(Debug)]
pub(crate) struct Exchange {
    waiting: ScramServerAuthWaitingForClientFinal,
}

impl Exchange {
    /// The server's last message, which proves to the client that we know the verifier too.
    pub(crate) fn finish(self, user: &str, client_final: &[u8]) -> Result<String> {
        self.waiting.on_client_final_message(client_final).map_err(|error| match error {
            PgWireError::InvalidPassword(_) => wrong_password(user),
            other => protocol("malformed SCRAM message").with_source(other),
        })
    }
}

/// One sentence for a wrong password and for a user that does not exist.
pub(crate) fn wrong_password(user: &str) -> Error {
    Error::new(Kind::WrongPassword, format!("password authentication failed for user \"{user}\""))
}

fn protocol(text: &str) -> Error {
    Error::new(Kind::Protocol, text)
}

/// `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`.
fn parse_verifier(text: &str) -> Result<ScramSecret> {
    let parse = || {
        let (iterations, rest) = text.strip_prefix("SCRAM-SHA-256$")?.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (stored, server) = keys.split_once(':')?;
        let [salt, stored_key, server_key] = [salt, stored, server].map(|part| STANDARD.decode(part).ok());
        let iterations = iterations.parse().ok()?;
        Some(ScramSecret::Verifier { salt: salt?, iterations, stored_key: stored_key?, server_key: server_key? })
    };
    // The text is a secret: the error does not repeat it.
    parse().ok_or_else(|| Error::internal("a SCRAM verifier does not have PostgreSQL's form"))
}

#[cfg(test)]
pub(crate) mod tests;
