//! Each kind of probe against servers that are well, sick, silent, or something else altogether.

use std::sync::Arc;

use testkit::{PATIENCE, Peer, Server, Shared};

use super::{shown, until_state};
use crate::support::before_pool;

/// A kind, what a well server says at once, a piece of what it is asked, what a sick one says, and the reason that is given.
struct Kind {
    probe: &'static str,
    well: &'static [u8],
    asked: &'static [u8],
    sick: &'static [u8],
    reason: &'static str,
}

/// SETTINGS, the head of a response, and a message of two bytes.
macro_rules! grpc {
    ($status:literal) => {
        concat!(
            "\0\0\0\x04\0\0\0\0\0",
            "\0\0\x01\x01\x04\0\0\0\x01\x3f",
            "\0\0\x07\0\0\0\0\0\x01",
            "\0\0\0\0\x02\x08",
            $status
        )
        .as_bytes()
    };
}

const KINDS: [Kind; 6] = [
    Kind {
        probe: "redis",
        well: b"+PONG\r\n",
        asked: b"*1\r\n$4\r\nPING\r\n",
        sick: b"-LOADING wait\r\n",
        reason: "LOADING wait ×1",
    },
    Kind {
        probe: "postgres",
        well: b"R\0\0\0\x08\0\0\0\x03",
        asked: b"user\0tidegate\0",
        sick: b"E\0\0\0\x17SFATAL\0C57P03\0Mno\0\0",
        reason: "error 57P03: no ×1",
    },
    Kind {
        probe: "mysql",
        well: b"\x06\0\0\0\x0a8.0\0\0\x07\0\0\x02\0\0\0\x02\0\0\0",
        asked: b"tidegate\0",
        sick: b"\x07\0\0\0\xff\x10\x04full",
        reason: "error 1040: full ×1",
    },
    Kind {
        probe: "smtp",
        well: b"220 mail.example\r\n250 mail.example\r\n",
        asked: b"EHLO tidegate\r\nQUIT\r\n",
        sick: b"421 later\r\n",
        reason: "421 later ×1",
    },
    Kind {
        probe: "tls",
        well: b"\x16\x03\x03\0\x04\x02\0\0\0",
        asked: b"\x01\0",
        sick: b"\x15\x03\x03\0\x02\x02\x28",
        reason: "TLS alert 40 ×1",
    },
    Kind {
        probe: "grpc",
        well: grpc!("\x01"),
        asked: b"/grpc.health.v1.Health/Check",
        sick: grpc!("\x02"),
        reason: "NOT_SERVING ×1",
    },
];

#[test]
fn a_server_that_is_well_stays_up() {
    for kind in &KINDS {
        let heard = Arc::new(Shared::new(Vec::<Vec<u8>>::new()));
        let (well, notes) = (kind.well, Arc::clone(&heard));
        let server = Server::script(move |peer| {
            peer.send(well);
            let said = peer.rest().unwrap_or_default();
            notes.with(|heard| heard.push(said));
        });
        let tidegate = before_pool(&server, &format!("health: {{ probe: {}, every: 20ms, fall: 1 }}", kind.probe));
        let asked = |said: &Vec<u8>| said.windows(kind.asked.len()).any(|part| part == kind.asked);
        let all = heard.within(PATIENCE, |heard| (heard.iter().filter(|said| asked(said)).count() >= 3).then_some(()));
        assert!(all.is_some(), "{}: {:?}", kind.probe, heard.with(|heard| heard.clone()));
        assert_eq!(shown(&tidegate, "app", 0)["state"], "up", "{}", kind.probe);
    }
}

#[test]
fn a_server_that_is_sick_is_down_and_says_why() {
    for kind in &KINDS {
        let sick = kind.sick;
        let server = Server::script(move |peer| {
            peer.send(sick);
            peer.hang();
        });
        let tidegate = before_pool(&server, &format!("health: {{ probe: {} }}", kind.probe));
        assert_eq!(until_state(&tidegate, 0, "down")["reason"], kind.reason, "{}", kind.probe);
    }
}

#[test]
fn a_server_that_is_silent_or_something_else_is_down() {
    let (silent, other) = (
        Server::script(Peer::hang),
        Server::script(|peer| {
            peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
            peer.hang();
        }),
    );
    for kind in &KINDS {
        let health = format!("health: {{ probe: {}, timeout: 100ms }}", kind.probe);
        let tidegate = before_pool(&silent, &health);
        assert_eq!(until_state(&tidegate, 0, "down")["reason"], "timeout after 100ms ×1", "{}", kind.probe);
        let tidegate = before_pool(&other, &health);
        let reason = until_state(&tidegate, 0, "down")["reason"].as_str().unwrap_or_default().to_owned();
        assert!(reason.starts_with("no answer of ") || reason.starts_with("HTTP/1.1 400"), "{}: {reason}", kind.probe);
    }
}

/// An answer without end is cut off long before it fills the memory.
#[test]
fn a_server_that_never_stops_talking_is_down() {
    for probe in ["redis", "smtp", "http"] {
        let server = Server::script(|peer| while peer.try_send([b'x'; 4096]) {});
        let tidegate = before_pool(&server, &format!("health: {{ probe: {probe}, timeout: 10s }}"));
        let reason = until_state(&tidegate, 0, "down")["reason"].as_str().unwrap_or_default().to_owned();
        assert!(!reason.contains("timeout"), "{probe}: {reason}");
    }
}
