//! Clients that others have written, against the real program: curl, nghttp, h2load, openssl, WebSocket by Python, a browser. A test
//! whose client is not installed says so and passes: `scripts/install`.

mod browser;
mod negotiation;
mod websocket;

use std::process::{Command, Output, Stdio};

use testkit::{Server, Tidegate, ok, tool};

use crate::tls::{Desk, EDGE};

/// A desk, a server that answers with what it was sent, and the program between it and clients with TLS.
struct Edge {
    desk: Desk,
    tidegate: Tidegate,
    server: Server,
}

impl Edge {
    fn new() -> Edge {
        Edge::before(Server::echo())
    }

    fn before(server: Server) -> Edge {
        let desk = Desk::new();
        let tidegate = desk.start(EDGE, &[("APP", &server)]);
        Edge { desk, tidegate, server }
    }

    fn ca(&self) -> String {
        self.desk.folder.path().join("ca.pem").display().to_string()
    }

    fn address(&self) -> String {
        self.tidegate.address("web")
    }
}

/// Runs a client to its end; none if it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    let mut command = tool(program)?;
    Some(output_of(command.args(arguments)))
}

fn output_of(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("a client that starts")
}

/// What a client has said, if it ended well.
fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn curl_by_each_version_of_http() {
    let edge = Edge::new();
    let (ca, connect) = (edge.ca(), format!("::{}", edge.address()));
    let body = "x".repeat(300_000);
    let upload = format!("@{}", edge.desk.folder.write("upload", &body).display());
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let around = ["-sS", option, "--cacert", &ca, "--connect-to", &connect, "--data-binary", &upload];
        let both = ["https://example.com/a", "https://www.example.com/b", "-w", "|%{http_version} %{num_connects}|"];
        let Some(output) = run("curl", &[&around[..], &both[..]].concat()) else { return };
        // The second name is in the same certificate, and still another connection: curl does not coalesce by itself.
        assert_eq!(said(&output), format!("{body}|{version} 1|{body}|{version} 1|"), "{option}");
    }
    assert_eq!(edge.server.requests().len(), 4);
}

#[test]
fn nghttp_takes_many_streams_and_sends_bodies() {
    let edge = Edge::new();
    let upload = edge.desk.folder.write("upload", &"y".repeat(200_000)).display().to_string();
    let page = |path: &str| format!("https://{}{path}", edge.address());
    let (one, two) = (page("/one"), page("/two"));
    let Some(output) = run("nghttp", &["-s", "-y", "-n", "-d", &upload, &one, &two, "-m", "5"]) else { return };
    let said = said(&output);
    // Its table has a row a request: id, times, status, size, path.
    let answered = said.lines().filter(|line| line.contains(" 200 ") && line.contains("195K")).count();
    assert_eq!(answered, 10, "{said}");
}

#[test]
fn h2load_loses_nothing() {
    let edge = Edge::before(Server::http(|_| ok("z".repeat(1024))));
    let url = format!("https://{}/", edge.address());
    let Some(output) = run("h2load", &["-n", "3000", "-c", "5", "-m", "32", &url]) else { return };
    let said = said(&output);
    assert!(said.contains("3000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("status codes: 3000 2xx"), "{said}");
    assert!(said.contains("Application protocol: h2"), "{said}");
}
