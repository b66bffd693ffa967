//! Frames that break a rule of RFC 9113 sections 4 to 6, and the code that each earns.

use tidegate_wire::Head;
use tidegate_wire::h2::frame::{PREFACE, flag, kind};
use tidegate_wire::h2::{Code, Limits, Role, StreamId};

use super::pair::{Seen, Side};
use super::raw::{
    GET, POST, assert_broken, assert_reset, block, client, data, frame, headers, number, request, reset, server,
    settings, window,
};

#[test]
fn connections_begin_with_preface_and_settings() {
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"] {
        let mut side = Side::new(Role::Server, &Limits::default());
        side.read(bytes, std::time::Instant::now());
        assert_broken(&mut side, Code::PROTOCOL_ERROR);
    }
    for first in [frame(kind::PING, 0, 0, &[0; 8]), frame(kind::SETTINGS, flag::ACK, 0, &[]), request(1, true, &GET)] {
        let mut side = Side::new(Role::Server, &Limits::default());
        side.read(PREFACE, std::time::Instant::now());
        side.read(&first, std::time::Instant::now());
        assert_broken(&mut side, Code::PROTOCOL_ERROR);
    }
}

#[test]
fn broken_connections() {
    let idle = 9;
    let padded = flag::PADDED | flag::END_HEADERS;
    let rows: Vec<(Vec<u8>, Code)> = vec![
        (frame(kind::PING, 0, 0, &vec![0; 16_385]), Code::FRAME_SIZE_ERROR),
        (frame(kind::PING, 0, 0, &[0; 7]), Code::FRAME_SIZE_ERROR),
        (frame(kind::PING, 0, 1, &[0; 8]), Code::PROTOCOL_ERROR),
        (frame(kind::SETTINGS, 0, 0, &[0; 7]), Code::FRAME_SIZE_ERROR),
        (frame(kind::SETTINGS, 0, 1, &[]), Code::PROTOCOL_ERROR),
        (frame(kind::SETTINGS, flag::ACK, 0, &[0; 6]), Code::FRAME_SIZE_ERROR),
        // The second acknowledges what nobody has said.
        (frame(kind::SETTINGS, flag::ACK, 0, &[]).repeat(2), Code::PROTOCOL_ERROR),
        (settings(&[(2, 2)]), Code::PROTOCOL_ERROR),
        (settings(&[(4, 0x8000_0000)]), Code::FLOW_CONTROL_ERROR),
        (settings(&[(5, 16_383)]), Code::PROTOCOL_ERROR),
        (settings(&[(5, 16_777_216)]), Code::PROTOCOL_ERROR),
        (settings(&[(8, 2)]), Code::PROTOCOL_ERROR),
        (frame(kind::GOAWAY, 0, 0, &[0; 7]), Code::FRAME_SIZE_ERROR),
        (frame(kind::GOAWAY, 0, 1, &[0; 8]), Code::PROTOCOL_ERROR),
        (frame(kind::RST_STREAM, 0, 1, &[0; 3]), Code::FRAME_SIZE_ERROR),
        (reset(0), Code::PROTOCOL_ERROR),
        (reset(idle), Code::PROTOCOL_ERROR),
        (reset(2), Code::PROTOCOL_ERROR),
        (frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3]), Code::FRAME_SIZE_ERROR),
        (window(0, 0), Code::PROTOCOL_ERROR),
        (window(0, 0x7fff_ffff), Code::FLOW_CONTROL_ERROR),
        (window(idle, 1), Code::PROTOCOL_ERROR),
        (data(0, true, b"x"), Code::PROTOCOL_ERROR),
        (data(idle, true, b"x"), Code::PROTOCOL_ERROR),
        (frame(kind::DATA, flag::PADDED, 1, &[]), Code::FRAME_SIZE_ERROR),
        (frame(kind::DATA, flag::PADDED, 1, &[3, 0, 0]), Code::PROTOCOL_ERROR),
        (headers(0, true, &block(&GET)), Code::PROTOCOL_ERROR),
        (headers(2, true, &block(&GET)), Code::PROTOCOL_ERROR),
        (frame(kind::HEADERS, padded, 3, &[]), Code::PROTOCOL_ERROR),
        (frame(kind::HEADERS, padded, 3, &[2, 0x82]), Code::PROTOCOL_ERROR),
        (frame(kind::HEADERS, flag::PRIORITY | flag::END_HEADERS, 3, &[0; 4]), Code::FRAME_SIZE_ERROR),
        (frame(kind::CONTINUATION, flag::END_HEADERS, 1, &[]), Code::PROTOCOL_ERROR),
        (frame(kind::PRIORITY, 0, 0, &[0; 5]), Code::PROTOCOL_ERROR),
        (frame(kind::PRIORITY, 0, idle, &[0; 4]), Code::FRAME_SIZE_ERROR),
        (frame(kind::PRIORITY_UPDATE, 0, 0, &[0; 3]), Code::PROTOCOL_ERROR),
        (frame(kind::PRIORITY_UPDATE, 0, 1, &[0, 0, 0, 1]), Code::PROTOCOL_ERROR),
        // For the connection itself, which has no priority.
        (frame(kind::PRIORITY_UPDATE, 0, 0, b"\0\0\0\0u=1"), Code::PROTOCOL_ERROR),
        (frame(kind::PRIORITY_UPDATE, 0, 0, b"\x80\0\0\0u=1"), Code::PROTOCOL_ERROR),
        (frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, &[0, 0, 0, 2]), Code::PROTOCOL_ERROR),
        // Indices and sizes of the table that cannot be.
        (headers(3, true, &[0x80]), Code::COMPRESSION_ERROR),
        (headers(3, true, &[0x80 | 62]), Code::COMPRESSION_ERROR),
        (headers(3, true, &[0x3f, 0xe2, 0x1f]), Code::COMPRESSION_ERROR),
        (headers(3, true, &[0x20, 0x20, 0x20, 0x82]), Code::COMPRESSION_ERROR),
        (headers(3, true, &[0x82, 0x20]), Code::COMPRESSION_ERROR),
        (headers(3, true, &[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]), Code::COMPRESSION_ERROR),
        (headers(3, true, &[0x00, 0x05, b'a']), Code::COMPRESSION_ERROR),
        (headers(3, true, &[0x00, 0x81, 0xff, 0x00]), Code::COMPRESSION_ERROR),
    ];
    for (bytes, code) in rows {
        let (mut side, now) = server(&Limits::default());
        side.read(&request(1, false, &POST), now);
        side.read(&bytes, now);
        let broken = assert_broken(&mut side, code);
        assert!(!broken.reason.is_empty());
        // Nothing more is heard.
        side.take();
        assert_eq!(side.connection.step(&bytes, now, &mut side.head).map(|step| step.event), Ok(None));
    }
}

#[test]
fn nothing_comes_between_the_parts_of_a_block() {
    let block = block(&GET);
    for (second, code) in [
        (frame(kind::PING, 0, 0, &[0; 8]), Code::PROTOCOL_ERROR),
        (frame(kind::CONTINUATION, flag::END_HEADERS, 3, &[]), Code::PROTOCOL_ERROR),
        (data(1, true, b""), Code::PROTOCOL_ERROR),
        (frame(77, 0, 0, b""), Code::PROTOCOL_ERROR),
    ] {
        let (mut side, now) = server(&Limits::default());
        side.read(&frame(kind::HEADERS, 0, 1, &block), now);
        side.read(&second, now);
        assert_broken(&mut side, code);
    }
}

#[test]
fn streams_that_break_a_rule_are_reset_alone() {
    for (bytes, code) in [
        (window(1, 0), Code::PROTOCOL_ERROR),
        (window(1, 0x7fff_ffff), Code::FLOW_CONTROL_ERROR),
        (frame(kind::PRIORITY, 0, 1, &[0; 4]), Code::FRAME_SIZE_ERROR),
    ] {
        let (mut side, now) = server(&Limits::default());
        side.read(&request(1, false, &POST), now);
        side.read(&bytes, now);
        assert_reset(&mut side, 1, code);
    }
    for bytes in [data(1, true, b"x"), data(1, true, b""), request(1, true, &[("a", "b")])] {
        let (mut side, now) = server(&Limits::default());
        side.read(&request(1, true, &GET), now);
        side.read(&bytes, now);
        assert_reset(&mut side, 1, Code::STREAM_CLOSED);
        assert_eq!(side.connection.open_streams(), 0);
    }
}

#[test]
fn closed_streams_stay_closed() {
    for bytes in [data(1, true, b"x"), request(1, true, &GET)] {
        let (mut side, now) = server(&Limits::default());
        side.read(&request(1, true, &GET), now);
        let mut head = Head::default();
        head.start_response(204);
        let id = StreamId::new(1).expect("a number");
        side.connection.send_head(id, &head);
        side.connection.finish(id, None);
        side.read(&bytes, now);
        assert_broken(&mut side, Code::STREAM_CLOSED);
    }
    let (mut side, now) = server(&Limits::default());
    side.read(&request(5, true, &GET), now);
    side.read(&request(3, true, &GET), now);
    assert_broken(&mut side, Code::PROTOCOL_ERROR);
    // What crosses a reset of ours is no mistake of the peer's.
    let (mut side, now) = server(&Limits::default());
    side.read(&request(1, false, &POST), now);
    side.connection.reset(StreamId::new(1).expect("a number"), Code::CANCEL);
    for bytes in [data(1, false, b"x"), window(1, 5), reset(1), request(1, true, &[("a", "b")])] {
        side.read(&bytes, now);
    }
    side.read(&request(3, true, &GET), now);
    assert!(matches!(side.take()[..], [_, Seen::Head { id: 3, .. }]));
}

#[test]
fn a_client_takes_no_streams_of_the_servers() {
    for stream in [1, 2, 3] {
        let (mut side, now) = client(&Limits::default());
        side.read(&headers(stream, true, &block(&[(":status", "200")])), now);
        assert_broken(&mut side, Code::PROTOCOL_ERROR);
    }
}

#[test]
fn priorities_are_read_in_the_new_way_and_ignored_in_the_old() {
    let (mut side, now) = server(&Limits::default());
    side.read(&request(1, true, &GET), now);
    // A stream that depends on itself is what RFC 7540 had a rule for.
    side.read(&frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 1, 0]), now);
    side.read(&frame(kind::PRIORITY_UPDATE, 0, 0, &[&number(1)[..], b"u=0"].concat()), now);
    side.read(&frame(kind::PRIORITY_UPDATE, 0, 0, &[&number(99)[..], b"u=0"].concat()), now);
    let own = [&[0, 0, 0, 3, 255][..], &block(&GET)].concat();
    let flags = flag::PRIORITY | flag::END_HEADERS | flag::END_STREAM;
    side.read(&frame(kind::HEADERS, flags, 3, &own), now);
    side.read(&frame(200, 0xff, 1, b"unknown"), now);
    assert!(matches!(side.take()[..], [Seen::Head { id: 1, .. }, Seen::Head { id: 3, .. }]));
    assert_eq!(side.broken, None);
}

#[test]
fn a_client_is_told_no_priorities() {
    let (mut side, now) = super::raw::client(&Limits::default());
    side.read(&frame(kind::PRIORITY_UPDATE, 0, 0, &[&number(1)[..], b"u=0"].concat()), now);
    assert_broken(&mut side, Code::PROTOCOL_ERROR);
}

#[test]
fn padding_counts_and_is_given_back() {
    let limits = Limits { stream_window: 65_535, connection_window: 65_535, ..Limits::default() };
    let (mut side, now) = server(&limits);
    side.read(&request(1, false, &POST), now);
    side.take();
    let payload = [&[200][..], b"content", &[0; 200]].concat();
    let id = StreamId::new(1).expect("a number");
    for _ in 0..2_000 {
        side.read(&frame(kind::DATA, flag::PADDED, 1, &payload), now);
        assert_eq!(side.take(), [Seen::Data { id: 1, content: b"content".to_vec(), end: false }]);
        side.connection.consumed(id, 7);
        side.write();
    }
    // The end comes with the content although padding stands between them.
    side.read(&frame(kind::DATA, flag::PADDED | flag::END_STREAM, 1, &payload), now);
    assert_eq!(side.take(), [Seen::Data { id: 1, content: b"content".to_vec(), end: true }]);
}
