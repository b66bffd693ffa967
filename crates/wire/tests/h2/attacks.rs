//! What peers do to us for nothing, and where it ends. Each attack runs until it is over, and says how long it was let.

use std::time::{Duration, Instant};

use tidegate_wire::Head;
use tidegate_wire::h2::frame::{flag, kind};
use tidegate_wire::h2::{Code, Limits, StreamId};

use super::pair::{Seen, Side};
use super::raw::{
    GET, POST, assert_broken, assert_reset, block, client, data, frame, frames, headers, number, request, reset,
    server, settings, window,
};

/// Reads what `attack` makes of each number until the connection ends; answers how often it did.
fn attack(side: &mut Side, now: Instant, mut attack: impl FnMut(u32) -> Vec<u8>) -> u32 {
    for turn in 0..100_000 {
        side.read(&attack(turn), now);
        side.take();
        if side.broken.is_some() {
            return turn;
        }
        let memory = side.connection.capacity();
        assert!(memory < 512 * 1024, "{memory} bytes");
    }
    panic!("the attack goes on for ever");
}

fn id(number: u32) -> StreamId {
    StreamId::new(number).expect("a number")
}

/// CVE-2023-44487: requests that are taken back at once.
#[test]
fn rapid_reset() {
    let (mut side, now) = server(&Limits::default());
    let took = attack(&mut side, now, |turn| [request(turn * 2 + 1, true, &GET), reset(turn * 2 + 1)].concat());
    assert_broken(&mut side, Code::ENHANCE_YOUR_CALM);
    assert!((100..=200).contains(&took), "{took}");
}

/// A user who leaves pages takes requests back, too: a whole page's at once, again and again, with time between.
#[test]
fn leaving_pages_is_no_attack() {
    let (mut side, mut now) = server(&Limits::default());
    let mut stream = 1;
    for _ in 0..50 {
        for _ in 0..60 {
            side.read(&[request(stream, true, &GET), reset(stream)].concat(), now);
            stream += 2;
        }
        now += Duration::from_secs(2);
    }
    assert_eq!(side.broken, None);
}

/// A client that takes back one request in twelve of many keeps its connection, however fast it is; one that takes back each
/// second does not, though all others are finished.
#[test]
fn work_that_is_finished_pays_for_what_is_taken_back() {
    for (each, holds) in [(12, true), (2, false)] {
        let (mut side, now) = server(&Limits::default());
        let mut head = Head::default();
        head.start_response(204);
        for turn in 0..10_000 {
            let stream = turn * 2 + 1;
            side.read(&request(stream, true, &GET), now);
            if turn % each == 0 {
                side.read(&reset(stream), now);
            } else {
                side.connection.send_head(id(stream), &head);
                side.connection.finish(id(stream), None);
                side.write();
            }
            side.take();
        }
        assert_eq!(side.broken.is_none(), holds, "one in {each}");
    }
}

/// CVE-2025-8671: the peer makes us reset what it has begun, by breaking a rule on it.
#[test]
fn made_you_reset() {
    type Provoke = fn(u32) -> Vec<u8>;
    let ways: [Provoke; 6] = [
        |stream| window(stream, 0),
        |stream| window(stream, 0x7fff_ffff),
        |stream| data(stream, true, b"behind the end"),
        |stream| frame(kind::PRIORITY, 0, stream, &[0; 4]),
        |stream| headers(stream, true, &block(&[("a", "b")])),
        |stream| headers(stream, false, &block(&[(":path", "/")])),
    ];
    for way in ways {
        let (mut side, now) = server(&Limits::default());
        let took = attack(&mut side, now, |turn| [request(turn * 2 + 1, true, &GET), way(turn * 2 + 1)].concat());
        assert_broken(&mut side, Code::ENHANCE_YOUR_CALM);
        assert!((100..=200).contains(&took), "{took}");
    }
}

#[test]
fn malformed_requests() {
    let (mut side, now) = server(&Limits::default());
    let took = attack(&mut side, now, |turn| request(turn * 2 + 1, true, &[("a", "b")]));
    assert_broken(&mut side, Code::ENHANCE_YOUR_CALM);
    assert!((100..=200).contains(&took), "{took}");
}

/// CVE-2024-27316 and its kin: a block of fields that never ends.
#[test]
fn continuation_flood() {
    for payload in [&[][..], &[0x82; 1], &[0x82; 100], &[0x82; 16_384]] {
        let (mut side, now) = server(&Limits::default());
        side.read(&frame(kind::HEADERS, flag::END_STREAM, 1, &block(&GET)), now);
        let took = attack(&mut side, now, |_| frame(kind::CONTINUATION, 0, 1, payload));
        assert_broken(&mut side, Code::ENHANCE_YOUR_CALM);
        assert!(took <= 64, "{took}");
    }
}

/// CVE-2019-9515 and CVE-2019-9512: frames that want an answer, from a peer that reads them and from one that does not.
#[test]
fn settings_and_ping_floods() {
    for (flood, most) in [(settings(&[(4, 65_535)]), 100), (frame(kind::PING, 0, 0, &[7; 8]), 1_000)] {
        for reads in [true, false] {
            let (mut side, now) = server(&Limits::default());
            let mut took = 0;
            while side.broken.is_none() {
                side.read(&flood, now);
                took += 1;
                if reads && side.broken.is_none() {
                    side.write();
                }
            }
            assert_broken(&mut side, Code::ENHANCE_YOUR_CALM);
            assert!(took <= most, "{took}");
        }
    }
    // However slowly it comes, what is not read is bounded.
    let (mut side, mut now) = server(&Limits::default());
    let took = {
        let mut took = 0;
        while side.broken.is_none() {
            side.read(&frame(kind::PING, 0, 0, &[7; 8]), now);
            now += Duration::from_secs(1);
            took += 1;
        }
        took
    };
    assert_broken(&mut side, Code::ENHANCE_YOUR_CALM);
    assert!(took < 1_000, "{took}");
}

/// CVE-2019-9518: frames without content that end nothing; and kinds that mean nothing to us.
#[test]
fn empty_and_useless_floods() {
    for flood in [
        data(1, false, b""),
        frame(kind::DATA, flag::PADDED, 1, &[[255].as_slice(), &[0; 255]].concat()),
        frame(kind::PRIORITY, 0, 1, &[0; 5]),
        frame(kind::PRIORITY_UPDATE, 0, 0, &[&number(1)[..], b"u=1"].concat()),
        frame(99, 0, 0, b"x"),
        window(0, 1),
        window(1, 1),
        reset(3),
        frame(kind::GOAWAY, 0, 0, &[0; 8]),
    ] {
        let (mut side, now) = server(&Limits::default());
        side.read(&request(1, false, &POST), now);
        side.read(&[request(3, true, &GET), reset(3)].concat(), now);
        let took = attack(&mut side, now, |_| flood.clone());
        assert_broken(&mut side, Code::ENHANCE_YOUR_CALM);
        assert!(took <= 1_000, "{took}");
    }
}

/// A long upload or download makes many WINDOW_UPDATEs, which are no flood.
#[test]
fn window_updates_of_a_download_are_no_attack() {
    let (mut side, now) = server(&Limits::default());
    side.read(&request(1, true, &GET), now);
    let mut head = Head::default();
    head.start_response(200);
    side.connection.send_head(id(1), &head);
    for _ in 0..20_000 {
        assert_eq!(side.connection.send(id(1), &[b'x'; 1_000]), 1_000);
        side.write();
        side.read(&[window(0, 1_000), window(1, 1_000)].concat(), now);
    }
    assert_eq!(side.broken, None);
}

/// Go's client says that it has read each 4 KiB, of the stream and of the connection, when all of it may be here already.
#[test]
fn small_window_updates_of_a_large_download_are_no_attack() {
    let (mut side, now) = server(&Limits::default());
    side.read(&[request(1, true, &GET), window(1, 8 << 20), window(0, 8 << 20)].concat(), now);
    let mut head = Head::default();
    head.start_response(200);
    side.connection.send_head(id(1), &head);
    for _ in 0..10 {
        for _ in 0..4 << 20 >> 14 {
            assert_eq!(side.connection.send(id(1), &[b'x'; 16_384]), 16_384);
            side.write();
        }
        for _ in 0..4 << 20 >> 12 {
            side.read(&[window(0, 4_096), window(1, 4_096)].concat(), now);
        }
        assert_eq!(side.broken, None);
    }
    // What was sent pays once.
    let took = attack(&mut side, now, |_| window(0, 1));
    assert_broken(&mut side, Code::ENHANCE_YOUR_CALM);
    assert!(took < 20_000, "{took}");
}

/// CVE-2019-9511: a window of a byte at a time, for content that waits.
#[test]
fn data_dribble() {
    let (mut side, now) = server(&Limits::default());
    side.read(&[settings(&[(4, 0)]), request(1, true, &GET)].concat(), now);
    let mut head = Head::default();
    head.start_response(200);
    side.connection.send_head(id(1), &head);
    let mut took = 0;
    while side.broken.is_none() {
        side.read(&window(1, 1), now);
        side.connection.send(id(1), &[b'x'; 1_000]);
        side.write();
        took += 1;
    }
    assert!(took < 1_100, "{took}");
}

/// The HPACK bomb: a few bytes that name a large entry again and again.
#[test]
fn hpack_bomb() {
    let (mut side, now) = server(&Limits::default());
    let mut bomb = block(&GET);
    // An entry of 4,000 bytes, then its index as often as a frame holds.
    bomb.extend_from_slice(&[0x40, 1, b'k', 0x7f, 0x80 | 0x21, 0x1e]);
    bomb.extend_from_slice(&[b'v'; 4_000]);
    bomb.resize(16_384, 0x80 | 62);
    side.read(&headers(1, true, &bomb), now);
    assert!(side.broken.is_some(), "{:?}", side.take());
    assert!(side.head.capacity() < 256 * 1024, "{}", side.head.capacity());
    assert!(side.connection.capacity() < 64 * 1024, "{}", side.connection.capacity());
}

/// Changes of the table's size in each block: two are allowed, and no table comes of them.
#[test]
fn table_size_abuse() {
    let (mut side, now) = server(&Limits::default());
    for turn in 0..1_000 {
        let stream = turn * 2 + 1;
        let mut changes = vec![0x20, 0x3f, 0xe1, 0x1f];
        changes.extend_from_slice(&block(&GET));
        changes.extend_from_slice(&[0x40, 1, b'k', 1, b'v']);
        side.read(&headers(stream, true, &changes), now);
        side.connection.reset(id(stream), Code::CANCEL);
        side.write();
    }
    assert_eq!(side.broken, None);
    assert!(side.connection.capacity() < 16 * 1024, "{}", side.connection.capacity());
}

#[test]
fn streams_over_the_limit_are_refused_and_then_the_peer() {
    let (mut side, now) = server(&Limits { streams: 10, ..Limits::default() });
    for turn in 0..11 {
        side.read(&request(turn * 2 + 1, true, &GET), now);
    }
    assert_eq!(side.take().len(), 10);
    let out = side.write();
    assert_eq!(frames(&out), [(kind::RST_STREAM, 0, 21, number(Code::REFUSED_STREAM.0).to_vec())]);
    let took = attack(&mut side, now, |turn| request(turn * 2 + 23, true, &GET));
    assert_broken(&mut side, Code::ENHANCE_YOUR_CALM);
    assert!(took <= 500, "{took}");
}

#[test]
fn windows_hold() {
    let limits = Limits { stream_window: 65_535, connection_window: 100_000, ..Limits::default() };
    let (mut side, now) = server(&limits);
    side.read(&[request(1, false, &POST), request(3, false, &POST)].concat(), now);
    for _ in 0..3 {
        side.read(&data(1, false, &[b'x'; 16_384]), now);
    }
    side.take();
    side.read(&data(1, false, &[b'x'; 16_384]), now);
    assert_reset(&mut side, 1, Code::FLOW_CONTROL_ERROR);
    // What the stream held went back to the connection's window, and it alone.
    for stream in [5, 7] {
        side.read(&request(stream, false, &POST), now);
    }
    for stream in [3, 3, 3, 5, 5, 5] {
        side.read(&data(stream, false, &[b'x'; 16_384]), now);
    }
    assert_eq!(side.broken, None);
    side.read(&data(7, false, &[b'x'; 16_384]), now);
    assert_broken(&mut side, Code::FLOW_CONTROL_ERROR);
}

#[test]
fn a_new_initial_window_cannot_overflow_the_old() {
    let (mut side, now) = server(&Limits::default());
    side.read(&request(1, true, &GET), now);
    side.read(&window(1, 0x7fff_ffff - 65_535), now);
    side.read(&settings(&[(4, 65_536)]), now);
    assert_broken(&mut side, Code::FLOW_CONTROL_ERROR);
}

/// CVE-2019-9517 and its like: a peer asks for much and gives no window. What waits for it stays with its driver.
#[test]
fn no_window_no_memory() {
    let (mut side, now) = server(&Limits::default());
    side.read(&settings(&[(4, 0)]), now);
    let mut head = Head::default();
    head.start_response(200);
    for turn in 0..100 {
        side.read(&request(turn * 2 + 1, true, &GET), now);
        side.connection.send_head(id(turn * 2 + 1), &head);
        assert_eq!(side.connection.send(id(turn * 2 + 1), &[b'x'; 100_000]), 0);
    }
    assert!(side.connection.capacity() < 64 * 1024, "{}", side.connection.capacity());
    assert_eq!(side.connection.writable_in_order().count(), 0);
    side.take();
    // A smaller window than what was sent leaves less than none, and an update has to make up for that first.
    side.read(&settings(&[(4, 5)]), now);
    assert_eq!(side.take(), [Seen::Settings]);
    assert_eq!(side.connection.writable_in_order().count(), 100);
    assert_eq!(side.connection.send(id(1), b"1234567"), 5);
    side.read(&settings(&[(4, 1)]), now);
    side.read(&window(1, 4), now);
    assert!(!side.connection.is_writable(id(1)));
    side.read(&window(1, 1), now);
    assert_eq!(side.connection.send(id(1), b"67"), 1);
}

/// A server can flood its client as well.
#[test]
fn servers_that_reset_everything() {
    let (mut side, now) = client(&Limits::default());
    let mut head = Head::default();
    head.start_request(b"GET", b"a", b"/", None);
    let mut took = 0;
    while side.broken.is_none() {
        let stream = side.connection.open(&head).expect("a stream");
        side.write();
        side.read(&reset(stream.number()), now);
        took += 1;
    }
    assert_broken(&mut side, Code::ENHANCE_YOUR_CALM);
    assert!((500..=1_001).contains(&took), "{took}");
}
