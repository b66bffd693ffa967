//! What all tests share: how the program is started in front of scripted servers.

use std::time::Instant;

use serde_json::Value;
use testkit::{Client, Hanging, Nginx, PATIENCE, Refusing, Request, Response, Server, Start, Tidegate, until};

/// The program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_tidegate");

/// An address that a configuration can name.
pub(crate) trait Place {
    fn place(&self) -> &str;
}

/// What a configuration needs around what a test is about. A test that says one of these itself has its way.
const AROUND: [(&str, &str); 3] = [("workers:", "2"), ("admin:", "127.0.0.1:0"), ("access_log:", "stdout")];

/// A configuration: `@NAME` stands for the address of that server, and what every configuration needs is added.
pub(crate) fn config(text: &str, servers: &[(&str, &dyn Place)]) -> String {
    let mut config = String::new();
    for (key, value) in AROUND {
        if !text.lines().any(|line| line.starts_with(key)) {
            config.push_str(&format!("{key} {value}\n"));
        }
    }
    config.push_str(text);
    // The longest names first: one may begin with another.
    let mut servers = servers.to_vec();
    servers.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    for (name, server) in servers {
        config = config.replace(&format!("@{name}"), server.place());
    }
    config
}

/// Starts the program with such a configuration.
pub(crate) fn start(text: &str, servers: &[(&str, &dyn Place)]) -> Tidegate {
    Start::of(BINARY).text(&config(text, servers))
}

/// One listener in front of one server, everything else as it is by default.
pub(crate) fn before(server: &Server) -> Tidegate {
    start(PLAIN, &[("APP", server)])
}

/// One listener in front of one pool of one server.
pub(crate) const PLAIN: &str = "
listeners: { web: { bind: 127.0.0.1:0, to: app } }
pools: { app: [@APP] }
";

/// The same with lines of its own for the listener.
pub(crate) fn before_with(server: &Server, listener: &str) -> Tidegate {
    let text =
        format!("listeners: {{ web: {{ bind: 127.0.0.1:0, to: app, {listener} }} }}\npools: {{ app: [@APP] }}\n");
    start(&text, &[("APP", server)])
}

/// The same with lines of its own for the pool.
pub(crate) fn before_pool(server: &Server, pool: &str) -> Tidegate {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ servers: [@APP], {pool} }} }}\n"
    );
    start(&text, &[("APP", server)])
}

/// A request for `target` with these fields, each with its line end.
pub(crate) fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test.example\r\n{fields}\r\n")
}

/// A request with a body of a length.
pub(crate) fn post(target: &str, body: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: test.example\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Sends a request on a connection of its own and reads the response.
pub(crate) fn ask(tidegate: &Tidegate, request: &str) -> Response {
    tidegate.client().ask(request)
}

/// What the server received for this request, which it answers.
pub(crate) fn seen(tidegate: &Tidegate, server: &Server, request: &str) -> Request {
    assert_eq!(ask(tidegate, request).status, 200, "{request}");
    server.request()
}

/// Waits until so many requests wait in the queue of the pool `app`.
pub(crate) fn until_waiting(tidegate: &Tidegate, count: usize) {
    until(&format!("{count} wait"), || tidegate.metric("tidegate_pool_waiting", &["pool=\"app\""]) == [count as f64]);
}

/// What the operator is shown, once it is what it should become: what happens is counted a moment later.
pub(crate) fn until_shown(tidegate: &Tidegate, target: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = serde_json::from_slice(&tidegate.admin(target).body).expect("JSON");
        if wanted(&shown) {
            return shown;
        }
        assert!(Instant::now() < deadline, "{target}: {shown:#}");
    }
}

/// Whether a connection still serves: the next request on it is answered.
pub(crate) fn assert_serves(client: &mut Client) {
    assert!(client.get("/still-there").status > 0);
}

impl Place for testkit::h2_server::Backend {
    fn place(&self) -> &str {
        self.address()
    }
}

impl Place for testkit::h3_server::Backend {
    fn place(&self) -> &str {
        self.address()
    }
}

impl Place for testkit::h3_server::Raw {
    fn place(&self) -> &str {
        self.address()
    }
}

impl Place for testkit::datagram::Answering {
    fn place(&self) -> &str {
        self.address()
    }
}

impl Place for testkit::Unheard {
    fn place(&self) -> &str {
        self.address()
    }
}

impl Place for testkit::Deaf {
    fn place(&self) -> &str {
        self.address()
    }
}

impl Place for Server {
    fn place(&self) -> &str {
        self.address()
    }
}

impl Place for Nginx {
    fn place(&self) -> &str {
        self.address()
    }
}

impl Place for Refusing {
    fn place(&self) -> &str {
        self.address()
    }
}

impl Place for Hanging {
    fn place(&self) -> &str {
        self.address()
    }
}

impl Place for &str {
    fn place(&self) -> &str {
        self
    }
}
