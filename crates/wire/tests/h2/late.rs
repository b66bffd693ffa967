//! Frames that come when their stream is gone already, or nearly.

use tidegate_wire::Head;
use tidegate_wire::h2::frame::{flag, kind};
use tidegate_wire::h2::{Code, Limits, StreamId};

use super::pair::Seen;
use super::raw::{GET, POST, assert_broken, data, frame, frames, number, request, reset, server, window};

fn id(number: u32) -> StreamId {
    StreamId::new(number).expect("a number")
}

/// What is under way to a stream that we reset was sent in good faith, in however many frames; what is more was not.
#[test]
fn content_under_way_is_paid_by_the_window() {
    let (mut side, now) = server(&Limits::default());
    side.read(&request(1, false, &POST), now);
    side.connection.reset(id(1), Code::CANCEL);
    let window = Limits::default().stream_window;
    for _ in 0..window / 105 {
        side.read(&data(1, false, &[b'x'; 105]), now);
    }
    assert_eq!(side.broken, None);
    let mut more = 0;
    while side.broken.is_none() {
        side.read(&data(1, false, &[b'x'; 105]), now);
        more += 1;
    }
    assert!(more <= 1_001, "{more}");
    assert_broken(&mut side, Code::ENHANCE_YOUR_CALM);
}

/// Frames that take nothing, or next to nothing, of the window are not free for it.
#[test]
fn small_late_frames_are_bounded() {
    for content in [&b""[..], b"x"] {
        let (mut side, now) = server(&Limits::default());
        side.read(&request(1, false, &POST), now);
        side.connection.reset(id(1), Code::CANCEL);
        let mut took = 0;
        while side.broken.is_none() {
            side.read(&data(1, false, content), now);
            took += 1;
        }
        assert_broken(&mut side, Code::ENHANCE_YOUR_CALM);
        assert!(took < 10_000, "{took}");
    }
}

/// A thousand finished streams do not make us forget one that we have reset.
#[test]
fn resets_are_remembered_apart() {
    let (mut side, now) = server(&Limits::default());
    side.read(&request(1, false, &POST), now);
    side.connection.reset(id(1), Code::CANCEL);
    let mut head = Head::default();
    head.start_response(204);
    for turn in 1..1_000 {
        let stream = turn * 2 + 1;
        side.read(&request(stream, true, &GET), now);
        side.connection.send_head(id(stream), &head);
        side.connection.finish(id(stream), None);
        side.write();
    }
    side.read(&data(1, false, b"late"), now);
    side.read(&request(1, true, &[("a", "trailer")]), now);
    assert_eq!(side.broken, None);
}

/// RFC 9113 section 6.8: streams above the last that we have named are ignored, and those below go on.
#[test]
fn streams_behind_the_last_goodbye_are_ignored() {
    let (mut side, now) = server(&Limits::default());
    side.read(&request(1, true, &GET), now);
    side.connection.go_away(Code::NO_ERROR);
    side.write();
    side.take();
    // The second request names what the first has put into the table.
    let indexed = |fields: &[u8]| frame(kind::HEADERS, flag::END_HEADERS, 3, fields);
    side.read(&indexed(&[0x40, 1, b'a', 1, b'b']), now);
    side.read(&[data(3, false, b"content"), window(3, 5), window(3, 0), data(3, true, b"")].concat(), now);
    side.read(&[reset(3), data(5, true, b"x"), window(5, 1), reset(5)].concat(), now);
    side.read(&frame(kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 7, &[0x80 | 62]), now);
    assert_eq!((side.broken, side.take()), (None, Vec::<Seen>::new()));
    assert!(side.write().is_empty());
    let mut head = Head::default();
    head.start_response(204);
    side.connection.send_head(id(1), &head);
    side.connection.finish(id(1), None);
    assert!(!side.write().is_empty() && side.connection.is_over());
    // A stream that only we could begin is still none.
    side.read(&data(8, true, b"x"), now);
    assert_broken(&mut side, Code::PROTOCOL_ERROR);
}

/// Padding is handed on where it stands, so the peer is told so even if no content follows that somebody consumes.
#[test]
fn padding_gives_its_window_back() {
    let limits = Limits { stream_window: 65_535, ..Limits::default() };
    let (mut side, now) = server(&limits);
    side.read(&request(1, false, &POST), now);
    side.write();
    let padded = frame(kind::DATA, flag::PADDED, 1, &[[255].as_slice(), &[0; 255]].concat());
    for _ in 0..128 {
        side.read(&padded, now);
    }
    let out = side.write();
    assert_eq!(frames(&out), [(kind::WINDOW_UPDATE, 0, 1, number(128 * 256).to_vec())]);
}
