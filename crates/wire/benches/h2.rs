//! What a request and its response cost in the codec of HTTP/2: `cargo bench -p tidegate-wire --bench h2`.
//!
//! A server reads what a client of ours sends, answers 1 KiB, and the client reads that. The smallest of many rounds
//! is printed: on a busy machine the others measure its other work.

use std::hint::black_box;
use std::time::Instant;

use tidegate_wire::h2::{Connection, Event, Limits, Role};
use tidegate_wire::{Framing, Head};

const STREAMS: usize = 32;

fn main() {
    let limits = Limits { streams: 1_000_000, ..Limits::default() };
    let mut request = Head::default();
    request.start_request(b"GET", b"www.example.com", b"/static/css/site.css", Some(b"v=20240917"));
    for (name, value) in [
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
        ("accept-language", "en-GB,en;q=0.7,de;q=0.3"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("referer", "https://www.example.com/products/index.html"),
        ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes"),
        ("upgrade-insecure-requests", "1"),
    ] {
        request.add(name.as_bytes(), value.as_bytes());
    }
    let mut response = Head::default();
    response.start_response(200);
    for (name, value) in [
        ("Server", "nginx"),
        ("Date", "Tue, 17 Sep 2024 10:00:00 GMT"),
        ("Content-Type", "text/css"),
        ("Last-Modified", "Mon, 16 Sep 2024 10:00:00 GMT"),
        ("ETag", "\"66e6f1a0-400\""),
    ] {
        response.add(name.as_bytes(), value.as_bytes());
    }
    response.set_framing(Framing::Length(1024));
    let content = [b'x'; 1024];

    let mut literal = Client::new(&limits);
    let mut client = Connection::new(Role::Client, &limits);
    let mut server = Connection::new(Role::Server, &limits);
    let mut head = Head::default();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    take(&mut client, &mut to_server);
    drain(&mut server, &to_server, &mut head, |_, _| {});
    take(&mut server, &mut to_client);
    drain(&mut client, &to_client, &mut head, |_, _| {});
    let mut best = [f64::MAX; 4];
    for _ in 0..3_000 {
        let (wrote, _) = timed(|| {
            for _ in 0..STREAMS {
                let id = client.open(black_box(&request)).expect("a stream");
                client.finish(id, None);
            }
            take(&mut client, &mut to_server);
        });
        let (served, _) = timed(|| {
            drain(&mut server, &to_server, &mut head, |server, event| {
                if let Event::Head { id, .. } = event {
                    server.send_head(id, black_box(&response));
                    server.send(id, black_box(&content));
                    server.finish(id, None);
                }
            });
            take(&mut server, &mut to_client);
        });
        let (read, _) = timed(|| {
            drain(&mut client, &to_client, &mut head, |client, event| {
                if let Event::Data { id, content, .. } = event {
                    client.consumed(id, content.len());
                }
            });
        });
        let indexed = literal.round(&response, &content);
        for (best, now) in best.iter_mut().zip([wrote, served, read, indexed]) {
            *best = best.min(now);
        }
    }
    let [wrote, served, read, indexed] = best.map(|round| round / STREAMS as f64);
    println!("{wrote:7.1} ns  client: write a request of 8 fields");
    println!("{served:7.1} ns  server: read it as literals, write the response with 1 KiB");
    println!(
        "{indexed:7.1} ns  server: the same, read as indices of the table, as clients send it from the second time on"
    );
    println!("{read:7.1} ns  client: read the response");
}

/// A client whose blocks name entries of the table, as the usual ones do.
struct Client {
    server: Connection,
    block: Vec<u8>,
    next: u32,
    head: Head,
    out: Vec<u8>,
}

impl Client {
    fn new(limits: &Limits) -> Client {
        let mut server = Connection::new(Role::Server, limits);
        let mut head = Head::default();
        let mut bytes = tidegate_wire::h2::frame::PREFACE.to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        let mut block = vec![0x82, 0x87];
        for (name, value) in [
            (0x41, "www.example.com"),
            (0x44, "/static/css/site.css?v=20240917"),
            (0x7a, "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0"),
            (0x53, "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
            (0x51, "en-GB,en;q=0.7,de;q=0.3"),
            (0x50, "gzip, deflate, br, zstd"),
            (0x73, "https://www.example.com/products/index.html"),
            (0x60, "session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes"),
            (0x40, "1"),
        ] {
            block.push(name);
            if name == 0x40 {
                block.push(25);
                block.extend_from_slice(b"upgrade-insecure-requests");
            }
            block.push(value.len() as u8);
            block.extend_from_slice(value.as_bytes());
        }
        frame(&mut bytes, 1, &block);
        drain(&mut server, &bytes, &mut head, |server, event| {
            if let Event::Head { id, .. } = event {
                server.reset(id, tidegate_wire::h2::Code::NO_ERROR);
            }
        });
        let mut block = vec![0x82, 0x87];
        block.extend((62..71).rev().map(|index| 0x80 | index));
        Client { server, block, next: 3, head, out: Vec::new() }
    }

    fn round(&mut self, response: &Head, content: &[u8]) -> f64 {
        take(&mut self.server, &mut self.out);
        let mut bytes = Vec::new();
        for _ in 0..STREAMS {
            frame(&mut bytes, self.next, &self.block);
            self.next += 2;
        }
        // The windows of a client that reads.
        let update = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 128, 0];
        bytes.extend_from_slice(&update);
        let (time, count) = timed(|| {
            let mut count = 0;
            drain(&mut self.server, &bytes, &mut self.head, |server, event| {
                if let Event::Head { id, .. } = event {
                    count += 1;
                    server.send_head(id, black_box(response));
                    server.send(id, black_box(content));
                    server.finish(id, None);
                }
            });
            take(&mut self.server, &mut self.out);
            count
        });
        assert_eq!(count, STREAMS);
        time
    }
}

fn frame(bytes: &mut Vec<u8>, stream: u32, block: &[u8]) {
    bytes.extend_from_slice(&(block.len() as u32).to_be_bytes()[1..]);
    bytes.extend_from_slice(&[1, 5]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(block);
}

fn take(connection: &mut Connection, into: &mut Vec<u8>) {
    into.clear();
    into.extend_from_slice(connection.out());
    connection.written(into.len());
}

fn drain(connection: &mut Connection, bytes: &[u8], head: &mut Head, mut each: impl FnMut(&mut Connection, Event<'_>)) {
    let now = Instant::now();
    let mut at = 0;
    loop {
        let step = connection.step(&bytes[at..], now, head).expect("a good peer");
        at += step.used;
        match step.event {
            Some(event) => each(connection, event),
            None if step.used == 0 => break,
            None => {}
        }
    }
    assert_eq!(at, bytes.len());
}

fn timed<T>(call: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let done = call();
    (start.elapsed().as_nanos() as f64, done)
}
