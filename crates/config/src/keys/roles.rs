//! Which keys exist under which role: the one table. What is not in it exists under every role.

use crate::spec::Role;

impl Role {
    pub(crate) const ALL: [Role; 4] = [Role::Http, Role::Forward, Role::Tcp, Role::Nat];

    pub(crate) fn of(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.word() == word)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Role::Http => "http",
            Role::Forward => "forward",
            Role::Tcp => "tcp",
            Role::Nat => "nat",
        }
    }

    /// Whether it is requests of HTTP that arrive.
    pub fn has_requests(self) -> bool {
        matches!(self, Role::Http | Role::Forward)
    }

    /// Whether a key of a section, by the section's noun, exists under this role.
    pub(crate) fn has(self, noun: &str, key: &str) -> bool {
        ONLY.iter().all(|(roles, section, keys)| roles.contains(&self) || *section != noun || !keys.contains(&key))
    }
}

/// Roles that read what is said, or at least accept connections.
const PROXIES: &[Role] = &[Role::Http, Role::Forward, Role::Tcp];
/// Roles to which requests come.
const REQUESTS: &[Role] = &[Role::Http, Role::Forward];

/// Keys of these roles alone.
pub(crate) static ONLY: [(&[Role], &str, &[&str]); 23] = [
    (REQUESTS, "listener", &["http", "forwarding", "use", "redirect", "respond"]),
    (&[Role::Http], "listener", &["http3", "canary"]),
    (&[Role::Http, Role::Tcp], "listener", &["split"]),
    (&[Role::Forward], "listener", &["egress", "open"]),
    (PROXIES, "listener", &["tls", "routes", "deny", "retries", "limits"]),
    (&[Role::Tcp], "listener", &["coalesce"]),
    (&[Role::Nat], "listener", &["nat", "interfaces", "source", "engine"]),
    (PROXIES, "bind", &["mode", "tls", "accept_proxy"]),
    (REQUESTS, "route", &["use", "redirect", "respond"]),
    (&[Role::Http], "route", &["canary"]),
    (&[Role::Http, Role::Tcp], "route", &["split", "subset"]),
    (REQUESTS, "match", &["host", "path", "method", "header", "cookie", "query", "kind", "body"]),
    (&[Role::Http], "match", &["grpc"]),
    (REQUESTS, "deny", &["status", "reason"]),
    (&[Role::Tcp], "deny", &["flow"]),
    (REQUESTS, "listener timeouts", &["keep_alive", "request_body", "response", "stream", "try"]),
    (PROXIES, "listener timeouts", &["tls_handshake", "request_head", "connect", "queue", "total", "tunnel"]),
    (&[Role::Nat], "listener timeouts", &["flow"]),
    (REQUESTS, "listener limits", &["request_head", "request_line", "fields", "request_body"]),
    // A route's and a site's.
    (REQUESTS, "timeouts", &["request_body", "response", "stream", "try"]),
    (REQUESTS, "limits", &["request_body"]),
    (&[Role::Http], "listener retries", &["hedge"]),
    (&[Role::Http], "retries", &["hedge"]),
];
