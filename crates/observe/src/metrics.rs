//! The metrics page: what [`stats`](crate::stats) counted, in Prometheus's text format, version 0.0.4.
//!
//! There is no registry and nothing is counted twice: whoever answers a scrape fills a [`Scrape`] with references to the
//! counters of the snapshot that serves now, and [`Scrape::page`] sums their shards. Names follow Prometheus's
//! conventions: base units, `_total` for what only grows. A label that does not apply is empty, which to Prometheus is
//! the same as absent.
//!
//! | family | labels |
//! |---|---|
//! | `tidegate_requests_total` | `listener`, `route`, `code_class` |
//! | `tidegate_request_seconds` (histogram) | `listener`, `route` |
//! | `tidegate_request_bytes_total` | `listener`, `route`, `direction` |
//! | `tidegate_faults_total` | `listener`, `route`, `side`, `code` |
//! | `tidegate_connections`, `tidegate_connections_total`, `tidegate_connections_refused_total` | `listener`, `worker` |
//! | `tidegate_tls_handshakes_total`, `tidegate_tls_handshakes_failed_total` | `listener`, `worker` |
//! | `tidegate_quic_retries_total`, `tidegate_quic_moves_total` | `listener`, `worker` |
//! | `tidegate_quic_datagrams_handed_over_total`, `tidegate_quic_datagrams_handed_over_lost_total` | `listener`, `worker` |
//! | `tidegate_datagrams_total` | `listener`, `worker`, `direction` |
//! | `tidegate_datagrams_lost_total` | `listener`, `worker` |
//! | `tidegate_auth_failures_total` | `listener`, `worker` |
//! | `tidegate_server_requests_total` | `pool`, `server`, `address`, `code_class` |
//! | `tidegate_server_request_seconds` (histogram) | `pool`, `server`, `address` |
//! | `tidegate_server_bytes_total` | `pool`, `server`, `address`, `direction` |
//! | `tidegate_server_faults_total` | `pool`, `server`, `address`, `side`, `code` |
//! | `tidegate_server_in_flight`, `tidegate_server_connections`, `tidegate_server_up` | `pool`, `server`, `address` |
//! | `tidegate_server_state` | `pool`, `server`, `address`, `state`: see [`Server::STATES`] |
//! | `tidegate_server_transitions_total` | `pool`, `server`, `address`, `to` |
//! | `tidegate_pool_waiting` | `pool` |
//! | `tidegate_canary_share` | `listener`, `route` |
//! | `tidegate_canary_state` | `listener`, `route`, `state` |
//! | `tidegate_canary_changes_total` | `listener`, `route`, `state`, `cause` |
//! | `tidegate_canary_requests_total` | `listener`, `route`, `version`, `code_class` |
//! | `tidegate_canary_response_seconds` (histogram) | `listener`, `route`, `version` |
//! | `tidegate_canary_diverted_total` | `listener`, `route`, `version` |
//! | `tidegate_pool_limits_met_total` | `pool`, `limit`: `retry_budget`, `retries`, `requests`, `concurrency` |
//! | `tidegate_pool_hedges_total`, `tidegate_pool_hedges_won_total` | `pool` |
//! | `tidegate_pool_concurrency`, `tidegate_pool_concurrency_limit` | `pool`, where it has `concurrency` |
//! | `tidegate_source_up` | `source` |
//! | `tidegate_mirror_copies_total` | `mirror`, `result`: `sent`, `too_large`, `too_many`, `unfinished`, `no_room` |
//! | `tidegate_mirror_pairs_total` | `mirror`, `real`, `shadow` |
//! | `tidegate_mirror_response_seconds` (histogram) | `mirror`, `of`: `real`, `shadow` |
//! | `tidegate_mirror_difference_seconds` (histogram) | `mirror`, `copy`: `slower`, `faster` |
//! | `tidegate_capture_entries_total`, `tidegate_capture_lost_total` | `file` |
//! | `tidegate_certificate_expiry_seconds`, `tidegate_certificate_missing` | `certificate`, `host` |
//! | `tidegate_filter_refusals_total` | `filter`, `by`: `type`, `size`, `words` |
//! | `tidegate_list_rules` | `list`, `kind`: `host`, `pattern` |
//! | `tidegate_list_wrong_lines`, `tidegate_list_bytes`, `tidegate_list_loaded_seconds`, `tidegate_list_current`, `tidegate_list_hits_total` | `list` |
//! | `tidegate_quota_subjects`, `tidegate_quota_refused_total`, `tidegate_quota_cut_total` | `quota` |
//! | `tidegate_nat_in_kernel` | `listener` |
//! | `tidegate_nat_packets_total`, `tidegate_nat_bytes_total` | `listener`, `bind`, `server`, `address`, `direction` |
//! | `tidegate_nat_connections_total`, `tidegate_nat_connections` | `listener`, `bind`, `server`, `address` |
//! | `tidegate_nat_drops_total` | `reason` |
//! | `tidegate_nat_entries`, `tidegate_nat_entries_limit` | |
//! | `tidegate_worker_longest_turn_seconds`, `tidegate_worker_slow_turns_total` | `worker` |
//! | `tidegate_spliced_bytes_total` | |
//! | `tidegate_passwords_verified_total` | |
//! | `tidegate_encoders`, `tidegate_encoders_refused_total` | |
//! | `tidegate_log_dropped_total` | |
//! | `tidegate_config_generation` | |
//! | `tidegate_config_reloads_total` | `result`: `ok`, `failed` |
//! | `process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds`, `process_max_fds`, `process_start_time_seconds` | |

mod archives;
mod canaries;
mod certificates;
mod filters;
mod lists;
mod mirrors;
mod nat;
mod page;
mod process;
mod quotas;
mod requests;

use base::ids::WorkerId;

use crate::stats::{ConnectionStats, Connections, RequestStats, TurnMeter};
use page::{Label, Page, labels};
use requests::{ROUTE_FAMILIES, SERVER_FAMILIES};

pub use archives::Archive;
pub use canaries::{Canary, Version};
pub use certificates::Certificate;
pub use filters::Filter;
pub use lists::List;
pub use mirrors::Mirror;
pub use nat::{Nat, NatServer};
pub use process::Process;
pub use quotas::Quota;

/// Everything that one scrape shows.
#[derive(Clone, Debug, Default)]
pub struct Scrape<'a> {
    /// The routes of every listener.
    pub routes: Vec<Route<'a>>,
    /// The listeners.
    pub listeners: Vec<Listener<'a>>,
    /// The servers of every pool.
    pub servers: Vec<Server<'a>>,
    /// The pools.
    pub pools: Vec<Pool<'a>>,
    /// The canaries.
    pub canaries: Vec<Canary<'a>>,
    /// The sources of servers, by their names, and whether they have answered when they were asked last.
    pub sources: Vec<(&'a str, bool)>,
    /// The mirrors.
    pub mirrors: Vec<Mirror<'a>>,
    /// The archives that routes are captured into.
    pub archives: Vec<Archive>,
    /// The certificates that clients are shown, each once for each host.
    pub certificates: Vec<Certificate<'a>>,
    /// Filters of responses.
    pub filters: Vec<Filter<'a>>,
    /// Lists of sites.
    pub lists: Vec<List<'a>>,
    /// Quotas.
    pub quotas: Vec<Quota<'a>>,
    /// Packets that the kernel rewrites.
    pub nat: Nat<'a>,
    /// The workers' turns, in the workers' order.
    pub turns: Vec<&'a TurnMeter>,
    /// Bytes of bodies that went through pipes inside the kernel.
    pub spliced: u64,
    /// Passwords that were looked at because nobody knew them yet.
    pub passwords_verified: u64,
    /// Responses that are under way into a content coding.
    pub encoders: usize,
    /// Responses that went as they are because too many others were.
    pub encoders_refused: u64,
    /// Lines that the access log has lost since the start, over all logs there were.
    pub log_dropped: u64,
    /// The number of the configuration that serves now.
    pub generation: u64,
    /// Reloads that took effect.
    pub reloads_ok: u64,
    /// Reloads that were refused.
    pub reloads_failed: u64,
    /// The process; absent if the system did not say.
    pub process: Option<Process>,
}

/// One route of one listener. Entries with the same listener and route are shown as one, their sum.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// The listener's name.
    pub listener: &'a str,
    /// The route's name; empty stands for all routes that have none, and requests that matched none.
    pub route: &'a str,
    /// Its counters.
    pub stats: &'a RequestStats,
}

/// One listener.
#[derive(Clone, Copy, Debug)]
pub struct Listener<'a> {
    /// Its name.
    pub listener: &'a str,
    /// Its counters.
    pub stats: &'a ConnectionStats,
}

/// One server of one pool. No two entries may have the same pool, server and address.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// The server's name.
    pub server: &'a str,
    /// Its address.
    pub address: &'a str,
    /// Its counters: what it answered, and how long it took.
    pub stats: &'a RequestStats,
    /// Requests that wait for its answer or receive it.
    pub in_flight: u64,
    /// Connections to it, idle ones among them.
    pub connections: u64,
    /// Whether it may be chosen.
    pub up: bool,
    /// What it is, one of [`Server::STATES`].
    pub state: &'static str,
    /// How often it came to be what.
    pub transitions: &'a [(&'static str, u64)],
}

/// One pool. No two entries may have the same name.
#[derive(Clone, Debug)]
pub struct Pool<'a> {
    /// Its name.
    pub pool: &'a str,
    /// Requests that wait in its queue.
    pub waiting: u64,
    /// Requests under way and the limit of them, if it finds one.
    pub concurrency: Option<(u64, u64)>,
    /// Hedges that were sent, and those of them that came first.
    pub hedges: (u64, u64),
    /// How often each of its limits was met.
    pub met: Vec<(&'static str, u64)>,
}

/// The media type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Scrape<'_> {
    /// The page.
    pub fn page(&self) -> String {
        let mut page = Page::default();
        self.write_routes(&mut page);
        self.write_listeners(&mut page);
        self.write_servers(&mut page);
        self.write_pools(&mut page);
        canaries::write(&self.canaries, &mut page);
        mirrors::write(&self.mirrors, &mut page);
        archives::write(&self.archives, &mut page);
        certificates::write(&self.certificates, &mut page);
        filters::write(&self.filters, &mut page);
        lists::write(&self.lists, &mut page);
        quotas::write(&self.quotas, &mut page);
        nat::write(&self.nat, &mut page);
        self.write_workers(&mut page);
        self.write_house(&mut page);
        if let Some(process) = self.process {
            process.write(&mut page);
        }
        page.text()
    }

    fn write_routes(&self, page: &mut Page) {
        let rows =
            self.routes.iter().map(|route| ([("listener", route.listener), ("route", route.route)], route.stats));
        ROUTE_FAMILIES.write(page, rows);
    }

    fn write_listeners(&self, page: &mut Page) {
        let rows: Vec<(Vec<Label>, Connections)> = self
            .listeners
            .iter()
            .flat_map(|of| of.stats.read().map(|(worker, read)| (listener_labels(of.listener, worker), read)))
            .collect();
        page.gauge(
            "tidegate_connections",
            "Client connections that are open now.",
            rows.iter().map(|(labels, read)| (labels.clone(), read.active as f64)),
        );
        page.counter(
            "tidegate_connections_total",
            "Client connections that were accepted.",
            rows.iter().map(|(labels, read)| (labels.clone(), read.accepted as f64)),
        );
        page.counter(
            "tidegate_connections_refused_total",
            "Client connections that were closed at once, because a limit was reached.",
            rows.iter().map(|(labels, read)| (labels.clone(), read.refused as f64)),
        );
        page.counter(
            "tidegate_tls_handshakes_total",
            "Handshakes of TLS with clients that both sides completed.",
            rows.iter().map(|(labels, read)| (labels.clone(), read.handshakes as f64)),
        );
        page.counter(
            "tidegate_tls_handshakes_failed_total",
            "Handshakes of TLS with clients that were broken off, took too long or were too many.",
            rows.iter().map(|(labels, read)| (labels.clone(), read.handshakes_failed as f64)),
        );
        page.counter(
            "tidegate_quic_retries_total",
            "Clients of QUIC that were asked to come back and prove their address.",
            rows.iter().map(|(labels, read)| (labels.clone(), read.retries as f64)),
        );
        page.counter(
            "tidegate_quic_moves_total",
            "Times that the client of a QUIC connection came to be at another address.",
            rows.iter().map(|(labels, read)| (labels.clone(), read.moves as f64)),
        );
        page.counter(
            "tidegate_quic_datagrams_handed_over_total",
            "Datagrams that came to this worker and were handed over to the one whose connection they are of.",
            rows.iter().map(|(labels, read)| (labels.clone(), read.handed_over as f64)),
        );
        page.counter(
            "tidegate_quic_datagrams_handed_over_lost_total",
            "Datagrams that were lost because the worker whose connection they are of did not keep up.",
            rows.iter().map(|(labels, read)| (labels.clone(), read.handed_over_lost as f64)),
        );
        page.counter(
            "tidegate_datagrams_total",
            "Datagrams of flows of UDP: `in` from clients, `out` from servers.",
            rows.iter().flat_map(|(labels, read)| {
                [("in", read.datagrams_in), ("out", read.datagrams_out)].map(|(direction, count)| {
                    ([&labels[..], &page::labels(&[("direction", direction)])].concat(), count as f64)
                })
            }),
        );
        page.counter(
            "tidegate_datagrams_lost_total",
            "Datagrams of clients and servers that went no farther: denied, without a server, over a limit, or not taken by the kernel.",
            rows.iter().map(|(labels, read)| (labels.clone(), read.datagrams_lost as f64)),
        );
        page.counter(
            "tidegate_auth_failures_total",
            "Requests whose password or token was nobody's.",
            rows.iter().map(|(labels, read)| (labels.clone(), read.auth_failures as f64)),
        );
    }

    fn write_servers(&self, page: &mut Page) {
        SERVER_FAMILIES.write(page, self.servers.iter().map(|server| (server.labels(), server.stats)));
        let each = |value: fn(&Server<'_>) -> f64| {
            self.servers.iter().map(move |server| (labels(&server.labels()), value(server)))
        };
        page.gauge(
            "tidegate_server_in_flight",
            "Requests that the server works on now.",
            each(|server| server.in_flight as f64),
        );
        page.gauge(
            "tidegate_server_connections",
            "Connections to the server that are open now, idle ones included.",
            each(|server| server.connections as f64),
        );
        page.gauge(
            "tidegate_server_up",
            "Whether the server may be chosen: 1 if so, else 0.",
            each(|server| f64::from(server.up)),
        );
        let states = |server: &Server<'_>| {
            Server::STATES.map(|state| (server.labels_and(("state", state)), f64::from(server.state == state)))
        };
        page.gauge(
            "tidegate_server_state",
            "What the server is: 1 for its state, 0 for all others.",
            self.servers.iter().flat_map(states),
        );
        page.counter(
            "tidegate_server_transitions_total",
            "Times that the server came to be up or down by active checks, ejected or returned by its answers, or paused.",
            self.servers.iter().flat_map(|server| {
                let one = |(to, count): &(&'static str, u64)| (server.labels_and(("to", to)), *count as f64);
                server.transitions.iter().map(one)
            }),
        );
    }

    fn write_pools(&self, page: &mut Page) {
        page.gauge(
            "tidegate_pool_waiting",
            "Requests that wait for a server of the pool.",
            self.pools.iter().map(|pool| (labels(&[("pool", pool.pool)]), pool.waiting as f64)),
        );
        page.counter(
            "tidegate_pool_hedges_total",
            "Requests that were sent to another server, too, while the first took long.",
            self.pools.iter().map(|pool| (labels(&[("pool", pool.pool)]), pool.hedges.0 as f64)),
        );
        page.counter(
            "tidegate_pool_hedges_won_total",
            "Those of them that were answered first.",
            self.pools.iter().map(|pool| (labels(&[("pool", pool.pool)]), pool.hedges.1 as f64)),
        );
        let adaptive = |which: fn((u64, u64)) -> u64| {
            let of = move |pool: &Pool<'_>| {
                pool.concurrency.map(|both| (labels(&[("pool", pool.pool)]), which(both) as f64))
            };
            self.pools.iter().filter_map(of)
        };
        page.gauge(
            "tidegate_pool_concurrency",
            "Requests under way in a pool that finds its limit of them.",
            adaptive(|(under_way, _)| under_way),
        );
        page.gauge(
            "tidegate_pool_concurrency_limit",
            "How many requests the pool takes at a time for now.",
            adaptive(|(_, limit)| limit),
        );
        let met =
            self.pools.iter().flat_map(|pool| pool.met.iter().map(move |(limit, count)| (pool.pool, limit, count)));
        page.counter(
            "tidegate_pool_limits_met_total",
            "Times that a limit of the pool refused a request or a further try.",
            met.map(|(pool, limit, count)| (labels(&[("pool", pool), ("limit", limit)]), *count as f64)),
        );
    }

    fn write_workers(&self, page: &mut Page) {
        let workers = || self.turns.iter().enumerate().map(|(worker, turns)| (worker_labels(worker), turns));
        page.gauge(
            "tidegate_worker_longest_turn_seconds",
            "The longest time that the worker kept its thread without waiting, since the start or the last reset.",
            workers().map(|(labels, turns)| (labels, turns.longest().as_secs_f64())),
        );
        page.counter(
            "tidegate_worker_slow_turns_total",
            "Times that the worker kept its thread for more than a millisecond.",
            workers().map(|(labels, turns)| (labels, turns.slow() as f64)),
        );
    }

    fn write_house(&self, page: &mut Page) {
        page.counter(
            "tidegate_spliced_bytes_total",
            "Bytes of bodies that went from connection to connection inside the kernel.",
            [(Vec::new(), self.spliced as f64)],
        );
        page.counter(
            "tidegate_passwords_verified_total",
            "Passwords whose slow hash was computed, since nobody knew of them whether they are right.",
            [(Vec::new(), self.passwords_verified as f64)],
        );
        page.gauge(
            "tidegate_encoders",
            "Responses that are under way into a content coding.",
            [(Vec::new(), self.encoders as f64)],
        );
        page.counter(
            "tidegate_encoders_refused_total",
            "Responses that went as they are, because `at_once` others were under way into a coding.",
            [(Vec::new(), self.encoders_refused as f64)],
        );
        page.counter(
            "tidegate_log_dropped_total",
            "Access log lines that were lost, because the disk was behind or failed.",
            [(Vec::new(), self.log_dropped as f64)],
        );
        page.gauge(
            "tidegate_source_up",
            "1 if a source of servers has answered when it was asked last; if not, its last servers are kept.",
            self.sources.iter().map(|(source, up)| (labels(&[("source", source)]), f64::from(u8::from(*up)))),
        );
        page.gauge(
            "tidegate_config_generation",
            "The number of the configuration that serves now; each reload that takes effect adds one.",
            [(Vec::new(), self.generation as f64)],
        );
        page.counter(
            "tidegate_config_reloads_total",
            "Reloads of the configuration, by whether they took effect.",
            [("ok", self.reloads_ok), ("failed", self.reloads_failed)]
                .map(|(result, count)| (labels(&[("result", result)]), count as f64)),
        );
    }
}

impl<'a> Server<'a> {
    /// What a server may be: in use, out by active checks, by its answers or by failed connects, or out by the operator's will.
    pub const STATES: [&'static str; 6] = ["up", "down", "ejected", "paused", "draining", "off"];

    fn labels(&self) -> [(&'static str, &'a str); 3] {
        [("pool", self.pool), ("server", self.server), ("address", self.address)]
    }

    fn labels_and(&self, one_more: (&'static str, &'a str)) -> Vec<Label> {
        labels(&[self.labels().as_slice(), &[one_more]].concat())
    }
}

fn listener_labels(listener: &str, worker: WorkerId) -> Vec<Label> {
    labels(&[("listener", listener), ("worker", &worker.0.to_string())])
}

fn worker_labels(worker: usize) -> Vec<Label> {
    labels(&[("worker", &worker.to_string())])
}

#[cfg(test)]
mod tests;
