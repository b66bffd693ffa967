//! Files of servers: what one lists.

use std::time::Duration;

use config::spec::{Server, ServersFile};
use net::dns::Answer;

/// How often a file is looked at.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// Reads a file of servers.
///
/// # Errors
/// All of its mistakes, with their places.
pub(super) fn read(file: &ServersFile) -> Result<Answer<Server>, String> {
    let env = |name: &str| std::env::var(name).ok();
    let listed = config::load_servers(file, &env).map_err(|mistakes| mistakes.to_string().replace('\n', "; "))?;
    Ok(Answer { found: listed, ttl: EVERY })
}
