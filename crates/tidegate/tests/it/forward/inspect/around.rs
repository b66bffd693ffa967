//! Tunnels that are read among everything else that a proxy does: other ways in, users, interception, pools, reloads and drains.

use std::process::Stdio;
use std::thread;

use testkit::{Client, Ending, Reloaded, Server, Signal, Tidegate, ok, tool, until};

use super::super::intercept::{Office, READING};
use super::super::port;
use super::{ROUTES, inspecting, line_of, looking, page, saying, socks, tunnel};
use crate::support::start;
use crate::tls::Desk;

#[test]
fn a_tunnel_inside_of_http_2_is_read_as_well() {
    let Some(mut node) = tool("node") else { return };
    let server = saying();
    let tidegate = start(&inspecting("\n    http: [h1, h2]"), &[]);
    let script = format!(
        "const http2 = require('http2');
         const proxy = http2.connect('http://{}');
         const tunnel = proxy.request({{ ':method': 'CONNECT', ':authority': 'a.test:{}' }});
         let said = '';
         tunnel.on('response', () => tunnel.write('GET /deep HTTP/1.1\\r\\nHost: a.test\\r\\n\\r\\nGET /private/x HTTP/1.1\\r\\nHost: a.test\\r\\nConnection: close\\r\\n\\r\\n'));
         tunnel.on('data', (data) => said += data);
         tunnel.on('end', () => {{ console.log(said); proxy.destroy(); }});
         setTimeout(() => process.exit(2), 20000).unref();",
        tidegate.address("web"),
        port(&server)
    );
    let output = node.args(["-e", &script]).stdin(Stdio::null()).output().expect("a client that runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("/deep ") && said.contains("403: not for you"), "{output:?}");
    assert_eq!(tidegate.log_of("/deep")["interception"], "inspected");
    assert_eq!(line_of(&tidegate, "CONNECT", "a.test")["version"], "2");
    until_nobody_is_counted(&tidegate);
}

#[test]
fn a_proxy_under_tls_looks_inside_as_well() {
    let Some(mut curl) = tool("curl") else { return };
    let (desk, server) = (Desk::new(), saying());
    let text = format!(
        "certificates: {{ main: {{ cert: '@DIR/main.pem', key: '@DIR/main.key' }} }}\n{}",
        inspecting("\n    tls: main")
    );
    let tidegate = desk.start(&text, &[]);
    let output = curl
        .args(["-sS", "--max-time", "20", "--proxytunnel", "-x", &format!("https://{}", tidegate.address("web"))])
        .args(["--proxy-insecure", &format!("http://a.test:{}/deep", port(&server))])
        .arg(format!("http://a.test:{}/private/x", port(&server)))
        .output()
        .expect("a client that runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/deep 403: not for you\n", "{output:?}");
    let line = tidegate.log_of("/deep");
    assert_eq!((&line["interception"], &line["tls"]), (&"inspected".into(), &"TLSv1.3".into()));
    assert_eq!(
        server.request().fields.values("x-forwarded-proto"),
        ["http"],
        "with the server nothing is said under TLS"
    );
}

#[test]
fn who_has_opened_a_tunnel_is_who_asks_inside() {
    let (desk, server) = (Desk::new(), saying());
    desk.folder.write("people", crate::users::PEOPLE);
    let more = "\n    use: [{ basic_auth: { users: '@DIR/people', realm: office } }]";
    let tidegate = desk.start(&inspecting(more), &[]);
    let connect = |fields: &str| format!("CONNECT a.test:{} HTTP/1.1\r\nHost: a\r\n{fields}\r\n", port(&server));
    assert_eq!(tidegate.client().ask(connect("")).status, 407);
    let mut bob = tidegate.client();
    bob.send(connect(&format!("Proxy-Authorization: {}\r\n", crate::users::basic("bob:bob"))));
    assert_eq!(bob.head().status, 200);
    // What is said inside of who one is is for nobody here, and goes nowhere.
    let answer = bob.ask("GET /page HTTP/1.1\r\nHost: a.test\r\nProxy-Authorization: Basic eDp5\r\n\r\n");
    assert_eq!(answer.status, 200);
    assert_eq!(tidegate.log_of("/page")["user"], "bob");
    assert!(!server.request().fields.has("proxy-authorization"));
}

#[test]
fn what_is_read_under_tls_and_in_plain_go_together() {
    let office = Office::new();
    let (secured, _) = office.server(&["a.test"]);
    let (plain, bank) = (saying(), Server::named("bank"));
    let text = READING.replace("@MORE", "").replace("    routes:", "    inspect: 1024-65535\n    routes:");
    let tidegate = office.desk.start(&text, &[]);
    let mut inside = office.inside(&tidegate, "a.test", &secured);
    assert_eq!(inside.ask(page("a.test", "/tls")).text(), "/tls ");
    let mut client = tunnel(&tidegate, "a.test", &plain);
    assert_eq!(client.ask(page("a.test", "/plain")).text(), "/plain ");
    assert_eq!(client.ask(page("a.test", "/private/x")).status, 403);
    // Whoever is excepted is left alone in both.
    let mut client = tunnel(&tidegate, "www.bank.test", &bank);
    assert_eq!(client.ask(page("www.bank.test", "/private/account")).text(), "bank");
    drop(client);
    assert_eq!(line_of(&tidegate, "CONNECT", "www.bank.test")["interception"], "excepted");
    for (path, word) in [("/tls", "intercepted"), ("/plain", "inspected")] {
        assert_eq!(tidegate.log_of(path)["interception"], word);
    }
}

#[test]
fn requests_inside_are_captured_and_looked_for_in_lists_by_the_host_that_they_name() {
    let (desk, server) = (Desk::new(), saying());
    desk.folder.write("listed.txt", "listed.test\nfar.test\n");
    let routes = "
    use: [{ capture: all.har }]
    routes:
      - { match: { url: { list: bad } }, deny: { reason: listed } }
      - to: origin
";
    let text = inspecting("").replace(ROUTES, routes);
    let tidegate =
        desk.start(&format!("{text}lists: {{ bad: {{ file: '@DIR/listed.txt', format: domains }} }}\n"), &[]);
    // A tunnel to an address is on no list; what is asked for in it may be.
    let mut client = socks(&tidegate, "127.0.0.1", &server);
    let host = |name: &str| format!("{name}:{}", server.port());
    assert_eq!(client.ask(page(&host("www.listed.test"), "/ad")).status, 403);
    assert_eq!(client.ask(page(&host("a.test"), "/deep?q=1")).text(), "/deep?q=1 ");
    let line = tidegate.log_of("/ad");
    assert_eq!((&line["list"], &line["rule"]), (&"bad".into(), &"listed.test".into()));
    client.finish();
    drop(client);
    let entries = crate::capture::entries(&tidegate, "all.har", 3);
    let urls: Vec<_> = entries.iter().map(|entry| entry["request"]["url"].as_str().expect("a URL")).collect();
    let wanted = [
        format!("http://{}/ad", host("www.listed.test")),
        format!("http://{}/deep?q=1", host("a.test")),
        format!("tunnel://{}", host("127.0.0.1")),
    ];
    assert_eq!(urls, wanted);
}

#[test]
fn requests_inside_may_go_to_a_pool_that_stands_for_the_host() {
    let server = Server::http(|request| ok(request.fields.values("host").concat()));
    let text = inspecting("").replace("to: origin", "to: app") + "pools: { app: [@APP] }\n";
    let tidegate = start(&text, &[("APP", &server)]);
    let mut client = Client::through(&tidegate.address("web"), "service.internal:8080");
    assert_eq!(client.ask(page("service.internal:8080", "/a")).text(), "service.internal:8080");
    assert_eq!(client.ask(page("service.internal:8080", "/private/a")).status, 403);
    assert_eq!(client.ask(page("other.internal:8080", "/a")).status, 421);
    let line = tidegate.log_of("/a");
    assert_eq!(
        (&line["pool"], &line["host"], &line["port"]),
        (&"app".into(), &"service.internal".into(), &8080.into())
    );
}

#[test]
fn a_tunnel_that_stands_sees_new_rules() {
    let server = saying();
    let tidegate = looking();
    let mut client = socks(&tidegate, "a.test", &server);
    assert_eq!(client.ask(page("a.test", "/late")).status, 200);
    let refusing = ROUTES.replace("/private/*", "/late");
    let text = |text: String| crate::support::config(&text, &[]);
    assert_eq!(tidegate.reload(&text(inspecting("").replace(ROUTES, &refusing))), Reloaded::Yes);
    assert_eq!(client.ask(page("a.test", "/late")).status, 403);
    // Who is inside stays where requests are read, and is held to its host.
    assert_eq!(tidegate.reload(&text(inspecting("").replace("inspect: 1024-65535", "inspect: 1"))), Reloaded::Yes);
    assert_eq!(client.ask(page("a.test", "/private/x")).status, 403);
    assert_eq!(client.ask(page("a.test", "/late")).status, 200);
    assert_eq!(client.ask(page("b.test", "/")).status, 421);
}

#[test]
fn a_tunnel_drains_as_its_requests_do() {
    let go = std::sync::Arc::new(Signal::new());
    let wait = std::sync::Arc::clone(&go);
    let server = Server::script(move |peer| {
        while peer.request().is_some() {
            wait.wait();
            peer.send(ok("at last"));
        }
    });
    let mut tidegate = looking();
    let mut silent = tidegate.client();
    let (mut busy, mut idle) = (tunnel(&tidegate, "a.test", &server), tunnel(&tidegate, "b.test", &server));
    busy.send(page("a.test", "/slow"));
    server.until_connections(2);
    until("it is asked", || !server.requests().is_empty());
    idle.send("GET");
    tidegate.terminate();
    tidegate.message("draining");
    // The one worker knows it once it has closed who asks for nothing.
    assert_eq!(silent.ending(), Ending::Clean);
    go.raise();
    let answer = busy.response();
    assert_eq!((answer.text().as_str(), answer.fields.value("connection")), ("at last", Some("close")));
    idle.send(" / HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert_eq!(idle.response().fields.value("connection"), Some("close"));
    assert_eq!(tidegate.wait().code(), Some(0));
}

#[test]
fn many_tunnels_leave_nothing_behind() {
    // Who answers once, so that no connection is kept.
    let server = Server::script(|peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nonce");
        }
    });
    let parent = start(&super::super::OPEN.replace("@MORE", "to: origin"), &[]);
    let text = inspecting("").replace("to: origin", "to: up");
    let up = format!(
        "pools: {{ up: {{ servers: ['{}'], protocol: socks5, circuit_breaker: {{ requests: 64 }} }} }}\n",
        parent.address("web")
    );
    let tidegate = start(&(text + &up), &[]);
    let proxy = tidegate.address("web");
    assert_eq!(Client::through(&proxy, &format!("a.test:{}", server.port())).ask(page("a.test", "/")).status, 200);
    until_nobody_is_counted(&tidegate);
    until_nothing_is_held(&tidegate);
    let before = tidegate.descriptors();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let mut client = Client::through(&proxy, &format!("a.test:{}", server.port()));
                    assert_eq!(client.ask(page("a.test", "/many")).status, 200);
                    drop(client);
                    drop(Client::through(&proxy, &format!("a.test:{}", server.port())));
                }
            });
        }
    });
    until_nobody_is_counted(&tidegate);
    until_nothing_is_held(&tidegate);
    assert_eq!(server.requests().len(), 201);
    until("no descriptor is left", || tidegate.descriptors() <= before);
}

/// No connection to a server, and no place of a request.
fn until_nothing_is_held(tidegate: &Tidegate) {
    for name in ["tidegate_server_connections", "tidegate_server_in_flight"] {
        until("nothing is held", || tidegate.metric(name, &["pool=\"up\""]) == [0.0]);
    }
}

fn until_nobody_is_counted(tidegate: &Tidegate) {
    until("nobody is counted any more", || {
        let open = tidegate.metric("tidegate_connections", &["listener=\"web\""]);
        !open.is_empty() && open.iter().all(|open| *open == 0.0)
    });
}
