//! One logged-in connection: frames in, answers out, until either side ends it. It keeps the protocol's state (errors
//! until Sync, portals, timers); statements are the engine's.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use metrics::counter;
use pgwire::messages::response::{NotificationResponse, ReadyForQuery, TransactionStatus as WireStatus};
use pgwire::messages::startup::ParameterStatus;
use tokio::io::AsyncWrite;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cancel::{Cancellable, Running};
use super::error::{Gone, Severity, Stop, notice, panicked};
use super::frame::Frame;
use super::inbox::Inbox;
use super::message::Frontend;
use super::output::Output;
use super::portal::{Limits, Portal, Portals};
use super::{extended, function, simple};
use crate::engine::{KeptLimits, Notification, Session, TransactionStatus};
use crate::error::{Error, Kind, Result};
use crate::telemetry::metrics::{MESSAGES_OVERSIZED, PANICS, SESSIONS_ENDED};
use crate::wire::{Config, limit_ms};

/// The tokens a session lives under.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    /// Nothing new is begun: an idle session ends.
    pub(crate) drain: CancellationToken,
    /// Patience is over, or another session ended this one: running statements end too.
    pub(crate) stop: CancellationToken,
    /// The client has gone. A child of `stop`; every statement's token is a child of it.
    pub(crate) gone: CancellationToken,
}

pub(crate) struct Conversation<W> {
    pub(crate) session: Session,
    pub(crate) output: Output<W>,
    pub(crate) config: Arc<Config>,
    pub(crate) portals: Portals<Portal>,
    running: Arc<Running>,
    tokens: Tokens,
    /// An extended message failed: everything up to Sync is ignored.
    skipping: bool,
    /// Extended messages since the last Sync.
    unsynced: bool,
}

/// What the next step is.
enum Next {
    Frame(Frame),
    End {
        error: Error,
        reason: &'static str,
    },
    /// The client has gone, or asked to.
    Over,
    /// A timer of ours, nothing to say.
    Again,
}

impl<W: AsyncWrite + Unpin> Conversation<W> {
    pub(crate) fn new(
        mut session: Session,
        output: Output<W>,
        config: Arc<Config>,
        running: Arc<Running>,
        tokens: Tokens,
    ) -> Self {
        session.limit_kept(KeptLimits {
            prepared_max: config.prepared_max,
            bytes_max: config.prepared_bytes_max,
            cursors_max: config.portals_max,
        });
        let portals = Portals::new(Limits {
            portals_max: config.portals_max,
            portal_idle: limit_ms(config.portal_idle_timeout_ms),
        });
        Self { session, output, config, portals, running, tokens, skipping: false, unsynced: false }
    }

    /// Greets with ReadyForQuery (the login's messages are in `output` already) and answers until the end.
    pub(crate) async fn run(mut self, mut inbox: Inbox) {
        let outcome = match self.ready().await {
            Ok(()) => self.converse(&mut inbox).await,
            Err(Gone) => Err(Gone),
        };
        if outcome.is_ok() {
            self.output.close().await;
        }
    }

    async fn converse(&mut self, inbox: &mut Inbox) -> std::result::Result<(), Gone> {
        loop {
            match self.next(inbox).await {
                Next::Again => {}
                Next::Over => return Ok(()),
                Next::End { error, reason } => {
                    counter!(SESSIONS_ENDED, "reason" => reason).increment(1);
                    return self.output.put_error(&error, Severity::Fatal);
                }
                Next::Frame(Frame::Oversized { kind }) => self.oversized(kind).await?,
                Next::Frame(Frame::Message { kind, body }) => {
                    let message = Frontend::read(kind, &body);
                    // Large bodies end here, not with the answer.
                    drop(body);
                    if matches!(message, Ok(Frontend::Terminate)) {
                        return Ok(());
                    }
                    self.answer_guarded(inbox, kind, message).await?;
                }
            }
        }
    }

    async fn next(&mut self, inbox: &mut Inbox) -> Next {
        let idle = self.session.status() == TransactionStatus::Idle && !self.unsynced;
        let deadline = self.deadline(idle);
        let expiry = self.portals.next_expiry();
        let bell = self.session.bell();
        let at = |instant: Option<Instant>| async move {
            match instant {
                Some(instant) => tokio::time::sleep_until(instant).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.tokens.stop.cancelled() => shutting_down(),
            () = self.tokens.drain.cancelled(), if idle => shutting_down(),
            frame = inbox.next() => match frame {
                None => Next::Over,
                Some(Ok(frame)) => Next::Frame(frame),
                Some(Err(error)) => Next::End { error, reason: "protocol" },
            },
            () = bell, if idle => match self.pass_on().await {
                Ok(()) => Next::Again,
                Err(Gone) => Next::Over,
            },
            () = at(deadline) => idle_too_long(idle),
            () = at(expiry) => {
                self.portals.expire(Instant::now());
                Next::Again
            }
        }
    }

    fn deadline(&self, idle: bool) -> Option<Instant> {
        let ours = if idle { self.config.idle_timeout_ms } else { self.config.idle_in_transaction_timeout_ms };
        let ms = match (ours, self.session.idle_timeout_ms(!idle)) {
            (ours, 0) => ours,
            (0, theirs) => theirs,
            (ours, theirs) => ours.min(theirs),
        };
        limit_ms(ms).map(|wait| Instant::now() + wait)
    }

    /// A panic ends the statement, not the session and nobody else's: everything it touched is owned by this future,
    /// half-written messages are taken back, an open transaction is failed.
    async fn answer_guarded(
        &mut self,
        inbox: &mut Inbox,
        kind: u8,
        message: Result<Frontend>,
    ) -> std::result::Result<(), Gone> {
        // Boxed: statements need large futures, waiting for the next one should not.
        match AssertUnwindSafe(Box::pin(self.answer(inbox, kind, message))).catch_unwind().await {
            Ok(outcome) => outcome,
            Err(panic) => {
                counter!(PANICS).increment(1);
                self.failed(kind, panicked(panic.as_ref()).into()).await
            }
        }
    }

    async fn answer(
        &mut self,
        inbox: &mut Inbox,
        kind: u8,
        message: Result<Frontend>,
    ) -> std::result::Result<(), Gone> {
        if self.skipping && kind != b'S' {
            return Ok(());
        }
        let answered = match message {
            Err(error) => Err(error.into()),
            Ok(message) => self.dispatch(inbox, message).await,
        };
        match answered {
            // Without a Sync nothing asks us to write; without this a client that never sends one fills our memory.
            Ok(()) if self.output.is_full() => self.output.flush().await,
            Ok(()) => Ok(()),
            Err(stop) => self.failed(kind, stop).await,
        }
    }

    async fn dispatch(&mut self, inbox: &mut Inbox, message: Frontend) -> std::result::Result<(), Stop> {
        // A simple Query or a Sync ends a cycle by itself; the others leave it open.
        match message {
            Frontend::Query { .. } | Frontend::Sync | Frontend::FunctionCall(_) => self.unsynced = false,
            // left over from a copy that failed: it opens nothing
            Frontend::Copy => {}
            _ => self.unsynced = true,
        }
        match message {
            Frontend::Query { sql } => {
                simple::query(self, inbox, &sql).await?;
                Ok(self.ready().await?)
            }
            Frontend::Parse { name, sql, oids } => extended::parse(self, &name, &sql, &oids).await,
            Frontend::Bind(bind) => extended::bind(self, bind),
            Frontend::Describe(target) => extended::describe(self, &target),
            Frontend::Execute { portal, max_rows } => extended::execute(self, inbox, portal, max_rows).await,
            Frontend::Close(target) => extended::close(self, &target),
            Frontend::Flush => Ok(self.output.flush().await?),
            Frontend::Sync => {
                self.skipping = false;
                Ok(self.ready().await?)
            }
            Frontend::FunctionCall(call) => {
                function::call(self, call).await?;
                Ok(self.ready().await?)
            }
            // as PostgreSQL: leftovers of a copy that failed are no error
            Frontend::Copy | Frontend::Terminate => Ok(()),
        }
    }

    /// Refused on its header; the body is being thrown away by the reader.
    async fn oversized(&mut self, kind: u8) -> std::result::Result<(), Gone> {
        counter!(MESSAGES_OVERSIZED).increment(1);
        let text = format!("message is larger than {} bytes", self.config.message_bytes_max);
        match kind {
            b'd' => Ok(()),
            _ if self.skipping => Ok(()),
            kind => self.failed(kind, Error::new(Kind::TooLarge, text).into()).await,
        }
    }

    /// Tells the client, and either ends the cycle (simple) or ignores the rest of it (extended).
    async fn failed(&mut self, kind: u8, stop: Stop) -> std::result::Result<(), Gone> {
        let error = match stop {
            Stop::Gone => return Err(Gone),
            Stop::Failed(_) if self.tokens.gone.is_cancelled() && !self.tokens.stop.is_cancelled() => return Err(Gone),
            Stop::Lost(error) => {
                self.output.put_error(&error, Severity::Fatal)?;
                self.output.flush().await?;
                return Err(Gone);
            }
            Stop::Failed(error) => error,
        };
        self.session.fail();
        self.tell()?;
        if self.tokens.stop.is_cancelled() && error.kind() == Kind::Cancelled {
            // The loop says 57P01 and closes.
            return Ok(());
        }
        self.output.put_error(&error, Severity::Error)?;
        if matches!(kind, b'Q' | b'F' | b'S') {
            self.ready().await
        } else {
            self.skipping = true;
            self.unsynced = true;
            self.output.flush().await
        }
    }

    /// The end of a cycle: changed parameters are reported, the client may go on.
    pub(crate) async fn ready(&mut self) -> std::result::Result<(), Gone> {
        self.unsynced = false;
        let finished = self.session.finish().await;
        self.tell()?;
        if let Err(error) = finished {
            self.output.put_error(&error, Severity::Error)?;
        }
        let status = match self.session.status() {
            TransactionStatus::Idle => {
                // No portal outlives its transaction.
                self.portals.close_all();
                WireStatus::Idle
            }
            TransactionStatus::Active => WireStatus::Transaction,
            TransactionStatus::Failed => WireStatus::Error,
        };
        for (name, value) in self.session.reported() {
            self.output.put(&ParameterStatus::new(name, value)).map_err(|_| Gone)?;
        }
        self.put_notifications()?;
        self.output.put(&ReadyForQuery::new(status)).map_err(|_| Gone)?;
        self.output.flush().await?;
        self.output.rest();
        Ok(())
    }

    /// What other sessions said on the channels that this one listens on.
    fn put_notifications(&mut self) -> std::result::Result<(), Gone> {
        for Notification { pid, channel, payload } in self.session.rest() {
            self.output.put(&NotificationResponse::new(pid, channel, payload)).map_err(|_| Gone)?;
        }
        Ok(())
    }

    async fn pass_on(&mut self) -> std::result::Result<(), Gone> {
        self.put_notifications()?;
        self.output.flush().await
    }

    /// Says what statements had to say, and lets go of the portals that they ended.
    pub(crate) fn tell(&mut self) -> std::result::Result<(), Gone> {
        for undone in self.session.undone() {
            self.portals.undo(undone);
        }
        for said in self.session.notices() {
            self.output.put(&notice(&said)).map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// A token for a statement, pulled by a cancel request, by the client's end and by ours.
    pub(crate) fn begin(&self) -> Cancellable {
        self.running.begin(self.tokens.gone.child_token())
    }

    /// The same for a statement begun earlier.
    pub(crate) fn resume(&self, token: CancellationToken) -> Cancellable {
        self.running.begin(token)
    }

    pub(crate) fn grace(&self) -> Duration {
        Duration::from_millis(self.config.cancel_grace_ms)
    }
}

fn shutting_down() -> Next {
    let error = Error::new(Kind::ShuttingDown, "terminating connection due to administrator command");
    Next::End { error, reason: "shutdown" }
}

fn idle_too_long(idle: bool) -> Next {
    let (kind, what, reason) = match idle {
        true => (Kind::IdleTimeout, "idle-session timeout", "idle"),
        false => (Kind::IdleInTransaction, "idle-in-transaction timeout", "idle_in_transaction"),
    };
    Next::End { error: Error::new(kind, format!("terminating connection due to {what}")), reason }
}
