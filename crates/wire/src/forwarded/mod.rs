//! Who the client is, and what servers are told of it (RFC 7239, its older `X-Forwarded-*` kin, and `Via`).
//!
//! What a peer says of its clients is believed only if the peer is trusted; from all others it is dropped before
//! anything of ours is written. Nothing here looks a name up, and nothing here judges whether a client may enter.

mod names;
mod read;
mod write;

use std::net::IpAddr;

use crate::head::Head;
use crate::hop;
use crate::known::Known;

pub use names::{IDENTIFYING, Names};
use write::{Arrival, add_via, tell};

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
    /// Further fields that say who asks, or by which proxies, and go.
    pub identifying: Names,
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
        return read::walk(head, Known::Forwarded, peer, rules, read::last_element, read::forwarded_for);
    }
    read::walk(head, Known::XForwardedFor, peer, rules, read::last_item, read::node)
}

/// Edits a request's fields for the next hop. `local_port` is the port that the client reached, 0 if there was none.
///
/// `X-Forwarded-Host` and `host=` name the head's authority, so this comes before anything that replaces it.
pub fn apply(head: &mut Head, peer: IpAddr, tls: bool, local_port: u16, rules: &Rules) {
    let peer = peer.to_canonical();
    let client = client_ip(head, peer, rules);
    if !rules.identifying.is_empty() {
        head.retain(|field| field.known == Known::Host || !rules.identifying.has(field.name));
    }
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
    head.values_of(Known::Via).flat_map(hop::options).filter(|member| read::is_ours(member)).count()
}

impl Rules {
    /// `open`: servers are told who asks.
    pub fn open() -> Rules {
        Rules {
            client: Client::Append,
            via: true,
            format: Format::XForwarded,
            trust: Vec::new(),
            identifying: Names::default(),
        }
    }

    /// `anonymous`: servers are told that a proxy asks, not for whom.
    pub fn anonymous() -> Rules {
        Rules { client: Client::None, identifying: Names::identifying(), ..Rules::open() }
    }

    /// `elite`: nothing betrays a proxy.
    pub fn elite() -> Rules {
        Rules { via: false, ..Rules::anonymous() }
    }

    /// Whether servers shall not even see that there is a proxy.
    pub fn leaves_no_trace(&self) -> bool {
        self.client == Client::None && !self.via
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
        // A list that would swallow what is appended is not continued.
        for open in ["for=\"8.8.8.8, for=1.1.1.1", "for=8.8.8.8, for=1.1.1.1;x=a\\"] {
            assert_eq!(
                applied(&[("Forwarded", open)], "10.0.0.1", &quiet(Client::Append, Format::Rfc7239)),
                "Forwarded: for=1.1.1.1, for=10.0.0.1;host=\"example.com:81\";proto=https\r\n"
            );
        }
        // Two families that differ would be two stories: the one that is continued stays.
        let both = [("Forwarded", "for=9.9.9.9"), ("X-Forwarded-For", "1.1.1.1")];
        let only = |rules: &Rules| applied(&both, "10.0.0.1", rules).lines().next().map(str::to_owned);
        let continued = only(&quiet(Client::Append, Format::XForwarded));
        assert_eq!(continued.as_deref(), Some("X-Forwarded-For: 1.1.1.1, 10.0.0.1"));
        let continued = only(&quiet(Client::Append, Format::Rfc7239));
        assert_eq!(
            continued.as_deref(),
            Some("Forwarded: for=9.9.9.9, for=10.0.0.1;host=\"example.com:81\";proto=https")
        );
        assert_eq!(applied(&told, "10.0.0.1", &quiet(Client::None, Format::Both)), "");
    }

    #[test]
    fn our_own_passes_are_counted() {
        let head =
            request(&[("Via", "1.1 a, 1.1 tidegate (x)"), ("via", "HTTP/1.0 TideGate, 1.1 tidegatex, tidegate")]);
        assert_eq!(via_count(&head), 2);
    }
}
