//! A server of HTTP/3 of another making.

use testkit::{Process, python};

use super::text;
use crate::tls::Desk;

#[test]
fn aioquic_is_asked_and_answers() {
    let Some(mut aioquic) = python("aioquic") else { return };
    let desk = Desk::new();
    desk.issue("origin", &["origin.test"]);
    let script = desk.folder.write("server.py", include_str!("aioquic.py"));
    let folder = desk.folder.path();
    aioquic.arg(script).arg(folder.join("origin.pem")).arg(folder.join("origin.key"));
    let (_server, port) = Process::saying(&mut aioquic);
    let tidegate = desk.start(&text(2, "").replace("@APP", &format!("'127.0.0.1:{port}'")), &[]);
    let mut client = tidegate.client();
    let answer = client.ask("GET /a?b=c HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!((answer.status, answer.text().as_str()), (200, "a.test"));
    assert_eq!((answer.fields.value("server"), answer.fields.value("x-asked")), (Some("aioquic"), Some("/a?b=c")));
    let answer = client.ask("GET /early HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!((answer.status, answer.interim.len(), answer.fields.value("x-asked")), (200, 1, Some("/early")));
    assert_eq!((answer.interim[0].status, answer.interim[0].fields.value("link")), (103, Some("</style.css>")));
    let answer = client.ask("GET /trailers HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    assert_eq!((answer.text().as_str(), answer.trailers.value("x-sum")), ("a.test", Some("42")));
    // Larger than any window, both ways, many at a time over one connection.
    let body = "y".repeat(1_500_000);
    std::thread::scope(|scope| {
        for number in 0..5 {
            let (tidegate, body) = (&tidegate, &body[number..]);
            scope.spawn(move || {
                let head = format!("POST /{number} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len());
                let answer = tidegate.client().ask(&(head + body));
                assert!(answer.status == 200 && answer.body == body.as_bytes(), "{number}: {}", answer.body.len());
            });
        }
    });
    let line = tidegate.log_of("/early");
    assert_eq!((&line["status"], &line["tries"], &line["server"]), (&200.into(), &1.into(), &"s".into()), "{line}");
}
