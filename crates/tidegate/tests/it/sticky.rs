//! Clients that stay with the server that they were sent to.

use testkit::{Folder, Reloaded, Response, Server, Start, Tidegate, ok};

use crate::admin::Operator;
use crate::support::{BINARY, Place, ask, config, get, start};

/// Three servers in turn, so that whoever does not stay is seen to move.
fn pool(sticky: &str) -> String {
    format!(
        "workers: 1\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\n\
         pools: {{ app: {{ servers: {{ a: '@A', b: '@B', c: '@C' }}, balance: round_robin, sticky: {sticky} }} }}\n"
    )
}

fn servers() -> [Server; 3] {
    [Server::named("a"), Server::named("b"), Server::named("c")]
}

fn places(servers: &[Server; 3]) -> [(&str, &dyn Place); 3] {
    [("A", &servers[0]), ("B", &servers[1]), ("C", &servers[2])]
}

/// The cookie that a response sets, as a client sends it back, and its attributes.
fn cookie(response: &Response) -> Option<(String, String)> {
    let (pair, attributes) = response.fields.value("set-cookie")?.split_once("; ")?;
    Some((pair.to_owned(), attributes.to_owned()))
}

fn with(cookie: &str) -> String {
    get("/", &format!("Cookie: {cookie}\r\n"))
}

fn put(tidegate: &Tidegate, server: &str, document: &str) {
    let path = format!("/api/pools/app/servers/{server}");
    assert_eq!(Operator::of(tidegate).put(&path, "", document).status, 200);
}

#[test]
fn a_cookie_keeps_a_client_with_its_server() {
    let servers = servers();
    let tidegate = start(&pool("cookie"), &places(&servers));
    let first = ask(&tidegate, &get("/", ""));
    let (pair, attributes) = cookie(&first).expect("a cookie");
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    for _ in 0..6 {
        let again = ask(&tidegate, &with(&format!("x=1; {pair}; y=2")));
        assert_eq!((again.text(), cookie(&again)), (first.text(), None));
    }
    let own = servers.iter().find(|server| server.requests().len() == 7).expect("its server");
    // Servers see what is theirs and nothing of ours.
    let seen = own.requests().pop().expect("a request");
    assert_eq!(seen.fields.value("cookie"), Some("x=1; y=2"));
    // Others get others.
    let others: Vec<String> = (0..3).map(|_| ask(&tidegate, &get("/", "")).text()).collect();
    assert!(others.iter().any(|name| *name != first.text()), "{others:?}");
}

#[test]
fn a_cookie_names_no_server_and_cannot_be_made_up() {
    let servers = servers();
    let tidegate = start(&pool("{ by: cookie, cookie: ours }"), &places(&servers));
    let (pair, _) = cookie(&ask(&tidegate, &get("/", ""))).expect("a cookie");
    let value = pair.strip_prefix("ours=").expect("its name").to_owned();
    assert!(value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit()), "{value}");
    let changed = value.replacen(&value[..1], if value.starts_with('0') { "1" } else { "0" }, 1);
    for forged in
        [changed.as_str(), "", "a", &value.to_uppercase().replace(|c: char| c.is_ascii_digit(), "F"), &value[1..]]
    {
        let chosen: std::collections::BTreeSet<String> = (0..3)
            .map(|_| {
                let response = ask(&tidegate, &with(&format!("ours={forged}")));
                assert!(cookie(&response).is_some(), "{forged} is replaced");
                response.text()
            })
            .collect();
        assert_eq!(chosen.len(), 3, "{forged} leads nowhere");
    }
}

#[test]
fn a_client_leaves_a_server_that_is_out_and_stays_with_one_that_is_drained() {
    let fails = |name: &'static str| {
        Server::http(move |request| match request.target.as_str() {
            "/fail" => b"HTTP/1.1 503 Broken\r\nContent-Length: 0\r\n\r\n".to_vec(),
            _ => ok(name),
        })
    };
    let servers = [fails("a"), fails("b"), fails("c")];
    let text = pool("cookie").replace("sticky:", "retries: { extra: 1, if: [connect, 503] }, sticky:");
    let tidegate = start(&text, &places(&servers));
    let first = ask(&tidegate, &get("/", ""));
    let (pair, _) = cookie(&first).expect("a cookie");
    let name = first.text();
    put(&tidegate, &name, r#"{"drain": true}"#);
    for _ in 0..4 {
        let again = ask(&tidegate, &with(&pair));
        assert_eq!((again.text(), cookie(&again)), (name.clone(), None));
        assert_ne!(ask(&tidegate, &get("/", "")).text(), name);
    }
    put(&tidegate, &name, r#"{"drain": false}"#);
    // Another try goes to another server, and the client with it.
    let moved = ask(&tidegate, &get("/fail", &format!("Cookie: {pair}\r\n")));
    assert_eq!(moved.status, 503);
    let (new, _) = cookie(&moved).expect("another cookie");
    assert_ne!(new, pair);
    // Its server is gone from the configuration.
    let without =
        text.replace(&format!("{name}: '@{}'", name.to_uppercase()), "").replace("{ ,", "{").replace(", ,", ",");
    assert_eq!(tidegate.reload(&config(&without, &places(&servers))), Reloaded::Yes);
    let response = ask(&tidegate, &with(&pair));
    assert!(response.text() != name && cookie(&response).is_some());
}

#[test]
fn nodes_with_one_secret_know_each_others_cookies() {
    let servers = servers();
    let folder = Folder::new();
    folder.write("secret", "a secret of the nodes, long enough\n");
    folder.write("other", "another secret, just as long as it\n");
    let node = |name: &str, secret: &str| {
        let text = format!("secret: {secret}\n{}", pool("cookie"));
        Start::of(BINARY).file(&folder.write(name, &config(&text, &places(&servers))))
    };
    let one = node("one.yaml", "${file.secret}");
    let first = ask(&one, &get("/", ""));
    let (pair, _) = cookie(&first).expect("a cookie");
    let two = node("two.yaml", "${file.secret}");
    assert!((0..4).all(|_| ask(&two, &with(&pair)).text() == first.text()));
    let stranger = node("three.yaml", "${file.other}");
    assert!(cookie(&ask(&stranger, &with(&pair))).is_some());
    // Nobody is shown what it is.
    assert!(!one.admin("/api/config").text().contains("long enough"));
}

#[test]
fn a_table_keeps_clients_over_a_reload_and_for_a_time() {
    let servers = servers();
    let text = pool("{ by: [header.x-client, cookie.c], for: 300ms, max: 1000 }");
    let tidegate = start(&text, &places(&servers));
    let of = |client: &str| ask(&tidegate, &get("/", &format!("X-Client: {client}\r\n")));
    let names: Vec<String> = (0..6).map(|client| of(&client.to_string()).text()).collect();
    let spread: std::collections::BTreeSet<&String> = names.iter().collect();
    assert_eq!(spread.len(), 3);
    let stays = || (0..6).all(|client| of(&client.to_string()).text() == names[client]);
    assert!(stays() && stays());
    assert!(of("0").fields.value("set-cookie").is_none());
    // The same table by another name of the client, and a larger one.
    assert_eq!(ask(&tidegate, &get("/", "Cookie: c=3\r\n")).text(), names[3]);
    assert_eq!(tidegate.reload(&config(&text.replace("max: 1000", "max: 5000"), &places(&servers))), Reloaded::Yes);
    assert!(stays());
    // Without any of it nobody stays.
    let strangers: std::collections::BTreeSet<String> = (0..3).map(|_| ask(&tidegate, &get("/", "")).text()).collect();
    assert_eq!(strangers.len(), 3);
    // Once it is forgotten a client is sent wherever the turn is: after a while it meets another server.
    let deadline = std::time::Instant::now() + testkit::PATIENCE;
    while of("0").text() == names[0] {
        assert!(std::time::Instant::now() < deadline, "it is never forgotten");
        std::thread::sleep(std::time::Duration::from_millis(400));
        ask(&tidegate, &get("/", ""));
    }
}

/// Who belongs to a server that is full waits for it, although another is free.
#[test]
fn a_client_waits_for_its_server() {
    let held = testkit::Signal::new();
    let go = testkit::Signal::new();
    let slow = |name: &'static str| {
        let (held, go) = (held.clone(), go.clone());
        Server::http(move |request| {
            if request.target == "/hold" {
                held.raise();
                go.wait();
            }
            ok(name)
        })
    };
    let (one, two) = (slow("one"), slow("two"));
    let text = "
workers: 1
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: { servers: [{ address: '@ONE', max_connections: 1 }, { address: '@TWO', max_connections: 1 }], sticky: cookie } }
";
    let tidegate = start(text, &[("ONE", &one), ("TWO", &two)]);
    let first = ask(&tidegate, &get("/", ""));
    let (pair, _) = cookie(&first).expect("a cookie");
    let fields = format!("Cookie: {pair}\r\n");
    let mut holder = tidegate.client();
    holder.send(get("/hold", &fields));
    held.wait();
    let mut waiter = tidegate.client();
    waiter.send(get("/next", &fields));
    assert_ne!(ask(&tidegate, &get("/", "")).text(), first.text());
    go.raise();
    assert_eq!((holder.response().text(), waiter.response().text()), (first.text(), first.text()));
}
