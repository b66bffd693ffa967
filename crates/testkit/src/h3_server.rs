//! A backend of HTTP/3, by quinn and the `h3` crate, which are strict; and one of plain QUIC that says what it is told to.

use std::future::Future;
use std::net::UdpSocket;
use std::ops::Deref;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
pub use h3::error::Code;
use h3::server::RequestResolver;
use http_types::{HeaderMap, Response};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, Incoming, RecvStream, SendStream, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;

pub use crate::ledger::Asked;
use crate::ledger::Ledger;
use crate::tls::ServerTls;
use crate::wait::Signal;

/// A backend. It listens until it is killed, or as long as the test runs.
#[derive(Debug)]
pub struct Backend {
    place: Place,
    ledger: Ledger,
}

/// A server of QUIC that does as it is told.
#[derive(Debug)]
pub struct Raw {
    place: Place,
    ledger: Ledger,
}

/// Where a server is, and what ends it.
#[derive(Debug)]
struct Place {
    address: String,
    kill: watch::Sender<bool>,
}

/// How a backend is.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Streams that a client may have open at once.
    pub streams: u32,
    /// What it says that it speaks.
    pub protocol: &'static str,
    /// What it writes into its connection ids behind their first byte, if it does.
    pub id: Option<u8>,
}

/// Makes ids that say whose they are, as QUIC-LB has it without a key.
struct Ids(u8);

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; 8];
        getrandom(&mut id, GetRandomFlags::empty()).expect("chance");
        id[1] = self.0;
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// What becomes of a request.
pub enum Reply {
    /// A response with this status, this content and these trailers.
    Whole(u16, Vec<u8>, Option<HeaderMap>),
    /// One of 200 with this content, once the signal is raised.
    Later(Signal, Vec<u8>),
    /// The stream is reset.
    Reset(Code),
    /// The connection takes no more requests, and this one is answered.
    Leave(Vec<u8>),
    /// The connection breaks.
    Break,
}

/// What is done on a stream of a [`Raw`] server.
#[derive(Clone, Debug)]
pub enum Act {
    /// This is said on it.
    Say(Vec<u8>),
    /// It ends.
    End,
    /// It is reset with this code.
    Reset(u32),
    /// The client is asked to say no more, with this code.
    Stop(u32),
    /// This is said on the control stream.
    Control(Vec<u8>),
    /// The connection is closed with this code.
    Close(u32),
    /// The signal is waited for.
    Wait(Signal),
}

/// A control stream that begins with no settings at all.
pub const SETTINGS: [u8; 3] = [0, 4, 0];

impl Default for Manner {
    fn default() -> Manner {
        Manner { streams: 100, protocol: "h3", id: None }
    }
}

/// A whole response of 200 with this content.
pub fn ok(body: impl Into<Vec<u8>>) -> Reply {
    Reply::Whole(200, body.into(), None)
}

impl Backend {
    /// A server that answers each request by what the closure makes of it.
    ///
    /// # Panics
    /// There is no port.
    pub fn start(tls: &ServerTls, manner: Manner, reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Backend {
        let (ledger, reply) = (Ledger::default(), Arc::new(reply));
        let shared = ledger.clone();
        let place = Place::open(tls, manner, move |incoming| serve(incoming, shared.clone(), Arc::clone(&reply)));
        Backend { place, ledger }
    }

    /// A server that answers every request with this text.
    pub fn named(tls: &ServerTls, name: &'static str) -> Backend {
        Backend::start(tls, Manner::default(), move |_| ok(name))
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.place.address
    }

    /// It is gone without a word, and nobody has its port.
    pub fn kill(&self) {
        self.place.kill.send_replace(true);
    }
}

impl Raw {
    /// A server that opens its control stream with these bytes, and does on each stream of a client what the closure says. It is
    /// asked with the number of the connection and what has come: all of it, or, if it is `eager`, the first of it.
    ///
    /// # Panics
    /// There is no port.
    pub fn start(
        tls: &ServerTls,
        control: &'static [u8],
        eager: bool,
        script: impl Fn(usize, &[u8]) -> Vec<Act> + Send + Sync + 'static,
    ) -> Raw {
        let (ledger, script) = (Ledger::default(), Arc::new(script));
        let shared = ledger.clone();
        let place = Place::open(tls, Manner::default(), move |incoming| {
            play(incoming, control, eager, shared.clone(), Arc::clone(&script))
        });
        Raw { place, ledger }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.place.address
    }
}

impl Deref for Backend {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.ledger
    }
}

impl Deref for Raw {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.ledger
    }
}

impl Place {
    fn open<F>(tls: &ServerTls, manner: Manner, serve: impl Fn(Incoming) -> F + Send + 'static) -> Place
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let crypto = QuicServerConfig::try_from(tls.for_quic(manner.protocol)).expect("a server of TLS 1.3");
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        let mut transport = TransportConfig::default();
        transport.max_concurrent_bidi_streams(manner.streams.into());
        config.transport_config(Arc::new(transport));
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let guard = runtime.enter();
        let mut ours = EndpointConfig::default();
        if let Some(id) = manner.id {
            ours.cid_generator(move || Box::new(Ids(id)));
        }
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let endpoint = Endpoint::new(ours, Some(config), socket, Arc::new(TokioRuntime)).expect("an endpoint");
        drop(guard);
        let address = endpoint.local_addr().expect("a bound address").to_string();
        let (kill, mut killed) = watch::channel(false);
        thread::spawn(move || {
            runtime.block_on(async move {
                loop {
                    tokio::select! {
                        incoming = endpoint.accept() => match incoming {
                            Some(incoming) => drop(tokio::spawn(serve(incoming))),
                            None => break,
                        },
                        killed = killed.wait_for(|killed| *killed) => match killed {
                            Ok(_) => break,
                            Err(_) => std::future::pending().await,
                        },
                    }
                }
            });
            // Whatever is under way ends with it, and its socket.
            runtime.shutdown_background();
        });
        Place { address, kill }
    }
}

async fn serve<F: Fn(&Asked) -> Reply + Send + Sync + 'static>(incoming: Incoming, ledger: Ledger, reply: Arc<F>) {
    let Ok(connection) = incoming.await else { return };
    let number = ledger.opened();
    let (orders, mut ordered) = unbounded_channel();
    let built = h3::server::builder().build::<_, Bytes>(h3_quinn::Connection::new(connection.clone())).await;
    if let Ok(mut accepting) = built {
        loop {
            tokio::select! {
                came = accepting.accept() => match came {
                    Ok(Some(resolver)) => {
                        let (ledger, reply, orders) = (ledger.clone(), Arc::clone(&reply), orders.clone());
                        tokio::spawn(answer(number, resolver, ledger, reply, orders));
                    }
                    _ => break,
                },
                order = ordered.recv() => match order {
                    // One more than the last that has come: that one is still answered.
                    Some(true) => drop(accepting.shutdown(1).await),
                    _ => {
                        connection.close(VarInt::from_u32(0x102), b"broken");
                        break;
                    }
                },
            }
        }
    }
    connection.closed().await;
    ledger.closed();
}

/// Answers one request; tells its connection to leave (true) or to break.
async fn answer<F: Fn(&Asked) -> Reply + Send + Sync + 'static>(
    connection: usize,
    resolver: RequestResolver<h3_quinn::Connection, Bytes>,
    ledger: Ledger,
    reply: Arc<F>,
    orders: UnboundedSender<bool>,
) {
    let Ok((request, mut stream)) = resolver.resolve_request().await else { return };
    let (head, ()) = request.into_parts();
    let (method, uri) = (head.method, head.uri.to_string());
    let mut asked = Asked { connection, method, uri, fields: head.headers, body: Vec::new(), trailers: None };
    loop {
        match stream.recv_data().await {
            Ok(Some(mut part)) => asked.body.extend_from_slice(&part.copy_to_bytes(part.remaining())),
            Ok(None) => break,
            Err(_) => return,
        }
    }
    asked.trailers = stream.recv_trailers().await.unwrap_or_default();
    ledger.began(&asked);
    let (status, body, trailers) = match reply(&asked) {
        Reply::Whole(status, body, trailers) => (status, body, trailers),
        Reply::Later(signal, body) => {
            signal.raised().await;
            (200, body, None)
        }
        Reply::Reset(code) => {
            ledger.ended();
            return stream.stop_stream(code);
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
    // A client that wants no more of it is what some tests are about.
    let _ = stream.send_response(response).await;
    if !body.is_empty() {
        let _ = stream.send_data(Bytes::from(body)).await;
    }
    if let Some(trailers) = trailers {
        let _ = stream.send_trailers(trailers).await;
    }
    let _ = stream.finish().await;
}

async fn play<F: Fn(usize, &[u8]) -> Vec<Act> + Send + Sync + 'static>(
    incoming: Incoming,
    control: &'static [u8],
    eager: bool,
    ledger: Ledger,
    script: Arc<F>,
) {
    let Ok(connection) = incoming.await else { return };
    let number = ledger.opened();
    let mut said = connection.open_uni().await.expect("a stream");
    let _ = said.write_all(control).await;
    let said = Arc::new(tokio::sync::Mutex::new(said));
    while let Ok((send, hear)) = connection.accept_bi().await {
        let (connection, said, script) = (connection.clone(), Arc::clone(&said), Arc::clone(&script));
        tokio::spawn(async move { act(number, &connection, &said, eager, (send, hear), &*script).await });
    }
    ledger.closed();
}

async fn act<F: Fn(usize, &[u8]) -> Vec<Act>>(
    number: usize,
    connection: &quinn::Connection,
    control: &tokio::sync::Mutex<SendStream>,
    eager: bool,
    (mut send, mut hear): (SendStream, RecvStream),
    script: &F,
) {
    let heard = if eager {
        hear.read_chunk(1 << 16, true)
            .await
            .map(|chunk| chunk.map(|chunk| chunk.bytes.to_vec()).unwrap_or_default())
            .ok()
    } else {
        hear.read_to_end(1 << 24).await.ok()
    };
    let Some(heard) = heard else { return };
    for act in script(number, &heard) {
        // A client that has gone meanwhile is what some tests are about.
        match act {
            Act::Say(bytes) => drop(send.write_all(&bytes).await),
            Act::End => drop(send.finish()),
            Act::Reset(code) => drop(send.reset(code.into())),
            Act::Stop(code) => drop(hear.stop(code.into())),
            Act::Control(bytes) => drop(control.lock().await.write_all(&bytes).await),
            Act::Close(code) => connection.close(code.into(), b""),
            Act::Wait(signal) => signal.raised().await,
        }
    }
    // Neither direction ends otherwise than it was told to.
    connection.closed().await;
}
