//! Which fields end at this hop (RFC 9110 section 7.6.1).

use crate::head::{Framing, Head};
use crate::known::Known;

/// What the `Connection` field of a message asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Wishes {
    /// `close`
    pub close: bool,
    /// `keep-alive`, which only HTTP/1.0 needs
    pub keep_alive: bool,
    /// `upgrade`, with an `Upgrade` field beside it
    pub upgrade: bool,
}

/// A `Connection` field names a field that must not be taken out of a message, or more fields than any sender has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forbidden;

/// Each name is looked for in all fields, so their number is bounded.
const MOST_NAMED: usize = 32;

const HOP_BY_HOP: [Known; 9] = [
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyAuthenticate,
    Known::ProxyAuthorization,
    Known::ProxyConnection,
    Known::Te,
    Known::TransferEncoding,
    Known::Upgrade,
    Known::Expect,
];

/// What the message wants of its connection.
pub fn wishes(head: &Head) -> Wishes {
    let mut wishes = Wishes::default();
    if !head.has(Known::Connection) {
        return wishes;
    }
    for value in head.values_of(Known::Connection) {
        for option in options(value) {
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => wishes.close = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => wishes.upgrade = head.has(Known::Upgrade),
                10 if option.eq_ignore_ascii_case(b"keep-alive") => wishes.keep_alive = true,
                _ => {}
            }
        }
    }
    wishes
}

/// Takes out what ends at this hop: the fields above, all that `Connection` names, and a `Content-Length` that does
/// not describe the body that follows. `TE: trailers` and `Expect` are the caller's to ask for before, and to write anew.
///
/// # Errors
/// `Connection` names a field that frames or routes the message: removing it would change what the next reader sees. Or
/// it names so many that looking for all of them would be work for nothing.
pub fn strip(head: &mut Head) -> Result<(), Forbidden> {
    if !head.has_any(&HOP_BY_HOP) {
        return Ok(());
    }
    let named = if head.has(Known::Connection) { named_fields(head)? } else { Vec::new() };
    head.retain(|field| !HOP_BY_HOP.contains(&field.known));
    for name in named {
        head.remove(&name);
    }
    if matches!(head.framing(), Framing::Unknown | Framing::UntilClose) {
        head.remove_known(Known::ContentLength);
    }
    Ok(())
}

/// What a request says that its client would have said to the server itself, for [`strip_unseen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meant {
    /// It waits for `100 Continue`.
    pub expects: bool,
    /// It asks for an upgrade that goes on.
    pub upgrades: bool,
}

/// Does what [`strip`] does and leaves, where it stands, what the client would have sent without a proxy: how long it wants to
/// keep the connection, that it understands trailers, how its body is framed. So the server sees what it would have seen then.
/// Whatever is more than that in such a field ends here as ever.
///
/// # Errors
/// Those of [`strip`].
pub fn strip_unseen(head: &mut Head, meant: Meant) -> Result<(), Forbidden> {
    if !head.has(Known::Connection) && is_browser(head) {
        // Browsers say to a proxy by this name what they say to servers by that one; other clients say nothing to servers.
        head.rename(Known::ProxyConnection, b"Connection");
    }
    if !head.has_any(&HOP_BY_HOP) {
        return Ok(());
    }
    let alone = |head: &Head, known: Known, value: &[u8]| {
        let mut values = head.values_of(known);
        values.next().is_some_and(|said| said.eq_ignore_ascii_case(value)) && values.next().is_none()
    };
    let te = alone(head, Known::Te, b"trailers");
    let upgrade = meant.upgrades && alone(head, Known::Upgrade, b"websocket");
    let is_meant = |option: &[u8]| {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        is(b"close") || is(b"keep-alive") || (te && is(b"te")) || (upgrade && is(b"upgrade"))
    };
    let connection = head.values_of(Known::Connection).flat_map(options).all(is_meant);
    let chunked = head.framing() == Framing::Unknown && alone(head, Known::TransferEncoding, b"chunked");
    let named = if connection { Vec::new() } else { named_fields(head)? };
    head.retain(|field| match field.known {
        Known::Connection => connection,
        Known::Te => te && connection,
        Known::Upgrade => upgrade && connection,
        Known::Expect => meant.expects,
        Known::TransferEncoding => chunked,
        known => !HOP_BY_HOP.contains(&known),
    });
    for name in named {
        head.remove(&name);
    }
    if matches!(head.framing(), Framing::Unknown | Framing::UntilClose) {
        head.remove_known(Known::ContentLength);
    }
    Ok(())
}

fn is_browser(head: &Head) -> bool {
    head.value_of(Known::UserAgent).is_some_and(|agent| agent.starts_with(b"Mozilla/"))
}

/// Whether the sender understands trailers (`TE: trailers`).
pub fn accepts_trailers(head: &Head) -> bool {
    head.has(Known::Te)
        && head.values_of(Known::Te).any(|value| options(value).any(|option| option.eq_ignore_ascii_case(b"trailers")))
}

/// The names of fields that `Connection` lists beyond its own options and the fields above.
fn named_fields(head: &Head) -> Result<Vec<Vec<u8>>, Forbidden> {
    const OPTIONS: [&[u8]; 2] = [b"close", b"keep-alive"];
    let mut named = Vec::new();
    for value in head.values_of(Known::Connection) {
        for option in options(value) {
            if OPTIONS.iter().any(|known| option.eq_ignore_ascii_case(known)) {
                continue;
            }
            match Known::of(option) {
                Known::Host | Known::ContentLength | Known::TransferEncoding | Known::Cookie => return Err(Forbidden),
                known if HOP_BY_HOP.contains(&known) => {}
                // What says who the client is must not be made to vanish by the client.
                Known::Forwarded | Known::XForwardedFor | Known::XForwardedOther | Known::XRealIp | Known::Via => {}
                _ if named.len() == MOST_NAMED => return Err(Forbidden),
                _ => named.push(option.to_vec()),
            }
        }
    }
    Ok(named)
}

/// The elements of a comma-separated list.
pub fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|option| !option.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(fields: &[(&str, &str)], framing: Framing) -> String {
        let mut head = Head::default();
        head.start_request(b"GET", b"a", b"/", None);
        fields.iter().for_each(|(name, value)| head.add(name.as_bytes(), value.as_bytes()));
        head.framed_by_fields(framing);
        strip_unseen(&mut head, Meant { expects: false, upgrades: true }).expect("fields that may go");
        let mut out = Vec::new();
        head.write_fields(&mut out);
        String::from_utf8(out).expect("text").replace("\r\n", "|")
    }

    #[test]
    fn what_is_said_to_servers_stays_where_it_stands() {
        for (fields, left) in [
            (&[("A", "1"), ("Connection", "keep-alive"), ("B", "2")][..], "A: 1|Connection: keep-alive|B: 2|"),
            (&[("connection", "Close"), ("B", "2")], "connection: Close|B: 2|"),
            (&[("Connection", "TE, close"), ("TE", "trailers")], "Connection: TE, close|TE: trailers|"),
            (&[("TE", "trailers")], "TE: trailers|"),
            (&[("Connection", "TE"), ("TE", "gzip, trailers")], ""),
            (&[("Connection", "Upgrade"), ("Upgrade", "websocket")], "Connection: Upgrade|Upgrade: websocket|"),
            (&[("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AA")], ""),
            (&[("Connection", "X-A"), ("X-A", "1"), ("X-B", "2")], "X-B: 2|"),
            (&[("Keep-Alive", "115"), ("Proxy-Authorization", "Basic YQ=="), ("Proxy-Connection", "keep-alive")], ""),
            (&[("User-Agent", "curl/8.0"), ("Proxy-Connection", "Keep-Alive")], "User-Agent: curl/8.0|"),
            (
                &[("Proxy-Connection", "keep-alive"), ("User-Agent", "Mozilla/5.0")],
                "Connection: keep-alive|User-Agent: Mozilla/5.0|",
            ),
            (
                &[("Proxy-Connection", "keep-alive"), ("Connection", "close"), ("User-Agent", "Mozilla/5.0")],
                "Connection: close|User-Agent: Mozilla/5.0|",
            ),
            (&[("Expect", "100-continue"), ("B", "2")], "B: 2|"),
            (&[("Transfer-Encoding", "chunked"), ("B", "2")], "B: 2|"),
        ] {
            assert_eq!(stripped(fields, Framing::None), left, "{fields:?}");
        }
        assert_eq!(
            stripped(&[("transfer-Encoding", "Chunked"), ("B", "2")], Framing::Unknown),
            "transfer-Encoding: Chunked|B: 2|"
        );
    }

    #[test]
    fn what_frames_or_routes_must_not_be_named() {
        for name in ["host", "content-length", "transfer-encoding", "cookie"] {
            let mut head = Head::default();
            head.start_request(b"GET", b"a", b"/", None);
            head.add(b"Connection", name.as_bytes());
            assert_eq!(strip_unseen(&mut head, Meant { expects: true, upgrades: true }), Err(Forbidden), "{name}");
        }
    }
}
