//! Names to addresses and services to names, with their time to live: `/etc/hosts` first, then the name servers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use std::time::Instant;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

/// Asks name servers.
#[derive(Clone)]
pub struct Resolver {
    inner: TokioResolver,
}

/// What a name means for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// What was found, sorted.
    pub found: Vec<T>,
    /// How long it may be believed.
    pub ttl: Duration,
}

/// One server of a service (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Those with the lowest number come first; others are for when none of these can be reached.
    pub priority: u16,
    /// Its name, in lower case and without a final dot.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its share beside others of the same priority; with 0 a very small one.
    pub weight: u16,
}

impl Resolver {
    /// A resolver that asks these servers, or those of `/etc/resolv.conf` if there are none.
    ///
    /// # Errors
    /// The system's configuration cannot be read.
    pub fn new(servers: &[SocketAddr]) -> io::Result<Resolver> {
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(io::Error::other)?
        } else {
            let servers = servers.iter().map(|server| name_server(*server)).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
        // Whoever asks keeps answers by their time to live; a second cache would only make them older.
        options.cache_size = 0;
        Ok(Resolver { inner: builder.build().map_err(io::Error::other)? })
    }

    /// Looks up the addresses of a name: those of IPv4 if there are any, else those of IPv6.
    ///
    /// # Errors
    /// There is no such name, or no server answered.
    pub async fn addresses(&self, name: &str) -> io::Result<Answer<IpAddr>> {
        let found = self.inner.lookup_ip(name).await.map_err(io::Error::other)?;
        let mut addresses: Vec<IpAddr> = found.iter().collect();
        addresses.sort_unstable();
        addresses.dedup();
        Ok(Answer { found: addresses, ttl: found.valid_until().saturating_duration_since(Instant::now()) })
    }

    /// Looks up the servers of a service. None at all is an answer too: a lone record whose target is the root says that the
    /// service is decidedly not there. A record with port 0 names no place and is passed over.
    ///
    /// # Errors
    /// There is no such name, or no server answered.
    pub async fn services(&self, name: &str) -> io::Result<Answer<Target>> {
        let found = self.inner.srv_lookup(name).await.map_err(io::Error::other)?;
        let records = found.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(record) if !record.target.is_root() && record.port > 0 => Some(Target {
                priority: record.priority,
                host: record.target.to_lowercase().to_utf8().trim_end_matches('.').to_owned(),
                port: record.port,
                weight: record.weight,
            }),
            _ => None,
        });
        let mut targets: Vec<Target> = records.collect();
        targets.sort_unstable();
        targets.dedup();
        Ok(Answer { found: targets, ttl: found.valid_until().saturating_duration_since(Instant::now()) })
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}
