//! A tunnel whose requests are read: what they have in common, and the line that it leaves when nobody is inside any more.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use base::{Fault, Kind};
use http::Conn;
use net::tls::{Agreed, doubt};
use net::{Address, Stream};
use wire::head::{Method, Scheme};
use wire::{Head, uri};

use super::closing::close;
use super::{Arrived, Common, Counted, Session, speak};
use crate::bandwidth::Paces;
use crate::exchange::Exchange;
use crate::finish::{self, Kept};
use crate::intercept::{Entrance, Pins};
use crate::relay;
use crate::users::User;
use crate::worker::Worker;

/// What is known of the tunnel in which a request has come.
pub(crate) struct Inside {
    /// The host that the tunnel leads to, in the one form of hosts.
    pub(crate) host: Box<str>,
    /// The port that it leads to.
    pub(crate) port: u16,
    /// TLS with the server, where the client's ends with us.
    pub(crate) secure: Option<Secure>,
    /// Who has opened it, where that was asked.
    user: Option<Arc<User>>,
    /// What is recorded of the tunnel itself.
    passage: Option<Passage>,
}

/// TLS with the server at the tunnel's other end.
pub(crate) struct Secure {
    /// The name that its certificate must be for, which requests may call it by as well.
    pub(crate) name: Box<str>,
    /// Whether it speaks HTTP/2.
    pub(crate) h2: bool,
    /// Why it cannot be believed: no request goes to it then.
    pub(crate) doubt: Option<&'static str>,
    /// A connection to it that is there already, for the first request that goes to it.
    pub(crate) lead: Lead,
}

/// A connection that waits for its first request, and where it leads.
pub(crate) struct Lead(RefCell<Option<(Stream, Address)>>);

/// The request for a tunnel, which is recorded when the tunnel ends.
struct Passage {
    worker: Rc<Worker>,
    exchange: RefCell<Box<Exchange>>,
    account: Kept,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    /// Whether something was asked in it.
    used: Cell<bool>,
    /// What is thought of a client that asks nothing.
    doubted: Option<Doubted>,
}

/// A client that may go as soon as it has seen who we are: some look at our certificate only when the handshake is over.
struct Doubted {
    since: Instant,
    name: Box<str>,
    lasts: Duration,
    pins: Arc<Pins>,
}

/// Who goes later than this has had another reason.
const AT_ONCE: Duration = Duration::from_secs(2);

impl Inside {
    /// A tunnel to a place.
    pub(crate) fn new(host: Box<str>, port: u16, secure: Option<Secure>) -> Inside {
        Inside { host, port, secure, user: None, passage: None }
    }

    /// The same, which somebody has opened whom we know.
    #[must_use]
    pub(crate) fn opened_by(self, user: Option<Arc<User>>) -> Inside {
        Inside { user, ..self }
    }

    /// Who has opened it.
    pub(crate) fn user(&self) -> Option<&Arc<User>> {
        self.user.as_ref()
    }

    /// The same, which leaves a line of its own by this account when it ends.
    #[must_use]
    pub(crate) fn recorded(self, worker: &Rc<Worker>, exchange: Box<Exchange>, account: Kept) -> Inside {
        let passage = Passage {
            worker: Rc::clone(worker),
            exchange: RefCell::new(exchange),
            account,
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            used: Cell::new(false),
            doubted: None,
        };
        Inside { passage: Some(passage), ..self }
    }

    /// The same, whose client is left alone with this server if it asks nothing and goes, where that is wanted.
    fn watched(mut self, bypass: Option<&(Duration, Arc<Pins>)>) -> Inside {
        if let (Some(passage), Some(secure), Some((lasts, pins))) = (&mut self.passage, &self.secure, bypass) {
            let (since, name, lasts, pins) = (Instant::now(), secure.name.clone(), *lasts, Arc::clone(pins));
            passage.doubted = Some(Doubted { since, name, lasts, pins });
        }
        self
    }

    /// The connection that was made when the tunnel was opened, if nobody has taken it.
    pub(crate) fn lead(&self) -> Option<(Stream, Address)> {
        self.secure.as_ref()?.lead.0.borrow_mut().take()
    }

    /// Whether a request is for the server at the tunnel's other end, whose rules were asked when it was opened: a tunnel to one host is
    /// no way to another.
    ///
    /// # Errors
    /// It is not, and why.
    pub(crate) fn admit(&self, head: &Head, host: &mut Vec<u8>) -> Result<(), (Kind, &'static str)> {
        if head.method() == Method::Connect {
            return Err((Kind::Unsupported, "a tunnel inside of a tunnel"));
        }
        let own = if self.secure.is_some() { Scheme::Https } else { Scheme::Http };
        if head.scheme() != Scheme::Unsaid && head.scheme() != own {
            return Err((Kind::Misdirected, "a target of another scheme than the tunnel's"));
        }
        let name = self.secure.as_ref().map_or(&*self.host, |secure| &secure.name);
        if host.is_empty() {
            // HTTP/1.0 knows no Host.
            host.extend_from_slice(name.as_bytes());
        }
        let is_there = **host == *self.host.as_bytes() || **host == *name.as_bytes();
        if !is_there || uri::port(head.authority()).is_some_and(|port| port != self.port) {
            return Err((Kind::Misdirected, "another host than the tunnel's"));
        }
        Ok(())
    }

    /// Counts what has passed in a request.
    pub(crate) fn count(&self, bytes_in: u64, bytes_out: u64) {
        if let Some(passage) = &self.passage {
            passage.used.set(true);
            passage.bytes_in.set(passage.bytes_in.get() + bytes_in);
            passage.bytes_out.set(passage.bytes_out.get() + bytes_out);
        }
    }
}

impl Lead {
    pub(crate) fn none() -> Lead {
        Lead(RefCell::new(None))
    }

    pub(crate) fn of(stream: Stream, address: Option<Address>) -> Lead {
        Lead(RefCell::new(address.map(|address| (stream, address))))
    }
}

/// Lets a client into a tunnel, in a task of its own: what a handshake needs should not stay with what speaks inside.
pub(super) fn enter(session: Session, exchange: Box<Exchange>, entrance: Entrance) {
    tokio::task::spawn_local(admitted(session, exchange, entrance));
}

/// Shakes hands with the client, and serves what it says then. A client that does not come through it is told by its alert.
async fn admitted(session: Session, mut exchange: Box<Exchange>, entrance: Entrance) {
    let Entrance { intercept, terminator, inside, idle, account } = entrance;
    let Session { worker, client, origin, listener, timer, counted, tls, opened_to, .. } = session;
    let refused = |mut exchange: Box<Exchange>, fault: Fault, reason| {
        (exchange.notes.fault, exchange.notes.reason, exchange.notes.cut) = (Some(fault), reason, true);
        finish::record(&worker, &mut exchange, &account.borrowed());
        worker.recycle(exchange);
    };
    let Some(_place) = intercept.tls.begin() else {
        return refused(exchange, Fault::proxy(Kind::Overload), "too many handshakes are under way");
    };
    let counted = counted.unwrap_or_else(|| {
        // A stream of a connection: what speaks inside is one of its own.
        worker.fleet.connection_began(worker.id);
        Counted::of(&worker, &listener.connections)
    });
    let (stream, heard) = match stream_of(&worker, client, idle) {
        Ok(parts) => parts,
        Err(_) => return refused(exchange, Fault::proxy(Kind::Overload), "no descriptors for a handshake"),
    };
    timer.arm(Instant::now(), intercept.tls.patience);
    let mut accepting = pin!(terminator.accept_heard(stream, heard));
    let shaken = poll_fn(|cx| {
        if let Poll::Ready(done) = accepting.as_mut().poll(cx) {
            return Poll::Ready(done.map_err(Some));
        }
        if worker.is_cut() {
            return Poll::Ready(Err(None));
        }
        timer.poll_expired(cx).map(|()| Err(None))
    })
    .await;
    let counters = listener.connections.shard(worker.id);
    let stream = match shaken {
        Ok(stream) => stream,
        Err(error) => {
            counters.handshake_failed();
            let is_pinned = error.as_ref().is_some_and(doubt::is_clients);
            if let (true, Some((lasts, pins)), Some(secure)) = (is_pinned, &intercept.bypass, &inside.secure) {
                pins.note(exchange.facts.client, &secure.name, Instant::now(), *lasts);
            }
            let reason = match (is_pinned, error) {
                (true, _) => "the client does not believe our certificate",
                (false, Some(_)) => "the client and we could not agree on TLS",
                (false, None) => "the client has not ended the handshake of TLS in time",
            };
            return refused(exchange, Fault::client(Kind::ClientTls), reason);
        }
    };
    counters.handshake_done();
    // Who the client has shown to be when it came to us it is inside, too.
    let outer = tls.as_deref().cloned().unwrap_or_default();
    let (fingerprint, subject) = (outer.fingerprint, outer.subject);
    let tls = stream.agreed().map(|agreed| Rc::new(Agreed { fingerprint, subject, ..agreed }));
    exchange.notes.ended = exchange.notes.began;
    let inside = Some(Rc::new(inside.recorded(&worker, exchange, account).watched(intercept.bypass.as_ref())));
    let common = Common { worker: Rc::clone(&worker), origin, listener: Arc::clone(&listener), tls, opened_to, inside };
    speak(Arrived { common, timer, counted }, stream);
}

/// The client's stream, and what was read of it. Where its bytes are not a socket's own, as with a stream of HTTP/2, they are passed on
/// through one.
fn stream_of(worker: &Rc<Worker>, client: Conn, idle: Duration) -> io::Result<(Stream, Vec<u8>)> {
    if client.plain().is_some() {
        return client.into_parts().ok_or_else(|| io::ErrorKind::Unsupported.into());
    }
    Ok((passed_on(worker, client, idle)?, Vec::new()))
}

/// A stream on which TLS can be spoken, of one to a server. There is no TLS in TLS on one socket.
pub(crate) fn bare_stream(worker: &Rc<Worker>, stream: Stream, idle: Duration) -> io::Result<Stream> {
    if stream.is_plain() { Ok(stream) } else { passed_on(worker, Conn::new(stream), idle) }
}

/// The other end of what passes on the bytes of a connection.
fn passed_on(worker: &Rc<Worker>, mut conn: Conn, idle: Duration) -> io::Result<Stream> {
    let (here, there) = Stream::pair()?;
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let timer = worker.timers.timer();
        let mut there = Conn::new(there);
        let limits = relay::TunnelLimits { idle, until: None, splice: false, up: None, down: None };
        // What is said in it is judged where it is read.
        let mut hold = |_: &Rc<Worker>, _: &mut Conn, _: &mut Context<'_>| Poll::Ready(Ok(()));
        let ended = relay::tunnel(&worker, &mut conn, &mut there, &timer, limits, &mut hold, Paces::default()).await;
        if ended.fault.is_none() {
            close(&conn, &timer, &worker).await;
        }
    });
    Ok(here)
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inside({}:{})", self.host, self.port)
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let exchange = self.exchange.get_mut();
        exchange.notes.bytes_in = self.bytes_in.get();
        exchange.notes.bytes_out = self.bytes_out.get();
        exchange.notes.ended = Instant::now();
        if let Some(doubted) = &self.doubted
            && !self.used.get()
            && doubted.since.elapsed() < AT_ONCE
            && !self.worker.is_draining()
        {
            doubted.pins.note(exchange.facts.client, &doubted.name, Instant::now(), doubted.lasts);
        }
        finish::record(&self.worker, exchange, &self.account.borrowed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(inside: &Inside, authority: &str) -> Result<String, Kind> {
        let mut head = Head::default();
        head.start_request(b"GET", authority.as_bytes(), b"/", None);
        let mut host = uri::host(authority.as_bytes()).into_owned();
        inside.admit(&head, &mut host).map_err(|(kind, _)| kind)?;
        Ok(String::from_utf8_lossy(&host).into_owned())
    }

    #[test]
    fn a_tunnel_is_a_way_to_its_own_server() {
        let secure = Secure { name: "a.test".into(), h2: true, doubt: None, lead: Lead::none() };
        let inside = Inside::new("192.0.2.1".into(), 443, Some(secure));
        for authority in ["a.test", "A.test:443", "192.0.2.1", "192.0.2.1:443"] {
            assert!(asked(&inside, authority).is_ok(), "{authority}");
        }
        assert_eq!(asked(&inside, "").as_deref(), Ok("a.test"));
        for authority in ["b.test", "a.test:8443", "x.a.test", "192.0.2.2", "a.test.b"] {
            assert_eq!(asked(&inside, authority), Err(Kind::Misdirected), "{authority}");
        }
    }

    #[test]
    fn a_tunnel_inside_of_a_tunnel_leads_nowhere() {
        let mut head = Head::default();
        head.start_request(b"CONNECT", b"a.test:443", b"", None);
        let inside = Inside::new("a.test".into(), 443, None);
        assert_eq!(inside.admit(&head, &mut b"a.test".to_vec()).map_err(|(kind, _)| kind), Err(Kind::Unsupported));
    }
}
