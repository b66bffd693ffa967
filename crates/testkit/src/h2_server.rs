//! A backend of HTTP/2 without TLS, by the `h2` crate.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http_types::{HeaderMap, Request, Response};
use tokio::runtime;

pub use crate::ledger::Asked;
use crate::ledger::Ledger;
use crate::wait::Signal;

/// A backend. It listens as long as the test runs.
#[derive(Debug)]
pub struct Backend {
    address: String,
    ledger: Ledger,
}

/// How a backend is.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Streams that a client may have open at once.
    pub streams: u32,
    /// Whether it takes extended CONNECT.
    pub extended_connect: bool,
}

/// What becomes of a request.
pub enum Reply {
    /// A response with this status, this content and these trailers.
    Whole(u16, Vec<u8>, Option<HeaderMap>),
    /// The same once the signal is raised.
    Later(Signal, Vec<u8>),
    /// The stream is reset.
    Reset(Reason),
    /// The connection takes no more requests, and this one is answered.
    Leave(Vec<u8>),
    /// The connection breaks.
    Break,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner { streams: 100, extended_connect: false }
    }
}

/// A whole response of 200 with this content.
pub fn ok(body: impl Into<Vec<u8>>) -> Reply {
    Reply::Whole(200, body.into(), None)
}

impl Backend {
    /// A server that answers each request by what the closure makes of it. What is sent on a stream of an extended CONNECT comes
    /// back on it.
    ///
    /// # Panics
    /// There is no port.
    pub fn start(manner: Manner, reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").expect("an address to listen at");
        listener.set_nonblocking(true).expect("a socket");
        let address: SocketAddr = listener.local_addr().expect("a bound address");
        let ledger = Ledger::default();
        let shared = ledger.clone();
        let reply = Arc::new(reply);
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                while let Ok((stream, _)) = listener.accept().await {
                    stream.set_nodelay(true).expect("a socket");
                    tokio::spawn(serve(stream, manner, shared.clone(), Arc::clone(&reply)));
                }
            });
        });
        Backend { address: address.to_string(), ledger }
    }

    /// A server that answers every request with this text.
    pub fn named(name: &'static str) -> Backend {
        Backend::start(Manner::default(), move |_| ok(name))
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Deref for Backend {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.ledger
    }
}

async fn serve<F: Fn(&Asked) -> Reply + Send + Sync + 'static>(
    stream: tokio::net::TcpStream,
    manner: Manner,
    ledger: Ledger,
    reply: Arc<F>,
) {
    let number = ledger.opened();
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(manner.streams).initial_window_size(1 << 20).initial_connection_window_size(1 << 22);
    if manner.extended_connect {
        builder.enable_connect_protocol();
    }
    let (orders, mut ordered) = tokio::sync::mpsc::unbounded_channel();
    if let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await {
        loop {
            tokio::select! {
                came = connection.accept() => match came {
                    Some(Ok((request, respond))) => {
                        let (ledger, reply, orders) = (ledger.clone(), Arc::clone(&reply), orders.clone());
                        tokio::spawn(answer(number, request, respond, ledger, reply, orders));
                    }
                    _ => break,
                },
                order = ordered.recv() => match order {
                    Some(true) => connection.graceful_shutdown(),
                    _ => break,
                },
            }
        }
    }
    ledger.closed();
}

/// Answers one request; tells its connection to leave (true) or to break.
async fn answer<F: Fn(&Asked) -> Reply + Send + Sync + 'static>(
    connection: usize,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    ledger: Ledger,
    reply: Arc<F>,
    orders: tokio::sync::mpsc::UnboundedSender<bool>,
) {
    let (head, mut content) = request.into_parts();
    let (method, uri) = (head.method.clone(), head.uri.to_string());
    let mut asked = Asked { connection, method, uri, fields: head.headers, body: Vec::new(), trailers: None };
    if head.extensions.get::<h2::ext::Protocol>().is_some() {
        ledger.heard(asked);
        return echo(content, respond).await;
    }
    while let Some(part) = content.data().await {
        let Ok(part) = part else { return };
        content.flow_control().release_capacity(part.len()).expect("a window");
        asked.body.extend_from_slice(&part);
    }
    asked.trailers = content.trailers().await.unwrap_or_default();
    ledger.began(&asked);
    let (status, body, trailers) = match reply(&asked) {
        Reply::Whole(status, body, trailers) => (status, body, trailers),
        Reply::Later(signal, body) => {
            signal.raised().await;
            (200, body, None)
        }
        Reply::Reset(reason) => {
            ledger.ended();
            return respond.send_reset(reason);
        }
        Reply::Leave(body) => {
            let _ = orders.send(true);
            tokio::task::yield_now().await;
            (200, body, None)
        }
        Reply::Break => {
            let _ = orders.send(false);
            return std::future::pending().await;
        }
    };
    ledger.ended();
    let response = Response::builder().status(status).header("server", "backend").body(()).expect("a response");
    let ends = body.is_empty() && trailers.is_none();
    let Ok(mut stream) = respond.send_response(response, ends) else { return };
    if !ends {
        send(&mut stream, Bytes::from(body), trailers.is_none()).await;
        if let Some(trailers) = trailers {
            drop(stream.send_trailers(trailers));
        }
    }
}

async fn send(stream: &mut h2::SendStream<Bytes>, mut left: Bytes, ends: bool) {
    if left.is_empty() && ends {
        drop(stream.send_data(left, true));
        return;
    }
    while !left.is_empty() {
        stream.reserve_capacity(left.len());
        let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
        let part = left.split_to(room.min(left.len()));
        let last = ends && left.is_empty();
        if stream.send_data(part, last).is_err() {
            return;
        }
    }
}

async fn echo(mut content: RecvStream, mut respond: SendResponse<Bytes>) {
    let Ok(mut stream) = respond.send_response(Response::new(()), false) else { return };
    while let Some(Ok(part)) = content.data().await {
        content.flow_control().release_capacity(part.len()).expect("a window");
        send(&mut stream, part, false).await;
    }
    drop(stream.send_data(Bytes::new(), true));
}
