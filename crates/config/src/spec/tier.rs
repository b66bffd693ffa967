//! When a server is asked.

/// What servers are, in the order of names.
pub type Labels = Vec<(String, String)>;

/// When a server is asked, beside the others of its pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tier {
    /// Its priority, the lowest first; absent is 0.
    pub level: Option<u32>,
    /// The zone that it is in.
    pub zone: Option<String>,
    /// What it is, for routes that ask only some; in the order of their names.
    pub labels: Labels,
}

impl Tier {
    /// The level of backups, below every priority that can be said.
    pub const BACKUP: u32 = 256;

    /// What is said here, and what `farther` says where nothing is.
    pub fn or(self, farther: &Tier) -> Tier {
        Tier {
            level: self.level.or(farther.level),
            zone: self.zone.or_else(|| farther.zone.clone()),
            labels: if self.labels.is_empty() { farther.labels.clone() } else { self.labels },
        }
    }
}
