//! What is said to a proxy that is asked to connect us to somebody else, on its connection and before anything of ours: by CONNECT
//! (RFC 9110 section 9.3.6), or by SOCKS 5 (RFC 1928, RFC 1929).
//!
//! A conversation takes what it has understood out of what was heard; what is left in the end was said by whoever is connected.

pub mod connect;
pub mod socks5;

use std::fmt;

/// How far a conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It waits for more bytes.
    More,
    /// From here on whoever was asked for speaks.
    Connected,
    /// The proxy does not want to, or cannot.
    Refused(Refusal),
    /// It is no proxy of this kind.
    Bad(&'static str),
}

/// How a proxy refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// By a status of HTTP.
    Status(u16),
    /// By a reply of SOCKS (RFC 1928 section 6).
    Reply(u8),
    /// It takes none of the ways in which we can say who we are.
    NoWay,
    /// It does not know us by these credentials.
    Credentials,
}

/// A name and a password.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The name, 1 to 255 bytes.
    pub username: &'a str,
    /// The password, 1 to 255 bytes.
    pub password: &'a str,
}

impl Credentials<'_> {
    /// The same as the value of a field of HTTP (RFC 7617).
    pub fn basic(self) -> Vec<u8> {
        use base64::Engine as _;
        let both = format!("{}:{}", self.username, self.password);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both)).into_bytes()
    }
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Refusal {
    /// In words for a log.
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::Status(400) => "the parent refused: 400",
            Refusal::Status(403) => "the parent refused: 403",
            Refusal::Status(404) => "the parent refused: 404",
            Refusal::Status(405) => "the parent refused: 405",
            Refusal::Status(407) => "the parent wants other credentials: 407",
            Refusal::Status(429) => "the parent refused: 429",
            Refusal::Status(500) => "the parent refused: 500",
            Refusal::Status(501) => "the parent refused: 501",
            Refusal::Status(502) => "the parent refused: 502",
            Refusal::Status(503) => "the parent refused: 503",
            Refusal::Status(504) => "the parent refused: 504",
            Refusal::Status(508) => "the parent refused: 508",
            Refusal::Status(_) => "the parent refused by another status",
            Refusal::Reply(1) => "the parent refused: general failure",
            Refusal::Reply(2) => "the parent refused: not allowed",
            Refusal::Reply(3) => "the parent refused: network unreachable",
            Refusal::Reply(4) => "the parent refused: host unreachable",
            Refusal::Reply(5) => "the parent refused: connection refused",
            Refusal::Reply(6) => "the parent refused: TTL expired",
            Refusal::Reply(7) => "the parent refused: no such command",
            Refusal::Reply(8) => "the parent refused: no such kind of address",
            Refusal::Reply(_) => "the parent refused by another reply",
            Refusal::NoWay => "the parent wants credentials",
            Refusal::Credentials => "the parent wants other credentials",
        }
    }

    /// Whether it is about who we are, which no request can mend.
    pub fn is_of_credentials(self) -> bool {
        matches!(self, Refusal::Status(407) | Refusal::NoWay | Refusal::Credentials)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Status(status) => write!(f, "the parent answered {status}"),
            Refusal::Reply(reply) => write!(f, "{} ({reply})", Refusal::Reply(*reply).reason()),
            refusal => f.write_str(refusal.reason()),
        }
    }
}

impl std::error::Error for Refusal {}
