//! Whoever else reads archives: a library, the schema of the format, the developer tools of a browser.

use testkit::{Folder, Server, node, ok, python, tool};

use super::{entries, file, reverse};
use crate::support::start;

/// A library that others read archives with takes ours.
#[test]
fn haralyzer_reads_it() {
    let Some(mut python) = python("haralyzer") else { return };
    let server = Server::http(|_| ok("hello"));
    let tidegate = reverse("{ har: a.har, bodies: 1KiB }", &server);
    for _ in 0..3 {
        tidegate.client().get("/x?a=1");
    }
    entries(&tidegate, "a.har", 3);
    let script = "
import json, sys
from haralyzer import HarParser
har = HarParser(json.load(open(sys.argv[1])))
page = har.pages[0]
for entry in page.entries:
    assert entry.request.url.endswith('/x?a=1') and entry.request.method == 'GET', entry
    assert entry.response.status == 200 and entry.response.text == 'hello', entry
    assert entry.startTime.year >= 2026 and entry.time >= 0 and entry.serverAddress == '127.0.0.1', entry
print(len(page.entries), page.get_total_size(page.entries))
";
    let output = python.args(["-c", script]).arg(file(&tidegate, "a.har")).output().expect("a reader that runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.trim(), "3 15", "{said}");
}

/// Whatever passes becomes what the format's own schema allows, for requests and answers of each kind.
#[test]
fn the_schema_of_har_finds_nothing_wrong() {
    let Some(mut node) = node("har-validator") else { return };
    let server = Server::http(|request| {
        match request.target.split('?').next() {
        Some("/cookies") => b"HTTP/1.1 302 Found\r\nLocation: /next?a=b\r\nSet-Cookie: a=b; Path=/; Domain=a.test; Expires=Wed, 21 Oct 2026 \
              07:28:00 GMT; Max-Age=5; Secure; HttpOnly; SameSite=Lax\r\nSet-Cookie: odd; Expires=yesterday; Path\r\nContent-Length: 0\r\n\r\n"
            .to_vec(),
        Some("/none") => b"HTTP/1.1 204 \r\n\r\n".to_vec(),
        Some("/bytes") => b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 4\r\n\r\n\x89\xff\0\x01".to_vec(),
        Some("/untyped") => ok([0xff, 0xfe]),
        _ => ok("hello"),
    }
    });
    let dead = testkit::Refusing::new();
    let text = "listeners: { web: { bind: 127.0.0.1:0, use: [{ capture: { har: a.har, bodies: 1KiB, redact: { usual: false } } }], routes: [\
        { match: { path: /dead }, to: dead }, { match: { path: /no }, deny: 403 }, { to: app }] } }\n\
        pools: { app: ['@APP'], dead: ['@DEAD'] }\n";
    let text = text.replace("@APP", server.address()).replace("@DEAD", crate::support::Place::place(&dead));
    let tidegate = start(&text, &[]);
    let asked = [
        "GET /x?a=1&b&=c&%ff=%zz&a=2 HTTP/1.1\r\nHost: a.test:99\r\n\r\n",
        "GET /cookies HTTP/1.1\r\nHost: a.test\r\nCookie: a=b; c; =d; e=\"f g\"\r\nCookie: ä=1\r\n\r\n",
        "POST /form HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\na=1&b=%41",
        "PUT /json HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        "POST /untyped HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\n\x01\x02",
        "HEAD /head HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /none HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /bytes HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /dead HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /no HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ];
    for request in asked {
        let mut client = tidegate.client();
        client.send(request);
        if request.starts_with("HEAD") {
            client.response_to_head()
        } else {
            client.response()
        };
    }
    entries(&tidegate, "a.har", asked.len());
    let script = "
const validate = require('har-validator'), fs = require('fs');
const archive = JSON.parse(fs.readFileSync(process.argv[1], 'utf8'));
validate.har(archive).then(() => console.log('valid', archive.log.entries.length),
  (fault) => console.log(JSON.stringify(fault.errors, null, 1)));
";
    let output = node.args(["-e", script]).arg(file(&tidegate, "a.har")).output().expect("a validator that runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.trim(), format!("valid {}", asked.len()), "{said}");
}

/// A browser's developer tools open the archive and list what is in it.
#[test]
fn the_developer_tools_of_chromium_open_it() {
    let Some(mut python) = python("websockets") else { return };
    if tool("chromium").is_none() {
        return;
    }
    let server = Server::http(|request| if request.method == "POST" { ok(&request.body) } else { ok("hello") });
    let tidegate = reverse("{ har: a.har, bodies: 1KiB }", &server);
    let mut client = tidegate.client();
    client.get("/x?a=1");
    client.send("POST /form HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.response().status, 200);
    entries(&tidegate, "a.har", 2);
    let home = Folder::new();
    let script = home.write("devtools.py", include_str!("devtools.py"));
    let output =
        python.arg(script).arg(file(&tidegate, "a.har")).arg(home.path()).output().expect("a script that runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if said.starts_with("unknown") {
        return testkit::tools::skip(said.trim());
    }
    let listed: Vec<&str> = said.lines().collect();
    assert_eq!(listed.len(), 2, "{said}");
    assert!(listed[0].starts_with("GET http://") && listed[0].ends_with("/x?a=1 200 hello"), "{said}");
    assert!(listed[1].starts_with("POST http://a.test/form 200 abc"), "{said}");
}
