//! Flows of TCP: bytes both ways, ends and resets, routes by what a client of TLS says first, limits, what is recorded.

pub(crate) mod coalesce;
pub(crate) mod mail;
pub(crate) mod mqtt;
mod mysql;
pub(crate) mod postgres;
mod real;
mod routes;
pub(crate) mod transparent;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use testkit::socket::Socket;
use testkit::{Hanging, PATIENCE, Refusing, Server, ServerTls, Shared, Tidegate, output_of};

use crate::support::{BINARY, Place, start};
use crate::tls::Desk;

/// One listener of flows in front of one pool.
const PLAIN: &str = "
listeners: { web: { bind: 127.0.0.1:0, role: tcp, to: app } }
pools: { app: [@APP] }
";

/// The same with lines of its own for the listener.
fn with(listener: &str, app: &dyn Place) -> Tidegate {
    start(&PLAIN.replace("to: app", &format!("to: app, {listener}")), &[("APP", app)])
}

fn connect(tidegate: &Tidegate) -> TcpStream {
    let stream = TcpStream::connect(tidegate.address("web")).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// All that comes until the end, or the error that comes instead.
fn rest(stream: &mut TcpStream) -> Result<String, std::io::ErrorKind> {
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        Ok(_) => Ok(String::from_utf8(text).expect("a text")),
        Err(error) => Err(error.kind()),
    }
}

/// What a server says that answers when its client has said all.
fn ask(tidegate: &Tidegate, text: &str) -> Result<String, std::io::ErrorKind> {
    let mut stream = connect(tidegate);
    let sent = stream.write_all(text.as_bytes()).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
    match (rest(&mut stream), sent) {
        // A reset is told once: to whoever was first to do anything.
        (Ok(heard), Err(_)) if heard.is_empty() => Err(std::io::ErrorKind::ConnectionReset),
        (heard, _) => heard,
    }
}

/// A server that says its name, and what it has heard, once its client has finished.
fn named(name: &'static str) -> Server {
    Server::script(move |peer| {
        if let Ok(heard) = peer.rest() {
            peer.send(format!("{name} heard {}", String::from_utf8_lossy(&heard)));
        }
    })
}

#[test]
fn either_side_may_finish_while_the_other_speaks() {
    let server = named("a");
    let tidegate = start(PLAIN, &[("APP", &server)]);
    assert_eq!(ask(&tidegate, "hello").as_deref(), Ok("a heard hello"));
    let early = Server::script(|peer| {
        peer.send("nothing more from here");
        peer.finish();
        assert_eq!(peer.rest().expect("the client's end"), b"but from here");
    });
    let tidegate = start(PLAIN, &[("APP", &early)]);
    let mut client = connect(&tidegate);
    assert_eq!(rest(&mut client).as_deref(), Ok("nothing more from here"));
    client.write_all(b"but from here").expect("a way to a server that has finished");
    drop(client);
    early.until_idle();
}

#[test]
fn who_speaks_first_does_not_matter() {
    let server = Server::script(|peer| {
        peer.send("220 ready\r\n");
        peer.hang();
    });
    let tidegate = start(PLAIN, &[("APP", &server)]);
    let mut line = [0; 11];
    connect(&tidegate).read_exact(&mut line).expect("a greeting");
    assert_eq!(&line, b"220 ready\r\n");
}

#[test]
fn a_flow_is_recorded_when_it_has_ended() {
    let server = named("a");
    let tidegate = start(PLAIN, &[("APP", &server)]);
    assert!(ask(&tidegate, "hello").is_ok());
    let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&5.into(), &"a heard hello".len().into()));
    assert_eq!((&line["listener"], &line["route"], &line["tries"]), (&"web".into(), &"0".into(), &1.into()));
    assert_eq!(line["address"], server.address());
    for absent in ["method", "version", "status", "path", "fault", "cut", "host", "sni"] {
        assert!(line.get(absent).is_none(), "{absent}: {line}");
    }
    assert_eq!(tidegate.metric("tidegate_connections_total", &["listener=\"web\""]).iter().sum::<f64>(), 1.0);
}

#[test]
fn what_breaks_one_side_breaks_the_other() {
    let server = Server::script(|peer| {
        peer.send("half of");
        let _ = peer.reader.fill();
        peer.reset();
    });
    let tidegate = start(PLAIN, &[("APP", &server)]);
    let mut client = connect(&tidegate);
    client.read_exact(&mut [0; 7]).expect("the first half");
    client.write_all(b"go on").expect("a flow");
    assert_eq!(rest(&mut client), Err(std::io::ErrorKind::ConnectionReset));
    let line = tidegate.log_line("a flow", |line| line["cut"] == true);
    assert_eq!((&line["fault"], &line["side"]), (&"truncated".into(), &"server".into()));

    let broken = Arc::new(Shared::new(None));
    let seen = Arc::clone(&broken);
    let server = Server::script(move |peer| {
        peer.send("hello");
        let ended = peer.rest();
        seen.with(|seen| *seen = Some(ended.is_err()));
    });
    let tidegate = start(PLAIN, &[("APP", &server)]);
    let mut client = connect(&tidegate);
    client.read_exact(&mut [0; 5]).expect("a greeting");
    Socket::Tcp(client).reset_on_close();
    assert!(broken.until("the server's end", |seen| *seen), "a client's reset looks like one to its server");
    let line = tidegate.log_line("a flow", |line| line["cut"] == true);
    assert_eq!((&line["fault"], &line["side"]), (&"client_gone".into(), &"client".into()));
}

#[test]
fn large_amounts_pass_whole_both_ways() {
    const MOST: usize = 24 * 1024 * 1024;
    let pattern = |at: usize| (at % 251) as u8;
    for splice in [true, false] {
        let server = Server::script(move |peer| {
            let heard = peer.rest().expect("all of it");
            assert_eq!(heard.len(), MOST);
            assert!(heard.iter().enumerate().all(|(at, byte)| *byte == pattern(at)));
            peer.send(&heard);
        });
        let tidegate = start(&format!("splice: {splice}\n{PLAIN}"), &[("APP", &server)]);
        let client = connect(&tidegate);
        let mut reader = client.try_clone().expect("a handle");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let bytes: Vec<u8> = (0..MOST).map(pattern).collect();
                (&client).write_all(&bytes).expect("taken");
                client.shutdown(std::net::Shutdown::Write).expect("finished");
            });
            let mut heard = Vec::new();
            reader.read_to_end(&mut heard).expect("all of it");
            assert_eq!(heard.len(), MOST);
            assert!(heard.iter().enumerate().all(|(at, byte)| *byte == pattern(at)));
        });
        let line = tidegate.log_line("a flow", |line| line["bytes_out"] == MOST);
        assert_eq!(line["bytes_in"], MOST);
        let spliced: f64 = tidegate.metric("tidegate_spliced_bytes_total", &[]).iter().sum();
        assert_eq!(spliced > MOST as f64, splice, "{spliced} bytes have gone through pipes");
    }
}

#[test]
fn another_server_is_tried_where_one_refuses() {
    let (dead, server) = (Refusing::new(), named("b"));
    let text = PLAIN.replace("[@APP]", "{ servers: { a: { address: @DEAD }, b: { address: @APP } }, balance: first }");
    let tidegate = start(&text, &[("DEAD", &dead), ("APP", &server)]);
    assert_eq!(ask(&tidegate, "x").as_deref(), Ok("b heard x"));
    assert_eq!(tidegate.log_line("a flow", |line| line["pool"] == "app")["tries"], 2);

    let tidegate = start(PLAIN, &[("APP", &dead)]);
    assert_eq!(ask(&tidegate, "x"), Err(std::io::ErrorKind::ConnectionReset), "an end would look like an answer");
    let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
    assert_eq!((&line["fault"], &line["side"]), (&"connect".into(), &"server".into()));
}

#[test]
fn what_hangs_is_left_in_time() {
    let (hanging, server) = (Hanging::new(), named("b"));
    let text = PLAIN
        .replace("[@APP]", "{ servers: { a: { address: @DEAD }, b: { address: @APP } }, balance: first }")
        .replace("to: app", "to: app, timeouts: { connect: 200ms }");
    let tidegate = start(&text, &[("DEAD", &hanging), ("APP", &server)]);
    assert_eq!(ask(&tidegate, "x").as_deref(), Ok("b heard x"));
}

#[test]
fn silence_and_age_end_a_flow() {
    let chatter =
        || Server::script(|peer| while peer.try_send("tick") && peer.reader.fill().is_ok_and(|count| count > 0) {});
    let silent = Server::script(testkit::Peer::hang);
    let tidegate = with("timeouts: { tunnel: 200ms }", &silent);
    assert_eq!(rest(&mut connect(&tidegate)), Err(std::io::ErrorKind::ConnectionReset));
    assert_eq!(tidegate.log_line("a flow", |line| line["cut"] == true)["fault"], "tunnel_timeout");

    let server = chatter();
    let tidegate = with("timeouts: { tunnel: 10s, total: 300ms }", &server);
    let mut client = connect(&tidegate);
    let mut tick = [0; 4];
    let ended = loop {
        if let Err(error) = client.read_exact(&mut tick).and_then(|()| client.write_all(b"tock")) {
            break error.kind();
        }
    };
    assert!(matches!(ended, std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe), "{ended}");
    assert_eq!(tidegate.log_line("a flow", |line| line["cut"] == true)["fault"], "total_timeout");
}

#[test]
fn flows_count_against_limits_and_wait_in_the_queue() {
    let server = named("a");
    let tidegate = with("limits: { connections: 1 }", &server);
    let first = connect(&tidegate);
    server.until_connections(1);
    // The second is closed, without a word of HTTP.
    assert!(matches!(rest(&mut connect(&tidegate)).as_deref(), Ok("") | Err(_)));
    drop(first);

    let server = named("b");
    let text = PLAIN.replace("[@APP]", "{ servers: { one: { address: @APP, max_connections: 1 } } }");
    let tidegate = start(&text, &[("APP", &server)]);
    let mut first = connect(&tidegate);
    server.until_connections(1);
    let second = std::thread::spawn({
        let address = tidegate.address("web");
        move || {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream.write_all(b"second").expect("sent");
            stream.shutdown(std::net::Shutdown::Write).expect("finished");
            rest(&mut stream)
        }
    });
    crate::support::until_waiting(&tidegate, 1);
    first.shutdown(std::net::Shutdown::Write).expect("finished");
    assert_eq!(rest(&mut first).as_deref(), Ok("b heard "));
    assert_eq!(second.join().expect("a thread").as_deref(), Ok("b heard second"));
    assert_eq!(server.most_open(), 1);
}

#[test]
fn a_client_stays_with_its_server() {
    let servers = [named("a"), named("b"), named("c")];
    let text = PLAIN
        .replace("[@APP]", "{ servers: [@A1, @B1, @C1], balance: round_robin, sticky: { by: client_ip, for: 1m } }");
    let tidegate = start(&text, &[("A1", &servers[0]), ("B1", &servers[1]), ("C1", &servers[2])]);
    let first = ask(&tidegate, "x").expect("an answer");
    assert!((0..8).all(|_| ask(&tidegate, "x").as_ref() == Ok(&first)));
}

#[test]
fn tls_may_end_in_front_of_a_service_that_speaks_none_and_begin_behind() {
    let (desk, server) = (Desk::new(), named("plain"));
    let text = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners: { web: { bind: 127.0.0.1:0, role: tcp, tls: main, routes: [{ match: { sni: example.com }, to: app }] } }
pools: { app: [@APP] }
";
    let tidegate = desk.start(text, &[("APP", &server)]);
    let stream = Socket::connect(&tidegate.address("web")).expect("a connection");
    let mut secured = stream.secure(&desk.tls()).expect("a handshake");
    secured.write_all(b"hello").expect("sent");
    secured.finish();
    let mut heard = String::new();
    secured.read_to_string(&mut heard).expect("an answer with an end");
    assert_eq!(heard, "plain heard hello");
    let line = tidegate.log_line("a flow", |line| line["pool"] == "app");
    assert_eq!(line["sni"], "example.com");

    let issued = desk.issue("server", &["example.com"]);
    let server = Server::secured(&ServerTls::new(&issued), |peer| {
        let heard = peer.rest().expect("all of it");
        peer.send(heard);
        peer.finish();
    });
    let text = PLAIN.replace("[@APP]", "{ servers: [@APP], tls: { ca: '@DIR/ca.pem', server_name: example.com } }");
    let tidegate = desk.start(&text, &[("APP", &server)]);
    assert_eq!(ask(&tidegate, "through TLS").as_deref(), Ok("through TLS"));
}

#[test]
fn flows_outlive_a_reload_and_end_with_a_drain() {
    let server = Server::script(|peer| {
        while let Ok(1..) = peer.reader.fill() {
            peer.send("pong");
        }
    });
    let text = format!("shutdown: {{ drain: 300ms }}\n{PLAIN}");
    let mut tidegate = start(&text, &[("APP", &server)]);
    let mut client = connect(&tidegate);
    let ping = |client: &mut TcpStream| {
        client.write_all(b"ping").expect("sent");
        client.read_exact(&mut [0; 4])
    };
    ping(&mut client).expect("an answer");
    let other = named("other");
    tidegate.reload(&crate::support::config(&text, &[("APP", &other)]));
    ping(&mut client).expect("the flow goes on");
    assert_eq!(ask(&tidegate, "x").as_deref(), Ok("other heard x"));
    tidegate.terminate();
    assert_eq!(rest(&mut client), Err(std::io::ErrorKind::ConnectionReset));
    assert!(tidegate.wait().success());
    assert!(tidegate.messages().contains("1 connection"), "{}", tidegate.messages());
}

#[test]
fn it_needs_no_file() {
    let server = named("a");
    let tidegate = testkit::Start::of(BINARY).command(&["tcp", "--bind", "127.0.0.1:0", "--to", server.address()]);
    assert_eq!(ask(&tidegate, "hello").as_deref(), Ok("a heard hello"));
    let help = String::from_utf8(output_of(BINARY, &["tcp", "--help"]).stdout).expect("a text");
    assert!(help.contains("layer-4"), "{help}");
}

#[test]
fn who_comes_by_a_unix_socket_comes_from_here() {
    let (folder, server) = (testkit::Folder::new(), named("a"));
    let path = folder.path().join("in.sock");
    let text = format!(
        "
workers: 1
listeners:
  web:
    bind: [{{ address: 127.0.0.1:0, accept_proxy: 127.0.0.1 }}, 'unix:{}']
    role: tcp
    routes: [{{ match: {{ client: 192.0.2.0/24 }}, deny: reset }}, {{ match: {{ client: 127.0.0.1 }}, to: @APP }}]
",
        path.display()
    );
    let tidegate = start(&text, &[("APP", &server)]);
    // What one client was is forgotten when the next one comes.
    for _ in 0..2 {
        let mut other = TcpStream::connect(tidegate.address("web")).expect("a connection");
        other.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n").expect("sent");
        assert!(rest(&mut other).is_err());
        let mut local = std::os::unix::net::UnixStream::connect(&path).expect("a connection");
        local.write_all(b"hello").expect("sent");
        local.shutdown(std::net::Shutdown::Write).expect("finished");
        let mut heard = String::new();
        local.read_to_string(&mut heard).expect("an answer");
        assert_eq!(heard, "a heard hello");
    }
}

#[test]
fn a_listener_may_become_one_of_another_kind() {
    let (web, server) = (Server::named("web"), named("flow"));
    let http = "listeners: { web: { bind: 127.0.0.1:0, to: @WEB } }\n";
    let tcp = "listeners: { web: { bind: 127.0.0.1:0, role: tcp, to: @APP } }\n";
    let tidegate = start(http, &[("WEB", &web)]);
    let mut client = tidegate.client();
    assert_eq!(client.get("/").text(), "web");
    tidegate.reload(&crate::support::config(tcp, &[("APP", &server)]));
    assert_eq!(ask(&tidegate, "x").as_deref(), Ok("flow heard x"));
    // What has begun as HTTP goes on as it was, and ends.
    if client.try_send(crate::support::get("/", ""))
        && let Ok(response) = client.try_response()
    {
        assert_eq!((response.text().as_str(), response.fields.value("connection")), ("web", Some("close")));
    }
    assert_eq!(ask(&tidegate, "y").as_deref(), Ok("flow heard y"));
}

/// The program and its check say alike that flows go around what guards a server from requests.
#[test]
fn a_way_around_a_guard_is_warned_of() {
    let server = named("a");
    let text = "
listeners:
  web: { bind: 127.0.0.1:0, routes: [{ match: { path: /admin }, deny: 403 }, { to: app }] }
  flows: { bind: 127.0.0.1:0, role: tcp, to: @APP }
pools: { app: [@APP] }
";
    let text = crate::support::config(text, &[("APP", &server)]);
    let folder = testkit::Folder::new();
    let file = folder.write("tidegate.yaml", &text).display().to_string();
    let said = output_of(BINARY, &["check", &file]);
    let warning = "guards by a `deny` before it: whoever comes here goes around it";
    assert!(said.status.success() && String::from_utf8_lossy(&said.stderr).contains(warning), "{said:?}");
    start(&text, &[]).message(warning);
}
