//! The examples of roles together: all in one process, and a sidecar.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::{ClientTls, Folder, Server, ServerTls, Start, Talk, Wishes, ok, program};

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

#[test]
fn the_forward_example_does_what_its_comments_say() {
    let (folder, desk) = (Folder::new(), Desk::new());
    let write = |name: &str, text: &str| folder.write(name, text);
    write("forward.yaml", &fs::read_to_string(example("forward.yaml")).expect("an example"));
    write("users.htpasswd", "anna:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n");
    write("ads.txt", "! rules of an ad blocker\n||ads.test^\n/banner/*\n");
    write("hosts.txt", "0.0.0.0 malware.test\n");
    write("origin-ca.pem", desk.authority.pem());
    let made = program::output_of(BINARY, &["ca", "--out", &folder.path().display().to_string()]);
    assert!(made.status.success(), "{made:?}");
    let (page, parent) = (Server::named("page"), Server::named("parent"));
    let secured = Server::secured(&ServerTls::new(&desk.issue("intranet", &["intranet.example"])), |peer| {
        while peer.request().is_some() {
            peer.send(ok("inside"));
        }
    });
    let mut start = Start::of(BINARY)
        .set("state", &folder.path().display().to_string())
        .set("admin.bind", "127.0.0.1:0")
        .set("listeners.office.bind", "127.0.0.1:0")
        .set("listeners.inspected.bind", "127.0.0.1:0")
        .set("pools.corporate-parent.servers.0", parent.address());
    for name in ["ads.test", "malware.test"] {
        start = start.set(&format!("dns.hosts.\"{name}\""), "127.0.0.1");
    }
    let tidegate = start.file(&folder.path().join("forward.yaml"));
    let office = tidegate.address("office");
    let ask = |target: &str, fields: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        testkit::Client::connect(&office).ask(request)
    };
    const ANNA: &str = "Proxy-Authorization: Basic YW5uYTpzZWNyZXQ=\r\n";
    let target = format!("http://intranet.example:{}/page?token=1", port(&page));
    let refused = ask(&target, "");
    assert_eq!(
        (refused.status, refused.fields.value("proxy-authenticate")),
        (407, Some("Basic realm=\"office\", charset=\"UTF-8\""))
    );
    assert_eq!(ask(&target, ANNA).text(), "page");
    let request = page.request();
    assert!(request.fields.has("via") && !request.fields.has("x-forwarded-for"), "anonymous: {:?}", request.fields);
    for blocked in ["http://www.ads.test/", "http://malware.test/", "http://intranet.example/banner/1"] {
        let answer = ask(blocked, ANNA);
        assert_eq!(answer.status, 403, "{blocked}");
        assert!(answer.text().contains("blocked by policy"), "{blocked}: {}", answer.text());
    }
    assert_eq!(ask("http://www.partner.example/x", ANNA).text(), "parent");
    assert_eq!(parent.request().target, "http://www.partner.example/x");
    // SOCKS on the same port, by the same users.
    let mut socks = Talk::with(&office);
    assert_eq!(socks.say([5, 1, 2]).exactly(2), [5, 2]);
    assert_eq!(socks.say(b"\x01\x04anna\x06secret").exactly(2), [1, 0]);
    let port_of = page.port().to_be_bytes();
    assert_eq!(socks.say([&b"\x05\x01\x00\x03\x10intranet.example"[..], &port_of].concat()).exactly(10)[..2], [5, 0]);
    socks.say("GET /by-socks HTTP/1.1\r\nHost: intranet.example\r\n\r\n");
    assert_eq!(socks.exactly(ok("page").len()), ok("page"));
    // What passed is in the archive, and who asked for it is not.
    let archive = folder.path().join("traffic.har");
    let har = || fs::read_to_string(&archive).unwrap_or_default();
    testkit::until("the archive", || har().contains("/page?token="));
    assert!(!har().contains("YW5uYTpzZWNyZXQ"), "{}", har());
    // Interception shows the path.
    let to = format!("intranet.example:{}", port(&secured));
    let tunnel = testkit::Client::through(&tidegate.address("inspected"), &to);
    let pem = fs::read_to_string(folder.path().join("ca.pem")).expect("an authority");
    let tls = ClientTls::trusting(&pem, "intranet.example", &Wishes::default());
    let mut inside = tunnel.begin(&tls).expect("a certificate of the owner's authority");
    let mut get = |path: &str| inside.ask(format!("GET {path} HTTP/1.1\r\nHost: {to}\r\n\r\n"));
    assert_eq!(get("/private/x").status, 403);
    assert_eq!(get("/public").text(), "inside");
}
