//! Names of servers to addresses, asked again when their time to live ends.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use config::spec::{ServerAddress, Spec};
use net::dns::{Answer, Resolver};

/// What names mean for now.
#[derive(Clone, Debug, Default)]
pub struct Names {
    known: HashMap<String, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    addresses: Vec<IpAddr>,
    until: Instant,
}

/// A name is not asked for more often than this, whatever its time to live.
const SHORTEST: Duration = Duration::from_secs(1);
/// A name without answer is asked for again after this.
const AFTER_FAILURE: Duration = Duration::from_secs(2);
/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(3);

impl Names {
    /// The addresses that a name stands for; none while it is unknown.
    pub fn addresses(&self, name: &str) -> &[IpAddr] {
        self.known.get(name).map_or(&[], |known| &known.addresses)
    }

    /// When the first of the names must be asked for again.
    pub fn next(&self) -> Option<Instant> {
        self.known.values().map(|known| known.until).min()
    }

    /// Asks for the names of a configuration that are unknown or too old, and forgets the others. Answers whether any
    /// address changed. A name that cannot be resolved keeps the addresses that it had.
    pub async fn refresh(&mut self, spec: &Spec) -> bool {
        let now = Instant::now();
        let wanted = names_of(spec);
        self.known.retain(|name, _| wanted.contains(name));
        let fixed: HashMap<&str, &Vec<IpAddr>> =
            spec.dns.hosts.iter().map(|(name, addresses)| (name.as_str(), addresses)).collect();
        let resolver = Resolver::new(&spec.dns.servers);
        let mut changed = false;
        for name in wanted {
            if self.known.get(&name).is_some_and(|known| known.until > now) && !fixed.contains_key(name.as_str()) {
                continue;
            }
            let answer = match (fixed.get(name.as_str()), &resolver) {
                (Some(addresses), _) => Ok(Answer { addresses: (*addresses).clone(), ttl: Duration::from_secs(3600) }),
                (None, Ok(resolver)) => ask(resolver, &name).await,
                (None, Err(error)) => Err(error.to_string()),
            };
            changed |= self.learn(&name, answer);
        }
        changed
    }

    fn learn(&mut self, name: &str, answer: Result<Answer, String>) -> bool {
        let old = self.known.get(name).map(|known| known.addresses.clone());
        let (addresses, ttl) = match answer {
            Ok(answer) => (answer.addresses, answer.ttl.max(SHORTEST)),
            Err(error) => {
                match &old {
                    Some(kept) if !kept.is_empty() => {
                        observe::log::warn(format_args!(
                            "`{name}` does not resolve, its last addresses are kept: {error}"
                        ));
                    }
                    _ => observe::log::warn(format_args!(
                        "`{name}` does not resolve, it has no servers for now: {error}"
                    )),
                }
                (old.clone().unwrap_or_default(), AFTER_FAILURE)
            }
        };
        let changed = old.as_ref() != Some(&addresses);
        if changed && old.is_some() {
            observe::log::info(format_args!("`{name}` is now {addresses:?}"));
        }
        self.known.insert(name.to_owned(), Known { addresses, until: Instant::now() + ttl });
        changed
    }
}

async fn ask(resolver: &Resolver, name: &str) -> Result<Answer, String> {
    match tokio::time::timeout(PATIENCE, resolver.lookup(name)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

fn names_of(spec: &Spec) -> Vec<String> {
    let mut names: Vec<String> = spec
        .pools
        .iter()
        .flat_map(|pool| &pool.servers)
        .filter_map(|server| match &server.address {
            ServerAddress::Name { host, .. } => Some(host.clone()),
            _ => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}
