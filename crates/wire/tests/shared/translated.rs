//! Requests of HTTP/2 that are written as HTTP/1: whoever reads them there reads one message, and the same.

use std::time::Instant;

use tidegate_wire::h1;
use tidegate_wire::h2::frame::{self, flag, kind};
use tidegate_wire::h2::{Connection, Event, Limits, Role};
use tidegate_wire::{Framing, Head, Method};

use super::h2::means_the_same;
use super::reference::{self, Body};

/// Bytes as fields: a byte for what each is, and what it says up to a zero. What is accepted is written as HTTP/1 and read by our
/// reader and by one that shares no code with it.
pub(crate) fn request(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let mut block = Vec::new();
    let fronts: [&[(&str, &str)]; 4] = [
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")],
        &[(":method", "POST"), (":scheme", "https"), (":path", "/x?y")],
        &[(":method", "CONNECT"), (":authority", "a:443")],
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a")],
    ];
    for (name, value) in fronts[usize::from(first >> 1 & 3)] {
        literal(name.as_bytes(), value.as_bytes(), &mut block);
    }
    for line in rest.split(|byte| *byte == 0).take(40) {
        let Some((what, text)) = line.split_first() else { continue };
        let name = NAMES[usize::from(*what) % NAMES.len()];
        match (name, text.iter().position(|byte| *byte == b'=')) {
            ("", Some(at)) => literal(&text[..at], &text[at + 1..], &mut block),
            _ => literal(name.as_bytes(), text, &mut block),
        }
    }
    accepted(&block, first & 1 == 1);
}

/// What a request is made of, and what somebody would smuggle another in by.
const NAMES: [&str; 24] = [
    "",
    ":method",
    ":scheme",
    ":authority",
    ":path",
    ":protocol",
    ":status",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "cookie",
    "keep-alive",
    "proxy-connection",
    "content_length",
    "x-a",
    "http2-settings",
    "content-encoding",
    "via",
    "priority",
];

fn accepted(block: &[u8], end: bool) {
    // A block that one frame cannot hold says nothing more here.
    if block.len() > frame::PAYLOAD {
        return;
    }
    let limits = Limits { extended_connect: true, ..Limits::default() };
    let (mut server, mut head) = (Connection::new(Role::Server, &limits), Head::default());
    let mut wire = frame::PREFACE.to_vec();
    frame::begin(0, kind::SETTINGS, 0, 0, &mut wire);
    let flags = flag::END_HEADERS | if end { flag::END_STREAM } else { 0 };
    frame::begin(block.len(), kind::HEADERS, flags, 1, &mut wire);
    wire.extend_from_slice(block);
    let mut at = 0;
    while let Ok(step) = server.step(&wire[at..], Instant::now(), &mut head) {
        at += step.used;
        match step.event {
            Some(Event::Head { .. }) => return read_again(&head),
            None if step.used == 0 => return,
            _ => {}
        }
    }
}

fn read_again(head: &Head) {
    means_the_same(head);
    if head.method() == Method::Connect && !head.protocol().is_empty() {
        return;
    }
    let mut out = Vec::new();
    h1::request_head(head, &mut out);
    let shown = out.escape_ascii().to_string();
    // Another request right behind it must not become a part of it, nor it of another.
    let length = out.len();
    out.extend_from_slice(b"GET /smuggled HTTP/1.1\r\nhost: b\r\n\r\n");
    let read = reference::request(&out).unwrap_or_else(|why| panic!("{why}: {shown}"));
    assert_eq!(read.length, length, "{shown}");
    assert_eq!(read.start.0.as_bytes(), head.method_text(), "{shown}");
    let tunnel = head.method() == Method::Connect;
    let mut target = if tunnel { head.authority().to_vec() } else { head.path().to_vec() };
    if let Some(query) = head.query() {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    assert_eq!(read.start.1.as_bytes(), target, "{shown}");
    let body = match head.framing() {
        Framing::None => Body::None,
        Framing::Length(length) => Body::Length(length),
        _ => Body::Chunked,
    };
    assert_eq!(read.body, body, "{shown}");
    let hosts = read.fields.iter().filter(|(name, _)| name == "host").map(|(_, value)| &value[..]);
    assert_eq!(hosts.collect::<Vec<_>>(), [head.authority()], "{shown}");
}

fn literal(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    for text in [name, value] {
        let text = &text[..text.len().min(126)];
        out.push(text.len() as u8);
        out.extend_from_slice(text);
    }
}
