//! Names that operators give, and names of hosts.

/// Checks the name of a listener, site, policy, pool or route.
pub(super) fn check(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name == "origin" {
        return Err("`origin` is reserved: it is the server that a forward proxy's client asks for".to_owned());
    }
    if name.is_empty() || name.len() > LONGEST || !name.chars().all(legal) {
        return Err(format!(
            "`{name}` is no name, use up to {LONGEST} of the letters a to z, digits, `-`, `_` and `.`"
        ));
    }
    Ok(())
}

/// A host in the form in which requests are compared: lower case, without port and trailing dot.
pub(super) fn host(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(inner) = lower.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<std::net::Ipv6Addr>().ok());
        return address.map(|_| lower.clone()).ok_or_else(|| format!("`{text}` is no IPv6 address in brackets"));
    }
    if let Some((name, port)) = lower.split_once(':') {
        if port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("`{text}` has a port, hosts are compared without: `{name}`"));
        }
        return Err(format!("`{text}` is no host name"));
    }
    if let Some(name) = lower.strip_prefix('.') {
        return Err(format!("`{text}` begins with a dot: `*.{name}` are the names below it, `{name}` is itself"));
    }
    if let Some(name) = lower.strip_suffix('.') {
        return Err(format!("`{text}` ends with a dot, hosts are compared without: `{name}`"));
    }
    if !lower.is_ascii() {
        return Err(format!("`{text}` has letters beyond ASCII, write the name in its `xn--` form"));
    }
    let legal = |label: &str| {
        let bytes = label.bytes();
        !label.is_empty()
            && label.len() <= 63
            && bytes.into_iter().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if lower.len() > 253 || !lower.split('.').all(legal) {
        return Err(format!("`{text}` is no host name"));
    }
    Ok(lower)
}

/// `*.example.com` as `example.com`, or nothing if it is no wildcard.
pub(super) fn wildcard(text: &str) -> Option<Result<String, String>> {
    if !text.contains('*') {
        return None;
    }
    let Some(rest) = text.strip_prefix("*.").filter(|rest| !rest.contains('*')) else {
        return Some(Err(format!(
            "`{text}` is no pattern of hosts: `*.` may only stand in front, as in `*.example.com`"
        )));
    };
    Some(host(rest))
}

const LONGEST: usize = 64;
