//! Answers of our own that routes end in.

use super::Template;

/// An answer that names another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The place.
    pub target: RedirectTarget,
}

/// The place that a redirect names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectTarget {
    /// A URL or an absolute path; the request's query is appended unless the template has a `?`. What `*` stands for may begin
    /// with a slash: whoever fills in `/*` must not let it become `//host`, which browsers take for another host.
    Location(Template),
    /// The request's own URL with these parts changed; path and query are kept.
    Parts {
        /// `http` or `https`; absent keeps the request's.
        scheme: Option<Scheme>,
        /// The host; absent keeps the request's.
        host: Option<String>,
        /// The port; absent is the scheme's own if scheme or host change, or else the request's.
        port: Option<u16>,
    },
}

/// A scheme of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

/// An answer made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// The content; empty if there is none.
    pub body: String,
    /// Fields in the order written, names in lower case; never a framing or hop-by-hop field. A body without a `content-type`
    /// here is `text/plain; charset=utf-8`.
    pub headers: Vec<(String, String)>,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deny {
    /// 400 to 599; 0 of a flow.
    pub status: u16,
    /// What the answer's body says.
    pub reason: Option<String>,
    /// Whom people may ask about it.
    pub contact: Option<String>,
    /// Whether a flow is reset instead of closed.
    pub reset: bool,
}
