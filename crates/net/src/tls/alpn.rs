//! The protocols that are agreed on in a handshake (RFC 7301).

/// A protocol that both sides may agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// HTTP/1.1, which stands for all of HTTP/1.
    H1,
    /// HTTP/2.
    H2,
    /// HTTP/3, which is never offered over TCP.
    H3,
    /// PostgreSQL.
    Postgres,
    /// A proof that a domain is ours (RFC 8737). Nothing is spoken then.
    AcmeTls,
}

impl Alpn {
    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Alpn::H1 => "http/1.1",
            Alpn::H2 => "h2",
            Alpn::H3 => "h3",
            Alpn::Postgres => "postgresql",
            Alpn::AcmeTls => "acme-tls/1",
        }
    }

    /// The one of that name, if it is known.
    pub fn of(name: &[u8]) -> Option<Alpn> {
        [Alpn::H1, Alpn::H2, Alpn::H3, Alpn::Postgres, Alpn::AcmeTls]
            .into_iter()
            .find(|known| known.name().as_bytes() == name)
    }
}

/// Protocols as an offer, the preferred one first.
pub(super) fn offer(protocols: &[Alpn]) -> Vec<Vec<u8>> {
    protocols.iter().map(|protocol| protocol.name().as_bytes().to_vec()).collect()
}
