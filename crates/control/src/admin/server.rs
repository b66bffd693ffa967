//! Accepts operators' connections, so many and no more, and serves each of them: head, guard, body, answer.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use base::Kind;
use http::{Arrival, BodyReader, Conn, ReadError};
use net::Stream;
use net::listen::Listening;
use tokio::time::{Instant, sleep, timeout};
use wire::h1::{Limits, Reject};
use wire::{Framing, Head, Known, Method, Version, hop};

use super::answer::Answer;
use super::ask::{Ask, Peer};
use super::guard::{self, Way};
use super::place::Place;
use super::{Desk, answer};

/// Connections at a time.
const MOST_CONNECTIONS: usize = 64;
/// Bytes of a request's content.
const MOST_BODY: usize = 4 * 1024 * 1024;
/// A request's head.
const LIMITS: Limits = Limits { head: 16 * 1024, line: 8 * 1024, fields: 64 };
/// A read, which must hold more than a head or a trailer section.
const BLOCK: usize = 32 * 1024;
/// How long a head may take, and the first one to begin.
const HEAD: Duration = Duration::from_secs(10);
/// The same, while more than half of the connections are taken: silence must not shut everybody else out for long.
const HEAD_IN_A_CROWD: Duration = Duration::from_millis(500);
/// How long a connection may wait for its next request.
const IDLE: Duration = Duration::from_secs(60);
/// How long a body may take, and an answer to be read.
const BODY: Duration = Duration::from_secs(30);
/// How long, and for how many bytes, we listen to a client that has been refused, so that it can read why.
const LINGER: (Duration, usize) = (Duration::from_secs(2), 16 * 1024 * 1024);

/// Serves whoever comes, for ever.
pub(super) async fn accept(listening: Listening, desk: Rc<Desk>) {
    loop {
        match poll_fn(|cx| listening.poll_accept(cx)).await {
            Ok((stream, _)) if desk.connections.get() >= MOST_CONNECTIONS => refuse(stream),
            Ok((stream, address)) => {
                desk.connections.set(desk.connections.get() + 1);
                let desk = Rc::clone(&desk);
                tokio::task::spawn_local(async move {
                    serve(stream, address, &desk).await;
                    desk.connections.set(desk.connections.get() - 1);
                });
            }
            // Out of descriptors, mostly: the workers say so, and it passes.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

fn refuse(mut stream: Stream) {
    let mut out = Vec::new();
    Answer::error(503, format_args!("more than {MOST_CONNECTIONS} connections")).write(false, true, &mut out);
    // A fresh socket takes so few bytes at once, or the peer is gone.
    let _ = stream.poll_write(&mut Context::from_waker(Waker::noop()), &out);
    stream.shutdown_write();
}

/// What is to be done with the connection after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    KeepAlive,
    /// Nothing of the request is left unread.
    Close,
    /// Some of the request may be left unread.
    Linger,
}

/// A connection.
struct Line {
    conn: Conn,
    block: Vec<u8>,
    way: Way,
    peer: Peer,
}

async fn serve(stream: Stream, address: Option<SocketAddr>, desk: &Desk) {
    let way = if matches!(stream, Stream::Unix(_)) { Way::Unix } else { Way::Tcp };
    let peer = Peer::of(&stream, address);
    let mut line = Line { conn: Conn::new(stream), block: vec![0; BLOCK], way, peer };
    let mut head = Head::default();
    let head_within = if desk.connections.get() > MOST_CONNECTIONS / 2 { HEAD_IN_A_CROWD } else { HEAD };
    let mut patience = head_within;
    loop {
        let (answer, after) = match line.head(&mut head, patience).await {
            Ok(Arrival::Closed | Arrival::Preface | Arrival::Socks) | Err(Kind::ClientGone) => return,
            Ok(Arrival::Head) => line.request(&head, desk).await,
            Err(kind) => (refusal(kind), After::Linger),
        };
        let mut out = Vec::new();
        answer.write(head.method() == Method::Head, after != After::KeepAlive, &mut out);
        if line.write(&out).await.is_err() {
            return;
        }
        match after {
            After::KeepAlive => patience = IDLE,
            After::Close => return,
            After::Linger => return line.linger().await,
        }
    }
}

impl Line {
    /// Reads a head. A connection that waits in silence is closed in silence.
    async fn head(&mut self, head: &mut Head, patience: Duration) -> Result<Arrival, Kind> {
        let mut limit = pin!(sleep(patience));
        let mut begun = false;
        head.clear();
        poll_fn(|cx| {
            if let Poll::Ready(read) = self.conn.poll_request(cx, &mut self.block, &LIMITS, head) {
                return Poll::Ready(read.map_err(|error| match error {
                    ReadError::Reject(reject) => kind_of(reject),
                    ReadError::Io(_) | ReadError::Ended | ReadError::Refused => Kind::ClientGone,
                }));
            }
            if !begun && self.conn.has_carry() {
                begun = true;
                limit.as_mut().reset(Instant::now() + HEAD);
            }
            ready!(limit.as_mut().poll(cx));
            Poll::Ready(Err(if begun { Kind::HeadTimeout } else { Kind::ClientGone }))
        })
        .await
    }

    /// Answers a request: refuses it before its body is read, if that can be.
    async fn request(&mut self, head: &Head, desk: &Desk) -> (Answer, After) {
        let place = match self.admit(head) {
            Ok(place) => place,
            Err(refused) => {
                let after = if head.framing() == Framing::None { after(head) } else { After::Linger };
                return (refused, after);
            }
        };
        let body = match timeout(BODY, self.body(head)).await {
            Ok(Ok(body)) => body,
            Ok(Err(kind)) => return (refusal(kind), After::Linger),
            Err(_) => return (refusal(Kind::BodyTimeout), After::Linger),
        };
        let ask = Ask { head, body: &body, peer: &self.peer };
        (answer(desk, place, &ask).await, after(head))
    }

    /// What is asked for, if it may be.
    fn admit(&self, head: &Head) -> Result<Place, Answer> {
        guard::check(head, self.way)?;
        let place = Place::of(head.path())?;
        place.check(head.method())?;
        if head.method() == Method::Put {
            Ask::expect_json(head)?;
        }
        if matches!(head.framing(), Framing::Length(length) if length > MOST_BODY as u64) {
            return Err(refusal(Kind::BodyTooLarge));
        }
        let expects = head.values_of(Known::Expect).next();
        if expects.is_some_and(|said| !said.eq_ignore_ascii_case(b"100-continue")) {
            return Err(refusal(Kind::Expectation));
        }
        Ok(place)
    }

    /// Reads the whole body.
    async fn body(&mut self, head: &Head) -> Result<Vec<u8>, Kind> {
        let mut reader = BodyReader::new(head.framing());
        let mut body = Vec::new();
        if !reader.is_done() && head.has(Known::Expect) && head.version() == Version::H11 && !self.conn.has_carry() {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let mut length = if reader.is_done() { 0 } else { self.conn.unkeep(&mut self.block) };
        while !reader.is_done() {
            let used =
                reader.take(&self.block[..length], |content| body.extend_from_slice(content)).map_err(kind_of)?;
            if body.len() > MOST_BODY {
                return Err(Kind::BodyTooLarge);
            }
            self.conn.keep(&self.block[used..length]);
            if reader.is_done() {
                break;
            }
            let kept = length - used;
            length = poll_fn(|cx| self.conn.poll_bytes(cx, &mut self.block)).await.map_err(|_| Kind::ClientGone)?;
            if length == kept {
                return Err(Kind::ClientGone);
            }
        }
        Ok(body)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Kind> {
        let mut left = bytes;
        let written = poll_fn(|cx| {
            while !left.is_empty() {
                match ready!(self.conn.poll_write(cx, left)) {
                    Ok(0) | Err(_) => return Poll::Ready(Err(Kind::ClientGone)),
                    Ok(count) => left = &left[count..],
                }
            }
            Poll::Ready(Ok(()))
        });
        timeout(BODY, written).await.unwrap_or(Err(Kind::ClientGone))
    }

    /// Closes so that the client can read the answer: a close with unread bytes would be a reset, which may overtake it.
    async fn linger(mut self) {
        self.conn.shutdown_write();
        let mut left = LINGER.1;
        let rest = poll_fn(|cx| {
            loop {
                match ready!(self.conn.poll_read(cx, &mut self.block)) {
                    Ok(count) if count > 0 && count <= left => left -= count,
                    _ => return Poll::Ready(()),
                }
            }
        });
        // Whether the client has ended or time has, the connection closes now.
        let _ = timeout(LINGER.0, rest).await;
    }
}

/// What the request wants of its connection, once it has been read whole.
fn after(head: &Head) -> After {
    let wishes = hop::wishes(head);
    if head.version() == Version::H11 && !wishes.close { After::KeepAlive } else { After::Close }
}

/// The answer to a request that could not be read, by the proxy's own table.
fn refusal(kind: Kind) -> Answer {
    let message = match kind {
        Kind::LineTooLong => format!("the request line is longer than {} bytes", LIMITS.line),
        Kind::HeadTooLarge => format!("the head is larger than {} bytes", LIMITS.head),
        Kind::TooManyFields => format!("there are more than {} fields", LIMITS.fields),
        Kind::BodyTooLarge => format!("the body is larger than {MOST_BODY} bytes"),
        Kind::HeadTimeout | Kind::BodyTimeout => "the request did not arrive in time".to_owned(),
        Kind::Expectation => "only `100-continue` can be expected".to_owned(),
        other => format!("the request cannot be read: {}", other.code()),
    };
    match proxy::reply::status_of(kind) {
        // Nobody is there to read it; the write will say so.
        0 => Answer::error(400, message),
        status => Answer::error(status, message),
    }
}

fn kind_of(reject: Reject) -> Kind {
    match reject {
        Reject::Malformed(_) => Kind::Malformed,
        Reject::LineTooLong => Kind::LineTooLong,
        Reject::HeadTooLarge => Kind::HeadTooLarge,
        Reject::TooManyFields => Kind::TooManyFields,
        Reject::UnknownCoding => Kind::Unsupported,
        Reject::Version => Kind::Version,
    }
}
