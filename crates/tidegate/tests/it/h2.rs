//! HTTP/2 from clients: streams side by side, their bodies, their ends, and what becomes of the connection.

mod bodies;
mod ends;
mod strict;
mod websockets;

use std::net::SocketAddr;

use testkit::{Server, Tidegate, h2};

use crate::support::before_with;

/// The program with a listener that speaks HTTP/2 without TLS, too, and a client of it.
fn before(server: &Server) -> (Tidegate, h2::Client) {
    before_and(server, "timeouts: { keep_alive: 60s }")
}

/// The same with lines of its own for the listener.
fn before_and(server: &Server, listener: &str) -> (Tidegate, h2::Client) {
    let tidegate = before_with(server, &format!("http: [h1, h2], {listener}"));
    let client = client(&tidegate);
    (tidegate, client)
}

fn client(tidegate: &Tidegate) -> h2::Client {
    h2::Client::connect(address(tidegate))
}

fn address(tidegate: &Tidegate) -> SocketAddr {
    tidegate.address("web").parse().expect("an address")
}

fn field<'a>(whole: &'a h2::Whole, name: &str) -> Option<&'a str> {
    whole.fields.get(name).map(|value| value.to_str().expect("text"))
}
