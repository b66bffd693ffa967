//! Documents that a command line stands for.

use control::Source;
use serde_json::{Value, json};

use crate::flags::OneLiner;

/// `tidegate reverse`: one listener, one pool, everything else as it is by default.
pub(crate) fn reverse(said: &OneLiner) -> Source {
    document(said, "combined", json!({ "bind": said.bind, "routes": [{ "to": "servers" }] }))
}

/// `tidegate tcp`: the same for flows, of which the combined form of the log has little to say.
pub(crate) fn tcp(said: &OneLiner) -> Source {
    document(said, "json", json!({ "bind": said.bind, "role": "tcp", "to": "servers" }))
}

/// `tidegate udp`: the same for flows of UDP.
pub(crate) fn udp(said: &OneLiner) -> Source {
    document(said, "json", json!({ "bind": said.bind, "role": "udp", "to": "servers" }))
}

fn document(said: &OneLiner, format: &str, listener: Value) -> Source {
    let mut document = json!({
        "access_log": { "to": "stdout", "format": format },
        "listeners": { "web": listener },
        "pools": { "servers": { "servers": said.to } },
    });
    if let Some(admin) = &said.admin {
        document["admin"] = json!({ "bind": admin });
    }
    Source::Text { name: "the command line".to_owned(), text: document.to_string() }
}
