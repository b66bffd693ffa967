//! Clients that stay with their server.

use std::time::Duration;

use super::Selector;

/// How a pool's clients are known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// By a cookie of ours.
    Cookie {
        /// Its name; absent is a name that no other pool has.
        name: Option<String>,
        /// How long clients keep it; absent is until their browser ends.
        lasts: Option<Duration>,
    },
    /// By the first of these that a request has, in a table.
    Table {
        /// What tells clients apart.
        by: Vec<Selector>,
        /// How long a client is remembered after its last request.
        lasts: Duration,
        /// How many clients are remembered.
        most: usize,
    },
}

impl Sticky {
    /// What of a request tells clients apart; nothing where a cookie of ours does.
    pub fn by(&self) -> &[Selector] {
        match self {
            Sticky::Cookie { .. } => &[],
            Sticky::Table { by, .. } => by,
        }
    }
}

/// A secret, which never shows what it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}
