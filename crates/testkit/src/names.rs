//! A name server with answers that can change: enough of RFC 1035 and RFC 2782 for one question at a time, over UDP and,
//! for answers that UDP cuts off, over TCP.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;

use crate::wait::Shared;

/// A name server. Names that nothing was said of have the addresses that it was started with.
#[derive(Debug)]
pub struct Names {
    address: String,
    state: Arc<Shared<State>>,
}

/// An SRV record: priority, weight, port and target.
pub type Service<'a> = (u16, u16, u16, &'a str);

#[derive(Debug, Default)]
struct State {
    addresses: Vec<Ipv4Addr>,
    by_name: HashMap<(String, u16), Vec<Vec<u8>>>,
    ttl: u32,
    way: Way,
    asked: usize,
    asked_for_services: usize,
    asked_by_tcp: usize,
    closed: bool,
}

/// How questions are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// As one would expect.
    #[default]
    Plainly,
    /// With `SERVFAIL`.
    Failing,
    /// With `NXDOMAIN`.
    Denying,
    /// By UDP only with the hint that the answer is too long.
    Truncating,
}

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;

impl Names {
    /// A name server with these answers, to be believed for so many seconds.
    ///
    /// # Panics
    /// There is no free port.
    pub fn start(addresses: &[Ipv4Addr], ttl: u32) -> Names {
        let (socket, listener) = both_sockets().expect("a port that is free for UDP and TCP");
        let address = socket.local_addr().expect("a bound address").to_string();
        let state = Arc::new(Shared::new(State { addresses: addresses.to_vec(), ttl, ..State::default() }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            let mut packet = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                let Some(answer) = shared.with(|state| state.open(|state| state.answer(&packet[..length], false)))
                else {
                    return;
                };
                if let Some(answer) = answer {
                    // Whoever asked asks again if this is lost.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if shared.with(|state| state.closed) {
                    return;
                }
                let shared = Arc::clone(&shared);
                thread::spawn(move || converse(stream, &shared));
            }
        });
        Names { address, state }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Changes the addresses of all names of which nothing else was said.
    pub fn set(&self, addresses: &[Ipv4Addr]) {
        self.state.with(|state| state.addresses = addresses.to_vec());
    }

    /// Changes the addresses of one name.
    pub fn set_addresses(&self, name: &str, addresses: &[Ipv4Addr]) {
        self.say(name, A, addresses.iter().map(|address| address.octets().to_vec()).collect());
    }

    /// Changes the addresses of one name, of IPv6.
    pub fn set_addresses_6(&self, name: &str, addresses: &[Ipv6Addr]) {
        self.say(name, AAAA, addresses.iter().map(|address| address.octets().to_vec()).collect());
    }

    /// Changes the servers of a service.
    pub fn set_services(&self, name: &str, services: &[Service<'_>]) {
        let record = |(priority, weight, port, target): &Service<'_>| {
            let mut data = Vec::new();
            for number in [priority, weight, port] {
                data.extend_from_slice(&number.to_be_bytes());
            }
            for label in target.split('.').filter(|label| !label.is_empty()) {
                data.push(label.len() as u8);
                data.extend_from_slice(label.as_bytes());
            }
            data.push(0);
            data
        };
        self.say(name, SRV, services.iter().map(record).collect());
    }

    fn say(&self, name: &str, kind: u16, records: Vec<Vec<u8>>) {
        self.state.with(|state| state.by_name.insert((name.to_owned(), kind), records));
    }

    /// Changes how long answers may be believed.
    pub fn set_ttl(&self, ttl: u32) {
        self.state.with(|state| state.ttl = ttl);
    }

    /// Changes how questions are answered.
    pub fn set_way(&self, way: Way) {
        self.state.with(|state| state.way = way);
    }

    /// How often it was asked for addresses of IPv4.
    pub fn asked(&self) -> usize {
        self.state.with(|state| state.asked)
    }

    /// How often it was asked for services.
    pub fn asked_for_services(&self) -> usize {
        self.state.with(|state| state.asked_for_services)
    }

    /// How often it was asked over TCP.
    pub fn asked_by_tcp(&self) -> usize {
        self.state.with(|state| state.asked_by_tcp)
    }

    /// Waits until it was asked so often for addresses.
    ///
    /// # Panics
    /// It is asked less often.
    pub fn until_asked(&self, count: usize) {
        self.state.until("a question for a name", |state| (state.asked >= count).then_some(()));
    }

    /// Waits until it was asked so often for services.
    ///
    /// # Panics
    /// It is asked less often.
    pub fn until_asked_for_services(&self, count: usize) {
        self.state.until("a question for a service", |state| (state.asked_for_services >= count).then_some(()));
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.state.with(|state| state.closed = true);
        // A last packet wakes the one thread, a last connection the other.
        if let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
            let _ = socket.send_to(b"", &self.address);
        }
        drop(TcpStream::connect(&self.address));
    }
}

/// A port that is free for UDP may not be for TCP: then another is tried.
fn both_sockets() -> Option<(UdpSocket, TcpListener)> {
    (0..100).find_map(|_| {
        let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
        let listener = TcpListener::bind(socket.local_addr().ok()?).ok()?;
        Some((socket, listener))
    })
}

/// Answers questions on a connection, each behind its length, until the other side closes.
fn converse(mut stream: TcpStream, state: &Shared<State>) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut question).is_err() {
            return;
        }
        let Some(Some(answer)) = state.with(|state| state.open(|state| state.answer(&question, true))) else { return };
        let mut framed = (answer.len() as u16).to_be_bytes().to_vec();
        framed.extend_from_slice(&answer);
        if stream.write_all(&framed).is_err() {
            return;
        }
    }
}

impl State {
    /// What comes of it while the server lives.
    fn open<R>(&mut self, work: impl FnOnce(&mut State) -> R) -> Option<R> {
        if self.closed { None } else { Some(work(self)) }
    }

    fn answer(&mut self, question: &[u8], by_tcp: bool) -> Option<Vec<u8>> {
        let (name, end) = question_name(question)?;
        let kind = u16::from_be_bytes([question[end - 4], question[end - 3]]);
        self.asked += usize::from(kind == A);
        self.asked_for_services += usize::from(kind == SRV);
        self.asked_by_tcp += usize::from(by_tcp);
        let is_cut = self.way == Way::Truncating && !by_tcp;
        let code: u8 = match self.way {
            Way::Failing => 2,
            Way::Denying => 3,
            Way::Plainly | Way::Truncating => 0,
        };
        let records = if is_cut || code > 0 { Vec::new() } else { self.records(&name, kind) };
        let mut answer = question[..2].to_vec();
        // A response, authoritative, perhaps cut off, recursion desired and available; one question, so many answers.
        answer.extend_from_slice(&[
            0x85 | u8::from(is_cut) << 1,
            0x80 | code,
            0,
            1,
            0,
            records.len() as u8,
            0,
            0,
            0,
            0,
        ]);
        answer.extend_from_slice(&question[12..end]);
        for record in records {
            // The name of the question, its type, class IN.
            answer.extend_from_slice(&[0xc0, 12]);
            answer.extend_from_slice(&kind.to_be_bytes());
            answer.extend_from_slice(&[0, 1]);
            answer.extend_from_slice(&self.ttl.to_be_bytes());
            answer.extend_from_slice(&(record.len() as u16).to_be_bytes());
            answer.extend_from_slice(&record);
        }
        Some(answer)
    }

    fn records(&self, name: &str, kind: u16) -> Vec<Vec<u8>> {
        if let Some(said) = self.by_name.get(&(name.to_owned(), kind)) {
            return said.clone();
        }
        let is_unknown = ![A, AAAA, SRV].iter().any(|kind| self.by_name.contains_key(&(name.to_owned(), *kind)));
        let addresses = if kind == A && is_unknown { &self.addresses[..] } else { &[] };
        addresses.iter().map(|address| address.octets().to_vec()).collect()
    }
}

/// The name of the first question of a packet, in lower case, and where that question ends.
fn question_name(packet: &[u8]) -> Option<(String, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*packet.get(at)?);
        let label = packet.get(at + 1..at + 1 + length)?;
        at += length + 1;
        if length == 0 {
            return (packet.len() >= at + 4).then(|| (labels.join("."), at + 4));
        }
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
    }
}
