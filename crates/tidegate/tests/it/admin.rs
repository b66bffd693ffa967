//! The operator's address: what it shows, what it changes on the wire, whom it refuses.

mod changes;
mod document;
mod refusals;
mod shown;
mod tail;

use std::time::Instant;

use serde_json::Value;
use testkit::{Client, PATIENCE, Response, Server, Tidegate};

use crate::support::start;

/// An operator with one connection.
pub(crate) struct Operator {
    client: Client,
    host: String,
}

impl Operator {
    pub(crate) fn of(tidegate: &Tidegate) -> Operator {
        let address = tidegate.ready()["admin"].as_str().expect("an admin address");
        let host = if address.starts_with("unix:") { "any.example" } else { address };
        Operator { client: Client::connect(address), host: host.to_owned() }
    }

    fn get(&mut self, target: &str) -> Response {
        self.ask("GET", target, "", "")
    }

    /// Sends a JSON document; each field comes with its line end.
    pub(crate) fn put(&mut self, target: &str, fields: &str, body: &str) -> Response {
        self.ask("PUT", target, &format!("Content-Type: application/json\r\n{fields}"), body)
    }

    fn ask(&mut self, method: &str, target: &str, fields: &str, body: &str) -> Response {
        self.client.ask(self.request(method, target, fields, body))
    }

    fn request(&self, method: &str, target: &str, fields: &str, body: &str) -> String {
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n{fields}{length}\r\n{body}", self.host)
    }
}

/// Two servers that take turns, by weight, in one worker: who gets which request is certain.
fn in_turn(one: &Server, other: &Server) -> Tidegate {
    start(
        "workers: 1
listeners: { web: { bind: 127.0.0.1:0, routes: [{ name: all, to: app }] } }
pools: { app: { servers: { one: { address: @ONE }, other: { address: @OTHER } }, balance: round_robin } }
",
        &[("ONE", one), ("OTHER", other)],
    )
}

fn json(response: &Response) -> Value {
    assert_eq!(response.fields.value("content-type"), Some("application/json"), "{}", response.text());
    serde_json::from_slice(&response.body).expect("JSON")
}

/// Asks until the answer is what it should become: a request is counted a moment after its client has its response.
fn until(operator: &mut Operator, target: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = json(&operator.get(target));
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{target}: {answer:#}");
    }
}

/// The entity tag of a response.
fn tag(response: &Response) -> String {
    response.fields.value("etag").expect("an ETag").to_owned()
}

/// The message of a refusal.
fn error(response: &Response) -> String {
    json(response)["error"].as_str().expect("a message").to_owned()
}
