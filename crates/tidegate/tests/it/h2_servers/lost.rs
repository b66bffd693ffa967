//! Connections to servers of HTTP/2 that fall silent, or are cut in the middle: which requests go elsewhere, and how the others
//! end. The servers are written by hand, since no library would do that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use testkit::h2_server::Backend;
use testkit::{Peer, Server, Signal, Tidegate};

use crate::support::start;

/// A frame, as it comes.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
}

const HEADERS: u8 = 1;
const PING: u8 = 6;

/// One worker, and two servers of which the first is asked first.
fn before(lost: &Server, other: &Backend) -> Tidegate {
    let text = "
workers: 1
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: { a: @LOST, b: @OTHER }, balance: first, protocol: h2, retries: { if: [connect, reset] } } }
";
    start(text, &[("LOST", lost), ("OTHER", other)])
}

fn bytes(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// Says hello as a server does.
fn greet(peer: &mut Peer) {
    // Who is silent longer than a test's patience is told so by the program and nobody else.
    peer.reader.socket.set_patience(Duration::from_secs(120)).expect("an open socket");
    peer.reader.exactly(24).expect("a preface");
    peer.send([bytes(4, 0, 0, &[]), bytes(4, 1, 0, &[])].concat());
}

fn next(peer: &mut Peer) -> Option<Frame> {
    let front = peer.reader.exactly(9).ok()?;
    let length = u32::from_be_bytes([0, front[0], front[1], front[2]]);
    peer.reader.exactly(length as usize).ok()?;
    let stream = u32::from_be_bytes([front[5], front[6], front[7], front[8]]);
    Some(Frame { kind: front[3], flags: front[4], stream })
}

#[test]
fn a_server_that_gives_no_sign_of_life_is_given_up() {
    let pinged = Signal::new();
    let seen = pinged.clone();
    let silent = Server::script(move |peer| {
        greet(peer);
        while let Some(frame) = next(peer) {
            if frame.kind == PING && frame.flags == 0 {
                seen.raise();
            }
        }
    });
    let other = Backend::named("other");
    let tidegate = before(&silent, &other);
    let (mut safe, mut unsafe_) = (tidegate.client(), tidegate.client());
    safe.send("GET /safe HTTP/1.1\r\nHost: a\r\n\r\n");
    unsafe_.send("POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\npay");
    pinged.wait();
    let answer = safe.response();
    assert_eq!((answer.status, answer.text()), (200, "other".to_owned()), "what is safe goes elsewhere");
    assert_eq!(unsafe_.response().status, 502, "what is not may have happened");
    let line = tidegate.log_of("/pay");
    assert_eq!((line["fault"].as_str(), silent.connections()), (Some("reset"), 1), "{line}");
    assert_eq!(other.asked().len(), 1);
}

#[test]
fn a_connection_that_is_cut_in_the_middle_loses_what_is_not_safe_to_ask_again() {
    let (begun, begin) = (Signal::new(), Signal::new());
    let (told, may_begin) = (begun.clone(), begin.clone());
    let first = AtomicBool::new(true);
    let lost = Server::script(move |peer| {
        if !first.swap(false, Ordering::Relaxed) {
            // The server is gone.
            return;
        }
        greet(peer);
        let mut heads = 0;
        while let Some(frame) = next(peer) {
            if frame.kind != HEADERS {
                continue;
            }
            heads += 1;
            if heads == 1 {
                // A status of 200, and a part of the content.
                let head = bytes(HEADERS, 4, frame.stream, &[0x88]);
                peer.send([head, bytes(0, 0, frame.stream, b"half")].concat());
                told.raise();
                may_begin.wait();
            }
            if heads == 3 {
                return;
            }
        }
    });
    let other = Backend::named("other");
    let tidegate = before(&lost, &other);
    let mut half = tidegate.client();
    half.send("GET /half HTTP/1.1\r\nHost: a\r\n\r\n");
    begun.wait();
    assert_eq!(half.head().status, 200);
    begin.raise();
    let tidegate = &tidegate;
    let (safe, paid) = thread::scope(|scope| {
        let safe = scope.spawn(|| tidegate.client().get("/safe"));
        let pay = "POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\npay";
        let paid = scope.spawn(move || tidegate.client().ask(pay));
        (safe.join().expect("an answer"), paid.join().expect("an answer"))
    });
    assert_eq!((safe.status, safe.text()), (200, "other".to_owned()));
    assert_eq!(paid.status, 502);
    assert!(half.try_response().is_err(), "what has begun is visibly cut");
    assert_eq!(tidegate.log_of("/half")["fault"], "truncated");
    assert_eq!(tidegate.log_of("/pay")["fault"], "reset");
    let asked: Vec<String> = other.asked().iter().map(|asked| asked.uri.clone()).collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].ends_with("/safe"), "{asked:?}");
}
