//! Which keys exist under which role: the one table. What is not in it exists under every role.

use crate::spec::Role;

impl Role {
    pub(crate) const ALL: [Role; 5] = [Role::Http, Role::Forward, Role::Tcp, Role::Udp, Role::Nat];

    pub(crate) fn of(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.word() == word)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Role::Http => "http",
            Role::Forward => "forward",
            Role::Tcp => "tcp",
            Role::Udp => "udp",
            Role::Nat => "nat",
        }
    }

    /// Whether it is requests of HTTP that arrive.
    pub fn has_requests(self) -> bool {
        matches!(self, Role::Http | Role::Forward)
    }

    /// Whether what arrives are flows, which have no requests.
    pub(crate) fn is_of_flows(self) -> bool {
        matches!(self, Role::Tcp | Role::Udp)
    }

    /// Whether a key of a section, by the section's noun, exists under this role.
    pub(crate) fn has(self, noun: &str, key: &str) -> bool {
        OF_SOME.iter().all(|(roles, section, keys)| roles.contains(&self) || *section != noun || !keys.contains(&key))
    }
}

/// Keys of some roles alone.
pub(crate) static OF_SOME: [(&[Role], &str, &[&str]); 37] = [
    (REQUESTS, "listener", &["http", "forwarding", "use", "redirect", "respond"]),
    (&[Role::Http], "listener", &["http3", "canary"]),
    (&[Role::Http, Role::Tcp, Role::Udp], "listener", &["split"]),
    (&[Role::Forward], "listener", &["egress", "open", "pac", "intercept", "inspect"]),
    (PROXIES, "listener", &["routes", "deny", "retries", "limits"]),
    (STREAMS, "listener", &["tls"]),
    (&[Role::Tcp], "listener", &["coalesce"]),
    (&[Role::Nat], "listener", &["nat", "interfaces", "source", "engine"]),
    (STREAMS, "bind", &["mode", "tls", "accept_proxy"]),
    (&[Role::Forward], "bind", &["transparent"]),
    (REQUESTS, "route", &["use", "redirect", "respond"]),
    (&[Role::Http], "route", &["canary"]),
    (&[Role::Http, Role::Tcp, Role::Udp], "route", &["split"]),
    (PROXIES, "route", &["subset"]),
    (&[Role::Forward], "route", &["source"]),
    (STREAMS, "route", &["priority"]),
    (
        REQUESTS,
        "match",
        &["host", "path", "method", "header", "cookie", "query", "kind", "url", "body", "user", "group"],
    ),
    (&[Role::Http], "match", &["grpc"]),
    (STREAMS, "match", &["sni", "alpn", "client_cert"]),
    (&[Role::Tcp], "match", &["postgres", "mqtt"]),
    (REQUESTS, "deny", &["status", "reason", "contact"]),
    (&[Role::Tcp], "listener tls", &["starttls"]),
    (&[Role::Tcp, Role::Udp], "deny", &["flow"]),
    (REQUESTS, "listener timeouts", &["keep_alive", "request_body", "response", "stream", "try"]),
    (STREAMS, "listener timeouts", &["tls_handshake", "request_head", "connect", "tunnel"]),
    (STREAMS, "listener timeouts", &["queue"]),
    (PROXIES, "listener timeouts", &["total"]),
    (&[Role::Forward, Role::Udp, Role::Nat], "listener timeouts", &["flow"]),
    (REQUESTS, "listener limits", &["request_head", "request_line", "fields", "request_body"]),
    (STREAMS, "listener limits", &["handshakes"]),
    // A route's and a site's.
    (REQUESTS, "timeouts", &["request_body", "response", "stream", "try"]),
    (STREAMS, "timeouts", &["connect", "tunnel"]),
    (STREAMS, "timeouts", &["queue"]),
    (&[Role::Forward, Role::Udp], "timeouts", &["flow"]),
    (REQUESTS, "limits", &["request_body"]),
    (&[Role::Http], "listener retries", &["hedge"]),
    (&[Role::Http], "retries", &["hedge"]),
];

/// What to write in the place of a key that does not exist under a role, where that is another one.
pub(crate) fn instead(noun: &str, key: &str, role: Role) -> Option<&'static str> {
    Some(match (noun, key, role) {
        ("deny", "status" | "reason" | "contact", Role::Tcp) => "write `deny: close` or `deny: reset`",
        ("deny", "status" | "reason" | "contact", Role::Udp) => "write `deny: drop`",
        ("deny", "flow", Role::Http | Role::Forward) => "write a status such as `deny: 403`",
        ("match", "host", Role::Tcp) => "the name that is asked for in TLS is `sni`",
        ("timeouts" | "listener timeouts", "tunnel", Role::Udp) => "the silence that ends a flow is `flow`",
        ("timeouts" | "listener timeouts", "flow", Role::Tcp) => "the silence that ends a flow is `tunnel`",
        _ => return None,
    })
}

/// The roles in which this process speaks with clients itself.
const PROXIES: &[Role] = &[Role::Http, Role::Forward, Role::Tcp, Role::Udp];

/// The roles whose clients come on connections.
const STREAMS: &[Role] = &[Role::Http, Role::Forward, Role::Tcp];

/// The roles to which requests come.
const REQUESTS: &[Role] = &[Role::Http, Role::Forward];
