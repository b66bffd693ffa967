//! Configurations that a command line stands for.

use control::Source;
use serde_json::json;

/// `tidegate reverse`: one listener, one pool, everything else as it is by default.
pub(crate) fn reverse(bind: &str, to: &[String], admin: Option<&str>) -> Source {
    let mut document = json!({
        "access_log": { "to": "stdout", "format": "combined" },
        "listeners": { "web": { "bind": bind, "routes": [{ "to": "servers" }] } },
        "pools": { "servers": { "servers": to } },
    });
    if let Some(admin) = admin {
        document["admin"] = json!({ "bind": admin });
    }
    Source::Text { name: "the command line".to_owned(), text: document.to_string() }
}
