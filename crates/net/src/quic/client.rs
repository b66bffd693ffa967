//! Our side of QUIC connections to servers: whom we believe, and what one connection may hold of us.
//!
//! Each connection has a socket of its own, which is connected to its server. Requests share connections, so that there are few of
//! them; and only to a connected socket the kernel says that nobody is there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::hmac;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{ClientConfig, EndpointConfig, RandomConnectionIdGenerator, TransportConfig, VarInt};
use rustix::rand::{GetRandomFlags, getrandom};

use super::server::{ONE_WAY, UNACKNOWLEDGED, VERSION_1, first_suite};
use super::{Connection, Driver, socket};

/// All that is settled before a server is dialled. Sessions and address tokens are remembered in it.
#[derive(Clone, Debug)]
pub struct Client {
    config: ClientConfig,
}

/// Requests that a connection carries at once: the next connection has room for more.
pub const MOST_STREAMS: u32 = 128;
/// Bytes of one stream that may wait for whoever reads it. All streams of a connection may have as many: whoever is slow to read
/// one must not hold up those who share the connection.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Bytes of an id of our own: the socket says already whose the datagrams are.
const ID: usize = 4;

impl Client {
    /// Believes whom this configuration of TLS believes.
    ///
    /// # Errors
    /// It has no cipher suite of TLS 1.3.
    pub(crate) fn new(tls: &Arc<rustls::ClientConfig>) -> Result<Client, String> {
        if !tls.crypto_provider().cipher_suites.iter().any(|suite| suite.tls13().is_some()) {
            return Err("QUIC needs a cipher suite of TLS 1.3".to_owned());
        }
        let tls = QuicClientConfig::with_initial(Arc::clone(tls), first_suite()?).map_err(|error| error.to_string())?;
        let mut config = ClientConfig::new(Arc::new(tls));
        config.version(VERSION_1).transport_config(Arc::new(transport()));
        Ok(Client { config })
    }

    /// Begins a connection to a server of this name; the handshake is still to come.
    pub(crate) fn begin(&self, to: SocketAddr, name: &str) -> io::Result<(Connection, Driver)> {
        let mut secret = [0; 64];
        getrandom(&mut secret, GetRandomFlags::empty())?;
        let mut endpoint = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &secret)));
        endpoint.cid_generator(|| Box::new(RandomConnectionIdGenerator::new(ID)));
        endpoint.supported_versions(vec![VERSION_1]);
        Driver::begin(endpoint, self.config.clone(), socket::towards(to)?, to, name)
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        // A server asks us for nothing.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(ONE_WAY))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(MOST_STREAMS * STREAM_WINDOW))
        .send_window(UNACKNOWLEDGED)
        .datagram_receive_buffer_size(None)
        // How long nothing may come is the owner's to say, and the server's.
        .max_idle_timeout(None);
    transport
}
