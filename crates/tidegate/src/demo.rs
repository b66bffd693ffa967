//! The live demo: three small servers inside this process, the proxy in front of them, and a list of things to try.

mod server;

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, PipeReader, Write as _, pipe};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::process::ExitCode;
use std::thread;

use config::Argument;
use control::{Options, Source};
use serde_json::{Value, json};

pub(crate) fn run(bind: &str, admin: &str, ready_fd: Option<i32>) -> ExitCode {
    let started: std::io::Result<Vec<SocketAddr>> = ["blue", "green", "shop"].into_iter().map(server::start).collect();
    let (servers, (ready, told)) = match started.and_then(|servers| Ok((servers, pipe()?))) {
        Ok(prepared) => prepared,
        Err(error) => {
            eprintln!("the demo's own servers cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    // The list names the addresses that were really bound: it waits until they are known.
    thread::spawn(move || announce(ready, ready_fd));
    let (bind, admin) = (Argument::of("--bind", bind), Argument::of("--admin", admin));
    let text = document(&bind.said, &admin.said, &servers).to_string();
    let source = Source::Text { name: "the demo".to_owned(), text, arguments: vec![bind, admin] };
    control::run(Options { source, sets: Vec::new(), ready_fd: Some(told.as_raw_fd()) })
}

/// Prints what to try as soon as we serve, and tells whoever else wants to know.
fn announce(ready: PipeReader, ready_fd: Option<i32>) {
    let mut line = String::new();
    if BufReader::new(ready).read_line(&mut line).is_err() {
        return;
    }
    let Ok(addresses) = serde_json::from_str::<Value>(&line) else { return };
    let (web, admin) = (&addresses["listeners"]["web"][0], &addresses["admin"]);
    let text = things_to_try(&url(web.as_str().unwrap_or_default()), &url(admin.as_str().unwrap_or_default()));
    // A reader that has closed the pipe has seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let Some(fd) = ready_fd else { return };
    let told = OpenOptions::new().write(true).open(format!("/proc/self/fd/{fd}"));
    if let Err(error) = told.and_then(|mut file| file.write_all(line.as_bytes())) {
        eprintln!("cannot tell descriptor {fd} that we are ready: {error}");
    }
}

/// An address as curl takes it: every address of this machine is reached at the loopback.
fn url(address: &str) -> String {
    if let Some(path) = address.strip_prefix("unix:") {
        return format!("--unix-socket {path} http://localhost");
    }
    match address.parse::<SocketAddr>() {
        Ok(any) if any.ip().is_unspecified() => format!("http://{}:{}", Ipv4Addr::LOCALHOST, any.port()),
        _ => format!("http://{address}"),
    }
}

fn document(bind: &str, admin: &str, servers: &[SocketAddr]) -> serde_json::Value {
    let address = |number: usize| servers[number].to_string();
    json!({
        "access_log": { "to": "stdout", "format": "json" },
        "admin": { "bind": admin },
        "listeners": { "web": { "bind": bind, "routes": [
            { "name": "shop", "match": { "host": "shop.localhost" }, "to": "shop" },
            { "name": "old", "match": { "path": "/old/*" }, "redirect": "/new/*" },
            { "name": "gold", "match": { "method": "POST", "path": "/orders", "body": { "json": { "$.customer.tier": "gold" } } }, "to": "shop" },
            { "name": "secret", "match": { "path": "/secret/*" }, "deny": 403 },
            { "name": "hello", "match": { "path": "/hello" }, "respond": { "status": 200, "body": "hello from tidegate itself\n" } },
            { "name": "colours", "use": [{ "headers": { "response": { "set": { "x-demo": "tidegate" } } } }], "to": "colours" },
        ] } },
        "pools": {
            "colours": { "servers": {
                "blue": { "address": address(0) },
                "green": { "address": address(1), "weight": 2 },
            }, "balance": "round_robin" },
            "shop": { "servers": { "shop": { "address": address(2) } } },
        },
    })
}

fn things_to_try(web: &str, admin: &str) -> String {
    let tries = [
        (format!("{web}/{{1,2,3}}"), "blue once, green twice: weights"),
        (format!("-H 'Host: shop.localhost' {web}/"), "routed by host"),
        (format!("-d '{{\"customer\":{{\"tier\":\"gold\"}}}}' {web}/orders"), "routed by what the message says"),
        (format!("-i {web}/old/page"), "redirected"),
        (format!("-i {web}/secret/plans"), "denied"),
        (format!("-i --path-as-is {web}/a/../%73ecret/plans"), "no spelling slips past"),
        (format!("{web}/hello"), "answered here"),
        (format!("{admin}/metrics"), "Prometheus metrics"),
        (format!("{admin}/api/pools"), "what the operator's API says"),
        (
            format!(
                "-X PUT -H 'Content-Type: application/json' -d '{{\"drain\":true}}' {admin}/api/pools/colours/servers/blue"
            ),
            "only green is left",
        ),
    ];
    let tries: String =
        tries.iter().map(|(arguments, comment)| format!("  curl {arguments:<56}  # {comment}\n")).collect();
    format!(
        "Tidegate's demo: two colours behind one address, and a shop by its name.\nTry, in another terminal:\n\n{tries}\n\
         The status page is at {admin}/ and each request leaves a line below. Ctrl-C ends it.\n\n"
    )
}
