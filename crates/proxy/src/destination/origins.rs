//! The servers that a worker's clients have asked for lately: their addresses, what is known of them, and their places in the
//! worker's tables of idle connections.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Instant;

use http::shared::Protocol;
use net::Address;
use net::dial::Security;
use net::dns::Resolver;
use net::tls::Originator;
use rustc_hash::FxHashMap;

use super::{Egress, Place};
use crate::balance::{Balance, Group, Level, Roster};
use crate::pool::{LOCAL, Pool, Server, ServerId};
use crate::snapshot::Arm;
use crate::worker::Worker;

/// What holds on the way to whatever server is asked for.
#[derive(Debug)]
pub struct Origin {
    /// How long things may take, when to try again, and a pool without servers that says the rest.
    pub arm: Arm,
    /// What may be connected to.
    pub egress: Arc<Egress>,
    /// What names mean.
    pub names: Arc<Names>,
    /// How servers are spoken with by TLS, where clients that speak it are read.
    pub secure: Option<Arc<Originators>>,
}

/// How servers are spoken with by TLS: all ways believe the same, and differ in what they offer to speak inside.
#[derive(Debug)]
pub struct Originators {
    /// Both, or what was before one could agree.
    pub either: Originator,
    /// HTTP/1.1.
    pub h1: Originator,
    /// HTTP/2.
    pub h2: Originator,
}

/// What names mean, before and beside what name servers say.
#[derive(Debug, Default)]
pub struct Names {
    /// Names that are known.
    pub hosts: HashMap<Box<str>, Vec<IpAddr>>,
    /// Who is asked; those of the system if empty.
    pub servers: Vec<SocketAddr>,
}

/// The servers that were asked for lately.
#[derive(Default)]
pub(crate) struct Origins {
    known: RefCell<FxHashMap<Key, Known>>,
    /// How many servers there were.
    servers: Cell<usize>,
    resolver: RefCell<Option<(Arc<Names>, Resolver)>>,
}

/// A server as it is led to by one route; the route is known as long as what it leads to.
type Key = (Place, usize);

struct Known {
    arm: Arc<Arm>,
    /// Its address is part of the key, and becomes no other's as long as this is here.
    origin: Weak<Origin>,
    until: Instant,
    used: Cell<Instant>,
}

/// So many servers a worker remembers; of more it forgets the one that was asked for least lately.
const MOST: usize = 1024;
/// So many addresses of a server are of use: whoever has more has better ones among them.
const ADDRESSES: usize = 8;

impl Origins {
    /// What leads to a server whose addresses are known.
    pub(super) fn known(&self, place: &Place, origin: &Arc<Origin>, now: Instant) -> Option<Arc<Arm>> {
        let known = self.known.borrow();
        let found = known.get(&key(place, origin)).filter(|found| found.until > now)?;
        found.used.set(now);
        Some(Arc::clone(&found.arm))
    }

    /// Remembers the addresses of a server. Connections to those that it had before are kept.
    pub(super) fn learn(
        &self,
        worker: &Worker,
        place: Place,
        origin: &Arc<Origin>,
        addresses: Vec<SocketAddr>,
        until: Instant,
    ) -> Arc<Arm> {
        let mut known = self.known.borrow_mut();
        let key = key(&place, origin);
        let before = known.remove(&key);
        if before.is_none() && known.len() >= MOST {
            let oldest = known.iter().min_by_key(|(_, known)| known.used.get()).map(|(key, _)| key.clone());
            let forgotten = oldest.and_then(|oldest| known.remove(&oldest));
            forgotten
                .iter()
                .flat_map(|forgotten| &forgotten.arm.pool.servers)
                .for_each(|server| retire(worker, server));
        }
        let (mut left, mut servers) =
            (before.map_or_else(Vec::new, |before| before.arm.pool.servers.clone()), Vec::new());
        for address in by_turns(addresses).take(ADDRESSES) {
            let same = left.iter().position(|server| server.id.address == Address::Tcp(address));
            servers.push(match same {
                Some(at) => left.swap_remove(at),
                None => Arc::new(self.server(worker, &place, origin, address)),
            });
        }
        left.iter().for_each(|server| retire(worker, server));
        let shared = place.h2.then_some(Protocol::H2);
        let arm = Arc::new(arm(origin, servers, shared));
        let entry =
            Known { arm: Arc::clone(&arm), origin: Arc::downgrade(origin), until, used: Cell::new(Instant::now()) };
        known.insert(key, entry);
        arm
    }

    /// Forgets those of configurations that are no more.
    pub(crate) fn sweep(&self, worker: &Worker) {
        self.known.borrow_mut().retain(|_, known| {
            let stays = known.origin.strong_count() > 0;
            if !stays {
                known.arm.pool.servers.iter().for_each(|server| retire(worker, server));
            }
            stays
        });
    }

    fn server(&self, worker: &Worker, place: &Place, origin: &Origin, address: SocketAddr) -> Server {
        let name = place.authority();
        let id = ServerId {
            pool: Arc::clone(&origin.arm.pool.name),
            name: name.as_str().into(),
            address: Address::Tcp(address),
            transport: place.secure.is_some().into(),
        };
        let number = self.servers.replace(self.servers.get() + 1);
        let security = place.secure.as_ref().zip(origin.secure.as_ref()).map(|(name, ways)| Security {
            originator: if place.h2 { ways.h2.clone() } else { ways.h1.clone() },
            name: name.clone(),
            starttls: None,
            lets_plain: false,
        });
        Server::new(id, &name, LOCAL + number, worker.fleet.len()).secured(security)
    }

    /// Who asks name servers for this worker.
    pub(super) fn resolver(&self, names: &Arc<Names>) -> io::Result<Resolver> {
        let mut kept = self.resolver.borrow_mut();
        match &*kept {
            Some((of, resolver)) if of.servers == names.servers => Ok(resolver.clone()),
            _ => {
                let resolver = Resolver::new(&names.servers)?;
                *kept = Some((Arc::clone(names), resolver.clone()));
                Ok(resolver)
            }
        }
    }
}

/// Addresses of both families by turns, those of IPv6 first (RFC 8305 section 4).
fn by_turns(addresses: Vec<SocketAddr>) -> impl Iterator<Item = SocketAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let pairs =
        std::iter::from_fn(move || Some([v6.next(), v4.next()]).filter(|pair| pair.iter().any(Option::is_some)));
    pairs.flatten().flatten()
}

fn key(place: &Place, origin: &Arc<Origin>) -> Key {
    (place.clone(), Arc::as_ptr(origin).addr())
}

/// Closes what is idle to a server that nobody will be led to any more. What is under way keeps it to its end, and is not parked then.
fn retire(worker: &Worker, server: &Server) {
    server.set_retired(true);
    worker.idle.forget(server);
}

/// What leads to these servers: to the first one, and to others where that does not connect.
fn arm(origin: &Origin, servers: Vec<Arc<Server>>, shared: Option<Protocol>) -> Arm {
    let said = &origin.arm;
    let count = servers.len();
    let numbers = (0..count).collect();
    let group = Group { key: said.pool.key, numbers, servers: servers.clone(), balance: Balance::First };
    let levels = [Level { all: group, zones: None }].into();
    let roster = Roster { levels, panic: 0, members: vec![true; count].into() };
    Arm {
        pool: Arc::new(Pool {
            servers,
            roster: Arc::new(roster),
            shared,
            connect: said.timeouts.connect,
            ..Pool::clone(&said.pool)
        }),
        subset: None,
        up_to: said.up_to,
        timeouts: said.timeouts,
        retries: said.retries.clone(),
        // Whose connections are shared opens one at a time.
        races: count > 1 && shared.is_none(),
        sources: said.sources,
    }
}
