//! Servers that see the client's address as that of the connection: between namespaces of the network, which only root can make.

use std::process::Output;

use testkit::netns::{Netns, possible};
use testkit::{Folder, Start, Tidegate, failure_of, is_root, tool};

use crate::support::{BINARY, config};

/// A client, the program and a server, each on a machine of its own; the server answers by way of the program.
struct World {
    client: Netns,
    program: Netns,
    server: Netns,
}

impl World {
    /// None, with the reason said, where it cannot be made.
    fn new() -> Option<World> {
        if !possible() {
            return None;
        }
        tool("curl")?;
        let [client, program, server] = Netns::on_the_way();
        // What comes from the server's side is for us, whomever it is addressed to.
        for family in ["-4", "-6"] {
            program.run(&format!("ip {family} rule add iif to2 lookup 100"));
            program.run(&format!("ip {family} route add local default dev lo table 100"));
        }
        Some(World { client, program, server })
    }

    fn curl(&self, url: &str) -> Output {
        curl_from(&self.client, url)
    }

    /// The server, which answers at these addresses.
    fn answering(&self, binds: &str) -> Tidegate {
        start(&self.server, &format!("listeners: {{ app: {{ bind: [{binds}], respond: {{ body: here }} }} }}"))
    }
}

fn start(machine: &Netns, text: &str) -> Tidegate {
    Start::of(BINARY).inside(machine).text(&config(text, &[]))
}

/// Asks twice over one connection, if it may.
fn curl_from(machine: &Netns, url: &str) -> Output {
    machine.command("curl").args(["-sg", "--max-time", "20", url, url]).output().expect("curl")
}

/// The server's addresses of both families.
const BOTH: &str = "'198.18.2.2:8080', '[fd18:2::2]:8080'";

#[test]
fn servers_see_the_client_by_tcp_and_by_http() {
    let Some(world) = World::new() else { return };
    let server = world.answering(BOTH);
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
    let tidegate = start(&world.program, text);
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
    world.program.address("to1", "fe80::1/64");
    world.client.address("up0", "fe80::2/64");
    let _server = world.answering(BOTH);
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
    let tidegate = start(&world.program, text);
    for (machine, url, listener) in [
        (&world.program, "http://127.0.0.1:8082/", "loopback"),
        (&world.program, "http://[::1]:8082/", "loopback_six"),
        (&world.client, "http://[fe80::1%25up0]:8083/", "link"),
    ] {
        assert!(curl_from(machine, url).stdout.is_empty(), "{url}");
        let line = tidegate.log_line("a flow", |line| line["listener"] == listener);
        assert_eq!((&line["fault"], &line["side"]), (&"overload".into(), &"proxy".into()), "{line}");
    }
    for url in ["http://198.18.1.1:8081/", "http://[fd18:1::1]:8081/"] {
        assert_eq!(String::from_utf8_lossy(&world.curl(url).stdout), "herehere", "{url}");
    }
}

#[test]
fn who_comes_by_a_unix_socket_has_no_address_to_show() {
    let Some(world) = World::new() else { return };
    let server = world.answering("'198.18.2.2:8080'");
    let folder = Folder::new();
    let [flows, pages] = ["flows", "pages"].map(|name| folder.path().join(name).display().to_string());
    let text = format!(
        "
listeners:
  flows: {{ bind: 'unix:{flows}', role: tcp, to: app }}
  pages: {{ bind: 'unix:{pages}', to: app }}
pools: {{ app: {{ servers: ['198.18.2.2:8080'], source: client }} }}
"
    );
    let _tidegate = start(&world.program, &text);
    for (socket, url) in [(flows, "http://any/flow"), (pages, "http://any/page")] {
        let args = ["-s", "--max-time", "20", "--unix-socket", &socket, url];
        let said = std::process::Command::new("curl").args(args).output().expect("curl");
        assert_eq!(String::from_utf8_lossy(&said.stdout), "here", "{url}");
        let path = &url["http://any".len()..];
        let line = server.log_line("a request", |line| line["path"] == path);
        assert_eq!(line["peer"].as_str().map(host), Some("198.18.2.1"), "{url}");
    }
}

#[test]
fn the_ports_of_a_client_are_counted_for_each_server() {
    let Some(world) = World::new() else { return };
    world.program.sysctl("net.ipv4.ip_local_port_range", "40000 40003");
    let _server = world.answering("'198.18.2.2:8080', '198.18.2.2:8081'");
    let text = "
listeners:
  one: { bind: 198.18.1.1:8081, role: tcp, to: '198.18.2.2:8080' }
  two: { bind: 198.18.1.1:8082, role: tcp, to: '198.18.2.2:8081' }
defaults: { pool: { source: client } }
";
    let _tidegate = start(&world.program, text);
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
    if tool("setpriv").is_none() {
        return;
    }
    let text = "
listeners: { web: { bind: 127.0.0.1:0, role: tcp, to: app } }
pools: { app: { servers: ['127.0.0.1:1'], source: client } }
";
    let folder = Folder::new();
    let file = folder.write("tidegate.yaml", &config(text, &[])).display().to_string();
    // Root without the two, anybody else as they are.
    let start = Start::of(BINARY);
    let start = if is_root() { start.without("net_admin,net_raw") } else { start };
    let (code, said) = start.refused(&["run", &file]);
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
