//! Where nobody is led: to what is not public, and to ourselves.

use testkit::{Response, Server, Tidegate};

use super::{OPEN, ask, port, proxy};
use crate::support::start;

fn connect(tidegate: &Tidegate, to: &str) -> Response {
    tidegate.client().ask(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n"))
}

#[test]
fn what_is_not_public_is_refused_by_whatever_name() {
    let server = Server::named("one");
    let port = port(&server);
    let text = OPEN.replace("allow: [127.0.0.0/8], ", "").replace("@MORE", "to: origin");
    let tidegate = start(&text, &[]);
    for host in [
        "127.0.0.1",
        "a.test",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "10.0.0.1",
        "far.test",
    ] {
        assert_eq!(ask(&tidegate, &format!("http://{host}:{port}/")).status, 403, "{host}");
        assert_eq!(connect(&tidegate, &format!("{host}:{port}")).status, 403, "{host}");
    }
    assert_eq!(server.connections(), 0);
    let line = tidegate.log_line("a refusal", |line| line["host"] == "169.254.169.254");
    assert_eq!(
        (line["fault"].as_str(), line["reason"].as_str()),
        (Some("denied"), Some("an address that is not public and not in egress.allow"))
    );
}

#[test]
fn no_way_leads_back_to_this_process() {
    let text = OPEN.replace("[127.0.0.0/8]", "['0.0.0.0/0', '::/0']").replace("@MORE", "to: origin");
    let text = format!(
        "{text}  other: {{ bind: '127.0.0.1:0', respond: {{ status: 200, body: here }} }}\n  all: {{ bind: ':0', respond: {{ status: 200, body: here }} }}\n"
    );
    let tidegate = start(&text, &[]);
    let admin = tidegate.ready()["admin"].as_str().expect("an address").to_owned();
    let own = [tidegate.address("web"), tidegate.address("other"), tidegate.address("all"), admin];
    for address in own {
        let port = address.rsplit(':').next().expect("a port");
        for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "a.test", "0.0.0.0", "[::]"] {
            let answers =
                [ask(&tidegate, &format!("http://{host}:{port}/")), connect(&tidegate, &format!("{host}:{port}"))];
            assert_eq!(answers.map(|answer| answer.status), [403, 403], "{host}:{port}");
        }
    }
    let all = tidegate.address("all");
    let port = all.rsplit(':').next().expect("a port");
    assert_eq!(ask(&tidegate, &format!("http://127.0.0.2:{port}/")).status, 403, "by every address of ours");
}

#[test]
fn an_address_that_becomes_ours_by_a_reload_is_refused_from_then_on() {
    // At an address at which no client gets a port: nobody may take it in between.
    let server = Server::at("127.0.0.77:0", |peer| {
        while peer.request().is_some() {
            peer.send(testkit::ok("one"));
        }
    });
    let taken = server.address().to_owned();
    let text = |more: &str| crate::support::config(&(OPEN.replace("@MORE", "to: origin") + more), &[]);
    let tidegate = testkit::Start::of(crate::support::BINARY).text(&text(""));
    let target = format!("http://{taken}/");
    assert_eq!(ask(&tidegate, &target).text(), "one");
    drop(server);
    let more = format!("  late: {{ bind: '{taken}', respond: {{ status: 200, body: ours }} }}\n");
    tidegate.reload(&text(&more));
    assert_eq!(ask(&tidegate, &target).status, 403);
}

#[test]
pub(crate) fn what_is_allowed_is_led_to() {
    let server = Server::named("one");
    assert_eq!(ask(&proxy(""), &format!("http://127.0.0.1:{}/", port(&server))).text(), "one");
}

#[test]
pub(crate) fn tunnels_go_to_some_ports() {
    let (one, two) = (Server::named("one"), Server::named("two"));
    let range = format!("{}-{}", port(&one), port(&one));
    let tidegate = start(&OPEN.replace("1024-65535", &range).replace("@MORE", "to: origin"), &[]);
    let open = |server: &Server| {
        let mut client = tidegate.client();
        client.send(format!("CONNECT a.test:{0} HTTP/1.1\r\nHost: a.test:{0}\r\n\r\n", port(server)));
        client.head().status
    };
    assert_eq!((open(&one), open(&two)), (200, 403));
}

#[test]
fn requests_go_to_no_port_of_other_services() {
    let text = OPEN.replace("1024-65535", "443").replace("@MORE", "to: origin");
    let tidegate = start(&text, &[]);
    for port in [22, 25, 110, 993] {
        assert_eq!(ask(&tidegate, &format!("http://127.0.0.1:{port}/")).status, 403, "{port}");
    }
    assert_eq!(ask(&tidegate, "http://127.0.0.1:80/").status, 502, "nobody is there");
}

#[test]
fn every_address_that_ends_here_is_ours() {
    if !testkit::netns::possible() {
        return;
    }
    let machine = testkit::netns::Netns::new("forward");
    machine.run("ip -6 route add local 2001:2::/64 dev lo");
    machine.run("ip route add local 198.18.7.0/24 dev lo");
    let text = "
listeners:
  web: { bind: '127.0.0.1:3128', role: forward, egress: { allow: ['::/0', 0.0.0.0/0], connect_ports: 1-65535 }, to: origin }
  own: { bind: ':9443', respond: { status: 200, body: here } }
";
    let text = crate::support::config(text, &[]);
    let tidegate = testkit::Start::of(crate::support::BINARY).inside(&machine).text(&text);
    for host in ["[2001:2::7]", "198.18.7.7", "127.0.0.9"] {
        let answers = machine
            .enter(|| [connect(&tidegate, &format!("{host}:9443")), ask(&tidegate, &format!("http://{host}:9443/"))]);
        assert_eq!(answers.map(|answer| answer.status), [403, 403], "{host}");
    }
}
