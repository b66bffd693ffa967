//! The PROXY protocol: peers that say first for whom they come.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use testkit::{PATIENCE, Server, Tidegate, failure_of, ok};

use crate::support::{BINARY, config, get, start, until_waiting};
use crate::tls::Desk;

const WEB: &str = "
listeners: { web: { bind: { address: 127.0.0.1:0, accept_proxy: { from: 127.0.0.0/8 } }, to: app } }
pools: { app: [@APP] }
";

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n";

/// Version 2 for the same addresses, with a piece that nobody knows behind them.
fn binary() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x11".to_vec();
    header.extend_from_slice(&[192, 0, 2, 7, 192, 0, 2, 8, 0x12, 0x67, 0x01, 0xbb]);
    header.extend_from_slice(&[0xee, 0, 2, b'h', b'i']);
    header
}

fn connect(tidegate: &Tidegate) -> TcpStream {
    let stream = TcpStream::connect(tidegate.address("web")).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// What the server sees as the client's address, when the peer says this first, in these pieces.
fn seen(tidegate: &Tidegate, header: &[u8], of: usize) -> String {
    let mut stream = connect(tidegate);
    stream.set_nodelay(true).expect("a socket");
    let bytes = [header, get("/", "Connection: close\r\n").as_bytes()].concat();
    for piece in bytes.chunks(of) {
        stream.write_all(piece).expect("sent");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
}

fn telling() -> Server {
    Server::http(|request| ok(request.fields.value("x-forwarded-for").unwrap_or("nobody")))
}

#[test]
fn what_a_proxy_says_stands_for_the_connections_own_addresses() {
    let server = telling();
    let tidegate = start(WEB, &[("APP", &server)]);
    for header in [LINE.to_vec(), binary()] {
        for of in [1, 5, 1000] {
            assert_eq!(seen(&tidegate, &header, of), "192.0.2.7");
        }
    }
    let line = tidegate.log_line("a request", |line| line["status"] == 200);
    assert_eq!((&line["client"], &line["peer"]), (&"192.0.2.7".into(), &"192.0.2.7:4711".into()));
    // A proxy's own connections, and those of which it knows nothing, come from itself.
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        assert_eq!(seen(&tidegate, header, 1000), "127.0.0.1");
    }
}

#[test]
fn routes_see_who_it_was_and_where_it_was_opened_to() {
    let text = "
listeners:
  web:
    bind: { address: 127.0.0.1:0, accept_proxy: 127.0.0.0/8 }
    routes:
      - { match: { client: 192.0.2.0/24, port: 443 }, respond: { body: both } }
      - respond: { body: neither }
";
    let tidegate = start(text, &[]);
    assert_eq!(seen(&tidegate, LINE, 1000), "both");
    assert_eq!(seen(&tidegate, b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 80\r\n", 1000), "neither");
}

#[test]
fn who_should_say_it_and_does_not_is_not_served() {
    let server = telling();
    let text = WEB.replace("to: app", "to: app, timeouts: { request_head: 300ms }");
    let tidegate = start(&text, &[("APP", &server)]);
    for wrong in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"PROXY TCP4 nonsense\r\n", b"PROXY TCP4 192.0.2.7"] {
        let mut stream = connect(&tidegate);
        stream.write_all(wrong).expect("sent");
        let ended = stream.read(&mut [0; 1]).map_err(|error| error.kind());
        assert_eq!(ended, Err(std::io::ErrorKind::ConnectionReset), "{}", String::from_utf8_lossy(wrong));
    }
    for reason in ["no PROXY header", "an invalid PROXY line", "no PROXY header in time"] {
        assert_eq!(tidegate.log_line(reason, |line| line["reason"] == reason)["fault"], "malformed");
    }
    // Half a header and an end; and an end at once, which is how others see whether somebody listens.
    let mut half = connect(&tidegate);
    half.write_all(&LINE[..20]).expect("sent");
    half.shutdown(Shutdown::Write).expect("finished");
    assert!(matches!(half.read(&mut [0; 1]), Ok(0) | Err(_)));
    tidegate.log_line("a header without an end", |line| line["reason"] == "a PROXY header without an end");
    drop(connect(&tidegate));
    assert_eq!(server.connections(), 0);
    assert_eq!(seen(&tidegate, LINE, 1000), "192.0.2.7");
}

#[test]
fn others_are_not_believed() {
    let server = telling();
    let text = WEB.replace("127.0.0.0/8", "192.0.2.0/24");
    let tidegate = start(&text, &[("APP", &server)]);
    assert_eq!(seen(&tidegate, b"", 1000), "127.0.0.1");
    let mut stream = connect(&tidegate);
    stream.write_all(&[LINE, get("/", "").as_bytes()].concat()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_handshake_may_follow() {
    let (desk, server) = (Desk::new(), telling());
    let text = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners: { web: { bind: { address: 127.0.0.1:0, accept_proxy: 127.0.0.1 }, tls: main, to: app } }
pools: { app: [@APP] }
";
    let tidegate = desk.start(text, &[("APP", &server)]);
    let mut stream = connect(&tidegate);
    stream.write_all(LINE).expect("sent");
    let mut secured = testkit::socket::Socket::Tcp(stream).secure(&desk.tls()).expect("a handshake");
    let request = get("/", "Connection: close\r\n").replace("test.example", "example.com");
    secured.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    secured.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with("192.0.2.7"), "{answer}");
}

#[test]
fn flows_have_it_too() {
    let server = Server::script(|peer| {
        let heard = peer.rest().expect("all of it");
        peer.send(heard);
    });
    let text = WEB.replace("to: app", "role: tcp, to: app");
    let tidegate = start(&text, &[("APP", &server)]);
    let mut stream = connect(&tidegate);
    stream.write_all(&[LINE, b"and what follows"].concat()).expect("sent");
    stream.shutdown(Shutdown::Write).expect("finished");
    let mut heard = String::new();
    stream.read_to_string(&mut heard).expect("all of it");
    assert_eq!(heard, "and what follows");
    assert_eq!(tidegate.log_line("a flow", |line| line["pool"] == "app")["peer"], "192.0.2.7:4711");
}

#[test]
fn where_it_cannot_be_it_is_a_mistake() {
    for (bind, wrong) in [
        ("{ address: 'unix:x', accept_proxy: 127.0.0.1 }", "peers on a Unix socket have no address"),
        ("{ address: 127.0.0.1:0, accept_proxy: {} }", "`from`"),
        ("{ address: 127.0.0.1:0, accept_proxy: nobody }", "nobody"),
    ] {
        let text = format!("listeners: {{ web: {{ bind: {bind}, respond: 200 }} }}\n");
        let (code, said) = failure_of(BINARY, &config(&text, &[]));
        assert!(code == Some(2) && said.contains(wrong), "{bind}: {said}");
    }
}

/// A server that is told first for whom each connection is: it answers a request with that, in hexadecimal digits if it is no line.
fn told() -> Server {
    Server::script(|peer| {
        let Some(header) = read_header(peer) else { return };
        if peer.request_head().is_some() {
            peer.send(ok(header));
        }
        peer.hang();
    })
}

/// Reads exactly the header that a connection begins with; none if it ends instead, as one does that nobody needed.
fn read_header(peer: &mut testkit::Peer) -> Option<String> {
    let mut header = peer.reader.exactly(16).ok()?;
    if header.starts_with(b"PROXY ") {
        while !header.ends_with(b"\r\n") {
            header.extend(peer.reader.exactly(1).ok()?);
        }
        return Some(String::from_utf8(header).expect("a line"));
    }
    let length = u16::from_be_bytes([header[14], header[15]]);
    header.extend(peer.reader.exactly(usize::from(length)).ok()?);
    Some(header.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A server that says what it is told first, and nothing more.
fn repeating() -> Server {
    Server::script(|peer| {
        let Some(header) = read_header(peer) else { return };
        peer.send(header);
        peer.finish();
        peer.hang();
    })
}

fn port_of(address: &str) -> u16 {
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

#[test]
fn servers_are_told_who_it_is_once_a_connection() {
    for (form, begins) in
        [("v1", "PROXY TCP4 127.0.0.1 127.0.0.1 "), ("v2", "0d0a0d0a000d0a515549540a2111000c7f0000017f000001")]
    {
        let server = told();
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ servers: [@APP], send_proxy: {form} }} }}\n"
        );
        let tidegate = start(&text, &[("APP", &server)]);
        let mut client = tidegate.client();
        let (from, to) = (port_of(&client.local_address()), port_of(&tidegate.address("web")));
        let ports = if form == "v1" { format!("{from} {to}\r\n") } else { format!("{from:04x}{to:04x}") };
        for _ in 0..3 {
            assert_eq!(client.get("/").text(), format!("{begins}{ports}"));
        }
        assert_eq!(server.connections(), 3, "a connection is for one client");
    }
}

#[test]
fn a_handshake_follows_and_what_it_agreed_on_with_the_client_is_told() {
    let desk = Desk::new();
    let issued = desk.issue("server", &["example.com"]);
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address").to_string();
    let (tls, desk_tls) = (testkit::ServerTls::new(&issued), desk.tls());
    let header = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().expect("a connection");
        let mut header = [0; 16];
        stream.read_exact(&mut header).expect("a header");
        let mut rest = vec![0; usize::from(u16::from_be_bytes([header[14], header[15]]))];
        stream.read_exact(&mut rest).expect("its rest");
        let mut secured = testkit::socket::Socket::Tcp(stream).secured(&tls);
        let mut request = [0; 1024];
        assert!(secured.read(&mut request).expect("a request behind a handshake") > 0);
        secured.write_all(&ok("secret")).expect("answered");
        rest
    });
    let text = format!(
        "
certificates: {{ main: {{ cert: '@DIR/main.pem', key: '@DIR/main.key' }} }}
listeners: {{ web: {{ bind: 127.0.0.1:0, tls: main, to: app }} }}
pools: {{ app: {{ servers: ['{address}'], send_proxy: v2, tls: {{ ca: '@DIR/ca.pem', server_name: example.com }} }} }}
"
    );
    let tidegate = desk.start(&text, &[]);
    let mut client = testkit::Client::secured(&tidegate.address("web"), &desk_tls);
    assert_eq!(client.ask(get("/", "").replace("test.example", "example.com")).text(), "secret");
    let rest = header.join().expect("a header");
    let told = &rest[12..];
    assert!(told.starts_with(b"\x02\x00\x0bexample.com\x20\x00\x0f\x01\0\0\0\x01\x21\x00\x07TLSv1."), "{told:?}");
}

#[test]
fn connections_that_were_opened_ahead_say_it_when_they_are_used() {
    let server = repeating();
    let text = "
listeners: { web: { bind: 127.0.0.1:0, role: tcp, to: app } }
pools: { app: { servers: [@APP], send_proxy: v1, warm: 2 } }
";
    let tidegate = start(text, &[("APP", &server)]);
    server.until_connections(2);
    let mut stream = connect(&tidegate);
    let from = stream.local_addr().expect("an address").port();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).expect("a header");
    assert!(heard.starts_with(&format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} ")), "{heard}");
    drop(stream);
    let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
    assert_eq!(line["reused"], true, "{line}");
}

#[test]
fn checks_say_that_nobody_is_behind_them() {
    let server = Server::script(|peer| {
        let Some(header) = read_header(peer) else { return };
        if peer.request().is_some_and(|request| request.target == "/health") {
            assert_eq!(header, "0d0a0d0a000d0a515549540a20000000");
        }
        peer.send(ok("well"));
    });
    let text = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [@APP], send_proxy: v2, health: { probe: http, path: /health, every: 100ms, rise: 1 } } }
";
    let tidegate = start(text, &[("APP", &server)]);
    while !server.requests().iter().any(|request| request.target == "/health") {
        server.request();
    }
    assert_eq!(tidegate.client().get("/").text(), "well");
}

#[test]
fn addresses_pass_through_a_row_of_proxies() {
    let last = telling();
    let text = "
listeners:
  web: { bind: { address: 127.0.0.1:0, accept_proxy: 127.0.0.1 }, role: tcp, to: next }
pools: { next: { servers: [@NEXT], send_proxy: v2 } }
";
    let behind = start(WEB, &[("APP", &last)]);
    let front = start(&text.replace("@NEXT", &behind.address("web")), &[]);
    assert_eq!(seen(&front, b"PROXY TCP6 2001:db8::7 2001:db8::8 4711 443\r\n", 1000), "2001:db8::7");
}

#[test]
fn what_cannot_be_said_is_a_mistake() {
    for (pool, wrong) in [
        ("protocol: h2, send_proxy: v2", "many clients share a connection of its `protocol`"),
        ("warm: 1, tls: {}, send_proxy: v2", "no connection can be `warm`"),
    ] {
        let text = format!(
            "listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ servers: ['localhost:1'], {pool} }} }}\n"
        );
        let (code, said) = failure_of(BINARY, &config(&text, &[]));
        assert!(code == Some(2) && said.contains(wrong), "{pool}: {said}");
    }
}

/// One connection for all workers: whoever wants it waits for it, and says who its client is.
#[test]
fn connections_that_pass_from_worker_to_worker_say_it_too() {
    let server = repeating();
    let text = "
workers: 4
listeners: { web: { bind: 127.0.0.1:0, role: tcp, to: app } }
pools: { app: { servers: { one: { address: @APP, max_connections: 1 } }, send_proxy: v1, warm: 1 } }
";
    let tidegate = start(text, &[("APP", &server)]);
    let mut first = None;
    for round in 0..24 {
        let mut stream = connect(&tidegate);
        let from = stream.local_addr().expect("an address").port();
        // What a client says is never taken for what a proxy says.
        stream.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n").expect("sent");
        if let Some(first) = first.take() {
            until_waiting(&tidegate, 1);
            stream.set_nonblocking(true).expect("an option");
            let heard = stream.peek(&mut [0]).map_err(|error| error.kind());
            assert_eq!(heard, Err(std::io::ErrorKind::WouldBlock), "the one connection is somebody else's");
            stream.set_nonblocking(false).expect("an option");
            assert_eq!(server.connections(), round);
            drop::<TcpStream>(first);
        }
        let mut heard = String::new();
        stream.read_to_string(&mut heard).expect("a header");
        assert!(heard.starts_with(&format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} ")), "{heard}");
        first = Some(stream);
    }
}
