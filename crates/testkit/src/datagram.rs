//! Clients and servers of UDP, and a translator of addresses that forgets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

use crate::wait::{PATIENCE, Shared, Signal};

/// A server that answers each datagram by what a closure makes of it. It is gone when this is dropped: then its port refuses.
#[derive(Debug)]
pub struct Answering {
    address: String,
    seen: Arc<Shared<Vec<Seen>>>,
    end: Ending,
}

/// A datagram that a server has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who has sent it.
    pub from: SocketAddr,
    /// What it is.
    pub bytes: Vec<u8>,
}

/// A client with a socket of its own.
#[derive(Debug)]
pub struct Asking {
    /// The socket; it is connected to whom it asks.
    pub socket: UdpSocket,
}

/// A translator of addresses, as in a home: its clients come from a port of its own, and from another one after it has forgotten.
#[derive(Debug)]
pub struct Translator {
    address: String,
    outside: Arc<Shared<UdpSocket>>,
    to: SocketAddr,
    _end: Ending,
}

/// How a thread that waits for datagrams ends: it is asked to, and looks up from time to time.
#[derive(Debug)]
struct Ending {
    asked: Signal,
    thread: Option<thread::JoinHandle<()>>,
}

/// How often such a thread looks up.
const LOOKS_UP: Duration = Duration::from_millis(50);

/// The longest datagram, and a little more.
const ROOM: usize = 65_536;

/// Sends a datagram to an address of IPv4 that comes from port 0, where nobody is. It takes root.
///
/// # Panics
/// The kernel does not take it.
pub fn say_from_port_0(to: &str, bytes: &[u8]) {
    let to: SocketAddrV4 = to.parse().expect("an address of IPv4");
    let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::UDP)).expect("a raw socket");
    let length = u16::try_from(8 + bytes.len()).expect("a datagram");
    let head = [0, to.port(), length, 0].map(u16::to_be_bytes).concat();
    sendto(socket, &[&head, bytes].concat(), SendFlags::empty(), &to).expect("sent");
}

/// From now on others of the same user may bind the address of a socket.
///
/// # Panics
/// The kernel knows no such thing.
pub fn share(socket: &UdpSocket) {
    rustix::net::sockopt::set_socket_reuseport(socket, true).expect("an option");
}

impl Answering {
    /// A server on this machine.
    ///
    /// # Panics
    /// There is no port.
    pub fn start(answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Answering {
        Answering::at("127.0.0.1:0", answer)
    }

    /// A server at this address.
    ///
    /// # Panics
    /// It is taken.
    pub fn at(address: &str, answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Answering {
        Answering::on(UdpSocket::bind(address).expect("a free port"), answer)
    }

    /// A server on this machine, and somebody who listens on the same port of TCP: it sends back its name, a space and what it was
    /// sent.
    ///
    /// # Panics
    /// There is no port that is free for both.
    pub fn beside_tcp(name: &'static str) -> (Answering, TcpListener) {
        let free = || {
            let listener = TcpListener::bind("127.0.0.1:0").ok()?;
            let socket = UdpSocket::bind(listener.local_addr().ok()?).ok()?;
            Some((socket, listener))
        };
        let (socket, listener) = (0..100).find_map(|_| free()).expect("a port that is free for both");
        (Answering::on(socket, naming(name)), listener)
    }

    fn on(socket: UdpSocket, mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Answering {
        socket.set_read_timeout(Some(LOOKS_UP)).expect("a timeout");
        let address = socket.local_addr().expect("an address");
        let (seen, asked) = (Arc::new(Shared::new(Vec::new())), Signal::new());
        let (shared, end) = (Arc::clone(&seen), asked.clone());
        let thread = thread::spawn(move || {
            let mut room = vec![0; ROOM];
            while !end.is_raised() {
                let Ok((length, from)) = socket.recv_from(&mut room) else { continue };
                let bytes = room[..length].to_vec();
                let answers = answer(&bytes);
                shared.with(|seen| seen.push(Seen { from, bytes }));
                for answer in answers {
                    // A client that is gone says so; that is its business.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        let end = Ending { asked, thread: Some(thread) };
        Answering { address: address.to_string(), seen, end }
    }

    /// A server that sends back its name, a space and what it was sent.
    pub fn named(name: &'static str) -> Answering {
        Answering::start(naming(name))
    }

    /// A server that sends everything back as it came.
    pub fn echo() -> Answering {
        Answering::start(|bytes| vec![bytes.to_vec()])
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it has seen so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.with(|seen| seen.clone())
    }

    /// Waits until it has seen so many.
    ///
    /// # Panics
    /// It does not.
    pub fn until_seen(&self, count: usize) -> Vec<Seen> {
        self.seen.until("datagrams", |seen| (seen.len() >= count).then(|| seen.clone()))
    }

    /// It is gone, and its port with it.
    pub fn kill(mut self) {
        self.end.end();
    }
}

impl Asking {
    /// A client of this address.
    ///
    /// # Panics
    /// There is no port.
    pub fn to(address: &str) -> Asking {
        Asking::from(Ipv4Addr::LOCALHOST.into(), address)
    }

    /// A client that comes from an address.
    ///
    /// # Panics
    /// It is not this machine's.
    pub fn from(from: IpAddr, address: &str) -> Asking {
        let socket = UdpSocket::bind((from, 0)).expect("a port");
        socket.connect(address).expect("an address");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Asking { socket }
    }

    /// Sends.
    ///
    /// # Panics
    /// The kernel does not take it.
    pub fn say(&self, bytes: impl AsRef<[u8]>) {
        self.socket.send(bytes.as_ref()).expect("sent");
    }

    /// Waits for a datagram.
    ///
    /// # Panics
    /// None comes.
    pub fn hear(&self) -> Vec<u8> {
        let mut room = vec![0; ROOM];
        let length = self.socket.recv(&mut room).expect("a datagram");
        room.truncate(length);
        room
    }

    /// The same, as text.
    ///
    /// # Panics
    /// None comes, or it is no text.
    pub fn hear_text(&self) -> String {
        String::from_utf8(self.hear()).expect("text")
    }

    /// Sends and waits for an answer.
    ///
    /// # Panics
    /// None comes.
    pub fn ask(&self, bytes: impl AsRef<[u8]>) -> String {
        self.say(bytes);
        self.hear_text()
    }

    /// Sends until an answer comes, as clients do that know that datagrams are lost now and then.
    ///
    /// # Panics
    /// None comes.
    pub fn insist(&self, bytes: impl AsRef<[u8]>) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut room = vec![0; ROOM];
        self.socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        let length = loop {
            self.say(&bytes);
            match self.socket.recv(&mut room) {
                Ok(length) => break length,
                Err(_) => assert!(Instant::now() < deadline, "no answer has come"),
            }
        };
        self.socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        room.truncate(length);
        String::from_utf8(room).expect("text")
    }

    /// Whether anything is there now.
    ///
    /// # Panics
    /// The socket is broken.
    pub fn has_heard(&self) -> bool {
        self.socket.set_nonblocking(true).expect("an option");
        let heard = self.socket.peek(&mut [0]).is_ok();
        self.socket.set_nonblocking(false).expect("an option");
        heard
    }
}

impl Translator {
    /// One in front of this address.
    ///
    /// # Panics
    /// There is no port.
    pub fn to(address: &str) -> Translator {
        let to: SocketAddr = address.parse().expect("an address");
        let inside = UdpSocket::bind("127.0.0.1:0").expect("a port");
        inside.set_read_timeout(Some(LOOKS_UP)).expect("a timeout");
        let address = inside.local_addr().expect("an address");
        let (outside, asked) = (Arc::new(Shared::new(new_outside(to))), Signal::new());
        let client = Arc::new(Shared::new(None));
        let (shared, end) = (Arc::clone(&outside), asked.clone());
        let thread = thread::spawn(move || {
            let back = inside.try_clone().expect("a handle");
            let mut current = None::<(SocketAddr, UdpSocket)>;
            let mut room = vec![0; ROOM];
            while !end.is_raised() {
                let Ok((length, from)) = inside.recv_from(&mut room) else { continue };
                client.with(|client| *client = Some(from));
                let socket = shared.with(|socket| socket.try_clone().expect("a handle"));
                let at = socket.local_addr().expect("an address");
                if current.as_ref().is_none_or(|(known, _)| *known != at) {
                    // Answers to the port of before go on being passed: a translator that is sent something still may.
                    pass_back(&socket, &back, &client, &end);
                    current = Some((at, socket.try_clone().expect("a handle")));
                }
                let _ = socket.send(&room[..length]);
            }
        });
        let end = Ending { asked, thread: Some(thread) };
        Translator { address: address.to_string(), outside, to, _end: end }
    }

    /// Where its clients find it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on its clients come from another port.
    pub fn forget(&self) {
        let to = self.to;
        self.outside.with(|socket| *socket = new_outside(to));
    }

    /// From which port its clients come.
    ///
    /// # Panics
    /// The socket is broken.
    pub fn port(&self) -> u16 {
        self.outside.with(|socket| socket.local_addr().expect("an address").port())
    }
}

fn naming(name: &'static str) -> impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static {
    move |bytes| vec![[name.as_bytes(), b" ", bytes].concat()]
}

fn new_outside(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(to).expect("an address");
    socket.set_read_timeout(Some(LOOKS_UP)).expect("a timeout");
    socket
}

fn pass_back(socket: &UdpSocket, back: &UdpSocket, client: &Arc<Shared<Option<SocketAddr>>>, end: &Signal) {
    let (socket, back) = (socket.try_clone().expect("a handle"), back.try_clone().expect("a handle"));
    let (client, end) = (Arc::clone(client), end.clone());
    thread::spawn(move || {
        let mut room = vec![0; ROOM];
        while !end.is_raised() {
            if let (Ok(length), Some(to)) = (socket.recv(&mut room), client.with(|client| *client)) {
                let _ = back.send_to(&room[..length], to);
            }
        }
    });
}

impl Ending {
    fn end(&mut self) {
        self.asked.raise();
        if let Some(thread) = self.thread.take() {
            // If it has failed, so has its test.
            let _ = thread.join();
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.end();
    }
}
