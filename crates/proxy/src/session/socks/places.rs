//! The servers that a client of an association has written to: by the place that it has named, and by the address from which they answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use wire::socks::Host;

/// A server as a client names it.
pub(super) type Name = (Host, u16);

/// What is known of each, with when it was last heard of.
pub(super) struct Places<T> {
    by_name: FxHashMap<Name, Place<T>>,
    by_address: FxHashMap<SocketAddr, Name>,
}

struct Place<T> {
    value: T,
    address: Option<SocketAddr>,
    /// How long it may be silent.
    lasts: Duration,
    last: Instant,
}

/// So many servers a client may write to at once; of more the one is forgotten that was silent for longest.
pub(super) const MOST: usize = 256;

impl<T> Places<T> {
    pub(super) fn new() -> Places<T> {
        Places { by_name: FxHashMap::default(), by_address: FxHashMap::default() }
    }

    /// One that is written to.
    pub(super) fn named(&mut self, name: &Name, now: Instant) -> Option<&mut T> {
        let place = self.by_name.get_mut(name)?;
        place.last = now;
        Some(&mut place.value)
    }

    /// The one that answers from an address.
    pub(super) fn at(&mut self, address: &SocketAddr, now: Instant) -> Option<&mut T> {
        let name = self.by_address.get(address)?;
        let place = self.by_name.get_mut(name)?;
        place.last = now;
        Some(&mut place.value)
    }

    /// A new one; answers the one that gives way to it, if there are too many.
    pub(super) fn add(&mut self, name: Name, value: T, lasts: Duration, now: Instant) -> Option<T> {
        let oldest = || self.by_name.iter().min_by_key(|(_, place)| place.last).map(|(name, _)| name.clone());
        let gives_way = if self.by_name.len() < MOST { None } else { oldest() };
        let gone = gives_way.and_then(|name| self.remove(&name));
        self.by_name.insert(name, Place { value, address: None, lasts, last: now });
        gone
    }

    /// One was found out: it answers from this address from now on.
    pub(super) fn found(&mut self, name: &Name, address: SocketAddr, lasts: Duration) {
        let Some(place) = self.by_name.get_mut(name) else { return };
        (place.address, place.lasts) = (Some(address), lasts);
        self.by_address.insert(address, name.clone());
    }

    /// One that was silent for as long as it may be.
    pub(super) fn over(&mut self, now: Instant) -> Option<T> {
        let is_over = |place: &Place<T>| now.saturating_duration_since(place.last) >= place.lasts;
        let over = self.by_name.iter().find(|(_, place)| is_over(place)).map(|(name, _)| name.clone())?;
        self.remove(&over)
    }

    /// When the next one is over, if nobody says anything.
    pub(super) fn next_over(&self) -> Option<Instant> {
        self.by_name.values().map(|place| place.last + place.lasts).min()
    }

    /// All of them.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.by_address.clear();
        self.by_name.drain().map(|(_, place)| place.value)
    }

    fn remove(&mut self, name: &Name) -> Option<T> {
        let place = self.by_name.remove(name)?;
        if let Some(address) = place.address
            && self.by_address.get(&address) == Some(name)
        {
            self.by_address.remove(&address);
            // It may have another name, whose client still waits.
            let other = self.by_name.iter().find(|(_, other)| other.address == Some(address));
            self.by_address.extend(other.map(|(name, _)| (address, name.clone())));
        }
        Some(place.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        (Host::Name(text.into()), 53)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_server_is_found_by_its_name_and_by_its_address_until_it_is_over() {
        let (mut places, start) = (Places::new(), Instant::now());
        assert_eq!(places.add(name("a"), 1, MINUTE, start), None);
        assert_eq!(places.at(&address("192.0.2.1:53"), start), None);
        places.found(&name("a"), address("192.0.2.1:53"), MINUTE);
        assert_eq!(places.at(&address("192.0.2.1:53"), start).copied(), Some(1));
        assert_eq!(places.at(&address("192.0.2.1:54"), start), None);
        assert_eq!(places.named(&name("a"), start + MINUTE / 2).copied(), Some(1));
        assert_eq!(places.over(start + MINUTE), None);
        assert_eq!(places.next_over(), Some(start + MINUTE / 2 + MINUTE));
        assert_eq!(places.over(start + MINUTE * 2), Some(1));
        assert_eq!(places.at(&address("192.0.2.1:53"), start), None);
        assert_eq!(places.next_over(), None);
    }

    #[test]
    fn two_names_of_one_address_do_not_hide_each_other_for_good() {
        let (mut places, start) = (Places::new(), Instant::now());
        let shared = address("192.0.2.1:53");
        places.add(name("a"), 1, MINUTE, start);
        places.found(&name("a"), shared, MINUTE);
        places.add(name("b"), 2, MINUTE * 2, start);
        places.found(&name("b"), shared, MINUTE * 2);
        assert_eq!(places.at(&shared, start).copied(), Some(2));
        assert_eq!(places.over(start + MINUTE), Some(1));
        assert_eq!(places.at(&shared, start).copied(), Some(2), "what is over takes nothing of the other's with it");
        places.add(name("a"), 1, MINUTE * 3, start);
        places.found(&name("a"), shared, MINUTE * 3);
        assert_eq!(places.at(&shared, start).copied(), Some(1));
        places.add(name("b"), 2, MINUTE, start);
        places.found(&name("b"), shared, MINUTE);
        assert_eq!(places.over(start + MINUTE), Some(2));
        assert_eq!(places.at(&shared, start).copied(), Some(1));
    }

    #[test]
    fn there_are_so_many_and_the_most_silent_one_gives_way() {
        let (mut places, start) = (Places::new(), Instant::now());
        for number in 0..MOST {
            assert_eq!(
                places.add(name(&number.to_string()), number, MINUTE, start + Duration::from_millis(number as u64)),
                None
            );
        }
        assert!(places.named(&name("0"), start + MINUTE / 2).is_some());
        assert_eq!(places.add(name("more"), MOST, MINUTE, start + MINUTE / 2), Some(1));
        assert_eq!(places.drain().count(), MOST);
    }
}
