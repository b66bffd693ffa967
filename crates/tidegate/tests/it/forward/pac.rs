//! The file by which browsers find the proxy: what it says, by a real JavaScript, and whom it is given.

use std::process::Stdio;

use serde_json::Value;
use testkit::{Server, Tidegate, tool};

use super::{OPEN, port, proxy};
use crate::support::start;
use crate::tls::Desk;

/// What a file says of URLs, by node: without the functions that browsers give to such scripts, since it needs none.
fn decided(file: &str, urls: &[&str]) -> Option<Vec<String>> {
    const RUN: &str = r#"
const [file, urls] = JSON.parse(require("fs").readFileSync(0, "utf8"));
const context = require("vm").createContext({});
require("vm").runInContext(file, context);
const host = url => /^[a-z]+:\/\/(\[[^\]]*\]|[^:\/]*)/i.exec(url)[1];
const say = url => require("vm").runInContext(`FindProxyForURL(${JSON.stringify(url)}, ${JSON.stringify(host(url))})`, context);
console.log(JSON.stringify(urls.map(say)));
"#;
    let mut node = tool("node")?;
    let mut child = node.args(["-e", RUN]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node");
    let input = serde_json::json!([file, urls]).to_string();
    std::io::Write::write_all(&mut child.stdin.take().expect("its input"), input.as_bytes()).expect("an open input");
    let output = child.wait_with_output().expect("an end");
    assert!(output.status.success(), "{file}");
    let said: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    Some(said.iter().map(|said| said.as_str().expect("a text").to_owned()).collect())
}

fn file(tidegate: &Tidegate, path: &str) -> String {
    let host = "Proxy.test:3128";
    let answer = tidegate.client().ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let kind = answer.fields.value("content-type").map(str::to_owned);
    assert_eq!((answer.status, kind.as_deref()), (200, Some("application/x-ns-proxy-autoconfig")), "{path}");
    answer.text()
}

/// A proxy whose egress is as it is without a word, unless said.
fn strict(listener: &str) -> Tidegate {
    start(
        &format!(
            "dns: {{ hosts: {{ intranet: 10.1.2.3, elsewhere: 192.168.0.9 }} }}\nlisteners: {{ web: {{ bind: 127.0.0.1:0, role: forward, {listener} }} }}\n"
        ),
        &[],
    )
}

const HERE: &str = "PROXY Proxy.test:3128";
const DIRECT: &str = "DIRECT";

#[test]
pub(crate) fn whatever_could_be_for_the_proxy_is_led_there() {
    let tidegate = strict("pac: {}, routes: [{ match: { host: '*.bad.test' }, deny: 403 }, { to: origin }]");
    let text = file(&tidegate, "/proxy.pac");
    assert_eq!(text, file(&tidegate, "/wpad.dat"));
    let urls = [
        ("http://example.com/", HERE),
        ("https://Example.com.:8443/x?y", HERE),
        ("wss://example.com/", HERE),
        ("http://x.bad.test/", HERE),
        ("http://8.8.8.8/", HERE),
        ("http://172.32.0.1/", HERE),
        ("http://[2001:db8::1]/", HERE),
        ("ftp://example.com/", DIRECT),
        ("http://printer/", DIRECT),
        ("http://intranet/", DIRECT),
        ("http://localhost:8000/", DIRECT),
        ("http://a.localhost/", DIRECT),
        ("http://127.1.2.3/", DIRECT),
        ("http://0.0.0.0/", DIRECT),
        ("http://10.1.2.3/", DIRECT),
        ("http://172.16.0.1/", DIRECT),
        ("http://172.31.255.255/", DIRECT),
        ("http://192.168.1.1/", DIRECT),
        ("http://169.254.169.254/", DIRECT),
        ("http://100.64.0.1/", DIRECT),
        ("http://[::1]/", DIRECT),
        ("http://[fe80::1]/", DIRECT),
        ("http://[fd00::1]/", DIRECT),
    ];
    check(&text, &urls);
}

fn check(text: &str, urls: &[(&str, &str)]) {
    let asked: Vec<&str> = urls.iter().map(|(url, _)| *url).collect();
    let Some(said) = decided(text, &asked) else { return };
    for ((url, expected), said) in urls.iter().zip(said) {
        assert_eq!(said, *expected, "{url}\n{text}");
    }
}

#[test]
fn what_egress_allows_is_led_to_the_proxy() {
    let tidegate = strict("pac: {}, egress: { allow: [10.0.0.0/8, 127.0.0.0/8, 'fd00::/8'] }, to: origin");
    check(
        &file(&tidegate, "/proxy.pac"),
        &[
            ("http://intranet/", HERE),
            ("http://elsewhere/", DIRECT),
            ("http://printer/", DIRECT),
            ("http://10.1.2.3/", HERE),
            ("http://11.1.2.3/", HERE),
            ("http://192.168.1.1/", DIRECT),
            ("http://[fd00::1]/", HERE),
            ("http://127.0.0.1/", DIRECT),
            ("http://[::1]/", DIRECT),
        ],
    );
}

#[test]
fn a_proxy_for_some_hosts_gets_those() {
    let tidegate = strict(
        "pac: {}, routes: [{ match: { host: [a.test, '*.b.test'], client: 127.0.0.0/8 }, to: origin }, { match: { any: [{ host: c.test }, { host: __proto__.test, path: /x }] }, deny: 403 }, \
         { match: { client: 127.0.0.0/8 }, routes: [{ match: { host: d.test }, to: origin }] }]",
    );
    check(
        &file(&tidegate, "/proxy.pac"),
        &[
            ("http://a.test/", HERE),
            ("http://x.a.test/", DIRECT),
            ("http://b.test/", DIRECT),
            ("http://x.y.b.test/", HERE),
            ("http://c.test/", HERE),
            ("http://d.test/", HERE),
            ("http://__proto__.test/", HERE),
            ("http://constructor/", DIRECT),
            ("http://toString.test/", DIRECT),
            ("http://example.com/", DIRECT),
        ],
    );
    // What refuses by other things than the host leads nobody to the proxy.
    let tidegate = strict(
        "pac: {}, routes: [{ match: { path: /x }, deny: 403 }, { match: { host: '~^b' }, deny: 403 }, { match: { host: a.test }, to: origin }]",
    );
    check(&file(&tidegate, "/proxy.pac"), &[("http://a.test/", HERE), ("http://b.test/", DIRECT)]);
    // A host that may be any is every host.
    let tidegate = strict("pac: {}, routes: [{ match: { host: '~^a' }, to: origin }]");
    check(&file(&tidegate, "/proxy.pac"), &[("http://a.test/", HERE), ("http://b.test/", HERE)]);
}

#[test]
pub(crate) fn exceptions_do_without_the_proxy() {
    let tidegate = strict("pac: { direct: [bank.test, '*.corp.test', 203.0.113.0/24, 8.8.8.8] }, to: origin");
    check(
        &file(&tidegate, "/proxy.pac"),
        &[
            ("https://bank.test/", DIRECT),
            ("https://www.bank.test/", HERE),
            ("https://x.corp.test/", DIRECT),
            ("https://corp.test/", HERE),
            ("http://203.0.113.255/", DIRECT),
            ("http://203.0.114.0/", HERE),
            ("http://8.8.8.8/", DIRECT),
            ("http://8.8.4.4/", HERE),
        ],
    );
}

#[test]
pub(crate) fn other_proxies_can_be_named() {
    let tidegate = strict(
        "pac: { proxy: [proxy.corp.test:3128, 'https://[2001:db8::1]:3129', 'socks5://192.0.2.1:1080'] }, to: origin",
    );
    let expected = "PROXY proxy.corp.test:3128; HTTPS [2001:db8::1]:3129; SOCKS5 192.0.2.1:1080";
    check(&file(&tidegate, "/proxy.pac"), &[("http://a.test/", expected)]);
}

#[test]
fn under_tls_browsers_are_told_of_tls() {
    let desk = Desk::new();
    let text = "
certificates: { main: { cert: '@DIR/main.pem', key: '@DIR/main.key' } }
listeners: { web: { bind: 127.0.0.1:0, role: forward, tls: main, pac: {}, to: origin } }
";
    let tidegate = desk.start(text, &[]);
    let answer = desk.client(&tidegate).ask("GET /proxy.pac HTTP/1.1\r\nHost: example.com\r\n\r\n");
    check(&answer.text(), &[("http://a.test/", "HTTPS example.com:443")]);
    // By HTTP/2 the file's URL is that of a server like any other: ours, if it has our port.
    let port = tidegate.address("web").rsplit(':').next().expect("a port").to_owned();
    let ca = desk.folder.path().join("ca.pem").display().to_string();
    let Some(mut curl) = tool("curl") else { return };
    curl.args(["-sS", "--http2", "--noproxy", "*", "--cacert", &ca, "--max-time", "20", "-w", "%{http_version}"]);
    curl.args([
        "--resolve",
        &format!("example.com:{port}:127.0.0.1"),
        &format!("https://example.com:{port}/proxy.pac"),
    ]);
    let said = String::from_utf8(curl.stdin(Stdio::null()).output().expect("a client that runs").stdout).expect("text");
    let text = said.strip_suffix('2').unwrap_or_else(|| panic!("not by HTTP/2: {said}"));
    check(text, &[("http://a.test/", &format!("HTTPS example.com:{port}"))]);
}

#[test]
fn it_is_for_those_who_may_use_the_proxy_and_is_all_that_is_served() {
    let server = Server::named("led on");
    let tidegate = proxy("pac: {}\n    to: origin");
    let ask = |request: &str| tidegate.client().ask(request.replace("@PORT", port(&server)));
    for refused in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /proxy.pac/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a.test:@PORT\r\n\r\n",
        "POST /proxy.pac HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "GET /proxy.pac HTTP/1.0\r\n\r\n",
        "GET /proxy.pac HTTP/1.1\r\nHost: a;alert(1)\r\n\r\n",
        "GET /proxy.pac HTTP/1.1\r\nHost: a'b\r\n\r\n",
        "GET /proxy.pac HTTP/1.1\r\nHost: \r\n\r\n",
    ] {
        assert_eq!(ask(refused).status, 400, "{refused:?}");
    }
    assert_eq!(server.connections(), 0);
    // Somebody else's file is a page like any other.
    let theirs = ask("GET http://a.test:@PORT/proxy.pac HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((theirs.status, theirs.text().as_str()), (200, "led on"));
    let mut client = tidegate.client();
    client.send("HEAD /wpad.dat HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.response_to_head();
    assert_eq!((head.status, head.fields.value("cache-control")), (200, Some("no-cache")));
    // Without a word there is none.
    assert_eq!(proxy("").client().get("/proxy.pac").status, 400);
    // Who may use nothing here learns nothing.
    let status = |client: &str| {
        let routes = format!(
            "pac: {{}}, routes: [{{ match: {{ host: x.test }}, deny: 403 }}, {{ match: {{ client: {client} }}, to: origin }}]"
        );
        strict(&routes).client().get("/proxy.pac").status
    };
    assert_eq!((status("127.0.0.0/8"), status("10.0.0.0/8")), (200, 403));
}

#[test]
fn who_is_asked_for_a_password_finds_the_proxy_without_one() {
    let folder = testkit::Folder::new();
    let people = folder.write("people", crate::users::PEOPLE);
    let tidegate = proxy(&format!(
        "use: [{{ basic_auth: {{ users: '{}', realm: office }} }}]\n    pac: {{}}\n    to: origin",
        people.display()
    ));
    assert_eq!(super::ask(&tidegate, "http://a.test:1/").status, 407);
    assert_eq!(tidegate.client().get("/").status, 400);
    check(&file(&tidegate, "/proxy.pac"), &[("http://a.test/", HERE)]);
}

#[test]
fn a_reload_changes_it() {
    let text = |direct: &str| OPEN.replace("@MORE", &format!("pac: {{ direct: {direct} }}\n    to: origin"));
    let tidegate = start(&text("a.test"), &[]);
    check(&file(&tidegate, "/proxy.pac"), &[("http://a.test/", DIRECT), ("http://b.test/", HERE)]);
    tidegate.reload(&crate::support::config(&text("b.test"), &[]));
    check(&file(&tidegate, "/proxy.pac"), &[("http://a.test/", HERE), ("http://b.test/", DIRECT)]);
}
