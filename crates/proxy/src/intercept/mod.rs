//! Tunnels that are read: what their clients say are requests like any others. If they say it in plain, it is as it is. If they say it under
//! TLS, that ends here: the server is spoken with first, and its client shown a certificate like the server's, signed by the owner's authority.
//!
//! A server that cannot be believed is never made to look as if it could: its client gets a connection on which every request is
//! answered by what is wrong. What is neither, and whom the operator excepts, is a tunnel as without any of this. Nothing here reads a file, or
//! a request.
//!
//! - [`hear`]: what a client says first in its tunnel
//! - [`mod@meet`]: hands are shaken with the server, and its client is shown one like it
//! - [`leaves`]: what was signed lately, and for which server
//! - [`pins`]: clients that do not believe us

mod hear;
mod leaves;
mod meet;
mod pins;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use base::{Fault, Kind};
use net::tls::{Alpn, Authority, Terminator};
use wire::client_hello::ClientHello;

use crate::attempt::{self, Upstream};
use crate::destination::{self, Names, Originators};
use crate::exchange::{After, Exchange};
use crate::finish::{self, Account, Kept};
use crate::pool::{LOCAL, Parent};
use crate::route::HostPattern;
use crate::session::Session;
use crate::session::gate;
use crate::session::inside::{Inside, Lead, Secure};
use crate::snapshot::{Arm, Listener, Route, Tls};
use crate::worker::Worker;

use hear::Heard;
use leaves::Sought;
pub(crate) use leaves::{Leaves, Subject};
use meet::{Met, meet};
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
    /// What names mean: a client that asks for an excepted one at an address may not have asked for what is there.
    pub names: Arc<Names>,
    /// For how long clients that have not believed us are left alone with the host, and which those are; absent if they are not.
    pub bypass: Option<(Duration, Arc<Pins>)>,
}

/// What of a tunnel is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reads<'a> {
    /// What is said under TLS, and how.
    pub(crate) tls: Option<&'a Arc<Intercept>>,
    /// What is asked in plain.
    pub(crate) plain: bool,
}

/// Where a client gets in: all that is known before anything is read, or hands are shaken with it.
pub(crate) struct Entrance {
    /// How TLS with it ends here, and what it is shown, if it speaks any.
    pub(crate) tls: Option<(Arc<Intercept>, Terminator)>,
    pub(crate) inside: Inside,
    /// How long the tunnel may be silent.
    pub(crate) idle: Duration,
    /// Under which names the tunnel is recorded.
    pub(crate) account: Kept,
}

/// What is said in the log of a tunnel that was, or was not, looked into.
pub(crate) mod word {
    pub(crate) const INTERCEPTED: &str = "intercepted";
    pub(crate) const INSPECTED: &str = "inspected";
    pub(crate) const EXCEPTED: &str = "excepted";
    pub(crate) const BYPASSED: &str = "bypassed";
    pub(crate) const NO_TLS: &str = "no_tls";
    pub(crate) const NO_HTTP: &str = "no_http";
}

/// What is to be read of what a client says in its tunnel, as far as that is known by now; if nothing although the listener intercepts, it is
/// noted why.
///
/// # Errors
/// The client has gone, or nobody waits any more.
pub(crate) async fn wanted<'a>(
    session: &mut Session,
    x: &mut Exchange,
    listener: &'a Listener,
    arm: &Arm,
) -> Result<Option<Reads<'a>>, Fault> {
    let tls = listener.intercept.as_ref();
    if let Some(intercept) = tls
        && intercept.excepts_other_end(session, x, arm).await?
    {
        x.notes.interception = word::EXCEPTED;
        return Ok(None);
    }
    // Who knows of no proxy has been heard already, and has asked for nothing in plain.
    let plain = x.facts.led.is_none() && x.facts.port.is_some_and(|port| listener.inspects(port));
    Ok((tls.is_some() || plain).then_some(Reads { tls, plain }))
}

/// Whether datagrams may not go to a host because nobody could read them: HTTP/3 would be a way around.
pub(crate) fn forbids_datagrams(listener: &Listener, host: &[u8]) -> bool {
    listener.intercept.as_ref().is_some_and(|intercept| !intercept.excepts(host))
}

/// What is said of those.
pub(crate) const DATAGRAMS: &str = "datagrams cannot be read, and what goes through tunnels is";

/// What is known of a tunnel once its client has been heard.
struct Opened {
    /// Where it leads, in the one form of hosts.
    host: String,
    port: u16,
    /// The connection that it was opened with; absent if its server is known to speak TLS.
    upstream: Option<Upstream>,
}

/// Opens a tunnel to be read: connects to the server, tells the client, and goes as far as both sides allow. The server first, for a tunnel
/// that leads nowhere should not stand, and a server may be the one that speaks first.
pub(crate) async fn open(
    session: &mut Session,
    x: &mut Exchange,
    listener: &Listener,
    route: &Route,
    arm: &Arm,
    reads: Reads<'_>,
) -> Result<After, Fault> {
    let host = leads_to(x);
    let port = x.facts.port.unwrap_or_default();
    let sought = reads.tls.map(|intercept| Sought::new(intercept.authority.mark(), &host, port));
    // Who is known to speak TLS need not be connected to before its client is, too: other connections to it may be there.
    let mut upstream = match sought.as_ref().is_some_and(|sought| session.worker.leaves.knows(sought, Instant::now())) {
        true => None,
        false => Some(attempt::connect(session, x, route, arm).await?),
    };
    attempt::welcome(session, x, arm, || upstream.as_ref().and_then(|upstream| upstream.conn.local())).await?;
    let heard = hear::hear(session, x, listener, upstream.as_mut().map(|upstream| &mut upstream.conn), reads).await?;
    let opened = Opened { host, port, upstream };
    match (heard, reads.tls.zip(sought)) {
        (Heard::Hello(hello), Some((intercept, sought))) => {
            under_tls(session, x, listener, route, (arm, intercept, sought), &hello, opened).await
        }
        (Heard::Requests { h2 }, _) => Ok(in_plain(session, x, listener, route, arm, opened, h2)),
        (Heard::Hello(_) | Heard::Other, _) => {
            x.notes.interception = if reads.tls.is_some() { word::NO_TLS } else { word::NO_HTTP };
            pass(session, x, listener, route, arm, opened.upstream).await
        }
    }
}

/// Where a tunnel leads: to what was asked for, or to the address that its connection was opened to by who knows of no proxy.
fn leads_to(x: &Exchange) -> String {
    let led = x.facts.led.map(|led| destination::host_of(led.ip()));
    String::from_utf8_lossy(led.as_ref().unwrap_or(&x.facts.host)).into_owned()
}

/// Lets a client in that asks in plain: what it has said so far is its first request.
fn in_plain(
    session: &Session,
    x: &mut Exchange,
    listener: &Listener,
    route: &Route,
    arm: &Arm,
    opened: Opened,
    h2: bool,
) -> After {
    let Opened { host, port, upstream } = opened;
    let lead = upstream.map_or_else(Lead::none, |upstream| lead(&session.worker, x, arm, upstream, h2));
    x.notes.interception = word::INSPECTED;
    let account = Account::of(listener, route, &x.notes).through(Some(arm), &x.notes).owned();
    let inside = Inside::new(host.into(), port, h2, None, lead).opened_by(x.facts.user.clone());
    After::Inside(Box::new(Entrance { tls: None, inside, idle: arm.timeouts.tunnel, account }))
}

/// The connection that a tunnel was opened with, where requests can begin with it: a pool has connections of its own, and a proxy that is
/// asked by HTTP is asked for answers from here on.
fn lead(worker: &Worker, x: &Exchange, arm: &Arm, upstream: Upstream, h2: bool) -> Lead {
    let Some(server) = upstream.server() else { return Lead::none() };
    let fits = match &arm.pool.parent {
        None => server.slot >= LOCAL,
        Some(Parent::Socks5(_)) => !h2,
        Some(Parent::Http(_)) => false,
    };
    finish::attempt(worker, x, &upstream, None);
    match upstream.into_parts() {
        Some((conn, lease)) if fits && !conn.has_carry() => {
            conn.into_stream().map_or_else(Lead::none, |stream| Lead::of(stream, lease))
        }
        _ => Lead::none(),
    }
}

/// Lets a client in that speaks TLS, with a certificate like its server's.
async fn under_tls(
    session: &mut Session,
    x: &mut Exchange,
    listener: &Listener,
    route: &Route,
    (arm, intercept, mut sought): (&Arm, &Arc<Intercept>, Sought),
    hello: &ClientHello,
    opened: Opened,
) -> Result<After, Fault> {
    let Opened { host, port, upstream } = opened;
    x.facts.sni.clone_from(&hello.name);
    if let Some(name) = &hello.name {
        // What is asked for inside may be another host, and what the server is asked for is this one.
        poll_fn(|cx| Poll::Ready(gate::judge(listener, &mut session.client, x, name, cx))).await?;
    }
    let name = hello.name.clone().unwrap_or_else(|| destination::bare(&host).into());
    // Who knows of no proxy was asked for this before.
    let is_new = x.facts.led.is_none() && destination::is_address(&host);
    if is_new && Box::pin(intercept.excepts_at(session, x, &name, &host, arm)).await? {
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
    (sought.name, sought.h2) = (name.clone(), offers_h2(hello) && x.beyond.is_none());
    let known = session.worker.leaves.known(&sought, Instant::now());
    let Met { terminator, h2, doubt, lead } = match known {
        Some((terminator, h2)) => Met { terminator, h2, doubt: None, lead: Lead::none() },
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
    let inside = Inside::new(host.into(), port, h2, Some(Secure { name, doubt }), lead);
    Ok(After::Inside(Box::new(Entrance {
        tls: Some((Arc::clone(intercept), terminator)),
        inside: inside.opened_by(x.facts.user.clone()),
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
    /// Whether nobody reads what is said to the host that a tunnel leads to.
    async fn excepts_other_end(&self, session: &mut Session, x: &mut Exchange, arm: &Arm) -> Result<bool, Fault> {
        let host = leads_to(x);
        if self.excepts(host.as_bytes()) {
            return Ok(true);
        }
        if x.facts.led.is_none() {
            return Ok(false);
        }
        let name = String::from_utf8_lossy(&x.facts.host).into_owned();
        Box::pin(self.excepts_at(session, x, &name, &host, arm)).await
    }

    /// Whether nobody reads what is said to a name in a handshake, at this address. That is what a client says: it excepts nothing that is not
    /// at an address of that name.
    async fn excepts_at(
        &self,
        session: &mut Session,
        x: &mut Exchange,
        name: &str,
        address: &str,
        arm: &Arm,
    ) -> Result<bool, Fault> {
        let is_excepted = self.excepts(name.as_bytes());
        Ok(is_excepted && destination::is_at(session, x, name, address, &self.names, arm.timeouts.connect).await?)
    }

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

/// Whether a client would speak HTTP/2.
fn offers_h2(hello: &ClientHello) -> bool {
    hello.alpn.iter().any(|name| Alpn::of(name) == Some(Alpn::H2))
}
