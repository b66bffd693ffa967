//! Health of servers: what is checked, what becomes of a server that fails, and how it comes back.

mod active;
mod outlier;
mod probes;
mod real;
mod slow_start;

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{PATIENCE, Peer, Server, Tidegate, ok};

/// What the admin API says of one server of a pool, at its only address.
pub(crate) fn shown(tidegate: &Tidegate, pool: &str, number: usize) -> Value {
    let answer = tidegate.admin(&format!("/api/pools/{pool}"));
    let pool: Value = serde_json::from_slice(&answer.body).expect("JSON");
    pool["servers"][number]["addresses"][0].clone()
}

/// Waits until a server of pool `app` is so, and answers what is said of it.
pub(crate) fn until_state(tidegate: &Tidegate, number: usize, state: &str) -> Value {
    until_state_in(tidegate, "app", number, state)
}

/// The same in any pool.
pub(crate) fn until_state_in(tidegate: &Tidegate, pool: &str, number: usize, state: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let server = shown(tidegate, pool, number);
        if server["state"] == state {
            return server;
        }
        assert!(Instant::now() < deadline, "server {number} does not become {state}: {server}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A server that answers every request with this status.
pub(crate) fn answering(status: u16) -> Server {
    Server::http(move |_| format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\n\r\n").into_bytes())
}

/// Answers every request of a connection with its own target.
fn well(peer: &mut Peer) {
    while let Some(request) = peer.request() {
        peer.send(ok(request.target));
    }
}
