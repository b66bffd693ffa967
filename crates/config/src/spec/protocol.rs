//! What is spoken with servers.

/// What a pool's servers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/2: agreed on in the handshake of TLS, by prior knowledge without.
    H2,
    /// HTTP/3, which is nothing without TLS.
    H3,
}
