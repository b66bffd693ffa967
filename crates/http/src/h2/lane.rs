//! One stream of a connection, as its exchange sees it: content without framing, heads, an end.

use std::io;
use std::task::{Context, Poll};

use net::stream::Peek;
use wire::Head;
use wire::h1::Reject;
use wire::h2::{CannotOpen, Code, StreamId};

use super::{Link, Shared, Strand};
use crate::conn::ReadError;

/// A stream. Dropping it before its message was finished resets it, which the peer sees as a cut.
#[derive(Debug)]
pub struct Lane {
    link: Link,
    /// A client's lane gets its stream with its request.
    id: Option<StreamId>,
    /// We have said all.
    finished: bool,
    role: Role,
    switched: Option<Switched>,
}

/// What a server's answer has made of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switched {
    /// A connection of TCP to whom CONNECT names.
    Tunnel,
    /// Another protocol, a WebSocket among them.
    Protocol,
}

impl Switched {
    /// By the status that HTTP/1.1 has for it.
    pub(crate) fn by(status: u16) -> Switched {
        if status == 101 { Switched::Protocol } else { Switched::Tunnel }
    }
}

/// Which end of the stream a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It gives the response.
    Server,
    /// It gives the request.
    Client,
    /// It has asked for another protocol: its message has no end that is marked by its framing.
    Tunnel,
}

impl Lane {
    pub(super) fn new(link: &Link, id: StreamId, role: Role) -> Lane {
        Lane { link: link.clone(), id: Some(id), finished: false, role, switched: None }
    }

    /// A lane for a request, which has a stream reserved for it.
    pub(super) fn reserved(link: &Link) -> Lane {
        Lane { link: link.clone(), id: None, finished: false, role: Role::Client, switched: None }
    }

    /// Begins the request. A stream that is refused at this moment shows when the answer is read.
    fn begin(&mut self, head: &Head) {
        let mut shared = self.link.0.borrow_mut();
        shared.reserved -= 1;
        let shared = &mut *shared;
        if shared.over {
            self.id = Some(NEVER);
            return;
        }
        let opened = shared.codec.open(head);
        self.id = Some(*opened.as_ref().unwrap_or(&NEVER));
        if !head.protocol().is_empty() {
            self.role = Role::Tunnel;
        }
        if let Err(CannotOpen::NoExtendedConnect) = opened {
            let reason = Some("the server takes no WebSocket over HTTP/2");
            shared.lanes.insert(NEVER, Strand { broken: Some(Code::CANCEL), reason, ..Strand::default() });
        } else if let Ok(id) = opened {
            shared.lanes.insert(id, Strand::default());
            shared.nudge();
        }
    }

    /// Reads the head of a response.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(crate) fn poll_response(&mut self, cx: &Context<'_>, into: &mut Head) -> Poll<Result<(), ReadError>> {
        let tunnel = self.role == Role::Tunnel;
        self.with(|id, shared| {
            let Some(strand) = shared.lanes.get_mut(&id) else { return Poll::Ready(Err(ReadError::Refused)) };
            if let Some(mut head) = strand.heads.pop_front() {
                std::mem::swap(into, &mut head);
                if shared.spare.len() < MOST_SPARE {
                    shared.spare.push(head);
                }
                if tunnel && (200..300).contains(&into.status()) {
                    // To everybody above, a switch of protocols is what it is in HTTP/1.1.
                    into.set_status(101);
                    into.add(b"upgrade", b"websocket");
                }
                return Poll::Ready(Ok(()));
            }
            if let Some(code) = strand.broken {
                return Poll::Ready(Err(match strand.reason {
                    Some(reason) => ReadError::Reject(Reject::Malformed(reason)),
                    None if code == Code::REFUSED_STREAM => ReadError::Refused,
                    None => ReadError::Ended,
                }));
            }
            if shared.over {
                return Poll::Ready(Err(ReadError::Ended));
            }
            strand.wake_later(cx);
            Poll::Pending
        })
    }

    /// Reads content; zero bytes are its end.
    ///
    /// # Errors
    /// The stream was reset, or its connection is over.
    pub(crate) fn poll_read(&mut self, cx: &Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.with(|id, shared| {
            let over = shared.over;
            let Some(strand) = shared.lanes.get_mut(&id) else { return Poll::Ready(Err(reset())) };
            let waiting = &strand.content[strand.at..];
            if !waiting.is_empty() {
                let count = waiting.len().min(into.len());
                into[..count].copy_from_slice(&waiting[..count]);
                strand.passed(count);
                if !over {
                    shared.codec.consumed(id, count);
                    shared.nudge();
                }
                return Poll::Ready(Ok(count));
            }
            if strand.broken.is_some() {
                return Poll::Ready(Err(reset()));
            }
            if strand.ended {
                return Poll::Ready(Ok(0));
            }
            if over {
                return Poll::Ready(Err(reset()));
            }
            strand.wake_later(cx);
            Poll::Pending
        })
    }

    /// Whether a read would not wait.
    pub(crate) fn has_content(&self) -> bool {
        let shared = self.link.0.borrow();
        shared
            .lanes
            .get(&self.id.unwrap_or(NEVER))
            .is_some_and(|strand| strand.at < strand.content.len() || strand.ended)
    }

    /// The trailers, once the end was read.
    pub(crate) fn take_trailers(&mut self) -> Option<Box<Head>> {
        self.with(|id, shared| shared.lanes.get_mut(&id)?.trailers.take())
    }

    /// Writes content, as much as the peer and the connection have room for.
    ///
    /// # Errors
    /// The stream was reset, or its connection is over.
    pub(crate) fn poll_write(&mut self, cx: &Context<'_>, content: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|id, shared| {
            let Some(strand) = shared.lanes.get_mut(&id) else { return Poll::Ready(Err(reset())) };
            if shared.over || strand.broken.is_some() {
                return Poll::Ready(Err(reset()));
            }
            match shared.codec.send(id, content) {
                0 => {
                    if !std::mem::replace(&mut strand.waits, true) {
                        shared.waiting += 1;
                    }
                    strand.wake_later(cx);
                    Poll::Pending
                }
                count => {
                    shared.nudge();
                    Poll::Ready(Ok(count))
                }
            }
        })
    }

    /// Writes a head.
    pub(crate) fn write_head(&mut self, head: &Head) {
        if self.id.is_none() {
            return self.begin(head);
        }
        self.with(|id, shared| {
            if shared.is_open(id) {
                shared.codec.send_head(id, head);
                shared.nudge();
            }
        });
    }

    /// Writes the head after which both sides say what they like. RFC 8441 section 5: any status of success says so.
    pub(crate) fn switch(&mut self, head: &mut Head) {
        self.switched = Some(Switched::by(head.status()));
        head.set_status(200);
        self.write_head(head);
    }

    /// Says that the message ends here, if an end is what it has.
    pub(crate) fn finish_message(&mut self, trailers: Option<&Head>) {
        if self.role != Role::Tunnel {
            self.finish(trailers);
        }
    }

    /// Says that nothing more is written.
    pub(crate) fn finish(&mut self, trailers: Option<&Head>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.with(|id, shared| {
            if shared.is_open(id) {
                shared.codec.finish(id, trailers);
                shared.nudge();
            }
        });
    }

    /// How the peer broke the protocol on the stream.
    pub(crate) fn wrong(&self) -> Option<&'static str> {
        self.with(|id, shared| shared.lanes.get(&id)?.reason)
    }

    /// What a read would find; pending while the peer is there and silent.
    pub(crate) fn poll_peek(&self, cx: &Context<'_>) -> Poll<Peek> {
        self.with(|id, shared| {
            let over = shared.over;
            match shared.lanes.get_mut(&id) {
                None => Poll::Ready(Peek::Broken),
                Some(strand) if over || strand.broken.is_some() => Poll::Ready(Peek::Broken),
                Some(strand) if strand.at < strand.content.len() => {
                    strand.wake_later(cx);
                    Poll::Ready(Peek::Bytes)
                }
                // That a message has ended says nothing of whether its sender waits for the answer.
                Some(strand) => {
                    strand.wake_later(cx);
                    Poll::Pending
                }
            }
        })
    }

    fn with<R>(&self, work: impl FnOnce(StreamId, &mut Shared) -> R) -> R {
        work(self.id.unwrap_or(NEVER), &mut self.link.0.borrow_mut())
    }
}

impl Shared {
    fn is_open(&self, id: StreamId) -> bool {
        !self.over && self.lanes.get(&id).is_some_and(|strand| strand.broken.is_none())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let (finished, role, switched) = (self.finished, self.role, self.switched);
        if self.id.is_none() {
            let mut shared = self.link.0.borrow_mut();
            shared.reserved -= 1;
            return shared.nudge_idle();
        }
        self.with(|id, shared| {
            let Some(strand) = shared.lanes.remove(&id) else { return };
            if strand.waits {
                shared.waiting -= 1;
            }
            if !shared.over {
                if strand.broken.is_none() {
                    let code = match (role, switched) {
                        // RFC 9113 section 8.5: whatever breaks the connection that the stream stands for.
                        (Role::Server, Some(Switched::Tunnel)) => Code::CONNECT_ERROR,
                        // RFC 8441 section 5.
                        (Role::Server, Some(Switched::Protocol)) => Code::CANCEL,
                        // RFC 9113 section 8.1: the rest of the request is not needed.
                        (Role::Server, None) if finished => Code::NO_ERROR,
                        (Role::Server, None) => Code::INTERNAL_ERROR,
                        (Role::Client | Role::Tunnel, _) => Code::CANCEL,
                    };
                    shared.codec.reset(id, code);
                }
                shared.nudge();
            }
            shared.nudge_idle();
        });
    }
}

/// The number of a stream that nobody has: the last of all.
const NEVER: StreamId = StreamId::LAST;

/// Heads whose memory a connection keeps for the next.
const MOST_SPARE: usize = 8;

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
