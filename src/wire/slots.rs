//! Places at the door: how many may stand in front of it, how many may be inside, and whose they are.
//! It counts; it does not look at what a connection says.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::gauge;

use crate::error::{Error, Kind, Result};
use crate::telemetry::metrics::{CONNECTIONS, CONNECTIONS_PENDING};

/// Limits and counts shared by a door's listeners.
#[derive(Debug)]
pub(crate) struct Slots {
    limits: Limits,
    counts: Mutex<Counts>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) pending_max: usize,
    pub(crate) pending_per_ip_max: usize,
    pub(crate) connections_max: usize,
    pub(crate) connections_per_user_max: usize,
}

#[derive(Debug, Default)]
struct Counts {
    pending: usize,
    pending_by_ip: HashMap<IpAddr, usize>,
    connected: usize,
    connected_by_user: HashMap<Arc<str>, usize>,
}

/// A place in front of the door, given back when dropped.
#[derive(Debug)]
pub(crate) struct Pending {
    slots: Arc<Slots>,
    ip: IpAddr,
}

/// A place inside, given back when dropped.
#[derive(Debug)]
pub(crate) struct Connected {
    slots: Arc<Slots>,
    user: Arc<str>,
}

impl Slots {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    /// 53300 when too many are waiting already, in all or from this address.
    pub(crate) fn knock(self: &Arc<Self>, ip: IpAddr) -> Result<Pending> {
        let mut counts = self.counts();
        let from_here = counts.pending_by_ip.get(&ip).copied().unwrap_or(0);
        if counts.pending >= self.limits.pending_max || from_here >= self.limits.pending_per_ip_max {
            return Err(Error::new(Kind::TooManyConnections, "too many connections are waiting to log in"));
        }
        counts.pending += 1;
        counts.pending_by_ip.insert(ip, from_here + 1);
        gauge!(CONNECTIONS_PENDING).set(counts.pending as f64);
        Ok(Pending { slots: Arc::clone(self), ip })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counts are whole between statements, so a panic elsewhere left nothing half done.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// From the waiting to the logged in. 53300 in PostgreSQL's words when there is no place.
    pub(crate) fn enter(self, user: &str) -> Result<Connected> {
        let mut counts = self.slots.counts();
        let limits = self.slots.limits;
        if counts.connected >= limits.connections_max {
            return Err(Error::new(Kind::TooManyConnections, "sorry, too many clients already"));
        }
        let of_user = counts.connected_by_user.get(user).copied().unwrap_or(0);
        if of_user >= limits.connections_per_user_max {
            return Err(Error::new(Kind::TooManyConnections, format!("too many connections for role \"{user}\"")));
        }
        let user: Arc<str> = user.into();
        counts.connected += 1;
        counts.connected_by_user.insert(Arc::clone(&user), of_user + 1);
        gauge!(CONNECTIONS).set(counts.connected as f64);
        Ok(Connected { slots: Arc::clone(&self.slots), user })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut counts = self.slots.counts();
        counts.pending -= 1;
        decrement(counts.pending_by_ip.entry(self.ip));
        gauge!(CONNECTIONS_PENDING).set(counts.pending as f64);
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut counts = self.slots.counts();
        counts.connected -= 1;
        decrement(counts.connected_by_user.entry(Arc::clone(&self.user)));
        gauge!(CONNECTIONS).set(counts.connected as f64);
    }
}

/// Forgets a key at zero, so that the maps are as large as what they count.
fn decrement<K: Eq + Hash>(entry: Entry<'_, K, usize>) {
    if let Entry::Occupied(mut count) = entry {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { pending_max: 3, pending_per_ip_max: 2, connections_max: 3, connections_per_user_max: 2 };

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn one_address_cannot_take_every_waiting_place() {
        let slots = Slots::new(LIMITS);
        let held = [slots.knock(ip(1)).unwrap(), slots.knock(ip(1)).unwrap()];
        assert_eq!(slots.knock(ip(1)).unwrap_err().kind(), Kind::TooManyConnections);
        let other = slots.knock(ip(2)).unwrap();
        assert!(slots.knock(ip(3)).is_err(), "all places in front are taken");
        drop((held, other));
        assert!(slots.knock(ip(1)).is_ok());
    }

    #[test]
    fn one_user_cannot_take_every_place_inside() {
        let slots = Slots::new(LIMITS);
        let held = [slots.knock(ip(1)).unwrap().enter("a").unwrap(), slots.knock(ip(1)).unwrap().enter("a").unwrap()];
        let refused = slots.knock(ip(1)).unwrap().enter("a").unwrap_err();
        assert_eq!(refused.message(), "too many connections for role \"a\"");
        let other = slots.knock(ip(1)).unwrap().enter("b").unwrap();
        assert_eq!(slots.knock(ip(1)).unwrap().enter("c").unwrap_err().message(), "sorry, too many clients already");
        drop((held, other));
        let counts = slots.counts();
        assert_eq!((counts.pending, counts.connected), (0, 0));
        assert!(counts.pending_by_ip.is_empty() && counts.connected_by_user.is_empty());
    }
}
