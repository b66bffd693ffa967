//! Sans-IO protocol knowledge: bytes in, structures out, and back.
//!
//! The rooms, in the order in which a message walks:
//!
//! - [`proxy_protocol`]: what a proxy in front says of a connection, and what we say of it
//! - [`socks`]: what a client of SOCKS asks for, and what it is told
//! - [`client_hello`]: the first words of a client of TLS, whose connection ends elsewhere
//! - [`quic`]: the ids of QUIC that anybody on the way can read
//! - [`starttls`]: TLS that begins inside of a protocol, either side
//! - [`parent`]: what is said to a proxy that is asked to connect us to somebody else
//! - [`mysql`]: where TLS begins in its connections, on both sides at once
//! - [`postgres`] and [`mqtt`]: the first words of their clients, whose connection ends elsewhere
//! - [`head`]: the one message head of every HTTP version
//! - [`known`]: the field names that the data path asks for
//! - [`h1`]: HTTP/1 heads and chunked bodies, read strictly and written
//! - [`h2`]: HTTP/2 connections: frames, HPACK, streams, either role
//! - [`h3`]: HTTP/3 on the streams of QUIC: frames, QPACK, what each kind of stream may say
//! - [`uri`]: hosts and paths in their one normal form
//! - [`hop`]: which fields end at this hop
//! - [`websocket`]: the key of a WebSocket and its answer, where only one side has them
//! - [`forwarded`]: who the client is, and what servers are told of it
//! - [`credentials`]: who a client says it is, and how it is asked (Basic, Bearer)
//! - [`coding`]: which content coding a client would have, and what heads say of one
//! - [`content_type`]: what a response may be taken for by its type
//! - [`list`]: lists of sites and words, in the forms in which they are handed round
//! - [`fold`]: texts as words are looked for in them
//! - [`grpc`]: calls, deadlines and statuses of gRPC, and its form for browsers
//!
//! Nothing here opens a socket, reads a clock or draws a random number.

pub mod client_hello;
pub mod coding;
pub mod content_type;
pub mod credentials;
pub mod fold;
pub mod form;
pub mod forwarded;
pub mod grpc;
pub mod h1;
pub mod h2;
pub mod h3;
pub mod head;
pub mod hop;
pub mod known;
pub mod list;
pub mod masque;
pub mod mqtt;
pub mod mysql;
pub mod parent;
pub mod postgres;
pub mod proxy_protocol;
pub mod quic;
pub mod socks;
pub mod starttls;
pub mod uri;
pub mod websocket;

pub use head::{Framing, Head, Method, Version};
pub use known::Known;
