//! Our side of connections to servers: whom we believe, and under which name.

use std::hash::{Hash, Hasher};
use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;

use super::engine::Side;
use super::secured::Secured;
use super::{Alpn, Identity, Spoken, Trust, alpn};
use crate::quic;
use crate::stream::Stream;

/// All that is settled before a server is dialled. Sessions are remembered in it, and resumed.
#[derive(Clone, Debug)]
pub struct Originator {
    config: Arc<ClientConfig>,
    /// Whether a server that agrees on nothing is what we want: all that do not know of protocols speak HTTP/1, or what came before TLS.
    settles_for_none: bool,
    /// The same over QUIC, where that is what is spoken.
    quic: Option<quic::Client>,
}

impl Originator {
    /// With this trust, and this identity for servers that ask for one.
    ///
    /// # Errors
    /// The authorities cannot be read, or what is spoken over QUIC has no suite for it.
    pub fn new(
        trust: &Trust,
        identity: Option<&Identity>,
        spoken: &Spoken,
        protocols: &[Alpn],
    ) -> Result<Originator, String> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&spoken.provider))
            .with_protocol_versions(spoken.versions())
            .map_err(|error| error.to_string())?;
        let builder = builder.dangerous().with_custom_certificate_verifier(trust.judge(&spoken.provider)?);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(Arc::clone(&identity.key)))),
        };
        config.alpn_protocols = alpn::offer(protocols);
        // Records are our own business once hands are shaken.
        config.enable_secret_extraction = true;
        // PostgreSQL before 17 knows nothing of agreeing.
        let settles_for_none = !protocols.iter().any(|protocol| matches!(protocol, Alpn::H2 | Alpn::H3));
        let config = Arc::new(config);
        let quic = protocols.contains(&Alpn::H3).then(|| quic::Client::new(&config)).transpose()?;
        Ok(Originator { config, settles_for_none, quic })
    }

    /// The same that is content with a server which agrees on nothing: those speak HTTP/1.
    #[must_use]
    pub fn settling(self) -> Originator {
        Originator { settles_for_none: true, ..self }
    }

    /// How servers are dialled over QUIC, if they are.
    pub(crate) fn quic(&self) -> Option<&quic::Client> {
        self.quic.as_ref()
    }

    /// Makes a stream to a server of this name a secured one. The caller bounds the time.
    ///
    /// # Errors
    /// The name is none, the server broke off, it is not who it should be, or it speaks none of our protocols.
    pub async fn connect(&self, stream: Stream, name: &str) -> io::Result<Stream> {
        self.shake(stream, name, false).await.map(|(stream, _)| stream)
    }

    /// The same for whoever wants to see the server's certificate (in DER), too.
    ///
    /// # Errors
    /// Those of [`connect`](Originator::connect).
    pub async fn connect_and_look(&self, stream: Stream, name: &str) -> io::Result<(Stream, Vec<u8>)> {
        self.shake(stream, name, true).await
    }

    async fn shake(&self, stream: Stream, name: &str, is_curious: bool) -> io::Result<(Stream, Vec<u8>)> {
        let bad = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let name = ServerName::try_from(name.to_owned()).map_err(|error| bad(error.to_string()))?;
        let session = UnbufferedClientConnection::new(Arc::clone(&self.config), name);
        let session = session.map_err(|error| bad(error.to_string()))?;
        let secured = Secured::new(stream, Side::Client(session));
        let secured = Box::new(if is_curious { secured.curious() } else { secured });
        secured.handshake().await?;
        if !self.settles_for_none && secured.alpn().is_none() {
            return Err(bad("the server agrees on none of our protocols".to_owned()));
        }
        let shown = secured.take_shown().unwrap_or_default();
        Ok((Stream::Secured(secured), shown))
    }
}

/// What is settled once is one thing, wherever it is used.
impl PartialEq for Originator {
    fn eq(&self, other: &Originator) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }
}

impl Eq for Originator {}

impl Hash for Originator {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.config).hash(state);
    }
}
