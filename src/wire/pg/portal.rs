//! A session's portals: statements with their parameters bound, perhaps half fetched. Prepared statements are kept by the
//! engine's session, whose allowance of bytes the portals draw on. It runs nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::ScalarValue;
use metrics::counter;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::encode::Cursor;
use crate::engine::{Adopted, Held, Prepared, Undone};
use crate::error::{Error, Kind, Result};
use crate::formats::postgres::Format;
use crate::telemetry::metrics::KEPT_REFUSED;

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

impl Portal {
    /// For the engine, where SQL names it: rows that were encoded already count as sent. `None` for what gives no rows.
    pub(crate) fn into_adopted(self) -> Option<Adopted> {
        let columns = self.prepared.columns.clone()?;
        Some(match self.state {
            State::Bound(parameters) => Adopted::Bound { prepared: self.prepared, parameters },
            State::Suspended { cursor, .. } => {
                let (rows, rest, sent) = cursor.into_parts();
                Adopted::Suspended { rows, rest, sent }
            }
            State::Ended { .. } => Adopted::Ended { columns },
        })
    }
}

/// A portal and what is counted of it.
#[derive(Debug)]
pub(crate) struct Entry<P> {
    pub(crate) portal: P,
    /// What its name and parameters take of the session's allowance.
    pub(crate) held: Held,
    /// Savepoints around it when it was bound.
    pub(crate) level: usize,
    /// When its last fetch left it suspended.
    pub(crate) idle_since: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) portals_max: usize,
    pub(crate) portal_idle: Option<Duration>,
}

/// By name; "" is the unnamed one.
pub(crate) struct Portals<P> {
    limits: Limits,
    portals: HashMap<String, Entry<P>>,
}

impl<P> Portals<P> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, portals: HashMap::new() }
    }

    /// 42P03 for a name in use, 54000 above the limits. The unnamed portal is replaced.
    pub(crate) fn bind(&mut self, name: String, entry: Entry<P>) -> Result<()> {
        if name.is_empty() {
            self.portals.remove("");
        } else if self.portals.contains_key(&name) {
            return Err(Error::new(Kind::DuplicateCursor, format!("cursor \"{name}\" already exists")));
        }
        if self.portals.len() >= self.limits.portals_max {
            counter!(KEPT_REFUSED).increment(1);
            return Err(Error::new(Kind::TooLarge, format!("more than {} portals are open", self.limits.portals_max)));
        }
        self.portals.insert(name, entry);
        Ok(())
    }

    /// 34000 where there is none.
    pub(crate) fn get(&self, name: &str) -> Result<&P> {
        self.portals.get(name).map(|entry| &entry.portal).ok_or_else(|| no_portal(name))
    }

    /// Takes it out while it runs, to be put back by [`Portals::put_back`].
    pub(crate) fn take(&mut self, name: &str) -> Result<Entry<P>> {
        self.portals.remove(name).ok_or_else(|| no_portal(name))
    }

    pub(crate) fn put_back(&mut self, name: String, entry: Entry<P>) {
        self.portals.insert(name, entry);
    }

    pub(crate) fn close(&mut self, name: &str) {
        self.portals.remove(name);
    }

    pub(crate) fn close_all(&mut self) {
        self.portals.clear();
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.portals.contains_key(name)
    }

    /// A part of the transaction ended, or all of it.
    pub(crate) fn undo(&mut self, undone: Undone) {
        match undone {
            Undone::All => self.portals.clear(),
            Undone::Above(level) => self.portals.retain(|_, entry| entry.level <= level),
            Undone::Into(level) => self.portals.values_mut().for_each(|entry| entry.level = entry.level.min(level)),
        }
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
}

fn no_portal(name: &str) -> Error {
    Error::new(Kind::UndefinedCursor, format!("portal \"{name}\" does not exist"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn portals() -> Portals<()> {
        Portals::new(Limits { portals_max: 2, portal_idle: Some(Duration::from_secs(10)) })
    }

    fn portal() -> Entry<()> {
        Entry { portal: (), held: Held::default(), level: 0, idle_since: None }
    }

    fn code(outcome: Result<()>) -> &'static str {
        outcome.map_or_else(|e| e.kind().sqlstate(), |()| "ok")
    }

    #[test]
    fn portals_are_limited_in_number() {
        let mut portals = portals();
        assert_eq!(code(portals.bind("a".into(), portal())), "ok");
        assert_eq!(code(portals.bind("a".into(), portal())), "42P03");
        assert_eq!(code(portals.bind(String::new(), portal())), "ok");
        assert_eq!(code(portals.bind(String::new(), portal())), "ok", "the unnamed one is replaced");
        assert_eq!(code(portals.bind("b".into(), portal())), "54000");
        assert_eq!(portals.get("x").err().map(|e| e.kind().sqlstate()), Some("34000"));
        portals.close_all();
        assert_eq!(code(portals.bind("b".into(), portal())), "ok");
    }

    #[test]
    fn what_a_savepoint_undoes_is_what_was_bound_under_it() {
        let mut portals = Portals::new(Limits { portals_max: 9, portal_idle: None });
        for (name, level) in [("a", 0), ("b", 1), ("c", 2)] {
            portals.bind(name.into(), Entry { level, ..portal() }).unwrap();
        }
        portals.undo(Undone::Above(1));
        assert!(portals.has("a") && portals.has("b") && !portals.has("c"));
        portals.undo(Undone::Into(0));
        portals.undo(Undone::Above(0));
        assert!(portals.has("b"));
        portals.undo(Undone::All);
        assert!(!portals.has("a"));
    }

    #[test]
    fn suspended_portals_that_nobody_fetches_are_released() {
        let (mut portals, now) = (portals(), Instant::now());
        portals.bind("bound".into(), portal()).unwrap();
        portals.put_back("suspended".into(), Entry { idle_since: Some(now), ..portal() });
        let expiry = portals.next_expiry().unwrap();
        assert_eq!(expiry, now + Duration::from_secs(10));
        portals.expire(now + Duration::from_secs(9));
        assert!(portals.get("suspended").is_ok());
        portals.expire(expiry);
        assert!(portals.get("suspended").is_err() && portals.get("bound").is_ok());
        assert_eq!(portals.next_expiry(), None);
    }
}
