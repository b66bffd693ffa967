//! How a pool watches its servers.

use std::time::Duration;

use super::TextMatch;

/// Active checks of a pool's servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Health {
    /// What is asked.
    pub probe: Probe,
    /// Another port than the server's.
    pub port: Option<u16>,
    /// From the start of a check to the start of the next.
    pub every: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// Checks in a row that bring a server up; at least one.
    pub rise: u32,
    /// Checks in a row that bring a server down; at least one.
    pub fall: u32,
    /// `every`, while checks contradict what the server is taken for.
    pub fast: Duration,
    /// By up to this part a check comes earlier, in hundredths of a percent.
    pub jitter: u32,
}

/// What a check asks a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// A connection.
    Tcp,
    /// A request.
    Http(HttpProbe),
    /// `grpc.health.v1` by HTTP/2 with prior knowledge.
    Grpc {
        /// The authority; absent is the server's own address.
        host: Option<String>,
        /// The service that is asked about; empty is the whole server.
        service: String,
    },
    /// The beginning of a TLS handshake.
    Tls {
        /// The name that is asked for; absent is the server's own, if its address has one.
        host: Option<String>,
    },
    /// `PING`
    Redis,
    /// A StartupMessage.
    Postgres,
    /// A login.
    Mysql,
    /// `EHLO`
    Smtp,
}

/// A request that a healthy server answers well.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpProbe {
    /// The path and query, with a leading slash.
    pub path: String,
    /// The method.
    pub method: String,
    /// The Host; absent is the server's own address.
    pub host: Option<String>,
    /// More fields, names in lower case; never a framing or hop-by-hop field.
    pub headers: Vec<(String, String)>,
    /// Statuses that are well, from and to; at least one range.
    pub statuses: Vec<(u16, u16)>,
    /// Tests of the body, of which one must hold; none if it may be anything.
    pub body: Vec<TextMatch>,
}

/// What ejects a server from its pool, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// Errors in a row that do; 0 if none do.
    pub consecutive_errors: u32,
    /// How long the first ejection lasts.
    pub eject_for: Duration,
    /// The longest that one lasts.
    pub eject_for_max: Duration,
    /// The part of a pool that may be out, in hundredths of a percent.
    pub max_ejected: u32,
    /// How often servers are compared.
    pub every: Duration,
    /// Whether and when a success rate below the others' does.
    pub success_rate: Option<SuccessRate>,
    /// Whether and when a latency above the others' does.
    pub latency: Option<LatencyOutlier>,
}

/// When a success rate ejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuccessRate {
    /// Standard deviations below the mean, in thousandths.
    pub factor: u32,
    /// Servers that must have had enough requests.
    pub min_servers: u32,
    /// Requests that are enough.
    pub min_requests: u32,
}

/// When a latency ejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyOutlier {
    /// How many times the pool's median.
    pub ratio: u32,
    /// Below this nobody is too slow.
    pub over: Duration,
    /// Servers that must have had enough requests.
    pub min_servers: u32,
    /// Requests that are enough.
    pub min_requests: u32,
}
