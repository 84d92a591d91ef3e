//! SIGTERM and Ctrl-C, one as good as the other: the first asks to drain, the second not to wait. They are heard on a
//! thread with a runtime of its own, so that no query, however it holds the other threads, can make anybody deaf; and
//! where the process has not ended soon after the second one, that thread ends it. What drains is the server's affair.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};

/// After the second signal an orderly end may take this long, and the process's own exit as long again.
const ORDERLY_MAX: Duration = Duration::from_millis(400);

pub struct Signals {
    heard: [CancellationToken; 2],
    /// How many [`Signals::next`] has returned for.
    told: usize,
}

impl Signals {
    pub fn listen() -> Result<Self> {
        let heard = [CancellationToken::new(), CancellationToken::new()];
        let [first, second] = heard.clone();
        hear(move |nth| match nth {
            0 => first.cancel(),
            _ => {
                second.cancel();
                std::thread::sleep(ORDERLY_MAX);
                end()
            }
        })
        .map_err(|e| Error::internal("signals cannot be heard").with_source(e))?;
        Ok(Self { heard, told: 0 })
    }

    /// At once where the signal came before. There is no third one: the process ends with the second.
    pub async fn next(&mut self) {
        match self.heard.get(self.told) {
            Some(heard) => heard.cancelled().await,
            None => std::future::pending().await,
        }
        self.told += 1;
    }
}

/// Calls `each` with 0, 1, … as signals come. The thread ends with the process.
fn hear(mut each: impl FnMut(usize) + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut terminate, mut interrupt) = {
        let _here = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let listening = async move {
        for nth in 0.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            each(nth);
        }
    };
    std::thread::Builder::new().name("signals".to_string()).spawn(move || runtime.block_on(listening))?;
    Ok(())
}

/// Without a word: standard error may be what everybody waits for.
fn end() -> ! {
    // Where libraries' own farewells do not come to an end either.
    let aborting = std::thread::Builder::new().name("abort".to_string());
    let _ = aborting.spawn(|| {
        std::thread::sleep(ORDERLY_MAX);
        std::process::abort()
    });
    std::process::exit(1)
}
