//! Servers that see the client's address as that of the connection: between namespaces of the network, which only root can make.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use testkit::{Folder, Start, Tidegate, failure_of, skip, tool};

use crate::support::{BINARY, config};

/// A client, the program and a server, each in a namespace of its own; the server answers by way of the program.
struct World {
    names: [String; 3],
    folder: Folder,
}

const CLIENT: usize = 0;
const PROGRAM: usize = 1;
const SERVER: usize = 2;

impl World {
    /// None, with the reason said, where it cannot be made.
    fn new() -> Option<World> {
        if Command::new("id").arg("-u").output().is_ok_and(|said| said.stdout != b"0\n") {
            skip("only root can make namespaces");
            return None;
        }
        tool("ip")?;
        tool("curl")?;
        static WORLDS: AtomicUsize = AtomicUsize::new(0);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let names = ["c", "p", "s"].map(|role| format!("tgt-{}-{number}-{role}", std::process::id()));
        let world = World { names, folder: Folder::new() };
        for name in &world.names {
            if !ip(&format!("netns add {name}")) {
                skip("namespaces of the network cannot be made here");
                return None;
            }
            assert!(ip(&format!("-n {name} link set lo up")));
        }
        let [client, program, server] = &world.names;
        for (other, net) in [(client, 1), (server, 2)] {
            assert!(ip(&format!("-n {program} link add to{net} type veth peer name up0 netns {other}")));
            for (name, device, host) in [(program, format!("to{net}"), 1), (other, "up0".to_owned(), 2)] {
                assert!(ip(&format!("-n {name} addr add 198.18.{net}.{host}/24 dev {device}")));
                assert!(ip(&format!("-n {name} addr add fd18:{net}::{host}/64 dev {device} nodad")));
                assert!(ip(&format!("-n {name} link set {device} up")));
            }
            assert!(ip(&format!("-n {other} route add default via 198.18.{net}.1")));
            assert!(ip(&format!("-n {other} -6 route add default via fd18:{net}::1")));
        }
        // What comes from the server's side is for us, whomever it is addressed to.
        for family in ["-4", "-6"] {
            assert!(ip(&format!("-n {program} {family} rule add iif to2 lookup 100")));
            assert!(ip(&format!("-n {program} {family} route add local default dev lo table 100")));
        }
        Some(world)
    }

    /// A program that is the one under test, in a namespace.
    fn binary(&self, place: usize) -> String {
        let inside = format!("exec ip netns exec {} {BINARY} \"$@\"", self.names[place]);
        wrapper(&self.folder, &format!("tidegate-{place}"), &inside).display().to_string()
    }

    fn start(&self, place: usize, text: &str) -> Tidegate {
        Start::of(&self.binary(place)).text(&config(text, &[]))
    }

    fn curl(&self, url: &str) -> Output {
        self.curl_from(CLIENT, url)
    }

    fn curl_from(&self, place: usize, url: &str) -> Output {
        let command = ["netns", "exec", &self.names[place], "curl", "-sg", "--max-time", "20", url, url];
        Command::new("ip").args(command).output().expect("curl")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&format!("netns del {name}"));
        }
    }
}

fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).output().is_ok_and(|said| said.status.success())
}

fn wrapper(folder: &Folder, name: &str, script: &str) -> PathBuf {
    let path = folder.write(name, &format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("permissions");
    path
}

#[test]
fn servers_see_the_client_by_tcp_and_by_http() {
    let Some(world) = World::new() else { return };
    let server = world.start(
        SERVER,
        "listeners: { app: { bind: ['198.18.2.2:8080', '[fd18:2::2]:8080'], respond: { body: here } } }",
    );
    let text = "
listeners:
  flows: { bind: 198.18.1.1:8081, role: tcp, to: four }
  six: { bind: '[fd18:1::1]:8081', role: tcp, to: six }
  pages: { bind: 198.18.1.1:8082, to: four }
  mixed: { bind: '[fd18:1::1]:8083', role: tcp, to: four }
pools:
  four: { servers: ['198.18.2.2:8080'], source: client }
  six: { servers: ['[fd18:2::2]:8080'], source: client }
";
    let tidegate = world.start(PROGRAM, text);
    for (url, client) in [
        ("http://198.18.1.1:8081/flow", "198.18.1.2"),
        ("http://[fd18:1::1]:8081/six", "fd18:1::2"),
        ("http://198.18.1.1:8082/page", "198.18.1.2"),
    ] {
        assert_eq!(String::from_utf8_lossy(&world.curl(url).stdout), "herehere", "{url}");
        let path = &url[url.rfind('/').expect("a path")..];
        assert_eq!(server.log_line("a request", |line| line["path"] == path)["peer"].as_str().map(host), Some(client));
    }
    // Two requests of one client by HTTP are two connections: the next one might be somebody else's.
    assert_eq!(tidegate.log_line("a request", |line| line["listener"] == "pages")["reused"], false);
    // An address of the other family is of no use, which is not the server's fault.
    assert!(world.curl("http://[fd18:1::1]:8083/").stdout.is_empty());
    let line = tidegate.log_line("a flow", |line| line["listener"] == "mixed");
    assert_eq!((&line["fault"], &line["side"]), (&"overload".into(), &"proxy".into()));
    assert_eq!(String::from_utf8_lossy(&world.curl("http://198.18.1.1:8081/again").stdout), "herehere");
}

#[test]
fn a_client_whose_address_is_of_no_use_speaks_against_no_server() {
    let Some(world) = World::new() else { return };
    for (place, device, host) in [(PROGRAM, "to1", 1), (CLIENT, "up0", 2)] {
        assert!(ip(&format!("-n {} addr add fe80::{host}/64 dev {device} nodad", world.names[place])));
    }
    let _server = world.start(
        SERVER,
        "listeners: { app: { bind: ['198.18.2.2:8080', '[fd18:2::2]:8080'], respond: { body: here } } }",
    );
    let text = "
listeners:
  flows: { bind: 198.18.1.1:8081, role: tcp, to: four }
  six: { bind: '[fd18:1::1]:8081', role: tcp, to: six }
  loopback: { bind: 127.0.0.1:8082, role: tcp, to: four }
  loopback_six: { bind: '[::1]:8082', role: tcp, to: six }
  link: { bind: '[::]:8083', role: tcp, to: six }
pools:
  four: { servers: ['198.18.2.2:8080'], source: client }
  six: { servers: ['[fd18:2::2]:8080'], source: client }
";
    let tidegate = world.start(PROGRAM, text);
    for (place, url, listener) in [
        (PROGRAM, "http://127.0.0.1:8082/", "loopback"),
        (PROGRAM, "http://[::1]:8082/", "loopback_six"),
        (CLIENT, "http://[fe80::1%25up0]:8083/", "link"),
    ] {
        assert!(world.curl_from(place, url).stdout.is_empty(), "{url}");
        let line = tidegate.log_line("a flow", |line| line["listener"] == listener);
        assert_eq!((&line["fault"], &line["side"]), (&"overload".into(), &"proxy".into()), "{line}");
    }
    for url in ["http://198.18.1.1:8081/", "http://[fd18:1::1]:8081/"] {
        assert_eq!(String::from_utf8_lossy(&world.curl(url).stdout), "herehere", "{url}");
    }
}

#[test]
fn the_ports_of_a_client_are_counted_for_each_server() {
    let Some(world) = World::new() else { return };
    let range = "echo 40000 40003 > /proc/sys/net/ipv4/ip_local_port_range";
    let narrowed = Command::new("ip").args(["netns", "exec", &world.names[PROGRAM], "sh", "-c", range]).status();
    assert!(narrowed.is_ok_and(|status| status.success()));
    let _server = world
        .start(SERVER, "listeners: { app: { bind: ['198.18.2.2:8080', '198.18.2.2:8081'], respond: { body: here } } }");
    let text = "
listeners:
  one: { bind: 198.18.1.1:8081, role: tcp, to: '198.18.2.2:8080' }
  two: { bind: 198.18.1.1:8082, role: tcp, to: '198.18.2.2:8081' }
defaults: { pool: { source: client } }
";
    let _tidegate = world.start(PROGRAM, text);
    // Clients end their connections first, so that the port of each is taken for a minute: with its server, and with no other.
    for round in 0..3 {
        for url in ["http://198.18.1.1:8081/", "http://198.18.1.1:8082/"] {
            assert_eq!(String::from_utf8_lossy(&world.curl(url).stdout), "herehere", "{url}, {round}");
        }
    }
}

/// An address without its port.
fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']'])
}

#[test]
pub(crate) fn a_process_that_may_not_is_told_what_it_needs() {
    let folder = Folder::new();
    let binary = match tool("setpriv") {
        None => return,
        // Root without the two, anybody else as they are.
        Some(_) => wrapper(
            &folder,
            "tidegate",
            &format!(
                "[ \"$(id -u)\" = 0 ] || exec {BINARY} \"$@\"\nexec setpriv --bounding-set -net_admin,-net_raw --inh-caps -all {BINARY} \"$@\""
            ),
        ),
    };
    let text = "
listeners: { web: { bind: 127.0.0.1:0, role: tcp, to: app } }
pools: { app: { servers: ['127.0.0.1:1'], source: client } }
";
    let (code, said) = failure_of(&binary.display().to_string(), &config(text, &[]));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("`source: client` of pool `app` needs `CAP_NET_ADMIN` or `CAP_NET_RAW`"), "{said}");
}

#[test]
fn what_has_no_address_of_one_client_is_a_mistake() {
    for (pool, wrong) in [
        ("servers: ['127.0.0.1:1'], protocol: h2", "many clients share a connection of its `protocol`"),
        ("servers: ['127.0.0.1:1'], warm: 1", "it is not known for whom a connection that is `warm` will be"),
        ("servers: ['unix:a.sock']", "connections to Unix sockets have no address"),
        ("servers: ['127.0.0.1:1'], source: server", "unknown word `server`"),
    ] {
        let source = if pool.contains("source") { "" } else { ", source: client" };
        let text =
            format!("listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ {pool}{source} }} }}\n");
        let (code, said) = failure_of(BINARY, &config(&text, &[]));
        assert_eq!(code, Some(2), "{pool}");
        assert!(said.contains(wrong) && said.lines().count() == 1, "{pool}: {said}");
    }
}
