//! Listeners whose packets the kernel rewrites.

use std::time::Duration;

use super::{load, mistake, ok, said};
use crate::effective;
use crate::spec::{Algorithm, Engine, NatMode, PoolId, Transport};

fn document(listener: &str, pool: &str) -> String {
    format!("listeners: {{ vip: {{ role: nat, {listener}, to: p }} }}\npools: {{ p: {pool} }}\n")
}

const LISTENER: &str = "bind: 192.0.2.1:80/tcp, interfaces: eth0, source: 192.0.2.2";

#[test]
fn a_listener_of_packets_says_what_is_above_ip() {
    let spec = ok(&document(
        "bind: ['192.0.2.1:53/udp', '192.0.2.1:53/tcp', '[2001:db8::1]:53/udp'], interfaces: [eth0, eth1], \
         source: [192.0.2.2, '2001:db8::2'], engine: auto, timeouts: { flow: 30s }",
        "['10.0.0.1:53', '[2001:db8::3]:53']",
    ));
    let listener = &spec.listeners[0];
    let binds: Vec<_> = listener.binds.iter().map(|bind| (bind.address.to_string(), bind.transport)).collect();
    let wanted =
        [("192.0.2.1:53", Transport::Udp), ("192.0.2.1:53", Transport::Tcp), ("[2001:db8::1]:53", Transport::Udp)];
    assert_eq!(binds, wanted.map(|(address, transport)| (address.to_owned(), transport)));
    let nat = listener.nat.as_ref().expect("packets");
    assert_eq!((nat.mode, nat.engine, nat.interfaces.len(), nat.sources.len()), (NatMode::Full, Engine::Auto, 2, 2));
    assert_eq!(listener.timeouts.flow, Some(Duration::from_secs(30)));
    assert_eq!(listener.packets_to(), Some(PoolId(0)));
    assert_eq!(
        ok(&document(LISTENER, "['10.0.0.1:80']")).listeners[0].nat.as_ref().map(|nat| nat.engine),
        Some(Engine::Kernel)
    );
}

#[test]
fn a_pool_of_packets_is_balanced_as_the_kernel_does() {
    let text = document(LISTENER, "{ servers: ['10.0.0.1:80'], health: tcp }");
    assert_eq!(ok(&text).pools[0].balance.algorithm, Algorithm::Maglev);
    let literal = ok(&text.replace("to: p", "to: '10.0.0.1:80'"));
    assert_eq!(literal.listeners[0].packets_to(), Some(PoolId(1)));
    assert!(
        mistake(&document(LISTENER, "{ servers: ['10.0.0.1:80'], balance: random }")).contains("`balance: random`")
    );
    let others = ok("listeners: { a: { bind: ':1', to: p } }\npools: { p: ['h:1'] }");
    assert_eq!(others.pools[0].balance.algorithm, Algorithm::LeastRequests);
}

#[test]
fn what_an_address_cannot_be_is_said_with_its_reason() {
    for (bind, wanted) in [
        ("192.0.2.1:80", "write `192.0.2.1:80/tcp` or `192.0.2.1:80/udp`"),
        ("':80/tcp'", "every address of this host"),
        ("'0.0.0.0:80/udp'", "every address of this host"),
        ("'[::]:80/udp'", "every address of this host"),
        ("127.0.0.1:80/tcp", "comes in by an interface"),
        ("224.0.0.1:80/udp", "many hosts"),
        ("192.0.2.1:0/tcp", "no port"),
        ("'[::ffff:192.0.2.1]:80/tcp'", "one of IPv4"),
        ("'unix:x'", "packets have an IP address"),
        ("example.com:80/tcp", "use an IP address"),
        ("192.0.2.1:80/sctp", "TCP and UDP, not of `sctp`, write `192.0.2.1:80/tcp` or `192.0.2.1:80/udp`"),
        (
            "{ address: 192.0.2.1:80/tcp, mode: 0600 }",
            "`mode` in `bind` of listener `vip` does not exist with `role: nat`",
        ),
    ] {
        let said = said(load(&document(&LISTENER.replace("192.0.2.1:80/tcp", bind), "['10.0.0.1:80']")));
        assert!(said.len() == 1 && said[0].contains(wanted), "{bind}: {said:#?}");
    }
}

#[test]
fn two_transports_share_an_address_and_nothing_else_does() {
    let two = |a: &str, b: &str| {
        let one = |name: &str, bind: &str| {
            format!("{name}: {{ role: nat, bind: '{bind}', nat: dnat, interfaces: e, to: p }}")
        };
        said(load(&format!("listeners: {{ {}, {} }}\npools: {{ p: ['10.0.0.1:80'] }}", one("a", a), one("b", b))))
    };
    assert_eq!(two("192.0.2.1:53/tcp", "192.0.2.1:53/udp"), Vec::<String>::new());
    assert!(two("192.0.2.1:53/udp", "192.0.2.1:53/udp").concat().contains("already does"));
    let beside = "listeners: { a: { role: nat, bind: '192.0.2.1:80/tcp', nat: dnat, interfaces: e, to: p }, b: { bind: '192.0.2.1:80', to: p } }\n\
                  pools: { p: { servers: ['10.0.0.1:80'], health: tcp } }";
    assert!(mistake(beside).contains("already does"));
}

#[test]
fn what_proxies_do_cannot_be_asked_for_packets() {
    for (pool, what) in [
        ("tls: { server_name: x }", "`tls`"),
        ("protocol: h2", "`protocol`"),
        ("send_proxy: v2", "`send_proxy`"),
        ("sticky: client_ip", "`sticky`"),
        ("panic: 50%", "`panic`"),
        ("warm: 1", "`warm`"),
        ("queue: { length: 3 }", "`queue`"),
        ("outlier: 3", "`outlier`"),
        ("slow_start: 3s", "`slow_start`"),
        ("circuit_breaker: { connections: 3 }", "`circuit_breaker`"),
        ("concurrency: adaptive", "`concurrency`"),
        ("timeouts: { connect: 1s }", "`timeouts` other than `flow`"),
        ("retries: { extra: 2 }", "`retries`"),
        ("host: server", "`host`"),
        ("balance: { algorithm: maglev, balance_factor: 150 }", "`balance.balance_factor`"),
        ("balance: { algorithm: maglev, hash: client_ip }", "`balance.hash`"),
    ] {
        let text = document(LISTENER, &format!("{{ servers: ['10.0.0.1:80'], {pool} }}"));
        assert!(
            mistake(&text).starts_with(&format!("{what} of pool `p` cannot be done to packets")),
            "{}",
            mistake(&text)
        );
    }
    for (server, what) in [
        ("max_connections: 3", "`max_connections`"),
        ("priority: 1", "`priority`"),
        ("backup: true", "`backup`"),
        ("zone: z", "`zone`"),
    ] {
        let text = document(LISTENER, &format!("[{{ address: '10.0.0.1:80', {server} }}]"));
        assert!(mistake(&text).starts_with(what), "{}", mistake(&text));
    }
    // What requests may use is theirs.
    let shared = document(LISTENER, "{ servers: ['10.0.0.1:80'], outlier: 3, queue: { length: 3 } }");
    ok(&shared.replace("listeners: {", "listeners: { web: { bind: ':81', to: p },"));
}

#[test]
fn what_does_nothing_is_warned_of() {
    let text = "listeners: { a: { bind: ':1', to: p } }\npools: { p: { servers: ['h:1'], timeouts: { flow: 1s } } }";
    let warnings = load(text).expect("no mistake").warnings;
    assert!(
        warnings.iter().any(|warning| warning.to_string().starts_with("`timeouts.flow` of pool `p`")),
        "{warnings:?}"
    );
}

#[test]
fn packets_have_no_sites_and_no_routes() {
    let site = "sites: { s: { hosts: default, listeners: vip, to: p } }\n";
    let said = said(load(&(document(LISTENER, "['10.0.0.1:80']").replace(", to: p", "") + site)));
    assert!(said.concat().contains("sites are of HTTP and its role is `nat`: give it `to`"), "{said:#?}");
}

#[test]
fn no_packet_reaches_a_server_at_loopback() {
    for server in ["127.0.0.1:80", "127.9.9.9:80", "localhost:80"] {
        let text = document(LISTENER, &format!("['{server}']"));
        let said = mistake(&text);
        assert!(said.starts_with(&format!("server `{server}` of pool `p` is at loopback")), "{said}");
        assert!(said.contains("listener `vip` (t.yaml:1:14)") && said.contains("`role: tcp` or `udp`"), "{said}");
        // A proxy that stands in for the kernel reaches it.
        let warnings = load(&text.replace("source:", "engine: auto, source:")).expect("no mistake").warnings;
        let said: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert!(
            said.iter().any(|said| said.contains("is at loopback and gets no packets of listener `vip`")),
            "{said:?}"
        );
    }
    let six = document("bind: '[2001:db8::1]:80/tcp', interfaces: eth0, nat: dnat", "['[::1]:80']");
    assert!(mistake(&six).contains("is at loopback"), "{}", mistake(&six));
    let warnings = load(&document(LISTENER, "['10.0.0.1:80']")).expect("no mistake").warnings;
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn every_default_is_effective_that_holds() {
    let text = "listeners:
  vip: { role: nat, bind: ['192.0.2.1:80/tcp'], nat: dnat, interfaces: e, to: p }
  dns: { role: nat, bind: ['192.0.2.1:53/udp'], nat: dnat, interfaces: e, to: p, timeouts: { flow: 3s } }
  ntp: { role: nat, bind: { address: '192.0.2.1:123/udp' }, nat: dnat, interfaces: e, to: p }
  two: { role: nat, bind: ['192.0.2.1:1/udp', '192.0.2.1:1/tcp'], nat: dnat, interfaces: e, to: p }
  flows: { role: udp, bind: ':5353', to: q }
  ways: { role: forward, bind: '127.0.0.1:3128', to: origin }
  web: { bind: ':80', to: r }
pools: { p: ['10.0.0.1:80'], q: ['10.0.0.1:53'], r: ['10.0.0.1:81'] }
";
    let first = load(text).expect("no mistake");
    let printed = effective(&first);
    let again = load(&printed).unwrap_or_else(|mistakes| panic!("{mistakes}\n{printed}"));
    assert_eq!(super::placeless(&first.spec), super::placeless(&again.spec), "{printed}");
    assert_eq!(effective(&again), printed);
    for (name, wanted) in [
        ("vip", "flow: 1h"),
        ("dns", "flow: 3s"),
        ("ntp", "flow: 60s"),
        ("flows", "flow: 60s"),
        ("ways", "connect_ports:\n        - 443\n        - 8443"),
        ("p", "algorithm: maglev"),
        ("q", "algorithm: maglev"),
        ("r", "algorithm: least_requests"),
    ] {
        let (_, rest) = printed.split_once(&format!("\n  {name}:\n")).expect("it is there");
        let own: Vec<&str> = rest.lines().take_while(|line| line.starts_with("   ")).collect();
        assert!(own.join("\n").contains(wanted), "{name}: {wanted}\n{printed}");
    }
    assert_eq!(printed.matches("flow: ").count(), 5, "two kinds have two defaults\n{printed}");
}

#[test]
fn the_example_is_effective_as_it_is_written() {
    let text = std::fs::read_to_string(super::examples().join("nat.yaml")).expect("the example");
    let first = load(&text).expect("no mistake");
    let printed = effective(&first);
    let again = load(&printed).unwrap_or_else(|mistakes| panic!("{mistakes}\n{printed}"));
    assert_eq!(super::placeless(&first.spec), super::placeless(&again.spec), "{printed}");
    assert!(!printed.contains("request_head") && printed.contains("engine: kernel"), "{printed}");
}
