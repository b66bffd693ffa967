//! Lists of hops, read from the right.

use std::net::IpAddr;

use crate::head::Head;
use crate::known::Known;

use super::{PSEUDONYM, Rules};

/// Cuts the last element off a list: the rest, and the element.
pub(super) type Cut = fn(&[u8]) -> (&[u8], &[u8]);

/// Walks a list of hops from the right; see [`client_ip`].
pub(super) fn walk(
    head: &Head,
    list: Known,
    peer: IpAddr,
    rules: &Rules,
    cut: Cut,
    read: fn(&[u8]) -> Option<IpAddr>,
) -> IpAddr {
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

pub(super) fn last_item(list: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b',', list) {
        Some(comma) => (&list[..comma], list[comma + 1..].trim_ascii()),
        None => (b"", list.trim_ascii()),
    }
}

/// Commas in quoted strings do not separate. Quotes are paired from the right: what a trusted peer appended must not
/// be swallowed by a quote that its client left open.
pub(super) fn last_element(list: &[u8]) -> (&[u8], &[u8]) {
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

/// Whether each quoted string of a list ends in it, so that it reads the same from the left, from the right, and with
/// another list behind it.
pub(super) fn is_whole(list: &[u8]) -> bool {
    let mut rest = list;
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        if rest[at] == b'\\' {
            return false;
        }
        let Some(length) = closing_quote(&rest[at + 1..]) else { return false };
        rest = &rest[at + 1 + length + 1..];
    }
    true
}

/// The address of the one `for` parameter of a `Forwarded` element.
pub(super) fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
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
pub(super) fn node(text: &[u8]) -> Option<IpAddr> {
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

/// A `Via` member is the received protocol, who received it, and perhaps a comment.
pub(super) fn is_ours(member: &[u8]) -> bool {
    let mut words = member.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(PSEUDONYM))
}
