//! Google's own client and server, with the program between them.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Process, Server, Tidegate, python};

use super::{answer, typed};
use crate::support::start;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/grpc").join(name)
}

/// A server of gRPC, and its port.
fn serve(mut python: Command) -> (Process, String) {
    Process::saying(python.arg(script("server.py")))
}

/// What the client says of these checks.
fn seen(mut python: Command, tidegate: &Tidegate, checks: &[&str]) -> Vec<String> {
    let output = python.arg(script("client.py")).arg(tidegate.address("web")).args(checks).output().expect("a client");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn between(port: &str, route: &str) -> Tidegate {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, http: [h1, h2], routes: [{{ match: {{ grpc: {{ service: test.Echo }} }}, {route} to: app }}, \
         {{ deny: 404 }}] }} }}\npools: {{ app: {{ servers: [\"127.0.0.1:{port}\"], protocol: h2 }} }}\n"
    );
    start(&text, &[])
}

#[test]
fn calls_of_every_kind_pass() {
    let (Some(client), Some(server)) = (python("grpc"), python("grpc")) else { return };
    let (_server, port) = serve(server);
    let tidegate = between(&port, "");
    let seen = seen(client, &tidegate, &["echo", "big", "errors", "deadline", "cancel", "streams"]);
    assert_eq!(
        seen,
        [
            r"echo b'hello' True True b'\x00\xff'",
            "big True",
            "fail NOT_FOUND nö 100% {'x-why': 'because'}",
            "none UNIMPLEMENTED 404: denied {}",
            "deadline DEADLINE_EXCEEDED True",
            "cancel b'yes'",
            "count [0, 1, 2, 3, 4]",
            "many 3000",
            "add b'19900'",
            "chat [b'TIDE', b'GATE'] []",
        ]
    );
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

/// A browser's call, in HTTP/1.1, to a server that speaks nothing but HTTP/2.
#[test]
fn a_browser_calls_it() {
    let Some(server) = python("grpc") else { return };
    let (_server, port) = serve(server);
    let tidegate = between(&port, "use: [{ grpc_web: {} }],");
    let message = |text: &str| [&[0, 0, 0, 0, text.len() as u8], text.as_bytes()].concat();
    let response = tidegate.client().ask(typed("/test.Echo/Count", "application/grpc-web+proto", "", &message("3")));
    assert_eq!(response.fields.value("content-type"), Some("application/grpc-web"));
    let messages = [message("0"), message("1"), message("2")].concat();
    assert!(response.body.starts_with(&messages), "{:?}", response.body);
    let frame = String::from_utf8_lossy(&response.body[messages.len() + 5..]).into_owned();
    assert!(response.body[messages.len()] == 0x80 && frame.contains("grpc-status:0\r\n"), "{frame}");
    let text = tidegate.client().ask(typed("/test.Echo/Echo", "application/grpc-web-text", "", b"AAAAAAJ5bw=="));
    assert!(text.body.starts_with(b"AAAAAAJ5b"), "{}", text.text());
    let failed = tidegate.client().ask(typed("/test.Echo/Fail", "application/grpc-web", "", &message("")));
    let said = failed.fields.value("grpc-status").map(str::to_owned).unwrap_or_else(|| failed.text());
    assert!(said == "5" || said.contains("grpc-status:5\r\n"), "{said}");
    assert_eq!(tidegate.log_of("/test.Echo/Fail")["grpc_status"], 5);
}
