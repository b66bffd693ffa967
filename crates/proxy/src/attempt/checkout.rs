//! A connection to a server: an idle one or a new one.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use base::{Fault, Kind, Retry};
use http::Conn;
use net::Address;
use net::dial::{self, Call, Dialled, Source, Unwelcome, dial, is_shortage};
use net::tls::doubt;
use wire::proxy_protocol::{self, Said, Secured};

use super::choose::{Choice, choose_for};
use super::lead_on::lead_on;
use super::queue::queue;
use super::race::race;
use super::send::is_client_gone;
use super::{Busy, GONE, Upstream, begin_try, expired, within_try};
use crate::exchange::Exchange;
use crate::pool::trunks::{Failed, Joined};
use crate::pool::{LOCAL, Lease, Server, trunks, warm};
use crate::session::Session;
use crate::snapshot::{Arm, Route};
use crate::sticky;
use crate::worker::Worker;

/// Finds a server that was not tried yet, if there is one, and gets a connection to it. `fresh` asks for a new connection
/// to the server of the last try, whose idle one had gone stale.
pub(super) async fn checkout(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    tried: &[usize],
    fresh: bool,
) -> Result<Upstream, Fault> {
    let pool = &arm.pool;
    begin_try(x, arm);
    if fresh
        && let Some(server) = x.notes.server.and_then(|number| pool.servers.get(number))
        && let Some(lease) = server.lease(&pool.gate)
        && let Some(upstream) = connect(session, x, route, arm, lease, tried).await?
    {
        return Ok(upstream);
    }
    // Another try goes to another server, whoever the client belongs to.
    let own = sticky::own(x, pool).filter(|_| tried.is_empty()).filter(|number| arm.roster().members[*number]);
    let wish = arm.roster().wish(|| x.facts.view(&x.request));
    loop {
        let choice = if pool.limited && pool.gate.waiting() > 0 {
            Choice::Saturated
        } else {
            choose_for(&session.worker, x, arm, wish, own, tried)
        };
        let found = found(session, x, route, arm, choice, tried).await?;
        let found = match found {
            Found::Connection(upstream) => Some(upstream),
            Found::Taken => None,
            // Boxed: most requests wait for nobody.
            Found::Nothing => Box::pin(queue(session, x, route, arm, wish, own, tried)).await?,
        };
        // What was opened for us may have been filled by others.
        if let Some(upstream) = found {
            return Ok(upstream);
        }
    }
}

/// What a choice has led to.
enum Found {
    Connection(Upstream),
    /// Others were faster: choose again.
    Taken,
    /// All servers are at their limits.
    Nothing,
}

/// Makes a connection of a choice.
async fn found(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    choice: Choice,
    tried: &[usize],
) -> Result<Found, Fault> {
    let pool = &arm.pool;
    let connected = match choice {
        Choice::None => return Err(Fault::proxy(Kind::NoServer)),
        Choice::Saturated => return Ok(Found::Nothing),
        Choice::Lane(number, conn) => {
            x.notes.server = Some(number);
            Some(Upstream::new(conn, Busy::share(&pool.servers[number], pool), true))
        }
        Choice::Opening(number) => {
            x.notes.server = Some(number);
            join(session, x, route, arm, Arc::clone(&pool.servers[number])).await?
        }
        Choice::Idle(number, parked) => {
            x.notes.server = Some(number);
            if pool.warm > 0 {
                warm::keep(&session.worker, pool, parked.lease.server());
            }
            reuse(session, x, route, arm, parked.conn, parked.lease).await?
        }
        Choice::Lease(number, lease) => {
            x.notes.server = Some(number);
            connect(session, x, route, arm, lease, tried).await?
        }
    };
    Ok(connected.map_or(Found::Taken, Found::Connection))
}

/// Takes a connection that was idle. Answers nothing if it turns out to be over.
pub(super) async fn reuse(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    conn: Conn,
    lease: Lease,
) -> Result<Option<Upstream>, Fault> {
    let mut upstream = Upstream::new(conn, Busy::begin(lease), true);
    // One that was opened ahead, on which nothing was said yet.
    let said = introduction(session, x, arm).unwrap_or_default();
    let mut at = 0;
    while at < said.len() {
        match patiently(session, x, route, Patience::of(arm), |_, cx| upstream.conn.poll_write(cx, &said[at..])).await?
        {
            Ok(written) => at += written,
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(upstream))
}

/// Opens a connection. Answers nothing if it is one that is shared, and others have taken all there was of it.
pub(super) async fn connect(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    lease: Lease,
    tried: &[usize],
) -> Result<Option<Upstream>, Fault> {
    if arm.races {
        // Boxed: most servers have one address.
        return Box::pin(race(session, x, route, arm, lease, tried)).await.map(Some);
    }
    let server = Arc::clone(lease.server());
    if let Some(protocol) = arm.pool.shared {
        trunks::open(&session.worker, &arm.pool, protocol, lease);
        return join(session, x, route, arm, server).await;
    }
    // It counts from here: connects that hang are load, too.
    let busy = Busy::begin(lease);
    let prologue = introduction(session, x, arm).unwrap_or_default();
    let dialled = {
        let security = server.security();
        // Who was greeted before TLS is not greeted again.
        let greeted = match &session.tls {
            Some(tls) => tls.inside,
            None => session.listener.tls_at(session.origin.bind).and_then(|tls| tls.starttls),
        };
        let greeted = greeted.filter(|protocol| protocol.greets());
        let introduced = session.introduced.clone();
        let call = Call {
            prologue: &prologue,
            security,
            source: source(x, arm, &server),
            greeted,
            hello: introduced.as_ref().map_or(&[], |introduced| &introduced.hello),
        };
        let mut dialling = pin!(dial(&server.id.address, &call));
        patiently(session, x, route, Patience::of(arm), |_, cx| dialling.as_mut().poll(cx)).await
    };
    match dialled {
        Ok(Ok(dialled)) => {
            server.connect_succeeded();
            x.notes.tls = dialled.tls;
            if arm.pool.parent.is_some() {
                // Boxed: most connections are led nowhere.
                return Box::pin(lead_on(session, x, route, arm, busy, dialled)).await.map(Some);
            }
            Ok(Some(connected(dialled, busy)))
        }
        Ok(Err(error)) if is_shortage(&error) => {
            x.notes.cause = cause(&error);
            Err(Fault::proxy(Kind::Overload))
        }
        Ok(Err(error)) => {
            server.connect_failed(cause(&error));
            note(x, &server, &error);
            Err(unconnected(&server, &error))
        }
        Err(fault) => {
            if fault.kind == Kind::ConnectTimeout {
                server.connect_failed(LATE);
            }
            Err(fault)
        }
    }
}

/// A connection that stands, with what its server has said already.
pub(super) fn connected(dialled: Dialled, busy: Busy) -> Upstream {
    let mut conn = Conn::new(dialled.stream);
    conn.keep(&dialled.greeting);
    Upstream::new(conn, busy, false)
}

/// What a server is told first of whom a connection is for, if its pool wants that.
pub(super) fn introduction(session: &Session, x: &Exchange, arm: &Arm) -> Option<Vec<u8>> {
    let form = arm.pool.send_proxy?;
    let origin = &session.origin;
    let said = match origin.peer {
        None => Said::Unknown,
        Some(source) => {
            let nowhere =
                if source.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
            let destination = session.opened_to().or_else(|| session.client.local());
            Said::Between { source, destination: destination.unwrap_or(SocketAddr::new(nowhere, origin.port)) }
        }
    };
    let tls = session.tls.as_deref();
    let name = tls.and_then(|tls| tls.name.as_deref()).or(x.facts.sni.as_deref());
    let secured = Secured {
        alpn: tls.and_then(|tls| tls.alpn).map(|alpn| alpn.name().as_bytes()),
        authority: name.map(str::as_bytes),
        version: tls.map(|tls| tls.version.as_bytes()),
        certified: tls.is_some_and(|tls| tls.fingerprint.is_some()),
    };
    let mut out = Vec::new();
    proxy_protocol::write(form, said, Some(&secured), &mut out);
    Some(out)
}

/// Whose address a server shall see, if not ours. Who came by a Unix socket, and is said to be nobody else, has none.
pub(super) fn source(x: &Exchange, arm: &Arm, server: &Server) -> Option<Source> {
    let has_address = x.facts.peer.port() != 0 || x.facts.client != x.facts.peer.ip();
    let theirs = || Some(Source::Theirs(x.facts.client)).filter(|_| arm.pool.as_client && has_address);
    own_source(arm, server).or_else(theirs)
}

/// Which of this host's addresses a server shall see, if the configuration says.
pub(super) fn own_source(arm: &Arm, server: &Server) -> Option<Source> {
    match &server.id.address {
        Address::Tcp(address) => arm.sources?.towards(address.ip()).map(Source::Ours),
        Address::Unix(_) => None,
    }
}

/// Waits for a connection that is being opened, and takes a part of it.
pub(super) async fn join(
    session: &mut Session,
    x: &mut Exchange,
    route: &Route,
    arm: &Arm,
    server: Arc<Server>,
) -> Result<Option<Upstream>, Fault> {
    let busy = Busy::share(&server, &arm.pool);
    let joining = session.worker.trunks.join(&server);
    let joined =
        patiently(session, x, route, Patience::of(arm), |worker, cx| worker.trunks.poll_joined(&joining, cx)).await;
    match joined? {
        Joined::Lane(conn) => Ok(Some(Upstream::new(conn, busy, false))),
        Joined::Failed(Failed { fault, wrong, cause }) => {
            match wrong {
                Some(wrong) => x.notes.reason = wrong,
                None => x.notes.cause = cause,
            }
            Err(fault)
        }
        Joined::Again => Ok(None),
    }
}

/// How long to wait for a connection, and what it is if it has not come then.
pub(super) struct Patience {
    pub(super) most: Duration,
    pub(super) late: Fault,
}

impl Patience {
    pub(super) fn of(arm: &Arm) -> Patience {
        Patience { most: arm.timeouts.connect, late: Fault::server(Kind::ConnectTimeout, Retry::Always) }
    }
}

/// Waits for a connection, and notes how long that was.
pub(super) fn patiently<'a, T: 'a>(
    session: &'a mut Session,
    x: &'a mut Exchange,
    route: &'a Route,
    patience: Patience,
    mut poll: impl FnMut(&Worker, &mut Context<'_>) -> Poll<T> + 'a,
) -> impl Future<Output = Result<T, Fault>> + 'a {
    let began = Instant::now();
    session.timer.arm(began, within_try(x, route, began, patience.most));
    // Its arguments are used up here: a future holds those of an `async fn` twice.
    let late = patience.late;
    async move {
        let ended = poll_fn(|cx| {
            if let Poll::Ready(done) = poll(&session.worker, cx) {
                return Poll::Ready(Ok(done));
            }
            if session.worker.is_cut() {
                return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
            }
            if is_client_gone(session, cx) {
                return Poll::Ready(Err(GONE));
            }
            ready!(session.timer.poll_expired(cx));
            Poll::Ready(Err(expired(x, route, late)))
        })
        .await;
        x.notes.connect = Some(x.notes.connect.unwrap_or(Duration::ZERO) + began.elapsed());
        ended
    }
}

/// What is wrong with a server and TLS, in words for whoever has asked for it.
pub(crate) fn wrong_with(server: &Server, error: &io::Error) -> Option<&'static str> {
    (error.kind() == io::ErrorKind::InvalidData && server.slot >= LOCAL).then(|| doubt::of_server(error))
}

/// Notes why a server could not be connected to. What its client is told of it is said in the log in the same words.
pub(super) fn note(x: &mut Exchange, server: &Server, error: &io::Error) {
    match wrong_with(server, error) {
        Some(wrong) => x.notes.reason = wrong,
        None => x.notes.cause = cause(error),
    }
}

/// Why a server could not be connected to, for whoever runs us.
pub(crate) fn cause(error: &io::Error) -> Cow<'static, str> {
    if error.kind() == io::ErrorKind::InvalidData { doubt::told(error).into() } else { dial::cause(error) }
}

/// The same where its time has ended.
pub(crate) const LATE: Cow<'static, str> = Cow::Borrowed("no answer in time");

/// What it means that a server could not be connected to. Why TLS failed is for the operator alone.
pub(crate) fn unconnected(server: &Server, error: &io::Error) -> Fault {
    let (kind, why) = match error.kind() {
        io::ErrorKind::InvalidData => (Kind::ServerTls, format!(" and TLS: {}", doubt::told(error))),
        _ if Unwelcome::is(error) => (Kind::Unwelcome, format!(": {error}")),
        _ => return Fault::server(Kind::Connect, Retry::Always),
    };
    if let Some(left_out) = server.may_complain() {
        let id = &server.id;
        let more = if left_out > 0 { format!(" ({left_out} more since the last time)") } else { String::new() };
        observe::log::warn(format_args!("server `{}` of pool `{}` at {}{why}{more}", id.name, id.pool, id.address));
    }
    Fault::server(kind, Retry::Always)
}
