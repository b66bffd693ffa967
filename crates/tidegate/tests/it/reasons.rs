//! What the access log says in words of what went wrong: of servers that are not there, names without an address, clients with which no
//! hands were shaken.

use std::time::Duration;

use rustls::version::TLS12;
use testkit::datagram::Asking;
use testkit::{Authority, Client, ClientTls, Folder, Hanging, Names, Refusing, Start, Tidegate, Unheard, Way, Wishes};

use crate::support::{BINARY, ask, config, get, start};
use crate::tls::Desk;

#[test]
fn why_a_server_cannot_be_connected_to_is_said_alike_for_all() {
    let (refusing, folder) = (Refusing::new(), Folder::new());
    let nowhere = format!("unix:{}/none.sock", folder.path().display());
    let text = "
workers: 1
listeners:
  http: { bind: 127.0.0.1:0, routes: [{ match: { path: /socket }, to: socket }, { match: { path: /h2 }, to: shared }, { to: refusing }] }
  tcp: { bind: 127.0.0.1:0, role: tcp, to: refusing }
  mute: { bind: 127.0.0.1:0, role: tcp, to: socket }
  forward: { bind: 127.0.0.1:0, role: forward, egress: { allow: 127.0.0.0/8, connect_ports: 1-65535 }, to: origin }
pools: { refusing: [@REFUSING], socket: ['@NOWHERE'], shared: { servers: [@REFUSING], protocol: h2 } }
";
    let text = text.replace("@NOWHERE", &nowhere);
    let tidegate = start(&text, &[("REFUSING", &refusing)]);
    let reason = |listener: &str, path: &str| {
        let line = tidegate.log_line(&format!("{listener} {path}"), |line| {
            line["listener"] == listener && line["path"].as_str().unwrap_or_default() == path
        });
        assert_eq!(line["fault"], "connect", "{line}");
        line["reason"].as_str().unwrap_or_default().to_owned()
    };
    let mut http = Client::connect(&tidegate.address("http"));
    for (path, why) in
        [("/", "connection refused"), ("/h2", "connection refused"), ("/socket", "there is no such socket")]
    {
        let answer = http.ask(get(path, ""));
        // How our side is made is no business of theirs.
        assert_eq!((answer.status, answer.text().as_str()), (502, "502: connect\n"));
        assert_eq!(reason("http", path), why);
    }
    for (listener, why) in [("tcp", "connection refused"), ("mute", "there is no such socket")] {
        Client::connect(&tidegate.address(listener)).ending();
        assert_eq!(reason(listener, ""), why);
    }
    let mut forward = Client::connect(&tidegate.address("forward"));
    assert_eq!(forward.ask(format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", refusing.address())).status, 502);
    assert_eq!(reason("forward", ""), "connection refused");
    tidegate.message("is passed over, failed ×1: connection refused");
}

/// One that takes too long says so by its code; the log of the process says it, too.
#[test]
fn a_server_that_is_passed_over_for_its_silence_is_said_to_be_silent() {
    let hanging = Hanging::new();
    let text = "listeners: { web: { bind: 127.0.0.1:0, to: app } }\npools: { app: { servers: [@APP], timeouts: { connect: 200ms } } }\n";
    let tidegate = start(text, &[("APP", &hanging)]);
    assert_eq!(ask(&tidegate, &get("/", "")).status, 504);
    tidegate.message("is passed over, failed ×1: no answer in time");
}

#[test]
fn a_flow_that_finds_no_server_has_tried_none() {
    let unheard = Unheard::new();
    let text = "
dns: { servers: ['127.0.0.1:9'] }
listeners:
  none: { bind: 127.0.0.1:0, role: udp, timeouts: { flow: 100ms }, to: none }
  gone: { bind: 127.0.0.1:0, role: udp, timeouts: { flow: 300ms }, to: gone }
  web: { bind: 127.0.0.1:0, to: none }
pools: { none: ['none.test:9'], gone: [@GONE] }
";
    let tidegate = start(text, &[("GONE", &unheard)]);
    let of = |listener: &str, fault: &str| {
        tidegate.log_line(&format!("{listener} {fault}"), |line| line["listener"] == listener && line["fault"] == fault)
    };
    let none = Asking::to(&tidegate.address("none"));
    ["one", "two", "three"].iter().for_each(|word| none.say(word));
    assert_eq!(of("none", "no_server")["tries"], 0);
    assert_eq!(ask(&tidegate, &get("/", "")).status, 503);
    assert_eq!(of("web", "no_server")["tries"], 0);
    let gone = Asking::to(&tidegate.address("gone"));
    gone.say("one");
    let line = of("gone", "connect");
    assert_eq!((&line["tries"], &line["reason"]), (&1.into(), &"connection refused".into()));
}

#[test]
fn who_was_asked_for_a_name_and_what_was_said_is_told() {
    let folder = Folder::new();
    let names = Names::start(&[], 1);
    let told = |way: Way, wanted: &str| {
        names.set_way(way);
        let text = format!(
            "dns: {{ servers: ['{}'] }}\nlisteners:\n  web: {{ bind: 127.0.0.1:0, role: forward, to: origin }}\n  other: {{ bind: 127.0.0.1:0, to: app \
             }}\npools: {{ app: ['b.test:80'] }}\n",
            names.address()
        );
        let tidegate = Start::of(BINARY).file(&folder.write("t.yaml", &config(&text, &[])));
        let answer =
            Client::connect(&tidegate.address("web")).ask("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
        // Which name servers we have is no business of theirs.
        assert_eq!(answer.text(), "502: unresolved: a name without an address\n");
        let line = tidegate.log_line("a.test", |line| line["host"] == "a.test");
        let wanted = format!("{wanted}, asked: {}", names.address());
        assert_eq!((&line["fault"], &line["reason"]), (&"unresolved".into(), &wanted.as_str().into()));
        tidegate.message(&format!("`b.test` cannot be resolved, it has no servers for now: {wanted}"));
    };
    told(Way::Denying, "there is no such name (NXDOMAIN)");
    told(Way::Failing, "the name server cannot tell (SERVFAIL)");
    told(Way::Plainly, "the name has no such record (NOERROR)");
}

#[test]
fn a_name_server_that_is_not_there_is_named() {
    let unheard = Unheard::new();
    let text = "dns: { servers: ['@DNS'] }\nlisteners: { web: { bind: 127.0.0.1:0, role: forward, timeouts: { connect: 500ms }, to: origin } }\n";
    let tidegate = start(text, &[("DNS", &unheard)]);
    let mut client = Client::connect(&tidegate.address("web"));
    assert_eq!(client.ask("GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n").status, 502);
    let line = tidegate.log_line("a.test", |line| line["host"] == "a.test");
    let reason = line["reason"].as_str().unwrap_or_default();
    assert!(reason.ends_with(&format!(", asked: {}", unheard.address())), "{reason}");
}

/// One listener for each way to ask for certificates.
const SECURED: &str = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners:
  any: { bind: 127.0.0.1:0, tls: main, respond: 200 }
  new: { bind: 127.0.0.1:0, tls: { certificates: main, min_version: tls1.3 }, respond: 200 }
  asks: { bind: 127.0.0.1:0, tls: { certificates: main, client_cert: { ca: '@DIR/ca.pem', mode: required } }, respond: 200 }
  late: { bind: 127.0.0.1:0, tls: main, timeouts: { tls_handshake: 300ms }, respond: 200 }
";

#[test]
fn why_no_hands_were_shaken_with_a_client_is_said() {
    let desk = Desk::new();
    let tidegate = desk.start(SECURED, &[]);
    let said = |listener: &str, why: &str| {
        let line = tidegate.log_line(&format!("{listener}: {why}"), |line| {
            line["listener"] == listener && line["reason"].as_str().is_some_and(|reason| reason.contains(why))
        });
        assert_eq!((&line["fault"], &line["side"]), (&"client_tls".into(), &"client".into()), "{line}");
        assert!(line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{line}");
        assert!(line.get("status").is_none() && line.get("version").is_none(), "{line}");
        line
    };
    for (words, why) in [
        ("GET / HTTP/1.1\r\n\r\n", "plain HTTP where TLS should begin"),
        ("SSH-2.0-OpenSSH_9.9\r\n", "SSH where TLS should begin"),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "`accept_proxy` reads"),
        ("\u{1}\u{2}hello there", "something else than TLS"),
    ] {
        Client::connect(&tidegate.address("any")).send(words);
        said("any", why);
    }
    let refused = |listener: &str, tls: &ClientTls| {
        // A client of TLS 1.3 is through before it learns what the server thinks of its certificate.
        if let Ok(mut client) = Client::try_secured(&tidegate.address(listener), tls) {
            client.ending();
        }
    };
    let with = |wishes: &Wishes<'_>| ClientTls::with(&desk.authority, "example.com", wishes);
    refused("new", &with(&Wishes { version: Some(&TLS12), ..Wishes::default() }));
    said("new", "no version of TLS that both speak");
    refused("any", &with(&Wishes { protocols: &["gopher"], ..Wishes::default() }));
    said("any", "no protocol that is spoken here (ALPN)");
    let other = Authority::alone(&["other.test"], 1, 1);
    refused("any", &ClientTls::trusting(&other.cert, "example.com", &Wishes::default()));
    let line = said("any", "for it does not believe our certificate: unknown_ca");
    assert_eq!(line["sni"], "example.com");
    refused("any", &ClientTls::new(&desk.authority, "nobody.test"));
    let line = said("any", "and there is no certificate for `nobody.test`");
    assert_eq!(line["sni"], "nobody.test");
    refused("asks", &desk.tls());
    said("asks", "the client shows no certificate, and has to");
    let day = Duration::from_secs(24 * 3600);
    let old = desk.authority.issue_from(&["client.test"], 3 * day, day);
    refused("asks", &with(&Wishes { shows: Some(&old), ..Wishes::default() }));
    said("asks", "the client's certificate has expired");
    let strange = Authority::new().issue(&["client.test"]);
    refused("asks", &with(&Wishes { shows: Some(&strange), ..Wishes::default() }));
    said("asks", "signed by no authority of `client_cert`");
    // The beginning of a handshake, and nothing behind it.
    let mut late = Client::connect(&tidegate.address("late"));
    late.send([22, 3, 1, 2, 0, 1]);
    late.ending();
    said("late", "has not ended the handshake in time");
    counts_no_requests(&tidegate);
}

/// Nobody knows whether there would have been any.
fn counts_no_requests(tidegate: &Tidegate) {
    assert_eq!(tidegate.metric("tidegate_requests_total", &["listener=\"any\""]).iter().sum::<f64>(), 0.0);
    let failed: f64 = tidegate.metric("tidegate_tls_handshakes_failed_total", &["listener=\"any\""]).iter().sum();
    assert_eq!(failed, 7.0);
}

/// Whoever looks whether a port is open does so every other second.
#[test]
fn who_says_nothing_leaves_no_line() {
    let desk = Desk::new();
    let tidegate = desk.start(SECURED, &[]);
    drop(Client::connect(&tidegate.address("any")));
    Client::connect(&tidegate.address("late")).ending();
    Client::connect(&tidegate.address("any")).send("GET / HTTP/1.1\r\n\r\n");
    tidegate.log_line("the one that spoke", |line| line["fault"] == "client_tls");
    assert_eq!(tidegate.log().len(), 1, "{:?}", tidegate.log());
}
