//! Who may read what names sources and tables: this machine, the listed networks, and whoever holds the token. Health is
//! everybody's and does not come here.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use axum::extract::{Extension, Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::Peer;
use crate::secret::Secret;

/// `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| format!("`{text}` is not a network such as 10.0.0.0/8"))
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Access {
    pub(super) networks: Vec<Network>,
    pub(super) token: Option<Secret<Vec<u8>>>,
}

/// Headers by which a proxy says that it asks for somebody else: its own address proves nothing then.
const PASSED_ON: [&str; 3] = ["x-forwarded-for", "x-real-ip", "forwarded"];

impl Access {
    fn admits(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let is_itself = PASSED_ON.iter().all(|name| !headers.contains_key(*name));
        (self.is_near(peer) && is_itself) || self.is_token(headers)
    }

    /// Whether a password may be said: where nobody between the two reads it, or nobody stands there. A proxy that ends TLS
    /// is in a listed network.
    pub(super) fn trusts(&self, is_secret: bool, peer: IpAddr) -> bool {
        is_secret || self.is_near(peer)
    }

    /// This machine, or a listed network.
    fn is_near(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        peer.is_loopback() || self.networks.iter().any(|network| network.0.contains(&peer))
    }

    fn is_token(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().split_at_checked("Bearer ".len()));
        match (given, &self.token) {
            (Some((scheme, given)), Some(token)) => {
                scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(given.trim_ascii().ct_eq(token.reveal()))
            }
            _ => false,
        }
    }
}

/// 401 for whoever may not, before anything is rendered.
pub(super) async fn admit(
    State(access): State<Access>,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if access.admits(peer, request.headers()) {
        return next.run(request).await;
    }
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let networks = ["10.1.0.0/16", "fd00::/8", "192.0.2.7"].map(|text| text.parse().unwrap()).to_vec();
        Access { networks, token: Some(Secret::new(b"0123456789abcdef".to_vec())) }
    }

    fn admits(access: &Access, peer: &str, headers: &[(&'static str, &str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        access.admits(peer.parse().unwrap(), &headers)
    }

    #[test]
    fn this_machine_and_the_listed_networks_are_near() {
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.1.2.3", "::ffff:10.1.2.3", "fd12::1"] {
            assert!(admits(&access(), peer, &[]), "{peer}");
        }
        assert!(admits(&access(), "192.0.2.7", &[]));
        for peer in ["10.2.0.1", "192.0.2.8", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(!admits(&access(), peer, &[]), "{peer}");
        }
        assert!(!admits(&Access::default(), "10.1.2.3", &[]), "nothing is listed by default");
    }

    #[test]
    fn passwords_come_over_tls_or_from_near() {
        let trusts = |is_secret, peer: &str| access().trusts(is_secret, peer.parse().unwrap());
        assert!(trusts(true, "8.8.8.8") && trusts(false, "127.0.0.1") && trusts(false, "10.1.2.3"));
        assert!(!trusts(false, "8.8.8.8") && !trusts(false, "10.2.0.1"));
    }

    #[test]
    fn a_proxy_does_not_lend_its_address() {
        for name in ["x-forwarded-for", "X-Real-IP", "forwarded"] {
            let name = name.to_ascii_lowercase().leak();
            assert!(!admits(&access(), "127.0.0.1", &[(name, "8.8.8.8")]), "{name}");
            let token = ("authorization", "Bearer 0123456789abcdef");
            assert!(admits(&access(), "127.0.0.1", &[(name, "8.8.8.8"), token]), "{name}");
        }
    }

    #[test]
    fn the_token_opens_from_anywhere_and_nothing_near_it_does() {
        let with = |value: &str| admits(&access(), "8.8.8.8", &[("authorization", value)]);
        assert!(with("Bearer 0123456789abcdef") && with("bearer  0123456789abcdef "));
        for value in
            ["", "Bearer", "Bearer ", "Bearer 0123456789abcde", "Bearer 0123456789abcdef0", "Basic 0123456789abcdef"]
        {
            assert!(!with(value), "{value}");
        }
        let without = Access { token: None, ..access() };
        assert!(!admits(&without, "8.8.8.8", &[("authorization", "Bearer ")]), "no token is no empty token");
    }
}
