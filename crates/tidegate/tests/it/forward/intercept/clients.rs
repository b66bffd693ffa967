//! Clients: those that do not believe us, those that take their time, and those that others have written.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use testkit::{ClientTls, Ending, Reloaded, Tidegate, tool, until};

use super::super::port;
use super::{Office, READING, line_of_tunnel, page, tunnel};
use crate::tls::was_shown;

#[test]
fn a_tunnel_inside_of_http_2_is_read_as_well() {
    let office = Office::new();
    let (server, _) = office.server(&["a.test"]);
    let text = READING.replace("@MORE", "").replace("    role: forward", "    role: forward\n    http: [h1, h2]");
    let tidegate = office.desk.start(&text, &[]);
    let Some(mut node) = tool("node") else { return };
    let script = format!(
        "const http2 = require('http2'), tls = require('tls'), fs = require('fs');
         const proxy = http2.connect('http://{}');
         const tunnel = proxy.request({{ ':method': 'CONNECT', ':authority': 'a.test:{}' }});
         tunnel.on('response', () => {{
           const socket = tls.connect({{ socket: tunnel, servername: 'a.test', ca: fs.readFileSync('{}') }}, () => {{
             socket.write('GET /deep HTTP/1.1\\r\\nHost: a.test\\r\\n\\r\\nGET /private/x HTTP/1.1\\r\\nHost: a.test\\r\\nConnection: close\\r\\n\\r\\n');
           }});
           let said = '';
           socket.on('data', (data) => said += data);
           socket.on('end', () => {{ console.log(said); proxy.destroy(); }});
           socket.on('error', (error) => {{ console.log(error); process.exit(1); }});
         }});
         setTimeout(() => process.exit(2), 20000).unref();",
        tidegate.address("web"),
        port(&server),
        office.desk.folder.path().join("own/ca.pem").display()
    );
    let output = node.args(["-e", &script]).stdin(Stdio::null()).output().expect("a client that runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("/deep ") && said.contains("403: not for you"), "{output:?}");
    assert_eq!(tidegate.log_of("/deep")["interception"], "intercepted");
    assert_eq!(line_of_tunnel(&tidegate, "a.test")["version"], "2");
}

/// What curl says of a page behind the proxy.
pub(super) fn curl(office: &Office, tidegate: &Tidegate, options: &[&str], url: &str) -> Option<String> {
    let mut curl = tool("curl")?;
    curl.args(["-sS", "--max-time", "20", "--cacert"]).arg(office.desk.folder.path().join("own/ca.pem"));
    let proxy = format!("http://{}", tidegate.address("web"));
    let output =
        curl.args(["-x", &proxy]).args(options).arg(url).stdin(Stdio::null()).output().expect("a client that runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{options:?} {url}: {said}");
    Some(said)
}

#[test]
fn a_client_that_does_not_believe_us_is_refused_each_time_unless_it_is_to_be_left_alone() {
    let office = Office::new();
    let (server, issued) = office.server(&["a.test"]);
    // It knows the server's authority, and no other.
    let pinned = ClientTls::new(&office.desk.authority, "a.test");
    for (more, left_alone) in [("", false), (", on_failure: bypass, bypass_for: 1h", true)] {
        let tidegate = office.start(more);
        assert!(tunnel(&tidegate, "a.test", &server).begin(&pinned).is_err());
        let line = line_of_tunnel(&tidegate, "a.test");
        assert_eq!(
            (&line["fault"], &line["reason"]),
            (&"client_tls".into(), &"the client does not believe our certificate".into())
        );
        let again = tunnel(&tidegate, "a.test", &server).begin(&pinned);
        assert_eq!(again.is_ok(), left_alone, "{more}");
        if let Ok(mut client) = again {
            assert!(was_shown(&client, &issued));
            assert_eq!(client.ask(page("a.test", "/")).status, 200);
            drop(client);
            let bypassed = |line: &serde_json::Value| line["interception"] == "bypassed";
            assert_eq!(tidegate.log_line("a tunnel that nobody read", bypassed)["method"], "CONNECT");
        }
        // With another host it is not.
        let other = tunnel(&tidegate, "b.test", &server).begin(&ClientTls::new(&office.desk.authority, "b.test"));
        assert!(other.is_err());
    }
}

#[test]
fn a_client_that_looks_at_our_certificate_after_the_handshake_is_left_alone_as_well() {
    let office = Office::new();
    let (server, issued) = office.server(&["a.test"]);
    let tidegate = office.start(", on_failure: bypass");
    let known = ClientTls::of_anybody("a.test", &[]);
    let first = tunnel(&tidegate, "a.test", &server).begin(&known).expect("it takes whatever it is shown");
    assert!(!was_shown(&first, &issued));
    drop(first);
    until("it is left alone", || {
        let mut client = tunnel(&tidegate, "a.test", &server).begin(&known).expect("the same");
        // Whoever asks something is content with us.
        let is_server = was_shown(&client, &issued);
        is_server && client.ask(page("a.test", "/")).status == 200
    });
}

#[test]
pub(crate) fn who_is_left_alone_is_read_again_when_its_time_is_over() {
    let office = Office::new();
    let (server, _) = office.server(&["a.test"]);
    let pinned = ClientTls::new(&office.desk.authority, "a.test");
    let tidegate = office.start(", on_failure: bypass, bypass_for: 2s");
    assert!(tunnel(&tidegate, "a.test", &server).begin(&pinned).is_err());
    assert!(tunnel(&tidegate, "a.test", &server).begin(&pinned).is_ok());
    until("it is read again", || tunnel(&tidegate, "a.test", &server).begin(&pinned).is_err());
}

#[test]
fn a_client_that_agrees_on_nothing_is_not_left_alone() {
    let office = Office::new();
    let (server, _) = office.server(&["a.test"]);
    let tidegate = office.start(", on_failure: bypass");
    let odd = ClientTls::of_anybody("a.test", &["odd/1"]);
    for _ in 0..2 {
        assert!(tunnel(&tidegate, "a.test", &server).begin(&odd).is_err());
    }
    assert_eq!(
        line_of_tunnel(&tidegate, "a.test")["reason"],
        "the client offers no protocol that is spoken here (ALPN)"
    );
}

#[test]
fn a_client_that_takes_its_time_is_not_waited_for_without_end() {
    let office = Office::new();
    let (server, _) = office.server(&["a.test"]);
    let text = READING.replace("@MORE", "") + "    timeouts: { tls_handshake: 300ms, request_head: 300ms }\n";
    let tidegate = office.desk.start(&text, &[]);
    // Nothing at all, half a hello, a hello and no more.
    let mut silent = tunnel(&tidegate, "a.test", &server);
    assert_eq!(silent.ending(), Ending::Clean);
    let mut half = tunnel(&tidegate, "a.test", &server);
    half.send([22, 3, 1, 1, 0, 1]);
    assert_eq!(half.ending(), Ending::Clean);
    let mut stuck = tunnel(&tidegate, "a.test", &server);
    stuck.send(hello());
    let mut heard = stuck.ending();
    if let Ending::Bytes(bytes) = &heard {
        assert_eq!(bytes.first(), Some(&22), "our side of the handshake");
        heard = Ending::Clean;
    }
    assert_eq!(heard, Ending::Clean);
    let reasons = ["nothing was said in the tunnel in time", "the client has not ended the handshake of TLS in time"];
    for reason in reasons {
        tidegate.log_line(reason, |line| line["reason"] == reason);
    }
    server.until_idle();
}

/// A ClientHello of TLS 1.3 for `a.test`, as a library writes one.
fn hello() -> Vec<u8> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = listener.local_addr().expect("an address").to_string();
    let heard = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut bytes = vec![0; 4096];
        let count = std::io::Read::read(&mut stream, &mut bytes).expect("a hello");
        bytes.truncate(count);
        bytes
    });
    let _ = testkit::Client::try_secured(&address, &ClientTls::of_anybody("a.test", &[]));
    heard.join().expect("a thread")
}

#[test]
fn many_hosts_are_read_side_by_side_while_the_configuration_changes() {
    let office = Office::new();
    let names: Vec<String> = (0..20).map(|number| format!("h{number}.many.test")).collect();
    let hosts: Vec<String> = names.iter().map(|name| format!("{name}: 127.0.0.1")).collect();
    let servers: Vec<_> = names.iter().map(|name| office.server(&[name]).0).collect();
    let text = |reason: &str| {
        let text = READING.replace("a.test: 127.0.0.1", &format!("a.test: 127.0.0.1, {}", hosts.join(", ")));
        office
            .desk
            .text(&text.replace("@MORE", "").replace("not for you", reason).replace("workers: 1", "workers: 2"), &[])
    };
    let tidegate = crate::support::start(&text("first"), &[]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let work = |offset: usize| {
            let (tidegate, names, servers, done, office) = (&tidegate, &names, &servers, &done, &office);
            move || {
                let mut asked = 0;
                while !done.load(Ordering::SeqCst) || asked < names.len() {
                    let number = (asked + offset) % names.len();
                    let mut client = office.inside(tidegate, &names[number], &servers[number]);
                    assert_eq!(client.ask(page(&names[number], "/x")).text(), "/x ");
                    assert_eq!(client.ask(page(&names[number], "/private/x")).status, 403);
                    asked += 1;
                }
            }
        };
        let workers = [scope.spawn(work(0)), scope.spawn(work(7))];
        for number in 0..5 {
            assert_eq!(tidegate.reload(&text(&format!("reload {number}"))), Reloaded::Yes);
        }
        done.store(true, Ordering::SeqCst);
        workers.into_iter().for_each(|worker| worker.join().expect("a client"));
    });
}

#[test]
fn real_clients_are_read_by_both_versions() {
    let office = Office::new();
    let (server, _) = office.server(&["a.test"]);
    let tidegate = office.start("");
    for option in ["--http2", "--http1.1", "--tlsv1.2", "--tls-max 1.2"] {
        let options: Vec<&str> = option.split(' ').collect();
        let Some(said) = curl(&office, &tidegate, &options, &format!("https://a.test:{}/real", port(&server))) else {
            return;
        };
        assert_eq!(said, "/real ", "{option}");
        assert_eq!(
            curl(&office, &tidegate, &options, &format!("https://a.test:{}/private/real", port(&server))).as_deref(),
            Some("403: not for you\n")
        );
    }
}

#[test]
fn clients_of_socks_are_read_as_well_and_datagrams_are_no_way_around() {
    let office = Office::new();
    let (server, _) = office.server(&["a.test"]);
    let tidegate = office.start("");
    let Some(mut curl) = tool("curl") else { return };
    curl.args(["-sS", "--max-time", "20", "--cacert"]).arg(office.desk.folder.path().join("own/ca.pem"));
    let output = curl
        .args(["-x", &format!("socks5h://{}", tidegate.address("web"))])
        .arg(format!("https://a.test:{}/by-socks", port(&server)))
        .stdin(Stdio::null())
        .output()
        .expect("a client that runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/by-socks ", "{output:?}");
    assert_eq!(tidegate.log_of("/by-socks")["interception"], "intercepted");
    let line = tidegate.log_line("a tunnel's line", |line| line["method"] == "SOCKS5");
    assert_eq!(line["interception"], "intercepted");
    let datagrams = format!(
        "GET http://proxy/.well-known/masque/udp/a.test/{}/ HTTP/1.1\r\nHost: proxy\r\nConnection: Upgrade\r\nUpgrade: connect-udp\r\n\
         Capsule-Protocol: ?1\r\n\r\n",
        port(&server)
    );
    assert_eq!(tidegate.client().ask(datagrams).status, 403);
    tidegate.log_line("no datagrams", |line| {
        line["reason"] == "datagrams cannot be read, and what goes through tunnels is"
    });
}
