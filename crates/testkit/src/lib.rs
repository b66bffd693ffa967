//! Blocking tools for tests that run the real program: what stands before it, what stands behind it, and the program.
//!
//! - [`wait`]: how a test waits: for an event, with a deadline
//! - [`socket`]: a connected socket of either family
//! - [`tls`]: TLS on it, either side
//! - [`authority`]: certificates, made when they are needed
//! - [`message`]: HTTP/1 messages, by a strict reader that shares no code with the program
//! - [`client`]: sends exact bytes, reads exactly one response
//! - [`h2`]: a client of HTTP/2
//! - [`h3`]: a client of HTTP/3, and of QUIC for those that break its rules
//! - [`h2_server`]: a backend of HTTP/2
//! - [`h3_server`]: a backend of HTTP/3, and one of QUIC that breaks its rules
//! - [`ledger`]: what either has seen
//! - [`server`]: a backend that follows a script
//! - [`datagram`]: clients and servers of UDP, and a translator of addresses that forgets
//! - [`absent`]: addresses where no server answers
//! - [`nginx`]: a real server
//! - [`coding`]: content out of its coding
//! - [`names`]: a name server with answers that can change
//! - [`netns`]: machines of a test's own, as far as their network is concerned
//! - [`talk`]: a conversation on which TLS may begin at any word
//! - [`tools`]: clients and servers of another making
//! - [`unsteered`]: the kernel without the program that finds the workers of datagrams
//! - [`process`]: one of them that runs beside a test
//! - [`program`]: the program under test
//!
//! Nothing here sleeps and hopes. What does not happen in time panics: a test has no other way to go on.

pub mod absent;
pub mod acme;
pub mod authority;
pub mod client;
pub mod coding;
pub mod datagram;
pub mod h2;
pub mod h2_server;
pub mod h3;
pub mod h3_server;
pub mod ledger;
pub mod message;
pub mod names;
pub mod netns;
pub mod nginx;
pub mod process;
pub mod program;
pub mod server;
pub mod socket;
pub mod talk;
pub mod tls;
pub mod tools;
pub mod unsteered;
pub mod wait;

pub use absent::{Deaf, Hanging, Refusing, Unheard};
pub use acme::Acme;
pub use authority::{Authority, Issued};
pub use client::{Client, Ending};
pub use coding::{coded, decoded, decoded_whole};
pub use message::{Broken, Fields, Framing, Request, Response};
pub use names::{Names, Way};
pub use netns::{Bpffs, Netns};
pub use nginx::Nginx;
pub use process::Process;
pub use program::{Folder, Reloaded, Start, Tidegate, failure_of, output_of};
pub use server::{Peer, Server, ok};
/// Base64, as credentials are written in.
pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// What a server answers to the key of a WebSocket (RFC 6455 section 4.2.2).
pub fn websocket_accept(key: &str) -> String {
    use sha1::Digest as _;
    let hash = sha1::Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    base64(&hash)
}

pub use talk::Talk;
pub use tls::{ClientTls, ServerTls, Wishes};
pub use tools::{is_root, node, python, skip, tool};
pub use wait::{PATIENCE, Shared, Signal, until};
