//! Which keys exist under which role: the one table. What is not in it exists under every role.

use crate::spec::Role;

impl Role {
    pub(crate) const ALL: [Role; 3] = [Role::Http, Role::Tcp, Role::Nat];

    pub(crate) fn of(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.word() == word)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Role::Http => "http",
            Role::Tcp => "tcp",
            Role::Nat => "nat",
        }
    }

    /// Whether a key of a section, by the section's noun, exists under this role.
    pub(crate) fn has(self, noun: &str, key: &str) -> bool {
        ONLY.iter().all(|(roles, section, keys)| roles.contains(&self) || *section != noun || !keys.contains(&key))
    }
}

/// Roles that read what is said, or at least accept connections.
const PROXIES: &[Role] = &[Role::Http, Role::Tcp];

/// Keys of these roles alone.
pub(crate) static ONLY: [(&[Role], &str, &[&str]); 17] = [
    (&[Role::Http], "listener", &["http", "http3", "forwarding", "use", "canary", "redirect", "respond"]),
    (PROXIES, "listener", &["tls", "routes", "split", "deny", "retries", "limits"]),
    (&[Role::Tcp], "listener", &["coalesce"]),
    (&[Role::Nat], "listener", &["nat", "interfaces", "source", "engine"]),
    (PROXIES, "bind", &["mode", "tls", "accept_proxy"]),
    (&[Role::Http], "route", &["use", "canary", "redirect", "respond"]),
    (&[Role::Http], "match", &["host", "path", "method", "header", "cookie", "query", "kind", "grpc", "body"]),
    (&[Role::Http], "deny", &["status", "reason"]),
    (&[Role::Tcp], "deny", &["flow"]),
    (&[Role::Http], "listener timeouts", &["keep_alive", "request_body", "response", "stream", "try"]),
    (PROXIES, "listener timeouts", &["tls_handshake", "request_head", "connect", "queue", "total", "tunnel"]),
    (&[Role::Nat], "listener timeouts", &["flow"]),
    (&[Role::Http], "listener limits", &["request_head", "request_line", "fields", "request_body"]),
    // A route's and a site's.
    (&[Role::Http], "timeouts", &["request_body", "response", "stream", "try"]),
    (&[Role::Http], "limits", &["request_body"]),
    (&[Role::Http], "listener retries", &["hedge"]),
    (&[Role::Http], "retries", &["hedge"]),
];
