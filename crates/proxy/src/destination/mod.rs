//! Where a request goes that names its server itself: the forward proxy.
//!
//! The server that a client has asked for becomes a pool of its own addresses, and everything behind here is as for any pool. What may
//! be connected to at all is settled here, by address, before anything is dialled: a name that means one thing to whoever looks and
//! another to whoever connects gains nothing.

mod datagrams;
mod egress;
mod origins;
mod ways;

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use base::{Fault, Kind, Retry};
use http::Conn;
use net::stream::Peek;
use wire::head::{Method, Scheme};
use wire::{Head, Version, uri};

pub(crate) use datagrams::{Lead, Led, lead as lead_to};
pub use egress::{Egress, Own, Refused};
pub(crate) use origins::Origins;
pub use origins::{Names, Origin, Originators};
pub(crate) use ways::{INDIRECT, has_another_way, lead, lead_elsewhere, takes_datagrams};
pub use ways::{Parent, Way};

use crate::exchange::Exchange;
use crate::pool::trunks;
use crate::session::Session;
use crate::session::inside::Secure;
use crate::snapshot::Arm;

/// The one way to write a host: an address has many, and rules know one.
pub(crate) fn settle_host(host: &mut Vec<u8>) {
    let text = std::str::from_utf8(host).unwrap_or_default();
    match bare(text).parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => *host = ip.to_string().into_bytes(),
        Ok(IpAddr::V6(ip)) => *host = format!("[{ip}]").into_bytes(),
        Err(_) => {}
    }
}

/// An address in that form.
pub(crate) fn host_of(ip: IpAddr) -> Vec<u8> {
    let mut host = ip.to_string().into_bytes();
    settle_host(&mut host);
    host
}

/// Whether a host in that form is an address.
pub(crate) fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()
}

/// Whether a request names the server that it is for, in a way that we can follow.
pub(crate) fn admit(head: &Head) -> Result<(), (Kind, &'static str)> {
    match head.scheme() {
        // RFC 8441 section 4: whoever asks for a protocol that we do not know asks us, and no server.
        _ if head.method() == Method::Connect && !head.protocol().is_empty() => {
            Err((Kind::Unsupported, "a protocol that nobody speaks here"))
        }
        _ if head.method() == Method::Connect => Ok(()),
        Scheme::Http => Ok(()),
        Scheme::Https => Err((Kind::Unsupported, "an https target that is not asked for by CONNECT")),
        Scheme::Unsaid => Err((Kind::Malformed, "a target without a server: this is a forward proxy")),
    }
}

/// Whether a request may go on to the address that its connection was opened to, which it cannot choose: the host that it names decides
/// the rules alone. One that names none has the address.
pub(crate) fn admit_led(head: &mut Head, host: &mut Vec<u8>, asked: SocketAddr) -> Result<(), (Kind, &'static str)> {
    match head.scheme() {
        _ if head.method() == Method::Connect => {
            return Err((Kind::Unsupported, "CONNECT is for a proxy that is known"));
        }
        Scheme::Https => return Err((Kind::Misdirected, "an https target on a plain connection")),
        Scheme::Http | Scheme::Unsaid => {}
    }
    if host.is_empty() {
        *host = host_of(asked.ip());
        name(head, host, asked.port(), 80);
    }
    match uri::port(head.authority()) {
        Some(port) if port != asked.port() => {
            Err((Kind::Misdirected, "another port than the connection was opened to"))
        }
        _ => Ok(()),
    }
}

/// Says in a request that names no host, as HTTP/1.0 need not, for which it is: others are to know it, too.
pub(crate) fn name(head: &mut Head, host: &[u8], port: u16, usual: u16) {
    let mut authority = host.to_vec();
    if port != usual {
        authority.extend_from_slice(format!(":{port}").as_bytes());
    }
    head.set_authority(&authority);
    head.set(b"Host", &authority);
}

/// The port that a request asks for.
pub(crate) fn port(head: &Head) -> Option<u16> {
    uri::port(head.authority()).or((head.method() != Method::Connect).then_some(80)).filter(|port| *port > 0)
}

/// The server that a client has asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Its host in normal form; an address of IPv6 without brackets.
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    /// Whether it is for tunnels, whose connections are nobody's afterwards and were nobody's before.
    pub(crate) tunnel: bool,
    /// Whether HTTP/2 is spoken with it.
    pub(crate) h2: bool,
    /// The name that its certificate must be for, where it is we who speak TLS with it.
    pub(crate) secure: Option<Box<str>>,
}

impl Place {
    /// Its host and port as they are written.
    pub(crate) fn authority(&self) -> String {
        let Place { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Whether a request in plain would come to it by its own words. One that has come where it leads in another way may name whom it likes.
    pub(crate) fn is_named_by(&self, head: &Head) -> bool {
        let mut host = uri::host(head.authority()).into_owned();
        settle_host(&mut host);
        let host = std::str::from_utf8(&host).unwrap_or_default();
        *bare(host) == *self.host && port(head) == Some(self.port)
    }
}

/// Finds the addresses of the server that a request asks for, and what leads there.
async fn find(session: &mut Session, x: &mut Exchange, origin: &Arc<Origin>) -> Result<Arc<Arm>, Fault> {
    let place = asked_for(x, &origin.egress)?;
    if place.secure.is_some() && origin.secure.is_none() {
        x.notes.reason = UNREAD;
        return Err(Fault::client(Kind::Misdirected));
    }
    let now = Instant::now();
    if let Some(arm) = session.worker.origins.known(&place, origin, now) {
        x.notes.arm = Some(0);
        begin_with_lead(session, &place, &arm, None);
        return Ok(arm);
    }
    let (addresses, ttl) = match place.host.parse::<IpAddr>() {
        Ok(ip) => (vec![ip], FOREVER),
        Err(_) => named(session, x, &place.host, &origin.names, origin.arm.timeouts.connect).await?,
    };
    let allowed = judged(origin, addresses, place.port).map_err(|why| {
        x.notes.reason = why;
        Fault::client(Kind::Denied)
    })?;
    x.notes.arm = Some(0);
    let arm = session.worker.origins.learn(&session.worker, place.clone(), origin, allowed, now + ttl);
    begin_with_lead(session, &place, &arm, None);
    Ok(arm)
}

/// Which of a server's addresses may be connected to; why, if none.
fn judged(origin: &Origin, addresses: Vec<IpAddr>, port: u16) -> Result<Vec<SocketAddr>, &'static str> {
    let (mut why, sources) = ("", origin.arm.sources);
    let judged = addresses.into_iter().filter_map(|ip| {
        if sources.is_some_and(|sources| sources.towards(ip.to_canonical()).is_none()) {
            why = "no address of its family to connect from";
            return None;
        }
        origin.egress.judge(SocketAddr::new(ip, port)).inspect_err(|refused| why = refused.reason()).ok()
    });
    let allowed: Vec<SocketAddr> = judged.collect();
    if allowed.is_empty() { Err(why) } else { Ok(allowed) }
}

/// Puts the connection that was made when the tunnel was opened where the request finds it, if it leads there: on to a server, where a
/// proxy has led it.
fn begin_with_lead(session: &Session, place: &Place, arm: &Arm, beyond: Option<Rc<Place>>) {
    let Some(inside) = &session.inside else { return };
    // One that does not suit is closed: this request may need its place.
    let Some((stream, lease)) = inside.lead().filter(|_| inside.h2 == place.h2) else { return };
    let address = &lease.server().id.address;
    let Some(server) = arm.pool.servers.iter().find(|server| server.id.address == *address) else { return };
    let lease = if Arc::ptr_eq(server, lease.server()) { Some(lease) } else { server.lease(&arm.pool.gate) };
    let Some(lease) = lease else { return };
    if inside.h2 {
        trunks::adopt(&session.worker, &arm.pool, lease, stream);
    } else {
        let (idle, conn) = (&session.worker.idle, Conn::new(stream));
        idle.park_beyond(conn, lease, beyond, Instant::now(), arm.pool.pooled);
    }
}

/// What a request asks for: by its target, for a forward proxy is asked for nothing else; or where the tunnel leads in which it has come,
/// or its connection was opened to.
fn asked_for(x: &mut Exchange, egress: &Egress) -> Result<Place, Fault> {
    let (inside, led) = (x.facts.inside.clone(), x.facts.led.map(|to| to.ip().to_string()));
    let host = match (&inside, &led) {
        (Some(inside), _) => Some(&*inside.host),
        (None, Some(led)) => Some(&**led),
        (None, None) => std::str::from_utf8(&x.facts.host).ok(),
    };
    let (Some(host), Some(port)) = (host.filter(|host| !host.is_empty()), x.facts.port) else {
        x.notes.reason = "no host and port to go to";
        return Err(Fault::client(Kind::Malformed));
    };
    let host = bare(host).into();
    let secure = match inside.as_ref().and_then(|inside| inside.secure.as_ref()) {
        None => None,
        Some(Secure { doubt: Some(doubt), .. }) => {
            x.notes.reason = doubt;
            return Err(Fault::server(Kind::ServerTls, Retry::Never));
        }
        Some(Secure { name, .. }) => Some(name.clone()),
    };
    // Of servers of HTTP/2 few can be asked for a WebSocket (RFC 8441); of those of HTTP/1.1 all that have any.
    let h2 = match &inside {
        Some(inside) => inside.h2,
        // Who knows of no proxy and begins with it knows that its server speaks it.
        None => led.is_some() && x.client.version == Version::H2,
    };
    let h2 = h2 && !x.facts.websocket;
    let place = Place { host, port, tunnel: x.is_tunnel(), h2, secure };
    let (allowed, reason) = match place.tunnel || place.secure.is_some() {
        true => (egress.lets_connect_to(port), "a port that tunnels may not go to and not in egress.connect_ports"),
        false => (egress.lets_ask(port), "a port at which nobody speaks HTTP and not in egress.connect_ports"),
    };
    if !allowed {
        x.notes.reason = reason;
        return Err(Fault::client(Kind::Denied));
    }
    Ok(place)
}

/// Whoever is inside of a tunnel whose TLS has ended here is not led on in plain.
pub(crate) const UNREAD: &str = "tunnels are not looked into any more";

/// An address that stands for itself does not change.
const FOREVER: Duration = Duration::from_secs(3600);

/// Whether a host that is an address is one of a name's, by what we know of that: what a client says of it is not believed.
///
/// # Errors
/// The client has gone, or nobody waits for an answer any more.
pub(crate) async fn is_at(
    session: &mut Session,
    x: &mut Exchange,
    name: &str,
    host: &str,
    names: &Arc<Names>,
    patience: Duration,
) -> Result<bool, Fault> {
    let Ok(ip) = bare(host).parse::<IpAddr>() else { return Ok(false) };
    match named(session, x, name, names, patience).await {
        Ok((addresses, _)) => Ok(addresses.iter().any(|address| address.to_canonical() == ip)),
        Err(fault) if fault.kind == Kind::Unresolved => {
            (x.notes.reason, x.notes.cause) = ("", Cow::Borrowed(""));
            Ok(false)
        }
        Err(fault) => Err(fault),
    }
}

/// An address of IPv6 without its brackets, as others want it.
pub(crate) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// The addresses of a name. Whoever knows it better than name servers is asked first.
async fn named(
    session: &mut Session,
    x: &mut Exchange,
    name: &str,
    names: &Arc<Names>,
    patience: Duration,
) -> Result<(Vec<IpAddr>, Duration), Fault> {
    if let Some(addresses) = names.hosts.get(name) {
        return Ok((addresses.clone(), FOREVER));
    }
    let resolver = match session.worker.origins.resolver(names) {
        Ok(resolver) => resolver,
        Err(error) => {
            x.notes.cause = error.to_string().into();
            return Err(Fault::proxy(Kind::Unresolved));
        }
    };
    let began = Instant::now();
    let Session { worker, client, timer, .. } = session;
    timer.arm(began, patience);
    // As it stands, whatever the system would put behind it: rules have seen no other name.
    let name = format!("{name}.");
    let mut asking = pin!(resolver.addresses(&name));
    let answered = poll_fn(|cx| {
        if let Poll::Ready(answer) = asking.as_mut().poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        if worker.is_cut() {
            return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
        }
        if client.poll_peek(cx) == Poll::Ready(Peek::Broken) {
            return Poll::Ready(Err(Fault::client(Kind::ClientGone)));
        }
        ready!(timer.poll_expired(cx));
        Poll::Ready(Ok(Err(resolver.late())))
    })
    .await;
    x.notes.dns = Some(began.elapsed());
    match answered? {
        Ok(answer) if !answer.found.is_empty() => Ok((answer.found, answer.ttl.clamp(LEAST, MOST))),
        answered => {
            // Which name servers there are is no client's business.
            x.notes.reason = NAMELESS;
            x.notes.cause = answered.err().map(|error| error.to_string().into()).unwrap_or_default();
            Err(Fault::server(Kind::Unresolved, Retry::Never))
        }
    }
}

/// What a client is told whose server cannot be found.
const NAMELESS: &str = "a name without an address";

/// How long what name servers say is believed: those that say less are asked no more often.
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(300);
