//! Certificates that are made when a test needs them, and an authority that signs them.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SignatureAlgorithm,
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

    /// A server's certificate that is an authority, and signed by itself, as `openssl req -x509` makes them; valid for so many days from
    /// that many days before now.
    ///
    /// # Panics
    /// A name is none.
    pub fn alone(names: &[&str], days: u32, before: u32) -> Issued {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let mut params = within(names, DAY * before, DAY * days);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Issued { cert: params.self_signed(&key).expect("a certificate").pem(), key: key.serialize_pem() }
    }

    /// A certificate for these names and addresses, with an ECDSA key.
    ///
    /// # Panics
    /// One of them is no name.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.sign(names, &KeyPair::generate().expect("a key"))
    }

    /// The same, valid from so long before now until so long after it, if both are after 1970.
    ///
    /// # Panics
    /// One of them is no name.
    pub fn issue_from(&self, names: &[&str], back: Duration, life: Duration) -> Issued {
        let params = within(names, back, life);
        let key = KeyPair::generate().expect("a key");
        Issued { cert: params.signed_by(&key, &self.issuer).expect("a certificate").pem(), key: key.serialize_pem() }
    }

    /// A certificate whose subject has this common name.
    ///
    /// # Panics
    /// No key could be drawn.
    pub fn issue_to(&self, name: &str) -> Issued {
        let mut params = params(&[]);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Issued { cert, key: key.serialize_pem() }
    }

    /// As [`Authority::issue`], with an RSA key.
    ///
    /// # Panics
    /// One of them is no name.
    pub fn issue_rsa(&self, names: &[&str]) -> Issued {
        self.sign(names, &KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key"))
    }

    /// A certificate for this domain and the ECDSA key whose public point this is, valid from so long before now until so long
    /// after it.
    ///
    /// # Panics
    /// It is no domain.
    pub fn certify(&self, domain: &str, point: &[u8], (back, ahead): (Duration, Duration)) -> String {
        let params = within(&[domain], back, back + ahead);
        params.signed_by(&Point(point.to_vec()), &self.issuer).expect("a certificate").pem()
    }

    fn sign(&self, names: &[&str], key: &KeyPair) -> Issued {
        let cert = params(names).signed_by(key, &self.issuer).expect("a certificate").pem();
        Issued { cert, key: key.serialize_pem() }
    }
}

/// A public key of somebody else.
struct Point(Vec<u8>);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
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

/// Of a certificate that is valid from so long before now for so long.
fn within(names: &[&str], back: Duration, life: Duration) -> CertificateParams {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut params = params(names);
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + (now - back);
    params.not_after = params.not_before + life;
    params
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).expect("names")
}
