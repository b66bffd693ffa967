//! Clients that others have written, through the proxy.

use std::path::Path;
use std::process::{Command, Stdio};

use testkit::{Folder, Server, ServerTls, ok, python, tool};

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
fn said(command: Option<Command>, arguments: &[&str]) -> Option<String> {
    let output = command?.args(arguments).stdin(Stdio::null()).output().expect("a client that runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    Some(said)
}

/// A server of the files of a folder, as they are.
fn files(folder: &Path) -> Server {
    let folder = folder.to_owned();
    Server::http(move |request| {
        let path = request.target.split('?').next().expect("a path").trim_matches('/');
        assert!(!path.contains(".."), "{path}");
        let mut file = folder.join(path);
        if file.is_dir() {
            file.push("index.html");
        }
        match std::fs::read(&file) {
            Ok(content) if file.extension().is_some_and(|end| end == "html") => page(&content),
            Ok(content) => ok(content),
            Err(_) => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        }
    })
}

fn page(content: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n", content.len());
    [head.as_bytes(), content].concat()
}

#[test]
fn git_clones_by_the_proxy() {
    let folder = Folder::new();
    let place = |name: &str| folder.path().join(name).display().to_string();
    let (work, bare, copy) = (place("work"), place("it.git"), place("copy"));
    let git = |arguments: &[&str]| {
        let mut git = tool("git")?;
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null").env("no_proxy", "");
        said(Some(git), arguments)
    };
    let Some(_) = git(&["init", "-q", &work]) else { return };
    let who = ["-c", "user.name=a", "-c", "user.email=a@a.test", "-C", &work];
    folder.write("work/file", "what is in it\n");
    git(&[&who[..], &["add", "file"]].concat());
    git(&[&who[..], &["commit", "-q", "-m", "it"]].concat());
    git(&["clone", "-q", "--bare", &work, &bare]);
    git(&["-C", &bare, "update-server-info"]);
    let server = files(folder.path());
    let tidegate = proxy("");
    let by = format!("http.proxy=http://{}", tidegate.address("web"));
    git(&["-c", &by, "clone", "-q", &format!("http://a.test:{}/it.git", port(&server)), &copy]);
    let copied = std::fs::read_to_string(folder.path().join("copy/file")).expect("the file");
    assert_eq!(copied, "what is in it\n");
    assert!(tidegate.log_of("/it.git/info/refs")["pool"] == "origin");
}

#[test]
fn pip_installs_by_the_proxy() {
    let folder = Folder::new();
    let place = folder.path().display().to_string();
    const WHEEL: &str = "
import sys, zipfile
info = 'tidal-1.0.dist-info/'
with zipfile.ZipFile(sys.argv[1] + '/tidal-1.0-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('tidal.py', 'here = 42\\n')
    wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: tidal\\nVersion: 1.0\\n')
    wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: a\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(info + 'RECORD', '')
";
    let Some(_) = said(python("pip"), &["-c", WHEEL, &place]) else { return };
    std::fs::create_dir_all(folder.path().join("simple/tidal")).expect("a folder");
    folder.write("simple/tidal/index.html", "<a href=\"/tidal-1.0-py3-none-any.whl\">tidal-1.0-py3-none-any.whl</a>");
    let server = files(folder.path());
    let tidegate = proxy("");
    let (by, index) =
        (format!("http://{}", tidegate.address("web")), format!("http://a.test:{}/simple", port(&server)));
    let into = folder.path().join("into").display().to_string();
    let mut arguments =
        vec!["-m", "pip", "--isolated", "--disable-pip-version-check", "install", "-q", "--no-cache-dir"];
    arguments.extend(["--proxy", &by, "--index-url", &index, "--trusted-host", "a.test", "--target", &into, "tidal"]);
    said(python("pip"), &arguments);
    assert_eq!(std::fs::read_to_string(folder.path().join("into/tidal.py")).expect("a module"), "here = 42\n");
    assert_eq!(tidegate.log_of("/tidal-1.0-py3-none-any.whl")["host"], "a.test");
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

/// A browser without a window and without any wish of its own.
fn chromium(folder: &Folder) -> Option<Command> {
    let mut browser = tool("chromium").or_else(|| tool("chromium-browser"))?;
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
    browser.args([
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--timeout=60000",
    ]);
    browser.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
    Some(browser)
}

const PAGE: &[u8] =
    b"<!doctype html><p id=said>nothing</p><script src=/script.js></script><script>document.getElementById('said').textContent = 'loaded ' + it</script>";

fn site() -> Server {
    Server::http(|request| match request.target.as_str() {
        "/" => page(PAGE),
        "/script.js" => ok("const it = 'both'"),
        _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
    })
}

#[test]
fn chromium_loads_a_page_by_the_proxy_and_says_to_servers_what_it_says_without() {
    let (folder, server) = (Folder::new(), site());
    let tidegate = proxy("forwarding: elite\n    to: origin");
    let url = format!("http://a.test:{}/", port(&server));
    let by = format!("--proxy-server=http://{}", tidegate.address("web"));
    let Some(page) = said(chromium(&folder), &[&by, "--dump-dom", &url]) else { return };
    assert!(page.contains("loaded both"), "{page}");
    let of = |target: &str| {
        let requests = server.requests();
        requests.iter().rev().find(|request| request.target == target).expect("a request").fields.clone()
    };
    let by_proxy = [of("/"), of("/script.js")];
    let without = Folder::new();
    let page = said(
        chromium(&without),
        &["--no-proxy-server", "--host-resolver-rules=MAP a.test 127.0.0.1", "--dump-dom", &url],
    );
    assert!(page.is_some_and(|page| page.contains("loaded both")));
    assert_eq!(by_proxy, [of("/"), of("/script.js")]);
    assert!(by_proxy[0].has("connection"), "{by_proxy:?}");
}

#[test]
fn chromium_finds_the_proxy_by_its_file() {
    let (folder, server, near) = (Folder::new(), site(), site());
    let tidegate = proxy("pac: { direct: near.test }\n    to: origin");
    let file = format!("--proxy-pac-url=http://{}/proxy.pac", tidegate.address("web"));
    let url = format!("http://a.test:{}/", port(&server));
    let Some(page) = said(chromium(&folder), &[&file, "--dump-dom", &url]) else { return };
    assert!(page.contains("loaded both"), "{page}");
    assert_eq!(tidegate.log_of("/script.js")["host"], "a.test");
    assert!(server.requests().iter().all(|request| request.fields.has("via")));
    let url = format!("http://near.test:{}/", port(&near));
    let page = said(chromium(&folder), &[&file, "--host-resolver-rules=MAP near.test 127.0.0.1", "--dump-dom", &url]);
    assert!(page.is_some_and(|page| page.contains("loaded both")));
    assert!(near.requests().iter().all(|request| !request.fields.has("via")));
}
