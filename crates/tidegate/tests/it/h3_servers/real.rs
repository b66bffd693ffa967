//! A server of HTTP/3 of another making.

use testkit::{Ending, Process, Tidegate, python};

use super::text;
use crate::tls::Desk;

/// The program with so many workers in front of that server; none if it is not installed.
fn before_aioquic(desk: &Desk, workers: u32, pool: &str) -> Option<(Process, Tidegate)> {
    let mut aioquic = python("aioquic")?;
    desk.issue("origin", &["origin.test"]);
    let script = desk.folder.write("server.py", include_str!("aioquic.py"));
    let folder = desk.folder.path();
    aioquic.arg(script).arg(folder.join("origin.pem")).arg(folder.join("origin.key"));
    let (server, port) = Process::saying(&mut aioquic);
    Some((server, desk.start(&text(workers, pool).replace("@APP", &format!("'127.0.0.1:{port}'")), &[])))
}

#[test]
fn aioquic_is_asked_and_answers() {
    let desk = Desk::new();
    let Some((_server, tidegate)) = before_aioquic(&desk, 2, "") else { return };
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

#[test]
fn aioquic_gives_up_streams_and_closes_connections() {
    let desk = Desk::new();
    let Some((server, tidegate)) = before_aioquic(&desk, 1, "") else { return };
    let mut client = tidegate.client();
    let mut by = |target: &str| {
        let answer = client.get(target);
        (answer.status, answer.fields.value("x-connection").map(str::to_owned))
    };
    let on = |number: &str| (200, Some(number.to_owned()));
    assert_eq!(by("/"), on("1"));
    assert_eq!(by("/reset").0, 502);
    assert_eq!(tidegate.log_of("/reset")["fault"], "reset");
    assert_eq!(by("/"), on("1"), "the others of its connection are not touched");
    let mut cut = tidegate.client();
    cut.send("GET /cut HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!((cut.head().status, cut.exactly(4)), (200, b"half".to_vec()));
    assert!(matches!(cut.ending(), Ending::Clean | Ending::Reset));
    // It closes behind its answer, and each next request has another connection.
    for number in 1..=20 {
        assert_eq!(by("/leave"), on(&number.to_string()), "{number}");
    }
    // A server that is gone is a fault, and no wait.
    drop(server);
    assert_eq!(by("/gone").0, 502);
}
