//! The typed model: what a configuration means, with every short form expanded and every default applied.
//!
//! A [`Spec`] cannot be wrong in itself: names are resolved to ids, patterns compile, totals add up. What can still
//! fail when it is put to work (a server's name, an address in use, a file) carries the [`Span`] where it was written.
//!
//! The only fields left open are those of which the *nearest* wins ([`Timeouts`], [`Retries`], [`Limits`]): they stand as
//! options on every level, and [`Timeouts::or`] and its sisters fold them: route, outer routes, site, pool, listener, default.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::span::Span;

mod algorithms;
mod balance;
mod bind;
mod canary;
mod egress;
mod ending;
mod health;
mod intercept;
mod list;
mod matching;
mod nat;
mod policy;
mod pool;
mod protocol;
mod quic;
mod sticky;
mod tier;
mod tls;
mod tuning;
mod users;

pub use algorithms::{Algorithms, GROUPS, SUITES, Suite};
pub use balance::{Algorithm, Balance};
pub use bind::{Advert, Bind, BindAddress, BindTls, Http3, Transparent};
pub use canary::{Canary, Cohorts, Course, Force, Guard};
pub use egress::{Egress, Pac, PacProtocol, PacProxy, Source};
pub use ending::{Deny, Redirect, RedirectTarget, Respond, Scheme};
pub use health::{Health, HttpProbe, LatencyOutlier, Outlier, Probe, SuccessRate};
pub use intercept::Intercept;
pub use list::{List, ListId};
pub use matching::{
    BodyMatch, BodyTest, HostPattern, JsonPath, JsonStep, Kind, Listed, OverLimit, PathPattern, Predicate, Schedule,
    TextMatch, TextTest, ValueMatch, Zone,
};
pub use nat::{Engine, Nat, NatMode, Transport};
pub use policy::{
    Bandwidth, Capture, Compress, Cookies, Filter, HeaderEdits, Headers, MediaType, Mirror, Part, Per, Policy,
    PolicyKind, Privacy, Quota, Referer, Rewrite, Selector, Template, UserAgent, Words,
};
pub use pool::{Bounds, Breaker, Pool, PoolHost};
pub use protocol::{Credentials, Protocol};
pub use quic::Quic;
pub use sticky::{Secret, Sticky};
pub use tier::{Labels, Tier};
pub use tls::{
    Acme, Certificate, CertificateId, CertificateSource, Challenge, ClientCert, ListenerTls, MinVersion, NamedFile,
    PoolTls,
};
pub use tuning::{Backoff, Hedge, Limits, Priority, Retries, RetryIf, Timeouts};
pub use users::{BasicAuth, BearerAuth, CertAuth, CertName, Groups, is_group};

/// A whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The zone that this process is in.
    pub zone: Option<String>,
    /// What is signed with; absent draws one at the start.
    pub secret: Option<Secret>,
    /// Certificates with names.
    pub certificates: Vec<Certificate>,
    /// How many workers; absent means one for each CPU of the quota.
    pub workers: Option<usize>,
    /// Whether large bodies between plain connections go through pipes inside the kernel (`splice(2)`).
    pub splice: bool,
    /// Where access lines go; absent means nowhere (`access_log: off`).
    pub access_log: Option<AccessLog>,
    /// The operator's listener; absent means none.
    pub admin: Option<Admin>,
    /// Where flows arrive, in file order.
    pub listeners: Vec<Listener>,
    /// Sites, in file order; listeners refer to them by index.
    pub sites: Vec<Site>,
    /// Every policy, named or inline, each once: `use` lists refer to them by [`PolicyId`], so that all uses of a named
    /// one share its state.
    pub policies: Vec<Policy>,
    /// Every pool, in file order, then those that a literal `host:port` in `to` stands for.
    pub pools: Vec<Pool>,
    /// Lists of sites, in file order; predicates refer to them by index.
    pub lists: Vec<List>,
    /// How many connections the kernel remembers whose packets it rewrites; its own default if absent.
    pub nat_connections: Option<u32>,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// How names become addresses.
    pub dns: Dns,
    /// The folder for files that are written, with the folder of the file that names it in front; absent means the command's
    /// own default.
    pub state: Option<PathBuf>,
}

impl Spec {
    /// The pool of that id.
    pub fn pool(&self, id: PoolId) -> &Pool {
        // Ids are only made while the list they point into is built.
        &self.pools[id.0]
    }

    /// The policy of that id.
    pub fn policy(&self, id: PolicyId) -> &Policy {
        &self.policies[id.0]
    }

    /// The site of that id.
    pub fn site(&self, id: SiteId) -> &Site {
        &self.sites[id.0]
    }
}

/// An index into [`Spec::pools`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub usize);

/// An index into [`Spec::policies`]; equal ids share state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(pub usize);

/// An index into [`Spec::sites`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteId(pub usize);

/// Where access lines go and how they look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// The sink.
    pub to: LogSink,
    /// The form of a line.
    pub format: LogFormat,
    /// Where it was written, for a file that cannot be opened.
    pub span: Span,
}

/// Where access lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSink {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to; a relative path is in the state folder.
    File(PathBuf),
}

/// The form of an access line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// The combined log format of the Apache server.
    Combined,
}

/// The operator's listener: status page, API, metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// A loopback address or a Unix socket, never anything else.
    pub bind: AdminBind,
    /// Where it was written.
    pub span: Span,
}

/// Where the operator's listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminBind {
    /// A loopback address and a port (0 lets the kernel choose).
    Loopback(SocketAddr),
    /// A Unix socket; a relative path is in the state folder.
    Unix(PathBuf),
}

/// One place where flows arrive.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Its key under `listeners`.
    pub name: String,
    /// Where its name was written.
    pub span: Span,
    /// What it speaks.
    pub role: Role,
    /// Where it listens: at least one.
    pub binds: Vec<Bind>,
    /// HTTP versions that are served where an address does not differ, each once: at least one of a listener of HTTP.
    pub http: Vec<HttpVersion>,
    /// What is told of HTTP/3 where it is served.
    pub http3: Http3,
    /// Limits that hold before a route is known.
    pub head: HeadLimits,
    /// TLS towards clients where an address does not differ; absent is plain.
    pub tls: Option<ListenerTls>,
    /// How long a request's head may take, from its first byte (the first on a connection: from accept).
    pub request_head_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub keep_alive_timeout: Duration,
    /// The listener's level of what the nearest decides.
    pub timeouts: Timeouts,
    /// The listener's level of what the nearest decides.
    pub retries: Retries,
    /// The listener's level of what the nearest decides.
    pub limits: Limits,
    /// What is told and believed about other hops.
    pub forwarding: Forwarding,
    /// Which small pieces wait for others on the way to clients.
    pub coalesce: Option<Coalesce>,
    /// What may be connected to, with [`Role::Forward`] alone.
    pub egress: Option<Egress>,
    /// The file by which browsers find it, if it serves one.
    pub pac: Option<Pac>,
    /// How what clients say in tunnels is read, with [`Role::Forward`] alone.
    pub intercept: Option<Intercept>,
    /// The ports at which tunnels are read where requests in plain come out of them, with [`Role::Forward`] alone.
    pub inspect: Vec<RangeInclusive<u16>>,
    /// Policies that run before those of site and route.
    pub uses: Vec<PolicyId>,
    /// How packets are rewritten, with [`Role::Nat`] alone.
    pub nat: Option<Nat>,
    /// What it serves.
    pub serves: Serves,
}

impl Listener {
    /// Where it sends packets, with [`Role::Nat`] alone.
    pub fn packets_to(&self) -> Option<PoolId> {
        match &self.serves {
            Serves::Routes(routes) if self.role == Role::Nat => match routes.first()?.ending {
                Ending::To(pool) => Some(pool),
                _ => None,
            },
            Serves::Routes(_) | Serves::Sites(_) => None,
        }
    }

    /// Whether clients come to one of its addresses that know of it, and not all are led there by the system.
    pub fn is_known(&self) -> bool {
        self.binds.iter().any(|bind| bind.transparent.is_none())
    }

    /// TLS at one of its addresses.
    pub fn tls_at<'a>(&'a self, bind: &'a Bind) -> Option<&'a ListenerTls> {
        match &bind.tls {
            BindTls::Inherited => self.tls.as_ref(),
            BindTls::Off => None,
            BindTls::Own(own) => Some(own),
        }
    }

    /// Everything that it says of TLS: for all addresses that do not differ, and for those that do, by their place.
    pub fn all_tls(&self) -> impl Iterator<Item = (Option<usize>, &ListenerTls)> {
        let own = self.binds.iter().enumerate().filter_map(|(n, bind)| match &bind.tls {
            BindTls::Own(own) => Some((Some(n), &**own)),
            BindTls::Inherited | BindTls::Off => None,
        });
        self.tls.as_ref().map(|tls| (None, tls)).into_iter().chain(own)
    }
}

/// What a listener does with its flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// A reverse proxy for HTTP.
    #[default]
    Http,
    /// A proxy for requests that name the server that they are for.
    Forward,
    /// Flows of TCP.
    Tcp,
    /// Flows of UDP.
    Udp,
    /// Packets that the kernel rewrites.
    Nat,
}

/// How much of a flow may be gathered before it goes on, and how long that may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coalesce {
    /// So many bytes wait for no others.
    pub bytes: u32,
    /// How long the first byte waits for others at most.
    pub delay: Duration,
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpVersion {
    /// HTTP/1.0 and HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
    /// HTTP/3.
    H3,
}

/// What a listener serves.
#[derive(Clone, Debug, PartialEq)]
pub enum Serves {
    /// Its own routes; an ending of its own is one route without a match.
    Routes(Vec<Route>),
    /// The sites that name it.
    Sites(Vec<SiteId>),
}

/// Limits that hold before a route is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of a request's head; beyond is 431.
    pub request_head: u64,
    /// Bytes of a request line; beyond is 414.
    pub request_line: u64,
    /// Fields of a head; beyond is 431.
    pub fields: u32,
    /// Connections at a time in the process; absent means derived from the descriptor limit.
    pub connections: Option<u32>,
}

/// What is told to servers about the client, and whose word about it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// What happens to the fields that name the client.
    pub client: ForwardClient,
    /// Whether `Via` is written, on requests and responses.
    pub via: bool,
    /// Which fields name the client.
    pub format: ForwardFormat,
    /// Peers whose fields are believed; from others they are dropped.
    pub trust: Vec<IpNet>,
    /// Further fields that are removed, in lower case, those with a `*` at the end by their beginning; absent is what goes without saying.
    pub identifying: Option<Vec<String>>,
}

impl Forwarding {
    /// Nobody is believed, and nothing is told.
    pub const NOTHING: Forwarding = Forwarding {
        client: ForwardClient::None,
        via: false,
        format: ForwardFormat::XForwarded,
        trust: Vec::new(),
        identifying: None,
    };
}

/// What happens to the fields that name the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardClient {
    /// The peer is appended to what a trusted peer sent.
    Append,
    /// The client, as found through the trusted peers, is written alone.
    Replace,
    /// What a trusted peer sent is passed on as it is, and nothing is added.
    Keep,
    /// Nothing is passed on and nothing is written.
    None,
}

/// Which fields name the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardFormat {
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Rfc7239,
    /// Both.
    Both,
}

/// A name, or several, on shared listeners.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Its key under `sites`.
    pub name: String,
    /// Where its name was written.
    pub span: Span,
    /// Its hosts: an exact one beats the longest wildcard, which beats the default.
    pub hosts: Vec<SiteHost>,
    /// Policies that run after the listener's and before the routes'.
    pub uses: Vec<PolicyId>,
    /// Its routes; an ending of its own is one route without a match.
    pub routes: Vec<Route>,
    /// The site's level of what the nearest decides.
    pub priority: Option<Priority>,
    /// The site's level of what the nearest decides.
    pub timeouts: Timeouts,
    /// The site's level of what the nearest decides.
    pub retries: Retries,
    /// The site's level of what the nearest decides.
    pub limits: Limits,
}

/// A host that a site answers for; names are lower case, without port and trailing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SiteHost {
    /// This name.
    Exact(String),
    /// `*.example.com` holds `example.com`: one or more labels in front of it, never itself.
    Wildcard(String),
    /// Every host that no other site of the listener answers for, and requests without one.
    Default,
}

/// One route: the first that matches in file order wins.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its name in logs and metrics, if it has one.
    pub name: Option<String>,
    /// Where it begins.
    pub span: Span,
    /// What it matches; absent is everything.
    pub matches: Option<Predicate>,
    /// Policies that run after those of the outer routes.
    pub uses: Vec<PolicyId>,
    /// The labels of the servers that `to` may choose among; empty is all of them.
    pub subset: Labels,
    /// What it does.
    pub ending: Ending,
    /// With which of this host's addresses it connects to servers that are asked for; absent is as the route around it, or the listener,
    /// says.
    pub source: Option<Source>,
    /// The route's level of what the nearest decides.
    pub priority: Option<Priority>,
    /// The route's level of what the nearest decides.
    pub timeouts: Timeouts,
    /// The route's level of what the nearest decides.
    pub retries: Retries,
    /// The route's level of what the nearest decides.
    pub limits: Limits,
}

/// What a route does.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// Sends the request to a pool.
    To(PoolId),
    /// Sends the request to the server that it names.
    Origin,
    /// Sends the request by the first of these ways that leads anywhere; two at least.
    Ways(Vec<Way>),
    /// Sends each request to one of several pools by chance; the shares total 100 %.
    Split(Vec<Portion>),
    /// Sends each client to one of two versions of a service.
    Canary(Canary),
    /// Answers with another place.
    Redirect(Redirect),
    /// Answers by itself.
    Respond(Respond),
    /// Refuses.
    Deny(Deny),
    /// Goes on in a nested list; nothing matching there ends in the default, never in a later outer route.
    Routes(Vec<Route>),
}

impl Ending {
    /// The pools that it sends to by itself; what is nested in it has others.
    pub fn pools(&self) -> Vec<PoolId> {
        match self {
            Ending::To(pool) => vec![*pool],
            Ending::Ways(ways) => ways.iter().filter_map(|way| way.pool()).collect(),
            Ending::Split(portions) => portions.iter().map(|portion| portion.to).collect(),
            Ending::Canary(canary) => vec![canary.stable, canary.candidate],
            Ending::Origin | Ending::Redirect(_) | Ending::Respond(_) | Ending::Deny(_) | Ending::Routes(_) => {
                Vec::new()
            }
        }
    }
}

/// One of several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the server that the request names.
    Origin,
    /// To a pool, or by it, if its servers are proxies.
    Pool(PoolId),
}

impl Way {
    /// The pool, if it is one.
    pub fn pool(self) -> Option<PoolId> {
        match self {
            Way::Origin => None,
            Way::Pool(id) => Some(id),
        }
    }
}

/// A pool's part of a split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Portion {
    /// Where to.
    pub to: PoolId,
    /// Hundredths of a percent: 10 % is 1000, and all portions of a split total 10000.
    pub share: u32,
}

/// One server of a pool; its identity is name and address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its key in a map of servers, or its address as written; of a server from SRV records the `host:port` that they say.
    pub name: String,
    /// Where it is.
    pub address: ServerAddress,
    /// Its share of the load beside the others: 1 to 65535.
    pub weight: u32,
    /// Open connections at a time in the process; absent is no limit.
    pub max_connections: Option<u32>,
    /// What it writes into the ids of its connections over QUIC.
    pub quic_id: Option<Vec<u8>>,
    /// When it is asked.
    pub tier: Tier,
    /// Where its address was written, for a name that does not resolve.
    pub span: Span,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// An address that needs no resolving.
    Ip(SocketAddr),
    /// A name (lower case) that is resolved again when its TTL ends.
    Name {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
    /// As many servers as the SRV records (RFC 2782) of this name (lower case) say.
    Service(String),
    /// As many servers as this file lists.
    File(ServersFile),
}

/// A file of servers, which is read again when it changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServersFile {
    /// Where it is.
    pub path: PathBuf,
    /// How messages name it.
    pub name: String,
}

impl ServerAddress {
    /// Whether it stands for a list of servers that somebody else keeps.
    pub fn is_source(&self) -> bool {
        matches!(self, ServerAddress::Service(_) | ServerAddress::File(_))
    }
}

/// How the process ends on SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How long it still accepts while `/readyz` already says 503.
    pub delay: Duration,
    /// How long what is under way may then take.
    pub drain: Duration,
}

/// How names become addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Resolvers to ask; none means those of the system.
    pub servers: Vec<SocketAddr>,
    /// Fixed answers (names in lower case), which come before any resolver.
    pub hosts: Vec<(String, Vec<IpAddr>)>,
}
