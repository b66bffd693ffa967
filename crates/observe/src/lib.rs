//! What operators see of the proxy: the access log, counters, the metrics page, and the process's own log.
//!
//! The rooms, in the order in which a request reaches them:
//!
//! - [`access`]: one line a finished request, formatted by the worker, written by one thread
//! - [`stats`]: counters and latencies with a shard a worker, summed only when somebody asks
//! - [`metrics`]: those sums as a page for Prometheus
//! - [`capture`]: what passes a route, whole, into an archive, written by one thread a file
//! - [`log`]: the process's own messages to the operator
//!
//! Nothing here makes a worker wait: a blocked disk loses lines and counts them, and counting takes no lock and no
//! locked instruction.

pub mod access;
pub mod capture;
pub mod log;
pub mod metrics;
pub mod stats;

mod stamp;

use base::Side;

/// A fault's side, as logs and metrics name it.
fn side_name(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
        Side::Proxy => "proxy",
    }
}
