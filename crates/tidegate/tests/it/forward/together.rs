//! The examples of roles together: all in one process, and a sidecar.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::{Folder, Server, ServerTls, Start, ok};

use super::{asked, port};
use crate::support::BINARY;
use crate::tls::Desk;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

#[test]
fn all_roles_stand_behind_each_other_in_one_process() {
    let servers = [Server::named("one"), Server::named("two")];
    let (folder, page, parent) = (Folder::new(), Server::named("page"), testkit::Refusing::new());
    let socket = |name: &str| format!("unix:{}", folder.path().join(name).display());
    let tidegate = Start::of(BINARY)
        .set("admin.bind", "127.0.0.1:0")
        .set("listeners.office.bind", "127.0.0.1:0")
        .set("listeners.web.bind", &socket("web"))
        .set("listeners.back.bind", &socket("back"))
        .set("pools.storefront.servers.0", &socket("web"))
        .set("pools.spread.servers.0", &socket("back"))
        .set("pools.shop.servers.0", servers[0].address())
        .set("pools.shop.servers.1", servers[1].address())
        .set("pools.corporate-parent.servers.0", parent.address())
        .set("dns.hosts.\"www.partner.example\"", "127.0.0.1")
        .file(&example("all-roles.yaml"));
    let by_office = |target: &str| testkit::Client::connect(&tidegate.address("office")).ask(asked(target));
    assert_eq!(by_office("http://shop.example/up").text(), "up\n");
    let mut told: Vec<String> = (0..2).map(|_| by_office("http://shop.example/goods").text()).collect();
    told.sort();
    assert!(told.iter().all(|name| name == "one" || name == "two"), "{told:?}");
    let asked_for = servers.iter().flat_map(Server::requests).next().expect("a request");
    assert_eq!((asked_for.target.as_str(), asked_for.fields.values("host")), ("/goods", vec!["shop.example"]));
    assert_eq!(asked_for.fields.values("via"), ["1.1 tidegate", "1.1 tidegate"], "two roles read it");
    // A flow leaves its line when it ends; who was led to it has one already.
    for (listener, next) in [("office", "/web"), ("web", "/back")] {
        tidegate.log_line("a line of each role", |line| {
            line["listener"] == listener && line["address"].as_str().is_some_and(|address| address.ends_with(next))
        });
    }
    // A way around a parent that is not there, and no way to ourselves.
    assert_eq!(by_office(&format!("http://www.partner.example:{}/", port(&page))).text(), "page");
    let own = tidegate.address("office");
    let admin = tidegate.ready()["admin"].as_str().expect("an address").to_owned();
    for address in [own, admin] {
        assert_eq!(by_office(&format!("http://{address}/")).status, 403);
    }
}

#[test]
fn a_sidecar_makes_mutual_tls_of_plain_requests() {
    let desk = Desk::new();
    desk.folder.write("sidecar.yaml", &fs::read_to_string(example("sidecar.yaml")).expect("an example"));
    desk.folder.write("mesh-ca.pem", desk.authority.pem());
    desk.issue("app", &["app.internal"]);
    let service = |host: &str, file: &str, name: &'static str| {
        let tls = ServerTls::asking(&desk.issue(file, &[host]), &desk.authority);
        Server::secured(&tls, move |peer| {
            while let Some(request) = peer.request() {
                match (name, request.target.as_str()) {
                    ("ill", _) => peer.send("HTTP/1.1 503 Not now\r\nContent-Length: 0\r\n\r\n"),
                    _ => peer.send(ok(name)),
                }
            }
        })
    };
    let (ill, well) = (service("billing.internal", "b1", "ill"), service("billing.internal", "b2", "well"));
    let tidegate = Start::of(BINARY)
        .set("admin.bind", "127.0.0.1:0")
        .set("listeners.egress.bind", "127.0.0.1:0")
        .set("pools.billing.servers.0", ill.address())
        .set("pools.billing.servers.1", well.address())
        .set("pools.search.servers.0", "127.0.0.1:9")
        .file(&desk.folder.path().join("sidecar.yaml"));
    let ask = |target: &str, fields: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        testkit::Client::connect(&tidegate.address("egress")).ask(request)
    };
    for _ in 0..4 {
        assert_eq!(ask("http://billing.internal/pay", "").text(), "well", "tried again where one is ill");
    }
    let request = well.request();
    assert_eq!((request.target.as_str(), request.fields.values("host")), ("/pay", vec!["billing.internal"]));
    let id = request.fields.value("x-request-id").expect("an id").to_owned();
    tidegate.log_line("the line of that id", |line| line["id"] == id.as_str());
    let traced = "X-Request-Id: mine\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    assert_eq!(ask("http://billing.internal/traced", traced).status, 200);
    let found = well.requests().into_iter().find(|request| request.target == "/traced").expect("a request");
    assert_eq!(found.fields.value("x-request-id"), Some("mine"));
    assert!(found.fields.value("traceparent").is_some_and(|said| said.starts_with("00-0af7651916cd43dd")));
    assert_eq!(ask("http://other.internal/", "").status, 403, "what is not named is not reached");
    assert_eq!(ask("http://search.internal/", "").status, 502, "nobody is there");
}
