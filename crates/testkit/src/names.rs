//! A name server with answers that can change: enough of RFC 1035 for one question at a time over UDP.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::thread;

use crate::wait::Shared;

/// A name server that answers every question for addresses of IPv4 alike, and knows nothing else.
#[derive(Debug)]
pub struct Names {
    address: String,
    state: Arc<Shared<State>>,
}

#[derive(Debug)]
struct State {
    addresses: Vec<Ipv4Addr>,
    ttl: u32,
    asked: usize,
    closed: bool,
}

/// Type A.
const A: u16 = 1;

impl Names {
    /// A name server with these answers, to be believed for so many seconds.
    ///
    /// # Panics
    /// There is no free port.
    pub fn start(addresses: &[Ipv4Addr], ttl: u32) -> Names {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("a bound address").to_string();
        let state = State { addresses: addresses.to_vec(), ttl, asked: 0, closed: false };
        let state = Arc::new(Shared::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            let mut packet = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                let answer =
                    shared.with(|state| if state.closed { None } else { Some(state.answer(&packet[..length])) });
                let Some(answer) = answer else { return };
                if let Some(answer) = answer {
                    // Whoever asked asks again if this is lost.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Names { address, state }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Changes the answers.
    pub fn set(&self, addresses: &[Ipv4Addr]) {
        self.state.with(|state| state.addresses = addresses.to_vec());
    }

    /// How often it was asked for addresses of IPv4.
    pub fn asked(&self) -> usize {
        self.state.with(|state| state.asked)
    }

    /// Waits until it was asked so often.
    ///
    /// # Panics
    /// It is asked less often.
    pub fn until_asked(&self, count: usize) {
        self.state.until("a question for a name", |state| (state.asked >= count).then_some(()));
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.state.with(|state| state.closed = true);
        // A last packet wakes the thread.
        if let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
            let _ = socket.send_to(b"", &self.address);
        }
    }
}

impl State {
    fn answer(&mut self, question: &[u8]) -> Option<Vec<u8>> {
        let end = question_end(question)?;
        let kind = u16::from_be_bytes([question[end - 4], question[end - 3]]);
        let addresses = if kind == A { &self.addresses[..] } else { &[] };
        self.asked += usize::from(kind == A);
        let mut answer = question[..2].to_vec();
        // A response, authoritative, recursion desired and available; one question, so many answers.
        answer.extend_from_slice(&[0x85, 0x80, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
        answer.extend_from_slice(&question[12..end]);
        for address in addresses {
            // The name of the question, type A, class IN.
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
            answer.extend_from_slice(&self.ttl.to_be_bytes());
            answer.extend_from_slice(&[0, 4]);
            answer.extend_from_slice(&address.octets());
        }
        Some(answer)
    }
}

/// Where the first question of a packet ends.
fn question_end(packet: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        let label = usize::from(*packet.get(at)?);
        at += label + 1;
        if label == 0 {
            return (packet.len() >= at + 4).then_some(at + 4);
        }
    }
}
