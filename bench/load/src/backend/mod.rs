//! The server behind the proxy: one prepared answer, sent whole for every request head that arrives.
//!
//! It speaks HTTP/1.1, and HTTP/2 with whoever begins so ([`h2`]); HTTP/1.1 inside of TLS where it has a certificate ([`secured`]).

mod h2;
mod hpack;
mod secured;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};

use crate::head::Head;
use crate::poll::{Interest, Poll};
use secured::{Secret, Secured};

/// With a folder of `tls.pem` and `tls.key` it speaks TLS.
pub fn serve(bind: SocketAddr, body: usize, certificates: Option<&Path>) -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind(bind)?;
    listener.set_nonblocking(true)?;
    let door = listener.as_raw_fd() as usize;
    let content = vec![b'x'; body];
    let mut backend = Backend {
        poll: Poll::new()?,
        answer: answer(&content),
        prepared: h2::Prepared::new(&content),
        secret: certificates.map(Secret::of).transpose()?,
        stats: Stats::default(),
    };
    backend.poll.add(&listener, Interest::IN)?;

    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut block = vec![0; 64 * 1024];
    let mut ready = Vec::new();
    loop {
        backend.poll.wait(&mut ready, None)?;
        for &fd in &ready {
            if fd == door {
                backend.accept(&listener, &mut connections)?;
            } else if let Some(slot) = connections.get_mut(fd)
                && let Some(connection) = slot
                && backend.turn(connection, &mut block).is_err()
            {
                *slot = None;
            }
        }
    }
}

struct Backend {
    poll: Poll,
    answer: Vec<u8>,
    /// The same in HTTP/2, if it fits.
    prepared: Option<h2::Prepared>,
    /// There if it speaks TLS.
    secret: Option<Secret>,
    stats: Stats,
}

#[derive(Default)]
struct Stats {
    accepted: u64,
    requests: u64,
}

struct Connection {
    socket: OwnedFd,
    /// The beginning of a head whose end has not arrived.
    partial: Vec<u8>,
    /// Bytes of the current request's body that are still to come.
    body_left: usize,
    /// Answers that are owed, in order.
    owed: Vec<Answer>,
    /// Bytes of the first of them that are sent.
    sent: usize,
    waits_to_send: bool,
    secured: Option<Secured>,
    /// There if it speaks HTTP/2; then answers are owed there.
    session: Option<Box<h2::Session>>,
}

enum Answer {
    Prepared,
    Own(Vec<u8>),
}

/// The connection is over, in whichever way.
struct Closed;

impl From<Errno> for Closed {
    fn from(_: Errno) -> Self {
        Self
    }
}

impl Backend {
    fn accept(
        &mut self,
        listener: &TcpListener,
        connections: &mut Vec<Option<Connection>>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        loop {
            let socket = match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(fault) => return Err(fault.into()),
            };
            self.stats.accepted += 1;
            self.poll.add(&socket, Interest::IN)?;
            let fd = socket.as_raw_fd() as usize;
            if connections.len() <= fd {
                connections.resize_with(fd + 1, || None);
            }
            connections[fd] = Some(Connection {
                socket,
                partial: Vec::new(),
                body_left: 0,
                owed: Vec::new(),
                sent: 0,
                waits_to_send: false,
                secured: self.secret.as_ref().map(Secret::begin).transpose()?,
                session: None,
            });
        }
    }

    /// One receive and as many sends as the socket takes.
    fn turn(&mut self, connection: &mut Connection, block: &mut [u8]) -> Result<(), Closed> {
        // Reading on while answers wait would let a client that never reads fill `owed`.
        if !connection.waits_to_send {
            match recv(&connection.socket, &mut *block, RecvFlags::empty()) {
                Ok((0, _)) => return Err(Closed),
                Ok((length, _)) => match &mut connection.secured {
                    Some(secured) => {
                        let said = secured.open(&block[..length])?;
                        self.read(connection, &said)?;
                    }
                    None => self.read(connection, &block[..length])?,
                },
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        self.send(connection)
    }

    fn read(&mut self, connection: &mut Connection, bytes: &[u8]) -> Result<(), Closed> {
        if connection.session.is_some() {
            return self.read_h2(connection, bytes);
        }
        if connection.partial.is_empty() {
            let used = self.requests(connection, bytes);
            connection.partial.extend_from_slice(&bytes[used..]);
        } else {
            let mut joined = std::mem::take(&mut connection.partial);
            joined.extend_from_slice(bytes);
            let used = self.requests(connection, &joined);
            joined.drain(..used);
            connection.partial = joined;
        }
        if connection.session.is_none() {
            return Ok(());
        }
        let rest = std::mem::take(&mut connection.partial);
        self.read_h2(connection, &rest)
    }

    fn read_h2(&mut self, connection: &mut Connection, bytes: &[u8]) -> Result<(), Closed> {
        let (Some(session), Some(prepared)) = (&mut connection.session, &self.prepared) else { return Err(Closed) };
        self.stats.requests += session.read(bytes, prepared)?;
        Ok(())
    }

    /// Owes an answer to every whole head in `bytes` and passes over bodies; says how far it came.
    fn requests(&mut self, connection: &mut Connection, bytes: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let body = connection.body_left.min(bytes.len() - at);
            connection.body_left -= body;
            at += body;
            let Some(head) = Head::parse(&bytes[at..]) else { return at };
            if head.first_line == h2::PREFACE {
                connection.session = Some(Box::new(h2::Session::new()));
                return at + head.length;
            }
            self.stats.requests += 1;
            connection.owed.push(self.answer_to(&head, &bytes[at..at + head.length]));
            connection.body_left = head.content_length;
            at += head.length;
        }
    }

    fn answer_to(&self, head: &Head, text: &[u8]) -> Answer {
        if head.first_line.ends_with(b"/echo HTTP/1.1") {
            return Answer::Own(answer(text));
        }
        if head.first_line.ends_with(b"/stats HTTP/1.1") {
            let Stats { accepted, requests } = self.stats;
            return Answer::Own(answer(format!(r#"{{"accepted":{accepted},"requests":{requests}}}"#).as_bytes()));
        }
        Answer::Prepared
    }

    fn send(&self, connection: &mut Connection) -> Result<(), Closed> {
        let mut done = 0;
        let mut full = false;
        if let Some(secured) = &mut connection.secured {
            for answer in connection.owed.drain(..) {
                secured.say(match &answer {
                    Answer::Prepared => &self.answer,
                    Answer::Own(bytes) => bytes,
                })?;
            }
            full = !secured.flush(&connection.socket)?;
        }
        while let Some(answer) = connection.owed.get(done) {
            let bytes = match answer {
                Answer::Prepared => &self.answer,
                Answer::Own(bytes) => bytes,
            };
            match send(&connection.socket, &bytes[connection.sent..], SendFlags::NOSIGNAL) {
                Ok(length) => connection.sent += length,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {
                    full = true;
                    break;
                }
                Err(fault) => return Err(fault.into()),
            }
            if connection.sent == bytes.len() {
                connection.sent = 0;
                done += 1;
            }
        }
        connection.owed.drain(..done);
        if let Some(session) = &mut connection.session {
            let out = session.out();
            while connection.sent < out.len() {
                match send(&connection.socket, &out[connection.sent..], SendFlags::NOSIGNAL) {
                    Ok(length) => connection.sent += length,
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => {
                        full = true;
                        break;
                    }
                    Err(fault) => return Err(fault.into()),
                }
            }
            if !full {
                out.clear();
                connection.sent = 0;
            }
        }
        if full != connection.waits_to_send {
            connection.waits_to_send = full;
            self.poll.change(&connection.socket, if full { Interest::OUT } else { Interest::IN })?;
        }
        Ok(())
    }
}

/// A whole response with the fields that a server of files sends.
fn answer(body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\n\
         Server: backend\r\n\
         Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
         Content-Type: text/html; charset=utf-8\r\n\
         Content-Length: {}\r\n\
         Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
         ETag: \"65920080-400\"\r\n\
         Cache-Control: max-age=60\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}
