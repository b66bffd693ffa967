//! The file by which browsers find a forward proxy.

use ipnet::IpNet;

use super::{Lower, address, name};
use crate::shape::{Map, Value};
use crate::spec::{HostPattern, Pac, PacProtocol, PacProxy, ServerAddress};

impl Lower<'_, '_> {
    /// What the file says; a proxy whose protocol is not said speaks TLS where the listener does.
    pub(super) fn pac(&mut self, map: &Map, secured: bool) -> Pac {
        let mut pac = Pac { direct: Vec::new(), networks: Vec::new(), proxies: Vec::new() };
        for value in map.list("direct") {
            let Some(text) = value.fixed() else { continue };
            match without(text) {
                Ok(Without::Host(pattern)) => pac.direct.push(pattern),
                Ok(Without::Network(network)) => pac.networks.push(network),
                Err(why) => self.note(value, why),
            }
        }
        let unsaid = if secured { PacProtocol::Https } else { PacProtocol::Http };
        pac.proxies = map.list("proxy").iter().filter_map(|value| self.pac_proxy(value, unsaid)).collect();
        pac
    }

    fn pac_proxy(&mut self, value: &Value, unsaid: PacProtocol) -> Option<PacProxy> {
        let text = value.fixed()?;
        let (speaks, place) = match text.split_once("://") {
            None => (unsaid, text),
            Some(("http", place)) => (PacProtocol::Http, place),
            Some(("https", place)) => (PacProtocol::Https, place),
            Some(("socks5", place)) => (PacProtocol::Socks5, place),
            Some((scheme, _)) => {
                self.note(value, format!("no browser speaks `{scheme}` with a proxy, use `http`, `https` or `socks5`"));
                return None;
            }
        };
        let authority = match address::server(place, std::path::Path::new(""), "") {
            Ok(ServerAddress::Ip(address)) => address.to_string(),
            Ok(ServerAddress::Name { host, port }) => format!("{host}:{port}"),
            Ok(_) => {
                self.note(value, format!("`{text}` is nothing that a browser connects to, write `HOST:PORT`"));
                return None;
            }
            Err(why) => {
                self.note(value, why);
                return None;
            }
        };
        Some(PacProxy { speaks, authority })
    }
}

/// What does without a proxy.
enum Without {
    Host(HostPattern),
    Network(ipnet::Ipv4Net),
}

fn without(text: &str) -> Result<Without, String> {
    if text.contains('/') || text.parse::<std::net::IpAddr>().is_ok() {
        return match address::network(text)? {
            IpNet::V4(network) => Ok(Without::Network(network)),
            IpNet::V6(_) => Err(format!("`{text}` is of IPv6, and browsers can tell networks of IPv4 alone")),
        };
    }
    match name::wildcard(text) {
        Some(wildcard) => wildcard.map(|host| Without::Host(HostPattern::Wildcard(host))),
        None => name::host(text).map(|host| Without::Host(HostPattern::Exact(host))),
    }
}
