//! A client of HTTP/3, by quinn and the `h3` crate, which are strict; and plain QUIC for clients that are not.

use std::future::Future;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use h3::client::{RequestStream, SendRequest};
use h3_quinn::{BidiStream, OpenStreams};
pub use http_types::{HeaderMap, Method, Request};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint, ReadError, RecvStream, SendStream, TransportConfig, VarInt};
use tokio::runtime::{self, Runtime};
use tokio::time::timeout;

use crate::h2::Whole;
use crate::tls::ClientTls;

/// A connection of QUIC. Everything waits at most some seconds.
pub struct Quic {
    runtime: Runtime,
    endpoint: Endpoint,
    connection: quinn::Connection,
}

/// A connection of HTTP/3.
pub struct Client {
    quic: Quic,
    send: SendRequest<OpenStreams, Bytes>,
}

/// A request under way.
pub struct Exchange(RequestStream<BidiStream<Bytes>, Bytes>);

/// A stream of a client that does as it likes.
pub struct Stream {
    /// What it says.
    pub send: SendStream,
    /// What it hears.
    pub hear: RecvStream,
}

/// Why something has failed, in words; the code that the server has given up a stream with, or closed the connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Failed(pub Option<u64>, pub String);

const PATIENCE: Duration = Duration::from_secs(20);

impl Quic {
    /// Connects.
    ///
    /// # Errors
    /// Nobody is there, or both could not agree.
    pub fn connect(to: &str, tls: &ClientTls) -> Result<Quic, Failed> {
        let (runtime, endpoint, config, name) = prepare(tls);
        Quic::begin(runtime, endpoint, config, &name, to)
    }

    fn begin(
        runtime: Runtime,
        endpoint: Endpoint,
        config: quinn::ClientConfig,
        name: &str,
        to: &str,
    ) -> Result<Quic, Failed> {
        let to: SocketAddr = to.parse().expect("an address");
        let connection = within(&runtime, async {
            let connecting = endpoint.connect_with(config, to, name).expect("a client that may connect");
            connecting.await.map_err(Failed::of)
        })?;
        Ok(Quic { runtime, endpoint, connection })
    }

    /// The same for a client that takes datagrams up to this length; of none it says that it takes none.
    ///
    /// # Errors
    /// Nobody is there, or both could not agree.
    pub fn connect_taking(longest: usize, to: &str, tls: &ClientTls) -> Result<Quic, Failed> {
        let (runtime, endpoint, mut config, name) = prepare(tls);
        let mut transport = TransportConfig::default();
        transport.datagram_receive_buffer_size((longest > 0).then_some(longest));
        config.transport_config(Arc::new(transport));
        Quic::begin(runtime, endpoint, config, &name, to)
    }

    /// Connects and does not wait for the end of the handshake, if a session of before allows that.
    ///
    /// # Panics
    /// It does not.
    pub fn connect_early(to: &str, tls: &ClientTls) -> Quic {
        let (runtime, endpoint, config, name) = prepare(tls);
        let to: SocketAddr = to.parse().expect("an address");
        let connection = runtime.block_on(async {
            let connecting = endpoint.connect_with(config, to, &name).expect("a client that may connect");
            match connecting.into_0rtt() {
                Ok((connection, _)) => connection,
                Err(_) => panic!("no session that allows early data"),
            }
        });
        Quic { runtime, endpoint, connection }
    }

    /// Begins handshakes that go no further, each from a port of its own; they last as long as what is answered.
    pub fn half_open(to: &str, tls: &ClientTls, count: usize) -> Vec<UdpSocket> {
        let first = first_datagrams(tls);
        (0..count)
            .map(|_| {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
                socket.connect(to).expect("an address");
                for datagram in first() {
                    // What the server's socket has no room for is lost, as datagrams may be.
                    let _ = socket.send(&datagram);
                }
                socket
            })
            .collect()
    }

    /// Goes on from another port, as behind a translator of addresses that has forgotten.
    ///
    /// # Panics
    /// There is no port.
    pub fn rebind(&self) {
        let _guard = self.runtime.enter();
        self.endpoint.rebind(UdpSocket::bind("127.0.0.1:0").expect("a port")).expect("a socket");
    }

    /// Lets the connection do what it has to while something is waited for elsewhere.
    ///
    /// # Panics
    /// The wait does.
    pub fn meanwhile<R: Send>(&self, wait: impl FnOnce() -> R + Send) -> R {
        let (done, over) = tokio::sync::oneshot::channel::<()>();
        let waited = thread::scope(|scope| {
            let waiting = scope.spawn(move || {
                // Also when it panics the other side hears of it.
                let _done = done;
                wait()
            });
            let _ = self.runtime.block_on(over);
            waiting.join()
        });
        waited.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Opens a stream that goes both ways, and says this.
    ///
    /// # Errors
    /// The connection is no more.
    pub fn open(&self, bytes: &[u8], ends: bool) -> Result<Stream, Failed> {
        within(&self.runtime, async {
            let (mut send, hear) = self.connection.open_bi().await.map_err(Failed::of)?;
            send.write_all(bytes).await.map_err(|error| Failed(None, error.to_string()))?;
            if ends {
                send.finish().map_err(|error| Failed(None, error.to_string()))?;
            }
            Ok(Stream { send, hear })
        })
    }

    /// Says more on a stream.
    ///
    /// # Errors
    /// The server wants no more of it.
    pub fn say(&self, stream: &mut Stream, bytes: &[u8]) -> Result<(), Failed> {
        within(&self.runtime, async {
            stream.send.write_all(bytes).await.map_err(|error| Failed(None, error.to_string()))
        })
    }

    /// Opens a stream that only we speak on, and says this.
    ///
    /// # Errors
    /// The connection is no more.
    pub fn open_one_way(&self, bytes: &[u8]) -> Result<SendStream, Failed> {
        within(&self.runtime, async {
            let mut send = self.connection.open_uni().await.map_err(Failed::of)?;
            send.write_all(bytes).await.map_err(|error| Failed(None, error.to_string()))?;
            Ok(send)
        })
    }

    /// Sends a datagram beside all streams.
    ///
    /// # Panics
    /// The server takes none, or none so long.
    pub fn send_datagram(&self, bytes: &[u8]) {
        self.connection.send_datagram(Bytes::copy_from_slice(bytes)).expect("a server that takes datagrams");
    }

    /// Waits for the next datagram that comes beside all streams.
    ///
    /// # Errors
    /// There is none, or the connection is no more.
    pub fn datagram(&self) -> Result<Bytes, Failed> {
        within(&self.runtime, async { self.connection.read_datagram().await.map_err(Failed::of) })
    }

    /// Whether the server takes datagrams beside streams.
    pub fn takes_datagrams(&self) -> bool {
        self.connection.max_datagram_size().is_some()
    }

    /// Waits for a stream that only the server speaks on, and for so many bytes of it.
    ///
    /// # Errors
    /// There is none, or fewer.
    pub fn hear_one_way(&self, count: usize) -> Result<Vec<u8>, Failed> {
        let mut bytes = vec![0; count];
        within(&self.runtime, async {
            let mut hear = self.connection.accept_uni().await.map_err(Failed::of)?;
            hear.read_exact(&mut bytes).await.map_err(|error| Failed(None, error.to_string()))
        })?;
        Ok(bytes)
    }

    /// Waits for so many bytes of a stream.
    ///
    /// # Errors
    /// It ends before them, or was given up.
    pub fn hear(&self, stream: &mut Stream, count: usize) -> Result<Vec<u8>, Failed> {
        let mut bytes = vec![0; count];
        within(&self.runtime, async {
            match stream.hear.read_exact(&mut bytes).await {
                Ok(()) => Ok(()),
                Err(quinn::ReadExactError::ReadError(ReadError::Reset(code))) => Err(Failed::coded(code, "reset")),
                Err(error) => Err(Failed(None, error.to_string())),
            }
        })?;
        Ok(bytes)
    }

    /// Waits for the end of a stream, and answers all that came.
    ///
    /// # Errors
    /// It was given up.
    pub fn rest(&self, stream: &mut Stream) -> Result<Vec<u8>, Failed> {
        within(&self.runtime, async {
            match stream.hear.read_to_end(1 << 24).await {
                Ok(bytes) => Ok(bytes),
                Err(quinn::ReadToEndError::Read(ReadError::Reset(code))) => Err(Failed::coded(code, "reset")),
                Err(quinn::ReadToEndError::Read(ReadError::ConnectionLost(error))) => Err(Failed::of(error)),
                Err(error) => Err(Failed(None, error.to_string())),
            }
        })
    }

    /// Waits until the server asks to hear no more of a stream, and answers the code that it says.
    ///
    /// # Errors
    /// It does not.
    pub fn stopped(&self, stream: &mut SendStream) -> Result<Option<u64>, Failed> {
        within(&self.runtime, async {
            match stream.stopped().await {
                Ok(code) => Ok(code.map(VarInt::into_inner)),
                Err(error) => Err(Failed(None, error.to_string())),
            }
        })
    }

    /// Waits until the connection is closed, and answers the code that the server says.
    ///
    /// # Panics
    /// It is not.
    pub fn closed(&self) -> Failed {
        let closed = within(&self.runtime, async { Ok(self.connection.closed().await) });
        Failed::of(closed.expect("the connection is closed in time"))
    }

    /// Sends what is no part of any connection.
    ///
    /// # Panics
    /// There is no port.
    pub fn throw(to: &str, datagram: &[u8]) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.connect(to).expect("an address");
        socket.send(datagram).expect("a datagram");
        socket
    }

    /// How many packets were lost on their way to the server, as the client sees it.
    pub fn lost_packets(&self) -> u64 {
        self.connection.stats().path.lost_packets
    }
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nobody is there, or both could not agree.
    pub fn connect(to: &str, tls: &ClientTls) -> Result<Client, Failed> {
        Client::over(Quic::connect(to, tls)?)
    }

    /// The same over a connection that is there.
    ///
    /// # Errors
    /// The server does not speak HTTP/3.
    pub fn over(quic: Quic) -> Result<Client, Failed> {
        let connection = h3_quinn::Connection::new(quic.connection.clone());
        let send = within(&quic.runtime, async {
            let (mut driver, send) = h3::client::builder()
                .build::<_, _, Bytes>(connection)
                .await
                .map_err(|error| Failed(None, error.to_string()))?;
            tokio::spawn(async move { driver.wait_idle().await });
            Ok(send)
        })?;
        Ok(Client { quic, send })
    }

    /// The connection below.
    pub fn quic(&self) -> &Quic {
        &self.quic
    }

    /// Begins a request.
    ///
    /// # Errors
    /// The connection takes no more.
    pub fn begin(&mut self, request: Request<()>) -> Result<Exchange, Failed> {
        let send = &mut self.send;
        within(&self.quic.runtime, async { Ok(Exchange(send.send_request(request).await.map_err(Failed::of_stream)?)) })
    }

    /// Asks for a path with these fields, and waits for the whole response.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn get(&mut self, host: &str, path: &str, fields: &[(&str, &str)]) -> Result<Whole, Failed> {
        let mut exchange = self.begin(request(Method::GET, host, path, fields))?;
        self.finish(&mut exchange)?;
        self.whole(exchange)
    }

    /// Sends a body in one piece, and waits for the whole response.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn post(&mut self, host: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Result<Whole, Failed> {
        let mut exchange = self.begin(request(Method::POST, host, path, fields))?;
        self.send(&mut exchange, body)?;
        self.finish(&mut exchange)?;
        self.whole(exchange)
    }

    /// Sends content as the server takes it.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn send(&self, exchange: &mut Exchange, content: &[u8]) -> Result<(), Failed> {
        let content = Bytes::copy_from_slice(content);
        within(&self.quic.runtime, async { exchange.0.send_data(content).await.map_err(Failed::of_stream) })
    }

    /// Sends pieces until the server has taken none for a while, or so many bytes; answers how many those were.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn send_what_fits(&self, exchange: &mut Exchange, most: usize) -> Result<usize, Failed> {
        const STILL: Duration = Duration::from_secs(1);
        let piece = Bytes::from(vec![b'x'; 64 * 1024]);
        within(&self.quic.runtime, async {
            let mut sent = 0;
            while sent < most {
                match timeout(STILL, exchange.0.send_data(piece.clone())).await {
                    Err(_) => break,
                    Ok(done) => done.map_err(Failed::of_stream)?,
                }
                sent += piece.len();
            }
            Ok(sent)
        })
    }

    /// Ends a body with trailers.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn send_trailers(&self, exchange: &mut Exchange, trailers: HeaderMap) -> Result<(), Failed> {
        within(&self.quic.runtime, async { exchange.0.send_trailers(trailers).await.map_err(Failed::of_stream) })
    }

    /// Says that the request is whole.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn finish(&self, exchange: &mut Exchange) -> Result<(), Failed> {
        within(&self.quic.runtime, async { exchange.0.finish().await.map_err(Failed::of_stream) })?;
        self.turn();
        Ok(())
    }

    /// Gives a request up, both ways.
    pub fn cancel(&self, mut exchange: Exchange) {
        let _guard = self.quic.runtime.enter();
        exchange.0.stop_stream(h3::error::Code::H3_REQUEST_CANCELLED);
        exchange.0.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED);
        drop(exchange);
        self.turn();
    }

    /// Waits for a head: its status.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn status(&self, exchange: &mut Exchange) -> Result<u16, Failed> {
        within(&self.quic.runtime, async {
            let head = exchange.0.recv_response().await.map_err(Failed::of_stream)?;
            Ok(head.status().as_u16())
        })
    }

    /// Waits for some content; nothing is its end.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn content(&self, exchange: &mut Exchange) -> Result<Option<Bytes>, Failed> {
        within(&self.quic.runtime, async {
            let content = exchange.0.recv_data().await.map_err(Failed::of_stream)?;
            Ok(content.map(|mut content| content.copy_to_bytes(content.remaining())))
        })
    }

    /// Waits for the whole response.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn whole(&self, mut exchange: Exchange) -> Result<Whole, Failed> {
        within(&self.quic.runtime, async {
            let head = exchange.0.recv_response().await.map_err(Failed::of_stream)?;
            let mut body = Vec::new();
            while let Some(mut content) = exchange.0.recv_data().await.map_err(Failed::of_stream)? {
                body.extend_from_slice(&content.copy_to_bytes(content.remaining()));
            }
            let trailers = exchange.0.recv_trailers().await.map_err(Failed::of_stream)?;
            Ok(Whole { status: head.status().as_u16(), fields: head.headers().clone(), body, trailers })
        })
    }

    /// Lets what is ready happen, and what is said be sent.
    pub fn turn(&self) {
        self.quic.runtime.block_on(async {
            for _ in 0..16 {
                tokio::task::yield_now().await;
            }
        });
    }
}

/// A request of HTTP/3.
///
/// # Panics
/// A part of it is no part of a request.
pub fn request(method: Method, host: &str, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(format!("https://{host}{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.version(http_types::Version::HTTP_3).body(()).expect("a request")
}

/// A frame of this kind.
pub fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame of a test") | 0x8000_0000;
    [&[kind][..], &length.to_be_bytes(), payload].concat()
}

/// A frame with a head of these fields, as literals.
pub fn head(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0, 0];
    for (name, value) in fields {
        number(0x20, 3, name.len(), &mut block);
        block.extend_from_slice(name.as_bytes());
        number(0, 7, value.len(), &mut block);
        block.extend_from_slice(value.as_bytes());
    }
    frame(1, &block)
}

/// A number of QPACK behind the bits of `first`.
fn number(first: u8, bits: u32, number: usize, out: &mut Vec<u8>) {
    let most = (1 << bits) - 1;
    if number < most {
        return out.push(first | number as u8);
    }
    out.push(first | most as u8);
    let mut rest = number - most;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn prepare(tls: &ClientTls) -> (Runtime, Endpoint, quinn::ClientConfig, String) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let guard = runtime.enter();
    let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    drop(guard);
    let (tls, name) = tls.for_quic();
    let crypto = QuicClientConfig::try_from(tls).expect("a client of TLS 1.3");
    (runtime, endpoint, quinn::ClientConfig::new(Arc::new(crypto)), name.to_owned())
}

/// Makes the first datagrams of handshakes, each of another.
fn first_datagrams(tls: &ClientTls) -> impl Fn() -> Vec<Vec<u8>> {
    let tls = tls.clone();
    move || {
        // A server that takes them in and says nothing.
        let deaf = UdpSocket::bind("127.0.0.1:0").expect("a port");
        deaf.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
        let to = deaf.local_addr().expect("an address");
        let (runtime, endpoint, config, name) = prepare(&tls);
        runtime.block_on(async {
            let connecting = endpoint.connect_with(config, to, &name).expect("a client that may connect");
            // The first flight is on its way when the client waits.
            assert!(timeout(Duration::from_millis(1), connecting).await.is_err(), "nobody answers");
        });
        let mut datagrams = Vec::new();
        let mut room = [0; 2048];
        while let Ok(length) = deaf.recv(&mut room) {
            datagrams.push(room[..length].to_vec());
        }
        datagrams
    }
}

fn within<T>(runtime: &Runtime, what: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    runtime.block_on(async {
        timeout(PATIENCE, Box::pin(what)).await.unwrap_or_else(|_| Err(Failed(None, "nothing came in time".to_owned())))
    })
}

impl Failed {
    fn of(error: ConnectionError) -> Failed {
        match &error {
            ConnectionError::ApplicationClosed(close) => Failed::coded(close.error_code, &error.to_string()),
            _ => Failed(None, error.to_string()),
        }
    }

    fn of_stream(error: h3::error::StreamError) -> Failed {
        let code = match &error {
            h3::error::StreamError::RemoteTerminate { code, .. } => Some(code.value()),
            _ => None,
        };
        Failed(code, error.to_string())
    }

    fn coded(code: VarInt, text: &str) -> Failed {
        Failed(Some(code.into_inner()), text.to_owned())
    }
}
