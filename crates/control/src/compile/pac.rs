//! The script by which browsers find a forward proxy, from its rules.
//!
//! It speaks the oldest JavaScript that there is: what runs such files is often that old. Nothing in it looks a name up, which would
//! hold up the browser for each host.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use config::spec::{self, Ending, HostPattern, PacProtocol, Predicate, Route, Serves, Spec};
use ipnet::{IpNet, Ipv4Net};
use proxy::pac::Pac;

use super::matching;

pub(super) fn pac(spec: &Spec, listener: &spec::Listener, said: &spec::Pac) -> Pac {
    let routes = match &listener.serves {
        Serves::Routes(routes) => &routes[..],
        _ => &[],
    };
    let allow = listener.egress.as_ref().map(|egress| &egress.allow[..]).unwrap_or_default();
    let lists = [
        ("served", hosts(hosts_of_routes(routes).as_deref())),
        ("direct", hosts(Some(&said.direct))),
        ("known", hosts(Some(&known(spec, allow)))),
        ("allowed", ranges(allow.iter().filter_map(of_v4))),
        ("networks", ranges(said.networks.iter().copied())),
        ("allowsLocal6", allow.iter().any(|net| matches!(net, IpNet::V6(_))).to_string()),
    ];
    let mut after = String::from("\";\n");
    for (name, value) in lists {
        // Writing to a text cannot fail.
        let _ = writeln!(after, "var {name} = {value};");
    }
    after.push_str(SCRIPT);
    let named: Vec<String> = said.proxies.iter().map(word).collect();
    Pac {
        before: "// Made from the rules of a forward proxy.\nvar proxy = \"".into(),
        after: after.into(),
        proxy: (!named.is_empty()).then(|| named.join("; ").into()),
        clients: clients(routes).map(|nets| nets.iter().map(matching::net).collect()),
    }
}

/// Names in lists stand behind `=` if they are whole, and behind `.` if they are what others end with: no name of an object's own
/// looks like that.
const SCRIPT: &str = r#"var own = [[0, 16777215], [2130706432, 2147483647]];
var near = [[167772160, 184549375], [1681915904, 1686110207], [2851995648, 2852061183], [2886729728, 2887778303], [3232235520, 3232301055]];

function FindProxyForURL(url, host) {
  var name = host.toLowerCase().replace(/[\[\]]/g, "").replace(/\.$/, "");
  if (!/^(https?|wss?):/i.test(url) || isAmong(direct, name) || isNear(name)) {
    return "DIRECT";
  }
  return !served || isAmong(served, name) ? proxy : "DIRECT";
}

function isNear(name) {
  if (name == "localhost" || /\.localhost$/.test(name)) {
    return true;
  }
  if (name.indexOf(":") >= 0) {
    return /^(::1?$|fe[89ab])/.test(name) || (!allowsLocal6 && /^f[cd]/.test(name));
  }
  var part = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(name);
  if (!part) {
    return name.indexOf(".") < 0 && !isAmong(known, name);
  }
  var number = ((part[1] * 256 + part[2] * 1) * 256 + part[3] * 1) * 256 + part[4] * 1;
  return isWithin(own, number) || isWithin(networks, number) || (isWithin(near, number) && !isWithin(allowed, number));
}

function isAmong(names, name) {
  if (names["=" + name]) {
    return true;
  }
  for (var dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) {
    if (names[name.substring(dot)]) {
      return true;
    }
  }
  return false;
}

function isWithin(ranges, number) {
  for (var n = 0; n < ranges.length; n++) {
    if (number >= ranges[n][0] && number <= ranges[n][1]) {
      return true;
    }
  }
  return false;
}
"#;

fn word(proxy: &spec::PacProxy) -> String {
    let speaks = match proxy.speaks {
        PacProtocol::Http => "PROXY",
        PacProtocol::Https => "HTTPS",
        PacProtocol::Socks5 => "SOCKS5",
    };
    format!("{speaks} {}", proxy.authority)
}

/// The hosts that some route is for; none if a route is for any. A host that is refused by name is for the proxy, too: it says why.
fn hosts_of_routes(routes: &[Route]) -> Option<Vec<HostPattern>> {
    let each = routes.iter().map(|route| match (route.matches.as_ref().and_then(hosts_of), &route.ending) {
        (Some(hosts), _) => Some(hosts),
        (None, Ending::Routes(inner)) => hosts_of_routes(inner),
        // What only refuses some of what other routes lead on is for nobody else.
        (None, Ending::Deny(_)) if route.matches.is_some() => Some(Vec::new()),
        (None, _) => None,
    });
    each.collect::<Option<Vec<_>>>().map(|hosts| hosts.concat())
}

/// The hosts outside of which a predicate cannot hold, if it is known of few enough.
fn hosts_of(predicate: &Predicate) -> Option<Vec<HostPattern>> {
    match predicate {
        Predicate::Host(HostPattern::Text(_)) => None,
        Predicate::Host(pattern) => Some(vec![pattern.clone()]),
        Predicate::All(all) => all.iter().find_map(hosts_of),
        Predicate::Any(any) => any.iter().map(hosts_of).collect::<Option<Vec<_>>>().map(|hosts| hosts.concat()),
        _ => None,
    }
}

/// Who may use a route that leads on; none if anybody may.
fn clients(routes: &[Route]) -> Option<Vec<IpNet>> {
    let leading = routes.iter().filter(|route| !matches!(route.ending, Ending::Deny(_)));
    let each = leading.map(|route| match (route.matches.as_ref().and_then(clients_of), &route.ending) {
        (Some(clients), _) => Some(clients),
        (None, Ending::Routes(inner)) => clients(inner),
        (None, _) => None,
    });
    each.collect::<Option<Vec<_>>>().map(|clients| clients.concat())
}

fn clients_of(predicate: &Predicate) -> Option<Vec<IpNet>> {
    match predicate {
        Predicate::Client(net) => Some(vec![*net]),
        Predicate::All(all) => all.iter().find_map(clients_of),
        Predicate::Any(any) => any.iter().map(clients_of).collect::<Option<Vec<_>>>().map(|clients| clients.concat()),
        _ => None,
    }
}

/// Names without a dot that mean something to the proxy, to which it may connect.
fn known(spec: &Spec, allow: &[IpNet]) -> Vec<HostPattern> {
    let may = |ip: &IpAddr| allow.iter().any(|net| net.contains(ip)) || matches!(ip, IpAddr::V4(ip) if !is_near(*ip));
    let plain = spec.dns.hosts.iter().filter(|(name, ips)| !name.contains('.') && ips.iter().any(may));
    plain.map(|(name, _)| HostPattern::Exact(name.clone())).collect()
}

fn is_near(ip: Ipv4Addr) -> bool {
    ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.octets()[0] == 0
        || (ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64)
}

fn of_v4(net: &IpNet) -> Option<Ipv4Net> {
    match net {
        IpNet::V4(net) => Some(*net),
        IpNet::V6(_) => None,
    }
}

/// Names as an object of the script, or that there are none to ask.
fn hosts(patterns: Option<&[HostPattern]>) -> String {
    let Some(patterns) = patterns else { return "null".to_owned() };
    let key = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(host) => Some(format!("={}", host.trim_matches(['[', ']']))),
        HostPattern::Wildcard(above) => Some(format!(".{above}")),
        HostPattern::Text(_) => None,
    };
    let mut keys: Vec<String> = patterns.iter().filter_map(key).collect();
    keys.sort();
    keys.dedup();
    let entries: Vec<String> = keys.iter().map(|key| format!("{}: 1", quoted(key))).collect();
    format!("{{{}}}", entries.join(", "))
}

fn ranges(nets: impl Iterator<Item = Ipv4Net>) -> String {
    let ranges: Vec<String> =
        nets.map(|net| format!("[{}, {}]", u32::from(net.network()), u32::from(net.broadcast()))).collect();
    format!("[{}]", ranges.join(", "))
}

/// A text of JavaScript that nothing in it can end: but for what names are made of, everything is escaped.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii_alphanumeric() || b"=.-_:".contains(&byte) => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_ends_its_text() {
        assert_eq!(quoted("=a-b_c.test:1"), "\"=a-b_c.test:1\"");
        assert_eq!(
            quoted("\"; alert(1) //\\\u{2028}</"),
            r#""\u0022\u003b\u0020alert\u00281\u0029\u0020\u002f\u002f\u005c\u2028\u003c\u002f""#
        );
    }

    #[test]
    fn near_is_what_the_script_says() {
        for (range, first, last) in [
            (167772160, "10.0.0.0", "10.255.255.255"),
            (1681915904, "100.64.0.0", "100.127.255.255"),
            (2851995648, "169.254.0.0", "169.254.255.255"),
            (2886729728, "172.16.0.0", "172.31.255.255"),
            (3232235520, "192.168.0.0", "192.168.255.255"),
        ] {
            let [first, last]: [Ipv4Addr; 2] = [first, last].map(|text| text.parse().expect("an address"));
            assert!(SCRIPT.contains(&format!("[{range}, {}]", u32::from(last))) && u32::from(first) == range);
            assert!(is_near(first) && is_near(last));
        }
    }
}
