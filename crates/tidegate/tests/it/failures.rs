//! One of three servers breaks under load, each time in another way, and is well again: with retries no request fails.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use testkit::{Client, Nginx, Peer, Server, Shared, Tidegate, ok};

use crate::health::until_state;
use crate::support::start;

/// What the pool of every test says; the first server is the one that breaks.
const POOL: &str = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools:
  app:
    servers: { a: @BREAKS, b: @WELL, c: @TOO }
    health: { probe: http, path: /healthz, every: 100ms, timeout: 80ms, rise: 2, fall: 2 }
    timeouts: { try: 250ms }
    retries: { extra: 2, if: [connect, reset, timeout, 500, 502, 503] }
";

#[test]
fn a_server_that_is_killed_costs_no_request() {
    let Some((mut breaks, well, too)) = three() else { return };
    let tidegate = start(POOL, &[("BREAKS", &breaks), ("WELL", &well), ("TOO", &too)]);
    let load = Load::on(&tidegate);
    breaks.kill();
    until_state(&tidegate, 0, "down");
    load.goes_on();
    breaks.restart();
    until_state(&tidegate, 0, "up");
    load.ends_well();
}

#[test]
fn a_server_that_hangs_costs_no_request() {
    let Some((breaks, well, too)) = three() else { return };
    let tidegate = start(POOL, &[("BREAKS", &breaks), ("WELL", &well), ("TOO", &too)]);
    let load = Load::on(&tidegate);
    breaks.hang();
    until_state(&tidegate, 0, "down");
    load.goes_on();
    breaks.go_on();
    until_state(&tidegate, 0, "up");
    load.ends_well();
}

#[test]
fn a_server_that_is_slow_costs_no_request() {
    breaks_by_script(SLOW);
}

#[test]
fn a_server_that_resets_costs_no_request() {
    breaks_by_script(RESETS);
}

#[test]
fn a_server_that_answers_nothing_but_500_costs_no_request() {
    breaks_by_script(FAILS);
}

const WELL: u8 = 0;
const SLOW: u8 = 1;
const RESETS: u8 = 2;
const FAILS: u8 = 3;

fn breaks_by_script(how: u8) {
    let (Some(well), Some(too)) = (Nginx::named("well"), Nginx::named("too")) else { return };
    let mode = Arc::new(AtomicU8::new(WELL));
    let script = Arc::clone(&mode);
    let breaks = Server::script(move |peer| follow(peer, &script));
    let tidegate = start(POOL, &[("BREAKS", &breaks), ("WELL", &well), ("TOO", &too)]);
    let load = Load::on(&tidegate);
    mode.store(how, Ordering::SeqCst);
    until_state(&tidegate, 0, "down");
    load.goes_on();
    mode.store(WELL, Ordering::SeqCst);
    until_state(&tidegate, 0, "up");
    load.ends_well();
}

/// A server that does as the mode of the moment says, to health checks too.
fn follow(peer: &mut Peer, mode: &AtomicU8) {
    while peer.request().is_some() {
        match mode.load(Ordering::SeqCst) {
            // It is slower than any patience of the test's; whoever asked has left before.
            SLOW => return peer.hang(),
            RESETS => return peer.reset(),
            FAILS => peer.send("HTTP/1.1 500 Failed\r\nContent-Length: 0\r\n\r\n"),
            _ => peer.send(ok("breaks")),
        }
    }
}

fn three() -> Option<(Nginx, Nginx, Nginx)> {
    Some((Nginx::named("breaks")?, Nginx::named("well")?, Nginx::named("too")?))
}

/// Clients that ask without pause until they are told to stop.
struct Load {
    state: Arc<State>,
    clients: Vec<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    served: Shared<usize>,
    stop: AtomicBool,
    failed: Mutex<Vec<String>>,
    next: AtomicUsize,
}

impl Load {
    /// Starts the clients, and waits until all is in motion.
    fn on(tidegate: &Tidegate) -> Load {
        let state = Arc::new(State::default());
        let ask = |_| {
            let (state, address) = (Arc::clone(&state), tidegate.address("web"));
            thread::spawn(move || state.ask(&address))
        };
        let load = Load { clients: (0..6).map(ask).collect(), state: Arc::clone(&state) };
        load.goes_on();
        load
    }

    /// Waits for many more requests.
    fn goes_on(&self) {
        let before = self.state.served.with(|served| *served);
        self.state.served.until("a thousand responses", |served| (*served >= before + 1000).then_some(()));
    }

    /// Stops the clients; none of them has met a failure.
    fn ends_well(self) {
        self.goes_on();
        self.state.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.join().expect("a client");
        }
        let failed = self.state.failed.lock().expect("whole");
        assert!(failed.is_empty(), "{} requests failed: {:?}", failed.len(), &failed[..failed.len().min(5)]);
    }
}

impl State {
    fn ask(&self, address: &str) {
        let mut client = Client::connect(address);
        while !self.stop.load(Ordering::SeqCst) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let sent = client.try_send(format!("GET /{number} HTTP/1.1\r\nHost: app\r\n\r\n"));
            let outcome = match client.try_response() {
                Ok(response) if response.status == 200 => Ok(()),
                Ok(response) => Err(format!("/{number}: {} {}", response.status, response.text())),
                Err(broken) => Err(format!("/{number}: {broken:?}, sent: {sent}")),
            };
            match outcome {
                Ok(()) => self.served.with(|served| *served += 1),
                Err(why) => {
                    self.failed.lock().expect("whole").push(why);
                    client = Client::connect(address);
                }
            }
        }
    }
}
