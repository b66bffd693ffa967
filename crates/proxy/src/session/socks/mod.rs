//! A connection whose client speaks SOCKS: heard out, routed once by what it asks for, as a CONNECT is, and connected.
//!
//! - [`association`]: datagrams, which go where each of them says
//! - [`places`]: the servers of an association

mod association;
mod places;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use base::{Fault, Kind};
use http::Conn;
use net::tls::Alpn;
use wire::credentials::Credentials;
use wire::socks::{self, Command, Host, Invalid, Reply, Request, Version};
use wire::uri;

use super::closing::linger;
use super::{Session, entry, tunnel, way};
use crate::attempt::Tunnel;
use crate::capture;
use crate::destination;
use crate::exchange::{self, After, Exchange};
use crate::finish::{self, Account};
use crate::intercept::Entrance;
use crate::reply;
use crate::snapshot::{Listener, Route};
use crate::users::{self, Authentication, Shown, User};
use association::{Association, Opened};

/// Serves a connection whose first bytes are here, in a task of its own: what waits for requests of HTTP should not stay with it.
pub(super) fn spawn(session: Session) {
    tokio::task::spawn_local(serve(session));
}

async fn serve(mut session: Session) {
    let Some(version) = session.client.carry().first().copied().and_then(Version::of) else { return };
    let mut x = session.worker.exchange();
    x.began(None);
    x.came(&session.worker, &session.origin, session.tls.as_ref());
    x.client.is_flow = true;
    x.facts.socks = Some(version);
    let pinned = exchange::pin(&mut session);
    let mut route = &pinned.default;
    let stop = match story(&mut session, &mut x, &pinned, &mut route, version).await {
        Ok(Granted::Tunnel(switched)) => return tunnel::spawn(session, x, *switched),
        Ok(Granted::Inside(entrance)) => return entry::enter(session, x, *entrance),
        Ok(Granted::Association(asked, users)) => {
            drop(pinned);
            return associate(session, x, &asked, users).await;
        }
        Err(stop) => stop,
    };
    x.notes.fault = Some(stop.fault);
    if x.client.answered {
        // It was told that its tunnel stands: what it hears now is its server's, or nothing.
        x.notes.cut = true;
    } else if let Some(reply) = stop.reply {
        say_reply(&mut session, &mut x, reply, None).await;
    }
    let origin = x.origin.take();
    let account = Account::of(&pinned, route, &x.notes).through(origin.as_deref(), &x.notes);
    finish::record(&session.worker, &mut x, &account);
    session.worker.recycle(x);
    let Session { client, timer, worker, .. } = &mut session;
    linger(client, timer, worker).await;
}

async fn story<'a>(
    session: &mut Session,
    x: &mut Exchange,
    listener: &'a Listener,
    route: &mut &'a Arc<Route>,
    version: Version,
) -> Result<Granted, Stop> {
    let until = x.notes.began + listener.request_head;
    // A certificate may have said it already.
    let needs_user = match &listener.users {
        None => false,
        Some(ways) => !Box::pin(users::prove(session, x, ways, &Shown::Nothing)).await?,
    };
    let shown = match version {
        Version::V5 => greet(session, x, listener, needs_user, until).await?,
        // What its client says that it is called proves nothing.
        Version::V4 => Shown::Nothing,
    };
    let asked = hear(session, x, until, |bytes| socks::request(version, bytes)).await?;
    if version == Version::V4 && needs_user {
        x.notes.reason = "SOCKS4 knows no passwords";
        return Err(UNPROVEN.into());
    }
    if asked.command == Command::Associate {
        let users = Box::pin(known_to_routes(session, x, listener, &shown)).await?;
        return Ok(Granted::Association(asked, users));
    }
    settle(x, &asked.host, asked.port);
    if asked.command == Command::Bind {
        x.notes.reason = "a command that is not carried out here";
        return Err(Stop { fault: Fault::client(Kind::Unsupported), reply: Some(Reply::Command) });
    }
    let alpn: Option<Alpn> = x.facts.tls.as_deref().and_then(|tls| tls.alpn);
    *route = way::find(listener, x, asked.port, alpn.as_slice());
    capture::begin(session, x, listener, route);
    for ways in &route.users {
        if !Box::pin(users::prove(session, x, ways, &shown)).await? {
            return Err(UNPROVEN.into());
        }
    }
    match Box::pin(exchange::pass(session, x, listener, route)).await? {
        After::Tunnel(switched) => Ok(Granted::Tunnel(switched)),
        After::Inside(entrance) => Ok(Granted::Inside(entrance)),
        _ => Err(GONE.into()),
    }
}

/// Who a client is to the routes that ask for users of their own: when its datagrams find them, it can be asked nothing any more.
async fn known_to_routes(
    session: &mut Session,
    x: &mut Exchange,
    listener: &Listener,
    shown: &Shown,
) -> Result<Vec<Arc<User>>, Fault> {
    let mut users: Vec<Arc<User>> = x.facts.user.iter().cloned().collect();
    let mut asked: Vec<&Authentication> = Vec::new();
    for ways in listener.routes.iter().flat_map(|route| &route.users) {
        if !asked.iter().any(|other| other.is_like(ways)) {
            asked.push(ways);
            users.extend(users::known(session, x, ways, shown).await?);
        }
    }
    if users.is_empty() && !asked.is_empty() && !matches!(shown, Shown::Nothing) {
        session.listener.connections.shard(session.worker.id).auth_failed();
    }
    Ok(users)
}

/// Has a client send datagrams for as long as it likes.
async fn associate(mut session: Session, mut x: Box<Exchange>, asked: &Request, users: Vec<Arc<User>>) {
    let opened = Opened::of(&session, asked);
    let (reply, bound) = match &opened {
        Some(opened) => (Reply::Granted, Some(opened.address)),
        None => (Reply::Failed, None),
    };
    say_reply(&mut session, &mut x, reply, bound).await;
    let (mut session, fault, is_recorded) = match opened {
        Some(opened) => Box::pin(Association::new(session, opened, x.facts.user.clone(), users).run()).await,
        None => (session, Some(Fault::proxy(Kind::Overload)), false),
    };
    if !is_recorded {
        // Nobody was written to, of whom there would be a line.
        (x.notes.fault, x.notes.datagrams) = (fault, Some((0, 0)));
        let pinned = exchange::pin(&mut session);
        let account = Account::of(&pinned, &pinned.default, &x.notes);
        finish::record(&session.worker, &mut x, &account);
    }
    session.worker.recycle(x);
}

/// Hears in which ways a client of version 5 would say who it is, and has it say so where anybody here wants to know it, or it would say
/// nothing else. Answers what it has said.
async fn greet(
    session: &mut Session,
    x: &mut Exchange,
    listener: &Listener,
    needs_user: bool,
    until: Instant,
) -> Result<Shown, Stop> {
    let methods = hear(session, x, until, socks::greeting).await?;
    let is_asked = methods.password && (listener.asks_who || !methods.none);
    if !is_asked && (!methods.none || needs_user) {
        x.notes.reason = "no way to say who it is that counts here";
        say(session, x, &socks::NO_METHOD).await?;
        let fault = if needs_user { UNPROVEN } else { Fault::client(Kind::Unsupported) };
        return Err(Stop { fault, reply: None });
    }
    if !is_asked {
        say(session, x, &socks::ASK_NOTHING).await?;
        return Ok(Shown::Nothing);
    }
    say(session, x, &socks::ASK_PASSWORD).await?;
    let shown = match hear(session, x, until, socks::credentials).await? {
        Credentials::Basic { name, password } if name.iter().chain(&password).any(u8::is_ascii_control) => {
            Shown::Broken
        }
        credentials => Shown::Credentials(credentials),
    };
    if let Some(ways) = &listener.users
        && !Box::pin(users::prove(session, x, ways, &shown)).await?
    {
        say(session, x, &socks::NOT_BELIEVED).await?;
        return Err(Stop { fault: UNPROVEN, reply: None });
    }
    say(session, x, &socks::BELIEVED).await?;
    Ok(shown)
}

/// Settles what is asked for: a tunnel to a host, which has one form.
fn settle(x: &mut Exchange, host: &Host, port: u16) {
    let authority = host.authority(port);
    x.client.is_flow = true;
    x.facts.port = Some(port);
    x.request.start_request(b"CONNECT", authority.as_bytes(), b"", None);
    x.facts.host.clear();
    x.facts.host.extend_from_slice(&uri::host(authority.as_bytes()));
    destination::settle_host(&mut x.facts.host);
}

/// Waits for a message of the client, and leaves what is behind it where it is.
async fn hear<T>(
    session: &mut Session,
    x: &mut Exchange,
    until: Instant,
    read: impl Fn(&[u8]) -> Result<Option<(T, usize)>, Invalid>,
) -> Result<T, Stop> {
    let Session { worker, client, timer, .. } = session;
    let now = Instant::now();
    timer.arm(now, until.saturating_duration_since(now));
    let heard = poll_fn(|cx| {
        if worker.is_cut() {
            return Poll::Ready(Err(Fault::proxy(Kind::Drained).into()));
        }
        let mut block = worker.block(client.carry().len() + socks::MOST);
        match poll_message(client, cx, &mut block, &read) {
            Poll::Pending => timer.poll_expired(cx).map(|()| Err(SILENT)),
            ready => ready,
        }
    })
    .await;
    heard.map_err(|not| match not {
        NotHeard::Fault(fault) => Stop { fault, reply: None },
        NotHeard::Invalid(Invalid { reason, reply }) => {
            x.notes.reason = reason;
            Stop { fault: Fault::client(Kind::Malformed), reply }
        }
    })
}

fn poll_message<T>(
    client: &mut Conn,
    cx: &mut Context<'_>,
    block: &mut [u8],
    read: impl Fn(&[u8]) -> Result<Option<(T, usize)>, Invalid>,
) -> Poll<Result<T, NotHeard>> {
    loop {
        // Much may have come at once, of which nobody has looked at more than the beginning.
        if let Some((message, length)) = read(client.carry())? {
            let kept = client.unkeep(block);
            client.keep(&block[length..kept]);
            return Poll::Ready(Ok(message));
        }
        let kept = client.carry().len();
        let room = block.len().min(kept + socks::MOST);
        let length = ready!(client.poll_bytes(cx, &mut block[..room])).unwrap_or(kept);
        if length == kept {
            return Poll::Ready(Err(GONE.into()));
        }
        client.keep(&block[..length]);
    }
}

async fn say(session: &mut Session, x: &mut Exchange, bytes: &[u8]) -> Result<(), Stop> {
    let patience = session.listener.default.stream;
    Ok(reply::write_all(session, x, patience, bytes).await?)
}

/// Answers a request. Who does not take it is gone.
async fn say_reply(session: &mut Session, x: &mut Exchange, reply: Reply, bound: Option<SocketAddr>) {
    let mut out = Vec::new();
    reply.write(x.facts.socks.unwrap_or(Version::V5), bound, &mut out);
    let _ = say(session, x, &out).await;
}

/// What comes of a request.
enum Granted {
    Tunnel(Box<Tunnel>),
    /// What is said in it is read.
    Inside(Box<Entrance>),
    /// As it was asked for.
    Association(Request, Vec<Arc<User>>),
}

const UNPROVEN: Fault = Fault::client(Kind::ProxyUnauthenticated);
const GONE: Fault = Fault::client(Kind::ClientGone);
const SILENT: NotHeard = NotHeard::Fault(Fault::client(Kind::HeadTimeout));

/// Why nothing comes of it, and what its client is told.
struct Stop {
    fault: Fault,
    reply: Option<Reply>,
}

/// Why no message was heard.
enum NotHeard {
    Fault(Fault),
    Invalid(Invalid),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop { fault, reply: reply::socks_of(fault.kind) }
    }
}

impl From<Fault> for NotHeard {
    fn from(fault: Fault) -> NotHeard {
        NotHeard::Fault(fault)
    }
}

impl From<Invalid> for NotHeard {
    fn from(invalid: Invalid) -> NotHeard {
        NotHeard::Invalid(invalid)
    }
}
