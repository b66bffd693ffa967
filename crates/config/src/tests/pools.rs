//! LANGUAGE, "Pools".

use std::time::Duration;

use super::{mistake, ok};
use crate::spec::{Algorithm, Coalesce, PoolHost, Retries, RetryIf, ServerAddress, Timeouts};

fn pool(text: &str) -> crate::spec::Pool {
    ok(&format!("listeners: {{a: {{bind: ':1', to: p}}}}\npools: {{p: {text}}}")).pools.remove(0)
}

fn wrong_pool(text: &str) -> String {
    mistake(&format!("listeners: {{a: {{bind: ':1', to: p}}}}\npools: {{p: {text}}}"))
}

#[test]
fn servers_are_a_list_or_a_map_of_names() {
    let listed = pool("['h:1', {address: '[::1]:2', weight: 3, max_connections: 4}, 'unix:s']");
    assert_eq!(listed.servers[0].address, ServerAddress::Name { host: "h".to_owned(), port: 1 });
    assert_eq!((listed.servers[1].weight, listed.servers[1].max_connections), (3, Some(4)));
    assert_eq!(listed.servers[1].address, ServerAddress::Ip("[::1]:2".parse().expect("an address")));
    assert_eq!(listed.servers[2].address, ServerAddress::Unix("/nowhere/s".into()));
    let named = pool("{servers: {a: 'h:1', b: {address: 'h:2'}}, balance: round_robin}");
    assert_eq!((named.servers[0].name.as_str(), named.servers[1].name.as_str()), ("a", "b"));
    assert_eq!(named.balance.algorithm, Algorithm::RoundRobin);
    assert_eq!(listed.servers[0].span.to_string(), "t.yaml:2:13");
    for (text, wanted) in [
        ("[]", "is an empty list"),
        ("{servers: {}}", "has no servers"),
        ("{balance: random}", "`servers` is missing in pool `p`"),
        ("['h']", "has no port"),
        ("['h:0']", "no port 0"),
        ("['h:1', 'h:1']", "stands twice"),
        ("['1.2.3:1']", "is no IP address"),
        ("['h:99999']", "is no port"),
        ("{servers: 'h:1', protocol: socks5}", "the servers of pool `p` are proxies that lead to any server"),
        ("{servers: 'h:1', protocol: h3}", "`protocol` of pool `p` is `h3`, which needs TLS, add `tls`"),
        (
            "{servers: 'h:1', protocol: h3, tls: {ciphers: ECDHE-RSA-AES128-GCM-SHA256}}",
            "`protocol` of pool `p` is `h3`, and `ciphers` no suite of TLS 1.3, which it needs",
        ),
        (
            "{servers: 'unix:s', protocol: h3, tls: {server_name: a}}",
            "is a Unix socket, which UDP does not reach, use another `protocol` than `h3`",
        ),
        ("{servers: 'h:1', protocol: h3, tls: {}, health: tcp}", "goes by TCP and pool `p` by UDP, use `probe: http`"),
        (
            "{servers: 'h:1', protocol: h3, tls: {}, health: {probe: http, port: 2}}",
            "is not for `protocol: h3`, which is checked where it serves",
        ),
    ] {
        let said = wrong_pool(text);
        assert!(said.contains(wanted), "{text}: {said}");
    }
}

#[test]
fn queue_host_and_retries() {
    let pool = pool(
        "{servers: 'h:1', queue: {length: 5, timeout: 2s}, host: X.example, retries: {extra: 0, if: [connect, timeout, 503]}}",
    );
    assert_eq!((pool.queue_length, pool.timeouts.queue), (5, Some(Duration::from_secs(2))));
    assert_eq!(pool.host, PoolHost::Name("x.example".to_owned()));
    let conditions = vec![RetryIf::Connect, RetryIf::Timeout, RetryIf::Status(503)];
    assert_eq!(pool.retries, Retries { extra: Some(0), conditions: Some(conditions), ..Retries::default() });
    assert!(wrong_pool("{servers: 'h:1', retries: {if: [404]}}").contains("is no reason to retry"));
    assert!(wrong_pool("{servers: 'h:1', timeouts: {queue: 1s}}").contains("unknown key `queue`"));
    assert!(wrong_pool("{servers: 'h:1', timeouts: {connect: 0s}}").contains("`0s` would let nothing happen"));
}

#[test]
fn health_is_a_word_or_a_map() {
    use crate::spec::Probe;
    assert_eq!(pool("['h:1']").health, None);
    assert_eq!(pool("{servers: 'h:1', health: off}").health, None);
    let short = pool("{servers: 'h:1', health: tcp}").health.expect("checks");
    assert_eq!((short.probe, short.rise, short.fall, short.jitter), (Probe::Tcp, 2, 3, 1000));
    assert_eq!((short.every, short.fast), (Duration::from_secs(2), Duration::from_secs(2)));
    let long =
        pool("{servers: 'h:1', health: {probe: http, path: '/a?b', status: [200-299, 401], every: 1s, fast: 10ms}}");
    let long = long.health.expect("checks");
    assert_eq!((long.every, long.fast), (Duration::from_secs(1), Duration::from_millis(10)));
    let Probe::Http(http) = long.probe else { panic!("a request") };
    assert_eq!((http.path.as_str(), http.statuses), ("/a?b", vec![(200, 299), (401, 401)]));
    let spec = ok("listeners: {a: {bind: ':1', to: p}}\ndefaults: {pool: {health: {probe: http, path: /up}}}\n\
                   pools: {p: ['h:1'], q: {servers: 'h:1', health: {every: 5s}}, r: {servers: 'h:1', health: off}}");
    let health = |number: usize| spec.pools[number].health.clone();
    assert_eq!(health(0).map(|health| health.every), Some(Duration::from_secs(2)));
    assert!(matches!(health(1), Some(crate::spec::Health { probe: Probe::Http(http), .. }) if http.path == "/up"));
    assert_eq!(health(2), None);
}

#[test]
fn the_nearest_wins_field_by_field() {
    let second = |n| Some(Duration::from_secs(n));
    let route = Timeouts { total: second(1), ..Timeouts::default() };
    let pool = Timeouts { total: second(2), connect: second(2), ..Timeouts::default() };
    let all = route.or(pool).or(Timeouts::DEFAULT);
    assert_eq!((all.total, all.connect, all.response), (second(1), second(2), second(60)));
    let retries = Retries { extra: Some(2), ..Retries::default() }.or(&Retries::standard());
    assert_eq!(retries, Retries { extra: Some(2), conditions: Some(vec![RetryIf::Connect]), ..Retries::default() });
}

#[test]
fn a_subset_is_some_servers_of_one_pool() {
    let text = |subset: &str, servers: &str| {
        format!("listeners: {{a: {{bind: ':1', routes: [{{to: p, subset: {subset}}}]}}}}\npools: {{p: {servers}}}")
    };
    let servers = "[{address: 'h:1', labels: {b: x, a: '1'}}, {address: 'h:2', backup: true, zone: z}]";
    let spec = ok(&text("{a: 1}", servers));
    let labels = |pairs: &[(&str, &str)]| -> crate::spec::Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(spec.pools[0].subsets, [labels(&[("a", "1")])]);
    assert_eq!(spec.pools[0].servers[0].tier.labels, labels(&[("a", "1"), ("b", "x")]));
    let tier = &spec.pools[0].servers[1].tier;
    assert_eq!((tier.level, tier.zone.as_deref()), (Some(crate::spec::Tier::BACKUP), Some("z")));
    assert!(mistake(&text("{a: 2}", servers)).contains("no server of pool `p` has all of these labels"));
    assert!(mistake(&text("{}", servers)).contains("`subset` of route 1 of listener `a` is empty"));
    // What a name server will say is not known yet.
    assert_eq!(ok(&text("{a: 2}", "['srv:_http._tcp.x']")).pools[0].subsets.len(), 1);
}

#[test]
fn small_pieces_wait_within_bounds_and_for_flows_alone() {
    let flows = |text: &str| {
        format!(
            "listeners: {{a: {{bind: ':1', role: tcp, to: p}}}}\npools: {{p: {{servers: ['h:1'], coalesce: {text}}}}}"
        )
    };
    let said = ok(&flows("{bytes: 64KiB, delay: 500us}")).pools.remove(0).coalesce;
    assert_eq!(said, Some(Coalesce { bytes: 65_536, delay: Duration::from_micros(500) }));
    let said = ok(&flows("{}")).pools.remove(0).coalesce;
    assert_eq!(said, Some(Coalesce { bytes: 8192, delay: Duration::from_micros(200) }));
    assert_eq!(
        ok(&flows("{}").replace("tcp,", "tcp, coalesce: {bytes: 1B},")).listeners[0].coalesce.map(|said| said.bytes),
        Some(1)
    );
    for (text, wanted) in [
        ("{bytes: 65KiB}", "`bytes` of `coalesce` of pool `p` is not from 1 to 64KiB"),
        ("{bytes: 0B}", "is not from 1 to 64KiB"),
        ("{delay: 11s}", "`delay` of `coalesce` of pool `p` is not from 1us to 10s"),
        ("{delay: 0s}", "is not from 1us to 10s"),
    ] {
        let said = mistake(&flows(text));
        assert!(said.contains(wanted), "{text}: {said}");
    }
    let said = wrong_pool("{servers: ['h:1'], coalesce: {}}");
    assert!(said.contains("`coalesce` of pool `p` is about flows of TCP, but only requests are sent to it"), "{said}");
}

#[test]
fn a_faulty_pool_is_the_only_one_that_is_blamed() {
    let listeners = "listeners:\n  a: {role: tcp, bind: ':1', to: first}\n  b: {bind: ':2', to: second}\n  \
                     c: {role: nat, bind: '192.0.2.1:80/tcp', nat: dnat, interfaces: e, to: third}\n";
    let others = "  first: 'h:1'\n  second: {servers: 'h:1', protocol: h2, host: server}\n  third: '10.0.0.1:80'\n";
    let said = mistake(&format!("{listeners}pools:\n  bad: {{servers: 'h:1', balance: nonsense}}\n{others}"));
    assert!(said.contains("`nonsense`"), "{said}");
}
