//! A side of the `h2` crate, moved by hand.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::{RecvStream, SendStream, client, server};
use http_types::{HeaderMap, HeaderValue, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Fields, Message, normal, note};

/// What was written to a side and by it.
#[derive(Clone, Default)]
struct Wire(Rc<RefCell<Ends>>);

#[derive(Default)]
struct Ends {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let input = &mut self.0.borrow_mut().input;
        if input.is_empty() {
            return Poll::Pending;
        }
        let count = input.len().min(buffer.remaining());
        buffer.put_slice(&input[..count]);
        input.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().output.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

enum Side {
    Shaking(server::Handshake<Wire, Bytes>),
    Server(server::Connection<Wire, Bytes>),
    Client(Box<client::Connection<Wire, Bytes>>, client::SendRequest<Bytes>),
    Over,
}

/// A client or a server of the crate.
pub(super) struct Theirs {
    wire: Wire,
    side: Side,
    /// Whether content is said to be read as soon as it is.
    pub(super) reads: bool,
    pub(super) streams: BTreeMap<u32, Stream>,
    /// Why the connection cannot go on.
    pub(super) broken: Option<h2::Error>,
}

#[derive(Default)]
pub(super) struct Stream {
    pub(super) got: Message,
    pub(super) failed: Option<h2::Error>,
    pub(super) interim: usize,
    body: Option<RecvStream>,
    unread: usize,
    waits: Option<client::ResponseFuture>,
    answer: Option<server::SendResponse<Bytes>>,
    out: Option<SendStream<Bytes>>,
}

impl Theirs {
    pub(super) fn server() -> Theirs {
        let wire = Wire::default();
        let side = Side::Shaking(server::Builder::new().max_concurrent_streams(64).handshake(wire.clone()));
        Theirs::of(wire, side)
    }

    pub(super) fn client() -> Theirs {
        let wire = Wire::default();
        let shaking = pin!(client::Builder::new().enable_push(false).handshake(wire.clone()));
        let Poll::Ready(Ok((requests, connection))) = shaking.poll(&mut nobody()) else { panic!("a client waits") };
        Theirs::of(wire, Side::Client(Box::new(connection), requests))
    }

    fn of(wire: Wire, side: Side) -> Theirs {
        Theirs { wire, side, reads: true, streams: BTreeMap::new(), broken: None }
    }

    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.wire.0.borrow_mut().input.extend_from_slice(bytes);
        self.poll();
    }

    pub(super) fn write(&mut self) -> Vec<u8> {
        self.poll();
        std::mem::take(&mut self.wire.0.borrow_mut().output)
    }

    pub(super) fn open(&mut self, message: &Message) -> Option<u32> {
        self.poll();
        let Side::Client(_, requests) = &mut self.side else { return None };
        let Poll::Ready(Ok(())) = requests.poll_ready(&mut nobody()) else { return None };
        let words: Vec<&str> = message.start.split(' ').collect();
        let mut request =
            Request::builder().method(words[0]).uri(format!("http://{}{}", words[1], words[2])).body(()).ok()?;
        *request.headers_mut() = map(&message.fields);
        let whole = message.content.is_empty() && message.trailers.is_empty();
        let (waits, out) = requests.send_request(request, whole).ok()?;
        let id = u32::from(out.stream_id());
        let mut stream = Stream { waits: Some(waits), ..Stream::default() };
        if !whole {
            finish(out, message);
        } else {
            stream.out = Some(out);
        }
        self.streams.insert(id, stream);
        self.poll();
        Some(id)
    }

    /// Answers a request, behind an interim response if `interim`.
    pub(super) fn answer(&mut self, id: u32, message: &Message, interim: bool) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(mut answer) = stream.answer.take() else { return };
        if interim {
            let early = Response::builder().status(103).body(()).expect("a response");
            answer.send_informational(early).ok();
        }
        let mut response = Response::builder().status(&message.start[..]).body(()).expect("a response");
        *response.headers_mut() = map(&message.fields);
        let whole = message.content.is_empty() && message.trailers.is_empty();
        if let Ok(out) = answer.send_response(response, whole) {
            if whole {
                stream.out = Some(out);
            } else {
                finish(out, message);
            }
        }
        self.poll();
    }

    /// Says of all content that it was read.
    pub(super) fn consume(&mut self) {
        for stream in self.streams.values_mut() {
            let count = std::mem::take(&mut stream.unread);
            if let Some(body) = &mut stream.body {
                body.flow_control().release_capacity(count).ok();
            }
        }
        self.poll();
    }

    /// Changes the window that streams begin with.
    pub(super) fn settle(&mut self, window: u32) {
        // It refuses while an earlier word is not acknowledged.
        match &mut self.side {
            Side::Server(connection) => connection.set_initial_window_size(window).ok(),
            Side::Client(connection, _) => connection.set_initial_window_size(window).ok(),
            _ => None,
        };
        self.poll();
    }

    /// Makes the connection's window larger or smaller.
    pub(super) fn target(&mut self, window: u32) {
        match &mut self.side {
            Side::Server(connection) => connection.set_target_window_size(window),
            Side::Client(connection, _) => connection.set_target_window_size(window),
            _ => {}
        }
        self.poll();
    }

    pub(super) fn poll(&mut self) {
        // What one stream gives back may let another go on.
        for _ in 0..3 {
            self.connection();
            for stream in self.streams.values_mut() {
                stream.poll(self.reads);
            }
        }
    }

    fn connection(&mut self) {
        if let Side::Shaking(shaking) = &mut self.side {
            match pin!(shaking).poll(&mut nobody()) {
                Poll::Pending => return,
                Poll::Ready(Ok(connection)) => self.side = Side::Server(connection),
                Poll::Ready(Err(error)) => {
                    self.broken = Some(error);
                    self.side = Side::Over;
                }
            }
        }
        match &mut self.side {
            Side::Server(connection) => {
                while let Poll::Ready(next) = connection.poll_accept(&mut nobody()) {
                    match next {
                        Some(Ok((request, answer))) => {
                            let stream = Stream::asked(request, answer);
                            self.streams.insert(stream.0, stream.1);
                        }
                        Some(Err(error)) => {
                            self.broken.get_or_insert(error);
                            return;
                        }
                        None => return,
                    }
                }
            }
            Side::Client(connection, _) if self.broken.is_none() => {
                if let Poll::Ready(Err(error)) = pin!(connection).poll(&mut nobody()) {
                    self.broken = Some(error);
                }
            }
            _ => {}
        }
    }
}

impl Stream {
    fn asked(request: Request<RecvStream>, answer: server::SendResponse<Bytes>) -> (u32, Stream) {
        let (parts, body) = request.into_parts();
        let authority = parts.uri.authority().map_or("", |authority| authority.as_str());
        let authority = match (authority, parts.headers.get("host")) {
            ("", Some(host)) => String::from_utf8_lossy(host.as_bytes()).into_owned(),
            _ => authority.to_owned(),
        };
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        let start = format!("{} {authority} {path}", parts.method);
        let got = Message { start, fields: fields(&parts.headers), ..Message::default() };
        let id = u32::from(answer.stream_id());
        (id, Stream { got, body: Some(body), answer: Some(answer), ..Stream::default() })
    }

    fn poll(&mut self, reads: bool) {
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = self.try_poll(reads) {
            self.failed = Some(error);
        }
    }

    fn try_poll(&mut self, reads: bool) -> Result<(), h2::Error> {
        let context = &mut nobody();
        if let Some(waits) = &mut self.waits {
            while let Poll::Ready(Some(interim)) = waits.poll_informational(context) {
                interim?;
                self.interim += 1;
            }
            let Poll::Ready(response) = pin!(waits).poll(context) else { return Ok(()) };
            self.waits = None;
            let (parts, body) = response?.into_parts();
            self.got.start = parts.status.as_str().to_owned();
            self.got.fields = fields(&parts.headers);
            self.body = Some(body);
        }
        let Some(body) = self.body.as_mut().filter(|_| !self.got.ended) else { return Ok(()) };
        while let Poll::Ready(Some(content)) = body.poll_data(context) {
            let content = content?;
            self.got.content.extend_from_slice(&content);
            if reads {
                body.flow_control().release_capacity(content.len())?;
            } else {
                self.unread += content.len();
            }
        }
        if let Poll::Ready(trailers) = body.poll_trailers(context) {
            self.got.trailers = trailers?.as_ref().map(fields).unwrap_or_default();
            self.got.ended = true;
        }
        Ok(())
    }
}

/// Sends all content and the trailers, as the windows let it.
fn finish(mut out: SendStream<Bytes>, message: &Message) {
    let trailed = !message.trailers.is_empty();
    let (one, other) = message.content.split_at(message.content.len() / 3);
    out.send_data(Bytes::copy_from_slice(one), false).ok();
    out.send_data(Bytes::copy_from_slice(other), !trailed).ok();
    if trailed {
        out.send_trailers(map(&message.trailers)).ok();
    }
}

fn map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, values) in fields {
        for value in values {
            let name: http_types::HeaderName = name.parse().expect("a name");
            let mut value = HeaderValue::from_bytes(value).expect("a value");
            value.set_sensitive(name == "authorization");
            map.append(name, value);
        }
    }
    map
}

fn fields(map: &HeaderMap) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in map {
        note(&mut fields, name.as_str(), value.as_bytes());
    }
    normal(fields)
}

fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
