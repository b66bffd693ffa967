//! Programs that fetch what others have packed: git, pip and apt.

use std::path::Path;

use testkit::{Folder, Request, Server, ServerTls, ok, python, tool};

use super::said;
use crate::forward::{port, proxy};
use crate::tls::Desk;

/// A server of the files of a folder, as they are.
fn files(folder: &Path) -> Server {
    let folder = folder.to_owned();
    Server::http(move |request| file(&folder, request))
}

/// The same over TLS.
pub(crate) fn secured_files(folder: &Path, tls: &ServerTls) -> Server {
    let folder = folder.to_owned();
    Server::secured(tls, move |peer| {
        while let Some(request) = peer.request() {
            peer.send(file(&folder, &request));
        }
    })
}

/// What a server of files answers.
fn file(folder: &Path, request: &Request) -> Vec<u8> {
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
}

pub(super) fn page(content: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n", content.len());
    [head.as_bytes(), content].concat()
}

/// Git as nobody has set it up.
pub(crate) fn git(arguments: &[&str]) -> Option<String> {
    let mut git = tool("git")?;
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null").env("no_proxy", "");
    // It would be heard before any option.
    git.env_remove("GIT_SSL_CAINFO");
    said(Some(git), arguments)
}

/// Makes `it.git` in a folder, as a server of files can offer it; none if there is no git.
pub(crate) fn repository(folder: &Folder) -> Option<()> {
    let place = |name: &str| folder.path().join(name).display().to_string();
    let (work, bare) = (place("work"), place("it.git"));
    git(&["init", "-q", &work])?;
    let who = ["-c", "user.name=a", "-c", "user.email=a@a.test", "-C", &work];
    folder.write("work/file", "what is in it\n");
    git(&[&who[..], &["add", "file"]].concat())?;
    git(&[&who[..], &["commit", "-q", "-m", "it"]].concat())?;
    git(&["clone", "-q", "--bare", &work, &bare])?;
    git(&["-C", &bare, "update-server-info"])?;
    Some(())
}

#[test]
fn git_clones_by_the_proxy() {
    let folder = Folder::new();
    let Some(()) = repository(&folder) else { return };
    let copy = folder.path().join("copy").display().to_string();
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

/// A repository of one package in a folder, as apt reads it; none if nothing here makes packages.
fn packages(folder: &Folder) -> Option<()> {
    let place = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir_all(folder.path().join("tree/DEBIAN")).expect("a folder");
    std::fs::create_dir_all(folder.path().join("tree/usr/share/tidal")).expect("a folder");
    let about =
        "Package: tidal\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@a.test>\nDescription: a package of tests\n";
    folder.write("tree/DEBIAN/control", about);
    folder.write("tree/usr/share/tidal/here", "42\n");
    said(tool("dpkg-deb"), &["--build", "--root-owner-group", &place("tree"), &place("tidal_1.0_all.deb")])?;
    let hash = |name: &str| Some(said(tool("sha256sum"), &[&place(name)])?[..64].to_owned());
    let size = |name: &str| std::fs::metadata(folder.path().join(name)).expect("a file").len();
    let package = "tidal_1.0_all.deb";
    let (length, sum) = (size(package), hash(package)?);
    folder.write("Packages", &format!("{about}Filename: ./{package}\nSize: {length}\nSHA256: {sum}\n"));
    let (length, sum) = (size("Packages"), hash("Packages")?);
    folder.write("Release", &format!("Date: Tue, 01 Jan 2030 00:00:00 UTC\nSHA256:\n {sum} {length} Packages\n"));
    Some(())
}

/// Apt that knows this source alone, in a folder of its own: nothing of the machine's is read but its programs, and nothing written.
fn apt(home: &Folder, source: &str, proxy: &str, ca: &Path) -> Option<impl Fn(&[&str]) -> String + use<>> {
    let root = home.path().to_owned();
    for folder in
        ["etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial"]
    {
        std::fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    home.write("status", "");
    home.write("etc/apt/sources.list", &format!("deb [trusted=yes] {source}/ ./\n"));
    let own = home.write(
        "apt.conf",
        &format!(
            "Dir \"{root}\";\nDir::State::status \"{root}/status\";\nAPT::Sandbox::User \"\";\nAPT::Architecture \"amd64\";\n\
             Acquire::Languages \"none\";\nAcquire::Retries \"0\";\nAcquire::Check-Date \"false\";\n\
             Acquire::http::Proxy \"{proxy}\";\nAcquire::https::Proxy \"{proxy}\";\nAcquire::https::CaInfo \"{}\";\n",
            ca.display(),
            root = root.display(),
        ),
    );
    tool("apt-get")?;
    Some(move |arguments: &[&str]| {
        let mut apt = tool("apt-get").expect("it was there");
        apt.env("APT_CONFIG", &own).env("LC_ALL", "C").current_dir(&root);
        for word in ["http_proxy", "https_proxy", "no_proxy", "all_proxy"] {
            apt.env_remove(word).env_remove(word.to_uppercase());
        }
        said(Some(apt), arguments).expect("it was there")
    })
}

#[test]
fn apt_updates_and_downloads_by_the_proxy_by_a_tunnel_and_by_socks() {
    let (desk, folder) = (Desk::new(), Folder::new());
    let Some(()) = packages(&folder) else { return };
    let plain = files(folder.path());
    let secured = secured_files(folder.path(), &ServerTls::new(&desk.issue("a", &["a.test"])));
    let tidegate = proxy("");
    let by = tidegate.address("web");
    let ways = [
        (format!("http://a.test:{}", port(&plain)), format!("http://{by}")),
        (format!("https://a.test:{}", port(&secured)), format!("http://{by}")),
        (format!("http://a.test:{}", port(&plain)), format!("socks5h://{by}")),
    ];
    for (source, proxy) in &ways {
        let home = Folder::new();
        let Some(apt) = apt(&home, source, proxy, &desk.folder.path().join("ca.pem")) else { return };
        apt(&["update", "--error-on=any"]);
        apt(&["download", "tidal"]);
        let came = std::fs::read(home.path().join("tidal_1.0_all.deb")).expect("a package");
        assert!(came == std::fs::read(folder.path().join("tidal_1.0_all.deb")).expect("a package"), "{source} {proxy}");
    }
    assert_eq!(tidegate.log_of("/tidal_1.0_all.deb")["host"], "a.test");
    let tunnelled = |method: &str| tidegate.log_line(method, |line| line["method"] == method && line["status"] == 200);
    assert_eq!(tunnelled("CONNECT")["host"], "a.test");
}
