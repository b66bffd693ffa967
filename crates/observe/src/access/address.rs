//! Addresses as text, by hand: the standard library's way costs as much as half a line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Appends an IP address.
pub(crate) fn ip(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => v4(address, out),
        IpAddr::V6(address) => v6(address, out),
    }
}

/// Appends an address and its port.
pub(crate) fn socket(address: SocketAddr, out: &mut Vec<u8>) {
    match address {
        SocketAddr::V4(address) => v4(*address.ip(), out),
        SocketAddr::V6(address) => {
            out.push(b'[');
            v6(*address.ip(), out);
            if address.scope_id() != 0 {
                out.push(b'%');
                out.extend_from_slice(itoa::Buffer::new().format(address.scope_id()).as_bytes());
            }
            out.push(b']');
        }
    }
    out.push(b':');
    out.extend_from_slice(itoa::Buffer::new().format(address.port()).as_bytes());
}

fn v4(address: Ipv4Addr, out: &mut Vec<u8>) {
    let mut text = [b'.'; 15];
    let mut len = 0;
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            len += 1;
        }
        if octet >= 100 {
            text[len] = b'0' + octet / 100;
            len += 1;
        }
        if octet >= 10 {
            text[len] = b'0' + octet / 10 % 10;
            len += 1;
        }
        text[len] = b'0' + octet % 10;
        len += 1;
    }
    out.extend_from_slice(&text[..len]);
}

/// The one form of RFC 5952: lower case, no leading zeros, the first of the longest runs of zeros (at least two) as `::`.
fn v6(address: Ipv6Addr, out: &mut Vec<u8>) {
    if let Some(mapped) = address.to_ipv4_mapped() {
        out.extend_from_slice(b"::ffff:");
        return v4(mapped, out);
    }
    let groups = address.segments();
    let (gap, gap_len) = longest_zeros(groups);
    let mut index = 0;
    while index < groups.len() {
        if index == gap && gap_len > 1 {
            out.extend_from_slice(b"::");
            index += gap_len;
            continue;
        }
        if index > 0 && (gap_len < 2 || index != gap + gap_len) {
            out.push(b':');
        }
        hex(groups[index], out);
        index += 1;
    }
}

/// Where the first of the longest runs of zeros begins, and its length.
fn longest_zeros(groups: [u16; 8]) -> (usize, usize) {
    let (mut best, mut best_len, mut len) = (0, 0, 0);
    for (index, group) in groups.into_iter().enumerate() {
        len = if group == 0 { len + 1 } else { 0 };
        if len > best_len {
            (best, best_len) = (index + 1 - len, len);
        }
    }
    (best, best_len)
}

fn hex(group: u16, out: &mut Vec<u8>) {
    let digits = [12, 8, 4, 0].map(|shift| b"0123456789abcdef"[usize::from(group >> shift & 15)]);
    let leading = (group.leading_zeros() as usize / 4).min(3);
    out.extend_from_slice(&digits[leading..]);
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use proptest::prelude::*;

    use super::*;

    /// Any address; groups of IPv6 are often zero.
    fn addresses() -> impl Strategy<Value = SocketAddr> {
        let group = prop_oneof![Just(0u16), 0u16..0x200, any::<u16>()];
        let v6 = (prop::array::uniform8(group), any::<u16>(), prop_oneof![Just(0u32), any::<u32>()]);
        prop_oneof![
            any::<SocketAddr>(),
            v6.prop_map(|(groups, port, scope)| SocketAddrV6::new(groups.into(), port, 0, scope).into()),
        ]
    }

    #[test]
    fn the_special_addresses() {
        for text in ["::", "::1", "1::", "::ffff:1.2.3.4", "1:0:0:2::", "1:0:2:3:4:5:6:7", "2001:db8::1:0:0:1"] {
            let mut out = Vec::new();
            ip(text.parse().expect("an address"), &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn as_the_standard_library_prints_them(address in addresses()) {
            let mut out = Vec::new();
            socket(address, &mut out);
            prop_assert_eq!(out, address.to_string().into_bytes());
            let mut out = Vec::new();
            ip(address.ip(), &mut out);
            prop_assert_eq!(out, address.ip().to_string().into_bytes());
        }
    }
}
