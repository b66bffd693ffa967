//! Questions and answers in single datagrams, as names are asked for: a server, and a client with a fixed number of flows, each with
//! exactly one question under way.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::poll::{Interest, Poll};
use crate::report::Report;

pub struct Plan {
    pub to: SocketAddr,
    /// The length of every answer.
    pub body: usize,
    pub flows: usize,
    pub seconds: f64,
}

/// The length of a question: about that of one for a name.
const QUESTION: usize = 40;
/// Its number, with which its answer begins.
const NUMBER: usize = 4;
/// When an answer is taken for lost, and how often that is looked at.
const PATIENCE: Duration = Duration::from_millis(200);
const LOOKS: Duration = Duration::from_millis(50);

struct Flow {
    socket: UdpSocket,
    number: u32,
    asked: Instant,
}

/// Answers every datagram by one of so many bytes that begins with the same number.
pub fn serve(bind: SocketAddr, body: usize) -> std::io::Result<()> {
    let socket = UdpSocket::bind(bind)?;
    let (mut room, mut answer) = ([0; 2048], vec![b'x'; body.max(NUMBER)]);
    loop {
        let (length, from) = match socket.recv_from(&mut room) {
            Ok(received) => received,
            Err(_) => continue,
        };
        if length >= NUMBER {
            answer[..NUMBER].copy_from_slice(&room[..NUMBER]);
            // Whoever is gone does not wait.
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// The floor: each client's datagrams go on from a socket of their own, and what comes back there goes back. Two receives and two sends a
/// question, and nothing between them; nobody is forgotten.
pub fn relay(bind: SocketAddr, to: SocketAddr) -> std::io::Result<()> {
    let door = UdpSocket::bind(bind)?;
    door.set_nonblocking(true)?;
    let mut poll = Poll::new()?;
    poll.add(&door, Interest::IN)?;
    let (mut of_client, mut ways) =
        (HashMap::<SocketAddr, usize>::new(), HashMap::<usize, (UdpSocket, SocketAddr)>::new());
    let (mut room, mut ready) = ([0; 2048], Vec::new());
    loop {
        poll.wait(&mut ready, None)?;
        for &fd in &ready {
            if let Some((server, client)) = ways.get(&fd) {
                if let Ok(length) = server.recv(&mut room) {
                    // What is not taken is lost, and so it is below.
                    let _ = door.send_to(&room[..length], client);
                }
                continue;
            }
            while let Ok((length, client)) = door.recv_from(&mut room) {
                let number = match of_client.get(&client) {
                    Some(number) => *number,
                    None => {
                        let server = UdpSocket::bind("127.0.0.1:0")?;
                        server.connect(to)?;
                        server.set_nonblocking(true)?;
                        poll.add(&server, Interest::IN)?;
                        let number = server.as_raw_fd() as usize;
                        of_client.insert(client, number);
                        ways.insert(number, (server, client));
                        number
                    }
                };
                if let Some((server, _)) = ways.get(&number) {
                    let _ = server.send(&room[..length]);
                }
            }
        }
    }
}

/// Asks without pause for so many seconds.
pub fn run(plan: &Plan) -> std::io::Result<Report> {
    let (mut poll, mut report) = (Poll::new()?, Report::new());
    let mut flows: Vec<Option<Flow>> = Vec::new();
    let start = Instant::now();
    for _ in 0..plan.flows {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(plan.to)?;
        socket.set_nonblocking(true)?;
        poll.add(&socket, Interest::IN)?;
        let (fd, mut flow) = (socket.as_raw_fd() as usize, Flow { socket, number: 0, asked: start });
        flow.ask();
        flows.resize_with(flows.len().max(fd + 1), || None);
        flows[fd] = Some(flow);
    }
    let end = start + Duration::from_secs_f64(plan.seconds);
    let (mut ready, mut room, mut looked) = (Vec::new(), vec![0; 65_536], start);
    loop {
        let now = Instant::now();
        if now >= end {
            return Ok(report.end(now - start));
        }
        if now - looked > LOOKS {
            looked = now;
            for flow in flows.iter_mut().flatten().filter(|flow| now - flow.asked > PATIENCE) {
                report.errors += 1;
                flow.ask();
            }
        }
        poll.wait(&mut ready, Some(LOOKS.min(end - now)))?;
        for &fd in &ready {
            let Some(flow) = flows.get_mut(fd).and_then(Option::as_mut) else { continue };
            match flow.socket.recv(&mut room) {
                Ok(length) if length == plan.body.max(NUMBER) && room[..NUMBER] == flow.number.to_be_bytes() => {
                    report.requests += 1;
                    report.bytes += length as u64;
                    report.latency.record(flow.asked.elapsed());
                    flow.ask();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Also an answer to a question that was given up.
                _ => report.errors += 1,
            }
        }
    }
}

impl Flow {
    fn ask(&mut self) {
        self.number = self.number.wrapping_add(1);
        self.asked = Instant::now();
        let mut question = [b'q'; QUESTION];
        question[..NUMBER].copy_from_slice(&self.number.to_be_bytes());
        // What is not taken is not answered, which counts as lost.
        let _ = self.socket.send(&question);
    }
}
