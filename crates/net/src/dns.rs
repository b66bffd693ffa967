//! Names to addresses, with their time to live: `/etc/hosts` first, then the name servers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use std::time::Instant;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

/// Asks name servers.
#[derive(Clone)]
pub struct Resolver {
    inner: TokioResolver,
}

/// What a name means for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The addresses, sorted: IPv4 if there are any, else IPv6.
    pub addresses: Vec<IpAddr>,
    /// How long they may be believed.
    pub ttl: Duration,
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

    /// Looks a name up.
    ///
    /// # Errors
    /// There is no such name, or no server answered.
    pub async fn lookup(&self, name: &str) -> io::Result<Answer> {
        let found = self.inner.lookup_ip(name).await.map_err(io::Error::other)?;
        let mut addresses: Vec<IpAddr> = found.iter().collect();
        addresses.sort_unstable();
        addresses.dedup();
        Ok(Answer { addresses, ttl: found.valid_until().saturating_duration_since(Instant::now()) })
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}
