//! The page, read back by a parser of the text format that shares nothing with the encoder.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use base::ids::WorkerId;
use base::{Fault, Kind};

use super::{
    Canary, Certificate, List, Listener, Mirror, Nat, NatServer, Pool, Process, Quota, Route, Scrape, Server, Version,
};
use crate::stats::{ConnectionStats, Outcome, RequestStats, TurnMeter};

#[test]
fn every_family_is_on_the_page_and_reads_back() {
    let (requests, others) = (RequestStats::new(2), RequestStats::new(2));
    let (connections, turns) = (ConnectionStats::new(2), [TurnMeter::default(), TurnMeter::default()]);
    requests.shard(WorkerId(0)).count(&outcome(200, None));
    requests.shard(WorkerId(1)).count(&outcome(502, Some(Fault::proxy(Kind::NoServer))));
    connections.shard(WorkerId(1)).accepted();
    connections.shard(WorkerId(1)).begun();
    connections.shard(WorkerId(1)).handshake_done();
    turns[1].record(Duration::from_millis(3));
    let page = Scrape {
        routes: vec![
            Route { listener: "web", route: "api", stats: &requests },
            Route { listener: "web", route: "", stats: &others },
        ],
        listeners: vec![Listener { listener: "web", stats: &connections }],
        servers: vec![Server {
            pool: "api",
            server: "a1",
            address: "127.0.0.1:9001",
            stats: &requests,
            in_flight: 2,
            connections: 5,
            up: true,
            state: "up",
            transitions: &[("down", 3)],
        }],
        canaries: vec![Canary {
            listener: "web",
            route: "api",
            share: 0.25,
            states: vec![("running", true), ("held", false)],
            changes: vec![("running", "step", 2)],
            versions: ["stable", "candidate"].map(|name| Version { name, stats: &requests, diverted: 3 }),
        }],
        pools: vec![Pool {
            pool: "api",
            waiting: 6,
            concurrency: Some((2, 30)),
            hedges: (5, 3),
            met: vec![("retry_budget", 8)],
        }],
        sources: vec![("srv:_http._tcp.a.example", true), ("file:/etc/servers.yaml", false)],
        mirrors: vec![Mirror {
            mirror: "shadow",
            copies: vec![("sent", 1), ("too_many", 4)],
            pairs: std::array::from_fn(|real| std::array::from_fn(|shadow| u64::from(real == 2 && shadow == 5))),
            latencies: ["real", "shadow"].map(|of| (of, requests.read().latency)),
            differences: ["slower", "faster"].map(|than| (than, requests.read().latency)),
        }],
        archives: vec![crate::metrics::Archive { file: "a.har".to_owned(), written: 5, lost: 1 }],
        certificates: vec![
            Certificate { certificate: "site", host: "a.test", until: Some(1_800_000_000) },
            Certificate { certificate: "auto", host: "b.test", until: None },
        ],
        quotas: vec![Quota { quota: "fair", subjects: 3, refused: 2, cut: 1 }],
        filters: vec![super::Filter { filter: "films", refusals: vec![("type", 6), ("size", 2)] }],
        lists: vec![List {
            list: "ads",
            rules: [("host", 7), ("pattern", 3)],
            wrong: 2,
            bytes: 99,
            loaded: SystemTime::UNIX_EPOCH + Duration::from_secs(5),
            hits: 4,
            is_current: false,
        }],
        nat: Nat {
            listeners: vec![("vip", true)],
            servers: vec![NatServer {
                listener: "vip",
                bind: "192.0.2.1:80/tcp",
                server: "a1",
                address: "127.0.0.1:9001",
                packets: [12, 11],
                bytes: [1200, 1100],
                opened: 5,
                open: 2,
            }],
            drops: vec![("stray", 6)],
            entries: Some((4, 1024)),
        },
        turns: turns.iter().collect(),
        spliced: 9,
        passwords_verified: 11,
        encoders: 3,
        encoders_refused: 4,
        log_dropped: 7,
        generation: 4,
        reloads_ok: 3,
        reloads_failed: 1,
        process: Process::read(SystemTime::now()),
    }
    .page();
    let page = Parsed::read(&page);
    let server = r#"pool="api",server="a1",address="127.0.0.1:9001""#;
    let vip = r#"listener="vip",bind="192.0.2.1:80/tcp",server="a1",address="127.0.0.1:9001""#;
    for (sample, value) in [
        (r#"tidegate_requests_total{listener="web",route="api",code_class="2xx"}"#, 1.0),
        (r#"tidegate_requests_total{listener="web",route="api",code_class="5xx"}"#, 1.0),
        (r#"tidegate_requests_total{listener="web",route="",code_class="5xx"}"#, 0.0),
        (r#"tidegate_request_seconds_bucket{listener="web",route="api",le="0.000512"}"#, 0.0),
        (r#"tidegate_request_seconds_bucket{listener="web",route="api",le="0.001024"}"#, 2.0),
        (r#"tidegate_request_seconds_bucket{listener="web",route="api",le="+Inf"}"#, 2.0),
        (r#"tidegate_request_seconds_sum{listener="web",route="api"}"#, 0.002),
        (r#"tidegate_request_seconds_count{listener="web",route="api"}"#, 2.0),
        (r#"tidegate_request_bytes_total{listener="web",route="api",direction="out"}"#, 20.0),
        (r#"tidegate_faults_total{listener="web",route="api",side="proxy",code="no_server"}"#, 1.0),
        (r#"tidegate_source_up{source="srv:_http._tcp.a.example"}"#, 1.0),
        (r#"tidegate_source_up{source="file:/etc/servers.yaml"}"#, 0.0),
        (r#"tidegate_canary_share{listener="web",route="api"}"#, 0.25),
        (r#"tidegate_canary_state{listener="web",route="api",state="running"}"#, 1.0),
        (r#"tidegate_canary_state{listener="web",route="api",state="held"}"#, 0.0),
        (r#"tidegate_canary_changes_total{listener="web",route="api",state="running",cause="step"}"#, 2.0),
        (r#"tidegate_canary_requests_total{listener="web",route="api",version="stable",code_class="5xx"}"#, 1.0),
        (r#"tidegate_canary_response_seconds_count{listener="web",route="api",version="candidate"}"#, 2.0),
        (r#"tidegate_certificate_expiry_seconds{certificate="site",host="a.test"}"#, 1_800_000_000.0),
        (r#"tidegate_list_rules{list="ads",kind="pattern"}"#, 3.0),
        (r#"tidegate_list_wrong_lines{list="ads"}"#, 2.0),
        (r#"tidegate_list_bytes{list="ads"}"#, 99.0),
        (r#"tidegate_list_loaded_seconds{list="ads"}"#, 5.0),
        (r#"tidegate_quota_subjects{quota="fair"}"#, 3.0),
        (r#"tidegate_quota_refused_total{quota="fair"}"#, 2.0),
        (r#"tidegate_quota_cut_total{quota="fair"}"#, 1.0),
        (r#"tidegate_list_current{list="ads"}"#, 0.0),
        (r#"tidegate_list_hits_total{list="ads"}"#, 4.0),
        (r#"tidegate_certificate_missing{certificate="site",host="a.test"}"#, 0.0),
        (r#"tidegate_certificate_missing{certificate="auto",host="b.test"}"#, 1.0),
        (r#"tidegate_capture_entries_total{file="a.har"}"#, 5.0),
        (r#"tidegate_capture_lost_total{file="a.har"}"#, 1.0),
        (r#"tidegate_mirror_copies_total{mirror="shadow",result="too_many"}"#, 4.0),
        (r#"tidegate_mirror_pairs_total{mirror="shadow",real="2xx",shadow="5xx"}"#, 1.0),
        (r#"tidegate_mirror_response_seconds_count{mirror="shadow",of="real"}"#, 2.0),
        (r#"tidegate_mirror_difference_seconds_count{mirror="shadow",copy="faster"}"#, 2.0),
        (r#"tidegate_canary_diverted_total{listener="web",route="api",version="candidate"}"#, 3.0),
        (r#"tidegate_connections{listener="web",worker="1"}"#, 1.0),
        (r#"tidegate_connections_total{listener="web",worker="0"}"#, 0.0),
        (r#"tidegate_connections_refused_total{listener="web",worker="1"}"#, 0.0),
        (r#"tidegate_tls_handshakes_total{listener="web",worker="1"}"#, 1.0),
        (r#"tidegate_tls_handshakes_failed_total{listener="web",worker="1"}"#, 0.0),
        (r#"tidegate_quic_retries_total{listener="web",worker="1"}"#, 0.0),
        (r#"tidegate_quic_moves_total{listener="web",worker="1"}"#, 0.0),
        (r#"tidegate_quic_datagrams_handed_over_total{listener="web",worker="0"}"#, 0.0),
        (r#"tidegate_quic_datagrams_handed_over_lost_total{listener="web",worker="0"}"#, 0.0),
        (&format!(r#"tidegate_server_requests_total{{{server},code_class="2xx"}}"#), 1.0),
        (&format!(r#"tidegate_server_request_seconds_count{{{server}}}"#), 2.0),
        (&format!(r#"tidegate_server_bytes_total{{{server},direction="in"}}"#), 2.0),
        (&format!(r#"tidegate_server_faults_total{{{server},side="proxy",code="no_server"}}"#), 1.0),
        (&format!("tidegate_server_in_flight{{{server}}}"), 2.0),
        (&format!("tidegate_server_connections{{{server}}}"), 5.0),
        (&format!("tidegate_server_up{{{server}}}"), 1.0),
        (r#"tidegate_pool_waiting{pool="api"}"#, 6.0),
        (r#"tidegate_pool_hedges_total{pool="api"}"#, 5.0),
        (r#"tidegate_pool_hedges_won_total{pool="api"}"#, 3.0),
        (r#"tidegate_pool_concurrency{pool="api"}"#, 2.0),
        (r#"tidegate_pool_concurrency_limit{pool="api"}"#, 30.0),
        (r#"tidegate_pool_limits_met_total{pool="api",limit="retry_budget"}"#, 8.0),
        (r#"tidegate_worker_longest_turn_seconds{worker="1"}"#, 0.003),
        (r#"tidegate_worker_slow_turns_total{worker="1"}"#, 1.0),
        (r#"tidegate_nat_in_kernel{listener="vip"}"#, 1.0),
        (&format!(r#"tidegate_nat_packets_total{{{vip},direction="in"}}"#), 12.0),
        (&format!(r#"tidegate_nat_bytes_total{{{vip},direction="out"}}"#), 1100.0),
        (&format!("tidegate_nat_connections_total{{{vip}}}"), 5.0),
        (&format!("tidegate_nat_connections{{{vip}}}"), 2.0),
        (r#"tidegate_nat_drops_total{reason="stray"}"#, 6.0),
        ("tidegate_nat_entries", 4.0),
        ("tidegate_nat_entries_limit", 1024.0),
        ("tidegate_spliced_bytes_total", 9.0),
        ("tidegate_passwords_verified_total", 11.0),
        (r#"tidegate_auth_failures_total{listener="web",worker="1"}"#, 0.0),
        ("tidegate_encoders", 3.0),
        ("tidegate_encoders_refused_total", 4.0),
        ("tidegate_log_dropped_total", 7.0),
        ("tidegate_config_generation", 4.0),
        (r#"tidegate_config_reloads_total{result="failed"}"#, 1.0),
    ] {
        assert_eq!(page.samples.get(sample), Some(&value), "{sample}");
    }
    for family in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
        assert!(page.samples[family] > 0.0, "{family}");
    }
    let documented = include_str!("../metrics.rs").lines().filter(|line| line.starts_with("//! | `"));
    let named: BTreeSet<&str> =
        documented.flat_map(|line| line.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2)).collect();
    assert_eq!(page.kinds.keys().map(String::as_str).collect::<BTreeSet<_>>(), named, "the module's table is complete");
}

#[test]
fn label_values_are_escaped() {
    let requests = RequestStats::new(1);
    requests.shard(WorkerId(0)).count(&outcome(200, None));
    let routes = vec![Route { listener: "a\"b\\c\nd", route: "grüße{},=", stats: &requests }];
    let page = Parsed::read(&Scrape { routes, ..Scrape::default() }.page());
    let sample = r#"tidegate_requests_total{listener="a\"b\\c\nd",route="grüße{},=",code_class="2xx"}"#;
    assert_eq!(page.samples.get(sample), Some(&1.0));
}

#[test]
fn rows_with_equal_labels_become_one() {
    let stats = [RequestStats::new(1), RequestStats::new(1)];
    stats.iter().for_each(|stats| stats.shard(WorkerId(0)).count(&outcome(200, None)));
    let routes = stats.iter().map(|stats| Route { listener: "web", route: "", stats }).collect();
    let page = Parsed::read(&Scrape { routes, ..Scrape::default() }.page());
    assert_eq!(page.samples[r#"tidegate_requests_total{listener="web",route="",code_class="2xx"}"#], 2.0);
}

fn outcome(status: u16, fault: Option<Fault>) -> Outcome {
    Outcome { status, fault, bytes_in: 1, bytes_out: 10, total_us: Some(1_000) }
}

/// A page as a scraper reads it: the type of each family, and each sample by its name and labels as they were written.
#[derive(Default)]
struct Parsed {
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Parsed {
    /// Reads a page and holds it to the format's rules: HELP, then TYPE, then samples of that family alone; no family and
    /// no sample twice; counters end in `_total`; buckets grow and end in `+Inf`, which equals the count.
    fn read(page: &str) -> Parsed {
        assert!(page.ends_with('\n'));
        let mut parsed = Parsed::default();
        let (mut helped, mut family) = (String::new(), String::new());
        let mut last_bucket = 0.0;
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help text");
                assert!(help.ends_with('.') && help.len() > 15, "{line}");
                helped = name.to_owned();
                continue;
            }
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert_eq!(name, helped, "help comes first");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(parsed.kinds.insert(name.to_owned(), kind.to_owned()), None, "{line}");
                family = name.to_owned();
                continue;
            }
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let value: f64 = value.parse().expect("a number");
            let (name, labels) = labels_of(series);
            let suffix = name.strip_prefix(family.as_str()).expect("a sample of the family above");
            if parsed.kinds[&family] == "histogram" {
                match suffix {
                    "_bucket" => {
                        let (last, bound) = labels.last().expect("a bound");
                        assert_eq!(last, "le");
                        assert!(value >= last_bucket, "{line}");
                        last_bucket = if bound == "+Inf" { 0.0 } else { value };
                    }
                    "_count" => {
                        let labels = series.strip_prefix(&name).and_then(|labels| labels.strip_suffix('}'));
                        let all = format!("{family}_bucket{},le=\"+Inf\"}}", labels.expect("labels"));
                        assert_eq!(parsed.samples[&all], value, "{line}");
                    }
                    suffix => assert_eq!(suffix, "_sum", "{line}"),
                }
            } else {
                assert_eq!(suffix, "", "{line}");
            }
            assert_eq!(parsed.samples.insert(series.to_owned(), value), None, "{line}");
        }
        parsed
    }
}

/// A sample's name and its labels.
fn labels_of(series: &str) -> (String, Vec<(String, String)>) {
    let mut symbols = series.chars().peekable();
    let name: String = std::iter::from_fn(|| symbols.next_if(|c| c.is_ascii_alphanumeric() || *c == '_')).collect();
    let mut labels = Vec::new();
    while let Some(separator) = symbols.next_if(|c| *c == '{' || *c == ',') {
        assert_eq!(separator == '{', labels.is_empty());
        let label: String = std::iter::from_fn(|| symbols.next_if(|c| c.is_ascii_lowercase() || *c == '_')).collect();
        assert_eq!((symbols.next(), symbols.next()), (Some('='), Some('"')));
        let mut value = String::new();
        loop {
            match symbols.next().expect("a closing quote") {
                '"' => break,
                '\\' => value.push(match symbols.next() {
                    Some('n') => '\n',
                    Some(escaped @ ('\\' | '"')) => escaped,
                    other => panic!("no such escape: {other:?}"),
                }),
                plain => value.push(plain),
            }
        }
        labels.push((label, value));
    }
    if !labels.is_empty() {
        assert_eq!(symbols.next(), Some('}'));
    }
    assert_eq!(symbols.next(), None, "{series}");
    (name, labels)
}
