//! The examples: each loads as it stands, or says what is still to come, and does what its comments say.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use testkit::datagram::{Answering, Asking};
use testkit::h2_server::Backend;
use testkit::socket::Socket;
use testkit::tls::Wishes;
use testkit::{
    Authority, Client, ClientTls, Folder, PATIENCE, Server, ServerTls, Start, Tidegate, failure_of, h3, ok,
    websocket_accept,
};

use crate::routes::request;
use crate::support::{BINARY, ask, get};
use crate::tls::Desk;

fn example_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

#[test]
fn the_basic_example_works_as_it_stands() {
    let servers = [Server::named("a1"), Server::named("a2"), Server::named("shop")];
    let tidegate = Start::of(BINARY)
        .set("listeners.web.bind", "127.0.0.1:0")
        .set("admin.bind", "127.0.0.1:0")
        .set("pools.api.servers.a1.address", servers[0].address())
        .set("pools.api.servers.a2.address", servers[1].address())
        .set("pools.shop.servers.0", &format!("localhost:{}", servers[2].port()))
        .file(&example_path("basic.yaml"));
    assert_eq!(tidegate.ready()["workers"], 2);
    let on = |host: &str, target: &str, fields: &str| {
        tidegate.client().ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"))
    };
    let api = on("a.shop.example.com", "/api/x", "");
    assert!(["a1", "a2"].contains(&api.text().as_str()));
    assert_eq!(api.fields.value("x-frame-options"), Some("DENY"));
    let shop = on("shop.example.com", "/", "");
    assert_eq!((shop.text().as_str(), shop.fields.value("x-frame-options")), ("shop", Some("DENY")));
    let socket = on("other", "/ws", "");
    assert!(["a1", "a2"].contains(&socket.text().as_str()));
    assert!(!socket.fields.has("x-frame-options"));
    let upgrade = on("other", "/any", "Connection: upgrade\r\nUpgrade: WebSocket\r\n");
    assert_eq!(upgrade.status, 200);
    let none = on("other", "/", "");
    assert_eq!((none.status, none.text().as_str()), (404, "no such site\n"));
    // Two of three go to the heavier one, in turn.
    let counts: Vec<String> = (0..30).map(|_| on("shop.example.com", "/api/", "").text()).collect();
    assert!(counts.iter().filter(|name| *name == "a2").count() >= 18, "{counts:?}");
}

#[test]
fn the_example_of_a_canary_drives_itself() {
    let taking_time = |name: &'static str| {
        Server::http(move |_| {
            thread::sleep(Duration::from_millis(20));
            testkit::ok(name)
        })
    };
    let (stable, candidate) = (taking_time("v1"), taking_time("v2"));
    let tidegate = Start::of(BINARY)
        .set("listeners.web.bind", "127.0.0.1:0")
        .set("admin.bind", "127.0.0.1:0")
        .set("pools.v1.servers.0", stable.address())
        .set("pools.v2.servers.0", candidate.address())
        .file(&example_path("canary.yaml"));
    let forced = |value: &str| ask(&tidegate, &get("/", &format!("X-Canary: {value}\r\n"))).text();
    assert_eq!((forced("always"), forced("never")), ("v2".to_owned(), "v1".to_owned()));
    tidegate.message("canary `checkout` of listener `web`: running at 5%: new");
    let deadline = Instant::now() + PATIENCE;
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = tidegate.client();
                while !tidegate.messages().contains("running at 25%: candidate 0 errors of ") {
                    assert!(Instant::now() < deadline, "{}", tidegate.messages());
                    client.get("/");
                }
            });
        }
    });
}

#[test]
fn the_example_with_sites_works_as_it_stands() {
    let servers = [Server::named("api"), Server::named("shop"), Server::named("docs")];
    let tidegate = Start::of(BINARY)
        .set("listeners.web.bind", "127.0.0.1:0")
        .set("pools.api.servers.0", servers[0].address())
        .set("pools.shop.servers.0", servers[1].address())
        .set("pools.docs.servers.0", servers[2].address())
        .file(&example_path("sites.yaml"));
    let on = |host: &str, target: &str| tidegate.client().ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    for (host, target, wanted) in
        [("shop.example.com", "/api/1", "api"), ("x.shop.example.com", "/", "shop"), ("docs.example.com", "/", "docs")]
    {
        assert_eq!(on(host, target).text(), wanted);
    }
    assert_eq!(on("shop.example.com", "/").fields.value("x-content-type-options"), Some("nosniff"));
    assert_eq!(on("example.com", "/").status, 421);
    assert_eq!(tidegate.ready()["admin"], serde_json::Value::Null);
}

#[test]
fn the_example_of_tls_works_as_it_stands() {
    let (ours, theirs, folder) = (Authority::new(), Authority::new(), Folder::new());
    folder.write("tls.yaml", &example("tls.yaml"));
    folder.write("clients-ca.pem", theirs.pem());
    folder.write("origin-ca.pem", ours.pem());
    ours.issue(&["example.com", "*.example.com"]).write(&folder, "example.com");
    ours.issue(&["other.example"]).write(&folder, "other.example");
    let origin = Server::secured(&ServerTls::new(&ours.issue(&["origin.example.com"])), |peer| {
        while peer.request().is_some() {
            peer.send(ok("origin"));
        }
    });
    let grpc = Backend::named("grpc");
    let websocket = Server::script(|peer| {
        let request = peer.request().expect("a request");
        let answer = websocket_accept(request.fields.value("sec-websocket-key").unwrap_or_default());
        peer.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {answer}\r\n\r\n"
        ));
        peer.hang();
    });
    let tidegate = Start::of(BINARY)
        .set("listeners.secure.bind", "127.0.0.1:0")
        .set("listeners.plain.bind", "127.0.0.1:0")
        .set("pools.grpc.servers.0", grpc.address())
        .set("pools.websocket.servers.0", websocket.address())
        .set("pools.secure-upstream.servers.0", origin.address())
        .file(&folder.path().join("tls.yaml"));
    let secure = tidegate.address("secure");
    let anybody = ClientTls::new(&ours, "www.example.com");
    let on = |tls: &ClientTls, host: &str, target: &str, fields: &str| {
        Client::secured(&secure, tls).ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"))
    };
    let page = on(&anybody, "www.example.com", "/", "");
    assert_eq!(page.text(), "origin");
    assert!(page.fields.value("alt-svc").is_some_and(|said| said.starts_with("h3=")), "{page:?}");
    assert_eq!(on(&ClientTls::new(&ours, "other.example"), "other.example", "/", "").text(), "origin");
    let mut by_h3 = h3::Client::connect(&secure, &anybody).expect("a connection");
    assert_eq!(by_h3.get("www.example.com", "/", &[]).expect("an answer").body, b"origin");
    // Partners show a certificate; a bad one fails the handshake.
    let partner = theirs.issue(&["partner.example"]);
    let known = ClientTls::with(&ours, "www.example.com", &Wishes { shows: Some(&partner), ..Wishes::default() });
    assert_eq!(on(&anybody, "www.example.com", "/partners/a", "").status, 403);
    assert_eq!(on(&known, "www.example.com", "/partners/a", "").text(), "origin");
    // One service of one host, and nothing else there.
    let call = |method: &str| {
        Client::secured(&secure, &anybody).ask(format!(
            "POST {method} HTTP/1.1\r\nHost: grpc.example.com\r\nContent-Type: application/grpc\r\nTE: trailers\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0"
        ))
    };
    assert_eq!(call("/helloworld.Greeter/SayHello").text(), "grpc");
    assert_eq!(grpc.asked()[0].uri, "http://grpc.example.com/helloworld.Greeter/SayHello");
    assert_eq!(on(&anybody, "grpc.example.com", "/", "").status, 404);
    let other = call("/other.Service/Call");
    assert_eq!((other.status, other.fields.value("grpc-status")), (200, Some("12")));
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let upgrade = format!("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {key}\r\n");
    let mut socket = Client::secured(&secure, &anybody);
    socket.send(format!("GET /chat HTTP/1.1\r\nHost: ws.example.com\r\n{upgrade}\r\n"));
    let switched = socket.head();
    assert_eq!((switched.status, switched.fields.value("sec-websocket-accept")), (101, Some(&*websocket_accept(key))));
    let moved = Client::connect(&tidegate.address("plain")).ask("GET /a?b HTTP/1.1\r\nHost: www.example.com\r\n\r\n");
    assert_eq!((moved.status, moved.fields.value("location")), (308, Some("https://www.example.com:8443/a?b")));
}

#[test]
fn the_example_of_layer_4_does_what_its_comments_say() {
    let desk = Desk::new();
    let mail = ["first", "second"].map(|name| {
        Server::script(move |peer| {
            // The PROXY protocol, version 2: a signature, what it is, and the length of what follows.
            let Ok(head) = peer.reader.exactly(16) else { return };
            // Checks of health come from the proxy itself.
            if head == b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0" {
                return;
            }
            assert!(head.starts_with(b"\r\n\r\n\0\r\nQUIT\n\x21\x11"), "{head:?}");
            peer.reader.exactly(usize::from(u16::from_be_bytes([head[14], head[15]]))).expect("addresses");
            peer.send(name);
            let _ = peer.rest();
        })
    });
    let secured = |name: &'static str, host: &str| {
        Server::secured(&ServerTls::new(&desk.issue(name, &[host])), move |peer| peer.send(name))
    };
    let tls = [secured("a", "a.example.com"), secured("b", "b.example.com"), secured("rest", "other.test")];
    let wide = Server::script(|peer| {
        let heard = peer.rest().expect("an end");
        peer.send(heard);
    });
    let names = [Answering::named("one"), Answering::named("two")];
    let mut text = format!("admin: 127.0.0.1:0\n{}", example("l4.yaml"));
    let mut replace = |what: &str, by: &str| {
        assert!(text.contains(what), "the example has changed: {what} is gone");
        text = text.replace(what, by);
    };
    for port in ["15432", "18443", "17000", "10053"] {
        replace(&format!("bind: 127.0.0.1:{port}"), "bind: 127.0.0.1:0");
    }
    let servers =
        mail.iter().chain(&tls).chain([&wide]).map(Server::address).chain(names.iter().map(Answering::address));
    let ports = ["9101", "9102", "9201", "9202", "9203", "9301", "9401", "9402"];
    for (port, server) in ports.into_iter().zip(servers.map(str::to_owned).collect::<Vec<_>>()) {
        replace(&format!("127.0.0.1:{port}"), &server);
    }
    let tidegate = Start::of(BINARY).text(&text);
    // The same client stays on the same server.
    let greeted = || {
        let mut name = [0; 5];
        let mut socket = Socket::connect(&tidegate.address("mail")).expect("a connection");
        socket.read_exact(&mut name).expect("a name");
        name
    };
    let first = greeted();
    assert!((0..5).all(|_| greeted() == first), "{first:?}");
    // The name decides, and nobody here decrypts.
    for (host, server) in [("a.example.com", "a"), ("b.example.com", "b"), ("other.test", "rest")] {
        let socket = Socket::connect(&tidegate.address("passthrough")).expect("a connection");
        let mut socket = socket.secure(&desk.tls().named(host)).expect("a handshake with the server itself");
        let mut name = vec![0; server.len()];
        socket.read_exact(&mut name).expect("its name");
        assert_eq!(name, server.as_bytes());
    }
    let mut nameless = Socket::connect(&tidegate.address("passthrough")).expect("a connection");
    nameless.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    let mut heard = Vec::new();
    assert!(nameless.read_to_end(&mut heard).is_ok_and(|length| length == 0), "closed without a word: {heard:?}");
    let mut narrow = Socket::connect(&tidegate.address("narrow")).expect("a connection");
    (0..300).for_each(|_| narrow.write_all(b"small").expect("sent"));
    narrow.finish();
    narrow.read_to_end(&mut heard).expect("an answer");
    assert_eq!(heard, b"small".repeat(300));
    // By the client's address, whichever port it comes from.
    let dns = tidegate.address("dns");
    let of = |octet: u8| Asking::from([127, 0, 0, octet].into(), &dns).ask("x");
    let heard: Vec<String> = (1..20).map(of).collect();
    assert_eq!(heard, (1..20).map(of).collect::<Vec<_>>());
    assert!(heard.contains(&"one x".to_owned()) && heard.contains(&"two x".to_owned()), "{heard:?}");
}

#[test]
fn the_examples_of_what_is_to_come_are_refused_by_name() {
    for name in fs::read_dir(example_path("")).expect("examples").map(|entry| entry.expect("an entry").file_name()) {
        let name = name.to_string_lossy().into_owned();
        // Those of flows and packets are shown in `udp`, `tcp` and `nat`, those of forward proxies in `forward::together`.
        if !name.ends_with(".yaml")
            || ["l4.yaml", "nat.yaml", "forward.yaml", "all-roles.yaml", "sidecar.yaml"].contains(&name.as_str())
            || ["basic.yaml", "canary.yaml", "reverse.yaml", "sites.yaml", "tls.yaml"].contains(&name.as_str())
        {
            continue;
        }
        let (code, said) = failure_of(BINARY, &example(&name));
        assert_eq!(code, Some(2), "{name}");
        assert!(
            said.contains("planned") || said.contains("not there yet") || said.contains("to come"),
            "{name}:\n{said}"
        );
    }
}

/// The examples as they stand in the repository.
fn example(name: &str) -> String {
    fs::read_to_string(example_path(name)).expect("an example")
}

/// The reverse proxy of the examples, whole.
fn reverse(servers: [&Server; 3]) -> Tidegate {
    let mut text = example("reverse.yaml");
    let mut replace = |what: &str, by: &str| {
        assert!(text.contains(what), "the example has changed: {what} is gone");
        text = text.replace(what, by);
    };
    // Who is sent where is for the tests of canaries to say.
    replace("share: 10%, sticky: cookie", "share: 0%");
    replace("127.0.0.1:9900", "127.0.0.1:0");
    replace("127.0.0.1:8080", "127.0.0.1:0");
    for (port, server) in ["127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"].into_iter().zip(servers) {
        replace(port, server.address());
    }
    Start::of(BINARY).text(&text)
}

#[test]
fn the_reverse_proxy_of_the_examples_does_what_its_comments_say() {
    let named = |name: &'static str| {
        Server::http(move |request| {
            let body = format!("{name} {} {}", request.target, request.fields.value("x-served-by").unwrap_or("-"));
            format!("HTTP/1.1 200 OK\r\nServer: app\r\nX-Powered-By: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .into_bytes()
        })
    };
    let (api, api2, next) = (named("api"), named("api"), named("next"));
    let tidegate = reverse([&api, &api2, &next]);
    let gold = r#"POST /orders | Content-Type: application/json ||{"customer":{"tier":"gold"}}"#;
    let iron = r#"POST /orders | Content-Type: application/json ||{"customer":{"tier":"iron"}}"#;
    for (asked, wanted) in [
        ("/v1/a | Host: api.example.com", "api /v1/a -"),
        ("/v1/a", "api /v1/a tidegate"),
        ("/beta/x | X-Beta: 1", "next /beta/x -"),
        ("/beta/x | X-Beta: 2", "api /beta/x tidegate"),
        ("/beta/x | Cookie: ring=dev", "next /beta/x -"),
        ("/search?engine=next", "next /search?engine=next -"),
        ("/search?engine=old", "api /search?engine=old tidegate"),
        (gold, "next /orders -"),
        (iron, "api /orders tidegate"),
        ("/healthz", "ok\n"),
        ("/u/12", "api /users/12 -"),
        ("/u/x", "api /u/x tidegate"),
        ("/internal/x | X-Forwarded-For: 10.1.2.3", "api /internal/x tidegate"),
    ] {
        assert_eq!(ask(&tidegate, &request(asked)).text(), wanted, "{asked}");
    }
    for asked in ["/internal/x", "/internal", "/internal/x | X-Forwarded-For: 10.1.2.3, 11.0.0.1"] {
        assert_eq!(ask(&tidegate, &request(asked)).status, 403, "{asked}");
    }
    let response = ask(&tidegate, &request("/old/page?x=1"));
    assert_eq!((response.status, response.fields.value("location")), (308, Some("/v1/page?x=1")));
    let response = ask(&tidegate, &request("/anything"));
    assert!(!response.fields.has("server") && !response.fields.has("x-powered-by"), "{response:?}");
    assert_eq!(tidegate.log_of("/anything")["route"], "everything-else");
}

#[test]
fn the_readme_says_what_its_mistakes_are_told() {
    let readme = fs::read_to_string(example_path("../README.md")).expect("the README");
    let block = |after: &str, kind: &str| {
        let rest = readme.split_once(after).expect(after).1.split_once(kind).expect(kind).1;
        rest.split_once("\n```").expect("an end").0.to_owned()
    };
    let tour = block("tour.yaml", "```yaml\n");
    let broken = tour.replacen("round_robin", "round-robin", 1).replacen("respond:", "respons:", 1);
    let folder = Folder::new();
    folder.write("tour.yaml", &broken);
    let said =
        Command::new(BINARY).args(["check", "tour.yaml"]).current_dir(folder.path()).output().expect("a process");
    assert_eq!(said.status.code(), Some(2));
    let mut shown = block("**Break it.**", "```text\n");
    let reload = shown.split_off(shown.rfind("\nerror reload refused").expect("the last line"));
    assert!(reload.ends_with("generation 2 stays in force"), "{reload}");
    let said: Vec<String> = String::from_utf8_lossy(&said.stderr).lines().map(|line| format!("error {line}")).collect();
    assert_eq!(said.join("\n"), shown);
}
