//! QUIC (RFC 9000) by quinn's state machine: connections with a socket each, as clients that have nothing to do with each other come.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, ConnectionHandle, DatagramEvent, EcnCodepoint, Endpoint, EndpointConfig, RandomConnectionIdGenerator,
    TransportConfig, VarInt,
};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::net::sockopt;

use crate::tls;

/// What all connections have in common.
pub struct Quic {
    client: ClientConfig,
    endpoint: Arc<EndpointConfig>,
    _warm: Option<Warm>,
}

/// Each state of a socket tries out on an IPv6 socket whether the kernel joins datagrams. The first such socket, and the end of the
/// last one, make the kernel rewrite its own code and interrupt every core for it, the proxy's, too: one that stays spares that.
type Warm = (UdpSocket, UdpSocketState);

pub struct Connection {
    socket: UdpSocket,
    state: UdpSocketState,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    to: SocketAddr,
    pub proto: quinn_proto::Connection,
}

/// Where datagrams lie on their way, one for all connections.
pub struct Room {
    received: Vec<u8>,
    sent: Vec<u8>,
}

/// How many reads a system call does, and how much each may bring: the kernel joins datagrams up to that.
const AT_ONCE: usize = 4;
const JOINED: usize = 64 * 1024;
/// Datagrams that one system call sends.
const SEGMENTS: usize = 16;
/// What the kernel may hold for a connection: nothing is to be lost here that a real network would not lose.
const BUFFERED: usize = 4 * 1024 * 1024;
/// What servers may send before they hear that it was read: about as much as browsers grant.
const STREAM_WINDOW: u32 = 6 * 1024 * 1024;
const WINDOW: u32 = 15 * 1024 * 1024;

impl Quic {
    /// The cryptography that TLS has here, too; no id of our own in packets, like most browsers.
    pub fn new(protocol: &[u8]) -> Self {
        let mut tls = tls::config();
        tls.alpn_protocols = vec![protocol.to_vec()];
        let mut client =
            ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("a suite for first packets")));
        let mut transport = TransportConfig::default();
        transport
            .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
            .receive_window(VarInt::from_u32(WINDOW))
            .max_idle_timeout(None)
            .mtu_discovery_config(None)
            .datagram_receive_buffer_size(None);
        client.transport_config(Arc::new(transport));
        let mut endpoint = EndpointConfig::default();
        endpoint.cid_generator(|| Box::new(RandomConnectionIdGenerator::new(0)));
        Self { client, endpoint: Arc::new(endpoint), _warm: warm().ok() }
    }

    /// Begins a connection. Its first packet goes out with the first flush.
    pub fn connect(&self, to: SocketAddr) -> io::Result<Connection> {
        let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(to)?;
        // Whoever may not do this has what the kernel gives to everybody.
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, BUFFERED);
        let state = UdpSocketState::new((&socket).into())?;
        let mut endpoint = Endpoint::new(Arc::clone(&self.endpoint), None, false, None);
        let begun = endpoint.connect(Instant::now(), self.client.clone(), to, tls::NAME);
        let (handle, proto) = begun.map_err(io::Error::other)?;
        Ok(Connection { socket, state, endpoint, handle, to, proto })
    }
}

impl Connection {
    /// Takes what one system call brings.
    pub fn receive(&mut self, now: Instant, room: &mut Room) -> io::Result<()> {
        let mut metas = [RecvMeta::default(); AT_ONCE];
        let mut rooms = room.received.chunks_mut(JOINED);
        let mut slices: [IoSliceMut<'_>; AT_ONCE] =
            std::array::from_fn(|_| IoSliceMut::new(rooms.next().unwrap_or_default()));
        let count = match self.state.recv((&self.socket).into(), &mut slices, &mut metas) {
            Ok(count) => count,
            Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(fault) => return Err(fault),
        };
        for (meta, received) in metas.iter().zip(room.received.chunks(JOINED)).take(count) {
            let mut joined = BytesMut::from(&received[..meta.len]);
            let ecn = meta.ecn.and_then(|bits| EcnCodepoint::from_bits(bits as u8));
            while !joined.is_empty() {
                let datagram = joined.split_to(meta.stride.clamp(1, joined.len()));
                room.sent.clear();
                let event = self.endpoint.handle(now, self.to, None, ecn, datagram, &mut room.sent);
                // Nothing else concerns a client: it answers nobody but its server.
                if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
                    self.proto.handle_event(event);
                }
            }
        }
        Ok(())
    }

    /// Looks at timers that are due.
    pub fn wake(&mut self, now: Instant) {
        if self.proto.poll_timeout().is_some_and(|due| due <= now) {
            self.proto.handle_timeout(now);
        }
    }

    /// Sends what there is to send. What the socket does not take is lost, as datagrams may be.
    pub fn flush(&mut self, now: Instant, room: &mut Room) -> io::Result<()> {
        while let Some(event) = self.proto.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.proto.handle_event(event);
            }
        }
        let segments = self.state.max_gso_segments().min(SEGMENTS);
        loop {
            room.sent.clear();
            let Some(transmit) = self.proto.poll_transmit(now, segments, &mut room.sent) else { return Ok(()) };
            let transmit = Transmit {
                destination: transmit.destination,
                ecn: transmit.ecn.and_then(|bits| quinn_udp::EcnCodepoint::from_bits(bits as u8)),
                contents: &room.sent[..transmit.size],
                segment_size: transmit.segment_size,
                src_ip: None,
            };
            match self.state.try_send((&self.socket).into(), &transmit) {
                Err(fault) if fault.kind() != io::ErrorKind::WouldBlock => return Err(fault),
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Says goodbye; the server need not wait for us.
    pub fn close(&mut self, now: Instant, code: u32, room: &mut Room) {
        self.proto.close(now, VarInt::from_u32(code), Bytes::new());
        // Whether it hears that is not our concern any more.
        let _ = self.flush(now, room);
    }
}

fn warm() -> io::Result<Warm> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    let state = UdpSocketState::new((&socket).into())?;
    Ok((socket, state))
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Room {
    pub fn new() -> Self {
        Self { received: vec![0; AT_ONCE * JOINED], sent: Vec::new() }
    }
}
