//! The PostgreSQL door against a real engine: the protocol in order, out of order and under fault. Every limit is turned
//! down so that it bites at once, and asked for by SQLSTATE and by the other session, which must not notice.

mod client;
mod limits;
mod protocol;
mod tools;

use std::net::SocketAddr;
use std::time::Duration;

use lakegate::shutdown::Shutdown;
use lakegate::wire::{Config, pg};

use client::Client;

/// Runs until it is cancelled.
const SLEEP: &str = "select pg_sleep(600)";
/// Long enough to be caught while it runs.
const NAP: &str = "select pg_sleep(1)";
/// More rows than any socket holds.
const ENDLESS: &str = "select * from generate_series(1, 100000000)";
/// Fails after several batches were sent.
const HALF_WAY: &str = "select 1 / (90000 - value) from generate_series(1, 100000)";

/// A running door.
struct Server {
    address: SocketAddr,
    shutdown: Shutdown,
}

impl Server {
    async fn start(settings: &str) -> Self {
        let shutdown = Shutdown::new();
        let config: Config = toml::from_str(&format!("listen = ['127.0.0.1:0']\n{settings}")).unwrap();
        let engine = super::engine::with_users(&[("ann", "secret"), ("bob", "hunter2")]).await;
        let door = pg::Door::bind(&config, engine, &shutdown).await.unwrap();
        let address = door.local_addr().unwrap();
        shutdown.spawn("door", door.run());
        Self { address, shutdown }
    }

    async fn ann(&self) -> Client {
        Client::log_in(self.address, "ann", "secret").await.unwrap()
    }

    /// Drains; `true` when every connection ended in time.
    async fn stop(&self) -> bool {
        self.shutdown.finish(Duration::from_secs(20)).await
    }
}
