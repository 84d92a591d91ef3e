//! The small HTTP door for orchestrators and Prometheus: `/healthz`, `/readyz`, `/metrics`. It holds no data and asks
//! nothing of the engine; what it says comes from closures that `server` hands in.

mod health;
mod metrics;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::shutdown::Shutdown;
use crate::wire::listen;

/// What the door is asked about.
#[derive(Clone)]
pub struct Answers {
    /// What is not ready, in words for an operator; empty when everything is.
    pub unready: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// What fails while the rest works, a source that does not answer for one: said, and no reason to send clients
    /// elsewhere.
    pub degraded: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// The text of Prometheus's exposition format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Bound and not yet running.
pub struct Door {
    listener: TcpListener,
    answers: Answers,
    token: CancellationToken,
}

impl Door {
    pub async fn bind(address: SocketAddr, answers: Answers, shutdown: &Shutdown) -> Result<Self> {
        Ok(Self { listener: listen::bind(address).await?, answers, token: shutdown.token().clone() })
    }

    pub fn local_addr(&self) -> Result<SocketAddr> {
        listen::local_addr(&self.listener)
    }

    /// Serves until the shutdown's token ends; requests under way are answered.
    pub async fn run(self) {
        let ended = self.token.cancelled_owned();
        let served = axum::serve(self.listener, router(self.answers)).with_graceful_shutdown(ended).await;
        if let Err(error) = served {
            tracing::error!(error = %error, "http door");
        }
    }
}

fn router(answers: Answers) -> Router {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::render))
        .with_state(answers)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split_whitespace().nth(1).unwrap().to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn says_what_is_not_ready_until_it_is() {
        let unready = Arc::new(Mutex::new(vec!["source \"crm\"".to_owned()]));
        let asked = Arc::clone(&unready);
        let answers = Answers {
            unready: Arc::new(move || asked.lock().unwrap().clone()),
            degraded: Arc::new(|| vec!["source \"events\"".to_owned()]),
            metrics: Arc::new(|| "lakegate_connections 3\n".into()),
        };
        let shutdown = Shutdown::new();
        let door = Door::bind("127.0.0.1:0".parse().unwrap(), answers, &shutdown).await.unwrap();
        let address = door.local_addr().unwrap();
        let served = tokio::spawn(door.run());

        let expect = |code: &str, body: &str| (code.to_owned(), body.to_owned());
        assert_eq!(ask(address, "/healthz").await, expect("200", "ok\n"));
        assert_eq!(
            ask(address, "/readyz").await,
            expect("503", r#"{"degraded":["source \"events\""],"ready":false,"waiting_for":["source \"crm\""]}"#)
        );
        unready.lock().unwrap().clear();
        assert_eq!(
            ask(address, "/readyz").await,
            expect("200", r#"{"degraded":["source \"events\""],"ready":true,"waiting_for":[]}"#)
        );
        assert_eq!(ask(address, "/metrics").await, expect("200", "lakegate_connections 3\n"));
        assert_eq!(ask(address, "/").await.0, "404");

        assert!(shutdown.finish(std::time::Duration::from_secs(5)).await);
        served.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }
}
