//! What becomes of a request whose server fails it: how long a try may take, when there is another, and at whom.

mod hedges;
mod limits;
mod queue;
mod time;

use testkit::{Server, Tidegate};

use crate::support::{Place, start};

/// Two servers in turn, one worker: the first request meets the first server.
fn pair(first: &dyn Place, second: &dyn Place, pool: &str) -> Tidegate {
    let text = format!(
        "workers: 1\nlisteners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\npools: {{ app: {{ servers: {{ a: '@ONE', b: '@TWO' }}, balance: round_robin, {pool} }} }}\n"
    );
    start(&text, &[("ONE", first), ("TWO", second)])
}

/// A server that reads a request and says nothing more.
fn silent() -> Server {
    Server::script(|peer| {
        peer.request_head();
        peer.hang();
    })
}
