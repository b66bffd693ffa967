//! Clients that others have written, through the proxy.

pub(super) mod browser;
pub(super) mod packages;

use std::io::Write as _;
use std::process::{Command, Stdio};

use testkit::{Server, ServerTls, ok, python, tool};

use super::{OPEN, port, proxy};
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

/// What another program says, if it ends well; none if it is not there.
pub(super) fn said(command: Option<Command>, arguments: &[&str]) -> Option<String> {
    let output = command?.args(arguments).stdin(Stdio::null()).output().expect("a client that runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    Some(said)
}

#[test]
fn requests_of_python_go_by_the_proxy_in_plain_and_by_tunnel() {
    let desk = Desk::new();
    let plain = Server::named("plain");
    let secured = Server::secured(&ServerTls::new(&desk.issue("a", &["a.test"])), |peer| {
        while peer.request().is_some() {
            peer.send(ok("secured"));
        }
    });
    let tidegate = proxy("");
    const ASK: &str = "
import requests, sys
by, ca, *urls = sys.argv[1:]
session = requests.Session()
session.proxies = {'http': by, 'https': by}
for url in urls + urls:
    answer = session.get(url, verify=ca, timeout=20)
    print(answer.status_code, answer.text)
refused = session.get('http://nobody.test/', timeout=20)
print(refused.status_code)
try:
    session.get('https://b.test:1/', timeout=20)
except requests.exceptions.ProxyError as fault:
    print('refused' if '403' in str(fault) else fault)
";
    let by = format!("http://{}", tidegate.address("web"));
    let ca = desk.folder.path().join("ca.pem").display().to_string();
    let urls = [format!("http://a.test:{}/", port(&plain)), format!("https://a.test:{}/", port(&secured))];
    let Some(said) = said(python("requests"), &["-c", ASK, &by, &ca, &urls[0], &urls[1]]) else { return };
    assert_eq!(said, "200 plain\n200 secured\n200 plain\n200 secured\n502\nrefused\n");
}

#[test]
fn requests_of_python_go_by_socks_with_names_that_the_proxy_looks_up() {
    let desk = Desk::new();
    let plain = Server::named("plain");
    let secured = Server::secured(&ServerTls::new(&desk.issue("a", &["a.test"])), |peer| {
        while peer.request().is_some() {
            peer.send(ok("secured"));
        }
    });
    let people = crate::users::Files::new();
    let asking =
        OPEN.replace("@MORE", "use: [{ basic_auth: { users: '@DIR/people', realm: office } }]\n    to: origin");
    let tidegate = people.start(&asking, &[]);
    // Nothing of the machine's environment decides, only what is written here.
    const ASK: &str = "
import requests, sys
from urllib3.exceptions import NewConnectionError
by, ca, *urls = sys.argv[1:]
def ask(who, url):
    session = requests.Session()
    session.trust_env = False
    session.proxies = {'http': f'socks5h://{who}{by}', 'https': f'socks5h://{who}{by}'}
    try:
        answer = session.get(url, verify=ca, timeout=20)
        print(answer.status_code, answer.text)
    except requests.exceptions.ConnectionError as fault:
        print('refused')
for url in urls:
    ask('ann:sesame@', url)
ask('ann:wrong@', urls[0])
ask('', urls[0])
ask('ann:sesame@', 'http://nobody.test/')
";
    let ca = desk.folder.path().join("ca.pem").display().to_string();
    let urls = [format!("http://a.test:{}/", port(&plain)), format!("https://a.test:{}/", port(&secured))];
    // Requests say that SOCKS is not there only when they are made.
    if python("socks").is_none() {
        return;
    }
    let Some(said) = said(python("requests"), &["-c", ASK, &tidegate.address("web"), &ca, &urls[0], &urls[1]]) else {
        return;
    };
    assert_eq!(said, "200 plain\n200 secured\nrefused\nrefused\nrefused\n");
    assert_eq!((plain.requests().len(), secured.requests().len()), (1, 1));
}

/// What a server says to openssl that reaches it through a tunnel, whose chain must be believed.
pub(super) fn openssl(proxy: &[&str], ca: &str, host: &str, port: &str) -> Option<String> {
    let mut openssl = tool("openssl")?;
    openssl.args(["s_client", "-connect", &format!("{host}:{port}"), "-servername", host, "-verify_hostname", host]);
    openssl.args(["-CAfile", ca, "-verify_return_error", "-ign_eof"]).args(proxy);
    let mut openssl = openssl
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a client that starts");
    let mut asking = openssl.stdin.take().expect("its input");
    // One that has given up reads no more.
    let _ =
        asking.write_all(format!("GET /by/openssl HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes());
    let output = openssl.wait_with_output().expect("a client that ends");
    Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn openssl_opens_a_tunnel_and_shakes_hands_with_the_server_itself() {
    let desk = Desk::new();
    let server = Server::secured(&ServerTls::new(&desk.issue("a", &["a.test"])), |peer| {
        if peer.request().is_some() {
            peer.send(ok("by openssl"));
        }
    });
    let people = crate::users::Files::new();
    let asking =
        OPEN.replace("@MORE", "use: [{ basic_auth: { users: '@DIR/people', realm: office } }]\n    to: origin");
    let tidegate = people.start(&asking, &[]);
    let (by, ca) = (tidegate.address("web"), desk.folder.path().join("ca.pem").display().to_string());
    let pass = people.0.write("pass", "sesame\n").display().to_string();
    let known = ["-proxy", &by, "-proxy_user", "ann", "-proxy_pass", &format!("file:{pass}")];
    let Some(said) = openssl(&known, &ca, "a.test", port(&server)) else { return };
    assert!(said.contains("Verify return code: 0 (ok)") && said.contains("an authority of tests"), "{said}");
    assert!(said.contains("HTTP/1.1 200 OK") && said.contains("by openssl"), "{said}");
    let line = tidegate.log_line("the tunnel", |line| line["method"] == "CONNECT" && line["user"] == "ann");
    assert_eq!((&line["host"], &line["status"]), (&"a.test".into(), &200.into()));
    let said = openssl(&["-proxy", &by], &ca, "a.test", port(&server)).expect("it was there");
    assert!(said.contains("407"), "{said}");
    assert_eq!(server.connections(), 1);
}
