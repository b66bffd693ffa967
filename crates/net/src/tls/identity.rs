//! A certificate chain with its key: what a side of a connection shows of itself.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};

use super::provider;
use super::validity::validity;

/// A certificate chain with its key.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    names: Vec<String>,
    validity: Option<(u64, u64)>,
}

/// Why a certificate and a key make no identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadIdentity {
    /// The certificate's file holds none, or something else.
    Certificate(String),
    /// The key's file holds none, or one that is not understood.
    Key(String),
    /// The key is not the certificate's.
    Mismatch,
}

impl Identity {
    /// Reads both from PEM: the certificate first in its chain, and a key in PKCS#8, PKCS#1 or SEC1 form.
    ///
    /// # Errors
    /// What is wrong with which of the two.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Identity, BadIdentity> {
        let chain = certificates(chain).map_err(BadIdentity::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| BadIdentity::Key(said(&error)))?;
        let provider: Arc<CryptoProvider> = provider();
        let key = provider.key_provider.load_private_key(key).map_err(|error| BadIdentity::Key(error.to_string()))?;
        let certificate = chain.first().ok_or_else(|| BadIdentity::Certificate(NONE.to_owned()))?;
        ParsedCertificate::try_from(certificate).map_err(|error| BadIdentity::Certificate(error.to_string()))?;
        let names = webpki::EndEntityCert::try_from(certificate)
            .map(|parsed| parsed.valid_dns_names().map(str::to_ascii_lowercase).collect())
            .map_err(|error| BadIdentity::Certificate(error.to_string()))?;
        let validity = validity(certificate);
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(BadIdentity::Mismatch),
        }
        Ok(Identity { key: Arc::new(certified), names, validity })
    }

    /// One that was signed here: what it says of names nobody asks.
    pub(super) fn of(key: CertifiedKey, validity: (u64, u64)) -> Identity {
        Identity { key: Arc::new(key), names: Vec::new(), validity: Some(validity) }
    }

    /// A proof of ours for an authority (RFC 8737), from the same: what is critical in it is read by nobody else, and no name is
    /// looked for.
    ///
    /// # Errors
    /// What is wrong with which of the two.
    pub fn proof(certificate: &[u8], key: &[u8]) -> Result<Identity, BadIdentity> {
        let chain = certificates(certificate).map_err(BadIdentity::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| BadIdentity::Key(said(&error)))?;
        let key = provider().key_provider.load_private_key(key).map_err(|error| BadIdentity::Key(error.to_string()))?;
        Ok(Identity { key: Arc::new(CertifiedKey::new(chain, key)), names: Vec::new(), validity: None })
    }

    /// With what its authority says of it (OCSP, in DER), for clients that want to know.
    #[must_use]
    pub fn stapled(self, ocsp: Option<Vec<u8>>) -> Identity {
        let key = CertifiedKey { ocsp, ..(*self.key).clone() };
        Identity { key: Arc::new(key), ..self }
    }

    /// The chain, in DER.
    pub fn chain(&self) -> Vec<&[u8]> {
        self.key.cert.iter().map(|certificate| certificate.as_ref()).collect()
    }

    /// The first and the last second in which it is valid, in Unix time.
    pub fn validity(&self) -> Option<(u64, u64)> {
        self.validity
    }

    /// SHA-256 of the certificate in DER.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(self.key.cert.first().map_or(&[][..], |first| first.as_ref())).into()
    }

    /// The DNS names that the certificate is for, in lower case; `*.` in front of a wildcard's.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl fmt::Display for BadIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadIdentity::Certificate(why) => write!(f, "no usable certificate: {why}"),
            BadIdentity::Key(why) => write!(f, "no usable private key: {why}"),
            BadIdentity::Mismatch => f.write_str("the key is not the certificate's"),
        }
    }
}

const NONE: &str = "there is none in it";

/// All certificates of a PEM text, of which there must be one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err(NONE.to_owned()),
        Ok(all) => Ok(all),
        Err(error) => Err(said(&error)),
    }
}

fn said(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::NoItemsFound => NONE.to_owned(),
        other => other.to_string(),
    }
}
