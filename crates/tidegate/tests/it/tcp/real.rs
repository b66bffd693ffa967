//! Servers of another making, for flows.

use std::net::TcpListener;

/// A port that nobody has, for a server that cannot say which one it was given: whoever takes it first makes the test fail, not pass.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port()
}
