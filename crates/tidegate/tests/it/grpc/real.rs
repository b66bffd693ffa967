//! Google's own client.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Server, Tidegate, python};

use super::answer;
use crate::support::start;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/grpc").join(name)
}

/// What the client says of these checks.
fn seen(mut python: Command, tidegate: &Tidegate, checks: &[&str]) -> Vec<String> {
    let output = python.arg(script("client.py")).arg(tidegate.address("web")).args(checks).output().expect("a client");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// A server that speaks HTTP/1.1 is enough for a call; and what we say ourselves is understood.
#[test]
fn its_client_understands_what_we_say_ourselves() {
    let Some(client) = python("grpc") else { return };
    let server = Server::http(|request| {
        assert!(request.fields.has("grpc-timeout"));
        answer("\0\0\0\0\x02hi", "grpc-status: 5\r\ngrpc-message: n%C3%B6\r\nx-why: 7\r\n")
    });
    let text = "
listeners:
  web:
    bind: 127.0.0.1:0
    http: [h1, h2]
    timeouts: { total: 5s }
    routes:
      - { match: { grpc: { method: Fail } }, to: app }
      - { deny: { status: 404, reason: 100% no } }
pools: { app: [@APP] }
";
    let tidegate = start(text, &[("APP", &server)]);
    let seen = seen(client, &tidegate, &["errors"]);
    assert_eq!(seen, ["fail NOT_FOUND nö {'x-why': '7'}", "none UNIMPLEMENTED 404: 100% no {}"]);
}
