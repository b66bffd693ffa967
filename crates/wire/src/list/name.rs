//! The names of hosts in lists, in the form in which requests are compared.

use std::net::{IpAddr, Ipv6Addr};

/// A host in lower case, without a trailing dot; an address in its one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; LONGEST],
    length: usize,
}

/// RFC 1035 section 2.3.4, without the dot at its end.
const LONGEST: usize = 253;

impl Name {
    /// Reads it; nothing if it is no host.
    pub fn of(text: &str) -> Option<Name> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if bare.contains(':') {
            return match IpAddr::V6(bare.parse::<Ipv6Addr>().ok()?).to_canonical() {
                IpAddr::V4(ip) => Name::copied(&ip.to_string()),
                IpAddr::V6(ip) => Name::copied(&format!("[{ip}]")),
            };
        }
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if text.is_empty() || text.len() > LONGEST || !text.split('.').all(is_label) {
            return None;
        }
        Name::copied(text)
    }

    fn copied(text: &str) -> Option<Name> {
        let mut name = Name { bytes: [0; LONGEST], length: text.len() };
        name.bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        name.bytes.make_ascii_lowercase();
        Some(name)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever copied into it.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }

    /// Whether it is an address, below which there is nothing.
    pub fn is_address(&self) -> bool {
        let text = self.as_str();
        text.starts_with('[') || text.parse::<IpAddr>().is_ok()
    }
}
