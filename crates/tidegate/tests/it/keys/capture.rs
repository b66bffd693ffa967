//! Captures: what each key changes.

use serde_json::{Value, json};
use testkit::{Server, Tidegate, ok, until};

use super::Case;
use crate::capture::entries;
use crate::support::{get, start};

pub(super) const CASES: &[Case] = &[
    (&["policies.*.*.capture", "policies.*.*.capture.har"], har),
    (&["policies.*.*.capture.bodies"], bodies),
    (&["policies.*.*.capture.max_size"], max_size),
    (&["policies.*.*.capture.keep"], keep),
    (&["policies.*.*.capture.redact", "policies.*.*.capture.redact.fields"], fields),
    (&["policies.*.*.capture.redact.parameters"], parameters),
    (&["policies.*.*.capture.redact.usual"], usual),
];

fn captured(capture: &str, request: &str) -> (Tidegate, Value, Server) {
    let server = Server::http(|_| ok("hello"));
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, use: [{{ capture: {capture} }}], to: app }} }}\npools: {{ app: [@APP] }}\n"
    );
    let tidegate = start(&text, &[("APP", &server)]);
    assert_eq!(tidegate.client().ask(request).status, 200);
    let entry = entries(&tidegate, "a.har", 1).remove(0);
    (tidegate, entry, server)
}

fn value<'a>(entry: &'a Value, name: &str) -> &'a str {
    let fields = entry["request"]["headers"].as_array().expect("a list");
    fields.iter().find(|field| field["name"] == name).expect("a field")["value"].as_str().expect("a text")
}

fn har() {
    let (_tidegate, entry, _server) = captured("a.har", &get("/", ""));
    assert_eq!(entry["response"]["status"], 200);
    assert_eq!(entry["response"]["content"], json!({"size": 5, "mimeType": "", "comment": "not captured"}));
}

fn bodies() {
    let (_tidegate, entry, _server) = captured("{ har: a.har, bodies: 3B }", &get("/", ""));
    assert_eq!((&entry["response"]["content"]["text"], &entry["response"]["bodySize"]), (&json!("hel"), &json!(5)));
}

fn max_size() {
    let (tidegate, _, _server) = captured("{ har: a.har, max_size: 4KiB }", &get("/", ""));
    let number = tidegate.folder.path().join("a.1.har");
    until("it is full", || tidegate.client().get("/").status == 200 && number.exists());
}

fn keep() {
    let (tidegate, _, _server) = captured("{ har: a.har, max_size: 4KiB, keep: 0 }", &get("/", ""));
    let file = |name: &str| tidegate.folder.path().join(name);
    let size = || std::fs::metadata(file("a.har")).map_or(0, |file| file.len());
    let mut before = size();
    until("it has begun anew", || {
        tidegate.client().get("/");
        std::mem::replace(&mut before, size()) > before
    });
    assert!(!file("a.1.har").exists());
}

fn fields() {
    let request = get("/", "X-Own: secret\r\nAuthorization: secret\r\nX-Other: told\r\n");
    for redact in ["[x-own]", "X-OWN", "{ fields: x-own }"] {
        let (_tidegate, entry, _server) = captured(&format!("{{ har: a.har, redact: {redact} }}"), &request);
        let said = ["X-Own", "Authorization", "X-Other"].map(|name| value(&entry, name));
        assert_eq!(said, ["[redacted]", "[redacted]", "told"]);
    }
}

fn parameters() {
    let (_tidegate, entry, _server) =
        captured("{ har: a.har, redact: { parameters: [Own] } }", &get("/?own=secret&a=1&password=x", ""));
    assert_eq!(entry["request"]["url"], "http://test.example/?own=[redacted]&a=1&password=[redacted]");
}

fn usual() {
    let request = get("/?token=t&own=secret", "Authorization: Basic x\r\n");
    let (_tidegate, entry, _server) = captured("{ har: a.har, redact: { usual: false, parameters: own } }", &request);
    assert_eq!(value(&entry, "Authorization"), "Basic x");
    assert_eq!(entry["request"]["url"], "http://test.example/?token=t&own=[redacted]");
}
