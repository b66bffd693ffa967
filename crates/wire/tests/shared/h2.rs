//! What must hold on an HTTP/2 connection for any bytes, and for any conversation.

use std::time::Instant;

use tidegate_wire::h1::{self, Progress};
use tidegate_wire::h2::field::Kind;
use tidegate_wire::h2::hpack::decode::{Decoder, Keep, Line};
use tidegate_wire::h2::hpack::encode;
use tidegate_wire::h2::{Code, Connection, Event, Limits, Role, StreamId, frame};
use tidegate_wire::{Framing, Head, Method};

/// Blocks of fields: what is dropped is learned like what is kept, the table keeps to its bound, and what is good comes
/// back when it is encoded.
pub(crate) fn blocks(bytes: &[u8]) {
    let (mut keeping, mut dropping) = (Decoder::new(4096), Decoder::new(4096));
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first() {
        let (block, after) = after.split_at((*length as usize).min(after.len()));
        rest = after;
        let (mut kept, mut dropped) = (block, block);
        let begun = keeping.begin(&mut kept);
        assert_eq!(begun, dropping.begin(&mut dropped));
        if begun.is_err() {
            return;
        }
        let (mut arena, mut scratch) = (Vec::new(), Vec::new());
        loop {
            let line = keeping.next(&mut kept, Keep::Line, &mut arena);
            let other = dropping.next(&mut dropped, Keep::Nothing, &mut scratch);
            // What is dropped is not judged, but what the table learns is.
            let lengths = |line: Line| (line.name, line.value);
            assert_eq!(line.map(|line| line.map(lengths)), other.map(|line| line.map(lengths)));
            let newest = |decoder: &Decoder| {
                decoder.table().entry(0).map(|entry| (entry.line.to_vec(), entry.kind, entry.name_kind))
            };
            assert_eq!(newest(&keeping), newest(&dropping));
            assert!(scratch.is_empty() || other.is_err());
            assert!(keeping.table().size() <= 4096 && keeping.table().len() == dropping.table().len());
            assert!(keeping.table().capacity() < 32 * 1024);
            let Ok(line) = line else { return };
            let Some(line) = line else { break };
            assert_eq!(line.start + line.name + line.value + 4, arena.len());
            if matches!(line.kind, Kind::Field(_)) {
                comes_back(
                    &arena[line.start..line.start + line.name],
                    &arena[line.start + line.name + 2..][..line.value],
                );
            }
        }
    }
}

fn comes_back(name: &[u8], value: &[u8]) {
    let (mut out, mut arena) = (Vec::new(), Vec::new());
    encode::field(name, value, false, &mut out);
    let mut block = &out[..];
    let line = Decoder::new(0).next(&mut block, Keep::Line, &mut arena).expect("a block").expect("a field");
    assert_eq!((&arena[..line.name], &arena[line.name + 2..][..line.value], block.len()), (name, value, 0));
}

/// Frames to a server and to a client with a request under way: the same however they arrive, bounded in memory, and
/// what comes of them means the same as HTTP/1.
pub(crate) fn frames(bytes: &[u8]) {
    let limits = Limits { streams: 16, head: 4096, line: 1024, extended_connect: true, ..Limits::default() };
    for role in [Role::Server, Role::Client] {
        let whole = told(role, &limits, &[bytes]);
        let cut = bytes.first().map_or(0, |cut| *cut as usize).min(bytes.len());
        assert_eq!(whole, told(role, &limits, &[&bytes[..cut], &bytes[cut..]]));
        if bytes.len() < 200 {
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(whole, told(role, &limits, &single));
        }
    }
}

/// Everything that some bytes came to: events in words, with contents joined, then what is written.
fn told(role: Role, limits: &Limits, parts: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let (mut connection, mut head, now) = (Connection::new(role, limits), Head::default(), Instant::now());
    let mut carry = if role == Role::Server { frame::PREFACE.to_vec() } else { Vec::new() };
    carry.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
    if role == Role::Client {
        head.start_request(b"GET", b"a", b"/", None);
        connection.open(&head).expect("a stream");
    }
    let mut words: Vec<String> = Vec::new();
    let mut held: Vec<(StreamId, usize)> = Vec::new();
    for part in std::iter::once(&[][..]).chain(parts.iter().copied()) {
        carry.extend_from_slice(part);
        let mut at = 0;
        loop {
            let step = match connection.step(&carry[at..], now, &mut head) {
                Ok(step) => step,
                Err(broken) => {
                    words.push(format!("{broken:?}"));
                    assert!(connection.has_out());
                    return (words, connection.out().to_vec());
                }
            };
            at += step.used;
            assert!(connection.open_streams() <= limits.streams as usize);
            assert!(connection.capacity() < 256 * 1024 && head.capacity() < 64 * 1024);
            match step.event {
                None if step.used == 0 => break,
                None => {}
                Some(event) => tell(event, &head, role, &mut words, &mut held),
            }
        }
        carry.drain(..at);
        assert!(carry.len() < frame::PAYLOAD + frame::HEADER);
    }
    // Everything is handed on at the end, so that windows do not depend on how bytes came.
    for (id, count) in held {
        connection.consumed(id, count);
    }
    (words, connection.out().to_vec())
}

fn tell(event: Event<'_>, head: &Head, role: Role, words: &mut Vec<String>, held: &mut Vec<(StreamId, usize)>) {
    match event {
        Event::Head { .. } => {
            if role == Role::Server {
                means_the_same(head);
            }
            words.push(format!("{event:?} {:?} {:?}", head.framing(), head.fields().collect::<Vec<_>>()));
        }
        Event::Data { id, content, end } => {
            held.push((id, content.len()));
            let mine = format!("{id:?} content ");
            let text = format!("{}", content.escape_ascii());
            match words.last_mut().filter(|last| last.starts_with(&mine)) {
                Some(last) => last.push_str(&text),
                None => words.push(format!("{mine}{text}")),
            }
            if end {
                words.push(format!("{id:?} end"));
            }
        }
        _ => words.push(format!("{event:?}")),
    }
}

/// A request that is written as HTTP/1 is read there as what it was.
pub(crate) fn means_the_same(head: &Head) {
    if head.method() == Method::Connect && !head.protocol().is_empty() {
        // HTTP/1 has no words for it: nobody passes it on.
        return;
    }
    let mut out = Vec::new();
    h1::request_head(head, &mut out);
    let mut again = Head::default();
    let limits = h1::Limits { fields: 256, ..h1::Limits::default() };
    assert_eq!(h1::request(&out, &limits, &mut again), Ok(Progress::Complete(out.len())), "{}", out.escape_ascii());
    assert_eq!(again.method_text(), head.method_text());
    assert_eq!(again.authority(), head.authority());
    assert_eq!((again.path(), again.query()), (head.path(), head.query()));
    assert_eq!(again.framing(), head.framing());
    // Content without a length has a field of its own there, and a switch of protocols two.
    let added = usize::from(head.framing() == Framing::Unknown) + 2 * usize::from(!head.protocol().is_empty());
    assert_eq!(again.len(), head.len() + added);
    assert!(again.fields().zip(head.fields()).all(|(again, field)| again == field), "{}", out.escape_ascii());
}

/// A client and a server of ours, with what each should come to know.
pub(crate) struct Conversation {
    sides: [Connection; 2],
    wires: [Vec<u8>; 2],
    head: Head,
    now: Instant,
    streams: Vec<Talk>,
}

/// One stream: what was sent each way and what has arrived, 0 being the request.
struct Talk {
    id: StreamId,
    sent: [Vec<u8>; 2],
    got: [Vec<u8>; 2],
    unread: [usize; 2],
    finished: [bool; 2],
    ended: [bool; 2],
    answered: bool,
    seen: bool,
    reset: bool,
}

/// Bytes as what two well-meaning sides do, in any order: neither finds fault with the other, no content is lost or changed,
/// and all comes to an end.
pub(crate) fn conversation(bytes: &[u8]) {
    let limits =
        Limits { stream_window: 65_535, connection_window: 65_535, streams: 8, out: 20_000, ..Limits::default() };
    let sides = [Connection::new(Role::Client, &limits), Connection::new(Role::Server, &limits)];
    let mut talk = Conversation {
        sides,
        wires: [Vec::new(), Vec::new()],
        head: Head::default(),
        now: Instant::now(),
        streams: Vec::new(),
    };
    // A client that has not heard how many streams it may have is refused some, which is another story.
    talk.carry(1, usize::MAX);
    for act in bytes.chunks(3) {
        let [what, which, how] = [0, 1, 2].map(|at| act.get(at).copied().unwrap_or(0));
        talk.act(what, which as usize, how as usize);
    }
    talk.end();
}

impl Conversation {
    fn act(&mut self, what: u8, which: usize, how: usize) {
        let side = how & 1;
        let count = self.streams.len();
        match what % 8 {
            0 => self.open(),
            1 => self.carry(side, which * how + 1),
            2 | 3 if count > 0 => self.send(which % count, side, how * 200 + which),
            4 if count > 0 => self.finish(which % count, side),
            5 if count > 0 => self.consume(which % count, side),
            6 if count > 0 && how > 200 => {
                let stream = &mut self.streams[which % count];
                if side == 1 && !stream.seen {
                    return;
                }
                stream.reset = true;
                self.sides[side].reset(stream.id, Code::CANCEL);
            }
            _ => self.carry(side, usize::MAX),
        }
    }

    fn open(&mut self) {
        self.head.start_request(b"POST", b"a", b"/", None);
        let Ok(id) = self.sides[0].open(&self.head) else { return };
        let [sent, got] = [(); 2].map(|()| [Vec::new(), Vec::new()]);
        let (none, unread) = ([false; 2], [0; 2]);
        self.streams.push(Talk {
            id,
            sent,
            got,
            unread,
            finished: none,
            ended: none,
            answered: false,
            seen: false,
            reset: false,
        });
    }

    fn send(&mut self, which: usize, side: usize, length: usize) {
        let stream = &mut self.streams[which];
        if stream.reset || stream.finished[side] || (side == 1 && !stream.seen) {
            return;
        }
        if side == 1 && !stream.answered {
            stream.answered = true;
            self.head.start_response(200);
            self.sides[1].send_head(stream.id, &self.head);
        }
        let at = stream.sent[side].len();
        let content: Vec<u8> = (at..at + length).map(|number| (number % 251) as u8).collect();
        let writable = self.sides[side].is_writable(stream.id);
        let took = self.sides[side].send(stream.id, &content);
        assert_eq!(took > 0, writable && length > 0);
        stream.sent[side].extend_from_slice(&content[..took]);
    }

    fn finish(&mut self, which: usize, side: usize) {
        self.send(which, side, 0);
        let stream = &mut self.streams[which];
        if !stream.reset && !stream.finished[side] && (side == 0 || stream.answered) {
            stream.finished[side] = true;
            self.sides[side].finish(stream.id, None);
        }
    }

    fn consume(&mut self, which: usize, side: usize) {
        let stream = &mut self.streams[which];
        let count = std::mem::take(&mut stream.unread[side]);
        self.sides[side].consumed(stream.id, count);
    }

    /// Carries bytes from one side to the other, and lets it read them.
    fn carry(&mut self, from: usize, most: usize) {
        let to = 1 - from;
        let out = self.sides[from].out();
        let count = out.len().min(most);
        self.wires[to].extend_from_slice(&out[..count]);
        self.sides[from].written(count);
        let mut at = 0;
        loop {
            let step =
                self.sides[to].step(&self.wires[to][at..], self.now, &mut self.head).expect("a peer that means well");
            at += step.used;
            match step.event {
                None if step.used == 0 => break,
                None => {}
                Some(Event::Head { id, end }) => {
                    let stream = self.streams.iter_mut().find(|stream| stream.id == id).expect("a stream");
                    assert!(!end || stream.finished[from] && stream.sent[from].is_empty());
                    stream.seen = true;
                    stream.ended[from] |= end;
                    assert_eq!(self.head.framing(), if end { Framing::None } else { Framing::Unknown });
                }
                Some(Event::Data { id, content, end }) => {
                    let stream = self.streams.iter_mut().find(|stream| stream.id == id).expect("a stream");
                    stream.got[from].extend_from_slice(content);
                    stream.unread[to] += content.len();
                    stream.ended[from] |= end;
                    assert!(stream.sent[from].starts_with(&stream.got[from]));
                }
                Some(Event::Reset { id, .. }) => {
                    let stream = self.streams.iter_mut().find(|stream| stream.id == id).expect("a stream");
                    assert!(stream.reset);
                }
                Some(_) => {}
            }
        }
        self.wires[to].drain(..at);
    }

    /// Lets everybody finish.
    fn end(&mut self) {
        for which in 0..self.streams.len() {
            for _ in 0..3 {
                self.carry(0, usize::MAX);
                self.carry(1, usize::MAX);
            }
            self.finish(which, 0);
            self.carry(0, usize::MAX);
            self.finish(which, 1);
        }
        for _ in 0..4 {
            self.carry(0, usize::MAX);
            self.carry(1, usize::MAX);
            for which in 0..self.streams.len() {
                self.consume(which, 0);
                self.consume(which, 1);
            }
        }
        for stream in self.streams.iter().filter(|stream| !stream.reset) {
            assert_eq!(stream.ended, [true; 2]);
            assert!(stream.sent == stream.got);
        }
        assert_eq!(self.sides.each_ref().map(Connection::open_streams), [0; 2]);
        // All windows are whole again, but for what is not worth a frame yet.
        self.open();
        let last = self.streams.len() - 1;
        self.carry(0, usize::MAX);
        self.send(last, 0, 20_000);
        assert_eq!(self.streams[last].sent[0].len(), 20_000);
    }
}
