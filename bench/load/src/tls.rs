//! The client's side of TLS, the same for every proxy, and that of a relay that is none: 1.3, X25519, AES-128-GCM, tickets taken and never used. Certificates are
//! not looked at: what that costs is no proxy's time.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};

/// The name that is asked for: the host of the first route.
pub const NAME: &str = "h000.example.com";

pub struct Tls(Arc<ClientConfig>);

impl Tls {
    pub fn new() -> Self {
        Self(Arc::new(config()))
    }

    pub fn connection(&self) -> ClientConnection {
        let name = ServerName::try_from(NAME).expect("a name");
        ClientConnection::new(Arc::clone(&self.0), name).expect("a configuration that fits")
    }
}

/// What is offered. QUIC takes the same, and a protocol to go with it.
pub fn config() -> ClientConfig {
    let provider = CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..aws_lc_rs::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a suite of this version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// A server's side, as the proxies have theirs: what a certificate and its key in this folder say.
pub fn terminating(folder: &Path) -> Result<ServerConfig, Box<dyn std::error::Error>> {
    let certificate = CertificateDer::from_pem_file(folder.join("tls.pem"))?;
    let key = PrivateKeyDer::from_pem_file(folder.join("tls.key"))?;
    Ok(ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?)
}
