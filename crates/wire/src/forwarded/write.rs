//! What is written of a client, without an allocation of its own.

use std::fmt::Write;
use std::net::IpAddr;

use crate::head::{Head, Version};
use crate::known::Known;

use super::read::is_whole;
use super::{Client, Format, Rules};

/// How a request reached us.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub(super) tls: bool,
    pub(super) local_port: u16,
}

impl Arrival {
    fn proto(self) -> &'static [u8] {
        if self.tls { b"https" } else { b"http" }
    }
}

/// Writes what servers are told of the client.
pub(super) fn tell(head: &mut Head, client: IpAddr, peer: IpAddr, arrival: Arrival, rules: &Rules) {
    let told = rules.client == Client::Keep && head.has_any(&[Known::Forwarded, Known::XForwardedFor]);
    let last = if rules.client == Client::Replace { client } else { peer };
    // A client that is known from the other family alone begins the list of this one.
    let first = (rules.client == Client::Append && client != peer).then_some(client);
    if rules.format != Format::Rfc7239 {
        if !told {
            tell_for(head, first, last);
        }
        tell_rest(head, arrival);
    }
    if rules.format != Format::XForwarded && !told {
        tell_forwarded(head, first, last, arrival);
    }
    if rules.client == Client::Append {
        // The family that we do not continue ends here, or servers would be told two stories.
        match rules.format {
            Format::XForwarded => head.remove_known(Known::Forwarded),
            Format::Rfc7239 => head.remove_known(Known::XForwardedFor),
            Format::Both => false,
        };
    }
}

fn tell_for(head: &mut Head, first: Option<IpAddr>, last: IpAddr) {
    let draft = head.begin_field(Known::XForwardedFor, b"X-Forwarded-For");
    if head.has(Known::XForwardedFor) {
        head.draft_values(Known::XForwardedFor);
        head.remove_known(Known::XForwardedFor);
    } else if let Some(first) = first {
        head.draft(Text::address(first).bytes());
        head.draft(b", ");
    }
    head.draft(Text::address(last).bytes());
    head.finish_field(draft);
}

/// What trusted peers said of the host, port and protocol at the edge holds: they are nearer to it.
fn tell_rest(head: &mut Head, arrival: Arrival) {
    let arrived = head.has(Known::XForwardedOther);
    let lacks = |head: &Head, name: &[u8]| !arrived || head.value(name).is_none();
    if lacks(head, b"x-forwarded-proto") {
        let line: &[u8] = if arrival.tls { b"X-Forwarded-Proto: https\r\n" } else { b"X-Forwarded-Proto: http\r\n" };
        head.add_line(Known::XForwardedOther, 17, line);
    }
    if !head.authority().is_empty() && lacks(head, b"x-forwarded-host") {
        let draft = head.begin_field(Known::XForwardedOther, b"X-Forwarded-Host");
        head.draft_authority();
        head.finish_field(draft);
    }
    if arrival.local_port != 0 && lacks(head, b"x-forwarded-port") {
        let draft = head.begin_field(Known::XForwardedOther, b"X-Forwarded-Port");
        head.draft(Text::port(arrival.local_port).bytes());
        head.finish_field(draft);
    }
}

fn tell_forwarded(head: &mut Head, first: Option<IpAddr>, last: IpAddr, arrival: Arrival) {
    // A colon or a bracket makes a value more than a token (RFC 7239 section 4).
    let quoted = head.authority().iter().any(|byte| matches!(byte, b':' | b'['));
    // A quote that is left open would swallow what we append: such a list is summed up like that of another family.
    if !head.values_of(Known::Forwarded).all(is_whole) {
        head.remove_known(Known::Forwarded);
    }
    let draft = head.begin_field(Known::Forwarded, b"Forwarded");
    if head.has(Known::Forwarded) {
        head.draft_values(Known::Forwarded);
        head.remove_known(Known::Forwarded);
    } else if let Some(first) = first {
        draft_node(head, first);
        head.draft(b", ");
    }
    draft_node(head, last);
    if !head.authority().is_empty() {
        head.draft(if quoted { b";host=\"" } else { b";host=" });
        head.draft_authority();
        head.draft(if quoted { b"\"" } else { b"" });
    }
    head.draft(b";proto=");
    head.draft(arrival.proto());
    head.finish_field(draft);
}

fn draft_node(head: &mut Head, address: IpAddr) {
    let text = Text::address(address);
    match address {
        IpAddr::V4(_) => {
            head.draft(b"for=");
            head.draft(text.bytes());
        }
        IpAddr::V6(_) => {
            head.draft(b"for=\"[");
            head.draft(text.bytes());
            head.draft(b"]\"");
        }
    }
}

pub(super) fn add_via(head: &mut Head) {
    let line: &[u8] = match head.version() {
        Version::H10 => b"Via: 1.0 tidegate\r\n",
        Version::H11 => b"Via: 1.1 tidegate\r\n",
        Version::H2 => b"Via: 2 tidegate\r\n",
        Version::H3 => b"Via: 3 tidegate\r\n",
    };
    head.add_line(Known::Via, 3, line);
}

/// The text of an address or a port, on the stack.
struct Text {
    bytes: [u8; 48],
    len: usize,
}

impl Text {
    fn address(address: IpAddr) -> Text {
        let mut text = Text { bytes: [0; 48], len: 0 };
        match address {
            IpAddr::V4(address) => {
                for octet in address.octets() {
                    let (digits, length) = OCTETS[usize::from(octet)];
                    text.bytes[text.len..text.len + 4].copy_from_slice(&digits);
                    text.len += length;
                }
                // Without the last dot.
                text.len -= 1;
            }
            IpAddr::V6(address) => {
                // The longest IPv6 address has 45 bytes.
                let _ = write!(text, "{address}");
            }
        }
        text
    }

    fn port(port: u16) -> Text {
        let mut text = Text { bytes: [0; 48], len: 0 };
        for place in [10_000, 1_000, 100, 10, 1] {
            if port >= place || place == 1 {
                text.push(b'0' + (port / place % 10) as u8);
            }
        }
        text
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }
}

/// The digits of each octet and a dot behind them, and how many bytes of the four that is.
static OCTETS: [([u8; 4], usize); 256] = {
    let mut octets = [([b'.'; 4], 2); 256];
    let mut octet = 0;
    while octet < 256 {
        let (hundreds, tens, ones) =
            (b'0' + (octet / 100) as u8, b'0' + (octet / 10 % 10) as u8, b'0' + (octet % 10) as u8);
        octets[octet] = match octet {
            0..10 => ([ones, b'.', b'.', b'.'], 2),
            10..100 => ([tens, ones, b'.', b'.'], 3),
            _ => ([hundreds, tens, ones, b'.'], 4),
        };
        octet += 1;
    }
    octets
};

impl Write for Text {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        let end = self.len + part.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(part.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_their_text() {
        for text in ["0.0.0.0", "10.20.100.255", "255.255.255.255", "::", "2001:db8::1", "::ffff:255.255.255.255"] {
            assert_eq!(Text::address(text.parse().expect("an address")).bytes(), text.as_bytes());
        }
        let longest = "1111:2222:3333:4444:5555:6666:7777:8888";
        assert_eq!(Text::address(longest.parse().expect("an address")).bytes(), longest.as_bytes());
        for port in [0, 1, 80, 8080, 9_999, 10_000, 65_535] {
            assert_eq!(Text::port(port).bytes(), port.to_string().as_bytes());
        }
    }
}
