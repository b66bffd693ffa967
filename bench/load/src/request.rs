//! The requests that the client sends, written once before the clock starts.

use std::net::SocketAddr;
use std::str::FromStr;

#[derive(Clone, Copy)]
pub enum Fields {
    /// The nine fields of a browser, Host among them.
    Browser,
    /// Host alone.
    HostOnly,
}

impl FromStr for Fields {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "9" => Ok(Self::Browser),
            "1" => Ok(Self::HostOnly),
            _ => Err("neither 9 nor 1"),
        }
    }
}

/// The fields beside Host.
const BROWSER: &[(&str, &str)] = &[
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.7,de;q=0.3"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Referer", "https://shop.example.com/catalogue?page=3"),
    ("Cookie", "session=6b1f0c7e4d5a48e2a9d3c1b07f6e5d42; theme=dark; consent=1"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
];

impl Fields {
    pub fn lines(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Browser => BROWSER,
            Self::HostOnly => &[],
        }
    }
}

/// Where route `n` is: ten paths to a host, names of one length, so that every route costs the wire the same.
pub fn place(route: usize) -> (String, String) {
    (format!("h{:03}.example.com", route / 10), format!("/p{}/index.html", route % 10))
}

/// The request of route `n` in HTTP/1.1.
pub fn write(route: usize, fields: Fields, close: bool) -> Vec<u8> {
    let (host, path) = place(route);
    lines(&path, &host, fields, close)
}

/// What a forward proxy is asked for a server's page: the whole URL, or, inside of a tunnel, what the server itself is asked, by its
/// name where that is what its certificate says.
pub fn write_for(server: SocketAddr, tunnel: bool, tls: bool, fields: Fields, close: bool) -> Vec<u8> {
    let (name, path) = place(0);
    let target = if tunnel { path } else { format!("http://{server}{path}") };
    let host = if tls { format!("{name}:{}", server.port()) } else { server.to_string() };
    lines(&target, &host, fields, close)
}

/// What a tunnel to a server is asked for by.
pub fn write_connect(server: SocketAddr) -> Vec<u8> {
    format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n\r\n").into_bytes()
}

fn lines(target: &str, host: &str, fields: Fields, close: bool) -> Vec<u8> {
    let fields: String = fields.lines().iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let connection = if close { "Connection: close\r\n" } else { "" };
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}{connection}\r\n").into_bytes()
}
