//! Our side of QUIC connections from clients: what they are shown, and what one of them may hold of us.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{hkdf, hmac};
use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::{EndpointConfig, IdleTimeout, TransportConfig, ValidationTokenConfig, VarInt};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::server::{ResolvesServerCertUsingSni, ServerSessionMemoryCache};

use super::ids::Ids;
use super::socket::Shared;
use crate::tls::{Terminator, provider};

/// All that is settled before a client comes.
#[derive(Clone, Debug)]
pub struct Server {
    pub(super) config: Arc<quinn_proto::ServerConfig>,
}

/// What is asked of clients, and granted to them.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// A connection on which nothing comes for this long is over (RFC 9000 section 10.1).
    pub idle: Duration,
    /// Streams that a client may have open at once.
    pub streams: u32,
    /// Whether a client that has been here may send before its handshake is done (RFC 9001 section 4.6).
    pub early_data: bool,
    /// Whether datagrams go both ways (RFC 9221).
    pub datagrams: bool,
}

/// Bytes of one stream that may wait for whoever reads it, and of all streams of a connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const WINDOW: u32 = 1024 * 1024;
/// Bytes of a connection that were written and are not acknowledged.
pub(super) const UNACKNOWLEDGED: u64 = 1024 * 1024;
/// Bytes of datagrams that wait, either way, with what keeping them takes; of more the oldest are lost.
const DATAGRAMS: usize = 256 * 1024;
/// Streams that a peer opens for itself: its control, and the two of QPACK; and some that mean nothing to us.
pub(super) const ONE_WAY: u32 = 8;
/// How long a client may take to come back with a Retry's token.
const COMES_BACK: Duration = Duration::from_secs(15);
/// Sessions that are remembered where early data is allowed: each lets one client send early once, and never twice.
const REMEMBERED: usize = 4096;

impl Server {
    /// Shows what the terminator shows, over QUIC.
    ///
    /// # Errors
    /// The terminator speaks no TLS 1.3.
    pub fn new(terminator: &Terminator, terms: &Terms) -> Result<Server, String> {
        let mut tls = terminator.config().as_ref().clone();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        tls.max_early_data_size = 0;
        if terms.early_data {
            // A replay is impossible only where a session is forgotten as soon as it is resumed: tickets cannot be.
            tls.max_early_data_size = u32::MAX;
            tls.session_storage = ServerSessionMemoryCache::new(REMEMBERED);
            tls.ticketer = Arc::new(NoTickets);
        }
        if !tls.crypto_provider().cipher_suites.iter().any(|suite| suite.tls13().is_some()) {
            return Err("QUIC needs a cipher suite of TLS 1.3".to_owned());
        }
        let mut config = quinn_proto::ServerConfig::new(Arc::new(protect(tls)?), token_key(&[0; 64]));
        config.transport_config(Arc::new(transport(terms)));
        Ok(Server { config: Arc::new(config) })
    }
}

/// What an endpoint needs before the first client: it only takes first packets apart with it.
pub(super) fn first(shared: &Shared) -> Result<quinn_proto::ServerConfig, String> {
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
    let mut config = quinn_proto::ServerConfig::new(Arc::new(protect(tls)?), token_key(&shared.secret));
    config.retry_token_lifetime(COMES_BACK);
    // Tokens for a later visit would spare a round trip under load, and need a memory of those that were used.
    let mut later = ValidationTokenConfig::default();
    later.sent(0);
    config.validation_token_config(later);
    Ok(config)
}

/// What all connections of an endpoint have in common.
pub(super) fn endpoint(shared: &Arc<Shared>, worker: u16) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &shared.secret)));
    let (seal, workers) = (Arc::clone(&shared.seal), shared.workers());
    config.cid_generator(move || Box::new(Ids::new(Arc::clone(&seal), worker, workers)));
    config.supported_versions(vec![VERSION_1]);
    config
}

/// RFC 9000. The drafts before it are nobody's any more.
pub(super) const VERSION_1: u32 = 1;

fn protect(tls: rustls::ServerConfig) -> Result<QuicServerConfig, String> {
    QuicServerConfig::with_initial(Arc::new(tls), first_suite()?).map_err(|error| error.to_string())
}

/// First packets are protected by one suite alone, whatever suites are spoken behind them (RFC 9001 section 5.2).
pub(super) fn first_suite() -> Result<rustls::quic::Suite, String> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().and_then(rustls::Tls13CipherSuite::quic_suite);
    suite.ok_or_else(|| "no suite for first packets".to_owned())
}

fn transport(terms: &Terms) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(terms.streams))
        .max_concurrent_uni_streams(VarInt::from_u32(ONE_WAY))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(UNACKNOWLEDGED)
        .datagram_receive_buffer_size(terms.datagrams.then_some(DATAGRAMS))
        .datagram_send_buffer_size(DATAGRAMS)
        // What cannot be said in QUIC's number is as good as for ever.
        .max_idle_timeout(IdleTimeout::try_from(terms.idle).ok());
    transport
}

fn token_key(secret: &[u8; 64]) -> Arc<hkdf::Prk> {
    Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, b"address tokens").extract(secret))
}

/// Makes no tickets: sessions are remembered instead.
#[derive(Debug)]
struct NoTickets;

impl rustls::server::ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
