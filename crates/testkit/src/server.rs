//! A backend that follows a script: one closure, run for each connection in a thread of its own.

use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::absent::Refusing;
use crate::message::{Broken, Reader, Request};
use crate::socket::Socket;
use crate::tls::ServerTls;
use crate::wait::{PATIENCE, Shared};

/// A backend. It listens as long as it lives; a script that panicked fails the test when it ends.
#[derive(Debug)]
pub struct Server {
    address: String,
    state: Arc<Shared<State>>,
}

/// One connection, as its script sees it.
#[derive(Debug)]
pub struct Peer {
    /// The number of this connection, from 0.
    pub number: usize,
    /// What comes.
    pub reader: Reader,
    state: Arc<Shared<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Handles of the connections whose scripts run, to look at them and to end them.
    live: Vec<(usize, Socket)>,
    total: usize,
    most: usize,
    /// All requests that were read, in order.
    requests: Vec<Request>,
    taken: usize,
    failures: Vec<String>,
    closed: bool,
    /// Whether it listens no longer.
    gone: bool,
}

/// How long a test looks for something that should not happen.
const A_WHILE: Duration = Duration::from_millis(400);

/// A plain response with this body.
pub fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    response.extend_from_slice(body);
    response
}

impl Server {
    /// A server whose connections follow this script. A connection closes when its script ends.
    pub fn script(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Server {
        Server::at("127.0.0.1:0", script)
    }

    /// The same at an address of one's own choice, on a port that somebody else has found free.
    ///
    /// # Panics
    /// The address cannot be had.
    pub fn at(address: &str, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Server {
        Server::on(TcpListener::bind(address).expect("an address to listen at"), script)
    }

    /// The same at an address that has refused until now.
    pub fn revive(dead: Refusing, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Server {
        Server::on(dead.into_listener(), script)
    }

    fn on(listener: TcpListener, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Server {
        let address = listener.local_addr().expect("a bound address").to_string();
        Server::serve(address, script, move || listener.accept().map(|(stream, _)| Socket::Tcp(stream)))
    }

    /// A server whose connections speak TLS.
    ///
    /// # Panics
    /// There is no port.
    pub fn secured(tls: &ServerTls, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("an address to listen at");
        let address = listener.local_addr().expect("a bound address").to_string();
        let tls = tls.clone();
        Server::serve(address, script, move || listener.accept().map(|(stream, _)| Socket::Tcp(stream).secured(&tls)))
    }

    /// The same at an address that has refused until now.
    pub fn revive_secured(
        dead: Refusing,
        tls: &ServerTls,
        script: impl Fn(&mut Peer) + Send + Sync + 'static,
    ) -> Server {
        let (listener, tls) = (dead.into_listener(), tls.clone());
        let address = listener.local_addr().expect("a bound address").to_string();
        Server::serve(address, script, move || listener.accept().map(|(stream, _)| Socket::Tcp(stream).secured(&tls)))
    }

    /// The same on a Unix socket.
    ///
    /// # Panics
    /// The path cannot be had.
    pub fn unix(path: &Path, script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Server {
        let listener = UnixListener::bind(path).expect("a path to listen at");
        let address = format!("unix:{}", path.display());
        Server::serve(address, script, move || listener.accept().map(|(stream, _)| Socket::Unix(stream)))
    }

    /// A server that answers each request by what the closure makes of it, and keeps connections open.
    pub fn http(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Server {
        Server::script(move |peer| {
            while let Some(request) = peer.request() {
                peer.send(answer(&request));
            }
        })
    }

    /// A server that answers every request with this text.
    pub fn named(name: &'static str) -> Server {
        Server::http(move |_| ok(name))
    }

    /// A server that answers every request with its own body.
    pub fn echo() -> Server {
        Server::http(|request| ok(&request.body))
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its port.
    ///
    /// # Panics
    /// It is a Unix socket.
    pub fn port(&self) -> u16 {
        self.address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.state.with(|state| state.total)
    }

    /// The most connections that were open at one time.
    pub fn most_open(&self) -> usize {
        self.state.with(|state| state.most)
    }

    /// Requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state.with(|state| state.requests.clone())
    }

    /// Waits for the next request that this method has not answered yet.
    ///
    /// # Panics
    /// There is none in time.
    pub fn request(&self) -> Request {
        self.state.until("a request", |state| {
            let next = state.requests.get(state.taken)?.clone();
            state.taken += 1;
            Some(next)
        })
    }

    /// Waits until there have been so many connections.
    ///
    /// # Panics
    /// There are fewer.
    pub fn until_connections(&self, count: usize) {
        self.state.until("a connection", |state| (state.total >= count).then_some(()));
    }

    /// Waits until so many connections are open.
    ///
    /// # Panics
    /// There are more or fewer.
    pub fn until_open(&self, count: usize) {
        self.state.until("the number of open connections", |state| (state.live.len() == count).then_some(()));
    }

    /// Looks for a while whether another connection is opened: whether there have been only so many.
    pub fn opens_no_more_than(&self, count: usize) -> bool {
        self.state.within(A_WHILE, |state| (state.total > count).then_some(())).is_none()
    }

    /// Waits until no connection is open.
    ///
    /// # Panics
    /// One stays open.
    pub fn until_idle(&self) {
        self.state.until("the end of all connections", |state| state.live.is_empty().then_some(()));
    }

    fn serve(
        address: String,
        script: impl Fn(&mut Peer) + Send + Sync + 'static,
        accept: impl Fn() -> io::Result<Socket> + Send + 'static,
    ) -> Server {
        let state = Arc::<Shared<State>>::default();
        let shared = Arc::clone(&state);
        let script = Arc::new(script);
        thread::spawn(move || {
            while let Ok(socket) = accept() {
                let Some(mut peer) = Peer::begin(socket, &shared) else { break };
                let script = Arc::clone(&script);
                thread::spawn(move || {
                    let played = catch_unwind(AssertUnwindSafe(|| script(&mut peer)));
                    peer.end(played.err().map(|panic| said(&*panic)));
                });
            }
            // With it goes the listener.
            drop(accept);
            shared.with(|state| state.gone = true);
        });
        Server { address, state }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let failures = self.state.with(|state| {
            state.closed = true;
            for (_, socket) in &state.live {
                socket.end();
            }
            std::mem::take(&mut state.failures)
        });
        // The thread that accepts sees that it is over, and closes the listener: whoever drops a server may want its address.
        drop(Socket::connect(&self.address));
        self.state.within(A_WHILE, |state| state.gone.then_some(()));
        if !thread::panicking() {
            assert!(failures.is_empty(), "the server's script failed: {failures:?}");
        }
    }
}

impl Peer {
    fn begin(socket: Socket, state: &Arc<Shared<State>>) -> Option<Peer> {
        socket.prepare().ok()?;
        let handle = socket.try_clone().ok()?;
        let number = state.with(|state| {
            if state.closed {
                return None;
            }
            // A peer that closed one connection before it opened this one has one open, whatever our threads have seen.
            let open = state.live.iter().filter(|(_, socket)| !socket.has_ended()).count() + 1;
            state.most = state.most.max(open);
            state.total += 1;
            state.live.push((state.total - 1, handle));
            Some(state.total - 1)
        })?;
        Some(Peer { number, reader: Reader::new(socket), state: Arc::clone(state) })
    }

    fn end(self, failure: Option<String>) {
        let Peer { number, reader, state } = self;
        drop(reader);
        // The handle is the last: whoever sees the connection gone from here can be sure that it is closed.
        state.with(|state| {
            state.failures.extend(failure);
            state.live.retain(|(known, _)| *known != number);
        });
    }

    /// Reads a request and notes it; none if the connection ends instead.
    ///
    /// # Panics
    /// What came is no request.
    pub fn request(&mut self) -> Option<Request> {
        match self.reader.request() {
            Ok(request) => Some(self.note(request)),
            Err(Broken::Malformed(why)) => panic!("a server received no request: {why}"),
            Err(_) => None,
        }
    }

    /// Reads a request's head and notes it; the body is left.
    ///
    /// # Panics
    /// What came is no request.
    pub fn request_head(&mut self) -> Option<Request> {
        match self.reader.request_head() {
            Ok(request) => Some(self.note(request)),
            Err(Broken::Malformed(why)) => panic!("a server received no request: {why}"),
            Err(_) => None,
        }
    }

    /// Sends bytes, which the other side may not want any more.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // Whether it arrived is the test's question, not the script's.
        let _ = self.reader.socket.write_all(bytes.as_ref());
    }

    /// Sends bytes; whether they were taken.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.reader.socket.write_all(bytes.as_ref()).is_ok()
    }

    /// Waits for the other side's end, and answers what came before it.
    ///
    /// # Errors
    /// A reset, or no end within the patience of tests.
    pub fn rest(&mut self) -> Result<Vec<u8>, Broken> {
        self.reader.to_end()
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        self.reader.socket.finish();
    }

    /// Makes the close at the script's end a reset.
    pub fn reset(&self) {
        self.reader.socket.reset_on_close();
    }

    /// Does nothing until the other side closes, or the test ends.
    pub fn hang(&mut self) {
        self.reader.socket.set_patience(PATIENCE * 6).expect("patience of an open socket");
        let _ = self.reader.to_end();
    }

    /// Does nothing and reads nothing until the test ends.
    pub fn stand_still(&self) {
        self.state.until("the end of the test", |state| state.closed.then_some(()));
    }

    fn note(&self, mut request: Request) -> Request {
        request.connection = self.number;
        self.state.with(|state| state.requests.push(request.clone()));
        request
    }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
