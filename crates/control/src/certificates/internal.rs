//! An authority of this machine's own, for development: its key stays in the state folder, and what it signs in memory.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use net::tls::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::files;

/// The authority, once it was needed, and what it has signed.
#[derive(Debug, Default)]
pub(super) struct Internal {
    authority: Option<(PathBuf, Issuer<'static, KeyPair>)>,
    signed: HashMap<Vec<String>, Identity>,
}

/// How long what it signs is valid. Browsers take no more than 398 days.
const LEAF: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long the authority is.
const ROOT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Clocks differ.
const BACK: Duration = Duration::from_secs(3600);
/// Whom a certificate is for in any case.
const ALWAYS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

impl Internal {
    /// A certificate for these hosts, and for this machine's own names. It is signed anew when a third of its time is left.
    pub(super) fn identity(&mut self, state: &Path, hosts: &[String], now: SystemTime) -> Result<Identity, String> {
        let mut hosts: Vec<String> = hosts.iter().cloned().chain(ALWAYS.map(str::to_owned)).collect();
        hosts.sort();
        hosts.dedup();
        if let Some(known) = self.signed.get(&hosts).filter(|known| !is_due(known, now)) {
            return Ok(known.clone());
        }
        let issuer = match self.authority.take() {
            Some((folder, issuer)) if folder == state => issuer,
            _ => authority(&state.join("internal"), now)?,
        };
        let (_, issuer) = self.authority.insert((state.to_owned(), issuer));
        let signed = sign(issuer, &hosts, now)?;
        self.signed.insert(hosts, signed.clone());
        Ok(signed)
    }

    /// Whether anything should be signed anew.
    pub(super) fn is_due(&self, now: SystemTime) -> bool {
        self.signed.values().any(|identity| is_due(identity, now))
    }

    /// Forgets what was signed for hosts that nobody asks for any more.
    pub(super) fn keep(&mut self, shown: &[Identity]) {
        self.signed.retain(|_, signed| shown.iter().any(|one| one.fingerprint() == signed.fingerprint()));
    }
}

/// Whether less than a third of its time is left.
pub(crate) fn is_due(identity: &Identity, now: SystemTime) -> bool {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    identity.validity().is_none_or(|(from, until)| until.saturating_sub(now) < until.saturating_sub(from) / 3)
}

fn sign(issuer: &Issuer<'static, KeyPair>, hosts: &[String], now: SystemTime) -> Result<Identity, String> {
    let bad = |error: rcgen::Error| format!("cannot make a certificate: {error}");
    let mut params = CertificateParams::new(hosts.to_vec()).map_err(bad)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, now, LEAF);
    let key = KeyPair::generate().map_err(bad)?;
    let chain = params.signed_by(&key, issuer).map_err(bad)?.pem();
    Identity::from_pem(chain.as_bytes(), key.serialize_pem().as_bytes()).map_err(|bad| bad.to_string())
}

/// The authority of this folder; made if there is none yet.
fn authority(folder: &Path, now: SystemTime) -> Result<Issuer<'static, KeyPair>, String> {
    let (key_file, root_file) = (folder.join("ca.key"), folder.join("ca.pem"));
    let cannot =
        |error: io::Error, file: &Path| format!("cannot keep the internal authority: {error}: {}", file.display());
    files::folder(folder).map_err(|error| cannot(error, folder))?;
    let fresh = KeyPair::generate().map_err(|error| format!("cannot draw a key: {error}"))?.serialize_pem();
    // Of several processes that begin at once one writes the key, and the others read it.
    if let Err(error) = files::create(&key_file, fresh.as_bytes())
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(cannot(error, &key_file));
    }
    let pem = fs::read_to_string(&key_file).map_err(|error| cannot(error, &key_file))?;
    let key =
        KeyPair::from_pem(&pem).map_err(|error| format!("no usable private key: {error}: {}", key_file.display()))?;
    let params = root(&key, "Tidegate development authority", true, now);
    let known = fs::read(&root_file).ok().and_then(|root| Identity::from_pem(&root, pem.as_bytes()).ok());
    if known.is_none_or(|known| is_due(&known, now)) {
        let root = params.self_signed(&key).map_err(|error| format!("cannot make an authority: {error}"))?.pem();
        let written = files::replace(&root_file, root.as_bytes());
        written.map_err(|error| cannot(error, &root_file))?;
    }
    observe::log::info(format_args!(
        "certificates are signed by the internal authority {at}: trust it with `curl --cacert {at}`, or in this system with \
         `sudo cp {at} /usr/local/share/ca-certificates/tidegate.crt && sudo update-ca-certificates`",
        at = root_file.display()
    ));
    Ok(Issuer::new(params, key))
}

/// An authority's own certificate, from now on. But for its dates it follows from key and name, so that only those must be kept; where
/// many may have one name, some of the key is part of it.
pub(crate) fn root(key: &KeyPair, name: &str, marks: bool, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    let id: String = params.key_identifier(key).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = if marks { format!("{name} {id}") } else { name.to_owned() };
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    valid(&mut params, now, ROOT);
    params
}

fn valid(params: &mut CertificateParams, now: SystemTime, life: Duration) {
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_1970.saturating_sub(BACK);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970 + life;
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn folder(name: &str) -> Folder {
        Folder(std::env::temp_dir().join(format!("tidegate-internal-{name}-{}", std::process::id())))
    }

    #[test]
    fn what_it_signs_is_renewed_before_it_ends_and_the_authority_stays() {
        let (state, now) = (folder("renewed"), SystemTime::now());
        let mut internal = Internal::default();
        let hosts = ["a.test".to_owned(), "*.b.test".to_owned(), "192.0.2.1".to_owned()];
        let first = internal.identity(&state.0, &hosts, now).expect("a certificate");
        assert_eq!(first.names(), ["*.b.test", "a.test", "localhost"]);
        let again = |internal: &mut Internal, at| internal.identity(&state.0, &hosts, at).expect("a certificate");
        assert_eq!(again(&mut internal, now + LEAF / 2).fingerprint(), first.fingerprint());
        let late = now + LEAF - LEAF / 4;
        assert!(internal.is_due(late) && !internal.is_due(now));
        let second = again(&mut internal, late);
        assert_ne!(second.fingerprint(), first.fingerprint());
        assert!(second.validity().expect("dates").1 > first.validity().expect("dates").1);
        let root = fs::read(state.0.join("internal/ca.pem")).expect("a root");
        // Another process finds the same authority.
        let mut other = Internal::default();
        again(&mut other, now);
        assert_eq!(fs::read(state.0.join("internal/ca.pem")).expect("a root"), root);
        assert_eq!(fs::metadata(state.0.join("internal/ca.key")).expect("a key").mode() & 0o777, 0o600);
        // One that ends is made anew, with the same key.
        let key = fs::read(state.0.join("internal/ca.key")).expect("a key");
        again(&mut Internal::default(), now + ROOT);
        assert_ne!(fs::read(state.0.join("internal/ca.pem")).expect("a root"), root);
        assert_eq!(fs::read(state.0.join("internal/ca.key")).expect("a key"), key);
    }

    #[test]
    fn hosts_that_nobody_asks_for_are_forgotten() {
        let (state, now) = (folder("forgotten"), SystemTime::now());
        let mut internal = Internal::default();
        let one = internal.identity(&state.0, &["a.test".to_owned()], now).expect("a certificate");
        internal.identity(&state.0, &["b.test".to_owned()], now).expect("a certificate");
        internal.keep(&[one]);
        assert_eq!(internal.signed.len(), 1);
    }
}
