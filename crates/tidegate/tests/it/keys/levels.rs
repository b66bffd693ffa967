//! Timeouts, retries and limits, at each level that has them: listener, site, route and pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use testkit::{Broken, Hanging, Server, Signal, Tidegate, ok};

use super::{Case, fate, fault};
use crate::support::{get, post, start, until_waiting};

pub(super) const CASES: &[Case] = &[
    (
        &[
            "sites.*.timeouts",
            "pools.*.timeouts",
            "listeners.*.routes.*.timeouts",
            "listeners.*.timeouts.request_body",
            "sites.*.timeouts.request_body",
            "pools.*.timeouts.request_body",
        ],
        request_body_gap,
    ),
    (&["listeners.*.timeouts.connect", "sites.*.timeouts.connect", "pools.*.timeouts.connect"], connect),
    (&["listeners.*.timeouts.queue", "sites.*.timeouts.queue", "pools.*.queue", "pools.*.queue.timeout"], queue),
    (&["listeners.*.timeouts.response", "sites.*.timeouts.response", "pools.*.timeouts.response"], response),
    (&["listeners.*.timeouts.stream", "sites.*.timeouts.stream", "pools.*.timeouts.stream"], stream),
    (&["listeners.*.timeouts.total", "sites.*.timeouts.total", "pools.*.timeouts.total"], total),
    (&["listeners.*.timeouts.try", "sites.*.timeouts.try", "pools.*.timeouts.try"], per_try),
    (&["listeners.*.timeouts.tunnel", "sites.*.timeouts.tunnel", "pools.*.timeouts.tunnel"], tunnel),
    (
        &[
            "listeners.*.retries",
            "sites.*.retries",
            "pools.*.retries",
            "listeners.*.routes.*.retries",
            "listeners.*.retries.extra",
            "sites.*.retries.extra",
            "listeners.*.retries.if",
            "sites.*.retries.if",
        ],
        retries,
    ),
    (
        &[
            "listeners.*.retries.backoff",
            "listeners.*.retries.backoff.base",
            "listeners.*.retries.backoff.max",
            "sites.*.retries.backoff",
        ],
        backoff,
    ),
    (&["listeners.*.retries.budget", "sites.*.retries.budget"], budget),
    (
        &[
            "listeners.*.retries.hedge",
            "listeners.*.retries.hedge.after",
            "listeners.*.retries.hedge.extra",
            "sites.*.retries.hedge",
        ],
        hedge,
    ),
    (&["listeners.*.routes.*.priority", "sites.*.priority"], priority),
    (
        &[
            "sites.*.limits",
            "pools.*.limits",
            "listeners.*.routes.*.limits",
            "listeners.*.limits.request_body",
            "sites.*.limits.request_body",
        ],
        body_bytes,
    ),
];

/// A place where the nearest level is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Level {
    Listener,
    Site,
    Route,
    Pool,
}

const LEVELS: [Level; 4] = [Level::Listener, Level::Site, Level::Route, Level::Pool];

/// Starts the program with these keys at one level, in front of a pool of one server.
fn at(level: Level, keys: &str, server: &str) -> Tidegate {
    let here = |wanted: Level| if level == wanted { format!(", {keys}") } else { String::new() };
    let (listener, route, pool) = (here(Level::Listener), here(Level::Route), here(Level::Pool));
    let web = match level {
        Level::Site => format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:0 }} }}\nsites: {{ all: {{ hosts: default, listeners: web, to: app, {keys} }} }}"
        ),
        _ => format!("listeners: {{ web: {{ bind: 127.0.0.1:0, routes: [{{ to: app{route} }}]{listener} }} }}"),
    };
    start(&format!("{web}\npools: {{ app: {{ servers: [{server}]{pool} }} }}\n"), &[])
}

/// A server that takes connections and never answers.
fn silent() -> Server {
    Server::script(testkit::Peer::hang)
}

// Where the default is longer than a test waits, an ignored key shows by itself. Where it is not, another timeout,
// which is shorter than the default, would come first.

fn request_body_gap() {
    for level in LEVELS {
        let server = silent();
        let tidegate = at(level, "timeouts: { request_body: 100ms }", server.address());
        let response = tidegate.client().ask("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
        assert_eq!((response.status, fault(&tidegate, "/a").as_str()), (408, "body_timeout"), "{level:?}");
    }
}

fn connect() {
    for level in LEVELS {
        let hanging = Hanging::new();
        let tidegate = at(level, "timeouts: { connect: 100ms, total: 3s }", hanging.address());
        assert_eq!(fate(&tidegate, "/a"), (504, "connect_timeout".to_owned()), "{level:?}");
    }
}

fn queue() {
    for level in LEVELS {
        let server = silent();
        let keys = match level {
            Level::Pool => "queue: { timeout: 100ms }, timeouts: { total: 3s }",
            _ => "timeouts: { queue: 100ms, total: 3s }",
        };
        let one = format!("{{ address: \"{}\", max_connections: 1 }}", server.address());
        let tidegate = at(level, keys, &one);
        let mut first = tidegate.client();
        first.send(get("/first", ""));
        server.until_connections(1);
        assert_eq!(fate(&tidegate, "/a"), (503, "queue_timeout".to_owned()), "{level:?}");
    }
}

fn response() {
    for level in LEVELS {
        let server = silent();
        let tidegate = at(level, "timeouts: { response: 100ms }", server.address());
        assert_eq!(fate(&tidegate, "/a"), (504, "response_timeout".to_owned()), "{level:?}");
    }
}

fn stream() {
    for level in LEVELS {
        let server = Server::script(|peer| {
            peer.request();
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
            peer.hang();
        });
        let tidegate = at(level, "timeouts: { stream: 100ms }", server.address());
        let mut client = tidegate.client();
        client.send(get("/a", ""));
        assert!(matches!(client.try_response(), Err(Broken::Cut | Broken::Reset)), "{level:?}");
        assert_eq!(fault(&tidegate, "/a"), "stream_timeout", "{level:?}");
    }
}

/// It ends every part of a request's way: the connect, the queue, the wait and the response.
fn total() {
    for level in LEVELS {
        let server = silent();
        let tidegate = at(level, "timeouts: { total: 200ms }", server.address());
        assert_eq!(fate(&tidegate, "/a"), (504, "total_timeout".to_owned()), "{level:?}");
    }
    let hanging = Hanging::new();
    let tidegate = at(Level::Route, "timeouts: { total: 200ms, connect: 1h }", hanging.address());
    assert_eq!(fate(&tidegate, "/a"), (504, "total_timeout".to_owned()));
    let server = silent();
    let one = format!("{{ address: \"{}\", max_connections: 1 }}", server.address());
    let tidegate = at(Level::Route, "timeouts: { total: 200ms, queue: 1h }", &one);
    let mut first = tidegate.client();
    first.send(get("/first", ""));
    assert_eq!(fate(&tidegate, "/a"), (504, "total_timeout".to_owned()));
}

fn per_try() {
    for level in LEVELS {
        let server = silent();
        let tidegate = at(level, "timeouts: { try: 100ms, total: 3s }", server.address());
        assert_eq!(fate(&tidegate, "/a"), (504, "response_timeout".to_owned()), "{level:?}");
    }
}

fn tunnel() {
    for level in LEVELS {
        let server = Server::script(|peer| {
            peer.request();
            peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
            peer.hang();
        });
        let tidegate = at(level, "timeouts: { tunnel: 100ms }", server.address());
        let mut client = tidegate.client();
        client.send(get("/a", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
        assert_eq!(client.head().status, 101);
        assert_ne!(client.ending(), testkit::Ending::Open, "{level:?}");
        assert_eq!(fault(&tidegate, "/a"), "tunnel_timeout", "{level:?}");
    }
}

/// Two tries fail in a way that is no reason for another by default; the third is one more than the default.
fn retries() {
    for level in LEVELS {
        let server = Server::script(|peer| {
            peer.request();
            if peer.number == 2 {
                peer.send(ok("third"));
            }
        });
        let tidegate = at(level, "retries: { extra: 2, if: reset }", server.address());
        let response = tidegate.client().get("/a");
        assert_eq!((response.status, response.text().as_str()), (200, "third"), "{level:?}");
        assert_eq!(tidegate.log_of("/a")["tries"], 3, "{level:?}");
    }
}

/// A wait that would end after the request's time is not begun: then there is no second try.
fn backoff() {
    for level in LEVELS {
        for (backoff, tries) in [("1h", 1), ("{ base: 1h }", 1), ("{ base: 1h, max: 1ms }", 2)] {
            let server = Server::script(|peer| drop(peer.request()));
            let keys = format!("retries: {{ if: reset, backoff: {backoff} }}, timeouts: {{ total: 500ms }}");
            let tidegate = at(level, &keys, server.address());
            assert_eq!(fate(&tidegate, "/a"), (502, "reset".to_owned()), "{level:?}: {backoff}");
            assert_eq!(tidegate.log_of("/a")["tries"], tries, "{level:?}: {backoff}");
        }
    }
}

/// The last of so many servers answers, and the others never do.
fn hedge() {
    for level in LEVELS {
        for (hedge, asked) in [("20ms", 2), ("{ after: 20ms, extra: 2 }", 3)] {
            let count = Arc::new(AtomicUsize::new(0));
            let server = || {
                let count = Arc::clone(&count);
                Server::script(move |peer| {
                    peer.request();
                    if count.fetch_add(1, Ordering::SeqCst) + 1 == asked {
                        peer.send(ok("late"));
                    }
                    peer.hang();
                })
            };
            let servers = [server(), server(), server()];
            let addresses = servers.each_ref().map(Server::address).join(", ");
            let keys = format!("retries: {{ extra: 0, hedge: {hedge} }}, timeouts: {{ total: 10s }}");
            let tidegate = at(level, &keys, &addresses);
            assert_eq!(tidegate.client().get("/a").text(), "late", "{level:?}: {hedge}");
            assert_eq!(tidegate.log_of("/a")["tries"], asked, "{level:?}: {hedge}");
        }
    }
}

/// The last that came is the first that is served, for it is of a higher class; so it is that the first waits, too.
fn priority() {
    for level in [Level::Route, Level::Site] {
        let go_on = Signal::new();
        let waits = go_on.clone();
        let server = Server::http(move |request| {
            if request.target == "/held" {
                waits.wait();
            }
            ok("")
        });
        let one = |priority: &str| format!("{{ match: {{ path: /{priority} }}, to: app, priority: {priority} }}");
        let routes = format!("routes: [{}, {}, {{ to: app }}]", one("high"), one("low"));
        let web = match level {
            Level::Site => "listeners: { web: { bind: 127.0.0.1:0 } }
sites:
  some: { hosts: [high], listeners: web, to: app, priority: high }
  others: { hosts: default, listeners: web, to: app, priority: low }"
                .to_owned(),
            _ => format!("listeners: {{ web: {{ bind: 127.0.0.1:0, {routes} }} }}"),
        };
        let text = format!("{web}\npools: {{ app: {{ servers: [{{ address: '@APP', max_connections: 1 }}] }} }}\n");
        let tidegate = start(&text, &[("APP", &server)]);
        let mut held = tidegate.client();
        held.send(get("/held", ""));
        server.until_connections(1);
        let mut clients = Vec::new();
        for (number, target) in ["low", "high"].into_iter().enumerate() {
            let mut client = tidegate.client();
            client.send(format!("GET /{target} HTTP/1.1\r\nHost: {target}\r\n\r\n"));
            until_waiting(&tidegate, number + 1);
            clients.push(client);
        }
        go_on.raise();
        clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
        let order: Vec<String> = server.requests().into_iter().map(|request| request.target).collect();
        assert_eq!(order, ["/held", "/high", "/low"], "{level:?}");
    }
}

/// Without a share there are ten further tries in ten seconds.
fn budget() {
    for level in LEVELS {
        let server = Server::http(|_| b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec());
        let tidegate = at(level, "retries: { extra: 1, if: 503, budget: 0% }", server.address());
        let mut client = tidegate.client();
        for _ in 0..20 {
            assert_eq!(client.get("/a").status, 503);
        }
        // A slow run may see a second window.
        assert!((30..40).contains(&server.requests().len()), "{level:?}: {}", server.requests().len());
    }
}

fn body_bytes() {
    for level in LEVELS {
        let server = Server::echo();
        let tidegate = at(level, "limits: { request_body: 4B }", server.address());
        assert_eq!(tidegate.client().ask(post("/a", "1234")).status, 200, "{level:?}");
        assert_eq!(tidegate.client().ask(post("/b", "12345")).status, 413, "{level:?}");
        assert_eq!(fault(&tidegate, "/b"), "body_too_large", "{level:?}");
    }
}
