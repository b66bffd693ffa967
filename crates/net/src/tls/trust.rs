//! Whose servers are believed.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::terminate::roots;
use super::validity::validity;
use super::{doubt, provider};

/// Whose servers are believed.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Those that one of these authorities signed, and those that are one of them (PEM).
    Authorities(Vec<u8>),
    /// Anybody's: the connection is secret, but who is at its other end is not known.
    Anybody,
}

impl Trust {
    /// What judges the certificates of servers.
    ///
    /// # Errors
    /// The authorities cannot be read.
    pub(super) fn judge(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let Trust::Authorities(pem) = self else { return Ok(Arc::new(Anybody)) };
        let authorities = Arc::new(roots(pem)?);
        let judge = WebPkiServerVerifier::builder_with_provider(Arc::clone(&authorities), Arc::clone(provider));
        Ok(Arc::new(Believed { judge: judge.build().map_err(|error| error.to_string())?, authorities }))
    }
}

/// Believes who was signed by an authority. And one of these itself: `openssl req -x509` makes certificates that are an authority and
/// their only server, and whoever holds an authority's key could have signed any other for himself.
#[derive(Debug)]
struct Believed {
    judge: Arc<WebPkiServerVerifier>,
    authorities: Arc<RootCertStore>,
}

impl Believed {
    fn is_authority(&self, certificate: &CertificateDer<'_>) -> bool {
        webpki::anchor_from_trusted_cert(certificate).is_ok_and(|anchor| self.authorities.roots.contains(&anchor))
    }
}

impl ServerCertVerifier for Believed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.judge.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(error))
                if doubt::is_of_authority(&error) && self.is_authority(end_entity) =>
            {
                is_in_time(end_entity, now)?;
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}

fn is_in_time(certificate: &[u8], now: UnixTime) -> Result<(), Error> {
    match validity(certificate) {
        Some((from, _)) if now.as_secs() < from => Err(CertificateError::NotValidYet.into()),
        Some((_, until)) if now.as_secs() > until => Err(CertificateError::Expired.into()),
        Some(_) => Ok(()),
        None => Err(CertificateError::BadEncoding.into()),
    }
}

/// Believes whatever a server shows, once it has proved that it holds the key.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
