//! OAUTHBEARER's token: from a file that whoever renews tokens writes, read again whenever librdkafka asks. It asks no
//! authorisation server; a sidecar or the platform does.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;

/// A token that does not say when it ends is asked for again after this.
const LIFETIME_MS: i64 = 300_000;

#[derive(Clone, Debug)]
pub(super) struct Bearer {
    file: PathBuf,
}

impl Bearer {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file }
    }

    /// For the operator's log, so it may name the file; never what is in it.
    pub(super) fn token(&self) -> Result<OAuthToken, String> {
        let text = std::fs::read_to_string(&self.file).map_err(|e| format!("{}: {e}", self.file.display()))?;
        read(text.trim(), chrono::Utc::now().timestamp_millis())
            .ok_or_else(|| format!("{}: is no token in three parts", self.file.display()))
    }
}

/// A JWT: its second part says whose it is and until when.
fn read(token: &str, now_ms: i64) -> Option<OAuthToken> {
    #[derive(serde::Deserialize)]
    struct Claims {
        sub: Option<String>,
        exp: Option<f64>,
    }
    let claims = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let Claims { sub, exp } = serde_json::from_slice(&claims).ok()?;
    let exp_ms = exp.map(|seconds| seconds * 1_000.0).filter(|ms| *ms > 0.0 && *ms < 1e17);
    let lifetime_ms = exp_ms.map_or(now_ms + LIFETIME_MS, |ms| ms as i64);
    Some(OAuthToken { token: token.to_owned(), principal_name: sub.unwrap_or_default(), lifetime_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_whose_it_is_and_until_when() {
        let token = |claims: &str| format!("e30.{}.", URL_SAFE_NO_PAD.encode(claims));
        let told = read(&token(r#"{"sub":"lakegate","exp":1795224941.5}"#), 0).unwrap();
        assert_eq!((told.principal_name.as_str(), told.lifetime_ms), ("lakegate", 1_795_224_941_500));
        assert_eq!(read(&token("{}"), 7).unwrap().lifetime_ms, 7 + LIFETIME_MS);
        assert!(read("nonsense", 0).is_none() && read("a.b.c", 0).is_none());
    }
}
