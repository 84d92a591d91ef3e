//! The PostgreSQL door against a real engine: the protocol in order, out of order and under fault. Every limit is turned
//! down so that it bites at once, and asked for by SQLSTATE and by the other session, which must not notice.

pub(crate) mod client;
mod copy;
mod limits;
mod locks;
mod peers;
mod protocol;
mod tools;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use lakegate::engine::world::{Builder, Origin};
use lakegate::engine::{self, Current, Engine};
use lakegate::error::{Error, Kind};
use lakegate::policy::scram::{ITERATIONS, scram_verifier};
use lakegate::secret::Secret;
use lakegate::shutdown::Shutdown;
use lakegate::wire::{Config, pg};

use client::Client;

/// Runs until it is cancelled; one row at its end.
const SLEEP: &str = "select sum(n) from generate_series(1, 1000000000000) n";
/// Long enough to be caught while it runs.
const NAP: &str = "select sum(n) from generate_series(1, 6000000) n";
/// More rows than any socket holds.
const ENDLESS: &str = "select * from generate_series(1, 100000000)";
/// Fails after several batches were sent.
const HALF_WAY: &str = "select 1 / (90000 - n) from generate_series(1, 100000) n";

/// A running door.
struct Server {
    address: SocketAddr,
    shutdown: Shutdown,
}

impl Server {
    async fn start(settings: &str) -> Self {
        let shutdown = Shutdown::new();
        let config: Config = toml::from_str(&format!("listen = ['127.0.0.1:0']\n{settings}")).unwrap();
        let engine = engine(&[("ann", "secret"), ("bob", "hunter2")]).await;
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

/// An engine without a single source: constants and `generate_series` are all the door needs.
async fn engine(users: &[(&str, &str)]) -> Arc<Engine> {
    let folder = tempfile::tempdir().unwrap();
    let (catalog_dir, policies_dir) = (folder.path().join("catalog"), folder.path().join("policies"));
    std::fs::create_dir(&catalog_dir).unwrap();
    std::fs::create_dir(&policies_dir).unwrap();
    std::fs::write(policies_dir.join("model.conf"), include_str!("../policies/model.conf")).unwrap();
    std::fs::write(policies_dir.join("policy.csv"), "").unwrap();
    let users = users.iter().map(|(name, password)| {
        let verifier = scram_verifier(password, b"sixteen byte salt", ITERATIONS);
        format!("[user.{name}]\nscram = \"{verifier}\"\n")
    });
    let users_file = policies_dir.join("users.toml");
    std::fs::write(&users_file, users.collect::<String>()).unwrap();
    std::fs::set_permissions(&users_file, PermissionsExt::from_mode(0o600)).unwrap();
    let origin = Origin {
        catalog_dir,
        policies_dir,
        database: "lakegate".into(),
        mask_key: Secret::new(b"a key of this test alone".to_vec()),
        connect: Box::new(|_| Err(Error::new(Kind::Config, "there is no source"))),
        metastore: None,
        remember: false,
        judge: Default::default(),
    };
    let (_builder, world) = Builder::start(origin, None).await.map_err(|faults| format!("{faults:?}")).unwrap();
    let current = Arc::new(Current::new(Arc::new(world)));
    Engine::new(engine::Config::default(), current, Secret::new(b"another key".to_vec())).unwrap()
}
