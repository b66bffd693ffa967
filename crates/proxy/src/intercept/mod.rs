//! Tunnels whose TLS ends here: the server is spoken with first, and its client shown a certificate like the server's, signed by the
//! owner's authority. What the client says then are requests like any others.
//!
//! A server that cannot be believed is never made to look as if it could: its client gets a connection on which every request is
//! answered by what is wrong. What is not TLS, and whom the operator excepts, is a tunnel as without interception. Nothing here reads a
//! file, or a request.
//!
//! - [`hear`]: what a client says first in its tunnel
//! - [`leaves`]: what was signed lately, and for which server
//! - [`pins`]: clients that do not believe us

mod hear;
mod leaves;
mod pins;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use base::{Fault, Kind};
use net::Stream;
use net::stream::Peek;
use net::tls::{Alpn, Authority, Identity, Terminator, doubt};
use wire::client_hello::ClientHello;

use crate::attempt::{self, Upstream};
use crate::destination::Originators;
use crate::exchange::{After, Exchange};
use crate::finish::{self, Account, Kept};
use crate::route::HostPattern;
use crate::session::Session;
use crate::session::gate;
use crate::session::inside::{Inside, Lead, Secure, bare_stream};
use crate::snapshot::{Arm, Listener, Route, Tls};
use crate::worker::Worker;

use hear::Heard;
use leaves::Sought;
pub(crate) use leaves::{Leaves, Subject};
pub use pins::Pins;

/// How a listener reads what goes through its tunnels.
#[derive(Debug)]
pub struct Intercept {
    /// Who signs what clients are shown.
    pub authority: Arc<Authority>,
    /// TLS towards clients, without a certificate of its own.
    pub tls: Tls,
    /// TLS towards servers.
    pub originators: Arc<Originators>,
    /// Hosts that nobody reads.
    pub except: Box<[HostPattern]>,
    /// For how long clients that have not believed us are left alone with the host, and which those are; absent if they are not.
    pub bypass: Option<(Duration, Arc<Pins>)>,
}

/// Where a client gets in: all that is known before hands are shaken with it.
pub(crate) struct Entrance {
    pub(crate) intercept: Arc<Intercept>,
    /// What it is shown.
    pub(crate) terminator: Terminator,
    pub(crate) inside: Inside,
    /// How long the tunnel may be silent.
    pub(crate) idle: Duration,
    /// Under which names the tunnel is recorded.
    pub(crate) account: Kept,
}

/// What is said in the log of a tunnel that was, or was not, looked into.
pub(crate) mod word {
    pub(crate) const INTERCEPTED: &str = "intercepted";
    pub(crate) const EXCEPTED: &str = "excepted";
    pub(crate) const BYPASSED: &str = "bypassed";
    pub(crate) const NO_TLS: &str = "no_tls";
}

/// Whether what a client says in its tunnel is to be read, as far as that is known by now; if not although the listener intercepts, it is
/// noted why.
pub(crate) fn wanted<'a>(x: &mut Exchange, listener: &'a Listener) -> Option<&'a Arc<Intercept>> {
    let intercept = listener.intercept.as_ref()?;
    if intercept.excepts(&x.facts.host) {
        x.notes.interception = word::EXCEPTED;
        return None;
    }
    Some(intercept)
}

/// Whether datagrams may not go to a host because nobody could read them: HTTP/3 would be a way around.
pub(crate) fn forbids_datagrams(listener: &Listener, host: &[u8]) -> bool {
    listener.intercept.as_ref().is_some_and(|intercept| !intercept.excepts(host))
}

/// What is said of those.
pub(crate) const DATAGRAMS: &str = "datagrams cannot be read, and what goes through tunnels is";

/// Opens a tunnel to be read: connects to the server, tells the client, and goes as far as both sides allow.
pub(crate) async fn open(
    session: &mut Session,
    x: &mut Exchange,
    listener: &Listener,
    route: &Route,
    arm: &Arm,
    intercept: &Arc<Intercept>,
) -> Result<After, Fault> {
    let host = String::from_utf8_lossy(&x.facts.host).into_owned();
    let port = crate::destination::port(&x.request).unwrap_or_default();
    let mut sought = Sought::new(intercept.authority.mark(), &host, port);
    // Who is known to speak TLS need not be connected to before its client is, too: other connections to it may be there.
    let upstream = match session.worker.leaves.knows(&sought, Instant::now()) {
        true => None,
        false => Some(attempt::connect(session, x, route, arm).await?),
    };
    let local = upstream.as_ref().and_then(|upstream| upstream.conn.local());
    attempt::welcome(session, x, arm, local).await?;
    let heard = hear::hear(session, x, listener, upstream.as_ref().map(|upstream| &upstream.conn)).await?;
    let is_address = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    let hello = match heard {
        Heard::Hello(hello) => hello,
        Heard::Other => {
            x.notes.interception = word::NO_TLS;
            return pass(session, x, listener, route, arm, upstream).await;
        }
    };
    x.facts.sni.clone_from(&hello.name);
    if let Some(name) = &hello.name {
        // What is asked for inside may be another host, and what the server is asked for is this one.
        poll_fn(|cx| Poll::Ready(gate::judge(listener, &mut session.client, x, name, cx))).await?;
    }
    let name = hello.name.clone().unwrap_or_else(|| bare(&host).into());
    // A name in a handshake is what a client says: it excepts nothing but what was asked for by no other name.
    if is_address && intercept.excepts(name.as_bytes()) {
        x.notes.interception = word::EXCEPTED;
        return pass(session, x, listener, route, arm, upstream).await;
    }
    if let Some((_, pins)) = &intercept.bypass
        && pins.has(x.facts.client, &name, Instant::now())
    {
        x.notes.interception = word::BYPASSED;
        return pass(session, x, listener, route, arm, upstream).await;
    }
    // Connections through a proxy are not shared.
    (sought.name, sought.h2) = (name.clone(), offers_h2(&hello) && x.beyond.is_none());
    let now = Instant::now();
    let known = session.worker.leaves.known(&sought, now);
    let (terminator, secure) = match known {
        Some((terminator, h2)) => (terminator, Secure { name, h2, doubt: None, lead: Lead::none() }),
        None => {
            let upstream = match upstream {
                Some(upstream) => upstream,
                None => attempt::connect(session, x, route, arm).await?,
            };
            meet(session, x, route, (intercept, arm), sought, upstream).await?
        }
    };
    x.notes.interception = word::INTERCEPTED;
    let account = Account::of(listener, route, &x.notes).through(Some(arm), &x.notes).owned();
    Ok(After::Inside(Box::new(Entrance {
        intercept: Arc::clone(intercept),
        terminator,
        inside: Inside::new(host.into(), port, Some(secure)).opened_by(x.facts.user.clone()),
        idle: arm.timeouts.tunnel,
        account,
    })))
}

/// Where a server that was believed is not any more, it is looked at anew before the next client is let in.
pub(crate) fn doubt(session: &Session, fault: Fault) {
    if let (Kind::ServerTls, Some(inside)) = (fault.kind, &session.inside) {
        session.worker.leaves.doubt(&inside.host, inside.port);
    }
}

impl Intercept {
    fn excepts(&self, host: &[u8]) -> bool {
        self.except.iter().any(|pattern| pattern.holds(host))
    }
}

/// A tunnel like any other.
async fn pass(
    session: &mut Session,
    x: &mut Exchange,
    listener: &Listener,
    route: &Route,
    arm: &Arm,
    upstream: Option<Upstream>,
) -> Result<After, Fault> {
    let upstream = match upstream {
        Some(upstream) => upstream,
        None => attempt::connect(session, x, route, arm).await?,
    };
    Ok(attempt::tunnel(session, x, listener, route, arm, upstream))
}

/// Shakes hands with the server, and has signed what its client is shown of it.
async fn meet(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    (intercept, arm): (&Arc<Intercept>, &Arm),
    sought: Sought,
    upstream: Upstream,
) -> Result<(Terminator, Secure), Fault> {
    let address = upstream.server().map(|server| server.id.address.clone());
    finish::attempt(&session.worker, x, &upstream, None);
    let Some((conn, lease)) = upstream.into_parts() else { return Err(Fault::proxy(Kind::Overload)) };
    drop(lease);
    let shaken = match conn.into_stream() {
        Some(stream) => shake(session, x, route, (intercept, arm), &sought, stream).await?,
        None => Err("the server has broken off the handshake of TLS"),
    };
    let name = sought.name.clone();
    Ok(match shaken {
        Ok((stream, shown)) => {
            let terminator = signed(&session.worker, intercept, Subject::of(&shown), Some(shown), &name).await?;
            let h2 = stream.alpn() == Some(Alpn::H2);
            session.worker.leaves.learn(sought, &terminator, h2, Instant::now());
            (terminator.terminator, Secure { name, h2, doubt: None, lead: Lead::of(stream, address) })
        }
        Err(doubt) => {
            let terminator = signed(&session.worker, intercept, Subject::Named(name.clone()), None, &name).await?;
            (terminator.terminator, Secure { name, h2: false, doubt: Some(doubt), lead: Lead::none() })
        }
    })
}

/// The handshake with the server, as long as a connect may take. What went wrong with it is nothing to end the tunnel for.
async fn shake(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    (intercept, arm): (&Arc<Intercept>, &Arm),
    sought: &Sought,
    stream: Stream,
) -> Result<Result<(Stream, Vec<u8>), &'static str>, Fault> {
    let originator = if sought.h2 { &intercept.originators.either } else { &intercept.originators.h1 };
    let stream = match bare_stream(&session.worker, stream, arm.timeouts.tunnel) {
        Ok(stream) => stream,
        Err(_) => return Err(Fault::proxy(Kind::Overload)),
    };
    let began = Instant::now();
    session.timer.arm(began, attempt::bounded(x, route, arm.timeouts.connect));
    let mut shaking = pin!(originator.connect_and_look(stream, &sought.name));
    let ended = poll_fn(|cx| {
        if let Poll::Ready(ended) = shaking.as_mut().poll(cx) {
            return Poll::Ready(Ok(ended.map_err(|error| doubt::of_server(&error))));
        }
        if session.worker.is_cut() {
            return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
        }
        if session.client.poll_peek(cx) == Poll::Ready(Peek::Broken) {
            return Poll::Ready(Err(Fault::client(Kind::ClientGone)));
        }
        ready!(session.timer.poll_expired(cx));
        Poll::Ready(Ok(Err("the server has not ended the handshake of TLS in time")))
    })
    .await;
    x.notes.connect = Some(x.notes.connect.unwrap_or_default() + began.elapsed());
    ended
}

/// What a client is shown: signed lately, or now.
async fn signed(
    worker: &Worker,
    intercept: &Arc<Intercept>,
    subject: Subject,
    server: Option<Vec<u8>>,
    name: &str,
) -> Result<leaves::Signed, Fault> {
    let (mark, now) = (intercept.authority.mark(), Instant::now());
    if let Some(known) = worker.leaves.signed(mark, &subject, now) {
        return Ok(known);
    }
    let authority = Arc::clone(&intercept.authority);
    let (is_quick, host) = (authority.is_quick(), name.to_owned());
    let sign = move || -> Result<Identity, String> {
        let now = SystemTime::now();
        match server {
            Some(server) => authority.like(&server, now),
            None => authority.named(&host, now),
        }
    };
    // With an elliptic curve it is the work of some 50 microseconds, no more than the handshake itself; with RSA it is that of milliseconds.
    let identity = if is_quick {
        sign()
    } else {
        tokio::task::spawn_blocking(sign).await.unwrap_or_else(|error| Err(error.to_string()))
    };
    match identity {
        Ok(identity) => Ok(worker.leaves.keep(mark, subject, &identity, &intercept.tls.terminator, now)),
        Err(why) => {
            observe::log::warn(format_args!("no certificate could be signed for `{name}`: {why}"));
            Err(Fault::proxy(Kind::Overload))
        }
    }
}

/// Whether a client would speak HTTP/2.
fn offers_h2(hello: &ClientHello) -> bool {
    hello.alpn.iter().any(|name| Alpn::of(name) == Some(Alpn::H2))
}

/// An address of IPv6 without its brackets, as TLS wants it.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
