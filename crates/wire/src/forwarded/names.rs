//! The fields, beside those that proxies have in common, in which clients and those before us say who asks.

/// What is taken out where nobody shall learn who asks. A `*` at the end stands for any rest.
///
/// A mailbox (`From`, RFC 9110 section 10.1.2); addresses as CDNs, clouds, balancers and older proxies write them; subscribers as
/// the gateways of mobile networks do; and the names of proxies, or what was said to them.
pub const IDENTIFYING: &[&str] = &[
    "From",
    "X-Forwarded",
    "Forwarded-For",
    "Forwarded-For-IP",
    "X-Coming-From",
    "Client-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Originating-IP",
    "X-Remote-IP",
    "X-Remote-Addr",
    "Remote-Addr",
    "X-Original-Forwarded-For",
    "True-Client-IP",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "CF-Pseudo-IPv4",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "X-Azure-ClientIP",
    "X-Azure-SocketIP",
    "X-Appengine-User-IP",
    "X-Appengine-Remote-Addr",
    "X-Envoy-External-Address",
    "WL-Proxy-Client-IP",
    "Ali-CDN-Real-IP",
    "CDN-Src-IP",
    "MSISDN",
    "X-MSISDN",
    "X-Nokia-MSISDN",
    "X-Up-Calling-Line-ID",
    "X-Up-Subno",
    "X-Network-Info",
    "X-ACR",
    "X-UIDH",
    "Proxy-*",
    "X-Proxy-*",
    "X-ProxyUser-IP",
    "X-Via",
    "CDN-Loop",
    "X-BlueCoat-Via",
    "X-Tinyproxy",
    "X-IMForwards",
    "Xroxy-Connection",
    "Mt-Proxy-ID",
];

/// Names of fields. Letter case is ignored, and `_` is `-`: servers that hand fields on as environment variables do not tell
/// them apart (RFC 3875 section 4.1.18).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Names {
    whole: Box<[Box<[u8]>]>,
    beginnings: Box<[Box<[u8]>]>,
    /// Which lengths whole names have, a bit each: most of a browser's fields need no look at any.
    lengths: u64,
}

impl Names {
    /// Of names and, with a `*` at the end, of beginnings of names.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Names {
        let (mut whole, mut beginnings, mut lengths) = (Vec::new(), Vec::new(), 0);
        for name in names {
            match name.strip_suffix('*') {
                Some(beginning) => beginnings.push(beginning.as_bytes().into()),
                None => {
                    lengths |= length_bit(name.len());
                    whole.push(name.as_bytes().into());
                }
            }
        }
        Names { whole: whole.into(), beginnings: beginnings.into(), lengths }
    }

    /// Those of [`IDENTIFYING`].
    pub fn identifying() -> Names {
        Names::new(IDENTIFYING.iter().copied())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.beginnings.is_empty()
    }

    /// Whether a name is among them.
    pub fn has(&self, name: &[u8]) -> bool {
        let begins = |beginning: &[u8]| name.get(..beginning.len()).is_some_and(|start| is_same(start, beginning));
        (self.lengths & length_bit(name.len()) != 0 && self.whole.iter().any(|own| is_same(name, own)))
            || self.beginnings.iter().any(|own| begins(own))
    }
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

fn is_same(one: &[u8], other: &[u8]) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| plain(*one) == plain(*other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        let names = Names::new(["From", "X-Client-IP", "Proxy-*"]);
        for name in ["from", "FROM", "x-client-ip", "X_Client_Ip", "proxy-", "Proxy_Client_IP"] {
            assert!(names.has(name.as_bytes()), "{name}");
        }
        for name in ["fro", "fromm", "x-client", "proxy", "x-proxy-id", ""] {
            assert!(!names.has(name.as_bytes()), "{name}");
        }
        assert!(Names::identifying().has(b"cf-connecting-ip"));
        assert!(!Names::default().has(b"from"));
        let long = "x".repeat(200);
        assert!(Names::new([long.as_str()]).has(long.as_bytes()));
    }

    #[test]
    fn no_field_of_a_browser_is_among_them() {
        let names = Names::identifying();
        for name in [
            "Host",
            "User-Agent",
            "Accept",
            "Accept-Language",
            "Cookie",
            "Referer",
            "Origin",
            "Authorization",
            "Range",
            "TE",
        ] {
            assert!(!names.has(name.as_bytes()), "{name}");
        }
    }

    /// The page about the forward proxy says of each what becomes of it; a test of the whole program walks that table.
    #[test]
    fn all_of_them_are_in_the_manual() {
        let page = include_str!("../../../../docs/forward.md");
        for name in IDENTIFYING {
            assert!(page.contains(&format!("`{name}`")), "docs/forward.md does not say what becomes of `{name}`");
        }
    }
}
