//! Files of hosts, and of plain domains.

use std::net::IpAddr;

use super::{Effect, Line, Name, Rule};

/// `0.0.0.0 one.example two.example # why`.
pub(super) fn hosts(text: &str, tell: &mut dyn FnMut(Rule<'_>)) -> Line {
    let text = text.split('#').next().unwrap_or_default();
    let mut words = text.split_ascii_whitespace();
    let Some(address) = words.next() else { return Line::Blank };
    if address.split('%').next().unwrap_or_default().parse::<IpAddr>().is_err() {
        return Line::Wrong;
    }
    let (mut told, mut named) = (false, false);
    for word in words {
        named = true;
        if OWN.contains(&word) || word == address {
            continue;
        }
        let Some(name) = Name::of(word) else { return Line::Wrong };
        tell(Rule { host: name.as_str(), itself: true, below: false, effect: Effect::Block, revokes: false });
        told = true;
    }
    match (told, named) {
        (true, _) => Line::Hosts,
        (false, true) => Line::Blank,
        (false, false) => Line::Wrong,
    }
}

/// What such files begin with: names of the machine itself.
const OWN: [&str; 12] = [
    "localhost",
    "localhost.localdomain",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
    "loopback",
];

/// `example.com`, `.example.com` or `*.example.com`: those who keep such lists mean the domain with all that is in it.
pub(super) fn domain(text: &str, tell: &mut dyn FnMut(Rule<'_>)) -> Line {
    let text = text.split('#').next().unwrap_or_default().trim();
    if text.is_empty() || text.starts_with(['!', ';']) {
        return Line::Blank;
    }
    let bare = text.strip_prefix("*.").or(text.strip_prefix('.')).unwrap_or(text);
    let Some(name) = Name::of(bare) else { return Line::Wrong };
    tell(Rule { host: name.as_str(), itself: true, below: !name.is_address(), effect: Effect::Block, revokes: false });
    Line::Hosts
}
