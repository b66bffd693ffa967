//! Certificates that are made when a test needs them, and an authority that signs them.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize,
};

use crate::program::Folder;

/// An authority. Whoever trusts [`Authority::pem`] trusts what it issues.
#[derive(Debug)]
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, both in PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub cert: String,
    /// The key, in PKCS#8.
    pub key: String,
}

impl Authority {
    /// An authority with a key of its own.
    ///
    /// # Panics
    /// No key could be drawn.
    pub fn new() -> Authority {
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "an authority of tests");
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    /// Its own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for these names and addresses, with an ECDSA key.
    ///
    /// # Panics
    /// One of them is no name.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.sign(names, &KeyPair::generate().expect("a key"))
    }

    /// The same with an RSA key.
    ///
    /// # Panics
    /// One of them is no name.
    pub fn issue_rsa(&self, names: &[&str]) -> Issued {
        self.sign(names, &KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key"))
    }

    fn sign(&self, names: &[&str], key: &KeyPair) -> Issued {
        let cert = params(names).signed_by(key, &self.issuer).expect("a certificate").pem();
        Issued { cert, key: key.serialize_pem() }
    }
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

impl Issued {
    /// SHA-256 of the certificate in DER, in hexadecimal digits.
    ///
    /// # Panics
    /// It is none.
    pub fn fingerprint(&self) -> String {
        // The hash of a suite: rustls lends no other.
        let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().expect("a suite");
        let digest = suite.common.hash_provider.hash(&crate::tls::der(&self.cert));
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Writes both as `NAME.pem` and `NAME.key`.
    pub fn write(&self, folder: &Folder, name: &str) {
        folder.write(&format!("{name}.pem"), &self.cert);
        folder.write(&format!("{name}.key"), &self.key);
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).expect("names")
}
