//! What is spoken: versions and algorithms.

use std::sync::{Arc, LazyLock};

use rustls::crypto::aws_lc_rs::kx_group;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};

/// The oldest version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Oldest {
    /// TLS 1.2 (RFC 5246), with forward secrecy and AEAD alone.
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// Versions and algorithms.
#[derive(Clone, Debug)]
pub struct Spoken {
    oldest: Oldest,
    pub(super) provider: Arc<CryptoProvider>,
    /// Whether our preference among suites counts, and not the client's.
    pub(super) prefers: bool,
}

impl Spoken {
    /// From this version on, with all algorithms that are known.
    pub fn since(oldest: Oldest) -> Spoken {
        Spoken { oldest, provider: provider(), prefers: false }
    }

    /// With these suites and groups alone, by their registered names; `prefers` is whether the order of the suites counts more
    /// than a client's.
    ///
    /// # Errors
    /// The name that is unknown.
    pub fn only(self, suites: Option<&[&str]>, prefers: bool, groups: Option<&[&str]>) -> Result<Spoken, String> {
        if suites.is_none() && groups.is_none() {
            return Ok(self);
        }
        let mut provider = (*self.provider).clone();
        if let Some(names) = suites {
            let suite = |name: &&str| {
                let known = aws_lc_rs::ALL_CIPHER_SUITES.iter();
                // The library marks those of TLS 1.3, whose registered names have no such mark (RFC 8446 appendix B.4).
                let mut known = known.map(|suite| (suite, suite.suite().as_str().unwrap_or_default()));
                known
                    .find(|(_, known)| known.replace("TLS13_", "TLS_") == *name)
                    .map(|(suite, _)| *suite)
                    .ok_or_else(|| (*name).to_owned())
            };
            provider.cipher_suites = names.iter().map(suite).collect::<Result<_, _>>()?;
        }
        if let Some(names) = groups {
            let group = |name: &&str| {
                let found = GROUPS.iter().find(|(known, _)| known == name);
                found.map(|(_, group)| *group).ok_or_else(|| (*name).to_owned())
            };
            provider.kx_groups = names.iter().map(group).collect::<Result<_, _>>()?;
        }
        Ok(Spoken { provider: Arc::new(provider), prefers, ..self })
    }

    pub(super) fn versions(&self) -> &'static [&'static rustls::SupportedProtocolVersion] {
        static NEWEST: [&rustls::SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
        match self.oldest {
            Oldest::Tls12 => rustls::ALL_VERSIONS,
            Oldest::Tls13 => &NEWEST,
        }
    }
}

/// One set of algorithms for the whole process, where nothing else is said.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

static GROUPS: [(&str, &dyn SupportedKxGroup); 6] = [
    ("X25519MLKEM768", kx_group::X25519MLKEM768),
    ("X25519", kx_group::X25519),
    ("secp256r1", kx_group::SECP256R1),
    ("secp384r1", kx_group::SECP384R1),
    ("SecP256r1MLKEM768", kx_group::SECP256R1MLKEM768),
    ("MLKEM1024", kx_group::MLKEM1024),
];
