//! A tunnel whose requests are read: what they have in common, and the line that it leaves when nobody is inside any more.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Instant;

use base::Kind;
use wire::head::{Method, Scheme};
use wire::{Head, uri};

use crate::exchange::Exchange;
use crate::finish::{self, Kept};
use crate::worker::Worker;

/// What is known of the tunnel in which a request has come.
pub(crate) struct Inside {
    /// The host that the tunnel leads to, in the one form of hosts.
    pub(crate) host: Box<str>,
    /// The port that it leads to.
    pub(crate) port: u16,
    /// TLS with the server, where the client's ends with us.
    pub(crate) secure: Option<Secure>,
    /// What is recorded of the tunnel itself.
    passage: Option<Passage>,
}

/// TLS with the server at the tunnel's other end.
pub(crate) struct Secure {
    /// The name that its certificate must be for, which requests may call it by as well.
    pub(crate) name: Box<str>,
}

/// The request for a tunnel, which is recorded when the tunnel ends.
struct Passage {
    worker: Rc<Worker>,
    exchange: RefCell<Box<Exchange>>,
    account: Kept,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
}

impl Inside {
    /// A tunnel to a place.
    pub(crate) fn new(host: Box<str>, port: u16, secure: Option<Secure>) -> Inside {
        Inside { host, port, secure, passage: None }
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
        };
        Inside { passage: Some(passage), ..self }
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
            passage.bytes_in.set(passage.bytes_in.get() + bytes_in);
            passage.bytes_out.set(passage.bytes_out.get() + bytes_out);
        }
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
        let inside = Inside::new("192.0.2.1".into(), 443, Some(Secure { name: "a.test".into() }));
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
