//! Probes against real servers, where Debian's packages are installed (`scripts/install`).

use std::path::Path;
use std::process::Stdio;

use testkit::{Folder, Process, Tidegate, tool};

use super::until_state;
use crate::support::start;

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
    for password in ["", "secret"] {
        let Some(mut redis) = tool("redis-server") else { return };
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
        let redis = Process::start(redis.args(options).stdin(Stdio::null()).stdout(Stdio::null()));
        until_state(&tidegate, 0, "up");
        drop(redis);
        until_state(&tidegate, 0, "down");
    }
}

#[test]
fn nginx_by_http_and_by_tls() {
    let (Some(mut nginx), Some(mut openssl)) = (tool("nginx"), tool("openssl")) else { return };
    let folder = Folder::new();
    let here = folder.path().display();
    let made = openssl
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
    nginx.args(["-c", &file, "-p", &here.to_string()]).stdin(Stdio::null()).stderr(Stdio::null());
    let nginx = Process::start(&mut nginx);
    for tidegate in [&http, &tls, &old] {
        until_state(tidegate, 0, "up");
    }
    sick.message("is down");
    assert_eq!(http.client().get("/healthz").text(), "ready");
    until_state(&sick, 0, "down");
    until_state(&wrong, 0, "down");
    // A process that is stopped still has a socket that takes connections: only an answer in time shows that it lives.
    nginx.hang();
    assert_eq!(until_state(&http, 0, "down")["reason"], "timeout after 1s ×2");
    nginx.go_on();
    until_state(&http, 0, "up");
    drop(nginx);
    until_state(&http, 0, "down");
    until_state(&tls, 0, "down");
}
