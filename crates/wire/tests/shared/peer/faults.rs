//! Frames that somebody has broken, in front of a side of ours and one of the `h2` crate: what the crate refuses, we refuse too,
//! or there is a reason.

use std::collections::BTreeMap;

use h2::Reason;
use tidegate_wire::h2::frame::{self, Header, flag, kind};
use tidegate_wire::h2::{Code, Role};

use super::ours::{Ours, cut};
use super::theirs::Theirs;
use super::{Draw, Message};

/// Bytes as a client's or a server's frames, written by the crate, with a few faults.
pub(crate) fn broken_frames(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let reader = [Role::Server, Role::Client][usize::from(draw.byte() & 1)];
    let asked: Vec<Message> = (0..1 + draw.byte() % 4).map(|_| draw.request()).collect();
    let mut frames = match reader {
        Role::Server => requests(&asked),
        Role::Client => responses(&asked, &mut draw),
    };
    for _ in 0..1 + draw.byte() % 3 {
        harm(&mut frames, &mut draw);
    }
    let mut sides = Sides::new(reader, &asked);
    for frame in cut(&frames.concat()) {
        if !sides.read(&frame) {
            return;
        }
    }
    sides.compare();
}

/// What a client of the crate writes behind its preface.
fn requests(asked: &[Message]) -> Vec<Vec<u8>> {
    let mut client = Theirs::client();
    let mut out = client.write().split_off(frame::PREFACE.len());
    client.read(&Ours::new(Role::Server).write());
    for message in asked {
        client.open(message);
    }
    out.extend(client.write());
    cut(&out)
}

/// What a server of the crate answers to these requests.
fn responses(asked: &[Message], draw: &mut Draw<'_>) -> Vec<Vec<u8>> {
    let (mut server, mut client) = (Theirs::server(), Ours::new(Role::Client));
    for message in asked {
        client.open(&bare(message));
    }
    server.read(&client.write());
    let ids: Vec<u32> = server.streams.keys().copied().collect();
    for id in ids {
        server.answer(id, &draw.response(), draw.byte().is_multiple_of(4));
    }
    cut(&server.write())
}

/// A request without content, so that a response is all that is told.
fn bare(message: &Message) -> Message {
    Message { start: message.start.clone(), ended: true, ..Message::default() }
}

fn harm(frames: &mut Vec<Vec<u8>>, draw: &mut Draw<'_>) {
    // The first frame is SETTINGS; to harm it is to end before anything has begun.
    let at = if draw.byte() == 0 { 0 } else { 1 + draw.below(frames.len() - 1) };
    let at = at.min(frames.len() - 1);
    match draw.byte() % 14 {
        // In the header, more often than not without its length.
        0..=2 => {
            let byte = if draw.byte().is_multiple_of(8) { draw.below(3) } else { 3 + draw.below(6) };
            frames[at][byte] ^= 1 << (draw.byte() % 8);
        }
        3..=5 => {
            let length = (frames[at].len() - frame::HEADER).min(600);
            if length > 0 {
                let byte = frame::HEADER + draw.below(length);
                frames[at][byte] ^= 1 << (draw.byte() % 8);
            }
        }
        6 => {
            let copy = frames[at].clone();
            frames.insert(at, copy);
        }
        7 if frames.len() > 2 => {
            frames.remove(at);
        }
        8 if at + 1 < frames.len() => frames.swap(at, at + 1),
        7 | 8 => {}
        _ => frames.insert(at, made(draw)),
    }
}

/// A frame that nobody has asked for: any, or one at the edge of what may be.
fn made(draw: &mut Draw<'_>) -> Vec<u8> {
    let stream = [0, 1, 2, 3, 5, 7, 99][draw.below(7)];
    let some =
        |draw: &mut Draw<'_>| [0, 1, 16_384, 16_777_215, 16_777_216, 0x7fff_ffff, 0x8000_0000_u32][draw.below(7)];
    let (kind, flags, payload) = match draw.byte() % 8 {
        0 => (kind::WINDOW_UPDATE, 0, some(draw).to_be_bytes().to_vec()),
        1 => {
            let mut payload = vec![0, draw.byte() % 10];
            payload.extend(some(draw).to_be_bytes());
            (kind::SETTINGS, 0, payload)
        }
        2 => (kind::PRIORITY, 0, [&u32::to_be_bytes([0, 1, 3][draw.below(3)])[..], &[9]].concat()),
        3 => (kind::DATA, flag::PADDED | (draw.byte() & 1), [&[draw.byte() % 6][..], &[0; 4]].concat()),
        4 | 5 => {
            let flags = flag::END_HEADERS | (draw.byte() & (flag::END_STREAM | flag::PADDED | flag::PRIORITY));
            let mut payload = Vec::new();
            if flags & flag::PADDED != 0 {
                payload.push(draw.byte() % 4);
            }
            if flags & flag::PRIORITY != 0 {
                payload.extend([0, 0, 0, [0, 1, 3, 7][draw.below(4)], 1]);
            }
            payload.extend(block(draw));
            (kind::HEADERS, flags, payload)
        }
        6 => (draw.byte() % 17, draw.byte(), vec![0; [0, 4, 5, 8][draw.below(4)]]),
        _ => {
            let length = [0, 1, 4, 5, 6, 8, 12, 20][draw.below(8)];
            (draw.byte() % 12, draw.byte(), (0..length).map(|_| draw.byte()).collect())
        }
    };
    let mut made = Vec::new();
    frame::begin(payload.len(), kind, flags, stream, &mut made);
    made.extend(payload);
    made
}

/// A request, a response or trailers, with something in it now and then that may not be there.
fn block(draw: &mut Draw<'_>) -> Vec<u8> {
    // Changes of the table's size: none, to nothing, to all that is allowed, to more, and too many.
    let mut block = [&[][..], &[0x20], &[0x3f, 0xe1, 0x1f], &[0x3f, 0xe2, 0x1f], &[0x20; 3]][draw.below(5)].to_vec();
    let good: &[(&str, &str)] = [
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")][..],
        &[(":method", "POST"), (":scheme", "https"), (":authority", "a:1"), (":path", "/x?y")],
        &[(":status", "200")],
        &[(":status", "100")],
        &[("x", "y")],
    ][draw.below(5)];
    let mut lines = good.to_vec();
    for _ in 0..draw.byte() % 3 {
        let odd = [
            ("connection", "close"),
            ("te", "gzip"),
            ("te", "trailers"),
            ("X", "y"),
            ("", "y"),
            ("a b", "c"),
            ("a", "b\nc"),
            ("a", " b"),
            ("content-length", "3"),
            ("content-length", "x"),
            (":path", "/"),
            (":path", ""),
            (":path", "*"),
            (":path", "a"),
            (":path", "/\u{e9}"),
            (":path", "/ a"),
            (":path", "/<\">"),
            (":status", "20"),
            (":status", "999"),
            (":authority", "u@h"),
            (":authority", "[::"),
            (":authority", ""),
            (":scheme", "ftp"),
            (":scheme", ""),
            (":method", "G T"),
            (":method", "CONNECT"),
            (":what", "x"),
            (":protocol", "websocket"),
            ("host", "b"),
            ("upgrade", "h2c"),
            ("transfer-encoding", "chunked"),
            ("cookie", "a=b"),
            ("priority", "u=9"),
            ("content-length", "+3"),
        ][draw.below(34)];
        match lines.iter_mut().find(|(name, _)| *name == odd.0) {
            Some(line) if draw.byte() & 1 == 0 => *line = odd,
            _ => lines.insert(draw.below(lines.len() + 1), odd),
        }
    }
    for (name, value) in lines {
        block.push(0);
        for text in [name, value] {
            block.push(text.len() as u8);
            block.extend(text.bytes());
        }
    }
    block
}

struct Sides {
    ours: Ours,
    theirs: Theirs,
    /// What the crate has written so far, cut into frames as they come.
    told: Vec<u8>,
}

impl Sides {
    fn new(reader: Role, asked: &[Message]) -> Sides {
        let (ours, theirs) = match reader {
            Role::Server => (Ours::new(reader), Theirs::server()),
            Role::Client => (Ours::new(reader), Theirs::client()),
        };
        let mut sides = Sides { ours, theirs, told: Vec::new() };
        match reader {
            Role::Server => {
                sides.ours.read(frame::PREFACE);
                sides.theirs.read(frame::PREFACE);
            }
            Role::Client => {
                for message in asked {
                    let (one, other) = (sides.ours.open(&bare(message)), sides.theirs.open(&bare(message)));
                    assert_eq!(one, other);
                }
            }
        }
        sides.ours.write();
        sides.theirs.write();
        sides
    }

    /// Gives both a frame; false where there is nothing more to compare.
    fn read(&mut self, bytes: &[u8]) -> bool {
        self.ours.read(bytes);
        self.theirs.read(bytes);
        self.ours.consume();
        self.ours.write();
        self.told.extend(self.theirs.write());
        let refused = self.refused();
        if self.ours.broken.is_some() {
            return false;
        }
        let header = Header::read(bytes);
        if self.ours.connection.is_inside_block() {
            // The crate judges a block before all of it is there; we wait for its end.
            return true;
        }
        if let Some(error) = self.theirs.broken.as_ref().filter(|error| error.is_library()) {
            let reason = error.reason().unwrap_or(Reason::NO_ERROR);
            // A stream that we have refused is a mistake of the connection to the crate now and then.
            let on_stream = header.is_some_and(|header| self.is_refused(header.stream));
            assert!(
                on_stream || header.is_some_and(|header| why_not_connection(header, bytes).is_some()),
                "we go on where the crate ends with {reason:?}: {header:?} {bytes:02x?}"
            );
            return false;
        }
        if let Some((id, reason)) = refused.into_iter().find(|(id, _)| !self.is_refused(*id)) {
            let why = header.and_then(|header| why_not_stream(header, bytes));
            assert!(
                why.is_some(),
                "we take what the crate resets with {reason:?}: stream {id} {header:?} {bytes:02x?} {:?}",
                self.ours.streams.get(&id).map(|stream| &stream.got)
            );
            // From here on the two have seen different connections.
            return false;
        }
        true
    }

    /// Streams that the crate has reset because of what it was told.
    fn refused(&self) -> BTreeMap<u32, u32> {
        let mut refused = BTreeMap::new();
        for frame in cut(&self.told) {
            let Some(header) = Header::read(&frame).filter(|header| header.kind == kind::RST_STREAM) else { continue };
            let code = frame::number(&frame[frame::HEADER..]).unwrap_or(0);
            if code != Code::NO_ERROR.0 && code != Code::CANCEL.0 {
                refused.insert(header.stream, code);
            }
        }
        refused
    }

    fn is_refused(&self, id: u32) -> bool {
        self.ours.streams.get(&id).is_some_and(|stream| stream.reset.is_some())
    }

    /// What both have taken is the same to both.
    fn compare(&self) {
        for (id, ours) in self.ours.streams.iter().filter(|(id, stream)| stream.reset.is_none() && **id > 0) {
            let Some(theirs) = self.theirs.streams.get(id).filter(|stream| stream.failed.is_none()) else { continue };
            if ours.got.has_head() && theirs.got.has_head() {
                alike(&ours.got, &theirs.got);
            }
        }
    }
}

/// What we have taken is what the crate has. It gives a frame of content once it is whole, and we what there is of it; trailers
/// that may not be (RFC 9110 section 6.5.1) stay with us.
fn alike(ours: &Message, theirs: &Message) {
    assert_eq!((&ours.start, &ours.fields), (&theirs.start, &theirs.fields));
    assert!(ours.content.starts_with(&theirs.content), "{ours:?} {theirs:?}");
    assert!(ours.ended >= theirs.ended, "{ours:?} {theirs:?}");
    if ours.ended && theirs.ended {
        assert_eq!(ours.content.len(), theirs.content.len());
        for (name, values) in &ours.trailers {
            assert_eq!(theirs.trailers.get(name), Some(values), "{name}");
        }
    }
}

/// Why a frame that ends the crate's connection need not end ours.
fn why_not_connection(header: Header, bytes: &[u8]) -> Option<&'static str> {
    let payload = &bytes[frame::HEADER..];
    if header.kind == kind::WINDOW_UPDATE && header.stream > 0 && frame::number(payload).is_some_and(|by| by << 1 == 0)
    {
        return Some("RFC 9113 section 6.9: an error of the stream, and there is none on a stream that is over");
    }
    None
}

/// Why a frame whose stream the crate resets need not reset ours.
fn why_not_stream(header: Header, bytes: &[u8]) -> Option<&'static str> {
    let depends_on = match header.kind {
        kind::PRIORITY => frame::number(&bytes[frame::HEADER..]),
        kind::HEADERS if header.has(flag::PRIORITY) => {
            bytes.get(frame::HEADER + usize::from(header.has(flag::PADDED))..).and_then(frame::number)
        }
        _ => None,
    };
    if depends_on.is_some_and(|id| id & 0x7fff_ffff == header.stream) {
        return Some(
            "RFC 9113 section 5.3.2: the old priorities are not looked at, and with them whether a stream depends on itself",
        );
    }
    None
}
