//! UDP sockets: one a worker on one address, and the way of a datagram to the worker whose connection it is for.
//!
//! The kernel chooses the socket by the id that a datagram is for, where it lets us tell it so ([`steering`]); else by the
//! addresses of both ends. Then a client whose address changes (a phone that leaves its Wi-Fi, a translator that forgets) lands on another
//! worker in the middle of its connection, and is handed over. So is whatever else comes to the wrong worker.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use quinn_proto::EcnCodepoint;
use quinn_udp::{RecvMeta, Transmit};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::io::{Interest, Ready};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::ids::Seal;
use super::steering;
use crate::datagram::{self, Socket, receive};

/// One worker's socket of an address, which belongs to no runtime yet.
#[derive(Debug)]
pub struct Bound {
    socket: std::net::UdpSocket,
    pub(super) worker: u16,
    pub(super) shared: Arc<Shared>,
    pub(super) handed: Receiver<Datagram>,
}

/// What the workers of one address have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) seal: Arc<Seal>,
    /// Signs stateless resets and address tokens: one worker's token is good at another's.
    pub(super) secret: [u8; 64],
    peers: Vec<Sender<Datagram>>,
}

/// A datagram as it came.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) remote: SocketAddr,
    pub(super) local_ip: Option<IpAddr>,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) bytes: BytesMut,
}

/// A socket of the runtime.
#[derive(Debug)]
pub(super) struct Attached(Socket);

/// Watches for what the kernel is told of the way to a server. Whoever waits for datagrams is not woken by that.
pub(super) struct Watch {
    socket: Rc<UdpSocket>,
    waiting: Pin<Box<dyn Future<Output = io::Result<Ready>>>>,
}

/// Datagrams that wait for a worker to take them over from another; more are lost, as datagrams may be.
const HANDED: usize = 512;
/// The largest datagram that is handed over: more than we tell clients that we take.
const LARGEST: usize = 2048;
/// How many reads a system call does at most, and how much each may bring: the kernel joins datagrams of one sender up to that.
const AT_ONCE: usize = 4;
const JOINED: usize = 64 * 1024;
/// Room for all that a system call brings.
pub(super) const ROOM: usize = AT_ONCE * JOINED;
/// The least room for what a system call brings.
pub const LEAST_ROOM: usize = JOINED;

/// Binds a socket for each of `count` workers to one address, and has the kernel choose by connection ids if it can. Where others of this
/// process are bound there still (`shared`), it chooses by addresses again, as for anybody: whose ids are whose is known to us alone.
///
/// # Errors
/// What the kernel says; nothing stays bound then.
pub fn bind(address: SocketAddr, count: usize, shared: bool) -> io::Result<Vec<Bound>> {
    let bound = bind_unsteered(address, count)?;
    // Where that is not to be had (a sandbox that knows no such option), we hand over.
    let _ = match &bound[..] {
        [first, ..] if shared => steering::leave(&first.socket),
        [first, _, ..] => steering::steer(&first.socket, first.shared.workers()),
        _ => Ok(()),
    };
    Ok(bound)
}

/// The same, with the kernel's own choice.
pub(super) fn bind_unsteered(address: SocketAddr, count: usize) -> io::Result<Vec<Bound>> {
    let mut random = [0; 84];
    getrandom(&mut random, GetRandomFlags::empty())?;
    let (key, rest) = random.split_at(16);
    let (generation, secret) = rest.split_at(4);
    let key = key.try_into().unwrap_or([0; 16]);
    let generation = u32::from_be_bytes(generation.try_into().unwrap_or_default());
    let seal = Seal::new(&key, generation).map_err(|_| io::Error::other("no key for connection ids"))?;
    let secret = secret.try_into().unwrap_or([0; 64]);
    let (peers, inboxes): (Vec<_>, Vec<_>) = (0..count).map(|_| channel(HANDED)).unzip();
    let shared = Arc::new(Shared { seal: Arc::new(seal), secret, peers });
    let mut bound = Vec::with_capacity(count);
    for (worker, handed) in (0..).zip(inboxes) {
        bound.push(Bound {
            socket: datagram::shared(address, crate::listen::Terms::default())?,
            worker,
            shared: Arc::clone(&shared),
            handed,
        });
    }
    Ok(bound)
}

/// A socket that speaks with one server alone.
pub(super) fn towards(server: SocketAddr) -> io::Result<std::net::UdpSocket> {
    datagram::connected(server, |socket| {
        datagram::buffer(socket);
        Ok(())
    })
}

impl Bound {
    pub(super) fn split(self) -> (std::net::UdpSocket, u16, Arc<Shared>, Receiver<Datagram>) {
        (self.socket, self.worker, self.shared, self.handed)
    }
}

impl Shared {
    /// How many workers have sockets of the address.
    pub(super) fn workers(&self) -> u16 {
        u16::try_from(self.peers.len()).unwrap_or(u16::MAX)
    }

    /// Gives a datagram to the worker whose connection it is for; it is lost if that one does not keep up, which the answer says.
    pub(super) fn hand_over(&self, worker: u16, datagram: Datagram) -> bool {
        datagram.bytes.len() <= LARGEST
            && self.peers.get(usize::from(worker)).is_some_and(|peer| peer.try_send(datagram).is_ok())
    }

    /// Whether a datagram may be for another worker.
    pub(super) fn is_alone(&self) -> bool {
        self.peers.len() == 1
    }
}

impl Watch {
    fn of(socket: Rc<UdpSocket>) -> Watch {
        let watched = Rc::clone(&socket);
        Watch { socket, waiting: Box::pin(async move { watched.ready(Interest::ERROR).await }) }
    }

    /// Waits for an error, and takes it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            if ready!(self.waiting.as_mut().poll(cx)).is_err() {
                // The runtime is no more.
                return Poll::Pending;
            }
            let error = self.socket.take_error();
            // There is none any more: the next one is waited for.
            let _: io::Result<()> = self.socket.try_io(Interest::ERROR, || Err(io::ErrorKind::WouldBlock.into()));
            *self = Watch::of(Rc::clone(&self.socket));
            if let Ok(Some(error)) = error {
                return Poll::Ready(error);
            }
        }
    }
}

impl Attached {
    /// Registers a socket with the runtime of the thread that calls.
    pub(super) fn of(socket: std::net::UdpSocket) -> io::Result<Attached> {
        Socket::of(socket).map(Attached)
    }

    /// Receives what is there, one system call's worth, into room for at least [`LEAST_ROOM`].
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        into: &mut [u8],
        mut each: impl FnMut(Datagram),
    ) -> Poll<io::Result<()>> {
        debug_assert!(into.len() >= LEAST_ROOM);
        let state = &self.0.state;
        let joined = if state.gro_segments() > 1 { JOINED } else { LARGEST };
        let at_once = (into.len() / joined).min(AT_ONCE);
        let mut metas = [RecvMeta::default(); AT_ONCE];
        let metas = &mut metas[..at_once];
        let count = ready!(self.0.poll_read(cx, |socket| {
            let count = receive(socket.into(), state, (&mut *into, joined), metas)?;
            Ok((count, count < at_once))
        }))?;
        for (meta, room) in metas.iter().zip(into.chunks(joined)).take(count) {
            let mut bytes = BytesMut::from(&room[..meta.len]);
            while !bytes.is_empty() {
                let one = bytes.split_to(meta.stride.clamp(1, bytes.len()));
                let ecn = meta.ecn.and_then(|bits| EcnCodepoint::from_bits(bits as u8));
                each(Datagram { remote: meta.addr, local_ip: meta.dst_ip, ecn, bytes: one });
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends; pending if the socket takes nothing now. What cannot be sent at all is lost, as datagrams may be.
    ///
    /// # Errors
    /// Why it is lost; or what the kernel was told of a datagram before it.
    pub(super) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        how: &quinn_proto::Transmit,
        contents: &[u8],
    ) -> Poll<io::Result<()>> {
        self.0.poll_send(
            cx,
            &Transmit {
                destination: how.destination,
                ecn: how.ecn.and_then(|bits| quinn_udp::EcnCodepoint::from_bits(bits as u8)),
                contents,
                segment_size: how.segment_size,
                src_ip: how.src_ip,
            },
        )
    }

    /// What watches for errors of this socket.
    pub(super) fn watch(&self) -> Watch {
        Watch::of(Rc::clone(&self.0.socket))
    }

    /// How many datagrams one send may carry.
    pub(super) fn most_segments(&self) -> usize {
        self.0.state.max_gso_segments()
    }

    /// Whether larger datagrams may be tried on the path.
    pub(super) fn may_probe(&self) -> bool {
        !self.0.state.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use quinn_proto::ConnectionIdGenerator as _;

    use super::super::ids::Ids;
    use super::*;

    const WORKERS: u16 = 4;
    const SENDERS: usize = 32;

    /// How many datagrams to the first worker's connections have come to each worker's socket, from clients at many addresses.
    fn arrivals(bound: &[Bound], long: bool) -> Vec<usize> {
        let to = bound[0].socket.local_addr().expect("an address");
        let mut ids = Ids::new(Arc::clone(&bound[0].shared.seal), 0, WORKERS);
        for _ in 0..SENDERS {
            let id = ids.generate_cid();
            let first: &[u8] = if long { &[0xe0, 0, 0, 0, 1, 16] } else { &[0x40] };
            let sender = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
            sender.send_to(&[first, &id, &[0; 30]].concat(), to).expect("sent");
        }
        // The loopback delivers before it returns.
        let count = |socket: &std::net::UdpSocket| (0..).take_while(|_| socket.recv(&mut [0; 64]).is_ok()).count();
        bound.iter().map(|bound| count(&bound.socket)).collect()
    }

    #[test]
    fn the_kernel_takes_datagrams_to_their_worker() {
        let bound = bind("127.0.0.1:0".parse().expect("an address"), 1, false).expect("bound");
        let address = bound[0].socket.local_addr().expect("an address");
        drop(bound);
        let bound = bind(address, usize::from(WORKERS), false).expect("bound");
        for long in [false, true] {
            assert_eq!(arrivals(&bound, long), [SENDERS, 0, 0, 0], "long headers: {long}");
        }
    }

    #[test]
    fn others_at_the_address_have_their_share() {
        let first = bind("127.0.0.1:0".parse().expect("an address"), 1, false).expect("bound");
        let address = first[0].socket.local_addr().expect("an address");
        drop(first);
        let old = bind(address, usize::from(WORKERS), false).expect("bound");
        let new = bind(address, usize::from(WORKERS), true).expect("bound");
        let all: Vec<Bound> = old.into_iter().chain(new).collect();
        let arrived = arrivals(&all, false);
        assert_eq!(arrived.iter().sum::<usize>(), SENDERS);
        assert!(arrived[usize::from(WORKERS)..].iter().sum::<usize>() > 0, "{arrived:?}");
    }

    #[test]
    fn without_steering_they_come_to_anybody() {
        let bound = bind("127.0.0.1:0".parse().expect("an address"), 1, false).expect("bound");
        let address = bound[0].socket.local_addr().expect("an address");
        drop(bound);
        let bound = bind_unsteered(address, usize::from(WORKERS)).expect("bound");
        let arrived = arrivals(&bound, false);
        assert_eq!(arrived.iter().sum::<usize>(), SENDERS);
        assert!(arrived[0] < SENDERS, "{arrived:?}");
    }
}
