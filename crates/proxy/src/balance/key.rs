//! What is hashed of a request.

use std::net::IpAddr;

use crate::policy::{Selector, View};
use base::xxh64::hash;

/// The selectors of which the first that is there decides; the client's address if none is.
#[derive(Clone, Debug, Default)]
pub struct Key(pub Box<[Selector]>);

impl Key {
    /// The hash of what this request is told apart by.
    pub fn hash(&self, view: &View<'_>) -> u64 {
        self.found(view).unwrap_or_else(|| of_address(view.client))
    }

    /// The same, if any of the selectors is there.
    pub fn found(&self, view: &View<'_>) -> Option<u64> {
        self.0.iter().find_map(|selector| match selector {
            Selector::ClientIp => Some(of_address(view.client)),
            Selector::PeerIp => Some(of_address(view.peer)),
            other => other.find(view).filter(|text| !text.is_empty()).map(|text| hash(0, &text)),
        })
    }
}

/// An IPv4 address is the same whichever socket it came through.
fn of_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => hash(0, &address.octets()),
        IpAddr::V6(address) => hash(0, &address.octets()),
    }
}
