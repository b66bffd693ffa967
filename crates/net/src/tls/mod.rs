//! TLS on a stream, by rustls: its sessions, its certificates, its judgement of both. Here stands only how its bytes reach the
//! socket, and which certificate a name is shown.
//!
//! - [`alpn`]: the protocols that are agreed on in a handshake
//! - [`identity`]: a certificate chain with its key
//! - [`terminate`]: our side of connections from clients
//! - [`originate`]: our side of connections to servers
//! - [`secured`]: a session on its socket

pub mod alpn;
pub mod identity;
pub mod originate;
pub mod secured;
pub mod terminate;

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use alpn::Alpn;
pub use identity::{BadIdentity, Identity};
pub use originate::{Originator, Trust};
pub use secured::{Agreed, Secured};
pub use terminate::{ClientCert, Terminator, Tickets};

/// The oldest version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Oldest {
    /// TLS 1.2 (RFC 5246), with forward secrecy and AEAD alone.
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl Oldest {
    fn versions(self) -> &'static [&'static rustls::SupportedProtocolVersion] {
        static NEWEST: [&rustls::SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
        match self {
            Oldest::Tls12 => rustls::ALL_VERSIONS,
            Oldest::Tls13 => &NEWEST,
        }
    }
}

/// One set of algorithms for the whole process.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}
