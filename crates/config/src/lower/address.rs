//! Addresses to listen on and to connect to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::name;
use crate::spec::{AdminBind, BindAddress, ServerAddress, ServersFile, Transport};

/// An address to listen on.
pub(super) fn bind(text: &str) -> Result<BindAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(|path| BindAddress::Unix { path, mode: None });
    }
    if text.starts_with("fd:") {
        return Err(format!("`{text}`: `fd:` is planned and does not work yet in this version, use an address"));
    }
    if text.ends_with("/tcp") || text.ends_with("/udp") {
        return Err(format!("`{text}`: the suffix belongs to `role: nat` only, remove it"));
    }
    if let Some(port) = text.strip_prefix("*:") {
        return Err(format!("`{text}` is no address, every address of both families is `:{port}`"));
    }
    if let Some(port) = text.strip_prefix(':').filter(|port| !port.contains(':')) {
        return self::port(port).map(BindAddress::AnyFamily);
    }
    socket(text).map(BindAddress::Ip)
}

/// An address whose packets the kernel rewrites.
pub(super) fn packets(text: &str) -> Result<(SocketAddr, Transport), String> {
    if text.starts_with("unix:") || text.starts_with("fd:") {
        return Err(format!("`{text}`: packets have an IP address, write it like `192.0.2.1:80/tcp`"));
    }
    let suffixed = [Transport::Tcp, Transport::Udp]
        .into_iter()
        .find_map(|transport| Some((text.strip_suffix(transport.word())?.strip_suffix('/')?, transport)));
    let Some((place, transport)) = suffixed else {
        if let Some((place, other)) = text.rsplit_once('/') {
            return Err(format!(
                "`{text}`: the kernel rewrites packets of TCP and UDP, not of `{other}`, write `{place}/tcp` or `{place}/udp`"
            ));
        }
        return Err(format!("`{text}` does not say what is above IP, write `{text}/tcp` or `{text}/udp`"));
    };
    let is_every = place.starts_with(':') && !place[1..].contains(':');
    let address = match is_every {
        true => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port(&place[1..])?),
        false => socket(place)?,
    };
    let ip = address.ip();
    let why = match () {
        () if ip.is_unspecified() => {
            "is every address of this host, those by which it is managed among them, name the one that clients ask for"
        }
        () if ip.is_loopback() => "is in no packet that comes in by an interface, name the one that clients ask for",
        () if ip.is_multicast() => {
            "is of many hosts, and a flow belongs to one server, name the one that clients ask for"
        }
        () if address.port() == 0 => "has no port that clients could ask for, use 1 to 65535",
        () if ip.to_canonical() != ip => "is an IPv4 address in the form of IPv6, write it as one of IPv4",
        () => return Ok((address, transport)),
    };
    Err(format!("`{text}` {why}"))
}

/// Where the operator's listener may listen: nowhere that can be reached from outside.
pub(super) fn admin(text: &str) -> Result<AdminBind, String> {
    match bind(text)? {
        BindAddress::Unix { path, .. } => Ok(AdminBind::Unix(path)),
        BindAddress::Ip(address) if address.ip().is_loopback() => Ok(AdminBind::Loopback(address)),
        BindAddress::Ip(SocketAddr::V4(address)) => {
            Err(format!("`{text}` could be reached from outside, use `127.0.0.1:{}` or `unix:PATH`", address.port()))
        }
        BindAddress::Ip(SocketAddr::V6(address)) => {
            Err(format!("`{text}` could be reached from outside, use `[::1]:{}` or `unix:PATH`", address.port()))
        }
        BindAddress::AnyFamily(port) => {
            Err(format!("`{text}` could be reached from outside, use `127.0.0.1:{port}` or `unix:PATH`"))
        }
    }
}

/// An IP address, or `localhost`, and a port.
pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, after) = host_and_port(text)?;
    if host == "localhost" {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), after));
    }
    Err(format!("`{text}` begins with a name, use an IP address"))
}

/// A server's address, or a source of several. A relative path is in `dir`; the configuration's own file is `named_by`.
pub(super) fn server(text: &str, dir: &Path, named_by: &str) -> Result<ServerAddress, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(|path| ServerAddress::Unix(dir.join(path)));
    }
    if let Some(path) = text.strip_prefix("file:") {
        return servers_file(path, dir, named_by).map(ServerAddress::File);
    }
    if let Some(name) = text.strip_prefix("srv:") {
        return service(name).map(ServerAddress::Service);
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.trim_end_matches('/');
        let hint = if scheme == "http" { format!(", write `{rest}`") } else { String::new() };
        return Err(format!("`{text}` is a URL, a server is `HOST:PORT`{hint}"));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        nonzero(address.port(), text)?;
        return Ok(ServerAddress::Ip(address));
    }
    let (host, port) = host_and_port(text)?;
    nonzero(port, text)?;
    Ok(ServerAddress::Name { host: name::host(host)?, port })
}

/// Messages name the file as seen from where the one that names it was named.
fn servers_file(path: &str, dir: &Path, named_by: &str) -> Result<ServersFile, String> {
    if path.is_empty() || path.contains('\0') {
        return Err("`file:` needs a path".to_owned());
    }
    let name = Path::new(named_by).parent().unwrap_or(Path::new("")).join(path);
    Ok(ServersFile { path: dir.join(path), name: name.to_string_lossy().into_owned() })
}

fn service(name: &str) -> Result<String, String> {
    if let Some((host, port)) = name.rsplit_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(format!("`srv:{name}` has a port, SRV records say the ports: `srv:{host}`"));
    }
    if name.starts_with('[') || name.is_empty() {
        return Err(format!("`srv:{name}` is no name of a service, write it like `srv:_http._tcp.example.com`"));
    }
    name::host(name)
}

/// A network; an address alone is a network of one.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let net: IpNet =
        text.parse().map_err(|_| format!("`{text}` is no network, write it like `10.0.0.0/8` or `fd00::/8`"))?;
    if net.trunc() != net {
        return Err(format!("`{text}` has bits beyond its prefix, write `{}`", net.trunc()));
    }
    Ok(net)
}

fn host_and_port(text: &str) -> Result<(&str, u16), String> {
    let Some((host, port)) = text.rsplit_once(':') else {
        if matches!(text, "true" | "false" | "on" | "off" | "yes" | "no") {
            return Err(format!("`{text}` is no address, write one such as `127.0.0.1:9900`"));
        }
        if text.parse::<u16>().is_ok() {
            return Err(format!(
                "`{text}` is a port alone, write `127.0.0.1:{text}`, or where one listens on all addresses `:{text}`"
            ));
        }
        return Err(format!("`{text}` has no port, write `{text}:PORT`"));
    };
    let port = self::port(port)?;
    if host.contains(',') {
        return Err(format!("`{text}` is several addresses: write each by itself"));
    }
    if host.contains(':') {
        return Err(format!("`{text}` is no address, an IPv6 address stands in brackets: `\"[{host}]:{port}\"`"));
    }
    if host.is_empty() {
        return Err(format!("`{text}` has no host"));
    }
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(format!("`{host}` is no IP address"));
    }
    Ok((host, port))
}

fn port(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    let port = if digits && !leading_zero { text.parse().ok() } else { None };
    port.ok_or_else(|| format!("`{text}` is no port, use 1 to 65535"))
}

fn nonzero(port: u16, text: &str) -> Result<(), String> {
    if port == 0 { Err(format!("`{text}`: a server has no port 0")) } else { Ok(()) }
}

fn socket_path(path: &str) -> Result<PathBuf, String> {
    if path.is_empty() || path.contains('\0') {
        return Err("`unix:` needs a path".to_owned());
    }
    if path.len() > LONGEST_SOCKET_PATH {
        return Err(format!("`unix:{path}` is longer than the {LONGEST_SOCKET_PATH} bytes of a socket's address"));
    }
    Ok(PathBuf::from(path))
}

/// `sun_path` of Linux less its final NUL.
const LONGEST_SOCKET_PATH: usize = 107;
