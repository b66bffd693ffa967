//! Where servers come from: names, services and files that change while requests are under way.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;
use testkit::{Client, Folder, Names, Server, Signal, Start, Tidegate, Way, failure_of, ok, until};

use crate::support::{BINARY, config, get};

const HOME: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The program in front of one pool with these lines, in a folder of the test.
fn before(folder: &Folder, names: &Names, workers: usize, pool: &str) -> Tidegate {
    let text = format!(
        "workers: {workers}\ndns: {{ servers: ['{}'] }}\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ servers: {pool} }} }}\n",
        names.address()
    );
    Start::of(BINARY).file(&folder.write("tidegate.yaml", &config(&text, &[])))
}

/// A server that answers with its name, and `/slow` in two halves.
fn in_halves(address: &str, name: &'static str) -> (Server, Signal) {
    let finish = Signal::new();
    let finishing = finish.clone();
    let server = Server::at(address, move |peer| {
        while let Some(request) = peer.request() {
            if request.target == "/slow" {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
                finishing.wait();
                peer.send("56789");
            } else {
                peer.send(ok(name));
            }
        }
    });
    (server, finish)
}

fn until_answered_by(client: &mut Client, name: &str) {
    until(&format!("an answer from {name}"), || client.get("/").text() == name);
}

fn until_up(tidegate: &Tidegate, source: &str, up: f64) {
    let label = format!("source=\"{source}\"");
    until(&format!("`{source}` is at {up}"), || tidegate.metric("tidegate_source_up", &[&label]) == [up]);
}

/// What the old server has under way ends well, its idle connections close, and nothing new goes to it, when `change`
/// puts the new one in its place. When `back` takes that back, it is as it was.
fn leaves(tidegate: &Tidegate, old: (Server, Signal), change: impl FnOnce(), back: impl FnOnce()) {
    let (old, finish) = old;
    let (mut slow, mut client) = (tidegate.client(), tidegate.client());
    slow.send(get("/slow", ""));
    assert_eq!(slow.head().status, 200);
    assert_eq!(slow.exactly(5), b"01234");
    assert_eq!(client.get("/").text(), "old");
    change();
    until_answered_by(&mut client, "new");
    // The connection that was idle is closed, the other is not.
    old.until_open(1);
    let leaving = |count: usize| {
        let page: Value = serde_json::from_str(&tidegate.admin("/api/pools/app").text()).expect("JSON");
        assert_eq!(page["leaving"].as_array().map(Vec::len), Some(count), "{page}");
        page["leaving"][0]["in_flight"].clone()
    };
    assert_eq!(leaving(1), 1);
    let before = old.requests().len();
    assert!((0..10).all(|_| client.get("/").text() == "new"));
    assert_eq!(old.requests().len(), before);
    finish.raise();
    assert_eq!(slow.exactly(5), b"56789");
    old.until_idle();
    assert_eq!(slow.get("/").text(), "new");
    leaving(0);
    back();
    until_answered_by(&mut client, "old");
}

#[test]
fn a_server_whose_name_moves_finishes_what_it_has() {
    let (folder, names) = (Folder::new(), Names::start(&[HOME], 1));
    let old = in_halves("127.0.0.1:0", "old");
    let port = old.0.port();
    let _new = in_halves(&format!("127.0.0.2:{port}"), "new");
    let tidegate = before(&folder, &names, 2, &format!("['app.example:{port}']"));
    leaves(&tidegate, old, || names.set(&[Ipv4Addr::new(127, 0, 0, 2)]), || names.set(&[HOME]));
}

#[test]
fn a_server_that_leaves_its_service_finishes_what_it_has() {
    let (folder, names) = (Folder::new(), Names::start(&[HOME], 1));
    let (old, new) = (in_halves("127.0.0.1:0", "old"), in_halves("127.0.0.1:0", "new"));
    let (first, second) = (old.0.port(), new.0.port());
    let say = |port| names.set_services("_http._tcp.app.example", &[(0, 1, port, "a.app.example")]);
    say(first);
    let tidegate = before(&folder, &names, 2, "['srv:_http._tcp.App.example']");
    leaves(&tidegate, old, || say(second), || say(first));
}

#[test]
fn a_server_that_leaves_a_file_finishes_what_it_has() {
    let (folder, names) = (Folder::new(), Names::start(&[], 1));
    let (old, new) = (in_halves("127.0.0.1:0", "old"), in_halves("127.0.0.1:0", "new"));
    let say = |server: &str| folder.replace("servers.yaml", &format!("- {{ address: '{server}', weight: 2 }}\n"));
    let (first, second) = (old.0.address().to_owned(), new.0.address().to_owned());
    say(&first);
    let tidegate = before(&folder, &names, 2, "['file:servers.yaml']");
    leaves(&tidegate, old, || say(&second), || say(&first));
    assert!(!tidegate.messages().contains("reloaded"), "nothing else was reloaded");
}

#[test]
fn what_an_operator_said_of_a_server_holds_when_it_returns() {
    let (folder, names) = (Folder::new(), Names::start(&[], 1));
    let (one, two) = (Server::named("one"), Server::named("two"));
    let both = format!("{{ one: '{}', two: '{}' }}", one.address(), two.address());
    folder.write("servers.json", &both.replace('\'', "\"").replace("one:", "\"one\":").replace("two:", "\"two\":"));
    let tidegate = before(&folder, &names, 1, "['file:servers.json']");
    let operator = tidegate.ready()["admin"].as_str().expect("an admin address").to_owned();
    let body = r#"{"drain": true}"#;
    let put = format!(
        "PUT /api/pools/app/servers/two HTTP/1.1\r\nHost: {operator}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(Client::connect(&operator).ask(put).status, 200);
    folder.replace("servers.json", &format!("{{ \"one\": \"{}\" }}", one.address()));
    tidegate.message("servers.json` is now [one]");
    assert_eq!(tidegate.admin("/api/pools/app/servers/two").status, 404);
    folder.replace("servers.json", &format!("{{ \"one\": \"{}\", \"two\": \"{}\" }}", one.address(), two.address()));
    tidegate.message("servers.json` is now [one, two]");
    assert!(tidegate.admin("/api/pools/app/servers/two").text().contains("draining"));
    assert!((0..6).all(|_| tidegate.client().get("/").text() == "one"));
}

#[test]
fn a_broken_file_of_servers_changes_nothing_and_is_said_with_its_place() {
    let (folder, names) = (Folder::new(), Names::start(&[], 1));
    let (one, two) = (Server::named("one"), Server::named("two"));
    folder.write("servers.yaml", &format!("- {}\n", one.address()));
    let tidegate = before(&folder, &names, 1, "['file:servers.yaml']");
    let mut client = tidegate.client();
    folder.replace("servers.yaml", &format!("- {}\n- {{ adress: 127.0.0.1:1 }}\n", two.address()));
    let said = tidegate.message("unknown key `adress`");
    assert!(said.contains("servers.yaml:2:5") && said.contains("its last servers are kept"), "{said}");
    assert_eq!(client.get("/").text(), "one");
    // A reload is refused as for any other mistake.
    folder.replace("servers.yaml", "[]\n");
    tidegate.message("is an empty list");
    assert_eq!(client.get("/").text(), "one");
    std::fs::remove_file(folder.path().join("servers.yaml")).expect("a file");
    tidegate.message("the file cannot be read");
    assert_eq!(client.get("/").text(), "one");
    folder.replace("servers.yaml", &format!("- {}\n", two.address()));
    until_answered_by(&mut client, "two");
}

/// A pipe would make whoever opens it wait, and a device has no end.
#[test]
fn a_file_of_servers_that_is_none_changes_nothing() {
    let (folder, names, one, two) = (Folder::new(), Names::start(&[], 1), Server::named("one"), Server::named("two"));
    let path = folder.write("servers.yaml", &format!("[{}]\n", one.address()));
    let tidegate = before(&folder, &names, 1, "['file:servers.yaml']");
    assert_eq!(tidegate.client().get("/").text(), "one");
    let instead = folder.path().join("instead");
    std::os::unix::fs::symlink("/dev/zero", &instead).expect("a link");
    std::fs::rename(&instead, &path).expect("a turned link");
    tidegate.message("it is not a regular file");
    assert_eq!(tidegate.client().get("/").text(), "one");
    folder.replace("servers.yaml", &format!("[{}]\n", two.address()));
    until_answered_by(&mut tidegate.client(), "two");
}

#[test]
fn a_broken_file_of_servers_refuses_the_start() {
    let folder = Folder::new();
    let file = folder.write("servers.yaml", "- 127.0.0.1:1\n- 'file:other.yaml'\n- nonsense\n");
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: ['file:{}'] }}\n",
        file.display()
    );
    let (code, said) = failure_of(BINARY, &text);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("servers.yaml:2:3") && said.contains("servers.yaml:3:3"), "{said}");
    let (code, said) = failure_of(BINARY, &text.replace("servers.yaml", "none.yaml"));
    assert!(code == Some(2) && said.contains("there is no file") && said.contains("tidegate.yaml:2:"), "{said}");
}

#[test]
fn sources_of_all_kinds_stand_in_one_list() {
    let (folder, names) = (Folder::new(), Names::start(&[HOME], 60));
    let servers = ["one", "two", "three", "four", "five"].map(Server::named);
    let ports = [0, 1, 2, 3, 4].map(|number: usize| servers[number].port());
    names.set_services("_http._tcp.x.example", &[(5, 1, ports[2], "a.example"), (5, 1, ports[3], "b.example")]);
    folder.write("servers.yaml", &format!("five: 127.0.0.1:{}\n", ports[4]));
    let pool = format!(
        "[127.0.0.1:{}, 'name.example:{}', 'srv:_http._tcp.x.example', 'file:servers.yaml'], balance: round_robin",
        ports[0], ports[1]
    );
    let tidegate = before(&folder, &names, 1, &pool);
    let mut client = tidegate.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").status, 200);
    }
    assert!(servers.iter().all(|server| server.requests().len() == 2));
    let page = tidegate.admin("/api/pools/app").text();
    for name in ["name.example:", "a.example:", "b.example:", "\"five\""] {
        assert!(page.contains(name), "{name}: {page}");
    }
}

#[test]
fn records_of_a_service_say_weights() {
    let (folder, names) = (Folder::new(), Names::start(&[HOME], 60));
    let (one, two) = (Server::named("one"), Server::named("two"));
    let service = "_http._tcp.x.example";
    let records = [(1, 3, one.port(), "a.example"), (1, 1, two.port(), "a.example"), (1, 9, 0, "a.example")];
    names.set_services(service, &records);
    let tidegate = before(&folder, &names, 1, &format!("['srv:{service}'], balance: round_robin"));
    let mut client = tidegate.client();
    for _ in 0..8 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!((one.requests().len(), two.requests().len()), (6, 2));
}

#[test]
fn records_of_a_service_say_who_is_asked_first() {
    let (folder, names) = (Folder::new(), Names::start(&[HOME], 60));
    let (first, second) = (Server::named("first"), Server::named("second"));
    let records = [(200, 9, second.port(), "b.example"), (10, 1, first.port(), "a.example")];
    names.set_services("_http._tcp.x.example", &records);
    let tidegate = before(&folder, &names, 2, "['srv:_http._tcp.x.example']");
    assert!((0..10).all(|_| tidegate.client().get("/").text() == "first"));
    assert!(second.requests().is_empty());
    let address = first.address().to_owned();
    drop(first);
    // A connection that its last moment still accepts would be reset, which is no failed connect.
    while std::net::TcpStream::connect(&address).is_ok() {}
    assert!((0..10).all(|_| tidegate.client().get("/").text() == "second"));
}

#[test]
fn a_service_that_is_decidedly_not_there_has_no_servers() {
    let (folder, names) = (Folder::new(), Names::start(&[HOME], 1));
    let server = Server::named("app");
    let service = "_http._tcp.x.example";
    names.set_services(service, &[(0, 0, 0, ".")]);
    let tidegate = before(&folder, &names, 1, &format!("['srv:{service}']"));
    let mut client = tidegate.client();
    assert_eq!(client.get("/none").status, 503);
    assert_eq!(tidegate.log_of("/none")["fault"], "no_server");
    names.set_services(service, &[(0, 0, server.port(), "a.example")]);
    tidegate.message(&format!("`{service}` is now [a.example:{} (0 0)]", server.port()));
    until_answered_by(&mut client, "app");
}

/// A server that fails, and one that says that there is no such name: both may be mistakes, and neither empties a pool.
#[test]
fn a_name_server_that_fails_leaves_everything_as_it_was() {
    let (folder, names) = (Folder::new(), Names::start(&[HOME], 1));
    let server = Server::named("app");
    let service = "_http._tcp.x.example";
    names.set_services(service, &[(0, 1, server.port(), "a.example")]);
    let tidegate = before(&folder, &names, 2, &format!("['srv:{service}', 'b.example:{}']", server.port()));
    for way in [Way::Denying, Way::Failing] {
        names.set_way(way);
        let (services, addresses) = (names.asked_for_services(), names.asked());
        names.until_asked_for_services(services + 2);
        names.until_asked(addresses + 2);
        assert_eq!(tidegate.client().get("/").text(), "app");
    }
    tidegate.message(&format!("`{service}` cannot be resolved, its last servers are kept"));
    tidegate.message("`b.example` cannot be resolved, its last servers are kept");
    until_up(&tidegate, "b.example", 0.0);
    names.set_way(Way::Plainly);
    tidegate.message(&format!("`{service}` answers again, with the servers that it had"));
    until_up(&tidegate, &format!("srv:{service}"), 1.0);
}

/// A file that changes twice tells the time: it is looked at once a second.
#[test]
fn answers_are_believed_as_long_as_they_say() {
    let (folder, names) = (Folder::new(), Names::start(&[HOME], 1));
    let server = Server::named("app");
    names.set_services("x.example", &[(0, 1, server.port(), "a.example")]);
    folder.write("servers.yaml", "first: 127.0.0.1:1\n");
    let tidegate = before(&folder, &names, 1, "['srv:x.example', 'file:servers.yaml']");
    names.until_asked_for_services(3);
    names.until_asked(3);
    names.set_ttl(3600);
    let (services, addresses) = (names.asked_for_services() + 1, names.asked() + 1);
    names.until_asked_for_services(services);
    names.until_asked(addresses);
    for name in ["second", "third"] {
        folder.replace("servers.yaml", &format!("{name}: 127.0.0.1:1\n"));
        tidegate.message(&format!("is now [{name}]"));
    }
    assert_eq!((names.asked_for_services(), names.asked()), (services, addresses));
}

#[test]
fn answers_that_udp_cuts_off_are_asked_for_over_tcp() {
    let (folder, names) = (Folder::new(), Names::start(&[HOME], 60));
    names.set_way(Way::Truncating);
    let server = Server::named("app");
    // More than a packet of 512 bytes holds.
    let targets: Vec<String> = (0..40).map(|number| format!("server-{number}.app.example")).collect();
    let records: Vec<_> = targets.iter().map(|target| (0, 1, server.port(), target.as_str())).collect();
    names.set_services("_http._tcp.x.example", &records);
    let tidegate = before(&folder, &names, 1, "['srv:_http._tcp.x.example']");
    assert_eq!(tidegate.client().get("/").text(), "app");
    // Each question of a service and its targets came again.
    assert!(names.asked_by_tcp() > 40, "{}", names.asked_by_tcp());
}

#[test]
fn a_name_with_addresses_of_ipv6_alone_is_reached_there() {
    let (folder, names) = (Folder::new(), Names::start(&[], 60));
    let server = Server::at("[::1]:0", |peer| {
        while peer.request().is_some() {
            peer.send(ok("six"));
        }
    });
    names.set_addresses_6("six.example", &[Ipv6Addr::LOCALHOST]);
    let tidegate = before(&folder, &names, 1, &format!("['six.example:{}']", server.port()));
    assert_eq!(tidegate.client().get("/").text(), "six");
}

#[test]
fn servers_that_come_are_kept_warm_and_those_that_leave_are_not() {
    let (folder, names) = (Folder::new(), Names::start(&[HOME], 1));
    let (old, new) = (Server::named("old"), Server::named("new"));
    let say = |server: &Server| names.set_services("_http._tcp.x.example", &[(0, 1, server.port(), "a.example")]);
    say(&old);
    let tidegate = before(&folder, &names, 2, "['srv:_http._tcp.x.example'], warm: 3");
    old.until_open(3);
    say(&new);
    new.until_open(3);
    old.until_idle();
    assert!(old.opens_no_more_than(3) && new.opens_no_more_than(3));
    assert_eq!(tidegate.client().get("/first").text(), "new");
    assert_eq!(tidegate.log_of("/first")["reused"], true);
}
