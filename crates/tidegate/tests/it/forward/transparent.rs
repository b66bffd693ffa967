//! Clients that know of no proxy, and are led to it by the system's rules for packets: between namespaces of the network, which only
//! root can make.

mod read;

use testkit::netns::{Netns, possible};
use testkit::program::output_of;
use testkit::{Client, Ending, Folder, Server, Start, Tidegate, failure_of, tool};

use crate::support::{BINARY, config};
use crate::tls::Desk;

/// A client, the program on the way, and a server, each on a machine of its own.
struct World {
    client: Netns,
    program: Netns,
    server: Netns,
    desk: Desk,
}

impl World {
    /// None, with the reason said, where it cannot be made.
    fn new() -> Option<World> {
        if !possible() {
            return None;
        }
        tool("curl")?;
        tool("nft")?;
        let [client, program, server] = Netns::on_the_way();
        Some(World { client, program, server, desk: Desk::new() })
    }

    /// One whose owner has an authority, and servers certificates for some names and an address.
    fn with_authority() -> Option<World> {
        let world = World::new()?;
        world.desk.issue("main", &["example.com", "www.bank.test", "far.bank.test", "198.18.2.2", "fd18:2::2"]);
        let own = world.desk.folder.path().join("own").display().to_string();
        assert!(output_of(BINARY, &["ca", "--out", &own]).status.success());
        Some(world)
    }

    /// The server: a page in plain and one under TLS, of both families.
    fn pages(&self) -> Tidegate {
        let text = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners:
  plain: { bind: ['198.18.2.2:80', '[fd18:2::2]:80'], respond: { body: plain } }
  tls: { bind: ['198.18.2.2:443', '[fd18:2::2]:443'], tls: main, respond: { body: secured } }
";
        Start::of(BINARY).inside(&self.server).text(&self.desk.text(text, &[]))
    }

    /// The program, to which everything for these ports is led that comes from the client.
    fn program(&self, by: &str, more: &str) -> Tidegate {
        let rules = match by {
            "redirect" => {
                "chain led { type nat hook prerouting priority dstnat; iif to1 tcp dport { 80, 443, 4444, 5555 } redirect to :3129; };"
            }
            _ => {
                for family in ["-4", "-6"] {
                    self.program.run(&format!("ip {family} rule add fwmark 1 lookup 100"));
                    self.program.run(&format!("ip {family} route add local default dev lo table 100"));
                }
                "chain led { type filter hook prerouting priority mangle; iif to1 tcp dport { 80, 443, 4444, 5555 } meta nfproto ipv4 tproxy ip to :3129 meta mark set 1 accept; iif to1 tcp dport { 80, 443, 4444, 5555 } meta nfproto ipv6 tproxy ip6 to :3129 meta mark set 1 accept; };"
            }
        };
        let mut nft = self.program.command("nft");
        let done = nft.arg(format!("table inet led {{ {rules} }}")).output().expect("nft");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let text = format!(
            "
dns: {{ servers: ['127.0.0.1:9'], hosts: {{ www.bank.test: ['198.18.2.2', 'fd18:2::2'], far.bank.test: 192.0.2.1 }} }}
listeners:
  web:
    bind: [{{ address: ':3129', transparent: {by} }}]
    role: forward
    open: true
    timeouts: {{ request_head: 500ms }}{more}
    egress: {{ allow: [198.18.0.0/15, 'fd18::/16'], connect_ports: [443, 4444] }}
    routes: [{{ match: {{ host: 198.18.2.2, path: /guarded }}, deny: 403 }}, {{ match: {{ host: 198.18.2.2, sni: guarded.example.com }}, deny: 403 }}, {{ match: {{ host: [blocked.test, blocked.example.com] }}, deny: 403 }}, {{ match: {{ path: /private/* }}, deny: 403 }}, {{ to: origin }}]
"
        );
        Start::of(BINARY).inside(&self.program).text(&self.desk.text(&text, &[]))
    }

    /// What curl makes of a page at an address of the server.
    fn curl(&self, url: &str, address: &str, more: &[&str]) -> String {
        self.curl_trusting("ca.pem", url, address, more)
    }

    /// The same with this authority, and no other.
    fn curl_trusting(&self, authority: &str, url: &str, address: &str, more: &[&str]) -> String {
        let host = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).expect("a host");
        let port = if url.starts_with("https") { 443 } else { 80 };
        let resolve = ["--resolve".to_owned(), format!("{host}:{port}:{address}")];
        let resolve = if host == address { &[][..] } else { &resolve };
        let mut curl = self.client.command("curl");
        curl.args(["-sg", "--max-time", "10", "-w", " %{http_code}", "--cacert"])
            .arg(self.desk.folder.path().join(authority));
        let output = curl.args(resolve).args(more).arg(url).output().expect("curl");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn connect(&self, to: &str) -> Client {
        self.client.enter(|| Client::connect(to))
    }
}

fn clients_are_led_on(by: &str) {
    let Some(world) = World::new() else { return };
    let _pages = world.pages();
    let tidegate = world.program(by, "");
    for (address, shown) in [("198.18.2.2", "198.18.2.2"), ("[fd18:2::2]", "[fd18:2::2]")] {
        assert_eq!(world.curl("http://a.test/x", address, &[]), "plain 200", "{address}");
        let line =
            tidegate.log_line("a request", |line| line["host"] == "a.test" && line["address"] == format!("{shown}:80"));
        assert_eq!((&line["method"], &line["path"]), (&"GET".into(), &"/x".into()));
        assert_eq!(world.curl("https://example.com/", address, &[]), "secured 200", "{address}");
        let line = tidegate
            .log_line("a tunnel", |line| line["sni"] == "example.com" && line["address"] == format!("{shown}:443"));
        assert_eq!(
            (&line["host"], &line["pool"], &line["fault"]),
            (&"example.com".into(), &"origin".into(), &serde_json::Value::Null)
        );
    }
    // The host or the name decides which rules hold.
    assert_eq!(world.curl("http://blocked.test/", "198.18.2.2", &[]), "403: denied\n 403");
    assert_eq!(world.curl("https://blocked.example.com/", "198.18.2.2", &[]), " 000");
    assert_eq!(tidegate.log_line("a refusal", |line| line["sni"] == "blocked.example.com")["fault"], "denied");
    // Rules about where it goes hold as well.
    assert_eq!(world.curl("http://a.test/guarded", "198.18.2.2", &[]), "403: denied\n 403");
    assert_eq!(world.curl("http://a.test/guarded", "[fd18:2::2]", &[]), "plain 200");
    assert_eq!(world.curl("https://guarded.example.com/", "198.18.2.2", &[]), " 000");
    assert_eq!(tidegate.log_line("a refusal", |line| line["sni"] == "guarded.example.com")["fault"], "denied");
    // Who names nobody is for where it goes.
    assert_eq!(world.curl("http://a.test/", "198.18.2.2", &["--http1.0", "-H", "Host:"]), "plain 200");
    // And never where it goes.
    assert_eq!(
        world.curl("http://a.test/", "198.18.2.2", &["-H", "Host: a.test:8080"]).split(' ').next_back(),
        Some("421")
    );
    assert_eq!(world.curl("http://nobody.test/", "198.18.2.2", &[]), "plain 200");
    let mut client = world.connect("198.18.2.2:80");
    assert_eq!(client.ask("CONNECT 198.18.2.2:443 HTTP/1.1\r\nHost: 198.18.2.2:443\r\n\r\n").status, 501);
    // What a server might read of a handshake, and nobody here can, goes nowhere.
    let mut client = world.connect("198.18.2.2:443");
    client.send([22, 3, 1, 0, 0, 22, 3, 1]);
    assert_eq!(client.ending(), Ending::Reset);
    let line = tidegate.log_line("a refusal", |line| line["fault"] == "client_tls");
    assert_eq!(line["reason"], "a handshake of TLS that cannot be read");
    // What is neither goes on as it is, to the port that it was for, if tunnels may go there.
    let echo = world.server.enter(|| {
        Server::at("198.18.2.2:4444", |peer| {
            let heard = peer.reader.exactly(5).expect("bytes");
            peer.send(heard);
        })
    });
    let mut client = world.connect("198.18.2.2:4444");
    client.send("\0\x01abc");
    assert_eq!(client.exactly(5), b"\0\x01abc");
    drop(client);
    // Who ends its side waits for an answer all the same, whether it has said anything or not.
    let tells = world.server.enter(|| {
        Server::at("[fd18:2::2]:4444", |peer| {
            let heard = peer.rest().unwrap_or_default();
            peer.send([&b"heard "[..], &heard].concat());
        })
    });
    for said in [&b""[..], b"\0\x01abc"] {
        let mut client = world.connect("[fd18:2::2]:4444");
        client.send(said);
        client.finish();
        assert_eq!(client.exactly(6 + said.len()), [b"heard ", said].concat());
    }
    // But what it has only begun to say goes to nobody.
    let mut client = world.connect("[fd18:2::2]:4444");
    client.send("XGET /x");
    client.finish();
    assert_eq!(client.ending(), Ending::Reset);
    assert_eq!(tells.connections(), 2);
    assert_eq!(echo.connections(), 1);
    let mut client = world.connect("198.18.2.2:5555");
    client.send("\0\x01abc");
    assert_eq!(client.ending(), Ending::Reset);
    // Who says nothing is not waited for, and who comes by itself is led nowhere.
    assert_eq!(world.connect("198.18.2.2:443").ending(), Ending::Reset);
    let mut client = world.connect("198.18.1.1:3129");
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    match client.try_response() {
        Ok(response) => assert_eq!(response.status, 403),
        Err(broken) => assert_eq!(broken, testkit::Broken::Reset),
    }
}

#[test]
fn http_2_by_prior_knowledge_is_read_and_spoken_with_the_server() {
    let Some(world) = World::new() else { return };
    let text = "
listeners:
  plain: { bind: '198.18.2.2:80', http: [h2], respond: { body: two } }
";
    let _pages = Start::of(BINARY).inside(&world.server).text(&world.desk.text(text, &[]));
    let tidegate = world.program("redirect", "");
    for (path, wanted) in [("/one", "two 200"), ("/private/x", "403: denied\n 403")] {
        let said = world.curl(&format!("http://a.test{path}"), "198.18.2.2", &["--http2-prior-knowledge"]);
        assert_eq!(said, wanted);
        assert_eq!(tidegate.log_of(path)["version"], "2");
    }
}

#[test]
fn clients_are_led_on_that_were_redirected() {
    clients_are_led_on("redirect");
}

#[test]
fn clients_are_led_on_that_were_diverted() {
    clients_are_led_on("tproxy");
}

#[test]
fn what_makes_no_sense_for_clients_that_know_of_no_proxy_is_refused() {
    for (bind, more, wanted) in [
        (
            "{ address: '127.0.0.1:0', transparent: redirect, accept_proxy: 10.0.0.0/8 }",
            "",
            "speaks neither TLS nor the PROXY protocol",
        ),
        ("{ address: 'unix:x', transparent: redirect }", "", "nothing is led to a Unix socket"),
        ("{ address: '127.0.0.1:0', transparent: sideways }", "", "sideways"),
    ] {
        let text = format!("listeners: {{ web: {{ bind: [{bind}], role: forward, to: origin{more} }} }}\n");
        let (code, said) = failure_of(BINARY, &config(&text, &[]));
        assert!(code != Some(0) && said.contains(wanted), "{bind}: {said}");
    }
    if testkit::is_root() {
        let text = "listeners: { web: { bind: [{ address: '127.0.0.1:0', transparent: tproxy }], role: forward, to: origin } }\n";
        let folder = Folder::new();
        let file = folder.write("tidegate.yaml", &config(text, &[]));
        let (code, said) =
            Start::of(BINARY).without("net_admin,net_raw").refused(&["run", &file.display().to_string()]);
        assert!(code != Some(0) && said.contains("`CAP_NET_ADMIN`"), "{said}");
    }
    let files = crate::users::Files::new();
    let text = "listeners: { web: { bind: [{ address: '127.0.0.1:0', transparent: redirect }], role: forward, to: origin, use: [{ basic_auth: { users: '@DIR/people', realm: a } }] } }\n";
    let (code, said) = failure_of(BINARY, &config(&files.placed(text), &[]));
    assert!(code != Some(0) && said.contains("cannot be asked"), "{said}");
    let text = "listeners: { web: { bind: [{ address: '127.0.0.1:0', transparent: redirect }], role: http, respond: { body: x } } }\n";
    assert!(failure_of(BINARY, &config(text, &[])).1.contains("`transparent`"));
}
