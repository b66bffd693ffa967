//! What a client says first, heard before its route is known, and passed on as it came.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use base::{Fault, Kind};
use http::Conn;
use wire::client_hello::{self, ClientHello, Seen as Hello};
use wire::h1::opening::{self, Seen as Opening};
use wire::mqtt::{self, Seen as Connect};
use wire::postgres::{self, Seen as Startup};

use super::Session;
use crate::route::Said;
use crate::snapshot::{Hears, Listener};
use crate::worker::Worker;

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// A client of TLS that ends elsewhere.
    pub(super) hello: Option<ClientHello>,
    /// It has begun with a handshake that only a server might read.
    pub(super) is_unreadable: bool,
    /// One that has said who it is.
    pub(super) said: Option<Said>,
    /// One that has begun a request of HTTP, or requests by HTTP/2.
    pub(super) request: Option<Asks>,
}

/// In which words a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    H1,
    H2,
}

/// Waits for what is to be heard, as long as a request's head may take, and leaves it where it is.
pub(super) async fn hear(session: &mut Session, listener: &Listener, hears: Hears) -> Result<Heard, Fault> {
    let Session { worker, client, timer, tls, .. } = session;
    let is_plain = tls.is_none();
    // What a client says inside of TLS that ends here is no handshake of another.
    let hears = Hears { hello: hears.hello && is_plain, ..hears };
    if hears == Hears::default() {
        return Ok(Heard::default());
    }
    let mut ear = Ear { hears, may_refuse: is_plain, may_end: hears.http, ..Ear::default() };
    // What was heard of it for another's sake.
    if client.has_carry() {
        let kept = client.carry().to_vec();
        ear.listen(&kept);
        if ear.owes {
            client.unkeep(&mut vec![0; kept.len()]);
        } else if ear.hears == Hears::default() {
            return Ok(ear.heard);
        }
    }
    timer.arm(Instant::now(), listener.request_head);
    poll_fn(|cx| {
        if worker.is_cut() {
            return Poll::Ready(Err(Fault::proxy(Kind::Drained)));
        }
        let mut block = worker.block(MOST + client.carry().len());
        match ear.poll(client, cx, &mut block) {
            Poll::Pending => timer.poll_expired(cx).map(|()| Err(Fault::client(Kind::HeadTimeout))),
            ready => ready,
        }
    })
    .await
    .map(|()| ear.heard)
}

/// What is said of a client whose handshake cannot be read where it decides.
pub(crate) const UNREADABLE: &str = "a handshake of TLS that cannot be read";

/// What a client says first, as far as it is one of TLS; what was said stays where it is, whatever it was.
pub(super) fn poll_hello(worker: &Rc<Worker>, client: &mut Conn, cx: &mut Context<'_>) -> Poll<Result<Hello, Fault>> {
    let mut block = worker.block(MOST + client.carry().len());
    loop {
        let kept = client.carry().len();
        let room = block.len().min(kept + MOST);
        let length = ready!(client.poll_bytes(cx, &mut block[..room])).map_err(|_| GONE)?;
        let said = client_hello::read(&block[..length]);
        client.keep(&block[..length]);
        match said {
            // It says no more.
            Hello::Partial if length == kept => return Poll::Ready(Ok(Hello::Other)),
            Hello::Partial => {}
            said => return Poll::Ready(Ok(said)),
        }
    }
}

/// More than this is listened to by nobody.
const MOST: usize = 16 * 1024;
const _: () =
    assert!(MOST >= client_hello::MOST && MOST >= mqtt::MOST && MOST >= postgres::MOST && MOST >= opening::MOST);

const GONE: Fault = Fault::client(Kind::ClientGone);

#[derive(Default)]
struct Ear {
    /// What is still to be heard.
    hears: Hears,
    heard: Heard,
    /// Whether a client of PostgreSQL that asks for TLS is told that there is none.
    may_refuse: bool,
    /// Whether it may end before it has said anything, as in a tunnel: what it has only begun to say goes to nobody then.
    may_end: bool,
    /// How often it was told something of the kind.
    refused: u8,
    /// It waits to be told.
    owes: bool,
}

impl Ear {
    fn poll(&mut self, client: &mut Conn, cx: &mut Context<'_>, block: &mut [u8]) -> Poll<Result<(), Fault>> {
        loop {
            if self.owes {
                ready!(client.poll_write(cx, &[postgres::UNWILLING])).map_err(|_| GONE)?;
                self.owes = false;
            }
            let kept = client.carry().len();
            let room = block.len().min(kept + MOST);
            let length = ready!(client.poll_bytes(cx, &mut block[..room])).map_err(|_| GONE)?;
            if length == 0 && self.may_end {
                return Poll::Ready(Ok(()));
            }
            if length == 0 {
                return Poll::Ready(Err(GONE));
            }
            self.listen(&block[..length]);
            if self.owes {
                continue;
            }
            client.keep(&block[..length]);
            // That is all, or it will say no more.
            if self.hears == Hears::default() || length == kept {
                let is_half = self.may_end && self.hears != Hears::default();
                return Poll::Ready(if is_half { Err(GONE) } else { Ok(()) });
            }
        }
    }

    /// What is neither whole nor the beginning of anything is not listened to any more.
    fn listen(&mut self, bytes: &[u8]) {
        if self.hears.hello {
            match client_hello::read(bytes) {
                Hello::Partial => {}
                Hello::Hello(hello) => (self.heard.hello, self.hears.hello) = (Some(hello), false),
                Hello::Unreadable => (self.heard.is_unreadable, self.hears.hello) = (true, false),
                Hello::Other => self.hears.hello = false,
            }
        }
        if self.hears.postgres {
            match postgres::read(bytes) {
                Startup::Partial => {}
                // One that goes on without waiting for the answer is none. There are two questions, and each is asked once.
                Startup::Asks(_)
                    if self.may_refuse && bytes.len() == postgres::SSL_REQUEST.len() && self.refused < 2 =>
                {
                    self.refused += 1;
                    self.owes = true;
                }
                Startup::Startup(startup) => {
                    (self.heard.said, self.hears.postgres) = (Some(Said::Postgres(startup)), false);
                }
                Startup::Asks(_) | Startup::Other => self.hears.postgres = false,
            }
        }
        if self.hears.http {
            match opening::read(bytes) {
                Opening::Partial => {}
                Opening::Request => (self.heard.request, self.hears.http) = (Some(Asks::H1), false),
                Opening::Preface => (self.heard.request, self.hears.http) = (Some(Asks::H2), false),
                Opening::Other => self.hears.http = false,
            }
        }
        if self.hears.mqtt {
            match mqtt::read(bytes) {
                Connect::Partial => {}
                Connect::Connect(id) => (self.heard.said, self.hears.mqtt) = (Some(Said::Mqtt(id)), false),
                Connect::Other => self.hears.mqtt = false,
            }
        }
    }
}
