//! Bodies over HTTP/3: lengths, trailers, and how a slow side slows the other.

use testkit::h3::{HeaderMap, Method, request};
use testkit::{Server, ok};

use super::{before, client, field};
use crate::tls::Desk;

#[test]
fn bodies_and_trailers_go_both_ways() {
    let server = Server::script(|peer| {
        while let Some(request) = peer.request() {
            assert_eq!(request.trailers.value("x-sum"), Some("7"));
            let length = request.body.len();
            peer.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-end\r\n\r\n{length:x}\r\n"));
            peer.send(&request.body);
            peer.send("\r\n0\r\nx-end: yes\r\n\r\n");
        }
    });
    let desk = Desk::new();
    let tidegate = before(&desk, &server, "");
    let mut client = client(&desk, &tidegate);
    let mut exchange = client.begin(request(Method::PUT, "example.com", "/", &[("te", "trailers")])).expect("a stream");
    client.send(&mut exchange, &[b'a'; 100_000]).expect("sent");
    client.send(&mut exchange, b"b").expect("sent");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "7".parse().expect("a value"));
    client.send_trailers(&mut exchange, trailers).expect("sent");
    client.finish(&mut exchange).expect("sent");
    let whole = client.whole(exchange).expect("an answer");
    assert_eq!((whole.status, whole.body.len()), (200, 100_001));
    assert_eq!(whole.trailers.expect("trailers")["x-end"], "yes");
}

#[test]
fn a_length_that_is_said_is_passed_on() {
    let (desk, server) = (Desk::new(), Server::echo());
    let tidegate = before(&desk, &server, "");
    let mut client = client(&desk, &tidegate);
    let whole = client.post("example.com", "/", &[("content-length", "5")], b"12345").expect("an answer");
    assert_eq!((&whole.body[..], field(&whole, "content-length")), (&b"12345"[..], Some("5")));
    assert_eq!(server.request().fields.value("content-length"), Some("5"));
    let mut exchange = client.begin(request(Method::HEAD, "example.com", "/", &[])).expect("a stream");
    client.finish(&mut exchange).expect("sent");
    let whole = client.whole(exchange).expect("an answer");
    assert_eq!((whole.status, whole.body.len()), (200, 0));
}

#[test]
fn a_long_download_needs_no_more_memory_than_a_short_one() {
    const LENGTH: usize = 256 * 1024 * 1024;
    let server = Server::script(|peer| {
        while let Some(request) = peer.request() {
            let length: usize = request.target[1..].parse().expect("a length");
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
            let piece = [b'z'; 65_536];
            for at in (0..length).step_by(piece.len()) {
                peer.send(&piece[..piece.len().min(length - at)]);
            }
        }
    });
    let desk = Desk::new();
    let tidegate = before(&desk, &server, "");
    let mut client = client(&desk, &tidegate);
    let mut download = |length: usize| {
        let mut exchange =
            client.begin(request(Method::GET, "example.com", &format!("/{length}"), &[])).expect("a stream");
        client.finish(&mut exchange).expect("sent");
        assert_eq!(client.status(&mut exchange).expect("a head"), 200);
        let mut read = 0;
        while let Some(content) = client.content(&mut exchange).expect("content") {
            read += content.len();
        }
        assert_eq!(read, length);
        tidegate.status("VmHWM")
    };
    download(1024 * 1024);
    let before = download(4 * 1024 * 1024);
    let after = download(LENGTH);
    assert!(after < before + 8 * 1024 * 1024, "{before} then {after}");
}

#[test]
fn a_server_that_reads_nothing_slows_its_client() {
    let server = Server::script(|peer| {
        peer.request_head();
        peer.stand_still();
    });
    let desk = Desk::new();
    let tidegate = before(&desk, &server, ", limits: { request_body: 1GiB }");
    let mut client = client(&desk, &tidegate);
    let mut exchange = client.begin(request(Method::POST, "example.com", "/", &[])).expect("a stream");
    let sent = client.send_what_fits(&mut exchange, 256 * 1024 * 1024).expect("sent");
    // The kernel's buffers towards the server, the stream's window, and what the client itself holds.
    assert!(sent < 64 * 1024 * 1024, "{sent}");
}

#[test]
fn a_reader_that_never_reads_holds_little() {
    let server = Server::script(|peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n");
            while peer.try_send([b'z'; 65_536]) {}
        }
    });
    let desk = Desk::new();
    let tidegate = before(&desk, &server, ", timeouts: { stream: 60s }");
    let mut other = client(&desk, &tidegate);
    let mut slow = client(&desk, &tidegate);
    let mut exchange = slow.begin(request(Method::GET, "example.com", "/", &[])).expect("a stream");
    slow.finish(&mut exchange).expect("sent");
    assert_eq!(slow.status(&mut exchange).expect("a head"), 200);
    let mut exchange = other.begin(request(Method::GET, "example.com", "/", &[])).expect("a stream");
    other.finish(&mut exchange).expect("sent");
    assert_eq!(other.status(&mut exchange).expect("a head"), 200);
    let mut read = 0;
    while read < 16 * 1024 * 1024 {
        read += other.content(&mut exchange).expect("content").expect("more").len();
    }
    let held = tidegate.rss();
    assert!(held < 96 * 1024 * 1024, "{held}");
    // Answers of one length only: nothing else of `ok` is needed.
    drop(ok(""));
}
