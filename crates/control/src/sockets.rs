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
use net::{Address, datagram, quic};
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
    /// Sockets of UDP that take nobody new, but may still have flows.
    leaving: BTreeMap<SocketAddr, SocketId>,
}

/// A listener's name and the address as configured: port 0 stays the same port over reloads.
type Key = (String, String);

/// What identifies the addresses of a listener, in their order.
pub fn keys(listener: &Listener) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for at in &listener.binds {
        let mut key = (listener.name.clone(), at.address.to_string());
        // A listener whose role changes has another socket.
        if listener.role == Role::Udp {
            key.1.push_str("/udp");
        }
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
    /// Whether it is of UDP.
    is_udp: bool,
}

/// Sockets of one address, one a worker.
#[derive(Debug)]
enum Fresh {
    Streams(Vec<Bound>),
    Datagrams(Vec<datagram::Bound>),
}

/// Sockets that are bound but accept nothing yet, and those that should close.
#[derive(Debug)]
pub struct Planned {
    fresh: Vec<(Key, Address, Fresh)>,
    /// Addresses of UDP that another listener has from now on, and had before: their flows stay.
    inherited: Vec<(Key, Key)>,
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
        let mut planned = Planned { fresh: Vec::new(), inherited: Vec::new(), gone: Vec::new(), spoken: Vec::new() };
        // Nothing is bound for packets that the kernel rewrites.
        let bound = || spec.listeners.iter().filter(|listener| listener.role != Role::Nat);
        let wanted: BTreeSet<Key> = bound().flat_map(keys).collect();
        planned.gone = self.open.keys().filter(|key| !wanted.contains(*key)).cloned().collect();
        let mut failed = Vec::new();
        for listener in bound() {
            // Where this process stands in for the kernel, no interface needs to have the address.
            let terms = Terms { free: listener.nat.is_some(), ..Terms::default() };
            for (at, key) in listener.binds.iter().zip(keys(listener)) {
                let bound = match listener.role {
                    Role::Udp => self.plan_datagrams(at, &key, terms, workers, &mut planned),
                    Role::Http | Role::Forward | Role::Tcp | Role::Nat => {
                        self.plan_one(at, &key, terms, workers, &mut planned)
                    }
                };
                if let Err(error) = bound {
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
            planned.fresh.push((key.clone(), actual, Fresh::Streams(sockets)));
            return Ok(());
        }
    }

    /// Binds one address of a listener of UDP, unless it is open, or one that is gone has it.
    fn plan_datagrams(
        &self,
        at: &Bind,
        key: &Key,
        terms: Terms,
        workers: usize,
        planned: &mut Planned,
    ) -> io::Result<()> {
        if self.open.contains_key(key) {
            return Ok(());
        }
        let is_there =
            |gone: &&Key| self.open.get(*gone).is_some_and(|entry| entry.is_udp && is_at(&at.address, &entry.actual));
        if let Some(place) = planned.gone.iter().position(|gone| is_there(&gone)) {
            planned.inherited.push((planned.gone.swap_remove(place), key.clone()));
            return Ok(());
        }
        let bind = |address: SocketAddr| {
            if !self.leaving.contains_key(&address) {
                datagram::probe(address, terms)?;
            }
            datagram::bind(address, terms, workers)
        };
        let (actual, sockets) = match &at.address {
            BindAddress::Ip(address) => bind(*address)?,
            BindAddress::Unix { .. } => return Err(io::ErrorKind::Unsupported.into()),
            BindAddress::AnyFamily(port) => match bind((Ipv6Addr::UNSPECIFIED, *port).into()) {
                // A host without IPv6 still has every address of the one family it has.
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => bind((Ipv4Addr::UNSPECIFIED, *port).into())?,
                bound => bound?,
            },
        };
        planned.fresh.push((key.clone(), Address::Tcp(actual), Fresh::Datagrams(sockets)));
        Ok(())
    }

    /// Binds the address of a TCP socket for UDP, too; a Unix socket has none.
    fn datagrams(&self, actual: &Address, workers: usize) -> io::Result<Option<Vec<quic::Bound>>> {
        let Address::Tcp(address) = actual else { return Ok(None) };
        let is_ours = self.open.values().any(|entry| entry.quic.is_some() && entry.actual == *actual);
        let shared = is_ours || self.left.contains(address);
        if !shared {
            net::datagram::probe(*address, Terms::default())?;
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
            let is_udp = matches!(bounds, Fresh::Datagrams(_));
            match bounds {
                Fresh::Streams(bounds) => {
                    for (worker, bound) in bounds.into_iter().enumerate() {
                        fleet.tell(WorkerId(worker), Command::Listen(listener, bind, socket, bound, port));
                    }
                }
                Fresh::Datagrams(bounds) => {
                    for (worker, bound) in bounds.into_iter().enumerate() {
                        fleet.tell(WorkerId(worker), Command::Relay(listener, bind, socket, bound, port));
                    }
                    // The kernel would give them clients of ours, whom they take no more.
                    if let Address::Tcp(address) = &actual
                        && let Some(old) = self.leaving.remove(address)
                    {
                        unlisten(old, fleet, None);
                    }
                }
            }
            self.open.insert(key, Entry { socket, quic: None, actual, is_udp });
        }
        for (old, new) in planned.inherited {
            let Some((listener, bind)) = id_of(&new) else { continue };
            let Some(entry) = self.open.remove(&old) else { continue };
            let (socket, port) = (entry.socket, port_of(&entry.actual));
            fleet.tell_all(|_| Command::Rename(listener, bind, socket, port));
            self.open.insert(new, entry);
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
                if let (Address::Tcp(address), true) = (&entry.actual, entry.is_udp) {
                    self.leaving.insert(*address, entry.socket);
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
        if !self.open.values().any(|entry| !entry.is_udp && entry.actual == *address) {
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

/// Whether a socket of UDP is where a listener wants to be.
fn is_at(wanted: &BindAddress, actual: &Address) -> bool {
    match (wanted, actual) {
        (BindAddress::Ip(wanted), Address::Tcp(actual)) => wanted == actual,
        (BindAddress::AnyFamily(port), Address::Tcp(actual)) => actual.ip().is_unspecified() && actual.port() == *port,
        _ => false,
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
