//! The requests that the client sends, written once before the clock starts.

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

const BROWSER: &str = "\
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Referer: https://shop.example.com/catalogue?page=3\r\n\
Cookie: session=6b1f0c7e4d5a48e2a9d3c1b07f6e5d42; theme=dark; consent=1\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-Mode: navigate\r\n";

/// The request of route `n`: ten paths to a host, names of one length, so that every route costs the wire the same.
pub fn write(route: usize, fields: Fields, close: bool) -> Vec<u8> {
    let (host, path) = (route / 10, route % 10);
    let fields = match fields {
        Fields::Browser => BROWSER,
        Fields::HostOnly => "",
    };
    let connection = if close { "Connection: close\r\n" } else { "" };
    format!("GET /p{path}/index.html HTTP/1.1\r\nHost: h{host:03}.example.com\r\n{fields}{connection}\r\n").into_bytes()
}
