//! Clients that others have written, through the proxy.

use std::process::Stdio;

use testkit::{Server, ServerTls, ok, tool};

use super::{OPEN, port};
use crate::tls::Desk;

/// What curl says of a page that it was led to by these options.
fn curl(desk: &Desk, options: &[&str], url: &str) -> Option<String> {
    let mut curl = tool("curl")?;
    curl.args(["-sS", "--max-time", "20", "--cacert"]).arg(desk.folder.path().join("ca.pem"));
    let output = curl.args(options).arg(url).stdin(Stdio::null()).output().expect("a client that runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{options:?} {url}: {said}");
    Some(said)
}

#[test]
fn curl_reaches_pages_in_plain_and_under_tls_by_a_proxy_in_plain_and_under_tls() {
    let desk = Desk::new();
    let plain = Server::named("plain");
    let secured = Server::secured(&ServerTls::new(&desk.issue("a", &["a.test"])), |peer| {
        while peer.request().is_some() {
            peer.send(ok("secured"));
        }
    });
    let more = "to: origin\n  tls: { bind: 127.0.0.1:0, role: forward, tls: main, egress: { allow: [127.0.0.0/8], connect_ports: 1024-65535 }, to: origin }";
    let text = format!(
        "certificates: {{ main: {{ cert: '@DIR/main.pem', key: '@DIR/main.key' }} }}\n{}",
        OPEN.replace("@MORE", more)
    );
    let tidegate = desk.start(&text, &[]);
    let resolve = format!("example.com:{}:127.0.0.1", tidegate.address("tls").rsplit(':').next().expect("a port"));
    let by_tls = format!("https://example.com:{}", tidegate.address("tls").rsplit(':').next().expect("a port"));
    let ca = desk.folder.path().join("ca.pem").display().to_string();
    let by_plain = format!("http://{}", tidegate.address("web"));
    let ways: [&[&str]; 3] = [
        &["-x", &by_plain],
        &["-x", &by_tls, "--proxy-cacert", &ca, "--resolve", &resolve],
        &["-x", &by_tls, "--proxy-cacert", &ca, "--resolve", &resolve, "--proxy-http2"],
    ];
    for way in ways {
        if way.contains(&"--proxy-http2") && !knows(way[way.len() - 1]) {
            continue;
        }
        let Some(said) = curl(&desk, way, &format!("http://a.test:{}/", port(&plain))) else { return };
        assert_eq!(said, "plain", "{way:?}");
        assert_eq!(
            curl(&desk, way, &format!("https://a.test:{}/", port(&secured))).as_deref(),
            Some("secured"),
            "{way:?}"
        );
    }
}

#[test]
fn curl_reaches_pages_by_socks_in_each_of_its_ways() {
    let desk = Desk::new();
    let plain = Server::named("plain");
    let secured = Server::secured(&ServerTls::new(&desk.issue("a", &["a.test", "127.0.0.1"])), |peer| {
        while peer.request().is_some() {
            peer.send(ok("secured"));
        }
    });
    let tidegate = super::proxy("");
    let by = tidegate.address("web");
    let ways: [(&[&str], &str); 5] = [
        (&["--socks4", &by], "127.0.0.1"),
        (&["--socks4a", &by], "a.test"),
        (&["--socks5", &by], "127.0.0.1"),
        (&["--socks5-hostname", &by], "a.test"),
        (&["--socks5-hostname", &by, "--proxy-user", "me:secret"], "a.test"),
    ];
    for (way, host) in ways {
        let Some(said) = curl(&desk, way, &format!("http://{host}:{}/", port(&plain))) else { return };
        assert_eq!(said, "plain", "{way:?}");
        let said = curl(&desk, way, &format!("https://{host}:{}/", port(&secured)));
        assert_eq!(said.as_deref(), Some("secured"), "{way:?}");
    }
    let files = crate::users::Files::new();
    let asking =
        OPEN.replace("@MORE", "use: [{ basic_auth: { users: '@DIR/people', realm: office } }]\n    to: origin");
    let tidegate = files.start(&asking, &[]);
    let way = ["--socks5-hostname", &tidegate.address("web"), "--proxy-user", "ann:sesame"];
    assert_eq!(curl(&desk, &way, &format!("http://a.test:{}/", port(&plain))).as_deref(), Some("plain"));
    tidegate.log_line("a user", |line| line["user"] == "ann");
}

/// Whether curl has an option.
fn knows(option: &str) -> bool {
    tool("curl").is_some_and(|mut curl| {
        let help = curl.args(["--help", "all"]).output().expect("a client that runs");
        String::from_utf8_lossy(&help.stdout).contains(option)
    })
}
