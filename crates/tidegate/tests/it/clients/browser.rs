//! A browser: Chromium without a window loads a page over HTTP/2, with what belongs to it.

use testkit::{Server, ok, tool};

use super::{Edge, output_of, run, said};

/// A page that says by which protocol it came, and what its script could load after it.
const PAGE: &str = r#"<!doctype html><title>page</title><link rel="stylesheet" href="/style.css"><p id="said">nothing</p><script>
const loaded = [];
for (let number = 0; number < 20; number++) {
  const request = new XMLHttpRequest();
  request.open("POST", "/echo/" + number, false);
  request.send("x".repeat(1000 * number));
  loaded.push(request.status + ":" + request.responseText.length);
}
const protocol = performance.getEntriesByType("navigation")[0].nextHopProtocol;
document.getElementById("said").textContent = "protocol " + protocol + ", loaded " + loaded.join(" ");
</script>"#;

fn site() -> Server {
    Server::http(|request| match request.target.as_str() {
        "/" => typed("text/html", PAGE.as_bytes()),
        "/style.css" => typed("text/css", b"p { color: black }"),
        target if target.starts_with("/echo/") => ok(&request.body),
        _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
    })
}

fn typed(kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The hash of a certificate's key, which the browser is told to believe: its store of authorities is the machine's.
fn hash_of_key(edge: &Edge) -> Option<String> {
    let file = |name: &str| edge.desk.folder.path().join(name).display().to_string();
    let (certificate, key, der) = (file("main.pem"), file("key.pem"), file("key.der"));
    said(&run("openssl", &["x509", "-in", &certificate, "-pubkey", "-noout", "-out", &key])?);
    said(&run("openssl", &["pkey", "-pubin", "-in", &key, "-outform", "der", "-out", &der])?);
    said(&run("openssl", &["dgst", "-sha256", "-binary", "-out", &file("hash"), &der])?);
    Some(said(&run("openssl", &["base64", "-in", &file("hash")])?).trim().to_owned())
}

#[test]
fn chromium_loads_a_page_over_http2() {
    let Some(mut browser) = tool("chromium").or_else(|| tool("chromium-browser")) else { return };
    let edge = Edge::before(site());
    let Some(hash) = hash_of_key(&edge) else { return };
    let profile = edge.desk.folder.path().join("profile").display().to_string();
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
    browser.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    browser.arg(format!("--user-data-dir={profile}"));
    browser.arg(format!("--ignore-certificate-errors-spki-list={hash}"));
    browser.arg(format!("--host-resolver-rules=MAP example.com {}", edge.address()));
    browser.args(["--timeout=60000", "--dump-dom", "https://example.com/"]);
    let page = said(&output_of(&mut browser));
    let loaded: Vec<String> = (0..20).map(|number| format!("200:{}", 1000 * number)).collect();
    assert!(page.contains(&format!("protocol h2, loaded {}", loaded.join(" "))), "{page}");
    let line = edge.tidegate.log_of("/");
    assert_eq!((&line["version"], &line["sni"]), (&"2".into(), &"example.com".into()), "{line}");
}
