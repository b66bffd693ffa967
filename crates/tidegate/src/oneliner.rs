//! Documents that a command line stands for.

use config::Argument;
use control::Source;
use serde_json::{Value, json};

use crate::flags::OneLiner;

/// `tidegate reverse`: one listener, one pool, everything else as it is by default.
pub(crate) fn reverse(said: &OneLiner) -> Source {
    document(said, "combined", json!({ "bind": bind(said).said, "routes": [{ "to": "servers" }] }))
}

/// `tidegate tcp`: the same for flows, of which the combined form of the log has little to say.
pub(crate) fn tcp(said: &OneLiner) -> Source {
    document(said, "json", json!({ "bind": bind(said).said, "role": "tcp", "to": "servers" }))
}

/// `tidegate udp`: the same for flows of UDP.
pub(crate) fn udp(said: &OneLiner) -> Source {
    document(said, "json", json!({ "bind": bind(said).said, "role": "udp", "to": "servers" }))
}

fn document(said: &OneLiner, format: &str, listener: Value) -> Source {
    let servers = said.to.iter().map(|to| Argument::of("--to", to));
    let admin = said.admin.as_ref().map(|admin| Argument::of("--admin", admin));
    let mut document = json!({
        "access_log": { "to": "stdout", "format": format },
        "listeners": { "web": listener },
        "pools": { "servers": { "servers": servers.clone().map(|server| server.said).collect::<Vec<_>>() } },
    });
    if let Some(admin) = &admin {
        document["admin"] = json!({ "bind": admin.said });
    }
    let arguments = [bind(said)].into_iter().chain(servers).chain(admin).collect();
    Source::Text { name: "the command line".to_owned(), text: document.to_string(), arguments }
}

fn bind(said: &OneLiner) -> Argument {
    Argument::of("--bind", &said.bind)
}
