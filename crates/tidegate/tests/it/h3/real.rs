//! Clients of HTTP/3 of another making.

use std::process::Command;

use testkit::{Server, Tidegate, ok, tools, websocket_accept};

use super::EDGE;
use crate::tls::Desk;

/// A server that says back what it hears, as a WebSocket where it is asked for one.
fn echo() -> Server {
    Server::script(|peer| {
        while let Some(request) = peer.request() {
            let Some(key) = request.fields.value("sec-websocket-key") else {
                peer.send(ok(request.body));
                continue;
            };
            let accept = websocket_accept(key);
            peer.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            ));
            while let Ok(byte) = peer.reader.exactly(1) {
                peer.send(byte);
            }
        }
    })
}

fn port(tidegate: &Tidegate) -> String {
    tidegate.address("web").rsplit(':').next().expect("a port").to_owned()
}

/// Runs a client to its end, and answers what it said.
fn said(mut client: Command) -> String {
    let output = client.output().expect("a client that runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn aioquic_asks_sends_moves_and_talks() {
    let Some(mut python) = tools::python("aioquic") else { return };
    let (desk, server) = (Desk::new(), echo());
    let tidegate = desk.start(&format!("workers: 4\n{}", EDGE.replace("@MORE", "")), &[("APP", &server)]);
    let script = desk.folder.write("client.py", include_str!("aioquic.py"));
    python.arg(script).arg(port(&tidegate)).arg(desk.folder.path().join("ca.pem"));
    assert_eq!(said(python), "asked\nsent\nmoved\nrenamed\ntalked\n");
    let lines = ["/get", "/moved"].map(|path| tidegate.log_of(path));
    assert!(lines.iter().all(|line| line["version"] == "3"), "{lines:?}");
    assert_ne!(lines[0]["peer"], lines[1]["peer"], "it has moved");
}

#[test]
fn curl_by_its_python_binding_speaks_http_3() {
    let Some(mut python) = tools::python("curl_cffi") else { return };
    let (desk, server) = (Desk::new(), echo());
    let tidegate = desk.start(&EDGE.replace("@MORE", ""), &[("APP", &server)]);
    let script = "
import sys
from curl_cffi import Curl, CurlHttpVersion, CurlOpt, requests
port, authority = sys.argv[1:]
session = requests.Session(curl_options={CurlOpt.RESOLVE: [f'example.com:{port}:127.0.0.1']}, verify=authority)
url = f'https://example.com:{port}'
answer = session.get(url + '/curl', http_version=CurlHttpVersion.V3ONLY)
print(answer.status_code, answer.http_version == CurlHttpVersion.V3, len(answer.content))
answer = session.post(url + '/curl', data=b'y' * 100000, http_version=CurlHttpVersion.V3ONLY)
print(answer.status_code, answer.content == b'y' * 100000)
";
    python.args(["-c", script]).arg(port(&tidegate)).arg(desk.folder.path().join("ca.pem"));
    assert_eq!(said(python), "200 True 0\n200 True\n");
}
