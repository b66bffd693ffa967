//! Proxies that are asked by HTTP to lead on to other servers, with credentials, and what happens where they do not.

use std::net::TcpListener;
use std::process::Stdio;

use testkit::{Folder, Hanging, Process, Refusing, Server, ServerTls, Tidegate, ok, tool};

use super::{ask, asked, port, proxy};
use crate::support::{Place, start};
use crate::tls::Desk;

/// A proxy that goes by another one, `PARENT`; `@MORE` stands for more of that pool.
const CHAINED: &str = "
dns: { servers: ['127.0.0.1:9'], hosts: { known.test: 127.0.0.1, inner.test: 10.0.0.1 } }
listeners:
  web:
    bind: 127.0.0.1:0
    role: forward
    egress: { allow: [127.0.0.0/8], connect_ports: 1024-65535 }
    to: chain
pools: { chain: { servers: ['@PARENT'], protocol: http_proxy@MORE } }
";

fn chained(parent: &dyn Place, more: &str) -> Tidegate {
    start(&CHAINED.replace("@MORE", more), &[("PARENT", parent)])
}

fn connect(to: &str) -> String {
    format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: secret\r\nProxy-Authorization: Basic bm9uZQ==\r\n\r\n")
}

/// A proxy that answers CONNECT so, and then says back what it hears.
fn connecting(answer: &'static str) -> Server {
    Server::script(move |peer| {
        while let Some(request) = peer.request() {
            if request.method != "CONNECT" {
                peer.send(ok("a page"));
                continue;
            }
            peer.send(answer);
            while let Ok(1..) = peer.reader.fill() {
                let heard = peer.reader.surplus().to_vec();
                peer.reader.exactly(heard.len()).expect("what is here");
                peer.send(heard);
            }
        }
    })
}

#[test]
fn a_request_goes_to_the_parent_with_its_whole_target() {
    let parent = Server::named("parent");
    let tidegate = chained(&parent, "");
    let mut client = tidegate.client();
    for target in ["http://A.test/x/../p?q=1", "http://b.test:8080"] {
        assert_eq!(client.ask(asked(target)).text(), "parent");
    }
    let (one, two) = (parent.request(), parent.request());
    assert_eq!((one.target.as_str(), two.target.as_str()), ("http://A.test/p?q=1", "http://b.test:8080/"));
    assert_eq!(one.fields.values("host"), ["A.test"]);
    assert!(!one.fields.has("proxy-connection") && !one.fields.has("proxy-authorization"));
    assert_eq!(one.fields.value("via"), Some("1.1 tidegate"));
    assert_eq!(one.connection, two.connection, "one connection serves requests for all servers");
    client.send("OPTIONS http://c.test HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(parent.request().target, "http://c.test", "RFC 9112 section 3.2.4");
    let line = tidegate.log_of("/p");
    assert_eq!((&line["host"], &line["pool"]), (&"a.test".into(), &"chain".into()));
    assert_eq!((&line["server"], &line["address"]), (&parent.address().into(), &parent.address().into()));
}

#[test]
fn a_tunnel_goes_through_the_parent_by_connect() {
    let parent = connecting("HTTP/1.1 200 Go on\r\nX: y\r\n\r\n220 hello");
    let tidegate = chained(&parent, "");
    assert_eq!(ask(&tidegate, "http://a.test/").text(), "a page");
    let mut client = tidegate.client();
    client.send(connect("A.test:4433") + "early");
    let head = client.head();
    assert_eq!((head.status, head.fields.has("x")), (200, false));
    assert_eq!(client.exactly(9), b"220 hello", "what came behind the parent's head is the server's");
    assert_eq!(client.exactly(5), b"early");
    client.send("more");
    assert_eq!(client.exactly(4), b"more");
    client.finish();
    let (page, request) = (parent.request(), parent.request());
    assert_eq!(request.target, "a.test:4433");
    let mut said: Vec<_> = request.fields.0.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    said.sort();
    let wanted = ["host", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"];
    assert!(said.iter().all(|name| wanted.contains(&name.as_str())) && request.fields.has("via"), "{said:?}");
    assert_ne!(page.connection, request.connection, "a tunnel has a connection of its own");
    let line = tidegate.log_line("a tunnel", |line| line["method"] == "CONNECT");
    assert_eq!((&line["pool"], &line["bytes_in"], &line["bytes_out"]), (&"chain".into(), &9.into(), &18.into()));
}

#[test]
pub(crate) fn the_parent_is_told_who_we_are_and_nobody_else() {
    let (folder, parent) = (Folder::new(), connecting("HTTP/1.1 200 OK\r\n\r\n"));
    let secret = folder.write("secret", "opensesame\n");
    let more = format!(
        ", username: me, password: '${{file.{}}}', health: {{ probe: http, host: up.test, path: /alive, every: 1h }}",
        secret.display()
    );
    let text = CHAINED.replace("@MORE", &more);
    let tidegate = start(&text, &[("PARENT", &parent)]);
    let said = |request: &testkit::Request| request.fields.values("proxy-authorization").concat();
    let check = parent.request();
    assert_eq!((check.target.as_str(), said(&check).as_str()), ("http://up.test/alive", "Basic bWU6b3BlbnNlc2FtZQ=="));
    assert_eq!(
        tidegate
            .client()
            .ask("GET http://a.test/ HTTP/1.1\r\nHost: a\r\nProxy-Authorization: Basic bm9uZQ==\r\n\r\n")
            .text(),
        "a page"
    );
    assert_eq!(said(&parent.request()), "Basic bWU6b3BlbnNlc2FtZQ==");
    let mut client = tidegate.client();
    client.send(connect("a.test:4433"));
    assert_eq!(client.head().status, 200);
    assert_eq!(said(&parent.request()), "Basic bWU6b3BlbnNlc2FtZQ==");
    for shown in [tidegate.admin("/api/config").text(), tidegate.admin("/api/pools").text(), tidegate.messages()] {
        assert!(!shown.contains("opensesame") && !shown.contains("bWU6b3BlbnNlc2FtZQ"), "{shown}");
    }
}

#[test]
fn what_a_parent_refuses_is_said_with_its_status() {
    for (answer, status, reason) in [
        ("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", 502, "the parent refused: 403"),
        ("HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\n\r\n", 502, "the parent wants other credentials: 407"),
        ("HTTP/1.1 503 Later\r\n\r\n", 502, "the parent refused: 503"),
        ("SSH-2.0-OpenSSH\r\n\r\n", 502, "the parent does not answer like a proxy"),
        ("HTTP/1.1 101 Huh\r\n\r\n", 502, "the parent does not answer like a proxy"),
    ] {
        let parent = connecting(answer);
        let tidegate = chained(&parent, "");
        let mut client = tidegate.client();
        let told = client.ask(connect("a.test:4433"));
        assert_eq!(told.status, status, "{answer}");
        assert!(told.text().contains(reason), "{}", told.text());
        assert!(!told.fields.has("proxy-authenticate"));
        let line = tidegate.log_line("a tunnel", |line| line["method"] == "CONNECT");
        assert_eq!(line["reason"], reason);
        // That says nothing of the parent, which clients could bring down by it.
        assert_eq!(ask(&tidegate, "http://a.test/").text(), "a page", "{answer}");
    }
}

#[test]
fn datagrams_are_led_by_nobody() {
    let parent = connecting("HTTP/1.1 200 OK\r\n\r\n");
    for to in ["chain", "[chain, origin]", "'@PARENT'"] {
        let text = CHAINED.replace("to: chain", &format!("to: {to}")).replace("@MORE", "");
        let tidegate = start(&text, &[("PARENT", &parent)]);
        let told = tidegate.client().ask(
            "GET /.well-known/masque/udp/known.test/4433/ HTTP/1.1\r\nHost: p\r\nConnection: Upgrade\r\nUpgrade: connect-udp\r\n\
             Capsule-Protocol: ?1\r\n\r\n",
        );
        assert_eq!(told.status, 403, "{to}: {}", told.text());
    }
    assert_eq!(parent.connections(), 0);
}

#[test]
fn a_parent_that_asks_a_client_who_it_is_asks_us() {
    let parent = Server::http(|_| {
        b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=inner\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let tidegate = chained(&parent, "");
    let told = ask(&tidegate, "http://a.test/");
    assert_eq!((told.status, told.fields.has("proxy-authenticate")), (502, false));
    assert!(told.text().contains("parent_refused: the parent wants other credentials: 407"), "{}", told.text());
    tidegate.message("look at `username` and `password`");
}

#[test]
fn a_parent_that_says_nothing_is_given_up_in_time_and_stays_in_use() {
    let parent = Server::script(|peer| {
        let request = peer.request().expect("a request");
        if request.method == "CONNECT" {
            return peer.hang();
        }
        peer.send(ok("a page"));
    });
    let tidegate = chained(&parent, ", timeouts: { response: 300ms }");
    assert_eq!(tidegate.client().ask(connect("a.test:4433")).status, 504);
    assert_eq!(ask(&tidegate, "http://a.test/").text(), "a page");
    assert_eq!(tidegate.metric("tidegate_server_connect_failures", &["pool=\"chain\""]).iter().sum::<f64>(), 0.0);
}

#[test]
fn what_is_no_place_of_the_public_is_not_asked_for() {
    let parent = Server::named("parent");
    let tidegate = chained(&parent, "");
    let own = tidegate.address("web");
    let admin = tidegate.ready()["admin"].as_str().expect("an address").to_owned();
    let port_of = |address: &str| address.rsplit(':').next().expect("a port").to_owned();
    let mut refused = vec![
        "10.0.0.1".to_owned(),
        "inner.test".to_owned(),
        "169.254.169.254".to_owned(),
        "2130706433".to_owned(),
        "0x7f.1".to_owned(),
        "127.1".to_owned(),
        "[::ffff:10.0.0.1]".to_owned(),
        "a.test:25".to_owned(),
    ];
    for ours in [&own, &admin] {
        refused.extend([
            ours.clone(),
            format!("localhost:{}", port_of(ours)),
            format!("[::ffff:127.0.0.1]:{}", port_of(ours)),
            format!("known.test:{}", port_of(ours)),
        ]);
    }
    for host in refused {
        assert_eq!(ask(&tidegate, &format!("http://{host}/")).status, 403, "{host}");
    }
    for host in ["10.0.0.1:4433", "inner.test:4433", "127.1:4433", "a.test:22", &admin] {
        assert_eq!(tidegate.client().ask(connect(host)).status, 403, "{host}");
    }
    assert_eq!(parent.connections(), 0);
    assert_eq!(ask(&tidegate, "http://known.test:8080/").status, 200, "a name that is known and may be connected to");
}

#[test]
fn parents_are_balanced_retried_and_checked_like_any_servers() {
    let (one, two, dead) = (Server::named("one"), Server::named("two"), Refusing::new());
    let text = CHAINED.replace("'@PARENT'", "'@ONE', '@TWO', '@DEAD'").replace("@MORE", ", balance: round_robin");
    let tidegate = start(&text, &[("ONE", &one), ("TWO", &two), ("DEAD", &dead)]);
    let mut told: Vec<String> = (0..20).map(|_| ask(&tidegate, "http://a.test/").text()).collect();
    told.sort();
    assert!(told.iter().all(|name| name == "one" || name == "two"), "{told:?}");
    assert!(!one.requests().is_empty() && !two.requests().is_empty());
}

#[test]
fn another_way_is_taken_where_nobody_can_be_connected_to_and_it_was_asked_for() {
    let (server, dead, hanging) = (Server::echo(), Refusing::new(), Hanging::new());
    let with = |dead: &dyn Place, to: &str| {
        let text =
            CHAINED.replace("to: chain", to).replace("@MORE", ", timeouts: { connect: 300ms }, retries: { extra: 0 }");
        start(&text, &[("PARENT", dead)])
    };
    let target = format!("http://known.test:{}/", port(&server));
    let post = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    let alone = with(&dead, "to: chain");
    assert_eq!(ask(&alone, &target).status, 502, "only where it was asked for");
    assert_eq!(server.connections(), 0);
    for dead in [&dead as &dyn Place, &hanging] {
        let tidegate = with(dead, "to: [chain, origin]");
        assert_eq!(tidegate.client().ask(&post).text(), "hello");
        let line = tidegate.log_of("/");
        assert_eq!((&line["pool"], &line["tries"]), (&"origin".into(), &2.into()));
        let mut client = tidegate.client();
        client.send(connect(&format!("known.test:{}", port(&server))));
        assert_eq!(client.head().status, 200, "tunnels, too");
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.response().status, 200);
    }
    // A second way that is none is no worse than the first.
    let neither = with(&dead, "to: [chain, origin]");
    assert_eq!(ask(&neither, "http://nobody.test/").status, 502);
    assert_eq!(ask(&neither, "http://10.0.0.1/").status, 403);
}

#[test]
fn no_way_leads_around_what_a_parent_refuses() {
    let server = Server::named("direct");
    let to = format!("known.test:{}", port(&server));
    for answer in ["HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 502 No\r\n\r\n", "nonsense\r\n\r\n", ""] {
        let parent = connecting(answer);
        let text =
            CHAINED.replace("to: chain", "to: [chain, origin]").replace("@MORE", ", timeouts: { response: 200ms }");
        let tidegate = start(&text, &[("PARENT", &parent)]);
        assert!(tidegate.client().ask(connect(&to)).status >= 502, "{answer}");
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn routes_lead_to_pools_that_stand_for_a_host() {
    let (service, page) = (Server::named("service"), Server::named("page"));
    let desk = Desk::new();
    let secured = Server::secured(&ServerTls::new(&desk.issue("s", &["service"])), |peer| {
        while peer.request().is_some() {
            peer.send(ok("secured"));
        }
    });
    let more = "routes: [{ match: { host: service.test }, to: service }, { match: { host: secured.test }, to: secured }, { match: { host: literal.test }, to: '@SERVICE' }, { to: origin }]
pools: { service: ['@SERVICE'], secured: { servers: ['@SECURED'], tls: { ca: '@DIR/ca.pem', server_name: service } } }";
    let text = super::OPEN.replace("@MORE", more);
    let tidegate = desk.start(&text.replace("@SERVICE", service.address()).replace("@SECURED", secured.address()), &[]);
    assert_eq!(ask(&tidegate, "http://service.test/a?b").text(), "service");
    let request = service.request();
    assert_eq!((request.target.as_str(), request.fields.values("host")), ("/a?b", vec!["service.test"]));
    assert_eq!(ask(&tidegate, "http://secured.test/").text(), "secured");
    assert_eq!(ask(&tidegate, "http://literal.test/").text(), "service");
    assert_eq!(ask(&tidegate, &format!("http://a.test:{}/", port(&page))).text(), "page");
    let mut client = tidegate.client();
    client.send(connect("service.test:443"));
    assert_eq!(client.head().status, 200);
    client.send("GET /in HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.response().text(), "service", "a tunnel leads to the pool as it is");
    assert_eq!(tidegate.client().ask(connect("secured.test:443")).status, 403, "TLS is not put into TLS");
}

#[test]
fn the_parent_is_spoken_with_by_tls() {
    let desk = Desk::new();
    let parent = Server::secured(&ServerTls::new(&desk.issue("p", &["proxy.test"])), |peer| {
        while let Some(request) = peer.request() {
            if request.method == "CONNECT" {
                peer.send("HTTP/1.1 200 OK\r\n\r\n");
                let heard = peer.reader.exactly(4).expect("a word");
                return peer.send(heard);
            }
            peer.send(ok(request.target));
        }
    });
    let text = CHAINED.replace("@MORE", ", tls: { ca: '@DIR/ca.pem', server_name: proxy.test }");
    let tidegate = start(&desk.text(&text, &[]), &[("PARENT", &parent)]);
    assert_eq!(ask(&tidegate, "http://a.test/x").text(), "http://a.test/x");
    let mut client = tidegate.client();
    client.send(connect("a.test:4433"));
    assert_eq!(client.head().status, 200);
    client.send("ping");
    assert_eq!(client.exactly(4), b"ping");
}

#[test]
fn a_loop_through_a_parent_is_found_out() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    // A proxy whose parent is itself, which its operator has written.
    let text = CHAINED.replace("bind: 127.0.0.1:0", &format!("bind: {address}")).replace("@PARENT", &address);
    let tidegate = start(&text.replace("@MORE", ""), &[]);
    assert_eq!(ask(&tidegate, "http://a.test/").status, 508);
    let told = tidegate.client().ask(connect("a.test:4433"));
    assert_eq!(told.status, 502, "each says what the next one did");
    tidegate.log_line("the end of the loop", |line| line["fault"] == "loop" && line["method"] == "CONNECT");
}

#[test]
fn credentials_change_with_a_reload() {
    let (folder, parent) = (Folder::new(), Server::named("parent"));
    let secret = folder.write("secret", "one");
    let text = CHAINED.replace("@MORE", &format!(", username: me, password: '${{file.{}}}'", secret.display()));
    let tidegate = start(&text, &[("PARENT", &parent)]);
    assert_eq!(ask(&tidegate, "http://a.test/").status, 200);
    folder.replace("secret", "two");
    let again = crate::support::config(&text, &[("PARENT", &parent)]);
    assert_eq!(tidegate.reload(&again), testkit::Reloaded::Yes);
    assert_eq!(ask(&tidegate, "http://a.test/").status, 200);
    let (one, two) = (parent.request(), parent.request());
    assert_eq!(one.fields.value("proxy-authorization"), Some("Basic bWU6b25l"));
    assert_eq!(two.fields.value("proxy-authorization"), Some("Basic bWU6dHdv"));
    assert_ne!(one.connection, two.connection);
}

#[test]
fn tidegate_goes_behind_and_before_tidegate() {
    let server = Server::echo();
    let behind = proxy("");
    let before = chained(&behind.address("web").as_str(), "");
    let target = format!("http://a.test:{}/x", port(&server));
    let body = "x".repeat(200_000);
    let post = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert!(before.client().ask(post).text() == body);
    assert_eq!(server.request().fields.values("via"), ["1.1 tidegate", "1.1 tidegate"]);
    let mut client = before.client();
    client.send(connect(&format!("a.test:{}", port(&server))));
    assert_eq!(client.head().status, 200);
    client.send("GET /in HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.response().status, 200);
    // What the one behind refuses, the one before says so.
    let told = before.client().ask(connect("a.test:1025"));
    assert_eq!(told.status, 502, "{}", told.text());
    assert_eq!(ask(&before, "http://nobody.test/").status, 502);
}

#[test]
fn real_proxies_lead_on() {
    let Some(mut tinyproxy) = tool("tinyproxy") else { return };
    let (folder, server) = (Folder::new(), Server::named("page"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let settings = format!(
        "Port {}\nListen 127.0.0.1\nTimeout 20\nBasicAuth me opensesame\nMaxClients 20\nLogLevel Error\nPidFile \"{}\"\n",
        address.port(),
        folder.path().join("pid").display()
    );
    let file = folder.write("tinyproxy.conf", &settings);
    tinyproxy.arg("-d").arg("-c").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _process = Process::listening(&mut tinyproxy, &address.to_string());
    let secret = folder.write("secret", "opensesame");
    let more = format!(", username: me, password: '${{file.{}}}'", secret.display());
    let tidegate = chained(&address.to_string().as_str(), &more);
    let target = format!("127.0.0.1:{}", port(&server));
    assert_eq!(ask(&tidegate, &format!("http://{target}/")).text(), "page");
    let mut client = tidegate.client();
    client.send(connect(&target));
    assert_eq!(client.head().status, 200);
    client.send("GET /in HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.response().text(), "page");
    let stranger = chained(&address.to_string().as_str(), "");
    assert_eq!(ask(&stranger, &format!("http://{target}/")).status, 502);
    assert_eq!(stranger.client().ask(connect(&target)).status, 502);
}
