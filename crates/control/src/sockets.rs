//! The listening sockets of the process, keyed by address: a reload opens and closes only what has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt as _;
use std::sync::{Arc, Weak};

use base::ids::WorkerId;
use config::Span;
use config::spec::{Bind, BindAddress, HttpVersion, Listener, Role, Spec, Transparent};
use net::listen::{Bound, Terms, bind, probe};
use net::{Address, datagram, quic};
use proxy::snapshot::{BindId, ListenerId};
use proxy::worker::{Command, Fleet, Group, Hold, Leave, SocketId};
use tokio::sync::mpsc::Sender;

/// The sockets that are open.
#[derive(Debug, Default)]
pub struct Sockets {
    open: BTreeMap<Key, Entry>,
    next: usize,
    /// Addresses that were closed for HTTP/3: connections of ours may still be there.
    left: BTreeSet<SocketAddr>,
    /// Sockets of UDP that take nobody new, but may still have flows.
    leaving: BTreeMap<SocketAddr, (SocketId, Weak<Group>)>,
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
    /// The sockets of an address of UDP.
    flows: Option<Weak<Group>>,
}

/// Sockets of one address, one a worker.
#[derive(Debug)]
enum Fresh {
    Streams(Vec<Bound>),
    Datagrams(Vec<datagram::Bound>),
}

/// Sockets that are bound but accept nothing yet, and those that should close.
#[derive(Debug, Default)]
pub struct Planned {
    fresh: Vec<(Key, Address, Fresh)>,
    /// Addresses of UDP that another listener has from now on, and had before: their flows stay.
    inherited: Vec<(Key, Key)>,
    gone: Vec<Key>,
    /// Addresses at which HTTP/3 is spoken from now on.
    speaking: BTreeSet<Key>,
    /// Addresses, fresh or open, at which HTTP/3 begins.
    spoken: Vec<(Key, Vec<quic::Bound>)>,
}

impl Planned {
    /// The addresses that are bound but not open yet.
    pub fn by_port(&self) -> impl Iterator<Item = SocketAddr> {
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

/// What to do about an address that cannot be bound, where that is known.
pub(crate) fn way_out(error: &io::Error, port: Option<u16>) -> String {
    match (error.kind(), port) {
        (io::ErrorKind::PermissionDenied, Some(port)) => format!(
            " (port {port} is a privileged one: give the service `AmbientCapabilities=CAP_NET_BIND_SERVICE`, or the program \
             `setcap cap_net_bind_service=+ep`, or let everybody have it by `sysctl net.ipv4.ip_unprivileged_port_start={port}`)"
        ),
        (io::ErrorKind::PermissionDenied, None) => {
            " (this user may not write to the folder, or the socket is somebody else's)".to_owned()
        }
        (io::ErrorKind::AddrInUse, Some(port)) => format!(" (who has it is shown by `ss -lnp sport = :{port}`)"),
        (io::ErrorKind::AddrNotAvailable, Some(_)) => " (no interface of this host has this address)".to_owned(),
        (io::ErrorKind::NotFound, None) => " (the folder is not there)".to_owned(),
        _ => String::new(),
    }
}

impl Sockets {
    /// Binds what a configuration adds, all of it or nothing.
    ///
    /// # Errors
    /// Every address that cannot be bound.
    pub fn plan(&self, spec: &Spec, workers: usize) -> Result<Planned, Vec<Unbound>> {
        let mut planned = Planned::default();
        // Nothing is bound for packets that the kernel rewrites.
        let bound = || spec.listeners.iter().filter(|listener| listener.role != Role::Nat);
        let wanted: BTreeSet<Key> = bound().flat_map(keys).collect();
        let speaks = |(at, key): (&Bind, Key)| at.http.contains(&HttpVersion::H3).then_some(key);
        let at = |listener| keys(listener).into_iter();
        planned.speaking = bound().flat_map(|one| one.binds.iter().zip(at(one)).filter_map(speaks)).collect();
        planned.gone = self.open.keys().filter(|key| !wanted.contains(*key)).cloned().collect();
        let mut failed = Vec::new();
        for listener in bound() {
            // Where this process stands in for the kernel, no interface needs to have the address.
            for (at, key) in listener.binds.iter().zip(keys(listener)) {
                let transparent = at.transparent == Some(Transparent::Tproxy);
                let terms = Terms { free: listener.nat.is_some(), transparent, ..Terms::default() };
                let bound = match listener.role {
                    Role::Udp => self.plan_datagrams(at, &key, terms, workers, &mut planned),
                    // None of packets is among these: what stands in for one is of TCP or of UDP.
                    Role::Http | Role::Forward | Role::Tcp | Role::Nat => {
                        self.plan_one(at, &key, terms, workers, &mut planned)
                    }
                };
                if let Err(error) = bound {
                    let needs = match transparent && error.kind() == io::ErrorKind::PermissionDenied {
                        true => " (`transparent: tproxy` needs `CAP_NET_ADMIN` or `CAP_NET_RAW`)".to_owned(),
                        false => way_out(&error, at.address.port()),
                    };
                    failed.push(Unbound {
                        message: format!("cannot bind listener `{}`: {}: {error}{needs}", listener.name, at.address),
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
                let bound = self.datagrams(&entry.actual, workers, planned)?;
                planned.spoken.extend(bound.map(|all| (key.clone(), all)));
            }
            return Ok(());
        }
        let mut tries = if at.address.is_any_port() && speaks { PORTS } else { 1 };
        loop {
            let (actual, sockets) = self.bind_one(at, terms, workers)?;
            tries -= 1;
            let datagrams = match speaks.then(|| self.datagrams(&actual, workers, planned)) {
                None => None,
                // The port that the kernel chose is free for TCP alone: another may be for both.
                Some(Err(error)) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => continue,
                Some(bound) => {
                    bound.map_err(|error| io::Error::new(error.kind(), format!("for HTTP/3, by UDP: {error}")))?
                }
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
            |gone: &&Key| self.open.get(*gone).is_some_and(|entry| entry.is_udp() && is_at(&at.address, &entry.actual));
        if let Some(place) = planned.gone.iter().position(|gone| is_there(&gone)) {
            planned.inherited.push((planned.gone.swap_remove(place), key.clone()));
            return Ok(());
        }
        let bind = |address: SocketAddr| -> io::Result<_> {
            // What is there is ours, and on its way out.
            let was_quic =
                self.left.contains(&address) || self.is_quic(&address, |key| !planned.speaking.contains(key));
            if !was_quic && !self.is_leaving(&address) {
                datagram::probe(address, terms)?;
            }
            let bound = datagram::bind(address, terms, workers)?;
            if let (true, Some(first)) = (was_quic, bound.1.first()) {
                quic::unsteer(first);
            }
            Ok(bound)
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
    fn datagrams(&self, actual: &Address, workers: usize, planned: &Planned) -> io::Result<Option<Vec<quic::Bound>>> {
        let Address::Tcp(address) = actual else { return Ok(None) };
        let is_going = |key: &Key| self.open.get(key).is_some_and(|entry| entry.is_udp() && entry.actual == *actual);
        let was_udp = self.is_leaving(address) || planned.gone.iter().any(is_going);
        let shared = was_udp || self.left.contains(address) || self.is_quic(address, |_| true);
        if !shared {
            net::datagram::probe(*address, Terms::default())?;
        }
        quic::bind(*address, workers, shared).map(Some)
    }

    /// Whether sockets for HTTP/3 are open at an address, under such a key.
    fn is_quic(&self, address: &SocketAddr, of: impl Fn(&Key) -> bool) -> bool {
        let is_there = |entry: &Entry| entry.quic.is_some() && entry.actual == Address::Tcp(*address);
        self.open.iter().any(|(key, entry)| is_there(entry) && of(key))
    }

    /// Whether sockets of UDP are there that take nobody new.
    fn is_leaving(&self, address: &SocketAddr) -> bool {
        self.leaving.get(address).is_some_and(|(_, group)| group.strong_count() > 0)
    }

    /// The kernel would give sockets of UDP that take nobody new what is for others now: they end at once, with their flows.
    fn hurry(&mut self, address: &Address, fleet: &Arc<Fleet>) {
        if let Address::Tcp(address) = address
            && let Some((old, _)) = self.leaving.remove(address)
        {
            unlisten(old, Leave::AtOnce, fleet, None);
        }
    }

    /// Sockets for HTTP/3 take nobody new where UDP is for somebody else.
    fn stop_speaking(&mut self, address: &Address, fleet: &Arc<Fleet>) {
        for entry in self.open.values_mut().filter(|entry| entry.actual == *address) {
            if let (Address::Tcp(address), Some(quic)) = (address, entry.quic.take()) {
                self.left.insert(*address);
                unlisten(quic, Leave::Gently, fleet, None);
            }
        }
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
            let flows = match bounds {
                Fresh::Streams(bounds) => {
                    for (worker, bound) in bounds.into_iter().enumerate() {
                        fleet.tell(WorkerId(worker), Command::Listen(listener, bind, socket, bound, port));
                    }
                    None
                }
                Fresh::Datagrams(bounds) => {
                    let hold = Hold::new();
                    for (worker, bound) in bounds.into_iter().enumerate() {
                        let relay = Command::Relay(listener, bind, socket, bound, port, hold.clone());
                        fleet.tell(WorkerId(worker), relay);
                    }
                    self.hurry(&actual, fleet);
                    self.stop_speaking(&actual, fleet);
                    Some(hold.remains())
                }
            };
            self.open.insert(key, Entry { socket, quic: None, actual, flows });
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
            let actual = entry.actual.clone();
            self.hurry(&actual, fleet);
            for (worker, bound) in bounds.into_iter().enumerate() {
                fleet.tell(WorkerId(worker), Command::Receive(listener, bind, socket, bound, port));
            }
        }
        for key in planned.gone {
            if let Some(entry) = self.open.remove(&key) {
                if let (Address::Tcp(address), Some(_)) = (&entry.actual, entry.quic) {
                    self.left.insert(*address);
                }
                let is_free = |address| !self.is_quic(address, |_| true);
                let leave = match (&entry.actual, &entry.flows) {
                    (Address::Tcp(address), Some(flows)) if is_free(address) => {
                        self.leaving.insert(*address, (entry.socket, Weak::clone(flows)));
                        Leave::Gently
                    }
                    // HTTP/3 is spoken there from now on.
                    (_, Some(_)) => Leave::AtOnce,
                    (_, None) => Leave::Gently,
                };
                close(&entry, leave, fleet, None);
            }
        }
        self.leaving.retain(|_, (_, group)| group.strong_count() > 0);
    }

    /// Closes everything; each worker tells when it has accepted what waited.
    pub fn close_all(&mut self, fleet: &Arc<Fleet>, done: &Sender<()>) {
        for (_, entry) in std::mem::take(&mut self.open) {
            close(&entry, Leave::Gently, fleet, Some(done));
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
        if !self.open.values().any(|entry| !entry.is_udp() && entry.actual == *address) {
            probe(address, terms)?;
        }
        bind(address, terms, workers)
    }

    /// The addresses on which anybody listens, by TCP or UDP: no client is led there.
    pub fn by_port(&self) -> impl Iterator<Item = SocketAddr> {
        self.open.values().filter_map(|entry| tcp(&entry.actual))
    }

    /// The addresses on which a listener really listens.
    pub fn actual(&self, listener: &str) -> Vec<String> {
        self.open.iter().filter(|((name, _), _)| name == listener).map(|(_, entry)| entry.actual.to_string()).collect()
    }
}

impl Entry {
    fn is_udp(&self) -> bool {
        self.flows.is_some()
    }
}

fn close(entry: &Entry, leave: Leave, fleet: &Arc<Fleet>, done: Option<&Sender<()>>) {
    for socket in [Some(entry.socket), entry.quic].into_iter().flatten() {
        unlisten(socket, leave, fleet, done);
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

fn unlisten(socket: SocketId, leave: Leave, fleet: &Arc<Fleet>, done: Option<&Sender<()>>) {
    let (unheard, _) = tokio::sync::mpsc::channel(1);
    let done = done.unwrap_or(&unheard);
    fleet.tell_all(|_| Command::Unlisten(socket, leave, done.clone()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_have_an_address_is_told_what_to_do() {
        let out = |kind: io::ErrorKind, port| way_out(&kind.into(), port);
        let privileged = out(io::ErrorKind::PermissionDenied, Some(443));
        for words in [
            "port 443 is a privileged one",
            "AmbientCapabilities=CAP_NET_BIND_SERVICE",
            "setcap cap_net_bind_service=+ep",
            "ip_unprivileged_port_start=443",
        ] {
            assert!(privileged.contains(words), "{privileged}");
        }
        assert!(out(io::ErrorKind::AddrInUse, Some(80)).contains("`ss -lnp sport = :80`"));
        assert!(out(io::ErrorKind::AddrNotAvailable, Some(80)).contains("no interface"));
        assert_eq!(out(io::ErrorKind::OutOfMemory, Some(80)), "");
    }
}
