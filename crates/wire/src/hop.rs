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
