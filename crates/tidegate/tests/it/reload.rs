//! Another configuration takes over while the program serves, and nobody notices but by what it says.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use testkit::{Client, Ending, Reloaded, Server, Signal, Tidegate, ok};

use crate::support::{PLAIN, ask, assert_serves, config, get, start};

/// A listener that answers by itself.
fn answering(body: &str) -> String {
    config(&format!("listeners: {{ web: {{ bind: 127.0.0.1:0, respond: {{ body: {body} }} }} }}\n"), &[])
}

#[test]
fn a_reload_holds_for_the_next_request_of_an_open_connection() {
    let tidegate = start(&answering("old"), &[]);
    let mut client = tidegate.client();
    assert_eq!(client.get("/").text(), "old");
    assert_eq!(tidegate.reload(&answering("new")), Reloaded::Yes);
    assert_eq!(client.get("/").text(), "new");
    assert_eq!(tidegate.client().get("/").text(), "new");
}

#[test]
fn a_request_ends_by_the_configuration_that_it_began_with() {
    let let_go = Signal::new();
    let held = let_go.clone();
    let server = Server::http(move |_| {
        held.wait();
        ok("")
    });
    let text = |stamp: &str| {
        let text = format!("{PLAIN}defaults: {{ listener: {{ timeouts: {{ keep_alive: 20s }} }} }}\n").replace(
            "to: app",
            &format!("to: app, use: [{{ headers: {{ response: {{ set: {{ x-stamp: {stamp} }} }} }} }}]"),
        );
        config(&text, &[("APP", &server)])
    };
    let tidegate = start(&text("old"), &[]);
    let mut client = tidegate.client();
    client.send(get("/", ""));
    server.until_connections(1);
    assert_eq!(tidegate.reload(&text("new")), Reloaded::Yes);
    let_go.raise();
    assert_eq!(client.response().fields.value("x-stamp"), Some("old"));
    assert_eq!(client.get("/").fields.value("x-stamp"), Some("new"));
}

#[test]
fn a_bad_configuration_is_refused_whole_and_the_old_one_stays() {
    let tidegate = start(&answering("old"), &[]);
    let bad = "listeners: { web: { bind: 127.0.0.1:0, respond: { body: new }, tpyo: 1 }, more: { bind: nonsense, respond: 200 } }\n";
    let Reloaded::No(said) = tidegate.reload(&config(bad, &[])) else { panic!("it was accepted") };
    assert!(said.contains("tpyo") && said.contains("nonsense"), "{said}");
    assert_eq!(ask(&tidegate, &get("/", "")).text(), "old");
    assert_eq!(tidegate.metric("tidegate_config_reloads_total", &["failed"]), [1.0]);
    // What is well again is taken.
    assert_eq!(tidegate.reload(&answering("new")), Reloaded::Yes);
    assert_eq!(ask(&tidegate, &get("/", "")).text(), "new");
}

#[test]
fn an_address_that_cannot_be_bound_refuses_the_whole_reload() {
    let tidegate = start(&answering("old"), &[]);
    let taken = Server::named("other");
    let text = format!(
        "listeners:\n  web: {{ bind: 127.0.0.1:0, respond: {{ body: new }} }}\n  more: {{ bind: '{}', respond: 200 }}\n",
        taken.address()
    );
    let Reloaded::No(said) = tidegate.reload(&config(&text, &[])) else { panic!("it was accepted") };
    assert!(said.contains(taken.address()), "{said}");
    assert_eq!(ask(&tidegate, &get("/", "")).text(), "old");
}

#[test]
fn listeners_come_and_go() {
    let tidegate = start(&answering("web"), &[]);
    let path = tidegate.folder.path().join("more.sock");
    let more = format!("unix:{}", path.display());
    assert!(Client::try_connect(&more).is_none());
    let both = config(
        &format!(
            "listeners:\n  web: {{ bind: 127.0.0.1:0, respond: {{ body: web }} }}\n  more: {{ bind: '{more}', respond: {{ body: more }} }}\n"
        ),
        &[],
    );
    let mut before = tidegate.client();
    assert_eq!(before.get("/").text(), "web");
    assert_eq!(tidegate.reload(&both), Reloaded::Yes);
    let mut second = Client::connect(&more);
    assert_eq!(second.get("/").text(), "more");
    assert_serves(&mut before);

    // The first listener goes: its connections are told with their next response, and nobody can connect any more.
    let address = tidegate.address("web");
    let rest = config(&format!("listeners:\n  more: {{ bind: '{more}', respond: {{ body: more }} }}\n"), &[]);
    assert_eq!(tidegate.reload(&rest), Reloaded::Yes);
    let last = before.get("/");
    assert_eq!((last.text().as_str(), last.fields.value("connection")), ("web", Some("close")));
    assert_eq!(before.ending(), Ending::Clean);
    assert_serves(&mut second);
    // Each worker closes its socket in its own time.
    let gone = (0..2000).any(|_| match Client::try_connect(&address) {
        None => true,
        Some(mut client) => {
            client.try_send(get("/", ""));
            drop(client.try_response());
            false
        }
    });
    assert!(gone, "the removed listener still accepts");

    // Its socket file goes with a listener.
    assert_eq!(tidegate.reload(&answering("web")), Reloaded::Yes);
    assert!(!path.exists());
}

#[test]
fn a_changed_file_is_noticed_without_a_signal() {
    let tidegate = start(&answering("old"), &[]);
    tidegate.folder.replace("tidegate.yaml", &answering("new"));
    tidegate.message("reloaded (file changed)");
    assert_eq!(ask(&tidegate, &get("/", "")).text(), "new");
}

#[test]
fn connections_to_servers_outlive_a_reload_and_those_to_removed_ones_do_not() {
    let (kept, removed) = (Server::named("kept"), Server::named("removed"));
    let text = |pool: &str| {
        config(
            &format!(
                "workers: 1\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ servers: {{ {pool} }}, balance: round_robin }} }}\n"
            ),
            &[("KEPT", &kept), ("REMOVED", &removed)],
        )
    };
    let tidegate = start(&text("a: '@KEPT', b: '@REMOVED'"), &[]);
    let mut client = tidegate.client();
    for _ in 0..4 {
        client.get("/");
    }
    assert_eq!(tidegate.reload(&text("a: { address: '@KEPT', weight: 3 }")), Reloaded::Yes);
    removed.until_idle();
    for _ in 0..4 {
        assert_eq!(client.get("/").text(), "kept");
    }
    assert_eq!(kept.connections(), 1);
}

/// Clients that ask without pause, half of them on a new connection each time, while `work` is done. Answers how many requests
/// there were, of which none may fail.
pub(crate) fn under_load(tidegate: &Tidegate, work: impl FnOnce()) -> usize {
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = tidegate.address("web");
    thread::scope(|scope| {
        for number in 0..6 {
            let (over, asked, address) = (&over, &asked, &address);
            scope.spawn(move || {
                let mut client = Client::connect(address);
                while !over.load(Ordering::Relaxed) {
                    if number % 2 == 0 {
                        client = Client::connect(address);
                    }
                    let response = client.get("/");
                    assert_eq!(response.status, 200, "request {}", asked.load(Ordering::Relaxed));
                    asked.fetch_add(1, Ordering::Relaxed);
                    if response.fields.value("connection") == Some("close") {
                        client = Client::connect(address);
                    }
                }
            });
        }
        work();
        over.store(true, Ordering::Relaxed);
    });
    asked.into_inner()
}

#[test]
fn no_request_fails_while_everything_is_reloaded() {
    let servers = [Server::named("one"), Server::named("two")];
    let text = |number: usize| {
        // Routes, policies, pools and servers change each time; the listener stays.
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:0, routes: [{{ match: {{ path: '/{number}' }}, respond: 200 }}, {{ to: app{number}, use: [{{ headers: {{ response: {{ set: {{ x-n: '{number}' }} }} }} }}] }}] }} }}\n\
             pools: {{ app{number}: ['@S{}'] }}\n",
            number % 2
        );
        config(&text, &[("S0", &servers[0]), ("S1", &servers[1])])
    };
    let tidegate = start(&text(0), &[]);
    let asked = under_load(&tidegate, || {
        for number in 1..=60 {
            assert_eq!(tidegate.reload(&text(number)), Reloaded::Yes);
        }
    });
    assert!(asked > 60, "only {asked} requests in 60 reloads");
    assert!(servers.iter().all(|server| server.connections() > 0));
    assert_eq!(tidegate.metric("tidegate_config_generation", &[]), [61.0]);
    // Nothing of it has held up a worker for long; that every worker has worked shows that somebody measured.
    let longest = tidegate.metric("tidegate_worker_longest_turn_seconds", &[]);
    assert!(longest.len() == 2 && longest.iter().all(|turn| (0.000_001..2.0).contains(turn)), "{longest:?}");
}

#[test]
fn a_hundred_reloads_under_a_thousand_websockets_leave_memory_flat() {
    const TUNNELS: usize = 1000;
    let server = Server::script(|peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
            while let Ok(byte) = peer.reader.exactly(1) {
                peer.send(byte);
            }
        }
    });
    let text = |number: usize| {
        let text = format!(
            "{PLAIN}defaults: {{ route: {{ timeouts: {{ total: {}s }} }} }}\n",
            // Something changes, or there would be nothing to make.
            1000 + number
        );
        config(&text, &[("APP", &server)])
    };
    let tidegate = start(&text(0), &[]);
    let mut tunnels: Vec<Client> = (0..TUNNELS)
        .map(|_| {
            let mut client = tidegate.client();
            client.send(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
            assert_eq!(client.head().status, 101);
            client
        })
        .collect();
    let reload = |numbers: std::ops::RangeInclusive<usize>| {
        for number in numbers {
            assert_eq!(tidegate.reload(&text(number)), Reloaded::Yes);
        }
    };
    reload(1..=20);
    let before = tidegate.rss();
    reload(21..=100);
    let grown = tidegate.rss().saturating_sub(before);
    assert!(grown < 2 << 20, "80 reloads cost {grown} bytes");
    for tunnel in &mut tunnels {
        tunnel.send("x");
        assert_eq!(tunnel.exactly(1), b"x");
    }
    assert_eq!(server.connections(), TUNNELS);
}
