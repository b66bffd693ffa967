//! Files of servers: when one is read again, and what it lists.

use std::time::Duration;

use config::spec::{Server, ServersFile};
use net::dns::Answer;

use super::Look;
use crate::watch::Watch;

/// A file as it was when it was looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// As it was when it was read last.
    read: Option<Watch>,
    /// As it was at the last look, if that was not the same: whoever writes it may be half way through.
    pending: Option<Watch>,
}

/// How often a file is looked at.
pub(super) const EVERY: Duration = Duration::from_secs(1);

impl Seen {
    /// Whether a file has to be read: at a reload, and when two looks agree that it has changed.
    pub(super) fn is_new(&mut self, file: &ServersFile, look: Look) -> bool {
        self.is_new_as(Watch::of(std::slice::from_ref(&file.path)), look)
    }

    fn is_new_as(&mut self, now: Watch, look: Look) -> bool {
        let now = Some(now);
        if look == Look::Due && self.read.is_some() {
            if self.read == now {
                self.pending = None;
                return false;
            }
            if self.pending != now {
                self.pending = now;
                return false;
            }
        }
        self.pending = None;
        self.read = now;
        true
    }
}

/// Reads a file of servers.
///
/// # Errors
/// All of its mistakes, with their places.
pub(super) fn read(file: &ServersFile) -> Result<Answer<Server>, String> {
    let env = |name: &str| std::env::var(name).ok();
    let listed = config::load_servers(file, &env).map_err(|mistakes| mistakes.to_string().replace('\n', "; "))?;
    Ok(Answer { found: listed, ttl: EVERY })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn watch(content: &str) -> Watch {
        let path = std::env::temp_dir().join(format!("tidegate-seen-{}", std::process::id()));
        fs::write(&path, content).expect("a written file");
        Watch::of(&[path])
    }

    #[test]
    fn a_file_is_read_when_two_looks_agree() {
        let mut seen = Seen::default();
        let (one, two, three) = (watch("1"), watch("two"), watch("three"));
        assert!(seen.is_new_as(one.clone(), Look::Due), "never read");
        assert!(!seen.is_new_as(one.clone(), Look::Due));
        assert!(!seen.is_new_as(two, Look::Due), "perhaps half written");
        assert!(!seen.is_new_as(three.clone(), Look::Due), "changed again");
        assert!(seen.is_new_as(three.clone(), Look::Due));
        assert!(!seen.is_new_as(three.clone(), Look::Due));
        assert!(!seen.is_new_as(one, Look::Due));
        assert!(!seen.is_new_as(three.clone(), Look::Due), "as it was");
        assert!(seen.is_new_as(three, Look::Reload));
    }
}
