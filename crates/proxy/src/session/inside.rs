//! A tunnel whose requests are read: what they have in common, and the line that it leaves when nobody is inside any more.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::Kind;
use net::Stream;
use wire::head::{Method, Scheme};
use wire::{Head, uri};

use crate::destination;
use crate::exchange::Exchange;
use crate::finish::{self, Kept};
use crate::intercept::Pins;
use crate::pool::Lease;
use crate::users::User;
use crate::worker::Worker;

/// What is known of the tunnel in which a request has come.
pub(crate) struct Inside {
    /// The host that the tunnel leads to, in the one form of hosts.
    pub(crate) host: Box<str>,
    /// The port that it leads to.
    pub(crate) port: u16,
    /// Whether the server speaks HTTP/2.
    pub(crate) h2: bool,
    /// TLS with the server, where the client's ends with us.
    pub(crate) secure: Option<Secure>,
    /// A connection to it that is there already, for the first request.
    lead: Lead,
    /// Who has opened it, where that was asked.
    user: Option<Arc<User>>,
    /// What is recorded of the tunnel itself.
    passage: Option<Passage>,
}

/// TLS with the server at the tunnel's other end.
pub(crate) struct Secure {
    /// The name that its certificate must be for, which requests may call it by as well.
    pub(crate) name: Box<str>,
    /// Why it cannot be believed: no request goes to it then.
    pub(crate) doubt: Option<&'static str>,
}

/// A connection that waits for its first request, with its place among those of the server to which it was made.
pub(crate) struct Lead(RefCell<Option<(Stream, Lease)>>);

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
    pub(crate) fn new(host: Box<str>, port: u16, h2: bool, secure: Option<Secure>, lead: Lead) -> Inside {
        Inside { host, port, h2, secure, lead, user: None, passage: None }
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
    pub(super) fn recorded(self, worker: &Rc<Worker>, exchange: Box<Exchange>, account: Kept) -> Inside {
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
    pub(super) fn watched(mut self, bypass: Option<&(Duration, Arc<Pins>)>) -> Inside {
        if let (Some(passage), Some(secure), Some((lasts, pins))) = (&mut self.passage, &self.secure, bypass) {
            let (since, name, lasts, pins) = (Instant::now(), secure.name.clone(), *lasts, Arc::clone(pins));
            passage.doubted = Some(Doubted { since, name, lasts, pins });
        }
        self
    }

    /// The connection that was made when the tunnel was opened, if nobody has taken it.
    pub(crate) fn lead(&self) -> Option<(Stream, Lease)> {
        self.lead.0.borrow_mut().take()
    }

    /// Whether a request is for the server at the tunnel's other end, whose rules were asked when it was opened: a tunnel to one host is
    /// no way to another. One to an address, with nothing but requests in plain to say whose that is, is for any host by name: it goes no
    /// farther by that.
    ///
    /// # Errors
    /// It is not, and why.
    pub(crate) fn admit(&self, head: &mut Head, host: &mut Vec<u8>) -> Result<(), (Kind, &'static str)> {
        if head.method() == Method::Connect {
            return Err((Kind::Unsupported, "a tunnel inside of a tunnel"));
        }
        let own = if self.secure.is_some() { Scheme::Https } else { Scheme::Http };
        if head.scheme() != Scheme::Unsaid && head.scheme() != own {
            return Err((Kind::Misdirected, "a target of another scheme than the tunnel's"));
        }
        let name = self.secure.as_ref().map_or(&*self.host, |secure| &secure.name);
        if host.is_empty() {
            host.extend_from_slice(name.as_bytes());
            destination::settle_host(host);
            destination::name(head, host, self.port, if self.secure.is_some() { 443 } else { 80 });
        }
        let is_anybodys = self.secure.is_none() && destination::is_address(&self.host);
        let is_there = is_anybodys || **host == *self.host.as_bytes() || **host == *name.as_bytes();
        if !is_there || uri::port(head.authority()).is_some_and(|port| port != self.port) {
            return Err((Kind::Misdirected, "another host than the tunnel's"));
        }
        Ok(())
    }

    /// Counts what has passed in a request. What waits for the first one waits for no other.
    pub(crate) fn count(&self, bytes_in: u64, bytes_out: u64) {
        drop(self.lead());
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

    pub(crate) fn of(stream: Stream, lease: Lease) -> Lead {
        Lead(RefCell::new(Some((stream, lease))))
    }
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
        inside.admit(&mut head, &mut host).map_err(|(kind, _)| kind)?;
        Ok(String::from_utf8_lossy(&host).into_owned())
    }

    #[test]
    fn a_tunnel_is_a_way_to_its_own_server() {
        let secure = Secure { name: "a.test".into(), doubt: None };
        let inside = Inside::new("192.0.2.1".into(), 443, true, Some(secure), Lead::none());
        for authority in ["a.test", "A.test:443", "192.0.2.1", "192.0.2.1:443"] {
            assert!(asked(&inside, authority).is_ok(), "{authority}");
        }
        assert_eq!(asked(&inside, "").as_deref(), Ok("a.test"));
        for authority in ["b.test", "a.test:8443", "x.a.test", "192.0.2.2", "a.test.b"] {
            assert_eq!(asked(&inside, authority), Err(Kind::Misdirected), "{authority}");
        }
    }

    #[test]
    fn a_tunnel_in_plain_to_an_address_is_for_any_host_by_name_and_one_to_a_host_for_no_other() {
        let named = Inside::new("a.test".into(), 80, false, None, Lead::none());
        assert!(asked(&named, "a.test").is_ok() && asked(&named, "A.test:80").is_ok());
        assert_eq!(asked(&named, "").as_deref(), Ok("a.test"));
        for other in ["b.test", "192.0.2.1", "a.test:8080"] {
            assert_eq!(asked(&named, other), Err(Kind::Misdirected), "{other}");
        }
        for address in ["192.0.2.1", "[2001:db8::1]"] {
            let inside = Inside::new(address.into(), 80, false, None, Lead::none());
            assert!(asked(&inside, "a.test").is_ok() && asked(&inside, "b.test:80").is_ok());
            assert_eq!(asked(&inside, "").as_deref(), Ok(address));
            assert_eq!(asked(&inside, "a.test:8080"), Err(Kind::Misdirected));
        }
    }

    #[test]
    fn a_tunnel_inside_of_a_tunnel_leads_nowhere() {
        let mut head = Head::default();
        head.start_request(b"CONNECT", b"a.test:443", b"", None);
        let inside = Inside::new("a.test".into(), 443, false, None, Lead::none());
        assert_eq!(inside.admit(&mut head, &mut b"a.test".to_vec()).map_err(|(kind, _)| kind), Err(Kind::Unsupported));
    }
}
