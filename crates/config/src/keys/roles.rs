//! Which keys exist under which role: the one table. What is not in it exists under every role.

use crate::spec::Role;

impl Role {
    pub(crate) const ALL: [Role; 2] = [Role::Http, Role::Tcp];

    pub(crate) fn of(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.word() == word)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Role::Http => "http",
            Role::Tcp => "tcp",
        }
    }

    /// Whether a key of a section, by the section's noun, exists under this role.
    pub(crate) fn has(self, noun: &str, key: &str) -> bool {
        ALONE.iter().all(|(role, section, keys)| *role == self || *section != noun || !keys.contains(&key))
    }
}

/// Keys of one role alone.
pub(crate) static ALONE: [(Role, &str, &[&str]); 13] = [
    (Role::Http, "listener", &["http", "http3", "forwarding", "use", "canary", "redirect", "respond"]),
    (Role::Http, "route", &["use", "canary", "redirect", "respond"]),
    (Role::Http, "match", &["host", "path", "method", "header", "cookie", "query", "kind", "grpc", "body"]),
    (Role::Tcp, "match", &["postgres", "mqtt"]),
    (Role::Http, "deny", &["status", "reason"]),
    (Role::Tcp, "deny", &["flow"]),
    (Role::Tcp, "listener tls", &["starttls"]),
    (Role::Http, "listener timeouts", &["keep_alive", "request_body", "response", "stream", "try"]),
    (Role::Http, "listener limits", &["request_head", "request_line", "fields", "request_body"]),
    // A route's and a site's.
    (Role::Http, "timeouts", &["request_body", "response", "stream", "try"]),
    (Role::Http, "limits", &["request_body"]),
    (Role::Http, "listener retries", &["hedge"]),
    (Role::Http, "retries", &["hedge"]),
];
