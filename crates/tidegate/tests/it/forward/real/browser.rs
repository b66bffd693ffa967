//! A browser: what it shows by the proxy, and what it says to servers.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{Folder, Server, ok, tool};

use super::packages::page;
use super::said;
use crate::forward::{OPEN, port, proxy};
use crate::support::start;

/// A browser without a window and without any wish of its own.
pub(crate) fn chromium(home: &Path) -> Option<Command> {
    let mut browser = tool("chromium").or_else(|| tool("chromium-browser"))?;
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
    browser.args([
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--timeout=60000",
    ]);
    browser.arg(format!("--user-data-dir={}", home.join("profile").display()));
    Some(browser)
}

const PAGE: &[u8] =
    b"<!doctype html><p id=said>nothing</p><script src=/script.js></script><script>document.getElementById('said').textContent = 'loaded ' + it</script>";

pub(crate) fn site() -> Server {
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
    let Some(page) = said(chromium(folder.path()), &[&by, "--dump-dom", &url]) else { return };
    assert!(page.contains("loaded both"), "{page}");
    let of = |target: &str| {
        let requests = server.requests();
        requests.iter().rev().find(|request| request.target == target).expect("a request").fields.clone()
    };
    let by_proxy = [of("/"), of("/script.js")];
    let without = Folder::new();
    let page = said(
        chromium(without.path()),
        &["--no-proxy-server", "--host-resolver-rules=MAP a.test 127.0.0.1", "--dump-dom", &url],
    );
    assert!(page.is_some_and(|page| page.contains("loaded both")));
    assert_eq!(by_proxy, [of("/"), of("/script.js")]);
    assert!(by_proxy[0].has("connection"), "{by_proxy:?}");
}

/// Where pictures of pages go, so that somebody can look at them.
fn picture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
    std::fs::create_dir_all(&folder).expect("a folder");
    folder.join(name)
}

/// A page as the browser has it, while a picture is taken of it in a window of this size.
pub(crate) fn pictured(browser: Option<Command>, name: &str, size: [u32; 2], options: &[&str]) -> Option<String> {
    let picture = picture(name);
    let _ = std::fs::remove_file(&picture);
    let (window, shot) =
        (format!("--window-size={},{}", size[0], size[1]), format!("--screenshot={}", picture.display()));
    let page = said(browser, &[&["--dump-dom", &window, &shot], options].concat())?;
    let png = std::fs::read(&picture).expect("a picture");
    // The signature, and the first piece with width and height.
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "{}", picture.display());
    assert_eq!([16, 20].map(|at| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"))), size);
    Some(page)
}

const DESKTOP: [u32; 2] = [1280, 800];
const PHONE: [u32; 2] = [390, 844];

/// What people see who are refused by a list, on each kind of screen.
pub(crate) fn sees_the_block_page(
    browser: impl Fn() -> Option<Command>,
    name: &str,
    options: &[&str],
    url: &str,
    rule: &str,
) -> Option<()> {
    for (kind, size, more) in [
        ("desktop", DESKTOP, None),
        ("phone", PHONE, None),
        ("phone-dark", PHONE, Some("--blink-settings=preferredColorScheme=0")),
    ] {
        let options: Vec<&str> = options.iter().copied().chain(more).chain([url]).collect();
        let page = pictured(browser(), &format!("{name}-{kind}.png"), size, &options)?;
        let host = url.split('/').nth(2).and_then(|place| place.split(':').next()).expect("a host");
        let rule = rule.replace('<', "&lt;").replace('>', "&gt;");
        for part in [
            "<h1>This page is blocked</h1>".to_owned(),
            "<p class=\"reason\">Not &lt;b&gt;here&lt;/b&gt;.</p>".to_owned(),
            format!("<dt>Site</dt><dd>{host}</dd>"),
            "<dt>List</dt><dd>ads</dd>".to_owned(),
            format!("<dt>Rule</dt><dd><code>{rule}</code></dd>"),
            "Ask <a href=\"mailto:it@example.com\">it@example.com</a>".to_owned(),
        ] {
            assert!(page.contains(&part), "{part}: {page}");
        }
    }
    Some(())
}

/// How a route refuses what stands on the list.
pub(crate) const REFUSING: &str =
    "{ match: { url: { list: ads } }, deny: { status: 403, reason: Not <b>here</b>., contact: it@example.com } }";

#[test]
fn chromium_shows_a_page_by_the_proxy_and_says_who_has_blocked_another() {
    let (folder, server) = (Folder::new(), site());
    folder.write("ads.txt", "||ads.test^\n||b.test/<i>\n");
    let routes = format!("pac: {{}}\n    routes: [{REFUSING}, {{ to: origin }}]");
    let lists = format!("lists: {{ ads: {{ file: {}/ads.txt, format: adblock }} }}\n", folder.path().display());
    let tidegate = start(&(OPEN.replace("@MORE", &routes) + &lists), &[]);
    let by = format!("--proxy-server=http://{}", tidegate.address("web"));
    let url = format!("http://a.test:{}/", port(&server));
    let Some(page) = pictured(chromium(folder.path()), "page.png", DESKTOP, &[&by, &url]) else { return };
    assert!(page.contains("loaded both"), "{page}");
    let shown = sees_the_block_page(
        || chromium(folder.path()),
        "blocked",
        &[&by],
        "http://a-long-name-of-a-server-for-banners.and-more.ads.test/banner",
        "||ads.test^",
    );
    assert!(shown.is_some(), "it was there");
    assert_eq!(tidegate.log_of("/banner")["rule"], "||ads.test^");
    assert_eq!(server.requests().iter().filter(|request| request.target == "/").count(), 1);
    // The same by the file that says where the proxy is.
    let file = format!("--proxy-pac-url=http://{}/proxy.pac", tidegate.address("web"));
    for (name, url, seen) in [
        ("page-by-file.png", url.as_str(), "loaded both"),
        ("blocked-by-file.png", "http://x.ads.test/by/file", "<dt>Site</dt><dd>x.ads.test</dd>"),
    ] {
        let page = pictured(chromium(folder.path()), name, DESKTOP, &[&file, url]).expect("it was there");
        assert!(page.contains(seen), "{page}");
    }
    assert_eq!(tidegate.log_of("/by/file")["list"], "ads");
}

#[test]
fn chromium_finds_the_proxy_by_its_file() {
    let (folder, server, near) = (Folder::new(), site(), site());
    let tidegate = proxy("pac: { direct: near.test }\n    to: origin");
    let file = format!("--proxy-pac-url=http://{}/proxy.pac", tidegate.address("web"));
    let url = format!("http://a.test:{}/", port(&server));
    let Some(page) = said(chromium(folder.path()), &[&file, "--dump-dom", &url]) else { return };
    assert!(page.contains("loaded both"), "{page}");
    assert_eq!(tidegate.log_of("/script.js")["host"], "a.test");
    assert!(server.requests().iter().all(|request| request.fields.has("via")));
    let url = format!("http://near.test:{}/", port(&near));
    let page =
        said(chromium(folder.path()), &[&file, "--host-resolver-rules=MAP near.test 127.0.0.1", "--dump-dom", &url]);
    assert!(page.is_some_and(|page| page.contains("loaded both")));
    assert!(near.requests().iter().all(|request| !request.fields.has("via")));
}
