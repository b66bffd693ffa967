//! Filters of responses: what is refused, what is cut, and what people and the log are told.

mod heads;
mod held;
mod words;

use testkit::{Server, Tidegate};

use crate::support::start;

/// A server whose answers are what it is asked for: `?TYPE` and the length of the content, `?TYPE&chunked` without one.
fn films() -> Server {
    Server::http(|request| {
        let query = request.target.split('?').nth(1).unwrap_or_default();
        let (kind, form) = query.split_once('&').unwrap_or((query, ""));
        let head = match kind {
            "" => "HTTP/1.1 200 OK\r\n".to_owned(),
            kind => format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n"),
        };
        let content = content();
        match form {
            "chunked" => {
                let chunks: String = content
                    .as_bytes()
                    .chunks(1000)
                    .map(|part| format!("{:x}\r\n{}\r\n", part.len(), text(part)))
                    .collect();
                format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n").into_bytes()
            }
            _ if request.method == "HEAD" => format!("{head}Content-Length: {}\r\n\r\n", content.len()).into_bytes(),
            _ => format!("{head}Content-Length: {}\r\n\r\n{content}", content.len()).into_bytes(),
        }
    })
}

/// Ten thousand bytes of content.
fn content() -> String {
    "0123456789".repeat(1000)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// One listener that uses these policies, in front of one server.
fn filtering(server: &Server, policies: &str) -> Tidegate {
    let text = format!(
        "workers: 1\nlisteners: {{ web: {{ bind: 127.0.0.1:0, http: [h1, h2], use: [{policies}], to: app }} }}\npools: {{ app: [@APP] }}\n"
    );
    start(&text, &[("APP", server)])
}
