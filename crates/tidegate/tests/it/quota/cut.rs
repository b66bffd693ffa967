//! Bodies that are cut: what has come behind them is never taken for a request.

use testkit::{Ending, Server, Tidegate, ok, until};

use super::{subject, text};
use crate::support::start;

/// So much of the body goes on, and then it is more than there is.
const FIRST: usize = 1000;
const REST: usize = 3000;
/// A request whose body would be taken for another one, if its head were lost.
const BEHIND: &str = "POST /behind HTTP/1.1\r\nHost: a\r\nContent-Length: 38\r\n\r\n";
const INSIDE: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn limited(server: &Server) -> Tidegate {
    start(&text("{ bytes: 3000B, per: 30d, direction: in }"), &[("APP", server)])
}

/// The two parts of a request that is too long, in either framing.
fn parts(is_chunked: bool) -> [String; 2] {
    let (first, rest) = ("y".repeat(FIRST), "y".repeat(REST));
    let head = "POST /cut HTTP/1.1\r\nHost: a\r\n";
    if is_chunked {
        let first = format!("{head}Transfer-Encoding: chunked\r\n\r\n{FIRST:x}\r\n{first}\r\n");
        return [first, format!("{REST:x}\r\n{rest}\r\n0\r\n\r\n")];
    }
    [format!("{head}Content-Length: {}\r\n\r\n{first}", FIRST + REST), rest]
}

#[test]
fn what_has_come_with_it_is_not_read_as_a_request() {
    let server = Server::http(|_| ok("taken"));
    for is_chunked in [false, true] {
        let tidegate = limited(&server);
        let mut client = tidegate.client();
        let [first, rest] = parts(is_chunked);
        let answer = client.ask(format!("{first}{rest}{BEHIND}"));
        assert_eq!((answer.status, answer.fields.value("connection")), (429, Some("close")), "{is_chunked}");
        client.try_send(INSIDE);
        client.finish();
        assert!(matches!(client.ending(), Ending::Clean | Ending::Reset), "{is_chunked}");
    }
}

#[test]
fn what_has_come_behind_a_body_under_way_is_not_read_as_a_request() {
    let server = Server::http(|_| ok("taken"));
    for is_chunked in [false, true] {
        let tidegate = limited(&server);
        let mut client = tidegate.client();
        let [first, rest] = parts(is_chunked);
        client.send(first);
        until("the first part has passed", || subject(&tidegate, "client_ip=127.0.0.1")["bytes"]["used"] == FIRST);
        let answer = client.ask(format!("{rest}{BEHIND}"));
        assert_eq!((answer.status, answer.fields.value("connection")), (429, Some("close")), "{is_chunked}");
        client.try_send(INSIDE);
        client.finish();
        assert!(matches!(client.ending(), Ending::Clean | Ending::Reset), "{is_chunked}");
    }
}
