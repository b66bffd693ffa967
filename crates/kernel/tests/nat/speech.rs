//! What servers and clients say to each other: a line is asked, a line is answered, and bulk goes either way with a sum.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use testkit::{Netns, PATIENCE};

/// Serves TCP and UDP at an address, under a name, for as long as the test runs.
pub(crate) fn serve(netns: &Netns, address: SocketAddr, name: &str) {
    let name = name.to_owned();
    let (listener, socket) = netns.enter(|| {
        let listener = TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        (listener, UdpSocket::bind(address).unwrap_or_else(|error| panic!("{address}: {error}")))
    });
    let named = name.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let name = named.clone();
            thread::spawn(move || answer(stream, &name));
        }
    });
    thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let sum = sum_of(&buffer[..length]);
            let _ = socket.send_to(format!("{name} {peer} {length} {sum}").as_bytes(), peer);
        }
    });
}

fn answer(stream: TcpStream, name: &str) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let peer = stream.peer_addr().ok()?;
    let mut out = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let (verb, count) = line.trim().split_once(' ').unwrap_or((line.trim(), "0"));
        let count = count.parse().unwrap_or(0);
        match verb {
            "put" => {
                let mut bytes = vec![0; count];
                lines.read_exact(&mut bytes).ok()?;
                out.write_all(format!("{}\n", sum_of(&bytes)).as_bytes()).ok()?;
            }
            "get" => out.write_all(&bulk(count)).ok()?,
            _ => out.write_all(format!("{name} {peer} {}\n", line.trim()).as_bytes()).ok()?,
        }
    }
}

/// A connection of a client.
#[derive(Debug)]
pub(crate) struct Talk {
    out: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Talk {
    pub(crate) fn to(netns: &Netns, address: SocketAddr) -> Talk {
        Talk::try_to(netns, address, PATIENCE).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    pub(crate) fn try_to(netns: &Netns, address: SocketAddr, patience: Duration) -> std::io::Result<Talk> {
        let out = netns.enter(|| TcpStream::connect_timeout(&address, patience))?;
        out.set_nodelay(true)?;
        out.set_read_timeout(Some(PATIENCE))?;
        Ok(Talk { lines: BufReader::new(out.try_clone()?), out })
    }

    /// The answer to a line: the server's name, whom it sees, and the line.
    pub(crate) fn ask(&mut self, line: &str) -> Said {
        self.try_ask(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    pub(crate) fn try_ask(&mut self, line: &str) -> std::io::Result<Said> {
        // In one piece: two would wait for each other (Nagle).
        self.out.write_all(format!("{line}\n").as_bytes())?;
        let mut answer = String::new();
        self.lines.read_line(&mut answer)?;
        Said::read(&answer).ok_or_else(|| std::io::Error::other(format!("an odd answer: {answer:?}")))
    }

    /// Sends and receives so much, and every byte arrives.
    pub(crate) fn bulk(&mut self, count: usize) {
        self.out.write_all(format!("put {count}\n").as_bytes()).expect("it is sent");
        self.out.write_all(&bulk(count)).expect("it is sent");
        let mut answer = String::new();
        self.lines.read_line(&mut answer).expect("an answer");
        assert_eq!(answer.trim(), sum_of(&bulk(count)).to_string(), "upwards");
        self.out.write_all(format!("get {count}\n").as_bytes()).expect("it is sent");
        let mut bytes = vec![0; count];
        self.lines.read_exact(&mut bytes).expect("all of it");
        assert_eq!(sum_of(&bytes), sum_of(&bulk(count)), "downwards");
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.out.local_addr().expect("an address")
    }
}

/// What a server has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) server: String,
    /// Whom it saw.
    pub(crate) peer: SocketAddr,
    pub(crate) rest: String,
}

impl Said {
    fn read(line: &str) -> Option<Said> {
        let mut words = line.trim_end().splitn(3, ' ');
        let (server, peer) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        Some(Said { server, peer, rest: words.next().unwrap_or_default().to_owned() })
    }
}

/// A socket of a client, bound to nothing but its namespace.
pub(crate) fn datagrams(netns: &Netns, address: SocketAddr) -> UdpSocket {
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = netns.enter(|| UdpSocket::bind(any)).expect("a socket");
    socket.connect(address).expect("an address");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

/// The answer to a datagram of so many bytes, whose sum must be right.
pub(crate) fn datagram(socket: &UdpSocket, length: usize) -> Said {
    let bytes = bulk(length);
    socket.send(&bytes).expect("it is sent");
    let mut buffer = [0; 1500];
    let length = socket.recv(&mut buffer).expect("an answer");
    let said = Said::read(&String::from_utf8_lossy(&buffer[..length])).expect("an answer of ours");
    assert_eq!(said.rest, format!("{} {}", bytes.len(), sum_of(&bytes)));
    said
}

/// Bytes that tell where they belong.
fn bulk(count: usize) -> Vec<u8> {
    (0..count as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

fn sum_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
