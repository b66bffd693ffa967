//! Texts that are held: what goes on beside them, and what they may take.

use testkit::{Signal, Server, Tidegate};

use super::words::library_of;
use crate::support::get;

/// Chunks of a body.
fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// Whatever the only worker was to do before this it has done.
fn turn(tidegate: &Tidegate) {
    assert_eq!(tidegate.client().get("/turn").status, 200);
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn an_upload_that_was_too_long_leaves_no_hole() {
    let [begun, more, last] = [(); 3].map(|()| Signal::new());
    let (begin, go_on, end) = (begun.clone(), more.clone(), last.clone());
    let server = Server::script(move |peer| {
        let Some(request) = peer.request_head() else { return };
        if request.target == "/turn" {
            return peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        peer.send(format!("{CHUNKED}{}", chunk("some ")));
        begin.raise();
        go_on.wait();
        peer.send(chunk("more "));
        end.wait();
        peer.send(format!("{}0\r\n\r\n", chunk("words")));
        let heard = peer.rest().unwrap_or_default();
        let heard = String::from_utf8_lossy(&heard);
        assert!(heard.contains("first") && !heard.contains("third"), "{heard}");
    });
    let library = library_of(&server, "{ filter: { words: w } }", "limits: { request_body: 12B }, ");
    let mut client = library.tidegate.client();
    client.send(format!("POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}", chunk("first")));
    begun.wait();
    turn(&library.tidegate);
    client.send(chunk("second, too long"));
    turn(&library.tidegate);
    more.raise();
    turn(&library.tidegate);
    client.send(chunk("third"));
    turn(&library.tidegate);
    last.raise();
    assert_eq!(client.response().text(), "some more words");
    server.until_idle();
}
