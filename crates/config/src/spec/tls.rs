//! Certificates, and TLS on both sides.

use std::path::PathBuf;
use std::time::Duration;

use wire::starttls::Protocol;

use super::{Algorithms, Secret};
use crate::span::Span;

/// A file, and where it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// Its path.
    pub path: PathBuf,
    /// Where it was written, for a file that is not there or not what it should be.
    pub span: Span,
}

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its key under `certificates`.
    pub name: String,
    /// Where it was written.
    pub span: Span,
    /// Where it comes from.
    pub source: CertificateSource,
    /// Whether it is for clients whose name is nobody's.
    pub default: bool,
}

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// From files that somebody else writes.
    Files {
        /// The chain.
        cert: NamedFile,
        /// The private key.
        key: NamedFile,
        /// What its authority says of it (RFC 6066 section 8).
        ocsp: Option<NamedFile>,
    },
    /// All that are in a folder.
    Folder(NamedFile),
    /// Made here, for these hosts and addresses; `*.` in front of some.
    Internal(Vec<String>),
    /// From an authority that is asked.
    Acme(Box<Acme>),
}

/// How an authority is asked for certificates (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// The directory's URL.
    pub directory: String,
    /// Whom it may write to.
    pub email: Vec<String>,
    /// One certificate each; at least one.
    pub domains: Vec<String>,
    /// Hosts of routes that no certificate can be had for in this way.
    pub left_out: Vec<String>,
    /// How a domain is proved to be ours, the first one first; at least one.
    pub challenges: Vec<Challenge>,
    /// Who we are to it: an identifier, and a key in base64url.
    pub eab: Option<(String, Secret)>,
    /// Who is believed when it is asked; the system's authorities if absent.
    pub ca: Option<NamedFile>,
}

impl Default for Acme {
    fn default() -> Acme {
        Acme {
            directory: crate::keys::DIRECTORY.to_owned(),
            email: Vec::new(),
            domains: Vec::new(),
            left_out: Vec::new(),
            challenges: Vec::new(),
            eab: None,
            ca: None,
        }
    }
}

/// How a domain is proved to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// By a request (RFC 8555 section 8.3).
    Http01,
    /// By a handshake (RFC 8737).
    TlsAlpn01,
}

/// A certificate by its place in [`Spec::certificates`](crate::spec::Spec::certificates).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CertificateId(pub usize);

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// TLS towards clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// What clients are shown: at least one.
    pub certificates: Vec<CertificateId>,
    /// The oldest version.
    pub min_version: MinVersion,
    /// The algorithms that are spoken.
    pub algorithms: Algorithms,
    /// What is asked of clients.
    pub client_cert: Option<ClientCert>,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How many may be under way in the process.
    pub handshakes: u32,
    /// The protocol inside of which it begins; at once if absent.
    pub starttls: Option<Protocol>,
    /// Whether a client may go on in plain there.
    pub lets_plain: bool,
}

/// What is asked of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCert {
    /// Who signs them.
    pub ca: NamedFile,
    /// Whether a client without one is refused.
    pub required: bool,
}

/// TLS towards servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTls {
    /// The name that certificates must be for; the server's own if absent.
    pub server_name: Option<String>,
    /// Who is believed; the system's authorities if absent.
    pub ca: Option<NamedFile>,
    /// Whether anything is demanded of certificates.
    pub verify: bool,
    /// What servers are shown.
    pub certificate: Option<CertificateId>,
    /// The oldest version.
    pub min_version: MinVersion,
    /// The algorithms that are spoken.
    pub algorithms: Algorithms,
    /// The protocol inside of which it begins; at once if absent.
    pub starttls: Option<Protocol>,
    /// Whether a server that has none inside of it is spoken to in plain.
    pub lets_plain: bool,
}
