//! The live demo: three small servers inside this process, the proxy in front of them, and a list of things to try.

mod server;

use std::net::SocketAddr;
use std::process::ExitCode;

use control::{Options, Source};
use serde_json::json;

pub(crate) fn run(bind: &str, admin: &str, ready_fd: Option<i32>) -> ExitCode {
    let started: std::io::Result<Vec<SocketAddr>> =
        ["blue", "green", "shop"].into_iter().map(server::start).collect();
    let servers = match started {
        Ok(servers) => servers,
        Err(error) => {
            eprintln!("the demo's own servers cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    print!("{}", things_to_try(bind, admin));
    let text = document(bind, admin, &servers).to_string();
    control::run(Options { source: Source::Text { name: "the demo".to_owned(), text }, sets: Vec::new(), ready_fd })
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

fn things_to_try(bind: &str, admin: &str) -> String {
    format!(
        "\
Tidegate's demo: two colours behind one address, and a shop by its name.
Try, in another terminal:

  curl http://{bind}/                                          # blue once, green twice: weights
  curl -H 'Host: shop.localhost' http://{bind}/                # routed by host
  curl -d '{{\"customer\":{{\"tier\":\"gold\"}}}}' http://{bind}/orders  # routed by what the message says
  curl -i http://{bind}/old/page                               # redirected
  curl -i http://{bind}/secret/plans                           # denied
  curl http://{bind}/hello                                     # answered here
  curl -i http://{bind}/a/../secret/plans                      # no spelling slips past (add --path-as-is)
  curl http://{admin}/metrics                                  # Prometheus metrics
  curl http://{admin}/api/pools                                # what the operator's API says
  curl -X PUT -H 'Content-Type: application/json' -d '{{\"drain\":true}}' http://{admin}/api/pools/colours/servers/blue

The status page is at http://{admin}/ and each request leaves a line below. Ctrl-C ends it.

"
    )
}
