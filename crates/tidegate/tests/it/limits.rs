//! How much is accepted, for how long, from how many; and what it costs.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use testkit::{Broken, Client, Ending, Framing, Peer, Server, Signal, Start, Tidegate, ok};

use crate::support::{BINARY, ask, before, before_pool, before_with, config, get, post, start};

/// A request whose head has exactly so many bytes.
fn head_of(length: usize) -> String {
    let bare = get("/", "X-Pad: \r\n").len();
    get("/", &format!("X-Pad: {}\r\n", "p".repeat(length - bare)))
}

#[test]
fn a_head_may_be_as_large_as_its_limit_and_no_larger() {
    let server = Server::named("app");
    let tidegate = before_with(&server, "limits: { request_head: 2KiB }");
    for (length, status) in [(2047, 200), (2048, 200), (2049, 431), (10_000, 431)] {
        let head = head_of(length);
        assert_eq!(head.len(), length);
        assert_eq!(ask(&tidegate, &head).status, status, "{length} at once");
        let mut client = tidegate.client();
        let (early, late) = head.split_at(length / 2);
        client.send(early);
        client.try_send(late);
        assert_eq!(client.response().status, status, "{length} in two pieces");
        if status != 200 {
            assert_eq!(client.ending(), Ending::Clean);
        }
    }
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn a_megabyte_of_header_is_refused_before_it_is_read() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let before = tidegate.rss();
    let mut client = tidegate.client();
    client.try_send(get("/", &format!("X: {}\r\n", "x".repeat(1 << 20))));
    assert_eq!(client.response().status, 431);
    assert_eq!(tidegate.log_line("the refusal", |line| line["status"] == 431)["fault"], "head_too_large");
    assert!(tidegate.rss() < before + (8 << 20));
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_request_line_may_be_as_long_as_its_limit_and_no_longer() {
    let server = Server::named("app");
    let tidegate = before_with(&server, "limits: { request_line: 100B }");
    let around = "GET / HTTP/1.1".len();
    for (length, status) in [(100, 200), (101, 414), (5000, 414)] {
        let target = format!("/{}", "a".repeat(length - around));
        assert_eq!(ask(&tidegate, &get(&target, "")).status, status, "{length}");
    }
    // A line that never ends is refused when it is too long, not when the head is.
    let mut client = tidegate.client();
    client.send("G".repeat(200));
    assert_eq!(client.response().status, 414);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_head_may_have_as_many_fields_as_its_limit_and_no_more() {
    let server = Server::named("app");
    let tidegate = before_with(&server, "limits: { fields: 5 }");
    for (fields, status) in [(5, 200), (6, 431), (60, 431)] {
        // Host is one of them.
        assert_eq!(ask(&tidegate, &get("/", &"X: y\r\n".repeat(fields - 1))).status, status, "{fields}");
    }
    assert_eq!(tidegate.log_line("the refusal", |line| line["status"] == 431)["fault"], "too_many_fields");
}

#[test]
fn many_fields_pass_where_the_limit_allows_them() {
    let server = Server::named("app");
    let tidegate = before_with(&server, "limits: { fields: 256 }");
    assert_eq!(ask(&tidegate, &get("/", &"X: y\r\n".repeat(255))).status, 200);
    assert_eq!(server.request().fields.values("x").len(), 255);
}

#[test]
fn a_body_may_be_as_long_as_its_limit_and_no_longer() {
    let server = Server::echo();
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    limits: { request_body: 100B }
    routes:
      - { match: { path: /wide/* }, to: app, limits: { request_body: 200B } }
      - { to: app }
pools: { app: [@APP] }
";
    let tidegate = start(text, &[("APP", &server)]);
    let chunked = |target: &str, length: usize| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{}\r\n0\r\n\r\n",
            "b".repeat(length)
        )
    };
    for (target, length, status) in [("/", 100, 200), ("/", 101, 413), ("/wide/", 200, 200), ("/wide/", 201, 413)] {
        let mut client = tidegate.client();
        assert_eq!(client.ask(post(target, &"b".repeat(length))).status, status, "{length} at {target}");
        let mut client = tidegate.client();
        assert_eq!(client.ask(chunked(target, length)).status, status, "{length} in chunks at {target}");
        if status != 200 {
            assert_eq!(client.ending(), Ending::Clean);
        }
    }
    assert!(server.requests().iter().all(|request| request.body.len() <= 200));
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn chunks_over_the_limit_that_come_late_never_complete_a_request() {
    let begun = Signal::new();
    let noted = begun.clone();
    let server = Server::script(move |peer| {
        let request = peer.request_head().expect("a head");
        noted.raise();
        assert!(peer.reader.body(request.framing).is_err(), "a body over the limit arrived whole");
    });
    let tidegate = before_with(&server, "limits: { request_body: 100B }");
    let mut client = tidegate.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n");
    begun.wait();
    client.send(format!("60\r\n{}\r\n0\r\n\r\n", "x".repeat(0x60)));
    assert_eq!(client.response().status, 413);
    server.until_idle();
}

/// Sends a byte again and again, with a pause, until there is an answer.
fn trickle(client: &mut Client) -> u16 {
    client.reader.socket.set_patience(Duration::from_millis(50)).expect("patience of an open socket");
    for _ in 0..200 {
        match client.try_response() {
            Ok(response) => return response.status,
            Err(Broken::Silent) => drop(client.try_send("x")),
            Err(other) => panic!("{other:?} instead of an answer"),
        }
    }
    panic!("no answer to a trickle");
}

#[test]
fn a_head_that_trickles_in_is_408() {
    let server = Server::named("app");
    let tidegate = before_with(&server, "timeouts: { request_head: 400ms }");
    let mut client = tidegate.client();
    client.send("GET / HTTP/1.1\r\nX-Slow: ");
    assert_eq!(trickle(&mut client), 408);
    // The same on a connection that has served before.
    let mut client = tidegate.client();
    assert_eq!(client.get("/").status, 200);
    client.send("GET / HTTP/1.1\r\nX-Slow: ");
    assert_eq!(trickle(&mut client), 408);
    assert_eq!(tidegate.log_line("the refusal", |line| line["status"] == 408)["fault"], "head_timeout");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_connection_without_a_request_is_closed_in_silence() {
    let server = Server::named("app");
    let tidegate = before_with(&server, "timeouts: { request_head: 300ms, keep_alive: 300ms }");
    let mut never = tidegate.client();
    let mut once = tidegate.client();
    assert_eq!(once.get("/").status, 200);
    assert_eq!((never.ending(), once.ending()), (Ending::Clean, Ending::Clean));
}

#[test]
fn keep_alive_is_longer_than_the_time_for_a_head() {
    let server = Server::named("app");
    let tidegate = before_with(&server, "timeouts: { request_head: 200ms, keep_alive: 20s }");
    let mut client = tidegate.client();
    assert_eq!(client.get("/").status, 200);
    // The clock is another connection's end.
    assert_eq!(tidegate.client().ending(), Ending::Clean);
    assert_eq!(tidegate.client().ending(), Ending::Clean);
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_body_that_stands_still_is_408() {
    let server = Server::script(|peer| {
        let request = peer.request_head().expect("a head");
        assert!(peer.reader.body(request.framing).is_err(), "half a body arrived whole");
    });
    let tidegate = before_with(&server, "timeouts: { request_body: 300ms }");
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let mut client = tidegate.client();
        client.send(format!("POST /still HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n5\r\nha"));
        assert_eq!(client.response().status, 408, "{framing}");
        assert_eq!(client.ending(), Ending::Clean);
    }
    assert_eq!(tidegate.log_of("/still")["fault"], "body_timeout");
    server.until_idle();
}

#[test]
fn a_server_that_does_not_read_is_not_the_clients_fault() {
    let server = Server::script(|peer| {
        peer.reader.socket.keep_little();
        peer.request_head().expect("a head");
        peer.stand_still();
    });
    let tidegate = before_with(&server, "limits: { request_body: 1GiB }, timeouts: { request_body: 500ms }");
    let mut client = tidegate.client();
    client.send(format!("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: {GIB}\r\n\r\n"));
    client.reader.socket.keep_little();
    let mut out = client.reader.socket.try_clone().expect("another handle");
    let pouring = thread::spawn(move || pour(&mut out, Framing::Length(0), GIB));
    assert_eq!(client.response().status, 504);
    assert!(!pouring.join().expect("a thread"));
    assert_eq!(tidegate.log_of("/unread")["fault"], "response_timeout");
}

#[test]
fn connections_beyond_the_cap_are_told_so() {
    let server = Server::named("app");
    let tidegate = before_with(&server, "limits: { connections: 3 }");
    let mut clients: Vec<Client> = (0..3).map(|_| tidegate.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    let mut refused = tidegate.client();
    assert_eq!(refused.response().status, 503);
    assert_eq!(refused.ending(), Ending::Clean);
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    // The program has noticed the end of one when it closes its own side.
    let mut leaver = clients.remove(0);
    leaver.finish();
    assert_eq!(leaver.ending(), Ending::Clean);
    assert_eq!(tidegate.client().get("/").status, 200);
    assert_eq!(tidegate.metric("tidegate_connections_refused_total", &["web"]).iter().sum::<f64>(), 1.0);
}

#[test]
fn without_descriptors_the_program_refuses_and_goes_on() {
    let server = Server::named("app");
    // More connections are allowed than there are descriptors for.
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app, limits: { connections: 10000 } } }
pools: { app: [@APP] }
";
    let tidegate = Start::of(BINARY).descriptors(64).text(&config(text, &[("APP", &server)]));
    let mut first = tidegate.client();
    assert_eq!(first.get("/").status, 200);
    let mut clients: Vec<Client> = (0..100).map(|_| tidegate.client()).collect();
    tidegate.message("out of descriptors");
    assert_eq!(first.get("/").status, 200);
    let told =
        |client: &mut Client| client.try_send(get("/", "")) && client.try_response().is_ok_and(|r| r.status == 503);
    assert!(clients.iter_mut().rev().take(5).any(told), "none of the last was told");
    drop(clients);
    // There is room again as soon as the program has noticed.
    for _ in 0..1000 {
        if tidegate.client().ask(get("/", "Connection: close\r\n")).status == 200 {
            return;
        }
    }
    panic!("the program never recovered");
}

#[test]
fn few_descriptors_mean_few_connections() {
    let server = Server::named("app");
    let tidegate = Start::of(BINARY).descriptors(84).text(&config(crate::support::PLAIN, &[("APP", &server)]));
    // Twenty beyond the reserve, two for each.
    let mut clients: Vec<Client> = (0..10).map(|_| tidegate.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(tidegate.client().response().status, 503);
}

#[test]
fn long_connections_are_spread_over_the_workers() {
    let server = Server::named("app");
    let tidegate = start(&format!("workers: 4\n{}", crate::support::PLAIN), &[("APP", &server)]);
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = tidegate.client();
        assert_eq!(client.get("/").status, 200);
        clients.push(client);
    }
    let held = tidegate.metric("tidegate_connections", &["listener=\"web\""]);
    assert_eq!((held.len(), held.iter().sum::<f64>()), (4, 8.0), "{held:?}");
    assert!(held.iter().all(|held| *held <= 3.0), "{held:?}");
    assert!(clients.iter_mut().all(|client| client.get("/").status == 200));
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A block of content, or one chunk with it.
fn block(framing: Framing) -> Vec<u8> {
    let content = vec![b'x'; 64 * 1024];
    match framing {
        Framing::Chunked => [b"10000\r\n", &content[..], b"\r\n"].concat(),
        _ => content,
    }
}

/// The field that announces such a body.
fn announced(framing: Framing, length: u64) -> String {
    match framing {
        Framing::Chunked => "Transfer-Encoding: chunked".to_owned(),
        _ => format!("Content-Length: {length}"),
    }
}

/// Writes a body of whole blocks, as fast as it is taken; whether all of it was.
fn pour(out: &mut testkit::socket::Socket, framing: Framing, length: u64) -> bool {
    let block = block(framing);
    let poured = (0..length / (64 * 1024)).all(|_| out.write_all(&block).is_ok());
    poured && (framing != Framing::Chunked || out.write_all(b"0\r\n\r\n").is_ok())
}

/// How many bytes of a body's framing and content come on the wire.
fn on_the_wire(framing: Framing, length: u64) -> u64 {
    let blocks = length / (64 * 1024);
    match framing {
        Framing::Chunked => length + blocks * 9 + 5,
        _ => length,
    }
}

/// The number in a target like `/1048576`.
fn asked_length(target: &str) -> u64 {
    target.trim_start_matches('/').parse().expect("a number")
}

/// The most memory that the program has held so far.
fn peak(tidegate: &Tidegate) -> u64 {
    tidegate.status("VmHWM")
}

#[test]
fn a_long_download_needs_no_more_memory_than_a_short_one() {
    for framing in [Framing::Length(0), Framing::Chunked] {
        let server = Server::script(move |peer| {
            while let Some(request) = peer.request() {
                let length = asked_length(&request.target);
                peer.send(format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", announced(framing, length)));
                pour(&mut peer.reader.socket, framing, length);
            }
        });
        let tidegate = before(&server);
        let mut client = tidegate.client();
        let mut download = |length: u64| {
            client.send(get(&format!("/{length}"), ""));
            assert_eq!(client.head().status, 200);
            discard_body(&mut client, framing, length);
            peak(&tidegate)
        };
        // Pages of the program itself count from when they are first used: by the first one, that is long enough for all of them. The
        // allocator takes memory in steps of megabytes.
        let (short, long) = (download(64 * MIB), download(GIB));
        eprintln!(
            "DBG {framing:?} {short} {long} anon {} file {}",
            tidegate.status("RssAnon"),
            tidegate.status("RssFile")
        );
        assert!(long.saturating_sub(short) < 8 * MIB, "{framing:?}: {short} bytes for a MiB, {long} for a GiB");
    }
}

/// Reads a body whose chunks may have been cut anew on the way.
fn discard_body(client: &mut Client, framing: Framing, length: u64) {
    if framing != Framing::Chunked {
        return client.reader.discard(length).expect("the whole body");
    }
    let mut left = length;
    loop {
        match client.reader.discard_chunk().expect("a chunk") {
            0 => break,
            size => left -= size,
        }
    }
    assert_eq!(left, 0);
}

#[test]
fn a_long_upload_needs_no_more_memory_than_a_short_one() {
    for framing in [Framing::Length(0), Framing::Chunked] {
        let server = Server::script(move |peer| {
            while let Some(request) = peer.request_head() {
                let mut left = asked_length(&request.target);
                if framing == Framing::Chunked {
                    while let Ok(size @ 1..) = peer.reader.discard_chunk() {
                        left -= size;
                    }
                } else {
                    peer.reader.discard(left).expect("the whole body");
                    left = 0;
                }
                peer.send(ok(left.to_string()));
            }
        });
        let tidegate = before_with(&server, "limits: { request_body: 2GiB }");
        let mut client = tidegate.client();
        let mut upload = |length: u64| {
            let field = announced(framing, length);
            client.send(format!("POST /{length} HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n"));
            assert!(pour(&mut client.reader.socket, framing, length));
            assert_eq!(client.response().text(), "0");
            peak(&tidegate)
        };
        let (short, long) = (upload(64 * MIB), upload(GIB));
        eprintln!(
            "DBG {framing:?} {short} {long} anon {} file {}",
            tidegate.status("RssAnon"),
            tidegate.status("RssFile")
        );
        assert!(long.saturating_sub(short) < 8 * MIB, "{framing:?}: {short} bytes for a MiB, {long} for a GiB");
    }
}

#[test]
fn whoever_does_not_read_holds_the_sender_back() {
    for framing in [Framing::Length(0), Framing::Chunked] {
        let stalled = Signal::new();
        let stands = stalled.clone();
        let server = Server::script(move |peer: &mut Peer| {
            let Some(request) = peer.request() else { return };
            let length = asked_length(&request.target);
            peer.send(format!("HTTP/1.1 200 OK\r\n{}\r\n\r\n", announced(framing, length)));
            peer.reader.socket.set_patience(Duration::from_millis(500)).expect("patience of an open socket");
            let body = block(framing);
            let mut at = 0;
            let end = on_the_wire(framing, length) - if framing == Framing::Chunked { 5 } else { 0 };
            while at < end {
                let rest = &body[at as usize % body.len()..];
                match peer.reader.socket.write(rest) {
                    Ok(count) => at += count as u64,
                    Err(_) if stands.is_raised() => {}
                    Err(_) => {
                        assert!(at < 64 * MIB, "{at} bytes went to somebody who does not read");
                        stands.raise();
                    }
                }
            }
            if framing == Framing::Chunked {
                peer.send("0\r\n\r\n");
            }
        });
        let tidegate = before_pool(&server, "timeouts: { stream: 60s }");
        let length = 256 * MIB;
        // Once everything has been used, only what is kept for this reader can add to it.
        assert_eq!(ask(&tidegate, &get(&format!("/{MIB}"), "")).body.len() as u64, MIB);
        let before = peak(&tidegate);
        let mut client = tidegate.client();
        client.reader.socket.keep_little();
        client.send(get(&format!("/{length}"), ""));
        stalled.wait();
        let grown = peak(&tidegate).saturating_sub(before);
        assert!(grown < 8 * MIB, "{framing:?}: {grown} bytes for one slow reader");
        // It reads after all, and gets everything.
        assert_eq!(client.head().status, 200);
        discard_body(&mut client, framing, length);
    }
}

#[test]
fn a_reader_that_never_reads_is_cut_off() {
    let server = Server::script(|peer| {
        peer.request();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n"));
        pour(&mut peer.reader.socket, Framing::Length(0), GIB);
    });
    let tidegate = before_pool(&server, "timeouts: { stream: 500ms }");
    let mut client = tidegate.client();
    client.reader.socket.keep_little();
    client.send(get("/unread", ""));
    let line = tidegate.log_of("/unread");
    assert_eq!((&line["fault"], &line["cut"]), (&"stream_timeout".into(), &true.into()));
    server.until_idle();
}

#[test]
fn a_thousand_idle_connections_cost_little() {
    let server = Server::named("app");
    let tidegate = before(&server);
    let address = tidegate.address("web");
    let open = |count: usize| -> Vec<Client> {
        let threads = 4;
        thread::scope(|scope| {
            let opened: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        (0..count / threads)
                            .map(|_| {
                                let mut client = Client::connect(&address);
                                assert_eq!(client.get("/").status, 200);
                                client
                            })
                            .collect::<Vec<Client>>()
                    })
                })
                .collect();
            opened.into_iter().flat_map(|thread| thread.join().expect("connections")).collect()
        })
    };
    let warm = open(100);
    let before = tidegate.rss();
    let more = open(1000);
    let each = tidegate.rss().saturating_sub(before) / 1000;
    assert!(each < 8 * 1024, "{each} bytes for an idle connection");
    drop((warm, more));
}
