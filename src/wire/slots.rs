//! Places at the doors: how many may stand in front of one, how many may be inside, and whose they are. It counts; it does
//! not look at what a connection says.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::gauge;

use crate::error::{Error, Kind, Result};
use crate::telemetry::metrics::{CONNECTIONS, CONNECTIONS_PENDING, HTTP_CONNECTIONS};

/// Whose an address is: limits that count by it take all of an IPv6 host's /64 for one, and IPv4 in IPv6 for IPv4.
pub(crate) fn host(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// So many places in all, and so many of them for one key.
#[derive(Debug)]
struct Places<K> {
    max: usize,
    each_max: usize,
    /// That shows how many are taken; `None` for places within others that are shown.
    gauge: Option<&'static str>,
    counts: Mutex<Counts<K>>,
}

#[derive(Debug)]
struct Counts<K> {
    all: usize,
    each: HashMap<K, usize>,
}

/// A place, given back when dropped.
#[derive(Debug)]
struct Place<K: Clone + Eq + Hash> {
    places: Arc<Places<K>>,
    key: K,
}

/// Why there is no place.
#[derive(Debug, PartialEq)]
enum Full {
    All,
    OfThisKey,
}

impl<K: Clone + Eq + Hash> Places<K> {
    fn new(max: usize, each_max: usize, gauge: Option<&'static str>) -> Arc<Self> {
        Arc::new(Self { max, each_max, gauge, counts: Mutex::new(Counts { all: 0, each: HashMap::new() }) })
    }

    fn take(self: &Arc<Self>, key: K) -> std::result::Result<Place<K>, Full> {
        let mut counts = self.counts();
        if counts.all >= self.max {
            return Err(Full::All);
        }
        let of_key = counts.each.get(&key).copied().unwrap_or(0);
        if of_key >= self.each_max {
            return Err(Full::OfThisKey);
        }
        counts.all += 1;
        counts.each.insert(key.clone(), of_key + 1);
        self.show(&counts);
        Ok(Place { places: Arc::clone(self), key })
    }

    fn show(&self, counts: &Counts<K>) {
        if let Some(gauge) = self.gauge {
            gauge!(gauge).set(counts.all as f64);
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts<K>> {
        // Counts are whole between statements, so a panic elsewhere left nothing half done.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut counts = self.places.counts();
        counts.all -= 1;
        if let Entry::Occupied(mut count) = counts.each.entry(self.key.clone()) {
            *count.get_mut() -= 1;
            // Forgotten at zero, so that the map is as large as what it counts.
            if *count.get() == 0 {
                count.remove();
            }
        }
        self.places.show(&counts);
    }
}

/// The PostgreSQL door's places, shared by its listeners.
#[derive(Debug)]
pub(crate) struct Slots {
    pending: Arc<Places<IpAddr>>,
    connected: Arc<Places<Arc<str>>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) pending_max: usize,
    pub(crate) pending_per_ip_max: usize,
    pub(crate) connections_max: usize,
    pub(crate) connections_per_user_max: usize,
}

/// A place in front of the door.
#[derive(Debug)]
pub(crate) struct Pending {
    connected: Arc<Places<Arc<str>>>,
    _place: Place<IpAddr>,
}

/// A place inside.
#[derive(Debug)]
pub(crate) struct Connected(#[allow(dead_code, reason = "it is held, not looked at")] Place<Arc<str>>);

impl Slots {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            pending: Places::new(limits.pending_max, limits.pending_per_ip_max, Some(CONNECTIONS_PENDING)),
            connected: Places::new(limits.connections_max, limits.connections_per_user_max, Some(CONNECTIONS)),
        }
    }

    /// 53300 when too many are waiting already, in all or from this host.
    pub(crate) fn knock(&self, ip: IpAddr) -> Result<Pending> {
        match self.pending.take(host(ip)) {
            Ok(place) => Ok(Pending { connected: Arc::clone(&self.connected), _place: place }),
            Err(_) => Err(Error::new(Kind::TooManyConnections, "too many connections are waiting to log in")),
        }
    }
}

impl Pending {
    /// From the waiting to the logged in. 53300 in PostgreSQL's words when there is no place.
    pub(crate) fn enter(self, user: &str) -> Result<Connected> {
        let text = match self.connected.take(user.into()) {
            Ok(place) => return Ok(Connected(place)),
            Err(Full::All) => "sorry, too many clients already".to_owned(),
            Err(Full::OfThisKey) => format!("too many connections for role \"{user}\""),
        };
        Err(Error::new(Kind::TooManyConnections, text))
    }
}

/// The HTTP door's places.
#[derive(Debug)]
pub(crate) struct HttpSlots(Arc<Places<IpAddr>>);

/// One request's connection.
#[derive(Debug)]
pub(crate) struct Asking(#[allow(dead_code, reason = "it is held, not looked at")] Place<IpAddr>);

impl HttpSlots {
    pub(crate) fn new(connections_max: usize, per_ip_max: usize) -> Self {
        Self(Places::new(connections_max, per_ip_max, Some(HTTP_CONNECTIONS)))
    }

    /// Within these, for requests that wait: half, so that the others find a place whatever those wait for.
    pub(crate) fn half(&self) -> Self {
        Self(Places::new((self.0.max / 2).max(1), (self.0.each_max / 2).max(1), None))
    }

    /// `None` when too many ask already, in all or from this host.
    pub(crate) fn enter(&self, ip: IpAddr) -> Option<Asking> {
        self.0.take(host(ip)).ok().map(Asking)
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
        let (pending, connected) = (slots.pending.counts(), slots.connected.counts());
        assert_eq!((pending.all, connected.all), (0, 0));
        assert!(pending.each.is_empty() && connected.each.is_empty());
    }

    #[test]
    fn requests_that_wait_have_half_of_the_places() {
        let slots = HttpSlots::new(7, 4).half();
        let held: Vec<_> = [1, 1, 2].map(|last| slots.enter(ip(last)).unwrap()).into();
        assert!(slots.enter(ip(2)).is_none(), "three in all");
        drop(held);
        let _held = [slots.enter(ip(1)).unwrap(), slots.enter(ip(1)).unwrap()];
        assert!(slots.enter(ip(1)).is_none(), "two of a host");
        assert!(HttpSlots::new(1, 1).half().enter(ip(1)).is_some());
    }

    #[test]
    fn an_ipv6_host_is_its_network() {
        let host = |text: &str| host(text.parse().unwrap()).to_string();
        assert_eq!(host("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(host("2001:db8:1:2:ffff::1"), host("2001:db8:1:2::9"));
        assert_ne!(host("2001:db8:1:3::1"), host("2001:db8:1:2::1"));
        assert_eq!((host("::ffff:10.0.0.1"), host("10.0.0.1")), ("10.0.0.1".into(), "10.0.0.1".into()));
    }
}
