//! A session's portals and the names of its prepared statements: what the client has asked us to keep, and how much.
//! It runs nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::ScalarValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::encode::Cursor;
use crate::engine::Prepared;
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::Format;

/// A statement with its parameters bound, perhaps half fetched.
pub(crate) struct Portal {
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) formats: Vec<Format>,
    pub(crate) state: State,
}

pub(crate) enum State {
    Bound(Vec<ScalarValue>),
    /// The token is the one its statement was started with, so that a later fetch can be cancelled too.
    Suspended {
        cursor: Box<Cursor>,
        token: CancellationToken,
    },
    /// Through; fetching again gives no rows. `None`: a statement without rows, which cannot be run again.
    Ended {
        tag: Option<String>,
    },
}

/// A portal and what is counted of it.
#[derive(Debug)]
pub(crate) struct Entry<P> {
    pub(crate) portal: P,
    /// Bytes of its parameters.
    pub(crate) bytes: usize,
    /// When its last fetch left it suspended.
    pub(crate) idle_since: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) portals_max: usize,
    pub(crate) prepared_max: usize,
    /// Of statements' texts and portals' parameters together.
    pub(crate) bytes_max: usize,
    pub(crate) portal_idle: Option<Duration>,
}

/// By name; "" is the unnamed one.
pub(crate) struct Kept<P> {
    limits: Limits,
    portals: HashMap<String, Entry<P>>,
    /// Statements kept in the engine's session by a Parse of ours, with the bytes of their text.
    statements: HashMap<String, usize>,
}

impl<P> Kept<P> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, portals: HashMap::new(), statements: HashMap::new() }
    }

    /// 42P03 for a name in use, 54000 above the limits. The unnamed portal is replaced.
    pub(crate) fn bind(&mut self, name: String, entry: Entry<P>) -> Result<()> {
        if name.is_empty() {
            self.portals.remove("");
        } else if self.portals.contains_key(&name) {
            return Err(Error::new(Kind::DuplicateCursor, format!("cursor \"{name}\" already exists")));
        }
        if self.portals.len() >= self.limits.portals_max {
            return Err(Error::new(Kind::TooLarge, format!("more than {} portals are open", self.limits.portals_max)));
        }
        self.check_bytes(entry.bytes)?;
        self.portals.insert(name, entry);
        Ok(())
    }

    /// 34000 where there is none.
    pub(crate) fn portal(&self, name: &str) -> Result<&P> {
        self.portals.get(name).map(|entry| &entry.portal).ok_or_else(|| no_portal(name))
    }

    /// Takes it out while it runs, to be put back by [`Kept::put_back`].
    pub(crate) fn take(&mut self, name: &str) -> Result<Entry<P>> {
        self.portals.remove(name).ok_or_else(|| no_portal(name))
    }

    pub(crate) fn put_back(&mut self, name: String, entry: Entry<P>) {
        self.portals.insert(name, entry);
    }

    pub(crate) fn close_portal(&mut self, name: &str) {
        self.portals.remove(name);
    }

    pub(crate) fn close_portals(&mut self) {
        self.portals.clear();
    }

    /// When the first suspended portal will have been left alone for too long.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let idle = self.limits.portal_idle?;
        self.portals.values().filter_map(|entry| entry.idle_since).min().map(|since| since + idle)
    }

    /// Releases those; the next fetch answers 34000.
    pub(crate) fn expire(&mut self, now: Instant) {
        let Some(idle) = self.limits.portal_idle else { return };
        self.portals.retain(|_, entry| entry.idle_since.is_none_or(|since| since + idle > now));
    }

    /// Room for a statement of this text: 54000 above the limits. `is_kept` tells names that SQL has forgotten
    /// meanwhile (DEALLOCATE, DISCARD ALL).
    pub(crate) fn admit_statement(&mut self, name: &str, bytes: usize, is_kept: impl Fn(&str) -> bool) -> Result<()> {
        if self.statements.len() >= self.limits.prepared_max || self.bytes() + bytes > self.limits.bytes_max {
            self.statements.retain(|name, _| is_kept(name));
        }
        if name.is_empty() {
            self.statements.remove(name);
        }
        if self.statements.len() >= self.limits.prepared_max {
            let text = format!("more than {} prepared statements are kept", self.limits.prepared_max);
            return Err(Error::new(Kind::TooLarge, text).with_hint("Close statements that are no longer needed."));
        }
        self.check_bytes(bytes)
    }

    pub(crate) fn keep_statement(&mut self, name: String, bytes: usize) {
        self.statements.insert(name, bytes);
    }

    pub(crate) fn forget_statement(&mut self, name: &str) {
        self.statements.remove(name);
    }

    fn bytes(&self) -> usize {
        self.statements.values().sum::<usize>() + self.portals.values().map(|p| p.bytes).sum::<usize>()
    }

    fn check_bytes(&self, more: usize) -> Result<()> {
        if self.bytes() + more <= self.limits.bytes_max {
            return Ok(());
        }
        let text = format!("prepared statements and portals hold more than {} bytes", self.limits.bytes_max);
        Err(Error::new(Kind::TooLarge, text))
    }
}

fn no_portal(name: &str) -> Error {
    Error::new(Kind::UndefinedCursor, format!("portal \"{name}\" does not exist"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept<()> {
        let portal_idle = Some(Duration::from_secs(10));
        Kept::new(Limits { portals_max: 2, prepared_max: 2, bytes_max: 100, portal_idle })
    }

    fn portal(bytes: usize) -> Entry<()> {
        Entry { portal: (), bytes, idle_since: None }
    }

    fn code(outcome: Result<()>) -> &'static str {
        outcome.map_or_else(|e| e.kind().sqlstate(), |()| "ok")
    }

    #[test]
    fn portals_are_limited_in_number_and_bytes() {
        let mut kept = kept();
        assert_eq!(code(kept.bind("a".into(), portal(10))), "ok");
        assert_eq!(code(kept.bind("a".into(), portal(10))), "42P03");
        assert_eq!(code(kept.bind(String::new(), portal(90))), "ok");
        assert_eq!(code(kept.bind(String::new(), portal(91))), "54000", "bytes");
        assert_eq!(code(kept.bind("b".into(), portal(0))), "ok", "the unnamed one was replaced by nothing");
        assert_eq!(code(kept.bind("c".into(), portal(0))), "54000", "number");
        assert_eq!(kept.portal("x").err().map(|e| e.kind().sqlstate()), Some("34000"));
        kept.close_portals();
        assert_eq!(code(kept.bind("c".into(), portal(0))), "ok");
    }

    #[test]
    fn suspended_portals_that_nobody_fetches_are_released() {
        let (mut kept, now) = (kept(), Instant::now());
        kept.bind("bound".into(), portal(0)).unwrap();
        kept.put_back("suspended".into(), Entry { idle_since: Some(now), ..portal(0) });
        let expiry = kept.next_expiry().unwrap();
        assert_eq!(expiry, now + Duration::from_secs(10));
        kept.expire(now + Duration::from_secs(9));
        assert!(kept.portal("suspended").is_ok());
        kept.expire(expiry);
        assert!(kept.portal("suspended").is_err() && kept.portal("bound").is_ok());
        assert_eq!(kept.next_expiry(), None);
    }

    #[test]
    fn statements_are_limited_and_those_sql_forgot_do_not_count() {
        let mut kept = kept();
        for name in ["a", "b"] {
            assert_eq!(code(kept.admit_statement(name, 10, |_| true)), "ok");
            kept.keep_statement(name.into(), 10);
        }
        assert_eq!(code(kept.admit_statement("c", 10, |_| true)), "54000");
        assert_eq!(code(kept.admit_statement("c", 10, |name| name != "a")), "ok");
        assert_eq!(code(kept.admit_statement("c", 95, |_| true)), "54000");
    }
}
