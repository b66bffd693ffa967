//! The path, as what is asked for.

use super::answer::Answer;
use wire::Method;

/// Something that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `/`
    Page,
    /// `/metrics`
    Metrics,
    /// `/healthz`
    Health,
    /// `/readyz`
    Ready,
    /// `/api/status`
    Status,
    /// `/api/config`
    Config,
    /// `/api/listeners`
    Listeners,
    /// `/api/canaries`
    Canaries,
    /// `/api/canaries/LISTENER/ROUTE`
    Canary { listener: String, route: String },
    /// `/api/mirrors`
    Mirrors,
    /// `/api/lists`
    Lists,
    /// `/api/quotas`
    Quotas,
    /// `/api/quotas/NAME`
    Quota { quota: String },
    /// `/api/quotas/NAME/subjects/SUBJECT`
    Subject { quota: String, subject: String },
    /// `/api/nat`
    Nat,
    /// `/api/tail`
    Tail,
    /// `/api/certificates`
    Certificates,
    /// `/api/pools`
    Pools,
    /// `/api/pools/NAME`
    Pool { pool: String },
    /// `/api/pools/NAME/servers/SERVER`
    Server { pool: String, server: String },
}

impl Place {
    /// The place of a path. Names are decoded after the path was taken apart, so they may hold slashes.
    ///
    /// # Errors
    /// There is no such place, or an escape is broken.
    pub(super) fn of(path: &[u8]) -> Result<Place, Answer> {
        let bad = || Answer::error(400, "the path is not valid percent-encoded UTF-8");
        let decode = |segment: &[u8]| decode(segment).ok_or_else(bad);
        let segments: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        Ok(match segments[..] {
            [b"", b""] => Place::Page,
            [b"", b"metrics"] => Place::Metrics,
            [b"", b"healthz"] => Place::Health,
            [b"", b"readyz"] => Place::Ready,
            [b"", b"api", b"status"] => Place::Status,
            [b"", b"api", b"config"] => Place::Config,
            [b"", b"api", b"listeners"] => Place::Listeners,
            [b"", b"api", b"canaries"] => Place::Canaries,
            [b"", b"api", b"canaries", listener, route] => {
                Place::Canary { listener: decode(listener)?, route: decode(route)? }
            }
            [b"", b"api", b"quotas"] => Place::Quotas,
            [b"", b"api", b"quotas", quota] => Place::Quota { quota: decode(quota)? },
            [b"", b"api", b"quotas", quota, b"subjects", subject] => {
                Place::Subject { quota: decode(quota)?, subject: decode(subject)? }
            }
            [b"", b"api", b"nat"] => Place::Nat,
            [b"", b"api", b"lists"] => Place::Lists,
            [b"", b"api", b"tail"] => Place::Tail,
            [b"", b"api", b"mirrors"] => Place::Mirrors,
            [b"", b"api", b"certificates"] => Place::Certificates,
            [b"", b"api", b"pools"] => Place::Pools,
            [b"", b"api", b"pools", pool] => Place::Pool { pool: decode(pool)? },
            [b"", b"api", b"pools", pool, b"servers", server] => {
                Place::Server { pool: decode(pool)?, server: decode(server)? }
            }
            _ => {
                let path = String::from_utf8_lossy(path);
                return Err(Answer::error(404, format_args!("nothing is here: `{path}`")));
            }
        })
    }

    /// Lets a method pass.
    ///
    /// # Errors
    /// The refusal, which names the methods that the place takes.
    pub(super) fn check(&self, method: Method) -> Result<(), Answer> {
        let changes =
            matches!(self, Place::Config | Place::Server { .. } | Place::Canary { .. } | Place::Subject { .. });
        match method {
            Method::Get | Method::Head => Ok(()),
            Method::Put if changes => Ok(()),
            _ => {
                let allowed = if changes { "GET, HEAD, PUT" } else { "GET, HEAD" };
                Err(Answer::error(405, format_args!("this method does nothing here, use one of: {allowed}"))
                    .with("Allow", allowed))
            }
        }
    }
}

pub(super) fn decode(segment: &[u8]) -> Option<String> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut out = Vec::with_capacity(segment.len());
    let mut rest = segment;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%' {
            let [high, low, after @ ..] = after else { return None };
            out.push((digit(*high)? * 16 + digit(*low)?) as u8);
            rest = after;
        } else {
            out.push(*byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        let server = Place::of(b"/api/pools/a%2Fb%20c/servers/unix%3a%2frun%2fx.sock").expect("a place");
        assert_eq!(server, Place::Server { pool: "a/b c".into(), server: "unix:/run/x.sock".into() });
        assert_eq!(Place::of(b"/api/pools/%C3%A4").ok(), Some(Place::Pool { pool: "ä".into() }));
    }

    #[test]
    fn other_paths_are_no_places() {
        let status = |path: &[u8]| Place::of(path).map_or_else(|refused| refused.status, |_| 200);
        for path in
            [&b"//"[..], b"/api", b"/api/", b"/metrics/", b"/api/pools/a/servers", b"/api/../metrics", b"*", b""]
        {
            assert_eq!(status(path), 404, "{path:?}");
        }
        for path in [&b"/api/pools/%"[..], b"/api/pools/%2", b"/api/pools/%zz", b"/api/pools/%ff", b"/api/pools/%+1"] {
            assert_eq!(status(path), 400, "{path:?}");
        }
    }
}
