//! Frames by hand, as no connection of ours would send them.

use std::time::Instant;

use tidegate_wire::h2::frame::{self, flag, kind};
use tidegate_wire::h2::hpack::encode;
use tidegate_wire::h2::{Broken, Code, Limits, Role};

use super::pair::{Seen, Side};

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::begin(payload.len(), kind, flags, stream, &mut out);
    out.extend_from_slice(payload);
    out
}

pub(crate) fn number(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

/// Fields as a block of literals, whatever they are.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        literal(name.as_bytes(), value.as_bytes(), &mut out);
    }
    out
}

/// A literal with a literal name, exactly as given.
pub(crate) fn literal(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    // The name's and the value's own encoding is that of a field without name.
    for text in [name, value] {
        let mut whole = Vec::new();
        encode::with_index(1, text, false, &mut whole);
        out.extend_from_slice(&whole[1..]);
    }
}

pub(crate) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "example.com"), (":path", "/")];
pub(crate) const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "https"), (":authority", "example.com"), (":path", "/")];

/// A request in one frame.
pub(crate) fn request(stream: u32, end: bool, fields: &[(&str, &str)]) -> Vec<u8> {
    headers(stream, end, &block(fields))
}

pub(crate) fn headers(stream: u32, end: bool, block: &[u8]) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_HEADERS | if end { flag::END_STREAM } else { 0 }, stream, block)
}

pub(crate) fn data(stream: u32, end: bool, content: &[u8]) -> Vec<u8> {
    frame(kind::DATA, if end { flag::END_STREAM } else { 0 }, stream, content)
}

pub(crate) fn reset(stream: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &number(Code::CANCEL.0))
}

pub(crate) fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (name, value) in pairs {
        payload.extend_from_slice(&name.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame(kind::SETTINGS, 0, 0, &payload)
}

pub(crate) fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &number(by))
}

/// A server whose client has said hello; nothing waits.
pub(crate) fn server(limits: &Limits) -> (Side, Instant) {
    let (mut server, now) = (Side::new(Role::Server, limits), Instant::now());
    server.read(frame::PREFACE, now);
    server.read(&settings(&[]), now);
    assert_eq!(server.take(), [Seen::Settings]);
    server.write();
    (server, now)
}

/// A client whose server has said hello; nothing waits.
pub(crate) fn client(limits: &Limits) -> (Side, Instant) {
    let (mut client, now) = (Side::new(Role::Client, limits), Instant::now());
    client.read(&settings(&[]), now);
    assert_eq!(client.take(), [Seen::Settings]);
    client.write();
    (client, now)
}

/// The frames in bytes: type, flags, stream, payload.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some(header) = frame::Header::read(bytes) {
        let end = frame::HEADER + header.length;
        frames.push((header.kind, header.flags, header.stream, bytes[frame::HEADER..end].to_vec()));
        bytes = &bytes[end..];
    }
    assert!(bytes.is_empty());
    frames
}

/// Asserts that the connection is over with this code, and that the peer is told.
pub(crate) fn assert_broken(side: &mut Side, code: Code) -> Broken {
    let broken = side.broken.unwrap_or_else(|| panic!("goes on; has seen {:?}", side.seen));
    assert_eq!(broken.code, code, "{}", broken.reason);
    let out = side.write();
    let frames = frames(&out);
    let (kind, _, stream, payload) = frames.last().expect("a frame");
    assert_eq!((*kind, *stream), (kind::GOAWAY, 0));
    assert_eq!(payload[4..8], number(code.0));
    broken
}

/// Asserts that the stream was reset with this code, and the connection goes on.
pub(crate) fn assert_reset(side: &mut Side, stream: u32, expected: Code) -> &'static str {
    assert_eq!(side.broken, None);
    let seen = side.take();
    let Some(Seen::Reset { id, code, by: tidegate_wire::h2::By::Us(reason) }) = seen.last() else {
        panic!("no reset: {seen:?}")
    };
    assert_eq!((*id, *code), (stream, expected), "{reason}");
    let out = side.write();
    let told = frames(&out)
        .iter()
        .any(|(kind, _, id, payload)| *kind == kind::RST_STREAM && *id == stream && payload[..] == number(expected.0));
    assert!(told, "the peer is not told");
    reason
}
