//! What was signed lately, and which server's it is: each worker remembers its own, up to a number.

use std::cell::RefCell;
use std::hash::Hash;
use std::time::{Duration, Instant, SystemTime};

use net::tls::{Identity, Terminator};
use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};

/// What is remembered.
#[derive(Default)]
pub(crate) struct Leaves {
    signed: RefCell<FxHashMap<Order, (Signed, Instant)>>,
    known: RefCell<FxHashMap<Place, Server>>,
}

/// By which authority, and for whom.
type Order = ([u8; 32], Subject);

/// For whom something is signed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// A server that has shown the certificate with this hash.
    Like([u8; 32]),
    /// One that has shown nothing that could be believed.
    Named(Box<str>),
}

/// Something that was signed, ready to be shown.
#[derive(Clone)]
pub(crate) struct Signed {
    pub(super) terminator: Terminator,
    until: Instant,
}

/// What is looked for: a server, as a client asks for it.
#[derive(Clone, Debug)]
pub(super) struct Sought {
    place: Place,
    /// The name that its certificate must be for.
    pub(super) name: Box<str>,
    /// Whether the client offers HTTP/2.
    pub(super) h2: bool,
}

/// Where a server is, by which authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    mark: [u8; 32],
    host: Box<str>,
    port: u16,
}

struct Server {
    faces: Vec<Face>,
    used: Instant,
}

/// What a server has shown who was asked for by a name.
struct Face {
    name: Box<str>,
    offered_h2: bool,
    speaks_h2: bool,
    terminator: Terminator,
    until: Instant,
}

/// So many certificates, and so many servers, a worker remembers: with more, those that were used least lately are forgotten.
const MOST: usize = 1024;
/// So many names of one server.
const MOST_FACES: usize = 8;
/// How long a server is believed to show what it has shown. Every connection to it is judged anew, whatever is remembered.
const KNOWN: Duration = Duration::from_secs(300);
/// How long something is shown that was signed once.
const SHOWN: Duration = Duration::from_secs(24 * 3600);

impl Subject {
    /// Of a server by its certificate.
    pub(super) fn of(certificate: &[u8]) -> Subject {
        Subject::Like(Sha256::digest(certificate).into())
    }
}

impl Sought {
    pub(super) fn new(mark: [u8; 32], host: &str, port: u16) -> Sought {
        Sought { place: Place { mark, host: host.into(), port }, name: "".into(), h2: false }
    }
}

impl Leaves {
    /// Whether somebody is known there by any name.
    pub(super) fn knows(&self, sought: &Sought, now: Instant) -> bool {
        let known = self.known.borrow();
        known.get(&sought.place).is_some_and(|server| server.faces.iter().any(|face| face.until > now))
    }

    /// What a client is shown of a server that is known by this name, and whether that speaks HTTP/2.
    pub(super) fn known(&self, sought: &Sought, now: Instant) -> Option<(Terminator, bool)> {
        let mut known = self.known.borrow_mut();
        let server = known.get_mut(&sought.place)?;
        server.used = now;
        let is_it = |face: &&Face| face.until > now && face.name == sought.name && face.offered_h2 == sought.h2;
        server.faces.iter().find(is_it).map(|face| (face.terminator.clone(), face.speaks_h2))
    }

    /// Remembers what a server has shown.
    pub(super) fn learn(&self, sought: Sought, signed: &Signed, speaks_h2: bool, now: Instant) {
        let Sought { place, name, h2 } = sought;
        let mut known = self.known.borrow_mut();
        make_room(&mut known, &place, |server| server.used);
        let server = known.entry(place).or_insert(Server { faces: Vec::new(), used: now });
        server.used = now;
        server.faces.retain(|face| face.until > now && (face.name != name || face.offered_h2 != h2));
        if server.faces.len() >= MOST_FACES {
            server.faces.remove(0);
        }
        let until = signed.until.min(now + KNOWN);
        let terminator = signed.terminator.clone();
        server.faces.push(Face { name, offered_h2: h2, speaks_h2, terminator, until });
    }

    /// Forgets what is known of a server: it has turned out to be another.
    pub(crate) fn doubt(&self, host: &str, port: u16) {
        self.known.borrow_mut().retain(|place, _| &*place.host != host || place.port != port);
    }

    /// What was signed by an authority for this.
    pub(super) fn signed(&self, mark: [u8; 32], subject: &Subject, now: Instant) -> Option<Signed> {
        let mut signed = self.signed.borrow_mut();
        let (found, used) = signed.get_mut(&(mark, subject.clone()))?;
        *used = now;
        Some(found.clone()).filter(|found| found.until > now)
    }

    /// Remembers what was signed.
    pub(super) fn keep(
        &self,
        mark: [u8; 32],
        subject: Subject,
        identity: &Identity,
        base: &Terminator,
        now: Instant,
    ) -> Signed {
        let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let left = identity.validity().map_or(0, |(_, until)| until.saturating_sub(today));
        let lasts = SHOWN.min(Duration::from_secs(left));
        let fresh = Signed { terminator: base.showing(identity), until: now + lasts };
        let mut signed = self.signed.borrow_mut();
        let key = (mark, subject);
        make_room(&mut signed, &key, |(_, used)| *used);
        signed.insert(key, (fresh.clone(), now));
        fresh
    }
}

/// Forgets what was used least lately, where one more would be too many.
fn make_room<K: Hash + Eq + Clone, V>(all: &mut FxHashMap<K, V>, next: &K, used: impl Fn(&V) -> Instant) {
    if all.len() < MOST || all.contains_key(next) {
        return;
    }
    let oldest = all.iter().min_by_key(|(_, value)| used(value)).map(|(key, _)| key.clone());
    oldest.and_then(|oldest| all.remove(&oldest));
}

#[cfg(test)]
mod tests {
    use net::tls::{ClientCert, Oldest, Spoken};

    use super::*;

    fn signed(now: Instant, lasts: Duration) -> Signed {
        let spoken = Spoken::since(Oldest::Tls12);
        let terminator = Terminator::new(&[], &spoken, &ClientCert::Off, &[], None, None).expect("a terminator");
        Signed { terminator, until: now + lasts }
    }

    fn sought(number: usize, name: &str, h2: bool) -> Sought {
        Sought { name: name.into(), h2, ..Sought::new([0; 32], &format!("{number}.test"), 443) }
    }

    #[test]
    fn a_server_is_known_by_the_name_and_the_offer_that_it_was_asked_with() {
        let (leaves, now) = (Leaves::default(), Instant::now());
        let lasts = Duration::from_secs(60);
        leaves.learn(sought(1, "a", true), &signed(now, lasts), true, now);
        leaves.learn(sought(1, "a", false), &signed(now, lasts), false, now);
        let known = |name: &str, h2, at| leaves.known(&sought(1, name, h2), at).map(|(_, h2)| h2);
        assert_eq!(
            (known("a", true, now), known("a", false, now), known("b", true, now)),
            (Some(true), Some(false), None)
        );
        assert!(leaves.knows(&sought(1, "", false), now) && !leaves.knows(&sought(2, "", false), now));
        // No longer than its certificate is valid.
        assert_eq!(known("a", true, now + lasts), None);
        leaves.doubt("1.test", 443);
        assert!(!leaves.knows(&sought(1, "", false), now));
    }

    #[test]
    fn no_more_are_remembered_than_may_be() {
        let (leaves, now) = (Leaves::default(), Instant::now());
        let any = signed(now, Duration::from_secs(3600));
        for number in 0..MOST + 10 {
            leaves.learn(sought(number, "a", true), &any, true, now + Duration::from_millis(number as u64));
            leaves.learn(sought(0, &format!("{number}"), true), &any, true, now + Duration::from_millis(number as u64));
        }
        assert_eq!(leaves.known.borrow().len(), MOST);
        let at = now + Duration::from_secs(10);
        assert!(leaves.knows(&sought(0, "", true), at) && !leaves.knows(&sought(1, "", true), at));
        assert_eq!(leaves.known.borrow()[&sought(0, "", true).place].faces.len(), MOST_FACES);
    }
}
