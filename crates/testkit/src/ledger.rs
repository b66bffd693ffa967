//! What a backend whose connections carry many requests has seen.

use std::sync::Arc;

use http_types::{HeaderMap, Method};

use crate::wait::Shared;

/// What was seen. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Shared<State>>);

/// A request, read to its end.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The number of its connection, from 0.
    pub connection: usize,
    /// Its method.
    pub method: Method,
    /// What it asks for, with scheme and authority.
    pub uri: String,
    /// Its fields.
    pub fields: HeaderMap,
    /// Its content.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Option<HeaderMap>,
}

#[derive(Debug, Default)]
struct State {
    total: usize,
    open: usize,
    asked: Vec<Asked>,
    /// Streams whose request is here and whose response is not complete.
    under_way: usize,
    most_under_way: usize,
}

impl Ledger {
    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.0.with(|state| state.total)
    }

    /// Requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.0.with(|state| state.asked.clone())
    }

    /// Waits until so many requests were read.
    ///
    /// # Panics
    /// There are fewer.
    pub fn until_asked(&self, count: usize) {
        self.0.until("a request", |state| (state.asked.len() >= count).then_some(()));
    }

    /// Waits until so many connections are open.
    ///
    /// # Panics
    /// There are more or fewer.
    pub fn until_open(&self, count: usize) {
        self.0.until("the number of open connections", |state| (state.open == count).then_some(()));
    }

    /// The most requests that were under way at one time.
    pub fn most_under_way(&self) -> usize {
        self.0.with(|state| state.most_under_way)
    }

    /// A connection has begun: its number.
    pub(crate) fn opened(&self) -> usize {
        self.0.with(|state| {
            state.open += 1;
            state.total += 1;
            state.total - 1
        })
    }

    pub(crate) fn closed(&self) {
        self.0.with(|state| state.open -= 1);
    }

    /// A request that is not counted among those under way.
    pub(crate) fn heard(&self, asked: Asked) {
        self.0.with(|state| state.asked.push(asked));
    }

    pub(crate) fn began(&self, asked: &Asked) {
        self.0.with(|state| {
            state.asked.push(asked.clone());
            state.under_way += 1;
            state.most_under_way = state.most_under_way.max(state.under_way);
        });
    }

    pub(crate) fn ended(&self) {
        self.0.with(|state| state.under_way -= 1);
    }
}
