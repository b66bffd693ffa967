//! Filters of responses inside of tunnels that are read.

use testkit::{Server, ServerTls};

use super::{Office, READING};

#[test]
fn words_are_found_inside_of_a_tunnel_that_is_read() {
    let office = Office::new();
    let server = Server::secured(&ServerTls::new(&office.desk.authority.issue(&["a.test"])), |peer| {
        while let Some(request) = peer.request() {
            let said = if request.target == "/bad" { "the forbidden fruit" } else { "a page" };
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{said}",
                said.len()
            ));
        }
    });
    let path = office.desk.folder.path().join("w.txt");
    std::fs::write(&path, "forbidden fruit\n").expect("a written list");
    let text = READING
        .replace("@MORE", "")
        .replace("    routes:", "    use: [{ filter: { words: w, types: video/* } }]\n    routes:")
        + &format!("lists: {{ w: {{ file: '{}', format: words }} }}\n", path.display());
    let tidegate = office.desk.start(&text, &[]);
    let mut client = office.inside(&tidegate, "a.test", &server);
    let ask = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.ask(ask("/good")).text(), "a page");
    assert_eq!(client.ask(ask("/bad")).text(), "403: blocked: rule `forbidden fruit` of list `w`\n");
    let line = tidegate.log_of("/bad");
    assert_eq!((&line["interception"], &line["rule"]), (&"intercepted".into(), &"forbidden fruit".into()));
}
