//! Servers at the other end: what clients are shown of them, and of those that cannot be believed.

use std::time::Duration;

use testkit::{Authority, Refusing, Server, ServerTls, Tidegate, ok};

use super::super::port;
use super::{Office, line_of_tunnel, page, saying, stranger, tunnel};
use crate::tls::was_shown;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn what_is_wrong_with_a_server_is_said_and_never_hidden() {
    let office = Office::new();
    let tidegate = office.start("");
    let authority = &office.desk.authority;
    let cases = [
        (authority.issue_from(&["a.test"], 9 * DAY, 8 * DAY), "the server's certificate has expired"),
        (authority.issue_from(&["a.test"], Duration::ZERO, 8 * DAY), ""),
        (authority.issue(&["b.test"]), "the server's certificate is for another name"),
        (stranger().issue(&["a.test"]), "the server's certificate is signed by no authority that we believe"),
        (
            Authority::alone(&["a.test"], 2, 1),
            "the server's certificate is an authority's (`CA:TRUE`), and of none that we believe",
        ),
    ];
    for (issued, wrong) in &cases {
        let server = saying(issued);
        let mut client = office.inside(&tidegate, "a.test", &server);
        for _ in 0..2 {
            let answer = client.ask(page("a.test", "/secret"));
            let wanted = match *wrong {
                "" => (200, "/secret ".to_owned()),
                wrong => (502, format!("502: server_tls: {wrong}\n")),
            };
            assert_eq!((answer.status, answer.text()), wanted);
        }
        // What is refused by a route is that all the same.
        assert_eq!(client.ask(page("a.test", "/private/x")).status, 403);
        assert_eq!(server.requests().iter().any(|request| request.target == "/secret"), wrong.is_empty());
        if !wrong.is_empty() {
            let line = tidegate.log_line(wrong, |line| line["path"] == "/secret" && line["reason"] == *wrong);
            assert_eq!((&line["fault"], &line["interception"]), (&"server_tls".into(), &"intercepted".into()));
        }
    }
}

#[test]
fn a_server_without_tls_or_without_a_word_is_no_server_of_https() {
    let office = Office::new();
    let plain = Server::script(|peer| {
        let _ = peer.reader.fill();
        peer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    let gone = Server::script(|peer| {
        let _ = peer.reader.fill();
    });
    let tidegate = office.start("");
    for (server, wrong) in
        [(&plain, "what the server says is not TLS"), (&gone, "the server has broken off the handshake of TLS")]
    {
        let answer = office.inside(&tidegate, "a.test", server).ask(page("a.test", "/"));
        assert_eq!((answer.status, answer.text()), (502, format!("502: server_tls: {wrong}\n")));
    }
    let dead = Refusing::new();
    let status =
        tidegate.client().ask(format!("CONNECT a.test:{0} HTTP/1.1\r\nHost: a.test:{0}\r\n\r\n", port(&dead))).status;
    assert_eq!(status, 502, "who is not there is said as without interception");
}

#[test]
pub(crate) fn whoever_is_excepted_is_not_read() {
    let office = Office::new();
    let (server, issued) = office.server(&["www.bank.test"]);
    let tidegate = office.start("");
    let tls = testkit::ClientTls::new(&office.desk.authority, "www.bank.test");
    let mut client = tunnel(&tidegate, "www.bank.test", &server).begin(&tls).expect("the server itself");
    assert!(was_shown(&client, &issued));
    assert_eq!(client.ask(page("www.bank.test", "/private/account")).status, 200, "nobody here knows the path");
    drop(client);
    let line = line_of_tunnel(&tidegate, "www.bank.test");
    assert_eq!(line["interception"], "excepted");
    // To lie about one's name excepts nobody.
    let (other, _) = office.server(&["a.test"]);
    let lying = tunnel(&tidegate, "a.test", &other).begin(&office.client("www.bank.test"));
    let answer = lying.expect("we end it").ask(page("a.test", "/private/account"));
    assert_eq!(answer.status, 403);
    // Nor to say one's name at an address that it has not; at its own it does.
    let (far, _) = office.server(&["far.bank.test"]);
    let lying = tunnel(&tidegate, "127.0.0.1", &far).begin(&office.client("far.bank.test"));
    assert_eq!(lying.expect("we end it").ask(page("far.bank.test", "/private/account")).status, 403);
    let unknown = tunnel(&tidegate, "127.0.0.1", &other).begin(&office.client("no.bank.test"));
    assert_eq!(unknown.expect("we end it").ask(page("no.bank.test", "/private/account")).status, 403);
    let mut client = tunnel(&tidegate, "127.0.0.1", &server).begin(&tls).expect("the server itself");
    assert_eq!(client.ask(page("www.bank.test", "/private/account")).status, 200);
    drop(client);
    tidegate.log_line("it is not read", |line| line["host"] == "127.0.0.1" && line["interception"] == "excepted");
}

#[test]
fn what_clients_are_shown_has_the_servers_names() {
    let office = Office::new();
    let (server, _) = office.server(&["a.test", "*.c.test", "127.0.0.1"]);
    let tidegate = office.start("");
    let Some(mut openssl) = testkit::tool("openssl") else { return };
    let ca = office.desk.folder.path().join("own/ca.pem").display().to_string();
    let output = openssl
        .args(["s_client", "-proxy", &tidegate.address("web"), "-connect", &format!("a.test:{}", port(&server))])
        .args([
            "-servername",
            "a.test",
            "-CAfile",
            &ca,
            "-verify_hostname",
            "x.c.test",
            "-verify_return_error",
            "-alpn",
            "h2,http/1.1",
        ])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("a client that runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("Verify return code: 0 (ok)") && said.contains("ALPN protocol: h2"), "{said}");
    assert!(said.contains("Verified peername: *.c.test"), "{said}");
    let shown = said[said.find("-----BEGIN").expect("a certificate")..].to_owned();
    let shown = &shown[..shown.find("-----END CERTIFICATE-----").expect("its end") + 25];
    office.desk.folder.write("shown.pem", shown);
    let file = office.desk.folder.path().join("shown.pem").display().to_string();
    let mut openssl = testkit::tool("openssl").expect("the same");
    let output = openssl.args(["x509", "-noout", "-ext", "subjectAltName", "-in", &file]).output().expect("a tool");
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(names.contains("DNS:a.test, DNS:*.c.test, IP Address:127.0.0.1"), "{names}");
}

#[test]
fn both_sides_agree_on_their_version_for_themselves() {
    let office = Office::new();
    let Some(curl) = testkit::tool("curl") else { return };
    drop(curl);
    office.desk.issue("a", &["a.test"]);
    // A server of HTTP/2 and HTTP/1.1, and one of HTTP/1.1 alone, which no client of HTTP/2 has to know.
    let both = origin(&office, "");
    let old = origin(&office, ", http: h1");
    let tidegate = office.start("");
    for (server, upstream) in [(&both, "2"), (&old, "1.1")] {
        for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
            let path = format!("/{upstream}/{version}");
            let url = |path: &str| {
                format!("https://a.test:{}{path}", server.address("web").rsplit(':').next().expect("a port"))
            };
            let said = super::clients::curl(&office, &tidegate, &[option, "-w", " %{http_version}"], &url(&path))
                .expect("it is there");
            assert_eq!(said, format!("here {version}"), "{path}");
            let wanted = if upstream == "2" && version == "2" { "2" } else { "1.1" };
            assert_eq!(server.log_of(&path)["version"], wanted, "what a client does not offer, its server is not");
            assert_eq!(
                super::clients::curl(&office, &tidegate, &[option], &url("/private/x")).as_deref(),
                Some("403: not for you\n")
            );
        }
    }
}

/// A server that is a program of ours: one of HTTP/2 under TLS.
fn origin(office: &Office, more: &str) -> Tidegate {
    let text = format!(
        "certificates: {{ a: {{ cert: '@DIR/a.pem', key: '@DIR/a.key' }} }}\nlisteners: {{ web: {{ bind: 127.0.0.1:0, tls: a, respond: {{ body: here }}{more} }} }}\n"
    );
    office.desk.start(&text, &[])
}

#[test]
fn a_later_connection_of_http_2_that_is_not_believed_says_why() {
    let office = Office::new();
    let Some(curl) = testkit::tool("curl") else { return };
    drop(curl);
    office.desk.issue("a", &["a.test"]);
    stranger().issue(&["a.test"]).write(&office.desk.folder, "b");
    let text = |file: &str| {
        office.desk.text(
            &format!(
                "certificates: {{ a: {{ cert: '@DIR/{file}.pem', key: '@DIR/{file}.key' }} }}\nlisteners: {{ web: {{ bind: 127.0.0.1:0, tls: a, timeouts: \
                 {{ keep_alive: 50ms }}, respond: {{ body: here }} }} }}\n"
            ),
            &[],
        )
    };
    let server = crate::support::start(&text("a"), &[]);
    let tidegate = office.start("");
    let ask = |path: &str| {
        let port = server.address("web").rsplit(':').next().expect("a port").to_owned();
        super::clients::curl(
            &office,
            &tidegate,
            &["--http2", "-w", " %{http_code}"],
            &format!("https://a.test:{port}{path}"),
        )
    };
    assert_eq!(ask("/one").as_deref(), Some("here 200"));
    assert_eq!(server.log_of("/one")["version"], "2");
    testkit::until("that connection has ended", || {
        server.metric("tidegate_connections", &["listener=\"web\""]).iter().sum::<f64>() == 0.0
    });
    assert_eq!(server.reload(&text("b")), testkit::Reloaded::Yes);
    // What it has shown is remembered, and the client is let in by that.
    let wrong = "the server's certificate is signed by no authority that we believe";
    assert_eq!(ask("/two").as_deref(), Some(&*format!("502: server_tls: {wrong}\n 502")));
    let line = tidegate.log_of("/two");
    assert_eq!((&line["fault"], &line["reason"]), (&"server_tls".into(), &wrong.into()));
}

#[test]
fn a_server_that_becomes_another_is_judged_again() {
    let office = Office::new();
    let good = office.desk.authority.issue(&["a.test"]);
    let bad = stranger().issue(&["a.test"]);
    let turn = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let [good, bad] = [good, bad].map(|issued| ServerTls::new(&issued));
    // Who has the port decides by connection whom it shows.
    let count = std::sync::Arc::clone(&turn);
    let server = Server::script(move |peer| {
        let tls = if count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 { &good } else { &bad };
        let mut talk = testkit::Talk::of(peer);
        if talk.begun(tls).is_err() {
            return;
        }
        loop {
            match talk.line().as_str() {
                "" => break,
                _ => continue,
            }
        }
        talk.say([&ok("good")[..]].concat());
    });
    let tidegate = office.start("");
    assert_eq!(office.inside(&tidegate, "a.test", &server).ask(page("a.test", "/")).text(), "good");
    // What it has shown is remembered, and that connection has ended: the next one is not believed, and the next tunnel does not begin
    // with what was remembered.
    for _ in 0..2 {
        let answer = office.inside(&tidegate, "a.test", &server).ask(page("a.test", "/"));
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (502, "502: server_tls: the server's certificate is signed by no authority that we believe\n")
        );
    }
}
