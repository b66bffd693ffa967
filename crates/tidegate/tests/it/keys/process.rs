//! The keys of the document, of logs, administration, names and the process's end.

use std::net::Ipv4Addr;

use testkit::{Folder, Names, Server, Start, Tidegate, ok};

use super::Case;
use crate::support::{BINARY, PLAIN, ask, get, post, start};

pub(super) const CASES: &[Case] = &[
    (&["include"], include),
    (&["workers"], workers),
    (&["state"], state),
    (&["splice"], splice),
    (&["access_log", "access_log.to"], access_log_elsewhere),
    (&["access_log.to"], no_access_log),
    (&["access_log.format"], access_log_combined),
    (&["admin", "admin.bind"], admin),
    (&["shutdown", "shutdown.delay"], delay),
    (&["shutdown", "shutdown.drain"], drain),
    (&["dns", "dns.servers"], resolvers),
    (&["dns", "dns.hosts"], fixed_names),
    (&["defaults", "defaults.pool"], defaults_of_pools),
    (&["defaults", "defaults.listener"], defaults_of_listeners),
    (&["defaults", "defaults.route"], defaults_of_routes),
];

/// A listener that answers by itself, with a line of the document before it.
fn alone(line: &str) -> String {
    format!("{line}\nlisteners: {{ web: {{ bind: 127.0.0.1:0, respond: 200 }} }}\n")
}

fn include() {
    let folder = Folder::new();
    folder.write("more.yaml", "listeners: { web: { bind: 127.0.0.1:0, respond: 204 } }\n");
    let file = folder.write("tidegate.yaml", "include: more.yaml\n");
    let tidegate = Start::of(BINARY).file(&file);
    assert_eq!(tidegate.client().get("/").status, 204);
}

fn workers() {
    for count in [1, 3] {
        let tidegate = start(&alone(&format!("workers: {count}")), &[]);
        assert_eq!(tidegate.ready()["workers"], count);
        // One sample for each that runs.
        assert_eq!(tidegate.metric("tidegate_worker_slow_turns_total", &[]).len(), count);
    }
}

/// Files that are written stand in the folder.
fn state() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("var")).expect("a folder");
    let document = "state: var\naccess_log: access.log\nadmin: \"unix:admin.sock\"\n";
    let file = folder.write("tidegate.yaml", &alone(document));
    let tidegate = Start::of(BINARY).file(&file);
    let there = |name: &str| folder.path().join("var").join(name).exists();
    assert!(there("access.log") && there("admin.sock"));
    assert_eq!(tidegate.client().get("/").status, 200);
}

/// Large bodies go through pipes only if they may.
fn splice() {
    let server = Server::http(|_| ok([b'x'; 1 << 20]));
    for (splice, through_pipes) in [(true, true), (false, false)] {
        let text = format!("splice: {splice}\n{PLAIN}");
        let tidegate = start(&text, &[("APP", &server)]);
        assert_eq!(tidegate.client().get("/").body.len(), 1 << 20);
        let spliced: f64 = tidegate.metric("tidegate_spliced_bytes_total", &[]).iter().sum();
        assert_eq!(spliced > 0.0, through_pipes, "splice: {splice}");
    }
}

fn access_log_elsewhere() {
    let tidegate = start(&alone("access_log: stderr"), &[]);
    tidegate.client().get("/seen");
    tidegate.message("\"path\":\"/seen\"");
    let mut tidegate = start(&alone("access_log: { to: access.log }"), &[]);
    tidegate.client().get("/seen");
    end(&mut tidegate);
    assert_eq!(tidegate.log(), Vec::<serde_json::Value>::new());
    let written = std::fs::read_to_string(tidegate.folder.path().join("access.log")).expect("a file");
    assert!(written.contains("\"path\":\"/seen\""), "{written}");
}

fn no_access_log() {
    let mut tidegate = start(&alone("access_log: off"), &[]);
    tidegate.client().get("/unseen");
    end(&mut tidegate);
    assert_eq!(tidegate.log(), Vec::<serde_json::Value>::new());
}

fn access_log_combined() {
    let tidegate = start(&alone("access_log: { to: stderr, format: combined }"), &[]);
    tidegate.client().ask(get("/seen?q", "User-Agent: tester\r\n"));
    let line = tidegate.message("GET /seen");
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.ends_with("\"GET /seen?q HTTP/1.1\" 200 - \"-\" \"tester\""), "{line}");
}

fn admin() {
    let tidegate = start(&alone(""), &[]);
    assert_eq!(tidegate.admin("/healthz").status, 200);
    let tidegate = start(&alone("admin: { bind: \"unix:admin.sock\" }"), &[]);
    let socket = format!("unix:{}", tidegate.folder.path().join("admin.sock").display());
    let mut client = testkit::Client::connect(&socket);
    assert_eq!(client.ask("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    let without = Start::of(BINARY).text(&alone(""));
    assert!(without.ready()["admin"].is_null(), "{}", without.ready());
}

/// Connections are accepted all the while.
fn delay() {
    let mut tidegate = start(&alone("shutdown: { delay: 1h }"), &[]);
    tidegate.terminate();
    tidegate.message("draining");
    assert_eq!(tidegate.admin("/readyz").status, 503);
    // Without the delay the listeners would be closed long before the last of these.
    for _ in 0..100 {
        assert_eq!(tidegate.client().get("/").status, 200);
    }
    // Who cannot wait asks again.
    tidegate.terminate();
    tidegate.wait();
}

/// What is under way is cut when the time is over; by itself it would go on for longer than a test waits.
fn drain() {
    let server = Server::script(testkit::Peer::hang);
    let text =
        "shutdown: { drain: 100ms }\nlisteners: { web: { bind: 127.0.0.1:0, to: app } }\npools: { app: [@APP] }\n";
    let mut tidegate = start(text, &[("APP", &server)]);
    let mut client = tidegate.client();
    client.send(get("/", ""));
    server.until_connections(1);
    end(&mut tidegate);
    tidegate.message("1 connections were cut");
}

fn resolvers() {
    let server = Server::named("app");
    let names = Names::start(&[Ipv4Addr::LOCALHOST], 60);
    let text = format!("dns: {{ servers: \"{}\" }}\n{}", names.address(), by_name(&server));
    assert_eq!(start(&text, &[]).client().get("/").text(), "app");
    assert!(names.asked() > 0);
}

fn fixed_names() {
    let server = Server::named("app");
    // A server that knows better would lead elsewhere.
    let names = Names::start(&[Ipv4Addr::new(127, 0, 0, 99)], 60);
    let hosts = "hosts: { app.example: 127.0.0.1 }";
    let text = format!("dns: {{ servers: \"{}\", {hosts} }}\n{}", names.address(), by_name(&server));
    assert_eq!(start(&text, &[]).client().get("/").text(), "app");
    assert_eq!(names.asked(), 0);
}

fn by_name(server: &Server) -> String {
    let port = server.port();
    format!("listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: [\"app.example:{port}\"] }}\n")
}

fn defaults_of_pools() {
    let server = Server::named("app");
    let text = "defaults: { pool: { host: of.the.pool } }\nlisteners: { web: { bind: 127.0.0.1:0, to: app } }\n\
                pools: { app: [@APP] }\n";
    let tidegate = start(text, &[("APP", &server)]);
    ask(&tidegate, &get("/", ""));
    assert_eq!(server.request().fields.value("host"), Some("of.the.pool"));
}

fn defaults_of_listeners() {
    let tidegate = start(&alone("defaults: { listener: { limits: { request_line: 64B } } }"), &[]);
    let (status, fault) = (tidegate.client().get(&format!("/{}", "a".repeat(64))).status, "line_too_long");
    assert_eq!(status, 414);
    tidegate.log_line("a refused request", |line| line["fault"] == fault);
}

fn defaults_of_routes() {
    let server = Server::echo();
    let text = "defaults: { route: { limits: { request_body: 4B } } }\n\
                listeners: { web: { bind: 127.0.0.1:0, routes: [{ to: app }] } }\npools: { app: [@APP] }\n";
    let tidegate = start(text, &[("APP", &server)]);
    assert_eq!(ask(&tidegate, &post("/", "12345")).status, 413);
}

fn end(tidegate: &mut Tidegate) {
    tidegate.terminate();
    tidegate.wait();
}
