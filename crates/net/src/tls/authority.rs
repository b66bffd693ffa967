//! An authority of the owner's own, which signs certificates like those that servers have shown: for clients that trust it, so that what
//! they say under TLS can be read on the way.
//!
//! What it signs is for the names that the server's own certificate is for, and never longer. All of it has one key, drawn when the
//! authority is read: a key for each would cost as much as a signature and keep nothing secret that this one does not.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{SignatureAlgorithm, pki_types};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::identity::certificates;
use super::{BadIdentity, Identity, provider};

/// An authority with its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// What clients need on their way from what it signs to what they trust.
    chain: Vec<CertificateDer<'static>>,
    /// The key of all that it signs.
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
    mark: [u8; 32],
    is_quick: bool,
}

/// How long what it signs is valid. It is signed anew far more often.
const LEAF: Duration = Duration::from_secs(7 * 24 * 3600);
/// Clients' clocks are late.
const BACK: Duration = Duration::from_secs(24 * 3600);
/// A name longer than this is no common name (RFC 5280 appendix A.1).
const COMMON: usize = 64;
const SUBJECT_ALT_NAME: [u64; 4] = [2, 5, 29, 17];

impl Authority {
    /// Reads both from PEM: the authority's certificate, behind it those up to the root, if it is none itself; and its key.
    ///
    /// # Errors
    /// What is wrong with which of the two.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Authority, BadIdentity> {
        let own = Identity::from_pem(certificate, key)?;
        let bad_key = |error: rcgen::Error| BadIdentity::Key(error.to_string());
        let bad_certificate = |why: &str| BadIdentity::Certificate(why.to_owned());
        let all = certificates(certificate).map_err(BadIdentity::Certificate)?;
        let first = all.first().ok_or_else(|| bad_certificate("there is none in it"))?.clone();
        may_sign(&first).map_err(bad_certificate)?;
        let text = std::str::from_utf8(key).map_err(|error| BadIdentity::Key(error.to_string()))?;
        let issuer = Issuer::from_ca_cert_der(&first, KeyPair::from_pem(text).map_err(bad_key)?);
        let issuer = issuer.map_err(|error| BadIdentity::Certificate(error.to_string()))?;
        let key = KeyPair::generate().map_err(bad_key)?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = provider().key_provider.load_private_key(der);
        let signing = signing.map_err(|error| BadIdentity::Key(error.to_string()))?;
        let chain = all.iter().filter(|certificate| !is_root(certificate)).cloned().collect();
        let mark = Sha256::digest(&first).into();
        // Where the owner's key is RSA a signature takes milliseconds.
        let is_quick = own.key.key.algorithm() != SignatureAlgorithm::RSA;
        let authority = Authority { issuer, chain, key, signing, mark, is_quick };
        authority.try_out(&first)?;
        Ok(authority)
    }

    /// SHA-256 of its certificate: what it has signed is told apart by it from what others have.
    pub fn mark(&self) -> [u8; 32] {
        self.mark
    }

    /// Whether it signs so quickly that nobody has to wait elsewhere for it.
    pub fn is_quick(&self) -> bool {
        self.is_quick
    }

    /// A certificate like that of a server (in DER), whose names it has.
    ///
    /// # Errors
    /// It cannot be read, or not be signed.
    pub fn like(&self, server: &[u8], now: SystemTime) -> Result<Identity, String> {
        let (_, read) = X509Certificate::from_der(server).map_err(|error| error.to_string())?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = read.subject().iter_common_name().find_map(|name| name.as_str().ok()) {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let names =
            read.extensions().iter().find(|one| one.oid == x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME);
        if let Some(names) = names {
            // As they stand: addresses among them, and kinds of names that nobody here has to understand.
            let mut copy = CustomExtension::from_oid_content(&SUBJECT_ALT_NAME, names.value.to_vec());
            copy.set_criticality(names.critical);
            params.custom_extensions.push(copy);
        }
        let within = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or_default();
        let validity = read.validity();
        self.sign(params, now, within(validity.not_before), within(validity.not_after))
    }

    /// A certificate for a host alone, whose server has shown none that could be believed.
    ///
    /// # Errors
    /// It is no name, or cannot be signed.
    pub fn named(&self, host: &str, now: SystemTime) -> Result<Identity, String> {
        let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(|error| error.to_string())?;
        params.distinguished_name = DistinguishedName::new();
        if host.len() <= COMMON {
            params.distinguished_name.push(DnType::CommonName, host);
        }
        self.sign(params, now, 0, u64::MAX)
    }

    /// Signs for as long as both bounds and ours allow, in seconds since 1970.
    fn sign(&self, mut params: CertificateParams, now: SystemTime, from: u64, until: u64) -> Result<Identity, String> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let from = now.saturating_sub(BACK).as_secs().max(from);
        let until = (now + LEAF).as_secs().min(until);
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(from);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(until);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        // Clients refuse two certificates of one authority with the same number.
        let mut number = [0; 16];
        aws_lc_rs::rand::fill(&mut number).map_err(|_| "the system gives no randomness".to_owned())?;
        number[0] &= 0x7F;
        params.serial_number = Some(SerialNumber::from_slice(&number));
        let signed = params.signed_by(&self.key, &self.issuer).map_err(|error| error.to_string())?;
        let mut chain = vec![signed.der().clone()];
        chain.extend(self.chain.iter().cloned());
        Ok(Identity::of(CertifiedKey::new(chain, Arc::clone(&self.signing)), (from, until)))
    }

    /// Whether what it signs leads back to it: the name of an authority can be written in ways that do not survive being read.
    fn try_out(&self, own: &CertificateDer<'_>) -> Result<(), BadIdentity> {
        let bad = |why: String| BadIdentity::Certificate(why);
        let trial = self.named("trial.invalid", SystemTime::now()).map_err(bad)?;
        let anchors = [webpki::anchor_from_trusted_cert(own).map_err(|error| bad(error.to_string()))?];
        let first = CertificateDer::from(trial.chain().first().map_or(&[][..], |first| first).to_vec());
        let leaf = webpki::EndEntityCert::try_from(&first).map_err(|error| bad(error.to_string()))?;
        let algorithms = provider().signature_verification_algorithms.all;
        let usage = webpki::KeyUsage::server_auth();
        let led = leaf.verify_for_usage(algorithms, &anchors, &[], UnixTime::now(), usage, None, None);
        match led {
            // A bound on the names that it may sign is its owner's business.
            Ok(_) | Err(webpki::Error::NameConstraintViolation) => Ok(()),
            Err(error) => Err(bad(format!("what it signs cannot be led back to it: {error}"))),
        }
    }
}

impl fmt::Debug for Authority {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("is_quick", &self.is_quick).finish_non_exhaustive()
    }
}

/// Whether a certificate says that its holder may sign others (RFC 5280 sections 4.2.1.3 and 4.2.1.9).
fn may_sign(certificate: &CertificateDer<'_>) -> Result<(), &'static str> {
    let (_, read) = X509Certificate::from_der(certificate).map_err(|_| "it cannot be read")?;
    let constraints = read.basic_constraints().map_err(|_| "its basic constraints cannot be read")?;
    if !constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err("it is no authority, make one by `tidegate ca`");
    }
    let usage = read.key_usage().map_err(|_| "its key usage cannot be read")?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err("its key may not sign certificates");
    }
    if !read.validity().is_valid() {
        return Err("it has expired, or is not valid yet");
    }
    Ok(())
}

/// Whether it is one that clients trust for itself, or not at all.
fn is_root(certificate: &pki_types::CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, read)| read.subject().as_raw() == read.issuer().as_raw())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, IsCa};

    use super::*;

    /// An authority of a test's, and its two texts.
    fn owner(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "an owner's");
        params.distinguished_name.push(DnType::OrganizationName, "Würth & Söhne");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
    }

    fn read(identity: &Identity) -> Vec<u8> {
        identity.chain()[0].to_vec()
    }

    /// A server's certificate, valid from so many days before now until so many after.
    fn server(names: &[&str], (back, ahead): (u64, u64)) -> Vec<u8> {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let params = params.as_mut().expect("names");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "first.test");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time");
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + (now - Duration::from_secs(back * 86_400));
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + (now + Duration::from_secs(ahead * 86_400));
        params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").der().to_vec()
    }

    #[test]
    fn what_it_signs_has_the_names_of_the_server_and_no_longer_life() {
        let (certificate, key) = owner(|_| {});
        let authority = Authority::from_pem(certificate.as_bytes(), key.as_bytes()).expect("an authority");
        assert!(authority.is_quick());
        let now = SystemTime::now();
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs();
        for (life, from, until) in
            [((300, 300), seconds - 86_400, seconds + 7 * 86_400), ((0, 1), seconds, seconds + 86_400)]
        {
            let shown = server(&["a.test", "*.b.test", "192.0.2.1", "2001:db8::1"], life);
            let leaf = authority.like(&shown, now).expect("a leaf");
            let leaf_der = read(&leaf);
            let (_, theirs) = X509Certificate::from_der(&shown).expect("a certificate");
            let (_, ours) = X509Certificate::from_der(&leaf_der).expect("a certificate");
            let names = |read: &X509Certificate<'_>| {
                format!("{:?}", read.subject_alternative_name().expect("names").expect("names").value)
            };
            assert_eq!(names(&ours), names(&theirs));
            assert_eq!(ours.subject().to_string(), "CN=first.test");
            let validity =
                (ours.validity().not_before.timestamp() as u64, ours.validity().not_after.timestamp() as u64);
            assert!(validity.0.abs_diff(from) < 5 && validity.1.abs_diff(until) < 5, "{validity:?}");
        }
    }

    #[test]
    fn no_two_have_one_number_and_one_may_be_for_an_address() {
        let (certificate, key) = owner(|_| {});
        let authority = Authority::from_pem(certificate.as_bytes(), key.as_bytes()).expect("an authority");
        let number = |host: &str| {
            let leaf = read(&authority.named(host, SystemTime::now()).expect("a leaf"));
            X509Certificate::from_der(&leaf).expect("a certificate").1.raw_serial().to_vec()
        };
        assert_ne!(number("a.test"), number("a.test"));
        for host in
            ["192.0.2.1", "2001:db8::1", &format!("{}.test", "a".repeat(63)), &format!("{0}.{0}.test", "a".repeat(60))]
        {
            assert!(!number(host).is_empty());
        }
        assert!(authority.like(b"no certificate", SystemTime::now()).is_err());
    }

    #[test]
    fn what_is_no_authority_is_told_apart() {
        let refused = |(certificate, key): (String, String)| {
            Authority::from_pem(certificate.as_bytes(), key.as_bytes())
                .map(|_| ())
                .expect_err("no authority")
                .to_string()
        };
        assert!(refused(owner(|params| params.is_ca = IsCa::NoCa)).contains("no authority"));
        assert!(
            refused(owner(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]))
                .contains("may not sign")
        );
        assert!(refused(owner(|params| params.not_after = rcgen::date_time_ymd(2001, 1, 1))).contains("expired"));
        assert_eq!(refused((owner(|_| {}).0, owner(|_| {}).1)), BadIdentity::Mismatch.to_string());
        assert!(refused((owner(|_| {}).0, "x".to_owned())).contains("private key"));
        assert!(refused(("x".to_owned(), owner(|_| {}).1)).contains("certificate"));
    }
}
