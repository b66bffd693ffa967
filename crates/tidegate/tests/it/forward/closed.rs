//! No listener but one with `role: forward` leads anybody elsewhere than to its own servers, whatever a request names: the examples,
//! as far as they load, are asked in every way in which open proxies are looked for.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use testkit::{Client, ClientTls, Server, Start};

use super::port;
use crate::support::BINARY;
use crate::tls::Desk;

/// What whoever looks for open proxies asks; `@V` is a server that is nobody's.
const ASKED: [&str; 12] = [
    "GET http://@V/ HTTP/1.1\r\nHost: @V\r\n\r\n",
    "GET http://@V/ HTTP/1.1\r\nHost: www.example.com\r\n\r\n",
    "GET https://@V/ HTTP/1.1\r\nHost: @V\r\n\r\n",
    "POST http://@V/ HTTP/1.0\r\nContent-Length: 1\r\n\r\nx",
    "CONNECT @V HTTP/1.1\r\nHost: @V\r\n\r\n",
    "CONNECT @V HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\nHost: @V\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: @V\r\n\r\n",
    "GET //@V/ HTTP/1.1\r\nHost: www.example.com\r\n\r\n",
    "GET @V HTTP/1.1\r\nHost: @V\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: www.example.com\r\nX-Forwarded-Host: @V\r\nForwarded: host=\"@V\"\r\n\r\n",
    // SOCKS 5 and 4; what stands behind a greeting is the address 127.0.0.1 and the port.
    "\u{5}\u{1}\u{0}\u{5}\u{1}\u{0}\u{1}\u{7f}\u{0}\u{0}\u{1}@P",
    "\u{4}\u{1}@P\u{7f}\u{0}\u{0}\u{1}\u{0}",
];

#[test]
fn no_example_of_another_role_is_an_open_proxy() {
    let victim = Server::named("led astray");
    let mut asked = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")).expect("the examples") {
        let path = entry.expect("an entry").path();
        // These have no other role.
        let name = path.file_name().expect("a name").to_string_lossy();
        if name.starts_with("forward") || name == "sidecar.yaml" {
            continue;
        }
        let desk = desk();
        let text = fs::read_to_string(&path).expect("an example");
        let file = desk.folder.write("example.yaml", &text);
        let none = |_: &str| None;
        let loaded = match config::load(&config::LoadOptions { file, sets: Vec::new(), env: &none }) {
            Ok(loaded) => loaded,
            Err(mistakes) => {
                let said = mistakes.to_string();
                assert!(said.contains("is planned and does not work yet"), "{}: {said}", path.display());
                continue;
            }
        };
        let mut example = config::effective_json(&loaded);
        let listeners = alone(&mut example);
        if listeners.is_empty() {
            continue;
        }
        let tidegate = Start::of(BINARY).file(&desk.folder.write("alone.json", &example.to_string()));
        for (name, secured) in listeners {
            for request in ASKED {
                ask(&tidegate.address(&name), secured.then(|| desk.tls()).as_ref(), request, &victim);
                assert_eq!(victim.connections(), 0, "{}, {name}: {request:?}", path.display());
            }
            asked.push(name);
        }
    }
    assert!(asked.len() >= 6, "these alone were asked: {asked:?}");
}

/// With what the examples name as files.
fn desk() -> Desk {
    let desk = Desk::new();
    for file in ["clients-ca.pem", "origin-ca.pem", "ca.pem"] {
        desk.folder.write(file, desk.authority.pem());
    }
    desk.issue("example.com", &["example.com", "*.example.com"]);
    desk.issue("other.example", &["other.example"]);
    desk
}

/// Leaves the listeners that read what clients say over TCP and lead to servers of their own, at ports that are free, in front of servers that are
/// not there. Says which these are, and whether TLS is spoken.
fn alone(example: &mut Value) -> Vec<(String, bool)> {
    example["admin"] = json!({ "bind": "127.0.0.1:0" });
    example["workers"] = json!(1);
    let mut number = 0;
    for pool in example["pools"].as_object_mut().into_iter().flat_map(|pools| pools.values_mut()) {
        let servers = match &mut pool["servers"] {
            Value::Array(servers) => servers.iter_mut().collect::<Vec<_>>(),
            Value::Object(servers) => servers.values_mut().collect(),
            _ => Vec::new(),
        };
        for server in servers {
            number += 1;
            let nowhere = json!(format!("127.9.9.{number}:1"));
            match server.as_object_mut() {
                Some(server) => drop(server.insert("address".to_owned(), nowhere)),
                None => *server = nowhere,
            }
        }
    }
    let listeners = example["listeners"].as_object_mut().expect("listeners");
    listeners.retain(|_, listener| matches!(listener["role"].as_str(), None | Some("http" | "tcp")));
    let mut left = Vec::new();
    for (name, listener) in listeners {
        listener["bind"] = json!("127.0.0.1:0");
        left.push((name.clone(), listener.get("tls").is_some()));
    }
    left
}

/// Asks, and waits until the other side has said what it has to say.
fn ask(address: &str, tls: Option<&ClientTls>, request: &str, victim: &Server) {
    let number: u16 = port(victim).parse().expect("a port");
    let [high, low] = number.to_be_bytes().map(char::from);
    let text = request.replace("@V", victim.address()).replace("@P", &format!("{high}{low}"));
    // Bytes are the characters of the same number.
    let bytes: Vec<u8> = text.chars().map(|char| u8::try_from(u32::from(char)).expect("a byte")).collect();
    let mut client = match tls {
        Some(tls) => Client::secured(address, tls),
        None => Client::connect(address),
    };
    // Who is not listened to at all may be told by a reset.
    if client.try_send(&bytes) {
        client.finish();
    }
    let answered = client.try_response().map(|answer| answer.status);
    assert!(!matches!(answered, Ok(200..300)), "{request:?}: {answered:?}");
}
