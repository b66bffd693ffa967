//! What clients of HTTP/3 may not do (RFC 9114 sections 4 to 7, RFC 9204).

use testkit::h3::{Quic, frame, head};
use testkit::{Server, Tidegate};

use super::{GET, before, quic};
use crate::tls::Desk;

const FRAME_UNEXPECTED: u64 = 0x105;
const FRAME_ERROR: u64 = 0x106;
const REQUEST_INCOMPLETE: u64 = 0x10d;
const MESSAGE_ERROR: u64 = 0x10e;

/// The program, its server, and a client that does as it likes.
fn odd() -> (Desk, Server, Tidegate, Quic) {
    let (desk, server) = (Desk::new(), Server::echo());
    let tidegate = before(&desk, &server, "");
    let quic = quic(&desk, &tidegate);
    (desk, server, tidegate, quic)
}

/// The status of an answer: the static table has those that matter here.
fn status(answer: &[u8]) -> &'static str {
    // A front of two or three bytes, the section's prefix, and the first line.
    let front = if answer[1] < 0x40 { 2 } else { 3 };
    match (answer[0], answer[front + 2], answer[front + 3]) {
        (1, 0xd9, _) => "200",
        (1, 0xff, 4) => "400",
        (1, 0xff, 6) => "421",
        (1, 0x5f, _) => "another",
        _ => panic!("{answer:?}"),
    }
}

fn content(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).into_owned()
}

#[test]
fn requests_that_are_none_are_refused_alone() {
    let (_desk, server, tidegate, quic) = odd();
    let wrong: [&[(&str, &str)]; 14] = [
        &[GET[1], GET[2], GET[3]],
        &[GET[0], GET[2], GET[3]],
        &[GET[0], GET[1], GET[2]],
        &[GET[0], GET[1], GET[3]],
        &[GET[0], GET[0], GET[1], GET[2], GET[3]],
        &[GET[0], GET[1], GET[2], GET[3], ("X-Upper", "1")],
        &[GET[0], GET[1], GET[2], GET[3], ("connection", "close")],
        &[GET[0], GET[1], GET[2], GET[3], ("transfer-encoding", "chunked")],
        &[GET[0], GET[1], GET[2], GET[3], ("te", "gzip")],
        &[GET[0], GET[1], GET[2], GET[3], ("host", "other.example")],
        &[GET[0], GET[1], GET[2], GET[3], ("x-a", "b\r\nx-c: d")],
        &[GET[0], GET[1], GET[2], ("x-a", "b"), GET[3]],
        &[GET[0], GET[1], GET[2], (":path", "no-slash")],
        &[GET[0], GET[1], GET[2], GET[3], ("content-length", "1"), ("content-length", "2")],
    ];
    for fields in wrong {
        let mut stream = quic.open(&head(fields), true).expect("a stream");
        let answer = quic.rest(&mut stream).expect("an answer");
        assert_eq!(status(&answer), "400", "{fields:?}");
        assert!(content(&answer).contains("400: malformed"), "{fields:?}: {}", content(&answer));
    }
    let mut stream = quic.open(&head(&GET), true).expect("a stream");
    assert_eq!(status(&quic.rest(&mut stream).expect("an answer")), "200", "the connection is none the worse");
    assert_eq!(server.requests().len(), 1);
    tidegate.log_of("/plain");
    assert_eq!(tidegate.log().iter().filter(|line| line["fault"] == "malformed").count(), wrong.len());
}

#[test]
fn lengths_that_are_not_kept_reset_the_stream() {
    let (_desk, _server, tidegate, quic) = odd();
    for (content, path) in [(&b"1234"[..], "/short"), (b"123456", "/long")] {
        let post = [(":method", "POST"), GET[1], GET[2], (":path", path), ("content-length", "5")];
        let bytes = [head(&post), frame(0, content)].concat();
        let mut stream = quic.open(&bytes, true).expect("a stream");
        assert_eq!(quic.rest(&mut stream).expect_err("a reset").0, Some(MESSAGE_ERROR));
    }
    // The other one has come with its head and is no request.
    let line = tidegate.log_of("/short");
    assert_eq!(line["fault"], "malformed", "{line}");
    assert_eq!(line["reason"], "content of another length than was said", "{line}");
    let mut stream = quic.open(&[], true).expect("a stream");
    assert_eq!(quic.rest(&mut stream).expect_err("a reset").0, Some(REQUEST_INCOMPLETE));
}

#[test]
fn frames_out_of_place_end_the_connection() {
    for (bytes, code) in [
        (frame(0, b"early"), FRAME_UNEXPECTED),
        ([head(&GET), frame(4, b"")].concat(), FRAME_UNEXPECTED),
        ([head(&GET), frame(2, b"")].concat(), FRAME_UNEXPECTED),
        ([head(&GET), vec![0, 9, 1]].concat(), FRAME_ERROR),
        (frame(1, &[1, 0, 0xd1]), 0x200),
        (frame(1, &[0, 0, 0x80]), 0x200),
    ] {
        let (_desk, _server, tidegate, quic) = odd();
        let _stream = quic.open(&bytes, true).expect("a stream");
        assert_eq!(quic.closed().0, Some(code), "{bytes:?}");
        // What came before it may have been a request that was served.
        if bytes[..2] != head(&GET)[..2] {
            tidegate.log_line("what broke the protocol", |line| line["fault"] == "malformed" && line["version"] == "3");
        }
    }
}

#[test]
fn streams_of_the_client_are_judged() {
    for (bytes, code) in [
        (&[0, 0xd, 1, 5][..], 0x10a),
        (&[0, 4, 0, 4, 0], FRAME_UNEXPECTED),
        (&[0, 4, 2, 2, 1], 0x109),
        (&[1], 0x103),
        (&[2, 0x3f, 0xe1, 0x1f], 0x201),
        (&[3, 0x80], 0x202),
    ] {
        let (_desk, _server, tidegate, quic) = odd();
        let _stream = quic.open_one_way(bytes).expect("a stream");
        assert_eq!(quic.closed().0, Some(code), "{bytes:?}");
        tidegate.log_line("what broke the protocol", |line| line["fault"] == "malformed");
    }
    let (_desk, _server, _tidegate, quic) = odd();
    let mut control = quic.open_one_way(&[0, 4, 0]).expect("a stream");
    control.finish().expect("sent");
    assert_eq!(quic.closed().0, Some(0x104), "a critical stream that ends");
    let (_desk, _server, _tidegate, quic) = odd();
    let mut unknown = quic.open_one_way(&[0x21, 1, 2, 3]).expect("a stream");
    assert_eq!(quic.stopped(&mut unknown).expect("a word"), Some(0x103), "what nobody knows is not read");
}

#[test]
fn a_host_with_another_certificate_is_misdirected() {
    let (_desk, server, _tidegate, quic) = odd();
    let elsewhere = head(&[GET[0], GET[1], (":authority", "elsewhere.test"), GET[3]]);
    let mut stream = quic.open(&elsewhere, true).expect("a stream");
    assert_eq!(status(&quic.rest(&mut stream).expect("an answer")), "200", "one certificate is for all");
    let plain = head(&[GET[0], (":scheme", "http"), GET[2], GET[3]]);
    let mut stream = quic.open(&plain, true).expect("a stream");
    assert_eq!(status(&quic.rest(&mut stream).expect("an answer")), "421");
    assert_eq!(server.requests().len(), 1);
}
