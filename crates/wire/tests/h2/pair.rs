//! Two connections of ours with a wire between them, and what each has seen.

use std::time::Instant;

use tidegate_wire::Head;
use tidegate_wire::h1::Reject;
use tidegate_wire::h2::{Broken, By, Code, Connection, Event, Limits, Role, StreamId};

/// An event that owns what it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Head { id: u32, end: bool, text: String },
    Refused { id: u32, reject: Reject },
    Data { id: u32, content: Vec<u8>, end: bool },
    Trailers { id: u32, text: String },
    Reset { id: u32, code: Code, by: By },
    Window { id: Option<u32> },
    GoAway { last: u32, code: Code },
    Settings,
    Pong,
}

/// One side, with what it has read and not used.
pub(crate) struct Side {
    pub(crate) connection: Connection,
    pub(crate) seen: Vec<Seen>,
    pub(crate) broken: Option<Broken>,
    pub(crate) head: Head,
    carry: Vec<u8>,
}

impl Side {
    pub(crate) fn new(role: Role, limits: &Limits) -> Side {
        let connection = Connection::new(role, limits);
        Side { connection, seen: Vec::new(), broken: None, head: Head::default(), carry: Vec::new() }
    }

    /// Reads bytes until no more are used.
    pub(crate) fn read(&mut self, bytes: &[u8], now: Instant) {
        self.carry.extend_from_slice(bytes);
        let mut at = 0;
        while self.broken.is_none() {
            let step = match self.connection.step(&self.carry[at..], now, &mut self.head) {
                Ok(step) => step,
                Err(broken) => {
                    self.broken = Some(broken);
                    break;
                }
            };
            at += step.used;
            match step.event {
                Some(event) => self.seen.push(own(event, &self.head)),
                None if step.used == 0 => break,
                None => {}
            }
        }
        self.carry.drain(..at);
    }

    /// Everything that waits to be written.
    pub(crate) fn write(&mut self) -> Vec<u8> {
        let out = self.connection.out().to_vec();
        self.connection.written(out.len());
        out
    }

    pub(crate) fn take(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }
}

/// A client and a server.
pub(crate) struct Pair {
    pub(crate) client: Side,
    pub(crate) server: Side,
    pub(crate) now: Instant,
}

impl Pair {
    /// Both have said their SETTINGS.
    pub(crate) fn new(limits: &Limits) -> Pair {
        let (client, server) = (Side::new(Role::Client, limits), Side::new(Role::Server, limits));
        let mut pair = Pair { client, server, now: Instant::now() };
        pair.exchange();
        assert_eq!(pair.client.take(), [Seen::Settings]);
        assert_eq!(pair.server.take(), [Seen::Settings]);
        pair
    }

    /// Carries bytes until neither side has any.
    pub(crate) fn exchange(&mut self) {
        while self.client.connection.has_out() || self.server.connection.has_out() {
            let (to_server, to_client) = (self.client.write(), self.server.write());
            self.server.read(&to_server, self.now);
            self.client.read(&to_client, self.now);
        }
    }
}

fn own(event: Event<'_>, head: &Head) -> Seen {
    match event {
        Event::Head { id, end } => Seen::Head { id: id.number(), end, text: text(head) },
        Event::Refused { id, reject, .. } => Seen::Refused { id: id.number(), reject },
        Event::Data { id, content, end } => Seen::Data { id: id.number(), content: content.to_vec(), end },
        Event::Trailers { id } => Seen::Trailers { id: id.number(), text: text(head) },
        Event::Reset { id, code, by } => Seen::Reset { id: id.number(), code, by },
        Event::Window { id } => Seen::Window { id: id.map(StreamId::number) },
        Event::GoAway { last, code } => Seen::GoAway { last, code },
        Event::Settings => Seen::Settings,
        Event::Pong => Seen::Pong,
    }
}

/// A head in one line.
pub(crate) fn text(head: &Head) -> String {
    let mut text = if head.status() > 0 {
        format!("{}", head.status())
    } else if head.method_text() == b"GET" && head.authority().is_empty() && head.path().is_empty() {
        String::new()
    } else {
        let query = head.query().map(|query| format!("?{}", query.escape_ascii())).unwrap_or_default();
        let (method, path) = (head.method_text().escape_ascii(), head.path().escape_ascii());
        let protocol = if head.protocol().is_empty() { "" } else { " as " };
        let protocol = format!("{protocol}{}", head.protocol().escape_ascii());
        format!("{method} {}{path}{query}{protocol}", head.authority().escape_ascii())
    };
    for field in head.fields() {
        text.push_str(&format!(" | {}: {}", field.name.escape_ascii(), field.value.escape_ascii()));
    }
    text.push_str(&format!(" | {:?}", head.framing()));
    text
}
