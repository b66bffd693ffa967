//! Two engines with nothing between them but what is written down: for tests and for fuzzing, and in no program.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, Error, ServerConfig};

use super::engine::{Engine, Side, Sink};
#[cfg(test)]
use super::records::Records;

/// An end of a connection, and what it has not sent yet.
pub struct End {
    pub(super) engine: Engine,
    pub(super) received: Vec<u8>,
    pub(super) out: Vec<u8>,
    pub(super) ended: bool,
}

/// A client and a server that have shaken hands for `example.com`.
pub fn shaken(client: ClientConfig, mut server: ServerConfig) -> [End; 2] {
    server.enable_secret_extraction = true;
    let server = UnbufferedServerConnection::new(Arc::new(server)).expect("a server");
    let (mut client, mut server) = (client_end(client), End::new(Side::Server(server)));
    while client.is_shaking() || server.is_shaking() {
        client.receive(&[]).expect("a client's part");
        client.speak_to(&mut server).expect("a server's part");
        server.speak_to(&mut client).expect("a client's part");
    }
    [client, server]
}

/// A client that asks for `example.com`.
pub(super) fn client_end(mut client: ClientConfig) -> End {
    client.enable_secret_extraction = true;
    let name = ServerName::try_from("example.com").expect("a name");
    End::new(Side::Client(UnbufferedClientConnection::new(Arc::new(client), name).expect("a client")))
}

/// Bytes as what both ends say, and what becomes of it on its way. What was heard is always what was said, from its beginning; all
/// of it, where nobody has meddled. Nothing panics, and an end that has found a fault hears and says no more.
pub fn conversation(ends: [End; 2], bytes: &[u8]) {
    let mut ends = ends;
    let mut told = [Vec::new(), Vec::new()];
    let mut heard = [Vec::new(), Vec::new()];
    let mut wires = [Vec::new(), Vec::new()];
    let (mut meddled, mut broken) = (false, [false; 2]);
    for act in bytes.chunks(4).chain([&[6, 0][..], &[6, 1]]) {
        let [what, how, more, last] = [0, 1, 2, 3].map(|at| act.get(at).copied().unwrap_or(0));
        let (from, to) = (usize::from(how & 1), usize::from(!how & 1));
        let count = usize::from(more) << 8 | usize::from(last);
        match what % 8 {
            0 | 1 => {
                let at = told[from].len();
                let content: Vec<u8> = (at..at + count / 2).map(|number| (number % 251) as u8).collect();
                let end = &mut ends[from];
                match end.engine.seal(&mut end.received, &content, &mut end.out) {
                    Ok(()) => told[from].extend_from_slice(&content),
                    Err(_) => assert!(broken[from]),
                }
            }
            2 if !broken[from] => ends[from].ask_for_key(),
            3 if how & 6 == 6 && count < wires[to].len() => {
                meddled = true;
                wires[to][count] ^= 1 << (how >> 5);
            }
            4 if how & 6 == 6 => {
                meddled = true;
                wires[to].extend(act);
            }
            5 if how & 6 == 6 && count < wires[to].len() => {
                meddled = true;
                wires[to].rotate_left(count);
            }
            7 => {
                wires[to].append(&mut ends[from].out);
                let most = count.min(wires[to].len());
                let piece: Vec<u8> = wires[to].drain(..most).collect();
                broken[to] |= ends[to].hear(&piece, &mut heard[from]).is_err();
            }
            _ => {
                wires[to].append(&mut ends[from].out);
                let all = std::mem::take(&mut wires[to]);
                broken[to] |= ends[to].hear(&all, &mut heard[from]).is_err();
            }
        }
        for side in 0..2 {
            assert!(told[side].starts_with(&heard[side]), "what nobody has said was heard");
        }
    }
    if !meddled && broken == [false; 2] {
        assert!(told == heard, "what was said was not heard");
    }
}

impl End {
    pub(super) fn new(side: Side) -> End {
        End { engine: Engine::new(side), received: Vec::new(), out: Vec::new(), ended: false }
    }

    pub(super) fn is_shaking(&self) -> bool {
        self.engine.library().is_some_and(|library| library.common().is_handshaking())
    }

    #[cfg(test)]
    pub(super) fn records(&mut self) -> &mut Records {
        match &mut self.engine {
            Engine::Records(records) => records,
            Engine::Library(_) | Engine::Broken(_) => panic!("no records of our own"),
        }
    }

    /// Takes bytes; answers the content in them.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        self.hear(bytes, &mut content).map(|()| content)
    }

    /// Takes bytes; appends the content in them, also that before a fault.
    pub(super) fn hear(&mut self, bytes: &[u8], content: &mut Vec<u8>) -> Result<(), Error> {
        self.received.extend_from_slice(bytes);
        loop {
            let (mut into, mut over) = ([0; 100], Vec::new());
            let mut sink = Sink { into: &mut into, filled: 0, over: &mut over };
            let opened = self.engine.open(&mut self.received, &mut sink, &mut self.out);
            let filled = sink.filled;
            content.extend_from_slice(&into[..filled]);
            content.extend_from_slice(&over);
            let opened = opened?;
            self.received.drain(..opened.used);
            self.ended |= opened.ended;
            if self.engine.library().is_some_and(|library| !library.common().is_handshaking()) {
                self.engine.take_over()?;
            }
            if filled == 0 {
                return Ok(());
            }
        }
    }

    #[cfg(test)]
    pub(super) fn say(&mut self, content: &[u8]) {
        self.engine.seal(&mut self.received, content, &mut self.out).expect("sealed");
    }

    pub(super) fn speak_to(&mut self, other: &mut End) -> Result<Vec<u8>, Error> {
        let said = std::mem::take(&mut self.out);
        other.receive(&said)
    }

    /// Changes the key and asks the peer to change its own, where keys are our own business.
    fn ask_for_key(&mut self) {
        if let Engine::Records(records) = &mut self.engine {
            records.ask_for_key(&mut self.out);
        }
    }
}

impl std::fmt::Debug for End {
    /// Without secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("End")
            .field("received", &self.received.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
