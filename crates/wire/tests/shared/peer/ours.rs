//! A side of ours, told in the words that the other's is.

use std::collections::BTreeMap;
use std::time::Instant;

use tidegate_wire::h2::{Broken, By, Code, Connection, Event, Limits, Role, StreamId, frame};
use tidegate_wire::{Framing, Head, Method};

use super::{Fields, Message, normal, note};

pub(super) struct Ours {
    pub(super) connection: Connection,
    pub(super) streams: BTreeMap<u32, Stream>,
    pub(super) broken: Option<Broken>,
    pub(super) pongs: usize,
    head: Head,
    carry: Vec<u8>,
    now: Instant,
}

#[derive(Default)]
pub(super) struct Stream {
    pub(super) got: Message,
    /// With what code it was reset, and whether by us.
    pub(super) reset: Option<(Code, bool)>,
    pub(super) interim: usize,
    unread: usize,
    /// What waits to be sent.
    left: Option<Message>,
    sent: usize,
}

impl Ours {
    pub(super) fn new(role: Role) -> Ours {
        let limits = Limits { streams: 64, ..Limits::default() };
        Ours {
            connection: Connection::new(role, &limits),
            streams: BTreeMap::new(),
            broken: None,
            pongs: 0,
            head: Head::default(),
            carry: Vec::new(),
            now: Instant::now(),
        }
    }

    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.carry.extend_from_slice(bytes);
        let carry = std::mem::take(&mut self.carry);
        let mut at = 0;
        while self.broken.is_none() {
            match self.connection.step(&carry[at..], self.now, &mut self.head) {
                Ok(step) => {
                    at += step.used;
                    match step.event {
                        Some(event) => self.tell(event),
                        None if step.used == 0 => break,
                        None => {}
                    }
                }
                Err(broken) => self.broken = Some(broken),
            }
        }
        self.carry = carry[at..].to_vec();
        self.pump();
    }

    /// At most so many bytes of what waits to be written.
    pub(super) fn write(&mut self) -> Vec<u8> {
        self.pump();
        let out = self.connection.out().to_vec();
        self.connection.written(out.len());
        out
    }

    pub(super) fn open(&mut self, message: &Message) -> Option<u32> {
        let words: Vec<&str> = message.start.split(' ').collect();
        let (path, query) = match words[2].split_once('?') {
            Some((path, query)) => (path, Some(query.as_bytes())),
            None => (words[2], None),
        };
        self.head.start_request(words[0].as_bytes(), words[1].as_bytes(), path.as_bytes(), query);
        self.add(message);
        let id = self.connection.open(&self.head).ok()?.number();
        self.streams.insert(id, Stream { left: Some(message.clone()), ..Stream::default() });
        self.pump();
        Some(id)
    }

    pub(super) fn answer(&mut self, id: u32, message: &Message, interim: bool) {
        let (Some(stream), Some(known)) = (self.streams.get_mut(&id), StreamId::new(id)) else { return };
        if stream.reset.is_some() || stream.left.is_some() || !stream.got.has_head() {
            return;
        }
        stream.left = Some(message.clone());
        if interim {
            self.head.start_response(103);
            self.connection.send_head(known, &self.head);
        }
        self.head.start_response(message.start.parse().expect("a status"));
        self.add(message);
        self.connection.send_head(known, &self.head);
        self.pump();
    }

    pub(super) fn consume(&mut self) {
        for (id, stream) in &mut self.streams {
            if let Some(id) = StreamId::new(*id) {
                self.connection.consumed(id, std::mem::take(&mut stream.unread));
            }
        }
    }

    pub(super) fn reset(&mut self, id: u32) {
        let (Some(stream), Some(known)) = (self.streams.get_mut(&id), StreamId::new(id)) else { return };
        stream.reset = Some((Code::CANCEL, false));
        self.connection.reset(known, Code::CANCEL);
    }

    fn add(&mut self, message: &Message) {
        for (name, value) in each(&message.fields) {
            if name == "content-length" {
                self.head.set_framing(Framing::Length(message.content.len() as u64));
            } else {
                self.head.add(name.as_bytes(), value);
            }
        }
        if !message.fields.contains_key("content-length") {
            let none = message.content.is_empty() && message.trailers.is_empty();
            self.head.set_framing(if none { Framing::None } else { Framing::Unknown });
        }
    }

    /// Sends what the windows let pass.
    fn pump(&mut self) {
        for (number, stream) in &mut self.streams {
            let (Some(id), Some(left)) = (StreamId::new(*number), &stream.left) else { continue };
            if stream.reset.is_some() || stream.sent == usize::MAX {
                continue;
            }
            stream.sent += self.connection.send(id, &left.content[stream.sent..]);
            if stream.sent == left.content.len() {
                stream.sent = usize::MAX;
                let mut trailers = Head::default();
                for (name, value) in each(&left.trailers) {
                    trailers.add(name.as_bytes(), value);
                }
                self.connection.finish(id, Some(&trailers));
            }
        }
    }

    fn tell(&mut self, event: Event<'_>) {
        let (Event::Head { id, .. }
        | Event::Refused { id, .. }
        | Event::Data { id, .. }
        | Event::Trailers { id }
        | Event::Reset { id, .. }) = event
        else {
            self.pongs += usize::from(event == Event::Pong);
            return;
        };
        let stream = self.streams.entry(id.number()).or_default();
        match event {
            Event::Head { .. } if (100..200).contains(&self.head.status()) => stream.interim += 1,
            Event::Head { end, .. } => {
                stream.got.start = start(&self.head);
                stream.got.fields = fields(&self.head);
                stream.got.ended = end;
            }
            Event::Refused { .. } => stream.reset = Some((Code::PROTOCOL_ERROR, true)),
            Event::Data { content, end, .. } => {
                stream.got.content.extend_from_slice(content);
                stream.unread += content.len();
                stream.got.ended |= end;
            }
            Event::Trailers { .. } => {
                stream.got.trailers = fields(&self.head);
                stream.got.ended = true;
            }
            Event::Reset { code, by, .. } => stream.reset = Some((code, by != By::Peer)),
            _ => {}
        }
    }
}

fn each(fields: &Fields) -> impl Iterator<Item = (&str, &[u8])> {
    fields.iter().flat_map(|(name, values)| values.iter().map(move |value| (&name[..], &value[..])))
}

fn start(head: &Head) -> String {
    if head.status() > 0 {
        return head.status().to_string();
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let query = head.query().map(|query| format!("?{}", text(query))).unwrap_or_default();
    let tunnel = head.method() == Method::Connect;
    let path = if tunnel { String::new() } else { text(head.path()) };
    format!("{} {} {path}{query}", text(head.method_text()), text(head.authority()))
}

fn fields(head: &Head) -> Fields {
    let mut fields = Fields::new();
    for field in head.fields() {
        note(&mut fields, &String::from_utf8_lossy(field.name), field.value);
    }
    normal(fields)
}

/// The frames that some bytes are, as whoever reads them would cut them; the last may be a part of one. A part of a header is
/// left out: the crate looks at what there is of it.
pub(super) fn cut(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(header) = frame::Header::read(bytes) {
        let (one, rest) = bytes.split_at((frame::HEADER + header.length).min(bytes.len()));
        frames.push(one.to_vec());
        bytes = rest;
    }
    frames
}
