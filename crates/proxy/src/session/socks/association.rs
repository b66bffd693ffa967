//! Datagrams of a client of SOCKS5 (RFC 1928 section 7): they come to a socket of the association's own, say where they go, and are
//! sent from another one. It lives as long as the connection on which it was asked for.
//!
//! Each server that is written to is found and judged once, like a tunnel, and leaves a line of its own in the log. Only the client is
//! heard on the one side, and on the other only servers that it has written to.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use base::ids::RequestId;
use base::{Fault, Kind};
use net::Address;
use net::datagram::{Arrival, Batch, Socket, alone};
use net::tls::Alpn;
use wire::socks::{self, Host, Request, Version};

use super::places::{Name, Places};
use super::settle;
use crate::capture::{self, Caught};
use crate::destination::{self, Lead, Led, Way};
use crate::exchange::{self, Exchange};
use crate::finish::{self, Account, Kept};
use crate::intercept;
use crate::quota::{self, Meter};
use crate::session::{Session, way};
use crate::snapshot::{Arm, Ending};
use crate::users::User;
use crate::worker::Worker;

/// What a client has asked for that sends datagrams.
pub(super) struct Association {
    session: Session,
    /// Who the client is to its listener, and to the routes that ask for it themselves.
    user: Option<Arc<User>>,
    users: Vec<Arc<User>>,
    /// Where the client sends.
    socket: Socket,
    /// From where it does: its address, and its port once that is known.
    client: (IpAddr, Option<u16>),
    /// From where its datagrams go on: an address of ours for each family, or those that routes say.
    outward: Vec<(IpAddr, Socket)>,
    places: Places<Place>,
    lookups: Vec<Lookup>,
    /// How long nobody may say anything.
    idle: Duration,
    last: Instant,
    /// How many servers it has led to.
    led: u64,
}

/// A socket where a client may send to.
pub(super) struct Opened {
    socket: Socket,
    pub(super) address: SocketAddr,
    client: (IpAddr, Option<u16>),
}

/// A server that was written to.
struct Place {
    standing: Standing,
    account: Kept,
    user: Option<Arc<User>>,
    host: Box<[u8]>,
    port: Option<u16>,
    id: RequestId,
    time: SystemTime,
    began: Instant,
    last: Instant,
    come: Sum,
    gone: Sum,
    /// Who it is counted for.
    meter: Option<Rc<Meter>>,
    /// What of it goes into an archive.
    caught: Option<Box<Caught>>,
}

enum Standing {
    /// It is there.
    Led(Route),
    /// Its name is being looked up, and these are for it.
    Asked(Vec<Box<[u8]>>),
    /// Nothing goes there, until it is asked for again after this.
    Not(Fault, Cow<'static, str>, Instant),
}

/// The way of datagrams: which address of ours they come from, and where they go.
#[derive(Clone, Copy)]
struct Route {
    from: IpAddr,
    to: SocketAddr,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    bytes: u64,
    datagrams: u64,
}

struct Lookup {
    name: Name,
    answer: Pin<Box<dyn Future<Output = Led>>>,
}

/// System calls in one turn and direction: then somebody else has their turn.
const ROUNDS: usize = 4;
/// Room for so many reads, which all associations of a worker share.
const PLACES: usize = 16;
/// Names that are looked up at once, and datagrams that wait for each, of this length at most.
const LOOKUPS: usize = 16;
const WAITING: usize = 4;
const LONGEST_WAITING: usize = 2048;
/// How long a server is not asked for again to which nothing could be sent.
const PAUSE: Duration = Duration::from_secs(1);
const STRANGER: &str = "who has opened the association is none of those who may ask";
/// What stands in front of a datagram to the client at most.
const HEAD: usize = 22;

impl Opened {
    /// On the address of ours that the client knows; none if there are no more descriptors or ports, or its connection has no address.
    pub(super) fn of(session: &Session, asked: &Request) -> Option<Opened> {
        let local = session.client.local()?.ip().to_canonical();
        let peer = session.origin.peer?.ip().to_canonical();
        let socket = alone(local).ok()?;
        let address = socket.local().ok()?;
        // A client that does not know its own address, as others see it, does not know its port either.
        let is_known = asked.host == Host::Ip(peer) || matches!(asked.host, Host::Ip(ip) if ip.is_unspecified());
        let port = Some(asked.port).filter(|port| *port != 0 && is_known);
        Some(Opened { socket, address, client: (peer, port) })
    }
}

impl Association {
    pub(super) fn new(session: Session, opened: Opened, user: Option<Arc<User>>, users: Vec<Arc<User>>) -> Association {
        Association {
            user,
            users,
            idle: session.listener.default.tunnel,
            session,
            socket: opened.socket,
            client: opened.client,
            outward: Vec::new(),
            places: Places::new(),
            lookups: Vec::new(),
            last: Instant::now(),
            led: 0,
        }
    }

    /// Passes datagrams both ways until the connection ends; answers why, if it was nobody's wish, and whether anything was recorded.
    pub(super) async fn run(mut self) -> (Session, Option<Fault>, bool) {
        let fault = poll_fn(|cx| self.turn(cx)).await;
        let worker = Rc::clone(&self.session.worker);
        for place in self.places.drain() {
            place.end(&worker, &self.session, fault);
        }
        (self.session, fault, self.led > 0)
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Option<Fault>> {
        let now = Instant::now();
        let worker = Rc::clone(&self.session.worker);
        if worker.is_cut() {
            return Poll::Ready(Some(Fault::proxy(Kind::Drained)));
        }
        if self.is_closed(cx) {
            return Poll::Ready(None);
        }
        let mut batch = std::mem::take(&mut *worker.letters.borrow_mut());
        if batch.free() == 0 {
            batch = Batch::new(PLACES);
        }
        let mut more = self.hear_client(cx, &mut batch, now);
        // Before servers are heard: what waited for a name may be the first that is sent, and its answer is to wake us.
        self.hear_names(cx, now);
        more |= self.hear_servers(cx, &mut batch, now);
        batch.clear();
        *worker.letters.borrow_mut() = batch;
        while let Some(place) = self.places.over(now) {
            place.end(&worker, &self.session, None);
        }
        let silent_until = self.last + self.idle;
        if now >= silent_until {
            return Poll::Ready(Some(Fault::proxy(Kind::TunnelTimeout)));
        }
        let next = self.places.next_over().map_or(silent_until, |next| next.min(silent_until));
        self.session.timer.arm(now, next.saturating_duration_since(now));
        if self.session.timer.poll_expired(cx).is_ready() || more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Whether the connection on which it was asked for has ended. What is said there means nothing.
    fn is_closed(&mut self, cx: &mut Context<'_>) -> bool {
        let Session { worker, client, .. } = &mut self.session;
        let mut block = worker.block(0);
        for _ in 0..ROUNDS {
            match client.poll_read(cx, &mut block) {
                Poll::Ready(Ok(0) | Err(_)) => return true,
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return false,
            }
        }
        cx.waker().wake_by_ref();
        false
    }

    /// Takes what the client has sent to where it goes; says whether there may be more.
    fn hear_client(&mut self, cx: &mut Context<'_>, batch: &mut Batch, now: Instant) -> bool {
        for _ in 0..ROUNDS {
            batch.clear();
            match self.socket.poll_receive(cx, batch) {
                Poll::Pending => return false,
                Poll::Ready(Ok(_)) => batch.arrivals().for_each(|arrival| self.take(cx, &arrival, now)),
                // It was told of something that it had sent to its client.
                Poll::Ready(Err(_)) => {}
            }
        }
        true
    }

    fn take(&mut self, cx: &mut Context<'_>, arrival: &Arrival<'_>, now: Instant) {
        let (ip, port) = self.client;
        let is_client = arrival.from.ip().to_canonical() == ip && port.is_none_or(|port| port == arrival.from.port());
        if !is_client || arrival.from.port() == 0 {
            return self.lost(arrival.count());
        }
        self.client.1 = Some(arrival.from.port());
        self.last = now;
        self.connections(|stats| stats.datagrams_in(arrival.count()));
        for datagram in arrival.datagrams() {
            let is_taken = match socks::datagram(datagram) {
                Ok((host, port, head)) if port != 0 => self.pass((host, port), &datagram[head..], cx, now),
                _ => false,
            };
            if !is_taken {
                self.lost(1);
            }
        }
    }

    /// Passes a datagram on to its server, which is found if it is a new one; says whether that was done.
    fn pass(&mut self, name: Name, datagram: &[u8], cx: &mut Context<'_>, now: Instant) -> bool {
        let is_known = self.places.named(&name, now).is_some_and(|place| match &place.standing {
            Standing::Not(_, _, until) => now < *until,
            _ => true,
        });
        if !is_known {
            self.find(&name, cx, now);
        }
        let Some(place) = self.places.named(&name, now) else { return false };
        place.come.add(datagram);
        place.last = now;
        match &mut place.standing {
            Standing::Led(route) => {
                let route = *route;
                place.counts(true, datagram, now) && self.send(route, datagram).is_ok()
            }
            Standing::Asked(waiting) if waiting.len() < WAITING && datagram.len() <= LONGEST_WAITING => {
                waiting.push(datagram.into());
                true
            }
            Standing::Asked(_) | Standing::Not(..) => false,
        }
    }

    fn send(&mut self, route: Route, datagram: &[u8]) -> io::Result<()> {
        let known = self.outward.iter().position(|(from, _)| *from == route.from);
        let at = match known {
            Some(at) => at,
            None => {
                self.outward.push((route.from, alone(route.from)?));
                self.outward.len() - 1
            }
        };
        self.outward[at].1.send(route.to, datagram)
    }

    /// Finds the route of a server, and the server.
    fn find(&mut self, name: &Name, cx: &mut Context<'_>, now: Instant) {
        let worker = Rc::clone(&self.session.worker);
        let mut x = worker.exchange();
        x.began(None);
        x.came(&worker, &self.session.origin, self.session.tls.as_ref());
        x.facts.socks = Some(Version::V5);
        x.facts.user.clone_from(&self.user);
        settle(&mut x, &name.0, name.1);
        let listener = exchange::pin(&mut self.session);
        let alpn: Option<Alpn> = x.facts.tls.as_deref().and_then(|tls| tls.alpn);
        let route = way::find(&listener, &mut x, name.1, alpn.as_slice());
        let is_known = route.users.iter().all(|ways| {
            let subject = x.facts.tls.as_ref().and_then(|tls| tls.subject.as_deref());
            let user = ways.whom(&self.users, subject);
            let is_known = user.is_some();
            x.facts.user = user.or(x.facts.user.take());
            is_known
        });
        let lead = match &route.ending {
            _ if !is_known => Lead::Known(Err((Fault::client(Kind::ProxyUnauthenticated), STRANGER.into()))),
            _ if intercept::forbids_datagrams(&listener, &x.facts.host) => {
                Lead::Known(Err((Fault::client(Kind::Denied), intercept::DATAGRAMS.into())))
            }
            // What it was counted for it has given back.
            _ if let Err(fault) = quota::begin(&mut x, route) => {
                x.meter = None;
                Lead::Known(Err((fault, x.notes.reason.into())))
            }
            Ending::Ways(ways) if let Some(Way::Origin(origin)) = ways.first() => {
                let host = std::str::from_utf8(&x.facts.host).unwrap_or_default();
                destination::lead_to(&worker, origin, host, name.1)
            }
            Ending::Ways(_) | Ending::Pools(_) => {
                Lead::Known(Err((Fault::client(Kind::Denied), destination::INDIRECT.into())))
            }
            _ => Lead::Known(Err((Fault::client(Kind::Denied), "".into()))),
        };
        let (led, asked) = match lead {
            Lead::Known(led) => (Some(led), None),
            Lead::Asked(answer) if self.lookups.len() < LOOKUPS => (None, Some(answer)),
            Lead::Asked(_) => (Some(Err((Fault::proxy(Kind::Overload), "too many names at once".into()))), None),
        };
        let account = Account::of(&listener, route, &x.notes).owned();
        let place = match self.places.named(name, now) {
            Some(place) => {
                (place.account, place.meter) = (account, x.meter.take());
                place.user.clone_from(&x.facts.user);
                place.standing = Standing::Asked(Vec::new());
                place
            }
            None => {
                capture::begin(&self.session, &mut x, &listener, route);
                let place = Place { caught: x.caught.take(), ..Place::new(&x, account) };
                self.led += 1;
                if let Some(gone) = self.places.add(name.clone(), place, route.flow, now) {
                    gone.end(&worker, &self.session, None);
                }
                match self.places.named(name, now) {
                    Some(place) => place,
                    None => return,
                }
            }
        };
        debug_assert!(matches!(place.standing, Standing::Asked(_)));
        worker.recycle(x);
        if let Some(answer) = asked {
            self.lookups.push(Lookup { name: name.clone(), answer });
            // It has to be begun.
            cx.waker().wake_by_ref();
        }
        if let Some(led) = led {
            self.settle(name, led, now);
        }
    }

    /// It is known where a server is, or why nothing goes there.
    fn settle(&mut self, name: &Name, led: Led, now: Instant) {
        let Some(place) = self.places.named(name, now) else { return };
        let (arm, to): (Arc<Arm>, SocketAddr) = match led.map(|arm| (address(&arm), arm)) {
            Ok((Some(to), arm)) => (arm, to),
            Ok((None, _)) => return,
            Err((fault, reason)) => {
                place.standing = Standing::Not(fault, reason, now + PAUSE);
                quota::give_back(place.meter.take());
                return;
            }
        };
        let any = if to.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        let route = Route { from: arm.sources.and_then(|sources| sources.towards(to.ip())).unwrap_or(any), to };
        place.account.leads_to(&arm);
        let before = std::mem::replace(&mut place.standing, Standing::Led(route));
        if let Standing::Asked(mut waiting) = before {
            let count = waiting.len();
            waiting.retain(|datagram| matches!(place.standing, Standing::Led(_)) && place.counts(true, datagram, now));
            let sent = waiting.iter().filter(|datagram| self.send(route, datagram).is_ok()).count();
            self.lost(count - sent);
        }
        self.idle = arm.timeouts.tunnel;
        self.places.found(name, to, arm.timeouts.flow);
    }

    fn hear_names(&mut self, cx: &mut Context<'_>, now: Instant) {
        let mut at = 0;
        while let Some(lookup) = self.lookups.get_mut(at) {
            match lookup.answer.as_mut().poll(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(led) => {
                    let Lookup { name, .. } = self.lookups.swap_remove(at);
                    self.settle(&name, led, now);
                }
            }
        }
    }

    /// Takes what servers have said to the client; says whether there may be more.
    fn hear_servers(&mut self, cx: &mut Context<'_>, batch: &mut Batch, now: Instant) -> bool {
        let mut more = false;
        for at in 0..self.outward.len() {
            more |= self.hear_at(at, cx, batch, now);
        }
        more
    }

    fn hear_at(&mut self, at: usize, cx: &mut Context<'_>, batch: &mut Batch, now: Instant) -> bool {
        for _ in 0..ROUNDS {
            batch.clear();
            match self.outward[at].1.poll_receive(cx, batch) {
                Poll::Pending => return false,
                Poll::Ready(Ok(_)) => batch.arrivals().for_each(|arrival| self.answer(&arrival, now)),
                Poll::Ready(Err(_)) => {}
            }
        }
        true
    }

    /// Passes on what a server has said, with its address in front.
    fn answer(&mut self, arrival: &Arrival<'_>, now: Instant) {
        let from = SocketAddr::new(arrival.from.ip().to_canonical(), arrival.from.port());
        let (ip, Some(port)) = self.client else { return };
        let Some(place) = self.places.at(&from, now) else { return self.lost(arrival.count()) };
        self.last = now;
        place.last = now;
        let mut out = self.session.worker.out();
        for datagram in arrival.datagrams() {
            place.gone.add(datagram);
            if matches!(place.standing, Standing::Not(..)) || !place.counts(false, datagram, now) {
                self.session.listener.connections.shard(self.session.worker.id).datagrams_lost(1);
                continue;
            }
            out.clear();
            out.reserve(HEAD + datagram.len());
            socks::write_datagram_head(from, &mut out);
            out.extend_from_slice(datagram);
            if self.socket.send(SocketAddr::new(ip, port), &out).is_err() {
                self.session.listener.connections.shard(self.session.worker.id).datagrams_lost(1);
            }
        }
        self.connections(|stats| stats.datagrams_out(arrival.count()));
    }

    fn lost(&self, count: usize) {
        self.connections(|stats| stats.datagrams_lost(count));
    }

    fn connections(&self, count: impl FnOnce(&observe::stats::ConnectionShard)) {
        count(self.session.listener.connections.shard(self.session.worker.id));
    }
}

/// The first address that is allowed is the one that is written to: whether anybody is there is not for us to find out.
fn address(arm: &Arm) -> Option<SocketAddr> {
    arm.pool.servers.iter().find_map(|server| match server.id.address {
        Address::Tcp(address) => Some(address),
        Address::Unix(_) => None,
    })
}

impl Place {
    fn new(x: &Exchange, account: Kept) -> Place {
        Place {
            standing: Standing::Asked(Vec::new()),
            account,
            user: x.facts.user.clone(),
            host: x.facts.host.as_slice().into(),
            port: x.facts.port,
            id: x.facts.id,
            time: x.notes.time,
            began: x.notes.began,
            last: x.notes.began,
            come: Sum::default(),
            gone: Sum::default(),
            meter: x.meter.clone(),
            caught: None,
        }
    }

    /// Counts a datagram from the client (`up`) or to it; says whether it may pass. If not, nothing goes there for a while.
    fn counts(&mut self, up: bool, datagram: &[u8], now: Instant) -> bool {
        let is_left = self.meter.as_ref().is_none_or(|meter| meter.took(up, datagram.len() as u64));
        if !is_left {
            self.standing = Standing::Not(Fault::client(Kind::Quota), quota::NO_BYTES.into(), now + PAUSE);
        }
        is_left
    }

    /// Writes its record and counts it.
    fn end(self, worker: &Worker, session: &Session, fault: Option<Fault>) {
        let mut x = worker.exchange();
        x.came(worker, &session.origin, session.tls.as_ref());
        (x.facts.socks, x.facts.user, x.client.is_flow) = (Some(Version::V5), self.user, true);
        (x.facts.host, x.facts.port) = (self.host.into_vec(), self.port);
        x.facts.id = self.id;
        (x.notes.time, x.notes.began) = (self.time, self.began);
        x.caught = self.caught;
        // Silence is not part of it; one datagram has taken no time.
        x.notes.ended = self.last.max(self.began + Duration::from_nanos(1));
        (x.notes.bytes_in, x.notes.bytes_out) = (self.come.bytes, self.gone.bytes);
        x.notes.datagrams = Some((self.come.datagrams, self.gone.datagrams));
        x.notes.fault = fault;
        x.notes.cut = fault.is_some();
        if let Standing::Not(fault, reason, _) = self.standing {
            (x.notes.fault, x.notes.cause) = (Some(fault), reason);
        }
        finish::record(worker, &mut x, &self.account.borrowed());
        worker.recycle(x);
    }
}

impl Sum {
    fn add(&mut self, datagram: &[u8]) {
        self.bytes += datagram.len() as u64;
        self.datagrams += 1;
    }
}
