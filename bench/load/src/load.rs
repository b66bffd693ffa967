//! The client in front of the proxy: a fixed number of connections, each with exactly one request under way.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

use crate::channel::Channel;
use crate::head::Head;
use crate::poll::{Interest, Poll};
use crate::report::Report;
use crate::request::{self, Fields};
use crate::tls::Tls;

pub struct Plan {
    pub to: SocketAddr,
    /// The length that every response's body must have.
    pub body: usize,
    pub connections: usize,
    pub seconds: f64,
    pub fields: Fields,
    pub routes: usize,
    /// A connection per request instead of keep-alive.
    pub close: bool,
    /// Towards the proxy; with a tunnel, inside of it.
    pub tls: bool,
    /// The server that a forward proxy is asked for, in place of routes.
    pub server: Option<SocketAddr>,
    /// Whether it is asked for a tunnel to that server, over which the server itself is asked.
    pub tunnel: bool,
}

pub fn run(plan: &Plan) -> std::io::Result<Report> {
    let requests = match plan.server {
        Some(server) => vec![request::write_for(server, plan.tunnel, plan.tls, plan.fields, plan.close)],
        None => (0..plan.routes).map(|route| request::write(route, plan.fields, plan.close)).collect(),
    };
    let mut client = Client {
        plan,
        poll: Poll::new()?,
        requests,
        connect: plan.server.filter(|_| plan.tunnel).map(request::write_connect),
        next: 0,
        report: Report::new(),
        tls: plan.tls.then(Tls::new),
    };
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(plan.seconds);
    let mut connections: Vec<Option<Connection>> = Vec::new();
    for _ in 0..plan.connections {
        client.open(&mut connections)?;
    }

    let mut block = vec![0; 1024 * 1024];
    let mut ready = Vec::new();
    loop {
        let now = Instant::now();
        if now >= end {
            return Ok(client.report.end(now - start));
        }
        client.poll.wait(&mut ready, Some(end - now))?;
        for &fd in &ready {
            let Some(connection) = connections.get_mut(fd).and_then(Option::as_mut) else { continue };
            match client.turn(connection, &mut block) {
                Ok(()) => continue,
                Err(Over::Served) => {}
                Err(Over::Failed) => client.report.errors += 1,
            }
            connections[fd] = None;
            client.open(&mut connections)?;
        }
    }
}

struct Client<'a> {
    plan: &'a Plan,
    poll: Poll,
    requests: Vec<Vec<u8>>,
    /// What opens a tunnel, if requests go through tunnels.
    connect: Option<Vec<u8>>,
    /// The request that goes out next.
    next: usize,
    report: Report,
    tls: Option<Tls>,
}

struct Connection {
    channel: Channel,
    asked: Instant,
    /// Whether the server can be asked: without a tunnel always.
    open: bool,
    state: State,
}

enum State {
    /// Waits for the handshake, or for room to send the request.
    Sending,
    /// Waits for the end of the response's head and holds what has come of it.
    Head(Vec<u8>),
    /// Waits for so many bytes of the body.
    Body(usize),
}

/// Why a connection is given up.
enum Over {
    Served,
    Failed,
}

impl From<Errno> for Over {
    fn from(_: Errno) -> Self {
        Self::Failed
    }
}

impl Client<'_> {
    fn open(&mut self, connections: &mut Vec<Option<Connection>>) -> std::io::Result<()> {
        let family = if self.plan.to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
        if self.plan.tls {
            // The end of a handshake and the request behind it are two writes, and the second does not wait for the first's acknowledgement.
            sockopt::set_tcp_nodelay(&socket, true)?;
        }
        match connect(&socket, &self.plan.to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(fault) => return Err(fault.into()),
        }
        let open = self.connect.is_none();
        let channel = Channel::new(socket, self.tls.as_ref().filter(|_| open).map(Tls::connection));
        let mut connection = Connection { channel, asked: Instant::now(), open, state: State::Sending };
        // On the loopback the handshake is done by now, and the first request need not wait for an event.
        let sent = self.ask(&mut connection);
        let interest = match (sent, &connection.state) {
            (Ok(()), State::Head(_)) => Interest::IN,
            // A failure shows again when the event comes, and is counted there.
            _ => Interest::OUT,
        };
        self.poll.add(&connection.channel, interest)?;
        let fd = connection.channel.as_fd().as_raw_fd() as usize;
        if connections.len() <= fd {
            connections.resize_with(fd + 1, || None);
        }
        connections[fd] = Some(connection);
        Ok(())
    }

    fn turn(&mut self, connection: &mut Connection, block: &mut [u8]) -> Result<(), Over> {
        match &mut connection.state {
            State::Sending => {
                self.ask(connection)?;
                if let State::Head(_) = connection.state {
                    self.poll.change(&connection.channel, Interest::IN)?;
                }
                Ok(())
            }
            State::Head(partial) => {
                let Some(length) = receive(&mut connection.channel, block, true)? else { return Ok(()) };
                let mut arrived = &block[..length];
                if !partial.is_empty() {
                    partial.extend_from_slice(arrived);
                    arrived = partial;
                }
                let Some(head) = Head::parse(arrived) else {
                    connection.state = State::Head(arrived.to_vec());
                    return Ok(());
                };
                if !connection.open {
                    // Some grant tunnels in the words of HTTP/1.0. The server has not been asked, so that nothing follows yet.
                    let granted = matches!(head.first_line.get(..12), Some(b"HTTP/1.1 200" | b"HTTP/1.0 200"));
                    let alone = arrived.len() == head.length;
                    connection.open = true;
                    if let Some(tls) = &self.tls {
                        connection.channel.secure(tls.connection());
                    }
                    return if granted && alone { self.ask_next(connection) } else { Err(Over::Failed) };
                }
                let ok = head.first_line.starts_with(b"HTTP/1.1 200") && head.content_length == self.plan.body;
                let body = arrived.len() - head.length;
                if !ok || body > self.plan.body {
                    return Err(Over::Failed);
                }
                self.report.bytes += body as u64;
                self.body_left(connection, self.plan.body - body)
            }
            &mut State::Body(left) => {
                let expected = left.min(block.len());
                // TLS cannot be dropped in the kernel, and needs room for what it may find.
                let room = if self.plan.tls { block.len() } else { expected };
                let Some(length) = receive(&mut connection.channel, &mut block[..room], false)? else { return Ok(()) };
                if length > left {
                    return Err(Over::Failed);
                }
                self.report.bytes += length as u64;
                self.body_left(connection, left - length)
            }
        }
    }

    fn body_left(&mut self, connection: &mut Connection, left: usize) -> Result<(), Over> {
        if left > 0 {
            connection.state = State::Body(left);
            return Ok(());
        }
        let now = Instant::now();
        self.report.requests += 1;
        self.report.latency.record(now - connection.asked);
        if self.plan.close {
            return Err(Over::Served);
        }
        connection.asked = now;
        self.ask_next(connection)
    }

    fn ask_next(&mut self, connection: &mut Connection) -> Result<(), Over> {
        connection.state = State::Sending;
        self.ask(connection)?;
        match connection.state {
            State::Sending => Ok(self.poll.change(&connection.channel, Interest::OUT)?),
            _ => Ok(()),
        }
    }

    /// Sends the next request, or leaves the connection in `Sending`. A request is far smaller than any socket's
    /// buffer, so that one cut in two is a failure.
    fn ask(&mut self, connection: &mut Connection) -> Result<(), Over> {
        let request = match &self.connect {
            Some(connect) if !connection.open => connect,
            _ => &self.requests[self.next],
        };
        match connection.channel.send(request) {
            Ok(length) if length == request.len() => {}
            Ok(_) => return Err(Over::Failed),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(fault) => return Err(fault.into()),
        }
        self.next = (self.next + 1) % self.requests.len();
        connection.state = State::Head(Vec::new());
        Ok(())
    }
}

/// What came; none if that was nothing for us yet. The end of the stream is a failure: no request is ever outside its response here.
fn receive(channel: &mut Channel, block: &mut [u8], wanted: bool) -> Result<Option<usize>, Over> {
    match channel.receive(block, wanted) {
        Ok(0) => Err(Over::Failed),
        Ok(length) => Ok(Some(length)),
        Err(Errno::AGAIN) => Ok(None),
        Err(fault) => Err(fault.into()),
    }
}
