//! Our side of connections from clients: which certificate a name is shown, and what is asked of the client.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::identity::certificates;
use super::secured::{self, Secured};
use super::{Identity, Oldest, provider};
use crate::stream::Stream;

/// All that is settled before a client comes.
#[derive(Clone, Debug)]
pub struct Terminator {
    config: Arc<ServerConfig>,
}

/// The keys that session tickets are made with. They are drawn at the start, replaced every six hours, and outlive reloads.
#[derive(Clone, Debug)]
pub struct Tickets {
    producer: Arc<dyn rustls::server::ProducesTickets>,
}

/// What is asked of clients.
#[derive(Clone, Debug)]
pub enum ClientCert {
    /// Nothing.
    Off,
    /// A certificate that one of these signed (PEM); `true` if a client without one is refused.
    By(Vec<u8>, bool),
}

impl Tickets {
    /// Draws the first keys.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new() -> Result<Tickets, String> {
        let producer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
        Ok(Tickets { producer })
    }
}

impl Terminator {
    /// With these identities; the first marked one, or the first, is for clients whose name is nobody's.
    ///
    /// # Errors
    /// The authorities of clients cannot be read.
    pub fn new(
        identities: &[(Identity, bool)],
        oldest: Oldest,
        client_cert: &ClientCert,
        protocols: &[&[u8]],
        tickets: &Tickets,
    ) -> Result<Terminator, String> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(oldest.versions())
            .map_err(|error| error.to_string())?;
        let builder = match client_cert {
            ClientCert::Off => builder.with_no_client_auth(),
            ClientCert::By(authorities, required) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authorities)?), provider());
                let verifier = if *required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().map_err(|error| error.to_string())?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(Names::of(identities)));
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        config.ticketer = Arc::clone(&tickets.producer);
        Ok(Terminator { config: Arc::new(config) })
    }

    /// Makes a client's stream a secured one. The caller bounds the time.
    ///
    /// # Errors
    /// The client broke off, or both could not agree; the client was told then.
    pub async fn accept(&self, stream: Stream) -> std::io::Result<Stream> {
        let session = ServerConnection::new(Arc::clone(&self.config)).map_err(std::io::Error::other)?;
        secured::handshake(Secured::new(stream, session.into())).await
    }
}

/// The authorities of a PEM text.
pub(super) fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}

/// Which certificates a name is shown: those of its very name, else of its wildcard, else the default's. A name can have
/// one for each kind of key.
#[derive(Debug)]
struct Names {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// Without their `*.`: RFC 9525 section 6.3 lets it stand for one label.
    wildcards: HashMap<String, Vec<Arc<CertifiedKey>>>,
    default: Vec<Arc<CertifiedKey>>,
}

impl Names {
    fn of(identities: &[(Identity, bool)]) -> Names {
        let mut names = Names { exact: HashMap::new(), wildcards: HashMap::new(), default: Vec::new() };
        for (identity, _) in identities {
            for name in identity.names() {
                let (table, name) = match name.strip_prefix("*.") {
                    Some(rest) => (&mut names.wildcards, rest),
                    None => (&mut names.exact, name.as_str()),
                };
                table.entry(name.to_owned()).or_default().push(Arc::clone(&identity.key));
            }
        }
        let marked: Vec<_> = identities.iter().filter(|(_, default)| *default).collect();
        let defaults = if marked.is_empty() { identities.iter().take(1).collect() } else { marked };
        names.default = defaults.into_iter().map(|(identity, _)| Arc::clone(&identity.key)).collect();
        names
    }

    fn find(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name.map(str::to_ascii_lowercase) else { return &self.default };
        let wildcard = || name.split_once('.').and_then(|(_, rest)| self.wildcards.get(rest));
        self.exact.get(&name).or_else(wildcard).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = self.find(hello.server_name());
        // In the order of the configuration; one that the client understands before one that it does not.
        let understood = found.iter().find(|key| key.key.choose_scheme(hello.signature_schemes()).is_some());
        understood.or_else(|| found.first()).cloned()
    }
}
