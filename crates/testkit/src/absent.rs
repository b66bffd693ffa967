//! Addresses where no server answers, each in its own way.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};

/// An address that refuses connections for as long as this lives: nobody else can be given its port.
#[derive(Debug)]
pub struct Refusing {
    address: String,
    socket: OwnedFd,
}

/// An address where connections hang: its queue is full, and nobody accepts.
#[derive(Debug)]
pub struct Hanging {
    address: String,
    _socket: OwnedFd,
    _queue: Vec<TcpStream>,
}

/// An address where datagrams are refused for as long as this lives: nobody else can be given its port.
#[derive(Debug)]
pub struct Unheard {
    address: String,
    _socket: UdpSocket,
}

/// An address where datagrams are taken and nothing is said.
#[derive(Debug)]
pub struct Deaf {
    address: String,
    _socket: UdpSocket,
}

impl Unheard {
    /// A new one.
    ///
    /// # Panics
    /// There is no free port.
    #[expect(clippy::new_without_default, reason = "it takes a port")]
    pub fn new() -> Unheard {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("a bound address").to_string();
        // Who speaks with one peer alone does not exist for others.
        socket.connect(&address).expect("an address");
        Unheard { address, _socket: socket }
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Deaf {
    /// A new one.
    ///
    /// # Panics
    /// There is no free port.
    #[expect(clippy::new_without_default, reason = "it takes a port")]
    pub fn new() -> Deaf {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        Deaf { address: socket.local_addr().expect("a bound address").to_string(), _socket: socket }
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Refusing {
    /// A new one.
    ///
    /// # Panics
    /// There is no free port.
    #[expect(clippy::new_without_default, reason = "it takes a port")]
    pub fn new() -> Refusing {
        let (socket, address) = bound();
        Refusing { address: address.to_string(), socket }
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on it listens.
    pub(crate) fn into_listener(self) -> TcpListener {
        listen(&self.socket, 128).expect("a listening socket");
        TcpListener::from(self.socket)
    }
}

impl Hanging {
    /// A new one.
    ///
    /// # Panics
    /// There is no free port, or its queue does not fill up.
    #[expect(clippy::new_without_default, reason = "it takes a port")]
    pub fn new() -> Hanging {
        let (socket, address) = bound();
        listen(&socket, 0).expect("a listening socket");
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            queue.push(stream);
            assert!(queue.len() < 100, "a queue of length 0 does not fill up");
        }
        Hanging { address: address.to_string(), _socket: socket, _queue: queue }
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }
}

fn bound() -> (OwnedFd, SocketAddr) {
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&fd, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = getsockname(&fd).ok().and_then(|address| SocketAddr::try_from(address).ok());
    (fd, address.expect("a bound address"))
}
