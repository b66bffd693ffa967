//! TLS that begins inside of a protocol: what is said before it, on both sides, without a socket.
//!
//! - [`host`]: our side of it towards a client
//! - [`guest`]: our side of it towards a server
//! - [`greeting`]: what servers say first
//! - `line`: commands and answers of protocols of text
//!
//! Two rules hold for all of them. Nothing that was said in plain counts once TLS has begun: what a client has said so far is answered
//! here and heard by no server. And nobody may speak between the question for TLS and its beginning: whoever could put bytes there
//! would have them taken for the other side's (CVE-2011-0411, CVE-2021-23222, and "NO STARTTLS", USENIX Security 2021).

pub mod greeting;
pub mod guest;
pub mod host;
mod line;

pub use guest::Guest;
pub use host::{Host, Step};

/// The protocols inside of which TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// PostgreSQL: `SSLRequest`, or TLS at once.
    Postgres,
    /// SMTP: `STARTTLS` (RFC 3207).
    Smtp,
    /// IMAP: `STARTTLS` (RFC 9051 section 6.2.1).
    Imap,
    /// POP3: `STLS` (RFC 2595 section 4).
    Pop3,
    /// MySQL and MariaDB, whose TLS begins on both sides at once ([`mysql`](crate::mysql)).
    Mysql,
}

impl Protocol {
    /// Whether its servers speak first.
    pub fn greets(self) -> bool {
        self != Protocol::Postgres
    }
}
