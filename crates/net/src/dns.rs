//! Names to addresses and services to names, with their time to live: `/etc/hosts` first, then the name servers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::system_conf::read_system_conf;

/// Asks name servers.
#[derive(Clone)]
pub struct Resolver {
    inner: TokioResolver,
    /// The name servers, as messages name them.
    asked: Arc<str>,
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
        let (config, options) = match servers {
            [] => read_system_conf().map_err(|error| io::Error::other(format!("/etc/resolv.conf: {error}")))?,
            some => {
                let servers = some.iter().map(|server| name_server(*server)).collect();
                (ResolverConfig::from_parts(None, Vec::new(), servers), ResolverOpts::default())
            }
        };
        let asked = asked(&config).into();
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
        // Whoever asks keeps answers by their time to live; a second cache would only make them older.
        options.cache_size = 0;
        Ok(Resolver { inner: builder.build().map_err(io::Error::other)?, asked })
    }

    /// What it means that nobody has answered in time.
    pub fn late(&self) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, format!("no answer in time, asked: {}", self.asked))
    }

    /// Why there is no answer, and whose fault that may be.
    fn failed(&self, error: &NetError) -> io::Error {
        io::Error::other(format!("{}, asked: {}", told(error), self.asked))
    }

    /// Looks up the addresses of a name: those of IPv4 if there are any, else those of IPv6.
    ///
    /// # Errors
    /// There is no such name, or no server answered.
    pub async fn addresses(&self, name: &str) -> io::Result<Answer<IpAddr>> {
        let found = self.inner.lookup_ip(name).await.map_err(|error| self.failed(&error))?;
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
        let found = self.inner.srv_lookup(name).await.map_err(|error| self.failed(&error))?;
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

/// The addresses of name servers, in their order.
fn asked(config: &ResolverConfig) -> String {
    let place = |server: &NameServerConfig| {
        let port = server.connections.first().map_or(53, |connection| connection.port);
        SocketAddr::new(server.ip, port).to_string()
    };
    let servers: Vec<String> = config.name_servers().iter().map(place).collect();
    if servers.is_empty() { "nobody, for no name server is known".to_owned() } else { servers.join(", ") }
}

/// What a name server has said, by the name of its code, or why none has said anything.
fn told(error: &NetError) -> String {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => said(none.response_code),
        NetError::Dns(DnsError::ResponseCode(code)) => said(*code),
        NetError::Io(error) => crate::dial::cause(error).into_owned(),
        NetError::Timeout => "no answer in time".to_owned(),
        NetError::NoConnections => "no name server can be reached".to_owned(),
        other => other.to_string(),
    }
}

/// A response code (RFC 1035 section 4.1.1).
fn said(code: ResponseCode) -> String {
    match code {
        ResponseCode::NXDomain => "there is no such name (NXDOMAIN)".to_owned(),
        ResponseCode::NoError => "the name has no such record (NOERROR)".to_owned(),
        ResponseCode::ServFail => "the name server cannot tell (SERVFAIL)".to_owned(),
        ResponseCode::Refused => "the name server does not answer us (REFUSED)".to_owned(),
        code => format!("the name server answers {code:?}"),
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}
