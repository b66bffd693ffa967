//! Refuses what a stranger's web page could have sent: by a name that resolves here (DNS rebinding), or from another
//! origin (cross-site request forgery).

use std::net::{Ipv4Addr, Ipv6Addr};

use wire::{Head, uri};

use super::answer::Answer;

/// How a connection reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A loopback address, which every program on this machine can reach, browsers among them.
    Tcp,
    /// A Unix socket, which no web page can reach, whatever host its request names.
    Unix,
}

/// Lets a request pass.
///
/// # Errors
/// The refusal.
pub(super) fn check(head: &Head, way: Way) -> Result<(), Answer> {
    let authority = head.authority();
    if way == Way::Tcp && !is_loopback(authority) {
        return Err(Answer::error(
            403,
            format_args!(
                "this host is not served here, use `localhost` or a loopback address: `{}`",
                String::from_utf8_lossy(authority)
            ),
        ));
    }
    // Browsers send it with every request that changes something, and with those of scripts.
    let mut origins = head.values(b"Origin");
    match (origins.next(), origins.next()) {
        (None, _) => Ok(()),
        (Some(origin), None) if is_own(origin, authority) => Ok(()),
        (Some(origin), _) => Err(Answer::error(
            403,
            format_args!("another origin may not ask here: `{}`", String::from_utf8_lossy(origin)),
        )),
    }
}

/// Whether an authority names this machine to itself. The port may be another: that of a tunnel.
fn is_loopback(authority: &[u8]) -> bool {
    let host = uri::host(authority);
    let Ok(host) = std::str::from_utf8(&host) else { return false };
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
        return address.is_some_and(|address| address.is_loopback());
    }
    host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// Whether an origin is the one that the request itself was sent to (RFC 6454 section 6.2).
fn is_own(origin: &[u8], authority: &[u8]) -> bool {
    origin.strip_prefix(b"http://").is_some_and(|named| !named.is_empty() && named.eq_ignore_ascii_case(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(host: &str, origins: &[&str], way: Way) -> u16 {
        let mut head = Head::default();
        head.start_request(b"PUT", host.as_bytes(), b"/", None);
        for origin in origins {
            head.add(b"Origin", origin.as_bytes());
        }
        check(&head, way).map_or_else(|refused| refused.status, |()| 200)
    }

    #[test]
    fn only_names_of_this_machine_are_served() {
        for host in ["localhost", "LOCALHOST:9900", "localhost.", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:9900"] {
            assert_eq!(status(host, &[], Way::Tcp), 200, "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]:1", "0.0.0.0"]
        {
            assert_eq!(status(host, &[], Way::Tcp), 403, "{host}");
            assert_eq!(status(host, &[], Way::Unix), 200, "{host}");
        }
    }

    #[test]
    fn only_our_own_origin_may_ask() {
        assert_eq!(status("localhost:9900", &["http://localhost:9900"], Way::Tcp), 200);
        for origin in ["null", "", "http://", "http://localhost", "https://localhost:9900", "http://evil.example"] {
            assert_eq!(status("localhost:9900", &[origin], Way::Tcp), 403, "{origin}");
            assert_eq!(status("localhost:9900", &[origin], Way::Unix), 403, "{origin}");
        }
        let own = "http://localhost:9900";
        assert_eq!(status("localhost:9900", &[own, "http://evil.example"], Way::Tcp), 403);
        assert_eq!(status("", &["http://"], Way::Unix), 403);
    }
}
