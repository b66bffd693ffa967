//! A client of HTTP/2, by the `h2` crate, which is strict; and bytes of frames for clients that are not.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Connection, ResponseFuture, SendRequest};
use h2::ext::Protocol;
pub use h2::{Reason, SendStream};
pub use http_types::{HeaderMap, Method, Request};

use h2::RecvStream;
use http_types::Response;
use tokio::net::TcpStream;
use tokio::runtime::{self, Runtime};
use tokio::task::JoinHandle;

/// A connection of HTTP/2 without TLS. Everything waits at most some seconds.
pub struct Client {
    runtime: Runtime,
    send: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

/// A request under way.
pub struct Exchange {
    response: ResponseFuture,
    body: SendStream<Bytes>,
}

/// A response whose head is here.
pub struct Answer {
    /// Its head.
    pub head: http_types::response::Parts,
    body: RecvStream,
}

/// A response as a whole.
#[derive(Debug)]
pub struct Whole {
    /// Its status.
    pub status: u16,
    /// Its fields.
    pub fields: HeaderMap,
    /// Its content.
    pub body: Vec<u8>,
    /// Its trailers; none if it had none.
    pub trailers: Option<HeaderMap>,
}

/// Why an exchange has failed.
#[derive(Debug)]
pub struct Failed(pub Option<Reason>, pub String);

const PATIENCE: Duration = Duration::from_secs(20);

impl Answer {
    /// Whether the head has ended the stream: nothing stands behind it.
    pub fn has_ended(&self) -> bool {
        self.body.is_end_stream()
    }
}

impl Client {
    /// Connects, and waits for the server's settings.
    ///
    /// # Panics
    /// Nobody is there.
    pub fn connect(to: SocketAddr) -> Client {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (send, driver) = runtime.block_on(async {
            let stream = TcpStream::connect(to).await.expect("a server");
            stream.set_nodelay(true).expect("a socket");
            let mut builder = h2::client::Builder::new();
            builder.enable_push(false).initial_window_size(1 << 20).initial_connection_window_size(1 << 22);
            let (send, connection): (SendRequest<Bytes>, Connection<TcpStream, Bytes>) =
                builder.handshake(stream).await.expect("a preface");
            (send, tokio::spawn(connection))
        });
        Client { runtime, send, driver }
    }

    /// Begins a request; more of its body follows unless `ends`.
    ///
    /// # Errors
    /// The connection takes no more.
    pub fn begin(&mut self, request: Request<()>, ends: bool) -> Result<Exchange, Failed> {
        let send = self.send.clone();
        let ready = self.wait(async move { send.ready().await.map_err(Failed::of) })?;
        self.send = ready;
        let (response, body) = self.send.send_request(request, ends).map_err(Failed::of)?;
        Ok(Exchange { response, body })
    }

    /// Asks for a path with these fields, and waits for the whole response.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn get(&mut self, host: &str, path: &str, fields: &[(&str, &str)]) -> Result<Whole, Failed> {
        let exchange = self.begin(request(Method::GET, host, path, fields), true)?;
        let answer = self.answer(exchange)?;
        self.whole(answer)
    }

    /// Sends a body in one piece, and waits for the whole response.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn post(&mut self, host: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Result<Whole, Failed> {
        let mut exchange = self.begin(request(Method::POST, host, path, fields), false)?;
        self.send(&mut exchange, body, true)?;
        let answer = self.answer(exchange)?;
        self.whole(answer)
    }

    /// Sends content as the window allows.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn send(&mut self, exchange: &mut Exchange, content: &[u8], ends: bool) -> Result<(), Failed> {
        let stream = &mut exchange.body;
        within(&self.runtime, async {
            let mut left = Bytes::copy_from_slice(content);
            while !left.is_empty() {
                stream.reserve_capacity(left.len());
                let room = match poll_fn(|cx| stream.poll_capacity(cx)).await {
                    Some(room) => room.map_err(Failed::of)?,
                    None => return Err(Failed(None, "the stream takes no more".to_owned())),
                };
                let part = left.split_to(room.min(left.len()));
                let last = ends && left.is_empty();
                stream.send_data(part, last).map_err(Failed::of)?;
            }
            if ends && content.is_empty() {
                stream.send_data(Bytes::new(), true).map_err(Failed::of)?;
            }
            tokio::task::yield_now().await;
            Ok(())
        })
    }

    /// Sends content until the server has taken none for a while, or all of it was sent; answers how much was.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn send_what_fits(&mut self, exchange: &mut Exchange, most: usize) -> Result<usize, Failed> {
        const STILL: Duration = Duration::from_secs(1);
        let stream = &mut exchange.body;
        within(&self.runtime, async {
            let mut sent = 0;
            while sent < most {
                stream.reserve_capacity(64 * 1024);
                let room = match tokio::time::timeout(STILL, poll_fn(|cx| stream.poll_capacity(cx))).await {
                    Err(_) => break,
                    Ok(room) => room.ok_or_else(|| Failed(None, "closed".to_owned()))?.map_err(Failed::of)?,
                };
                stream.send_data(Bytes::from(vec![b'x'; room]), false).map_err(Failed::of)?;
                sent += room;
            }
            Ok(sent)
        })
    }

    /// Asks for a protocol by extended CONNECT (RFC 8441), once the server has said that it takes it.
    ///
    /// # Errors
    /// The connection takes no more.
    pub fn extended_connect(&mut self, protocol: &'static str, host: &str, path: &str) -> Result<Exchange, Failed> {
        let send = self.send.clone();
        self.send = self.wait(async move { send.ready().await.map_err(Failed::of) })?;
        let send = self.send.clone();
        within(&self.runtime, async {
            while !send.is_extended_connect_protocol_enabled() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        })?;
        let mut request = self::request(Method::CONNECT, host, path, &[("sec-websocket-version", "13")]);
        request.extensions_mut().insert(Protocol::from_static(protocol));
        let (response, body) = self.send.send_request(request, false).map_err(Failed::of)?;
        Ok(Exchange { response, body })
    }

    /// Ends a body with trailers.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn send_trailers(&mut self, exchange: &mut Exchange, trailers: HeaderMap) -> Result<(), Failed> {
        exchange.body.send_trailers(trailers).map_err(Failed::of)
    }

    /// Ends a stream with this.
    pub fn finish_with(&mut self, mut body: SendStream<Bytes>, content: &[u8]) {
        // Refused only where the stream was reset, which the other side of it shows.
        let _ = body.send_data(Bytes::copy_from_slice(content), true);
        self.turn();
    }

    /// Waits until the server has said that it wants no more requests.
    ///
    /// # Panics
    /// It does not say so.
    pub fn until_going(&mut self) {
        let send = self.send.clone();
        let going = within(&self.runtime, async {
            // A request that cannot be begun any more is how the library shows it.
            while send.clone().ready().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        });
        going.expect("a GOAWAY");
    }

    /// Waits until the server resets a stream, and says with what.
    pub fn reset_seen(&mut self, body: &mut SendStream<Bytes>) -> Option<Reason> {
        within(&self.runtime, async { poll_fn(|cx| body.poll_reset(cx)).await.map_err(Failed::of) }).ok()
    }

    /// Resets the stream.
    pub fn reset(&mut self, mut exchange: Exchange, reason: Reason) {
        exchange.body.send_reset(reason);
        self.turn();
    }

    /// Waits for the head of the response.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn answer(&mut self, exchange: Exchange) -> Result<Answer, Failed> {
        let Exchange { response, body } = exchange;
        let response: Response<RecvStream> = self.wait(async move { response.await.map_err(Failed::of) })?;
        drop(body);
        let (head, body) = response.into_parts();
        Ok(Answer { head, body })
    }

    /// Waits for the head of the response, and keeps the way to send open.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn switch(&mut self, exchange: Exchange) -> Result<(Answer, SendStream<Bytes>), Failed> {
        let Exchange { response, body } = exchange;
        let response: Response<RecvStream> = self.wait(async move { response.await.map_err(Failed::of) })?;
        let (head, content) = response.into_parts();
        Ok((Answer { head, body: content }, body))
    }

    /// Waits for some content; nothing is its end.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn content(&mut self, answer: &mut Answer) -> Result<Option<Bytes>, Failed> {
        let body = &mut answer.body;
        within(&self.runtime, async {
            match body.data().await {
                None => Ok(None),
                Some(content) => {
                    let content = content.map_err(Failed::of)?;
                    body.flow_control().release_capacity(content.len()).map_err(Failed::of)?;
                    Ok(Some(content))
                }
            }
        })
    }

    /// Waits for the rest of a response.
    ///
    /// # Errors
    /// The stream or the connection was broken.
    pub fn whole(&mut self, mut answer: Answer) -> Result<Whole, Failed> {
        let mut body = Vec::new();
        while let Some(content) = self.content(&mut answer)? {
            body.extend_from_slice(&content);
        }
        let stream = &mut answer.body;
        let trailers = within(&self.runtime, async { stream.trailers().await.map_err(Failed::of) })?;
        Ok(Whole { status: answer.head.status.as_u16(), fields: answer.head.headers, body, trailers })
    }

    /// Waits until the server has closed the connection, as it says: without an error, or with which.
    ///
    /// # Panics
    /// It does not.
    pub fn ended(self) -> Result<(), Failed> {
        let Client { runtime, send, driver } = self;
        drop(send);
        within(&runtime, async { driver.await.expect("the driver runs").map_err(Failed::of) })
    }

    /// Lets what is ready happen.
    pub fn turn(&self) {
        self.runtime.block_on(async {
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
        });
    }

    fn wait<T>(&self, what: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
        within(&self.runtime, what)
    }
}

/// A request of HTTP/2 without TLS.
///
/// # Panics
/// A part of it is no part of a request.
pub fn request(method: Method, host: &str, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(format!("http://{host}{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.version(http_types::Version::HTTP_2).body(()).expect("a request")
}

fn within<T>(runtime: &Runtime, what: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    runtime.block_on(async {
        let what: Pin<Box<dyn Future<Output = Result<T, Failed>>>> = Box::pin(what);
        tokio::time::timeout(PATIENCE, what)
            .await
            .unwrap_or_else(|_| Err(Failed(None, "nothing came in time".to_owned())))
    })
}

impl Failed {
    fn of(error: h2::Error) -> Failed {
        Failed(error.reason(), error.to_string())
    }
}
