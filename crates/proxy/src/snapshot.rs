//! What the data plane runs by: one immutable value, swapped whole. The control crate manufactures it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use net::quic;
use net::tls::Terminator;
use observe::capture::Recorder;
use observe::stats::{ConnectionStats, RequestStats};
use wire::forwarded::{Net, Rules};
use wire::grpc::Code;
use wire::h1::Limits;
use wire::starttls::Protocol;

use crate::balance::Roster;
use crate::bandwidth::Bandwidth;
use crate::canary::Canary;
use crate::destination::Way;
use crate::filter::Filter;
use crate::intercept::Intercept;
use crate::pac::Pac;
use crate::policy::{Compress, Policy, Template};
use crate::pool::{Pool, Priority};
use crate::proof::Tokens;
use crate::quota::Quota;
use crate::relay::Coalesce;
use crate::route::Table;
use crate::users::Authentication;

/// Everything a worker needs to serve.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Counts the snapshots of this process.
    pub generation: u64,
    /// The listeners, by their [`ListenerId`]; the slots of removed ones are empty.
    pub listeners: Vec<Option<Arc<Listener>>>,
    /// The pools that keep connections ready.
    pub warm: Vec<Arc<Pool>>,
}

/// The identity of a listener: its name, as a number that stays the same over reloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u32);

/// The identity of an address of a listener: both names, as a number that stays the same over reloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BindId(pub u32);

impl BindId {
    /// The address of what no client has sent.
    pub const NONE: BindId = BindId(u32::MAX);
}

/// What an address of a listener does other than the others.
#[derive(Clone, Debug)]
pub struct Face {
    /// The address.
    pub bind: BindId,
    /// TLS, if clients speak it there.
    pub tls: Option<Tls>,
    /// What is spoken there.
    pub versions: Versions,
}

impl Snapshot {
    /// The listener of that id, if it still exists.
    pub fn listener(&self, id: ListenerId) -> Option<&Arc<Listener>> {
        self.listeners.get(id.0 as usize)?.as_ref()
    }

    /// A listener as it is now, to a connection that knew it before. A name may become that of a listener of another kind: to what was
    /// begun it is gone.
    pub(crate) fn successor(&self, known: &Listener) -> Option<&Arc<Listener>> {
        self.listener(known.id).filter(|now| now.role.is_like(known.role))
    }
}

/// Where requests arrive, and what becomes of them.
#[derive(Debug)]
pub struct Listener {
    /// Its identity.
    pub id: ListenerId,
    /// Its name in logs.
    pub name: Arc<str>,
    /// What arrives at it.
    pub role: Role,
    /// What it speaks where an address does not differ.
    pub versions: Versions,
    /// What responses by TCP say of HTTP/3, if it is spoken anywhere and that is to be known.
    pub advert: Option<Advert>,
    /// Limits of request heads.
    pub head: Limits,
    /// TLS, if clients speak it, where an address does not differ.
    pub tls: Option<Tls>,
    /// The addresses that differ.
    pub faces: Box<[Face]>,
    /// At which addresses which peers say first for whom they come (the PROXY protocol).
    pub introduced: Box<[(BindId, Box<[Net]>)]>,
    /// At which addresses connections come that were meant for others, and how.
    pub led: Box<[(BindId, Transparent)]>,
    /// How long a head may take.
    pub request_head: Duration,
    /// How long a connection may wait for its next request.
    pub keep_alive: Duration,
    /// Connections that the process may hold for this listener.
    pub max_connections: usize,
    /// What is believed and told about other hops.
    pub forwarding: Rules,
    /// How clients show who they are before their route is found, where they must.
    pub users: Option<Arc<Authentication>>,
    /// Whether it, or any of its routes, asks who clients are.
    pub asks_who: bool,
    /// Fields in which servers are told who asks: what clients say there themselves is dropped.
    pub identity: Arc<[Box<str>]>,
    /// Finds the rule of a request.
    pub table: Table,
    /// Its hosts, where clients speak TLS and not every host is served.
    pub hosts: Option<Table>,
    /// What authorities are answered that ask for a proof, where any is asked for certificates.
    pub tokens: Option<Tokens>,
    /// The file by which browsers find it, if it is a forward proxy that serves one.
    pub pac: Option<Pac>,
    /// What each rule of the table leads to.
    pub routes: Vec<Arc<Route>>,
    /// What a request without a rule leads to.
    pub default: Arc<Route>,
    /// Its connections.
    pub connections: Arc<ConnectionStats>,
    /// Which small pieces of flows wait for others on the way to clients.
    pub coalesce: Option<Coalesce>,
    /// Whether large bodies go through pipes inside the kernel.
    pub splice: bool,
    /// How what clients say in tunnels under TLS is read, if it is.
    pub intercept: Option<Arc<Intercept>>,
    /// The ports at which tunnels are read where requests in plain come out of them.
    pub inspect: Box<[RangeInclusive<u16>]>,
}

/// How the system's rules for packets lead connections to us that were meant for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transparent {
    /// By our address in the place of theirs, which is remembered.
    Redirect,
    /// As they are: our end has their address.
    Tproxy,
}

/// What arrives at a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Requests of HTTP.
    #[default]
    Http,
    /// Requests of HTTP that name the server that they are for.
    Forward,
    /// Flows of UDP.
    Udp,
    /// Flows of TCP, of which nothing is known but how they began.
    Tcp {
        /// What has to be heard of a client before its route is known.
        hears: Hears,
    },
}

/// Whose first words some route or pool wants to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hears {
    /// Those of a client of TLS that ends elsewhere.
    pub hello: bool,
    /// Those of a client of PostgreSQL.
    pub postgres: bool,
    /// Those of a client of MQTT.
    pub mqtt: bool,
    /// Those of a client of HTTP.
    pub http: bool,
}

impl Role {
    /// Whether it is requests that arrive.
    pub fn has_requests(self) -> bool {
        matches!(self, Role::Http | Role::Forward)
    }

    /// Whether what arrives is of the same kind, so that a connection of one may go on by the other.
    fn is_like(self, other: Role) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// Versions of HTTP that a listener speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// HTTP/1.0 and HTTP/1.1.
    pub h1: bool,
    /// HTTP/2.
    pub h2: bool,
    /// HTTP/3.
    pub h3: bool,
}

/// What `Alt-Svc` says of HTTP/3 (RFC 7838).
#[derive(Clone, Copy, Debug)]
pub struct Advert {
    /// The port; that of the connection if absent.
    pub port: Option<u16>,
    /// How long it may be remembered.
    pub max_age: Duration,
}

/// TLS towards clients.
#[derive(Clone, Debug)]
pub struct Tls {
    /// What clients are shown, and asked for.
    pub terminator: Terminator,
    /// The protocol inside of which it begins; at once if absent.
    pub starttls: Option<Protocol>,
    /// Whether a client may go on in plain there.
    pub lets_plain: bool,
    /// The same over QUIC, where HTTP/3 is spoken.
    pub quic: Option<quic::Server>,
    /// Whether requests over QUIC may come before the handshake is done.
    pub early_data: bool,
    /// How long a handshake may take.
    pub patience: Duration,
    /// How many may be under way in the process.
    pub most: usize,
    /// How many are.
    pub under_way: Arc<AtomicUsize>,
}

/// A handshake that is counted as under way for as long as this lives.
#[derive(Debug)]
pub(crate) struct UnderWay<'a>(&'a AtomicUsize);

impl Tls {
    /// Begins a handshake, unless too many are under way.
    pub(crate) fn begin(&self) -> Option<UnderWay<'_>> {
        let place = UnderWay(&self.under_way);
        (self.under_way.fetch_add(1, Ordering::Relaxed) < self.most).then_some(place)
    }

    /// How many handshakes are under way in the process.
    pub(crate) fn handshakes_under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Listener {
    /// TLS at one of its addresses, if clients speak it there.
    pub fn tls_at(&self, bind: BindId) -> Option<&Tls> {
        self.faces.iter().find(|face| face.bind == bind).map_or(self.tls.as_ref(), |face| face.tls.as_ref())
    }

    /// Whether a peer says first for whom it comes.
    pub fn introduces(&self, bind: BindId, peer: IpAddr) -> bool {
        let nets = self.introduced.iter().find(|(at, _)| *at == bind);
        nets.is_some_and(|(_, nets)| nets.iter().any(|net| net.contains(peer.to_canonical())))
    }

    /// How connections come to one of its addresses that were meant for others, if they do.
    pub fn leads(&self, bind: BindId) -> Option<Transparent> {
        self.led.iter().find(|(at, _)| *at == bind).map(|(_, by)| *by)
    }

    /// Whether requests in plain are read that come in tunnels to this port.
    pub fn inspects(&self, port: u16) -> bool {
        self.inspect.iter().any(|ports| ports.contains(&port))
    }

    /// What is spoken at one of its addresses.
    pub fn versions_at(&self, bind: BindId) -> Versions {
        self.faces.iter().find(|face| face.bind == bind).map_or(self.versions, |face| face.versions)
    }

    /// Connections that the process holds for this listener.
    pub fn active(&self) -> usize {
        let active: u64 = self.connections.read().map(|(_, worker)| worker.active).sum();
        usize::try_from(active).unwrap_or(usize::MAX)
    }
}

/// What becomes of a request that matched.
#[derive(Debug)]
pub struct Route {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// The policies, in the order in which the request meets them.
    pub policies: Box<[Arc<Policy>]>,
    /// How clients show who they are once this route is found: each of these is asked for.
    pub users: Box<[Arc<Authentication>]>,
    /// How its responses are compressed, if they are.
    pub compress: Option<Arc<Compress>>,
    /// How fast its bodies go, if that is limited.
    pub bandwidth: Option<Arc<Bandwidth>>,
    /// How much goes through for each who asks: all of these hold.
    pub quotas: Box<[Arc<Quota>]>,
    /// Into which archive its exchanges go, if they do.
    pub capture: Option<Arc<Recorder>>,
    /// Which of its responses are refused; the one that is asked first stands first.
    pub filters: Box<[Arc<Filter>]>,
    /// Whether calls of browsers become plain calls of gRPC.
    pub grpc_web: bool,
    /// Where it ends.
    pub ending: Ending,
    /// Bytes of a request's body.
    pub max_request_body: u64,
    /// The longest gap between two reads of a request's body.
    pub request_body: Duration,
    /// While the client takes nothing of an answer that is our own.
    pub stream: Duration,
    /// From head to the end of the response.
    pub total: Option<Duration>,
    /// While a flow of UDP is silent that has no server.
    pub flow: Duration,
    /// While nobody says anything in an association of SOCKS.
    pub tunnel: Duration,
    /// Who is served first of those that wait for a server.
    pub priority: Priority,
    /// Its requests.
    pub stats: Arc<RequestStats>,
}

/// Where a route ends.
#[derive(Debug)]
pub enum Ending {
    /// At one of these, drawn by its share. Most routes have one.
    Pools(Box<[Arm]>),
    /// At one of two versions of a service.
    Canary(Box<Canary>),
    /// At the server that the client has asked for, by the first of these ways that leads anywhere.
    Ways(Box<[Way]>),
    /// At another place that the client is told.
    Redirect(Redirect),
    /// Here, with this answer.
    Respond(Respond),
    /// Here, refused.
    Deny(Deny),
    /// Here: a flow is closed.
    Close {
        /// By a reset, as if nobody listened.
        reset: bool,
    },
    /// Nowhere: no route matched.
    NoRoute,
}

impl Ending {
    /// The pools that it may lead to.
    pub fn arms(&self) -> &[Arm] {
        match self {
            Ending::Pools(arms) => arms,
            Ending::Canary(canary) => &canary.arms,
            Ending::Ways(_)
            | Ending::Redirect(_)
            | Ending::Respond(_)
            | Ending::Deny(_)
            | Ending::Close { .. }
            | Ending::NoRoute => &[],
        }
    }
}

/// One pool that a route may lead to, with what holds on the way there.
#[derive(Debug)]
pub struct Arm {
    /// The pool.
    pub pool: Arc<Pool>,
    /// Those of its servers that may be asked, if it is not all of them.
    pub subset: Option<Arc<Roster>>,
    /// The sum of this arm's share and of those before it, in hundredths of a percent.
    pub up_to: u32,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// When to try again.
    pub retries: Retries,
    /// Whether its servers are addresses of one server: they are connected to in a race.
    pub races: bool,
    /// Which of this host's addresses connections have, if the system does not choose.
    pub sources: Option<Sources>,
}

/// Addresses of this host, one of each family at most.
#[derive(Clone, Copy, Debug)]
pub struct Sources {
    /// That of IPv4.
    pub v4: Option<Ipv4Addr>,
    /// That of IPv6.
    pub v6: Option<Ipv6Addr>,
}

impl Sources {
    /// The one with which an address can be connected to.
    pub fn towards(self, ip: IpAddr) -> Option<IpAddr> {
        match ip {
            IpAddr::V4(_) => self.v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.v6.map(IpAddr::V6),
        }
    }
}

impl Arm {
    /// Whether any of its servers may be used now.
    pub fn has_server(&self) -> bool {
        self.pool.servers.iter().any(|server| server.is_usable())
    }

    /// In which order servers are asked.
    pub(crate) fn roster(&self) -> &Roster {
        self.subset.as_deref().unwrap_or(&self.pool.roster)
    }
}

/// How long things may take on the way to a server.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// In the queue.
    pub queue: Duration,
    /// From the last byte of the request to the response's head.
    pub response: Duration,
    /// Between two reads of the response's body, or while the client takes nothing.
    pub stream: Duration,
    /// While a tunnel is silent.
    pub tunnel: Duration,
    /// While a flow of UDP is silent.
    pub flow: Duration,
    /// From the choice of a server to its response's head.
    pub per_try: Option<Duration>,
}

/// When a request is tried again.
#[derive(Clone, Debug, Default)]
pub struct Retries {
    /// Tries beyond the first.
    pub extra: u32,
    /// No connection could be made.
    pub connect: bool,
    /// The connection ended before the response's head.
    pub reset: bool,
    /// The response's head did not come in time.
    pub timeout: bool,
    /// The server answered one of these.
    pub statuses: Box<[u16]>,
    /// The server ended a call of gRPC so, in the head of its answer.
    pub codes: Box<[Code]>,
    /// The wait before another try.
    pub backoff: Option<Backoff>,
    /// Their share of the pool's requests, in hundredths of a percent.
    pub budget: Option<u32>,
    /// When the same request is sent to other servers, too.
    pub hedge: Option<Hedge>,
}

/// When a request is sent to other servers, too.
#[derive(Clone, Copy, Debug)]
pub struct Hedge {
    /// After this long without a response's head, and after as long again for each further server.
    pub after: Duration,
    /// To how many others.
    pub extra: u32,
}

/// The wait before another try.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The longest one before the second try; it doubles with every try.
    pub base: Duration,
    /// The longest one before any try.
    pub max: Duration,
}

/// An answer that names another place.
#[derive(Debug)]
pub struct Redirect {
    /// Its status.
    pub status: u16,
    /// The place.
    pub to: Place,
}

/// The place that a redirect names.
#[derive(Debug)]
pub enum Place {
    /// A URL or path; the request's query is appended unless the text has a `?`.
    Location(Template),
    /// The request's own URL with these parts changed.
    Parts {
        /// `https` if true, `http` if false, the request's own if absent.
        secure: Option<bool>,
        /// Another host.
        host: Option<Box<str>>,
        /// Another port.
        port: Option<u16>,
    },
}

/// An answer made here.
#[derive(Debug)]
pub struct Respond {
    /// Its status.
    pub status: u16,
    /// Its fields, without framing.
    pub fields: Box<[(Box<str>, Box<str>)]>,
    /// Its content.
    pub body: Box<[u8]>,
}

/// A refusal.
#[derive(Debug)]
pub struct Deny {
    /// Its status.
    pub status: u16,
    /// What the answer says.
    pub reason: Option<Box<str>>,
    /// Whom people may ask about it.
    pub contact: Option<Box<str>>,
}
