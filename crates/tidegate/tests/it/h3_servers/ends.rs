//! How requests and connections end before their time, and what becomes of those under way.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use testkit::h3_server::{Act, Backend, Code, Manner, Raw, Reply, SETTINGS, ok};
use testkit::{Ending, Reloaded, Signal, h3, until};

use super::{before, before_both, shown, text};
use crate::tls::Desk;

const PAY: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\npay";

#[test]
fn a_rejected_request_is_tried_again_whatever_it_asks() {
    let desk = Desk::new();
    let server = Backend::start(&shown(&desk), Manner::default(), |_| Reply::Reset(Code::H3_REQUEST_REJECTED));
    let other = Backend::named(&shown(&desk), "paid");
    let tidegate = before_both(&desk, &server, &other, "");
    let answer = tidegate.client().ask(PAY);
    assert_eq!((answer.status, answer.text()), (200, "paid".to_owned()));
    assert_eq!((server.asked().len(), other.asked().len()), (1, 1));
}

#[test]
fn a_stream_that_is_reset_for_another_reason_is_not() {
    let desk = Desk::new();
    let server = Backend::start(&shown(&desk), Manner::default(), |_| Reply::Reset(Code::H3_INTERNAL_ERROR));
    let tidegate = before(&desk, &server, "");
    let answer = tidegate.client().ask(PAY);
    assert_eq!((answer.status, server.asked().len()), (502, 1));
    assert_eq!(tidegate.log_of("/")["fault"], "reset");
}

#[test]
fn a_reset_in_the_midst_is_a_visible_cut() {
    let desk = Desk::new();
    let heard = Signal::new();
    let wait = heard.clone();
    let server = Raw::start(&shown(&desk), &SETTINGS, false, move |_, _| {
        let first = [h3::head(&[(":status", "200"), ("content-length", "9")]), h3::frame(0, b"half")].concat();
        vec![Act::Say(first), Act::Wait(wait.clone()), Act::Reset(0x102)]
    });
    let tidegate = before(&desk, &server, "");
    let mut client = tidegate.client();
    client.send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.exactly(4), b"half");
    heard.raise();
    // Five of nine bytes do not come.
    assert!(matches!(client.ending(), Ending::Clean | Ending::Reset));
    let line = tidegate.log_of("/cut");
    assert_eq!((&line["cut"], &line["side"]), (&true.into(), &"server".into()));
}

#[test]
fn a_server_that_leaves_is_connected_to_again() {
    let desk = Desk::new();
    let server = Backend::start(&shown(&desk), Manner::default(), |asked| match asked.connection {
        0 => Reply::Leave(b"bye".to_vec()),
        _ => ok("again"),
    });
    let tidegate = before(&desk, &server, "");
    let mut client = tidegate.client();
    assert_eq!(client.get("/").text(), "bye");
    server.until_open(0);
    assert_eq!(client.get("/").text(), "again");
    assert_eq!(server.connections(), 2);
}

#[test]
fn requests_that_a_server_leaves_behind_are_asked_elsewhere_and_those_before_go_on() {
    let desk = Desk::new();
    let signal = Signal::new();
    let released = signal.clone();
    let answer = [h3::head(&[(":status", "200")]), h3::frame(0, b"first")].concat();
    let server = Raw::start(&shown(&desk), &SETTINGS, false, move |_, asked| {
        match asked.windows(3).any(|part| part == b"pay") {
            // The second stream is 4: it is the first that is not looked at.
            true => vec![Act::Control(h3::frame(7, &[4])), Act::Wait(released.clone())],
            false => vec![Act::Wait(released.clone()), Act::Say(answer.clone()), Act::End],
        }
    });
    let other = Backend::named(&shown(&desk), "paid");
    let tidegate = before_both(&desk, &server, &other, "warm: 1");
    server.until_open(1);
    let mut first = tidegate.client();
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    until("the first is under way", || {
        tidegate.metric("tidegate_server_in_flight", &["pool=\"app\"", "server=\"a\""]) == [1.0]
    });
    let answer = tidegate.client().ask(PAY);
    assert_eq!((answer.status, answer.text()), (200, "paid".to_owned()));
    signal.raise();
    assert_eq!(first.response().text(), "first");
}

#[test]
fn a_connection_that_breaks_takes_only_its_own_requests_with_it() {
    let desk = Desk::new();
    let server = Backend::start(&shown(&desk), Manner::default(), |asked| {
        match (asked.connection, asked.uri.ends_with("/break")) {
            (0, true) => Reply::Break,
            _ => ok("app"),
        }
    });
    let tidegate = before(&desk, &server, "");
    let mut client = tidegate.client();
    assert_eq!(client.get("/").text(), "app");
    // The connection was there before the request, which is safe to send again.
    assert_eq!(client.get("/break").text(), "app");
    assert_eq!((server.connections(), client.get("/").status), (2, 200));
}

#[test]
fn idle_connections_close_and_so_do_those_to_servers_that_are_gone() {
    let desk = Desk::new();
    let server = Backend::named(&shown(&desk), "app");
    let tidegate = before(&desk, &server, "timeouts: { pooled: 100ms }");
    assert_eq!(tidegate.client().get("/").text(), "app");
    server.until_open(0);
    assert_eq!(tidegate.client().get("/").text(), "app");

    let (gone, stays) = (Backend::named(&shown(&desk), "gone"), Backend::named(&shown(&desk), "stays"));
    let tidegate = before(&desk, &gone, "");
    assert_eq!(tidegate.client().get("/").text(), "gone");
    assert_eq!(tidegate.reload(&desk.text(&text(1, ""), &[("APP", &stays)])), Reloaded::Yes);
    gone.until_open(0);
    assert_eq!(tidegate.client().get("/").text(), "stays");
}

#[test]
fn the_end_of_the_process_is_said_to_servers() {
    let desk = Desk::new();
    let server = Backend::named(&shown(&desk), "app");
    let mut tidegate = before(&desk, &server, "");
    assert_eq!(tidegate.client().get("/").text(), "app");
    tidegate.terminate();
    // Much sooner than it would find out by itself.
    server.until_open(0);
    assert!(tidegate.wait().success());
}

#[test]
fn a_reload_under_load_loses_nothing() {
    let desk = Desk::new();
    let servers = [Backend::named(&shown(&desk), "one"), Backend::named(&shown(&desk), "two")];
    let config = |number: usize| desk.text(&text(2, ""), &[("APP", &servers[number % 2])]);
    let tidegate = desk.start(&text(2, ""), &[("APP", &servers[0])]);
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = tidegate.client();
                while !done.load(Ordering::Relaxed) {
                    let answer = client.get("/");
                    assert!(answer.status == 200 && ["one", "two"].contains(&answer.text().as_str()), "{answer:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 1..=10 {
            let before = answered.load(Ordering::Relaxed);
            assert_eq!(tidegate.reload(&config(number)), Reloaded::Yes);
            until("requests under the new configuration", || answered.load(Ordering::Relaxed) > before + 20);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(servers.iter().all(|server| !server.asked().is_empty()));
}
