//! The listening sockets of the process, keyed by address: a reload opens and closes only what has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt as _;
use std::sync::Arc;

use base::ids::WorkerId;
use config::Span;
use config::spec::{Bind, BindAddress, HttpVersion, Listener, Role, Spec};
use net::listen::{Bound, Terms, bind, probe};
use net::{Address, quic};
use proxy::snapshot::{BindId, ListenerId};
use proxy::worker::{Command, Fleet, SocketId};
use tokio::sync::mpsc::Sender;

/// The sockets that are open.
#[derive(Debug, Default)]
pub struct Sockets {
    open: BTreeMap<Key, Entry>,
    next: usize,
    /// Addresses that were closed for HTTP/3: connections of ours may still be there.
    left: BTreeSet<SocketAddr>,
}

/// A listener's name and the address as configured: port 0 stays the same port over reloads.
type Key = (String, String);

/// What identifies the addresses of a listener, in their order.
pub fn keys(listener: &Listener) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for at in &listener.binds {
        let mut key = (listener.name.clone(), at.address.to_string());
        // Each port 0 of a listener is another port.
        while keys.contains(&key) {
            key.1.push('+');
        }
        keys.push(key);
    }
    keys
}

#[derive(Debug)]
struct Entry {
    socket: SocketId,
    /// The sockets of the same address for HTTP/3.
    quic: Option<SocketId>,
    actual: Address,
}

/// Sockets that are bound but accept nothing yet, and those that should close.
#[derive(Debug)]
pub struct Planned {
    fresh: Vec<(Key, Address, Vec<Bound>)>,
    gone: Vec<Key>,
    /// Addresses, fresh or open, at which HTTP/3 begins.
    spoken: Vec<(Key, Vec<quic::Bound>)>,
}

impl Planned {
    /// The addresses that are bound but not open yet.
    pub fn by_tcp(&self) -> impl Iterator<Item = SocketAddr> {
        self.fresh.iter().filter_map(|(_, actual, _)| tcp(actual))
    }
}

/// An address that cannot be bound.
#[derive(Debug)]
pub struct Unbound {
    /// What is wrong.
    pub message: String,
    /// Where it was written.
    pub span: Span,
}

impl Sockets {
    /// Binds what a configuration adds, all of it or nothing.
    ///
    /// # Errors
    /// Every address that cannot be bound.
    pub fn plan(&self, spec: &Spec, workers: usize) -> Result<Planned, Vec<Unbound>> {
        let mut planned = Planned { fresh: Vec::new(), gone: Vec::new(), spoken: Vec::new() };
        let (mut failed, mut wanted) = (Vec::new(), Vec::new());
        for listener in spec.listeners.iter().filter(|listener| listener.role != Role::Nat) {
            // Where this process stands in for the kernel, no interface needs to have the address.
            let terms = Terms { free: listener.nat.is_some(), ..Terms::default() };
            for (at, key) in listener.binds.iter().zip(keys(listener)) {
                wanted.push(key.clone());
                if let Err(error) = self.plan_one(at, &key, terms, workers, &mut planned) {
                    failed.push(Unbound {
                        message: format!("cannot bind listener `{}`: {}: {error}", listener.name, at.address),
                        span: at.span.clone(),
                    });
                }
            }
        }
        if !failed.is_empty() {
            return Err(failed);
        }
        planned.gone = self.open.keys().filter(|key| !wanted.contains(key)).cloned().collect();
        Ok(planned)
    }

    /// Binds one address, for TCP and, where HTTP/3 is spoken, for UDP.
    fn plan_one(&self, at: &Bind, key: &Key, terms: Terms, workers: usize, planned: &mut Planned) -> io::Result<()> {
        let speaks = at.http.contains(&HttpVersion::H3);
        if let Some(entry) = self.open.get(key) {
            // Sockets that are open stay so: nobody is let in where HTTP/3 is not spoken, and nobody is lost where it is again.
            if speaks && entry.quic.is_none() {
                planned.spoken.extend(self.datagrams(&entry.actual, workers)?.map(|all| (key.clone(), all)));
            }
            return Ok(());
        }
        let mut tries = if at.address.is_any_port() && speaks { PORTS } else { 1 };
        loop {
            let (actual, sockets) = self.bind_one(at, terms, workers)?;
            tries -= 1;
            let datagrams = match self.datagrams(&actual, workers) {
                _ if !speaks => None,
                // The port that the kernel chose is free for TCP alone: another may be for both.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => continue,
                bound => bound.map_err(|error| io::Error::new(error.kind(), format!("for HTTP/3, by UDP: {error}")))?,
            };
            planned.spoken.extend(datagrams.map(|all| (key.clone(), all)));
            planned.fresh.push((key.clone(), actual, sockets));
            return Ok(());
        }
    }

    /// Binds the address of a TCP socket for UDP, too; a Unix socket has none.
    fn datagrams(&self, actual: &Address, workers: usize) -> io::Result<Option<Vec<quic::Bound>>> {
        let Address::Tcp(address) = actual else { return Ok(None) };
        let is_ours = self.open.values().any(|entry| entry.quic.is_some() && entry.actual == *actual);
        let shared = is_ours || self.left.contains(address);
        if !shared {
            quic::probe(*address)?;
        }
        quic::bind(*address, workers, shared).map(Some)
    }

    /// Puts a plan to work: new sockets accept, old ones accept what waits and close.
    pub fn commit(
        &mut self,
        planned: Planned,
        fleet: &Arc<Fleet>,
        mut id_of: impl FnMut(&Key) -> Option<(ListenerId, BindId)>,
    ) {
        for (key, actual, bounds) in planned.fresh {
            let Some((listener, bind)) = id_of(&key) else { continue };
            let socket = SocketId(self.next);
            self.next += 1;
            let port = port_of(&actual);
            for (worker, bound) in bounds.into_iter().enumerate() {
                fleet.tell(WorkerId(worker), Command::Listen(listener, bind, socket, bound, port));
            }
            self.open.insert(key, Entry { socket, quic: None, actual });
        }
        for (key, bounds) in planned.spoken {
            let Some((listener, bind)) = id_of(&key) else { continue };
            let Some(entry) = self.open.get_mut(&key) else { continue };
            let (socket, port) = (SocketId(self.next), port_of(&entry.actual));
            self.next += 1;
            entry.quic = Some(socket);
            for (worker, bound) in bounds.into_iter().enumerate() {
                fleet.tell(WorkerId(worker), Command::Receive(listener, bind, socket, bound, port));
            }
        }
        for key in planned.gone {
            if let Some(entry) = self.open.remove(&key) {
                if let (Address::Tcp(address), Some(_)) = (&entry.actual, entry.quic) {
                    self.left.insert(*address);
                }
                close(&entry, fleet, None);
            }
        }
    }

    /// Closes everything; each worker tells when it has accepted what waited.
    pub fn close_all(&mut self, fleet: &Arc<Fleet>, done: &Sender<()>) {
        for (_, entry) in std::mem::take(&mut self.open) {
            close(&entry, fleet, Some(done));
        }
    }

    fn bind_one(&self, at: &Bind, terms: Terms, workers: usize) -> io::Result<(Address, Vec<Bound>)> {
        match &at.address {
            BindAddress::Ip(address) => self.bind_free(&Address::Tcp(*address), terms, workers),
            BindAddress::Unix { path, mode } => {
                bind(&Address::Unix(path.clone()), Terms { mode: *mode, ..terms }, workers)
            }
            BindAddress::AnyFamily(port) => {
                let both = Address::Tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port)));
                // A host without IPv6 still has every address of the one family it has.
                match self.bind_free(&both, terms, workers) {
                    Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                        self.bind_free(&Address::Tcp((Ipv4Addr::UNSPECIFIED, *port).into()), terms, workers)
                    }
                    bound => bound,
                }
            }
        }
    }

    /// Binds an address that nobody has, or that we have ourselves under another listener's name.
    fn bind_free(&self, address: &Address, terms: Terms, workers: usize) -> io::Result<(Address, Vec<Bound>)> {
        if !self.open.values().any(|entry| entry.actual == *address) {
            probe(address, terms)?;
        }
        bind(address, terms, workers)
    }

    /// The addresses on which anybody listens by TCP.
    pub fn by_tcp(&self) -> impl Iterator<Item = SocketAddr> {
        self.open.values().filter_map(|entry| tcp(&entry.actual))
    }

    /// The addresses on which a listener really listens.
    pub fn actual(&self, listener: &str) -> Vec<String> {
        self.open.iter().filter(|((name, _), _)| name == listener).map(|(_, entry)| entry.actual.to_string()).collect()
    }
}

fn close(entry: &Entry, fleet: &Arc<Fleet>, done: Option<&Sender<()>>) {
    for socket in [Some(entry.socket), entry.quic].into_iter().flatten() {
        unlisten(socket, fleet, done);
    }
    if let Address::Unix(path) = &entry.actual
        && std::fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket())
    {
        // Nobody can connect to it any more; if it is gone already, all the better.
        let _ = std::fs::remove_file(path);
    }
}

fn unlisten(socket: SocketId, fleet: &Arc<Fleet>, done: Option<&Sender<()>>) {
    let (unheard, _) = tokio::sync::mpsc::channel(1);
    let done = done.unwrap_or(&unheard);
    fleet.tell_all(|_| Command::Unlisten(socket, done.clone()));
}

fn tcp(address: &Address) -> Option<SocketAddr> {
    match address {
        Address::Tcp(address) => Some(*address),
        Address::Unix(_) => None,
    }
}

fn port_of(address: &Address) -> u16 {
    match address {
        Address::Tcp(address) => address.port(),
        Address::Unix(_) => 0,
    }
}

/// How many ports are tried where any will do: each is free for TCP, and most are for UDP.
const PORTS: usize = 16;
