//! Our side of connections from clients: which certificate a name is shown, and what is asked of the client.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::sync::Arc;

use rustls::server::{
    ClientHello, ProducesTickets, ResolvesServerCert, UnbufferedServerConnection, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use super::engine::Side;
use super::identity::certificates;
use super::secured::Secured;
use super::{Alpn, Identity, Proofs, Spoken, alpn, provider};
use crate::stream::Stream;

/// All that is settled before a client comes.
#[derive(Clone, Debug)]
pub struct Terminator {
    config: Arc<ServerConfig>,
    names: Arc<Names>,
}

/// A handshake that has come to nothing.
#[derive(Debug)]
pub struct Unshaken {
    /// What is wrong.
    pub error: io::Error,
    /// The name that the client has asked for, if it came so far and has.
    pub name: Option<String>,
    /// Whether that is one of those that a certificate is for.
    pub is_known: bool,
}

/// The keys that session tickets are made with. They are drawn at the start, replaced every six hours, and outlive reloads.
#[derive(Clone, Debug)]
pub struct Tickets {
    producer: Arc<dyn ProducesTickets>,
}

/// What is asked of clients.
#[derive(Clone, Debug, Hash)]
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
    /// With these identities, which may be none yet: then every handshake is refused. The first marked one, or the first, is for clients whose name is nobody's. Of the
    /// protocols the first that a client offers, too, is chosen; one that offers others alone is refused (RFC 7301 section 3.2).
    ///
    /// # Errors
    /// The authorities of clients cannot be read.
    pub fn new(
        identities: &[(Identity, bool)],
        spoken: &Spoken,
        client_cert: &ClientCert,
        protocols: &[Alpn],
        tickets: Option<&Tickets>,
        proofs: Option<&Proofs>,
    ) -> Result<Terminator, String> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&spoken.provider))
            .with_protocol_versions(spoken.versions())
            .map_err(|error| error.to_string())?;
        let builder = match client_cert {
            ClientCert::Off => builder.with_no_client_auth(),
            ClientCert::By(authorities, required) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authorities)?), provider());
                let verifier = if *required { verifier } else { verifier.allow_unauthenticated() };
                builder.with_client_cert_verifier(verifier.build().map_err(|error| error.to_string())?)
            }
        };
        let names = Arc::new(Names::of(identities, proofs));
        let resolver: Arc<dyn ResolvesServerCert> = names.clone();
        let mut config = builder.with_cert_resolver(resolver);
        let proving: &[Alpn] = if proofs.is_some() { &[Alpn::AcmeTls] } else { &[] };
        config.alpn_protocols = alpn::offer(&[protocols, proving].concat());
        config.ignore_client_order = spoken.prefers;
        // Records are our own business once hands are shaken.
        config.enable_secret_extraction = true;
        if let Some(tickets) = tickets {
            config.ticketer = Arc::new(Bound::to(client_cert, tickets));
        }
        Ok(Terminator { config: Arc::new(config), names })
    }

    /// Whether a host would be shown the certificate that a connection to this name was shown: a browser may use one connection
    /// for both then (RFC 9113 section 9.1.1). Who named nobody gets what anybody gets.
    pub fn shows_alike(&self, name: Option<&str>, host: &[u8]) -> bool {
        let Some(name) = name.filter(|name| name.as_bytes() != host) else { return true };
        let shown = self.names.find(Some(name)).first();
        let wanted = std::str::from_utf8(host).ok().and_then(|host| self.names.find(Some(host)).first());
        matches!((shown, wanted), (Some(shown), Some(wanted)) if Arc::ptr_eq(shown, wanted))
    }

    /// What rustls was told.
    pub(crate) fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The same that shows this to whoever comes.
    #[must_use]
    pub fn showing(&self, identity: &Identity) -> Terminator {
        let names = Arc::new(Names::of(&[(identity.clone(), true)], None));
        let mut config = (*self.config).clone();
        config.cert_resolver = names.clone();
        Terminator { config: Arc::new(config), names }
    }

    /// Makes a client's stream a secured one. The caller bounds the time.
    ///
    /// # Errors
    /// The client broke off, or both could not agree; the client was told then.
    pub async fn accept(&self, stream: Stream) -> io::Result<Stream> {
        self.accept_heard(stream, Vec::new()).await
    }

    /// The same for a stream of which something was read already.
    ///
    /// # Errors
    /// Those of [`accept`](Terminator::accept).
    pub async fn accept_heard(&self, stream: Stream, heard: Vec<u8>) -> io::Result<Stream> {
        self.accept_told(stream, heard).await.map_err(|unshaken| unshaken.error)
    }

    /// The same with more to say of a failure.
    ///
    /// # Errors
    /// Those of [`accept`](Terminator::accept).
    pub async fn accept_told(&self, stream: Stream, heard: Vec<u8>) -> Result<Stream, Unshaken> {
        let session = UnbufferedServerConnection::new(Arc::clone(&self.config)).map_err(|error| Unshaken {
            error: io::Error::other(error),
            name: None,
            is_known: true,
        })?;
        let secured = Box::new(Secured::new(stream, Side::Server(session)).having(heard));
        match secured.handshake().await {
            Ok(()) => Ok(Stream::Secured(secured)),
            Err(error) => {
                if error.kind() == io::ErrorKind::InvalidData {
                    secured.linger().await;
                }
                let name = secured.asked();
                let is_known = name.as_deref().is_none_or(|name| self.names.knows(name));
                Err(Unshaken { error, name, is_known })
            }
        }
    }
}

/// Tickets that are good only where clients are asked for the same certificates: a resumed session shows none anew, and one from
/// where none is asked for must not open a door where one is required (CVE-2025-23419 was this).
#[derive(Debug)]
struct Bound {
    producer: Arc<dyn ProducesTickets>,
    mark: [u8; 8],
}

impl Bound {
    fn to(client_cert: &ClientCert, tickets: &Tickets) -> Bound {
        let mut mark = DefaultHasher::new();
        client_cert.hash(&mut mark);
        Bound { producer: Arc::clone(&tickets.producer), mark: mark.finish().to_be_bytes() }
    }
}

impl ProducesTickets for Bound {
    fn enabled(&self) -> bool {
        self.producer.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.producer.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.producer.encrypt(&[&self.mark[..], plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        Some(self.producer.decrypt(cipher)?.strip_prefix(&self.mark)?.to_vec())
    }
}

/// The authorities of a PEM text.
pub(super) fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // Old authorities are not always what today's rules want: one that cannot be read signs nothing that we would believe.
    match roots.add_parsable_certificates(certificates(pem)?) {
        (0, _) => Err("none of the certificates in it can be read".to_owned()),
        _ => Ok(roots),
    }
}

/// Which certificates a name is shown: those of its very name, else of its wildcard, else the default's. A name can have
/// one for each kind of key.
#[derive(Debug)]
struct Names {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// Without their `*.`: RFC 9525 section 6.3 lets it stand for one label.
    wildcards: HashMap<String, Vec<Arc<CertifiedKey>>>,
    default: Vec<Arc<CertifiedKey>>,
    proofs: Option<Proofs>,
}

impl Names {
    fn of(identities: &[(Identity, bool)], proofs: Option<&Proofs>) -> Names {
        let (exact, wildcards) = (HashMap::new(), HashMap::new());
        let mut names = Names { exact, wildcards, default: Vec::new(), proofs: proofs.cloned() };
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
        self.own(&name).unwrap_or(&self.default)
    }

    fn knows(&self, name: &str) -> bool {
        self.own(&name.to_ascii_lowercase()).is_some()
    }

    /// Those of a name in lower case, and of no other.
    fn own(&self, name: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        let wildcard = || name.split_once('.').and_then(|(_, rest)| self.wildcards.get(rest));
        self.exact.get(name).or_else(wildcard)
    }
}

thread_local! {
    /// The name that was asked for in the handshake that the library is being driven through on this thread: its interface
    /// without buffers shows it to the resolver alone.
    static ASKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The name that was asked for since this was called last. Whoever drives a handshake asks after every step.
pub(super) fn asked() -> Option<String> {
    ASKED.take()
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        ASKED.set(hello.server_name().map(str::to_ascii_lowercase));
        // RFC 8737 section 3: whoever asks for a proof offers this protocol and no other.
        let asks_proof = || {
            let mut offered = hello.alpn()?;
            (offered.next()? == Alpn::AcmeTls.name().as_bytes() && offered.next().is_none()).then_some(())
        };
        if let Some(proofs) = &self.proofs
            && asks_proof().is_some()
        {
            return proofs.find(hello.server_name());
        }
        let found = self.find(hello.server_name());
        // In the order of the configuration; one that the client understands before one that it does not.
        let understood = found.iter().find(|key| key.key.choose_scheme(hello.signature_schemes()).is_some());
        understood.or_else(|| found.first()).cloned()
    }
}
