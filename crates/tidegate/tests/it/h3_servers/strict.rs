//! Servers that break the rules: nothing of what they say reaches a client.

use testkit::h3::{frame, head};
use testkit::h3_server::{Act, Raw, SETTINGS};

use super::{before, shown};
use crate::tls::Desk;

/// What a client gets of a server that says this to whatever it is asked, and why as the log has it.
fn answer_to(said: Vec<u8>) -> (u16, String) {
    let desk = Desk::new();
    let server = Raw::start(&shown(&desk), &SETTINGS, false, move |_, _| vec![Act::Say(said.clone()), Act::End]);
    let tidegate = before(&desk, &server, "");
    let status = tidegate.client().get("/").status;
    let line = tidegate.log_of("/");
    assert_eq!(line["fault"], "bad_response", "{line}");
    (status, line["reason"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn malformed_heads_are_answered_for() {
    let heads: [(&[(&str, &str)], &str); 9] = [
        (&[("content-type", "text/plain")], "no :status"),
        (&[(":status", "20")], "invalid :status"),
        (&[(":status", "101")], "status 101"),
        (&[(":status", "200"), (":status", "200")], "a pseudo-header field twice"),
        (&[(":status", "200"), (":path", "/")], "a pseudo-header field in the wrong kind of message"),
        (&[("x-a", "b"), (":status", "200")], "a pseudo-header field behind a field"),
        (&[(":status", "200"), ("X-A", "b")], "field name in upper case"),
        (&[(":status", "200"), ("connection", "close")], "a field of the connection"),
        (&[(":status", "200"), ("x-a", "b\r\nset-cookie: c")], "invalid field value"),
    ];
    for (fields, why) in heads {
        assert_eq!(answer_to(head(fields)), (502, why.to_owned()), "{fields:?}");
    }
}

#[test]
fn content_that_is_not_what_was_said_is_answered_for() {
    let other = "content of another length than was said";
    let announced = head(&[(":status", "200"), ("content-length", "5")]);
    assert_eq!(answer_to(announced.clone()).1, other);
    assert_eq!(answer_to([announced, frame(0, b"123456")].concat()).1, other);
    assert_eq!(answer_to([head(&[(":status", "204")]), frame(0, b"1")].concat()).1, other);
    let two = head(&[(":status", "200"), ("content-length", "5"), ("content-length", "6")]);
    assert_eq!(answer_to(two).0, 502);
}

#[test]
fn frames_out_of_their_places_are_answered_for() {
    assert_eq!(answer_to(frame(0, b"x")), (502, "a frame out of its place".to_owned()));
    assert_eq!(answer_to(frame(5, b"\0")), (502, "a push that was not allowed".to_owned()));
    assert_eq!(answer_to(frame(8, b"")), (502, "a frame of HTTP/2".to_owned()));
    let pointing = frame(1, b"\0\0\x80");
    assert_eq!(answer_to(pointing), (502, "an index into a table that is not allowed".to_owned()));
}

/// As over HTTP/1.1: the connection has ended where a head was due.
#[test]
fn a_stream_that_ends_before_its_head_is_a_reset() {
    let desk = Desk::new();
    for said in [Vec::new(), head(&[(":status", "100")]), head(&[(":status", "200")])[..7].to_vec()] {
        let acts = vec![Act::Say(said.clone()), Act::End];
        let server = Raw::start(&shown(&desk), &SETTINGS, false, move |_, _| acts.clone());
        let tidegate = before(&desk, &server, "");
        assert_eq!(tidegate.client().get("/").status, 502, "{said:x?}");
        assert_eq!(tidegate.log_of("/")["fault"], "reset", "{said:x?}");
    }
}

#[test]
fn too_many_interim_responses_are_an_attack() {
    let (status, why) = answer_to(head(&[(":status", "103")]).repeat(100));
    assert_eq!((status, why.as_str()), (502, "too many interim responses"));
}

/// What breaks the connection breaks what is under way on it; the next request has another.
#[test]
fn a_control_stream_is_judged() {
    let desk = Desk::new();
    for said in [&frame(0xd, &[1])[..], &frame(4, b""), &frame(7, &[5]), &frame(0, b"x"), &frame(7, &[9, 9])] {
        let said = said.to_vec();
        let server = Raw::start(&shown(&desk), &SETTINGS, false, move |number, _| {
            let fine = [head(&[(":status", "200")]), frame(0, b"fine")].concat();
            match number {
                0 => vec![Act::Control(said.clone())],
                _ => vec![Act::Say(fine), Act::End],
            }
        });
        let tidegate = before(&desk, &server, "");
        let mut client = tidegate.client();
        assert_eq!(client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status, 502);
        assert_eq!(tidegate.client().get("/").text(), "fine");
        assert_eq!(server.connections(), 2);
    }
}
