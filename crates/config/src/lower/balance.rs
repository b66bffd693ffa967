//! How a pool chooses among its servers.

use super::Lower;
use crate::shape::{Map, Value};
use crate::spec::{Algorithm, Balance, Selector};

impl Lower<'_, '_> {
    pub(super) fn balance(&mut self, pool: &Map) -> Option<Balance> {
        let map = pool.map("balance")?;
        let word = match map.get("algorithm") {
            Some(value) => value.fixed()?,
            None => Algorithm::LeastRequests.word(),
        };
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.word() == word)?;
        if !algorithm.is_consistent_hash() {
            for key in ["hash", "balance_factor"] {
                let Some(value) = map.get(key) else { continue };
                let message = format!(
                    "`{key}` of {} means nothing with `{word}`, use it with `maglev` or `ring_hash`, or remove it",
                    map.label
                );
                self.note(value, message);
            }
        }
        let hash = match map.get("hash") {
            Some(value) => self.keys_of_requests(value)?,
            None => Vec::new(),
        };
        Some(Balance { algorithm, hash, factor: map.small("balance_factor") })
    }

    /// Selectors by which requests are told apart.
    pub(super) fn keys_of_requests(&mut self, value: &Value) -> Option<Vec<Selector>> {
        let selectors = self.selectors(value)?;
        for (selector, item) in selectors.iter().zip(value.items()) {
            let word = match selector {
                Selector::Method => "method",
                Selector::RequestId => "request_id",
                Selector::TlsVersion => "tls.version",
                Selector::TlsCipher => "tls.cipher",
                _ => continue,
            };
            let message =
                format!("`{word}` does not tell clients or contents apart, use one such as `client_ip` or `uri`");
            self.note(item, message);
        }
        Some(selectors)
    }
}
