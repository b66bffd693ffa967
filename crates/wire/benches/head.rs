//! What a browser's request costs between two sockets, step by step: `cargo bench -p tidegate-wire`.
//!
//! The smallest of many rounds is printed: on a busy machine the others measure its other work.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use tidegate_wire::forwarded::{self, Rules};
use tidegate_wire::h1::{self, Asked, Limits};
use tidegate_wire::head::Head;
use tidegate_wire::{hop, uri};

const REQUEST: &[u8] = b"GET /static/css/site.css?v=20240917 HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\n\
    Referer: https://www.example.com/products/index.html\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes\r\n\
    Upgrade-Insecure-Requests: 1\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: nginx\r\n\
    Date: Tue, 17 Sep 2024 10:00:00 GMT\r\n\
    Content-Type: text/css\r\n\
    Content-Length: 1024\r\n\
    Last-Modified: Mon, 16 Sep 2024 10:00:00 GMT\r\n\
    Connection: keep-alive\r\n\
    ETag: \"66e6f1a0-400\"\r\n\r\n";

fn main() {
    let (limits, open) = (Limits::default(), Rules::open());
    let peer = IpAddr::V4(Ipv4Addr::new(192, 168, 100, 200));
    let mut head = Head::default();
    let mut out = Vec::with_capacity(4096);

    let parse = |head: &mut Head| h1::request(black_box(REQUEST), &limits, head).is_ok();
    let all = |head: &mut Head, out: &mut Vec<u8>| {
        out.clear();
        let good = parse(head) && uri::normalize(head.path()).is_ok() && hop::strip(head).is_ok();
        forwarded::apply(head, black_box(peer), false, 8080, &open);
        h1::request_head(head, out);
        good
    };
    let whole = measure("request: parse, normalize, strip, forwarded, write", || all(&mut head, &mut out));
    measure("request: parse", || parse(&mut head));
    parse(&mut head);
    measure("request: normalize the path", || uri::normalize(black_box(head.path())).is_ok());
    measure("request: wishes", || hop::wishes(black_box(&head)).keep_alive);
    let read = head.clone();
    let copy = measure("(a copy of the head, which the next two begin with)", || {
        head.clone_from(&read);
        !head.is_empty()
    });
    let strip = measure("request: copy, strip", || {
        head.clone_from(&read);
        hop::strip(&mut head).is_ok()
    });
    let apply = measure("request: copy, forwarded", || {
        head.clone_from(&read);
        forwarded::apply(&mut head, black_box(peer), false, 8080, &open);
        true
    });
    measure("request: write", || {
        out.clear();
        h1::request_head(black_box(&head), &mut out);
        true
    });
    measure("response: parse, strip, via, write", || {
        out.clear();
        let good = h1::response(black_box(RESPONSE), Asked::Other, &limits, &mut head).is_ok();
        let good = good && hop::strip(&mut head).is_ok();
        forwarded::response_via(&mut head);
        h1::response_head(&head, &mut out);
        good
    });
    println!("strip alone {:.0} ns, forwarded alone {:.0} ns, the whole way {whole:.0} ns", strip - copy, apply - copy);
}

/// Prints and answers nanoseconds for one call.
fn measure(name: &str, mut call: impl FnMut() -> bool) -> f64 {
    const ROUNDS: usize = 500;
    const CALLS: u32 = 1000;
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..CALLS {
            assert!(black_box(call()));
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(CALLS));
    }
    println!("{best:7.1} ns  {name}");
    best
}
