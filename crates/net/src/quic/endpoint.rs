//! One worker's end of an address, or of a connection to a server: it takes datagrams to their connections, and what connections
//! have to say to the socket.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::{Future as _, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use quinn_proto::{ClientConfig, ConnectionHandle, DatagramEvent, EndpointConfig, Incoming, Transmit};
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Sleep, sleep_until};

use super::connection::{Connection, One};
use super::server::{self, Server};
use super::socket::{Attached, Bound, Datagram, Shared, Watch};
use super::{ids, socket};

/// An endpoint, as whoever closes it holds it.
#[derive(Clone)]
pub struct Endpoint(Rc<Inner>);

/// What makes an endpoint go, on its worker: as long as it lives, its connections do.
pub struct Driver {
    inner: Rc<Inner>,
    socket: Attached,
    /// Absent where the socket is one connection's alone,
    post: Option<Post>,
    /// which then hears of errors.
    watch: Option<Watch>,
    arrived: Vec<Datagram>,
    /// What the socket did not take.
    unsent: Option<(Transmit, Vec<u8>)>,
    room: Vec<u8>,
    sleep: Pin<Box<Sleep>>,
}

/// What connects the workers of an address.
struct Post {
    worker: u16,
    shared: Arc<Shared>,
    handed: Receiver<Datagram>,
}

/// Who decides about clients, and serves them.
pub trait Host {
    /// Somebody wants a connection.
    fn decide(&self, caller: &Caller) -> Verdict;

    /// A connection has begun; its handshake is still to come.
    fn begun(&self, connection: Connection);

    /// A datagram was another worker's; `kept` says whether that one had room for it.
    fn handed_over(&self, _kept: bool) {}

    /// A client has come to be at another address.
    fn moved(&self) {}
}

/// Somebody who wants a connection.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Where it says that it is.
    pub remote: SocketAddr,
    /// Whether it has proved that: it has come back with a token (RFC 9000 section 8.1.2).
    pub proven: bool,
}

/// What becomes of a caller.
#[derive(Debug)]
pub enum Verdict {
    /// It is served so.
    Accept(Server),
    /// It has to come back and prove its address. Nothing is kept of it.
    Retry,
    /// It is told that there is no place for it.
    Refuse,
    /// It hears nothing.
    Ignore,
}

pub(super) struct Inner {
    endpoint: RefCell<quinn_proto::Endpoint>,
    connections: RefCell<FxHashMap<usize, Rc<One>>>,
    marked: RefCell<Vec<Rc<One>>>,
    visits: RefCell<BinaryHeap<Reverse<(Instant, usize)>>>,
    driver: RefCell<Option<Waker>>,
    closing: Cell<bool>,
}

/// Reads of the socket in one turn, datagrams of others, and sends of one connection: then somebody else has their turn.
const READS: usize = 8;
const TAKEN_OVER: usize = 64;
const SENDS: usize = 4;
/// Packets that one system call sends at most: as many of the longest that are ever tried as fit into what UDP calls one.
const SEGMENTS: usize = 44;

impl Endpoint {
    /// An endpoint on a bound socket, and what makes it go.
    ///
    /// # Errors
    /// The runtime does not take the socket.
    pub fn open(bound: Bound) -> io::Result<(Endpoint, Driver)> {
        let (socket, worker, shared, handed) = bound.split();
        let socket = Attached::of(socket)?;
        let first = server::first(&shared).map_err(io::Error::other)?;
        let config = Arc::new(server::endpoint(&shared, worker));
        let endpoint = quinn_proto::Endpoint::new(config, Some(Arc::new(first)), socket.may_probe(), None);
        let driver = Driver::new(endpoint, socket, Some(Post { worker, shared, handed }));
        Ok((Endpoint(Rc::clone(&driver.inner)), driver))
    }

    /// Takes no more connections; the driver ends with the last of those that are.
    pub fn close(&self) {
        self.0.closing.set(true);
        self.0.wake();
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.0.connections.borrow().len()
    }
}

impl Driver {
    fn new(endpoint: quinn_proto::Endpoint, socket: Attached, post: Option<Post>) -> Driver {
        let inner = Rc::new(Inner {
            endpoint: RefCell::new(endpoint),
            connections: RefCell::default(),
            marked: RefCell::default(),
            visits: RefCell::default(),
            driver: RefCell::default(),
            closing: Cell::new(false),
        });
        let sleep = Box::pin(sleep_until(Instant::now().into()));
        let watch = post.is_none().then(|| socket.watch());
        Driver { inner, socket, post, watch, arrived: Vec::new(), unsent: None, room: Vec::new(), sleep }
    }

    /// Begins a connection to a server, on a socket that is connected to it.
    pub(super) fn begin(
        config: EndpointConfig,
        client: ClientConfig,
        socket: std::net::UdpSocket,
        to: SocketAddr,
        name: &str,
    ) -> io::Result<(Connection, Driver)> {
        let socket = Attached::of(socket)?;
        let mut endpoint = quinn_proto::Endpoint::new(Arc::new(config), None, socket.may_probe(), None);
        let begun = endpoint.connect(Instant::now(), client, to, name);
        let (handle, proto) = begun.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let driver = Driver::new(endpoint, socket, None);
        // Nobody comes by this socket.
        driver.inner.closing.set(true);
        Ok((driver.inner.add(handle, proto), driver))
    }

    /// Runs until the endpoint was closed and its last connection has ended.
    pub async fn run(mut self, host: impl Host) {
        let mut into = vec![0; socket::ROOM];
        poll_fn(|cx| self.turn(cx, &host, &mut into)).await;
    }

    /// Moves what can be moved of a connection to a server, with room for at least [`LEAST_ROOM`](socket::LEAST_ROOM); ready when
    /// it has ended and the server was told.
    pub fn poll(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<()> {
        self.turn(cx, &Nobody, into)
    }

    /// Sends what the socket takes at once, before this is dropped.
    pub fn flush(&mut self) {
        self.send(&mut Context::from_waker(Waker::noop()), Instant::now());
    }

    fn turn(&mut self, cx: &mut Context<'_>, host: &impl Host, into: &mut [u8]) -> Poll<()> {
        *self.inner.driver.borrow_mut() = Some(cx.waker().clone());
        let now = Instant::now();
        if let Some(Poll::Ready(error)) = self.watch.as_mut().map(|watch| watch.poll(cx)) {
            self.heed(error.kind(), now);
            cx.waker().wake_by_ref();
        }
        let mut more = self.receive(cx, host, now, into);
        more |= self.take_over(cx, host, now);
        self.visit(now);
        more |= self.send(cx, now);
        if self.inner.closing.get() && self.inner.connections.borrow().is_empty() {
            return Poll::Ready(());
        }
        if self.sleep_on(cx) || more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Takes datagrams from the socket; says whether there may be more.
    fn receive(&mut self, cx: &mut Context<'_>, host: &impl Host, now: Instant, into: &mut [u8]) -> bool {
        for _ in 0..READS {
            let mut arrived = std::mem::take(&mut self.arrived);
            let read = self.socket.poll_receive(cx, into, |datagram| arrived.push(datagram));
            for datagram in arrived.drain(..) {
                self.sort(cx, host, now, datagram);
            }
            self.arrived = arrived;
            match read {
                Poll::Pending => return false,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => self.heed(error.kind(), now),
            }
        }
        true
    }

    /// Takes datagrams that came to other workers; says whether there may be more.
    fn take_over(&mut self, cx: &mut Context<'_>, host: &impl Host, now: Instant) -> bool {
        for _ in 0..TAKEN_OVER {
            let Some(post) = &mut self.post else { return false };
            match post.handed.poll_recv(cx) {
                Poll::Ready(Some(datagram)) => self.take(cx, host, now, datagram),
                Poll::Ready(None) | Poll::Pending => return false,
            }
        }
        true
    }

    /// What the kernel was told of the way to a peer (an ICMP message, say), or knows of it: on a socket that speaks with all
    /// clients it concerns nobody knows whom.
    fn heed(&self, what: io::ErrorKind, now: Instant) {
        if self.post.is_none() {
            for one in self.inner.connections.borrow().values() {
                one.state.borrow_mut().doubt(what, now);
            }
        }
    }

    /// Finds out whose a datagram is.
    fn sort(&mut self, cx: &mut Context<'_>, host: &impl Host, now: Instant, datagram: Datagram) {
        if let Some(post) = self.post.as_ref().filter(|post| !post.shared.is_alone())
            && let Some(id) = ids::destination(&datagram.bytes)
        {
            match post.shared.seal.open(id) {
                Some(worker) if worker != post.worker => {
                    return host.handed_over(post.shared.hand_over(worker, datagram));
                }
                // It belonged to a process before this one. A reset would need that one's secret.
                None if ids::is_short(&datagram.bytes) => return,
                Some(_) | None => {}
            }
        }
        self.take(cx, host, now, datagram);
    }

    fn take(&mut self, cx: &mut Context<'_>, host: &impl Host, now: Instant, datagram: Datagram) {
        let Datagram { remote, local_ip, ecn, bytes } = datagram;
        self.room.clear();
        let event = self.inner.endpoint.borrow_mut().handle(now, remote, local_ip, ecn, bytes, &mut self.room);
        match event {
            None => {}
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let found = self.inner.connections.borrow().get(&handle.0).cloned();
                if let Some(one) = found {
                    let mut state = one.state.borrow_mut();
                    let before = state.proto.remote_address();
                    state.hear(event, now);
                    if state.proto.remote_address() != before {
                        host.moved();
                    }
                    drop(state);
                    one.mark();
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.welcome(cx, host, now, incoming),
            Some(DatagramEvent::Response(transmit)) => self.say(cx, &transmit),
        }
    }

    fn welcome(&mut self, cx: &mut Context<'_>, host: &impl Host, now: Instant, incoming: Incoming) {
        let caller = Caller { remote: incoming.remote_address(), proven: incoming.remote_address_validated() };
        let verdict = if self.inner.closing.get() { Verdict::Refuse } else { host.decide(&caller) };
        self.room.clear();
        let mut endpoint = self.inner.endpoint.borrow_mut();
        let answer = match verdict {
            Verdict::Accept(server) => match endpoint.accept(incoming, now, &mut self.room, Some(server.config)) {
                Err(error) => error.response,
                Ok((handle, proto)) => {
                    drop(endpoint);
                    return host.begun(self.inner.add(handle, proto));
                }
            },
            // Who has a token has proved enough: this one was sent away once.
            Verdict::Retry => endpoint.retry(incoming, &mut self.room).ok(),
            Verdict::Refuse => Some(endpoint.refuse(incoming, &mut self.room)),
            Verdict::Ignore => {
                endpoint.ignore(incoming);
                None
            }
        };
        drop(endpoint);
        if let Some(transmit) = answer {
            self.say(cx, &transmit);
        }
    }

    /// Answers without a connection, from `room`. What the socket does not take is lost: whoever asked asks again.
    fn say(&self, cx: &mut Context<'_>, transmit: &Transmit) {
        let _ = self.socket.poll_send(cx, transmit, &self.room[..transmit.size]);
    }

    /// Looks at connections whose time has come.
    fn visit(&mut self, now: Instant) {
        loop {
            let due = match self.inner.visits.borrow_mut().peek_mut() {
                Some(visit) if visit.0.0 <= now => std::collections::binary_heap::PeekMut::pop(visit).0,
                _ => return,
            };
            let Some(one) = self.inner.connections.borrow().get(&due.1).cloned() else { continue };
            if one.visit.get() != Some(due.0) {
                // It has been put off or brought forward since; that visit is still to come.
                continue;
            }
            one.visit.set(None);
            let mut state = one.state.borrow_mut();
            if state.proto.poll_timeout().is_some_and(|deadline| deadline <= now) {
                state.proto.handle_timeout(now);
            }
            one.mark();
        }
    }

    /// Sends what connections have to say; says whether there is more of it.
    fn send(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if let Some((transmit, bytes)) = self.unsent.take() {
            match self.socket.poll_send(cx, &transmit, &bytes) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => self.heed(error.kind(), now),
                Poll::Pending => {
                    self.unsent = Some((transmit, bytes));
                    return false;
                }
            }
        }
        let marked = std::mem::take(&mut *self.inner.marked.borrow_mut());
        let mut rest = marked.into_iter();
        for one in rest.by_ref() {
            one.dirty.set(false);
            self.attend(cx, &one, now);
            if self.unsent.is_some() {
                one.mark();
                break;
            }
        }
        let mut again = self.inner.marked.borrow_mut();
        again.extend(rest);
        self.unsent.is_none() && !again.is_empty()
    }

    /// One connection's turn: what it has for the endpoint, for the wire, and for those who use it.
    fn attend(&mut self, cx: &mut Context<'_>, one: &Rc<One>, now: Instant) {
        let mut state = one.state.borrow_mut();
        let (mut drained, mut sends) = (false, 0);
        let segments = self.socket.most_segments().min(SEGMENTS);
        loop {
            let mut news = false;
            while let Some(event) = state.proto.poll_endpoint_events() {
                drained |= event.is_drained();
                if let Some(event) = self.inner.endpoint.borrow_mut().handle_event(one.handle, event) {
                    state.proto.handle_event(event);
                    news = true;
                }
            }
            news |= state.tell();
            while self.unsent.is_none() && sends < SENDS {
                self.room.clear();
                let Some(transmit) = state.proto.poll_transmit(now, segments, &mut self.room) else { break };
                sends += 1;
                match self.socket.poll_send(cx, &transmit, &self.room[..transmit.size]) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) if self.post.is_none() => state.doubt(error.kind(), now),
                    Poll::Ready(Err(_)) => {}
                    Poll::Pending => self.unsent = Some((transmit, std::mem::take(&mut self.room))),
                }
            }
            if !news {
                break;
            }
        }
        if drained {
            state.lose(super::Lost::Closed);
            self.inner.connections.borrow_mut().remove(&one.handle.0);
            return;
        }
        if sends == SENDS {
            one.mark();
        }
        if let Some(deadline) = state.proto.poll_timeout()
            && one.visit.get().is_none_or(|visit| deadline < visit)
        {
            one.visit.set(Some(deadline));
            self.inner.visits.borrow_mut().push(Reverse((deadline, one.handle.0)));
        }
    }

    /// Sleeps until the next visit; says whether that is now.
    fn sleep_on(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(next) = self.inner.visits.borrow().peek().map(|visit| visit.0.0) else { return false };
        if self.sleep.deadline() != next.into() {
            self.sleep.as_mut().reset(next.into());
        }
        self.sleep.as_mut().poll(cx).is_ready()
    }
}

impl Inner {
    fn add(self: &Rc<Inner>, handle: ConnectionHandle, proto: quinn_proto::Connection) -> Connection {
        let connection = Connection::new(handle, Rc::downgrade(self), proto);
        self.connections.borrow_mut().insert(handle.0, Rc::clone(&connection.0));
        connection.0.mark();
        connection
    }

    pub(super) fn marked(&self, one: Rc<One>) {
        self.marked.borrow_mut().push(one);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.driver.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Drop for Driver {
    /// Nobody moves anything any more, and whoever waits for it is told.
    fn drop(&mut self) {
        for one in self.inner.connections.borrow().values() {
            one.state.borrow_mut().lose(super::Lost::Closed);
        }
    }
}

/// A host where nobody comes.
struct Nobody;

impl Host for Nobody {
    fn decide(&self, _caller: &Caller) -> Verdict {
        Verdict::Ignore
    }

    fn begun(&self, _connection: Connection) {}
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let worker = self.post.as_ref().map(|post| post.worker);
        f.debug_struct("Driver").field("worker", &worker).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use quinn_proto::ConnectionIdGenerator as _;

    use super::super::ids::Ids;
    use super::*;

    struct Nobody;

    impl Host for Nobody {
        fn decide(&self, _: &Caller) -> Verdict {
            panic!("nobody has come")
        }

        fn begun(&self, _: Connection) {
            panic!("nobody has come")
        }
    }

    /// Clients that have moved, where the kernel does not know whose they are.
    #[tokio::test]
    async fn what_comes_to_the_wrong_worker_is_handed_over() {
        let address = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("an address");
        let mut bound = socket::bind_unsteered(address, 2).expect("bound");
        let (theirs, _, shared, mut handed) = bound.remove(1).split();
        let mut ids = Ids::new(Arc::clone(&shared.seal), 1, 2);
        let datagrams: Vec<Vec<u8>> = (0..64).map(|_| [&[0x40], &ids.generate_cid()[..], &[7; 30]].concat()).collect();
        for datagram in &datagrams {
            UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(datagram, address)).expect("sent");
        }
        let mut received: Vec<Vec<u8>> = Vec::new();
        let mut room = [0; 64];
        while let Ok(length) = theirs.recv(&mut room) {
            received.push(room[..length].to_vec());
        }
        assert!(received.len() < datagrams.len(), "all have come to their worker at once");
        let (_endpoint, driver) = Endpoint::open(bound.remove(0)).expect("an endpoint");
        tokio::select! {
            () = driver.run(Nobody) => panic!("nobody has closed it"),
            () = async {
                while received.len() < datagrams.len() {
                    received.push(handed.recv().await.expect("a datagram").bytes.to_vec());
                }
            } => {}
        }
        received.sort_unstable();
        let mut sent = datagrams;
        sent.sort_unstable();
        assert_eq!(received, sent);
    }
}
