//! Tunnels are blocked by the host that is asked for, and by the name in TLS, without looking into them.

use std::process::Stdio;

use testkit::{Authority, Client, Ending, Folder, Peer, Server, ServerTls, Start, Talk, Tidegate, Wishes, tool, until};

use super::listed;
use crate::forward::port;

fn connect(to: &str) -> String {
    format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n")
}

/// A tunnel to a server of TLS by an address, in which this name is asked for.
fn asks(tidegate: &Tidegate, authority: &Authority, server: &Server, name: &str) -> std::io::Result<()> {
    let mut talk = Talk::with(&tidegate.address("web"));
    talk.say(connect(&format!("127.0.0.1:{}", port(server))));
    assert_eq!(talk.line(), "HTTP/1.1 200 OK");
    while !talk.line().is_empty() {}
    talk.begin(&testkit::ClientTls::with(authority, name, &Wishes::default())).map(|_| ())
}

#[test]
fn a_host_is_blocked_where_it_is_asked_for() {
    let folder = Folder::new();
    let tidegate = listed(&folder, &[("ads", "adblock", "||ads.test^\n||a.test/banner/\n")]);
    let refused = tidegate.client().ask(connect("www.ads.test:4433"));
    assert_eq!((refused.status, refused.text().contains("`||ads.test^` of list `ads`")), (403, true));
    assert_eq!(tidegate.log_line("a refusal", |line| line["method"] == "CONNECT")["list"], "ads");
    let dead = testkit::Refusing::new();
    let to = format!("a.test:{}", port(&dead));
    assert_eq!(tidegate.client().ask(connect(&to)).status, 502, "a rule with a path says nothing of a tunnel");
}

#[test]
fn a_name_in_tls_that_is_listed_closes_the_tunnel_before_its_server_hears_it() {
    let authority = Authority::new();
    let issued = authority.issue(&["ads.test", "good.test"]);
    let server = Server::secured(&ServerTls::new(&issued), |peer| while peer.request().is_some() {});
    let folder = Folder::new();
    let tidegate = listed(&folder, &[("ads", "domains", "ads.test\n")]);
    asks(&tidegate, &authority, &server, "good.test").expect("a handshake");
    let error = asks(&tidegate, &authority, &server, "ads.test").expect_err("no handshake");
    assert!(error.to_string().contains("AccessDenied"), "{error}");
    let line = tidegate.log_line("a closed tunnel", |line| line["list"] == "ads");
    assert_eq!(
        (&line["fault"], &line["rule"], &line["sni"]),
        (&"denied".into(), &"ads.test".into(), &"ads.test".into())
    );
    assert_eq!((&line["host"], &line["bytes_in"], &line["status"]), (&"127.0.0.1".into(), &0.into(), &200.into()));
    assert_eq!(line["reason"], "the name asked for in TLS is on a list");
    assert_eq!(tidegate.metric("tidegate_list_hits_total", &["list=\"ads\""]), [1.0]);
}

#[test]
fn a_name_that_comes_in_pieces_is_waited_for_and_a_server_may_speak_first() {
    let folder = Folder::new();
    let server = Server::script(|peer| {
        peer.send("220 ready\r\n");
        say_back(peer);
    });
    let tidegate = listed(&folder, &[("ads", "domains", "ads.test\n")]);
    let open = || {
        let mut client = tidegate.client();
        client.send(connect(&format!("127.0.0.1:{}", port(&server))));
        assert_eq!(client.head().status, 200);
        assert_eq!(client.exactly(11), b"220 ready\r\n", "before its client says anything");
        client
    };
    let mut client = open();
    client.send("EHLO x\r\n");
    assert_eq!(client.exactly(8), b"EHLO x\r\n", "what is no TLS passes");
    let hello = hello("ads.test");
    let mut client = open();
    let (one, two) = hello.split_at(hello.len() / 2);
    client.send(one);
    server.until_open(2);
    client.send(two);
    assert_eq!(client.exactly(7), [21, 3, 3, 0, 2, 2, 49], "an alert, and nothing of it came back from the server");
    assert!(matches!(client.ending(), Ending::Clean | Ending::Reset));
    let mut client = open();
    client.send([22, 3, 1]);
    client.finish();
    assert_eq!(client.exactly(3), [22, 3, 1], "a beginning that has no end passes as it is");
}

#[test]
fn a_name_that_only_a_server_could_read_is_not_let_pass() {
    let folder = Folder::new();
    let server = Server::script(say_back);
    let tidegate = listed(&folder, &[("ads", "domains", "ads.test\n")]);
    let hello = hello("ads.test");
    let in_bytes = hello[5..].iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect::<Vec<u8>>();
    let padded = [&hello[..], &[0; 40]].concat();
    let long = [&[22, 3, 1, 0x40, 0, 1, 0, 0x41, 0][..], &[0; 16_380]].concat();
    let say = |bytes: &[u8]| {
        let mut client = tidegate.client();
        client.send(connect(&format!("127.0.0.1:{}", port(&server))));
        assert_eq!(client.head().status, 200);
        client.send(bytes);
        client
    };
    // It may come in as many records as it likes, as long as it can be read.
    for readable in [in_bytes, padded] {
        assert_eq!(say(&readable).exactly(7), [21, 3, 3, 0, 2, 2, 49], "an alert");
    }
    for (unreadable, number) in [[&[22, 3, 1, 0, 0][..], &hello].concat(), long].iter().zip(1..) {
        let ending = say(unreadable).ending();
        assert!(matches!(ending, Ending::Clean | Ending::Reset), "{ending:?} came back from the server");
        until("it is recorded", || {
            tidegate.log().iter().filter(|line| line["fault"] == "client_tls").count() == number
        });
    }
}

/// Sends what it hears.
fn say_back(peer: &mut Peer) {
    while let Ok(1..) = peer.reader.fill() {
        let heard = peer.reader.surplus().to_vec();
        peer.reader.exactly(heard.len()).expect("what is here");
        peer.send(heard);
    }
}

/// What a client of TLS says first.
fn hello(name: &str) -> Vec<u8> {
    let name = name.as_bytes();
    let length = |count: usize| (count as u16).to_be_bytes();
    let entry = [&[0][..], &length(name.len()), name].concat();
    let list = [&length(entry.len())[..], &entry].concat();
    let extension = [&[0, 0][..], &length(list.len()), &list].concat();
    let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0], &length(extension.len()), &extension].concat();
    let message = [&[1, 0][..], &length(body.len()), &body].concat();
    [&[22, 3, 1][..], &length(message.len()), &message].concat()
}

#[test]
fn an_earlier_route_that_lets_a_client_through_does_so_for_its_names_too() {
    let folder = Folder::new();
    folder.write("l.txt", "ads.test\n");
    let routes = "routes: [{ match: { client: 127.0.0.1 }, to: origin }, { match: { url: { list: l } }, deny: 403 }]";
    let text = crate::support::config(&crate::forward::OPEN.replace("@MORE", routes), &[])
        + "lists: { l: { file: l.txt, format: domains } }\n";
    let tidegate = testkit::Start::of(crate::support::BINARY).file(&folder.write("t.yaml", &text));
    let server = Server::script(|peer| {
        let heard = peer.reader.exactly(5).expect("a record");
        peer.send(heard);
    });
    let mut client: Client = tidegate.client();
    client.send(connect(&format!("127.0.0.1:{}", port(&server))));
    assert_eq!(client.head().status, 200);
    client.send(hello("ads.test"));
    assert_eq!(client.exactly(3), [22, 3, 1]);
}

#[test]
fn curl_is_shown_the_alert_through_a_proxy_of_either_version() {
    let Some(mut curl) = tool("curl") else { return };
    let help = curl.args(["--help", "all"]).output().expect("a client that runs");
    let knows_h2 = String::from_utf8_lossy(&help.stdout).contains("--proxy-http2");
    let desk = crate::tls::Desk::new();
    let issued = desk.issue("a", &["ads.test", "good.test"]);
    let server = Server::secured(&ServerTls::new(&issued), |peer| {
        while peer.request().is_some() {
            peer.send(testkit::ok("secured"));
        }
    });
    desk.folder.write("l.txt", "ads.test\n");
    let more = "routes: [{ match: { url: { list: l } }, deny: 403 }, { to: origin }]\n    tls: main";
    let text = crate::support::config(&crate::forward::OPEN.replace("@MORE", more), &[])
        + "certificates: { main: { cert: main.pem, key: main.key } }\nlists: { l: { file: l.txt, format: domains } }\n";
    let tidegate = Start::of(crate::support::BINARY).file(&desk.folder.write("t.yaml", &text));
    let proxy = format!("https://{}", tidegate.address("web"));
    let to = |name: &str| format!("{name}:443:127.0.0.1:{}", port(&server));
    for version in [None, Some("--proxy-http2")].into_iter().filter(|version| version.is_none() || knows_h2) {
        let ask = |name: &str| {
            let mut curl = tool("curl").expect("it was there");
            curl.args(["-sSk", "--proxy-insecure", "--max-time", "20", "-x", &proxy, "--connect-to", &to(name)]);
            let output = curl.args(version).arg(format!("https://{name}/")).stdin(Stdio::null()).output();
            let output = output.expect("a client that runs");
            (output.status.success(), format!("{output:?}"))
        };
        let (reached, said) = ask("good.test");
        assert!(reached && said.contains("secured"), "{version:?}: {said}");
        let (reached, said) = ask("ads.test");
        assert!(!reached && said.to_lowercase().contains("access denied"), "{version:?}: {said}");
    }
}
