//! Probes against real servers, where Debian's packages are installed (`scripts/install`).

use std::path::Path;
use std::process::{Child, Command, Stdio};

use testkit::{Folder, Tidegate};

use super::until_state;
use crate::support::start;

/// A server's process, which ends with the test.
struct Process(Child);

impl Process {
    fn start(program: &str, arguments: &[&str]) -> Process {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Process(command.spawn().expect("a server"))
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a program is here; says so if it is not.
fn is_here(program: &str) -> bool {
    let here = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !here {
        eprintln!("skipped: there is no {program} here, scripts/install installs it");
    }
    here
}

fn before_socket(path: &Path, health: &str) -> Tidegate {
    let text = format!(
        "listeners: {{ web: {{ bind: 127.0.0.1:0, to: app }} }}\n\
         pools: {{ app: {{ servers: [\"unix:{}\"], health: {{ {health}, every: 50ms, rise: 1, fall: 2 }} }} }}\n",
        path.display()
    );
    start(&text, &[])
}

#[test]
fn redis_with_and_without_a_password() {
    if !is_here("redis-server") {
        return;
    }
    for password in ["", "secret"] {
        let folder = Folder::new();
        let path = folder.path().join("redis.sock");
        let tidegate = before_socket(&path, "probe: redis");
        until_state(&tidegate, 0, "down");
        let socket = path.display().to_string();
        let here = folder.path().display().to_string();
        let options = [
            "--port",
            "0",
            "--unixsocket",
            &socket,
            "--dir",
            &here,
            "--save",
            "",
            "--appendonly",
            "no",
            "--requirepass",
            password,
        ];
        let redis = Process::start("redis-server", &options);
        until_state(&tidegate, 0, "up");
        drop(redis);
        until_state(&tidegate, 0, "down");
    }
}

#[test]
fn nginx_by_http_and_by_tls() {
    if !is_here("nginx") || !is_here("openssl") {
        return;
    }
    let folder = Folder::new();
    let here = folder.path().display();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=a"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder.path())
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl").success());
    let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {here}/{kind};\n"))
        .concat();
    let file = folder.write(
        "nginx.conf",
        &format!(
            "daemon off;\nmaster_process off;\npid {here}/pid;\nerror_log {here}/error.log;\nevents {{}}\nhttp {{\n{folders}  access_log off;\n  \
             server {{ listen unix:{here}/http.sock; location /healthz {{ return 200 ready; }} location / {{ return 503; }} }}\n  \
             server {{ listen unix:{here}/tls.sock ssl; ssl_certificate {here}/cert.pem; ssl_certificate_key {here}/key.pem; \
             ssl_protocols TLSv1.2 TLSv1.3; return 204; }}\n  \
             server {{ listen unix:{here}/old.sock ssl; ssl_certificate {here}/cert.pem; ssl_certificate_key {here}/key.pem; \
             ssl_protocols TLSv1.2; return 204; }}\n}}\n"
        ),
    );
    let http = before_socket(&folder.path().join("http.sock"), "probe: http, path: /healthz, body: ready");
    let sick = before_socket(&folder.path().join("http.sock"), "probe: http, path: /other");
    let tls = before_socket(&folder.path().join("tls.sock"), "probe: tls");
    let old = before_socket(&folder.path().join("old.sock"), "probe: tls, host: a.example");
    let wrong = before_socket(&folder.path().join("http.sock"), "probe: tls");
    for tidegate in [&http, &sick, &tls, &old, &wrong] {
        until_state(tidegate, 0, "down");
    }
    let file = file.display().to_string();
    let nginx = Process::start("nginx", &["-c", &file, "-p", &here.to_string()]);
    for tidegate in [&http, &tls, &old] {
        until_state(tidegate, 0, "up");
    }
    sick.message("is down");
    assert_eq!(http.client().get("/healthz").text(), "ready");
    until_state(&sick, 0, "down");
    until_state(&wrong, 0, "down");
    // A process that is stopped still has a socket that takes connections: only an answer in time shows that it lives.
    nginx.signal("STOP");
    assert_eq!(until_state(&http, 0, "down")["reason"], "timeout after 1s ×2");
    nginx.signal("CONT");
    until_state(&http, 0, "up");
    drop(nginx);
    until_state(&http, 0, "down");
    until_state(&tls, 0, "down");
}
