//! Certificates that are shown to nobody but an authority that asks for a proof (RFC 8737).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::sign::CertifiedKey;

use super::Identity;

/// The proofs that there are now, by the domain. All workers look at the same ones, when such a handshake comes and never else.
#[derive(Clone, Debug, Default)]
pub struct Proofs {
    shown: Arc<RwLock<HashMap<String, Identity>>>,
}

impl Proofs {
    /// These from now on.
    pub fn set(&self, shown: HashMap<String, Identity>) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    pub(super) fn find(&self, domain: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown.get(&domain?.to_ascii_lowercase())?.key))
    }
}
