//! Who the client is, and what servers are told of it (RFC 7239, its older `X-Forwarded-*` kin, and `Via`).
//!
//! What a peer says of its clients is believed only if the peer is trusted; from all others it is dropped before
//! anything of ours is written. Nothing here looks a name up, and nothing here judges whether a client may enter.

use std::fmt::Write;
use std::net::IpAddr;

use crate::head::{Head, Version};
use crate::hop;
use crate::known::Known;

/// What servers are told, and whose word is taken for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What servers are told of the client's address.
    pub client: Client,
    /// Whether `Via` says that we are here.
    pub via: bool,
    /// Which family of fields is written, and asked first when a trusted peer has sent both.
    pub format: Format,
    /// The peers whose word on their clients is taken.
    pub trust: Vec<Net>,
}

/// What servers are told of the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The list that a trusted peer sent, and the peer's own address at its end.
    Append,
    /// One address: the client's, see [`client_ip`].
    Replace,
    /// What a trusted peer sent, untouched; where it sent nothing, the peer's address.
    Keep,
    /// Nothing: whatever arrived is dropped, from everyone.
    None,
}

/// The fields in which servers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `X-Forwarded-For`, `-Host`, `-Port` and `-Proto`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Rfc7239,
    /// Both families.
    Both,
}

/// A range of addresses: `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    /// Any address of the range; the bits behind the prefix do not matter.
    pub address: IpAddr,
    /// How many leading bits decide. More than the address has means all of them.
    pub prefix: u8,
}

/// How often our own pseudonym may stand in `Via` before a request must be taken for a loop (508).
pub const MOST_PASSES: usize = 8;

/// The pseudonym under which we appear in `Via` (RFC 9110 section 7.6.3); [`add_via`] writes it too.
const PSEUDONYM: &[u8] = b"tidegate";

/// What we write of a common request has room in this many bytes.
const TOLD: usize = 192;

const ABOUT_CLIENTS: [Known; 4] = [Known::Forwarded, Known::XForwardedFor, Known::XForwardedOther, Known::XRealIp];

/// The client's address. That is the peer's, unless the peer is trusted: then the list it sent is walked from the right,
/// past trusted addresses, to the first that is not. Where an element is no address (`unknown`, an obfuscated name,
/// nonsense) the walk ends at the address before it.
///
/// If both families have arrived, the one that the rules' format names is believed, `Forwarded` under
/// [`Format::Both`]: a peer that speaks one family lets the other pass as its client made it up.
pub fn client_ip(head: &Head, peer: IpAddr, rules: &Rules) -> IpAddr {
    let peer = peer.to_canonical();
    if !rules.trusts(peer) {
        return peer;
    }
    let newer_first = rules.format != Format::XForwarded;
    if head.has(Known::Forwarded) && (newer_first || !head.has(Known::XForwardedFor)) {
        return walk(head, Known::Forwarded, peer, rules, last_element, forwarded_for);
    }
    walk(head, Known::XForwardedFor, peer, rules, last_item, node)
}

/// Edits a request's fields for the next hop. `local_port` is the port that the client reached, 0 if there was none.
///
/// `X-Forwarded-Host` and `host=` name the head's authority, so this comes before anything that replaces it.
pub fn apply(head: &mut Head, peer: IpAddr, tls: bool, local_port: u16, rules: &Rules) {
    let peer = peer.to_canonical();
    let client = client_ip(head, peer, rules);
    let heeded = matches!(rules.client, Client::Append | Client::Keep) && rules.trusts(peer);
    if !heeded && head.has_any(&ABOUT_CLIENTS) {
        head.retain(|field| !ABOUT_CLIENTS.contains(&field.known));
    }
    head.reserve(TOLD);
    if rules.client != Client::None {
        tell(head, client, peer, Arrival { tls, local_port }, rules);
    } else if !rules.via {
        // Nothing shall betray a proxy: not those before us either.
        head.remove_known(Known::Via);
    }
    if rules.via {
        add_via(head);
    }
}

/// Appends ourselves to the `Via` of a response; the caller asks only where the rules have `via`.
pub fn response_via(head: &mut Head) {
    add_via(head);
}

/// How often our own pseudonym stands in `Via`; more than [`MOST_PASSES`] is a loop.
pub fn via_count(head: &Head) -> usize {
    head.values_of(Known::Via).flat_map(hop::options).filter(|member| is_ours(member)).count()
}

impl Rules {
    /// `open`: servers are told who asks.
    pub fn open() -> Rules {
        Rules { client: Client::Append, via: true, format: Format::XForwarded, trust: Vec::new() }
    }

    /// `anonymous`: servers are told that a proxy asks, not for whom.
    pub fn anonymous() -> Rules {
        Rules { client: Client::None, ..Rules::open() }
    }

    /// `elite`: nothing betrays a proxy.
    pub fn elite() -> Rules {
        Rules { via: false, ..Rules::anonymous() }
    }

    /// Whether a peer's word on its clients is taken.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trust.iter().any(|net| net.contains(peer))
    }
}

impl Default for Rules {
    fn default() -> Rules {
        Rules::open()
    }
}

impl Net {
    /// Whether an address lies in the range. IPv4 addresses in their IPv6 clothes (`::ffff:a.b.c.d`) count as IPv4.
    pub fn contains(self, address: IpAddr) -> bool {
        let (own, prefix) = match (self.address, self.address.to_canonical()) {
            // `::ffff:10.0.0.0/104` is `10.0.0.0/8`; a shorter prefix is a range of IPv6 proper.
            (IpAddr::V6(_), plain @ IpAddr::V4(_)) if self.prefix >= 96 => (plain, self.prefix - 96),
            (own, _) => (own, self.prefix),
        };
        match (own, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= u32::from(prefix.min(32))
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= u32::from(prefix.min(128))
            }
            _ => false,
        }
    }
}

/// How a request reached us.
#[derive(Clone, Copy)]
struct Arrival {
    tls: bool,
    local_port: u16,
}

impl Arrival {
    fn proto(self) -> &'static [u8] {
        if self.tls { b"https" } else { b"http" }
    }
}

/// Cuts the last element off a list: the rest, and the element.
type Cut = fn(&[u8]) -> (&[u8], &[u8]);

/// Walks a list of hops from the right; see [`client_ip`].
fn walk(head: &Head, list: Known, peer: IpAddr, rules: &Rules, cut: Cut, read: fn(&[u8]) -> Option<IpAddr>) -> IpAddr {
    let mut last_good = peer;
    for value in head.values_of(list).rev() {
        let mut rest = value;
        while !rest.is_empty() {
            let element;
            (rest, element) = cut(rest);
            // RFC 9110 section 5.6.1.2: empty elements of a list do not count.
            if element.is_empty() {
                continue;
            }
            let Some(address) = read(element) else { return last_good };
            last_good = address;
            if !rules.trusts(address) {
                return address;
            }
        }
    }
    last_good
}

fn last_item(list: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b',', list) {
        Some(comma) => (&list[..comma], list[comma + 1..].trim_ascii()),
        None => (b"", list.trim_ascii()),
    }
}

/// Commas in quoted strings do not separate. Quotes are paired from the right: what a trusted peer appended must not
/// be swallowed by a quote that its client left open.
fn last_element(list: &[u8]) -> (&[u8], &[u8]) {
    let mut quoted = false;
    for (at, byte) in list.iter().enumerate().rev() {
        match byte {
            b'"' if quoted => {
                let escapes = list[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
                quoted = escapes % 2 == 1;
            }
            b'"' => quoted = true,
            b',' if !quoted => return (&list[..at], list[at + 1..].trim_ascii()),
            _ => {}
        }
    }
    (b"", list.trim_ascii())
}

/// The address of the one `for` parameter of a `Forwarded` element.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = element;
    while !rest.is_empty() {
        let equals = memchr::memchr(b'=', rest)?;
        let name = rest[..equals].trim_ascii();
        let value = &rest[equals + 1..];
        let end = match value.first() {
            Some(b'"') => 1 + closing_quote(&value[1..])? + 1,
            _ => memchr::memchr(b';', value).unwrap_or(value.len()),
        };
        let after = value[end..].trim_ascii_start();
        rest = match after.split_first() {
            None => b"",
            Some((b';', next)) => next,
            Some(_) => return None,
        };
        if name.eq_ignore_ascii_case(b"for") {
            if found.is_some() {
                return None;
            }
            found = Some(node(value[..end].trim_ascii())?);
        }
    }
    found
}

fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The address of a node identifier (RFC 7239 section 6), with or without port, brackets and quotes.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = match text {
        [b'"', inner @ .., b'"'] => inner,
        _ => text,
    };
    let (address, port) = match text {
        [b'[', inner @ ..] => {
            let close = memchr::memchr(b']', inner)?;
            match &inner[close + 1..] {
                [] => (&inner[..close], None),
                [b':', port @ ..] => (&inner[..close], Some(port)),
                _ => return None,
            }
        }
        _ => match memchr::memchr(b':', text) {
            // One colon stands before a port, several are an IPv6 address that forgot its brackets.
            Some(colon) if !text[colon + 1..].contains(&b':') => (&text[..colon], Some(&text[colon + 1..])),
            _ => (text, None),
        },
    };
    if port.is_some_and(|port| !is_node_port(port)) {
        return None;
    }
    let address: IpAddr = std::str::from_utf8(address).ok()?.parse().ok()?;
    Some(address.to_canonical())
}

fn is_node_port(port: &[u8]) -> bool {
    match port {
        [b'_', name @ ..] => name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')),
        _ => matches!(port.len(), 1..=5) && port.iter().all(u8::is_ascii_digit),
    }
}

/// Writes what servers are told of the client.
fn tell(head: &mut Head, client: IpAddr, peer: IpAddr, arrival: Arrival, rules: &Rules) {
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

fn add_via(head: &mut Head) {
    let line: &[u8] = match head.version() {
        Version::H10 => b"Via: 1.0 tidegate\r\n",
        Version::H11 => b"Via: 1.1 tidegate\r\n",
    };
    head.add_line(Known::Via, 3, line);
}

/// A `Via` member is the received protocol, who received it, and perhaps a comment.
fn is_ours(member: &[u8]) -> bool {
    let mut words = member.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(PSEUDONYM))
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

    fn net(address: &str, prefix: u8) -> Net {
        Net { address: address.parse().expect("an address"), prefix }
    }

    fn trusting(format: Format) -> Rules {
        Rules { format, trust: vec![net("10.0.0.0", 8), net("fd00::", 8)], ..Rules::open() }
    }

    fn request(fields: &[(&str, &str)]) -> Head {
        let mut head = Head::default();
        head.start_request(b"GET", b"example.com:81", b"/", None);
        for (name, value) in fields {
            head.add(name.as_bytes(), value.as_bytes());
        }
        head
    }

    fn client(fields: &[(&str, &str)], peer: &str, rules: &Rules) -> String {
        client_ip(&request(fields), peer.parse().expect("an address"), rules).to_string()
    }

    fn applied(fields: &[(&str, &str)], peer: &str, rules: &Rules) -> String {
        let mut head = request(fields);
        apply(&mut head, peer.parse().expect("an address"), true, 8443, rules);
        let mut out = Vec::new();
        head.write_fields(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn ranges_hold_what_they_say() {
        let yes = |range: Net, address: &str| range.contains(address.parse().expect("an address"));
        assert!(yes(net("10.0.0.0", 8), "10.255.0.1"));
        assert!(!yes(net("10.0.0.0", 8), "11.0.0.1"));
        assert!(yes(net("10.0.0.0", 8), "::ffff:10.1.2.3"));
        assert!(yes(net("::ffff:10.0.0.0", 104), "10.1.2.3"));
        assert!(yes(net("0.0.0.0", 0), "1.2.3.4"));
        assert!(!yes(net("0.0.0.0", 0), "::1"));
        assert!(!yes(net("::", 0), "1.2.3.4"));
        assert!(yes(net("fd00::", 8), "fdff::1"));
        assert!(!yes(net("fd00::", 8), "fe00::1"));
        assert!(yes(net("1.2.3.4", 99), "1.2.3.4"));
        assert!(!yes(net("1.2.3.4", 99), "1.2.3.5"));
    }

    #[test]
    fn the_client_is_the_rightmost_untrusted() {
        let rules = trusting(Format::XForwarded);
        for (list, expected) in [
            ("1.1.1.1", "1.1.1.1"),
            ("9.9.9.9, 1.1.1.1", "1.1.1.1"),
            ("9.9.9.9, 1.1.1.1,10.0.0.2 , 10.0.0.3", "1.1.1.1"),
            ("10.0.0.7, 10.0.0.2", "10.0.0.7"),
            ("1.1.1.1:443", "1.1.1.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:1.1.1.1", "1.1.1.1"),
            ("\"[2001:db8::1]:80\"", "2001:db8::1"),
            ("1.1.1.1, unknown, 10.0.0.2", "10.0.0.2"),
            ("1.1.1.1, unknown", "10.0.0.1"),
            ("1.1.1.1, 10.0.0.256", "10.0.0.1"),
            ("1.1.1.1, 010.0.0.2", "10.0.0.1"),
            ("1.1.1.1:x", "10.0.0.1"),
            ("1.1.1.1, , ", "1.1.1.1"),
            (",,", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(client(&[("x-forwarded-for", list)], "10.0.0.1", &rules), expected, "{list}");
        }
        assert_eq!(client(&[("X-Forwarded-For", "1.1.1.1")], "2.2.2.2", &rules), "2.2.2.2");
        assert_eq!(client(&[("X-Forwarded-For", "1.1.1.1")], "::ffff:10.0.0.1", &rules), "1.1.1.1");
        let lines = [("X-Forwarded-For", "9.9.9.9, 1.1.1.1"), ("X-Forwarded-For", "10.0.0.2")];
        assert_eq!(client(&lines, "10.0.0.1", &rules), "1.1.1.1");
    }

    #[test]
    fn forwarded_is_read_with_its_quotes() {
        let rules = trusting(Format::Rfc7239);
        for (list, expected) in [
            ("for=1.1.1.1", "1.1.1.1"),
            ("For=\"1.1.1.1:80\";proto=http, FOR=10.0.0.2", "1.1.1.1"),
            ("by=9.9.9.9;for=\"[2001:db8::1]:_x\";host=\"a,for=8.8.8.8\"", "2001:db8::1"),
            ("host=\"a\\\", for=8.8.8.8\";for=1.1.1.1", "1.1.1.1"),
            // An open quote to the left swallows nothing of what stands to the right.
            ("for=\"8.8.8.8, for=1.1.1.1", "1.1.1.1"),
            ("for=\"8.8.8.8, for=10.0.0.2", "10.0.0.2"),
            ("for=_hidden, for=10.0.0.2", "10.0.0.2"),
            ("for=unknown", "10.0.0.1"),
            ("proto=https", "10.0.0.1"),
            ("for=1.1.1.1;for=8.8.8.8", "10.0.0.1"),
            ("for=1.1.1.1 x", "10.0.0.1"),
            ("for", "10.0.0.1"),
            ("for=\"1.1.1.1\\", "10.0.0.1"),
        ] {
            assert_eq!(client(&[("Forwarded", list)], "10.0.0.1", &rules), expected, "{list}");
        }
    }

    #[test]
    fn the_format_says_which_family_is_believed() {
        let both = [("Forwarded", "for=8.8.8.8"), ("X-Forwarded-For", "1.1.1.1")];
        assert_eq!(client(&both, "10.0.0.1", &trusting(Format::XForwarded)), "1.1.1.1");
        assert_eq!(client(&both, "10.0.0.1", &trusting(Format::Rfc7239)), "8.8.8.8");
        assert_eq!(client(&both, "10.0.0.1", &trusting(Format::Both)), "8.8.8.8");
        assert_eq!(client(&both[..1], "10.0.0.1", &trusting(Format::XForwarded)), "8.8.8.8");
    }

    #[test]
    fn strangers_are_not_heard() {
        let lies = [
            ("X-Forwarded-For", "6.6.6.6"),
            ("x_forwarded_for", "6.6.6.6"),
            ("X-Forwarded-Proto", "gopher"),
            ("X-Forwarded-Prefix", "/admin"),
            ("Forwarded", "for=6.6.6.6"),
            ("X-Real-IP", "6.6.6.6"),
            ("Accept", "*/*"),
        ];
        assert_eq!(
            applied(&lies, "1.1.1.1", &trusting(Format::XForwarded)),
            "Accept: */*\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Host: example.com:81\r\nX-Forwarded-Port: 8443\r\nVia: 1.1 tidegate\r\n"
        );
        assert_eq!(
            applied(&lies, "::1", &Rules { via: false, ..trusting(Format::Rfc7239) }),
            "Accept: */*\r\nForwarded: for=\"[::1]\";host=\"example.com:81\";proto=https\r\n"
        );
        assert_eq!(applied(&lies, "1.1.1.1", &Rules::anonymous()), "Accept: */*\r\nVia: 1.1 tidegate\r\n");
        assert_eq!(applied(&lies, "1.1.1.1", &Rules::elite()), "Accept: */*\r\n");
        assert_eq!(applied(&[("Via", "1.1 home")], "1.1.1.1", &Rules::elite()), "");
    }

    #[test]
    fn trusted_peers_are_continued() {
        let told =
            [("X-Forwarded-For", "8.8.8.8, 1.1.1.1"), ("X-Forwarded-Proto", "http"), ("X-Forwarded-For", "10.0.0.9")];
        let quiet = |client, format| Rules { client, via: false, ..trusting(format) };
        assert_eq!(
            applied(&told, "10.0.0.1", &quiet(Client::Append, Format::XForwarded)),
            "X-Forwarded-Proto: http\r\nX-Forwarded-For: 8.8.8.8, 1.1.1.1, 10.0.0.9, 10.0.0.1\r\n\
             X-Forwarded-Host: example.com:81\r\nX-Forwarded-Port: 8443\r\n"
        );
        assert_eq!(
            applied(&told, "10.0.0.1", &quiet(Client::Replace, Format::XForwarded)),
            "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-Host: example.com:81\r\nX-Forwarded-Port: 8443\r\n"
        );
        assert_eq!(
            applied(&told, "10.0.0.1", &quiet(Client::Keep, Format::Rfc7239)),
            "X-Forwarded-For: 8.8.8.8, 1.1.1.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-For: 10.0.0.9\r\n"
        );
        // The other family is summed up in one element.
        assert_eq!(
            applied(&told[..1], "10.0.0.1", &quiet(Client::Append, Format::Rfc7239)),
            "Forwarded: for=1.1.1.1, for=10.0.0.1;host=\"example.com:81\";proto=https\r\n"
        );
        assert_eq!(applied(&told, "10.0.0.1", &quiet(Client::None, Format::Both)), "");
    }

    #[test]
    fn our_own_passes_are_counted() {
        let head =
            request(&[("Via", "1.1 a, 1.1 tidegate (x)"), ("via", "HTTP/1.0 TideGate, 1.1 tidegatex, tidegate")]);
        assert_eq!(via_count(&head), 2);
    }

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
