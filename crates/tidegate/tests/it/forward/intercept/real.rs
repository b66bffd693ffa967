//! Clients that others have written, whose TLS ends at the proxy.

use std::process::Command;

use testkit::{Folder, Server, ServerTls, ok, tool};

use super::super::port;
use super::super::real::browser::{REFUSING, chromium, pictured, sees_the_block_page};
use super::super::real::packages::{git, repository, secured_files};
use super::super::real::{openssl, said};
use super::{Office, READING};

impl Office {
    /// The file with the owner's authority.
    fn own_ca(&self) -> String {
        self.desk.folder.path().join("own/ca.pem").display().to_string()
    }
}

#[test]
fn git_clones_what_the_proxy_reads() {
    let (office, folder) = (Office::new(), Folder::new());
    let Some(()) = repository(&folder) else { return };
    let copy = folder.path().join("copy").display().to_string();
    let server = secured_files(folder.path(), &ServerTls::new(&office.desk.issue("a", &["a.test"])));
    let tidegate = office.start("");
    let by = format!("http.proxy=http://{}", tidegate.address("web"));
    let trusting = format!("http.sslCAInfo={}", office.own_ca());
    let url = format!("https://a.test:{}/it.git", port(&server));
    git(&["-c", &by, "-c", &trusting, "clone", "-q", &url, &copy]);
    let copied = std::fs::read_to_string(folder.path().join("copy/file")).expect("the file");
    assert_eq!(copied, "what is in it\n");
    let line = tidegate.log_of("/it.git/info/refs");
    assert_eq!((&line["host"], &line["interception"]), (&"a.test".into(), &"intercepted".into()), "{line}");
}

#[test]
fn openssl_believes_the_owner_and_sees_the_servers_names() {
    let office = Office::new();
    let server = Server::secured(&ServerTls::new(&office.desk.issue("a", &["a.test", "www.bank.test"])), |peer| {
        if peer.request().is_some() {
            peer.send(ok("by openssl"));
        }
    });
    let tidegate = office.start("");
    let by = tidegate.address("web");
    let Some(said) = openssl(&["-proxy", &by], &office.own_ca(), "a.test", port(&server)) else { return };
    assert!(said.contains("Verify return code: 0 (ok)") && said.contains("by openssl"), "{said}");
    assert!(!said.contains("an authority of tests"), "{said}");
    assert_eq!(tidegate.log_of("/by/openssl")["interception"], "intercepted");
    // What is excepted is shown by its server itself.
    let servers = office.desk.folder.path().join("ca.pem").display().to_string();
    let said = openssl(&["-proxy", &by], &servers, "www.bank.test", port(&server)).expect("it was there");
    assert!(said.contains("Verify return code: 0 (ok)") && said.contains("an authority of tests"), "{said}");
}

/// A browser of somebody who trusts this authority, with the store of certificates in that folder; none if something is missing.
fn trusting(home: &Folder, ca: &str) -> Option<impl Fn() -> Option<Command> + use<>> {
    let home = home.path().to_owned();
    let store = home.join(".pki/nssdb");
    std::fs::create_dir_all(&store).expect("a folder");
    let store = format!("sql:{}", store.display());
    said(tool("certutil"), &["-d", &store, "-N", "--empty-password"])?;
    said(tool("certutil"), &["-d", &store, "-A", "-t", "C,,", "-n", "office", "-i", ca])?;
    Some(move || {
        let mut browser = chromium(&home)?;
        browser.env("HOME", &home);
        Some(browser)
    })
}

#[test]
fn chromium_shows_pages_that_the_proxy_reads_and_says_who_has_blocked_one() {
    let (office, home) = (Office::new(), Folder::new());
    let issued = office.desk.issue("a", &["a.test"]);
    let server = Server::secured(&ServerTls::new(&issued), |peer| {
        while let Some(request) = peer.request() {
            peer.send(ok(format!("read {}", request.target)));
        }
    });
    office.desk.folder.write("ads.txt", "/banner/*$document\n");
    let text = READING.replace("@MORE", "").replace("    routes:\n", &format!("    routes:\n      - {REFUSING}\n"))
        + "lists: { ads: { file: '@DIR/ads.txt', format: adblock } }\n";
    let tidegate = office.desk.start(&text, &[]);
    let Some(browser) = trusting(&home, &office.own_ca()) else { return };
    let by = format!("--proxy-server=http://{}", tidegate.address("web"));
    let page = |target: &str| format!("https://a.test:{}{target}", port(&server));
    let Some(shown) = pictured(browser(), "read.png", [1280, 800], &[&by, &page("/free")]) else { return };
    assert!(shown.contains("read /free"), "{shown}");
    let rule = "/banner/*$document";
    assert!(sees_the_block_page(&browser, "blocked-read", &[&by], &page("/banner/1"), rule).is_some());
    let line = tidegate.log_of("/banner/1");
    assert_eq!((&line["rule"], &line["interception"]), (&rule.into(), &"intercepted".into()), "{line}");
    assert!(server.requests().iter().all(|request| !request.target.starts_with("/banner")));
}
