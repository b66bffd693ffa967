//! Addresses as text. Nearly all are IPv4, which is worth doing by hand.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Appends an IP address.
pub(super) fn ip(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => v4(address, out),
        // Writing to memory cannot fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// Appends an address and its port.
pub(super) fn socket(address: SocketAddr, out: &mut Vec<u8>) {
    match address {
        SocketAddr::V4(address) => {
            v4(*address.ip(), out);
            out.push(b':');
            out.extend_from_slice(itoa::Buffer::new().format(address.port()).as_bytes());
        }
        SocketAddr::V6(address) => drop(write!(out, "{address}")),
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn as_the_standard_library_prints_them(address in any::<SocketAddr>()) {
            let mut out = Vec::new();
            socket(address, &mut out);
            prop_assert_eq!(out, address.to_string().as_bytes());
            let mut out = Vec::new();
            ip(address.ip(), &mut out);
            prop_assert_eq!(out, address.ip().to_string().as_bytes());
        }
    }
}
