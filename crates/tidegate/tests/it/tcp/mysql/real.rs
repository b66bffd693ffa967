//! MariaDB itself and its own client, where Debian's packages are installed (`scripts/install`).

use std::process::{Command, Stdio};

use testkit::{Process, Tidegate, is_root, tool, until};

use super::BOTH;
use crate::tcp::real::free_port;
use crate::tls::Desk;

fn mariadb(tidegate: &Tidegate, how: &[&str]) -> Result<String, String> {
    let address = tidegate.address("web");
    let (host, port) = address.rsplit_once(':').expect("a port");
    let mut answer = Err(String::new());
    until("the server is ready", || {
        let said = Command::new("mariadb")
            .args(["--no-defaults", "-BN", "-h", host, "-P", port, "-u", "anna", "-psecret"])
            .args(how)
            .args(["-e", "show status like 'Ssl_version'"])
            .output()
            .expect("mariadb");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        answer = if said.status.success() { Ok(text(&said.stdout)) } else { Err(text(&said.stderr)) };
        // The user comes when it has started.
        !matches!(&answer, Err(why) if why.contains("Access denied"))
    });
    answer
}

#[test]
fn its_client_logs_in_with_tls_on_both_sides() {
    let (Some(mut install), Some(mut server), Some(_)) =
        (tool("mariadb-install-db"), tool("mariadbd"), tool("mariadb"))
    else {
        return;
    };
    let desk = Desk::new();
    let here = desk.folder.path().display().to_string();
    let user = is_root().then_some("--user=root");
    let made = install
        .args(["--no-defaults", &format!("--datadir={here}/data"), "--auth-root-authentication-method=normal"])
        .args(user)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("mariadb-install-db").success());
    desk.issue("mariadb", &["127.0.0.1"]);
    let users = "CREATE USER anna@'%' IDENTIFIED BY 'secret' REQUIRE SSL;\n";
    desk.folder.write("users.sql", users);
    let port = free_port();
    server
        .args(["--no-defaults", &format!("--datadir={here}/data"), &format!("--socket={here}/socket")])
        .args([&format!("--port={port}"), "--bind-address=127.0.0.1", "--skip-name-resolve"])
        .args([&format!("--ssl-cert={here}/mariadb.pem"), &format!("--ssl-key={here}/mariadb.key")])
        .args([format!("--init-file={here}/users.sql"), format!("--pid-file={here}/pid")])
        .args(user)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let address = format!("127.0.0.1:{port}");
    let _server = Process::listening(&mut server, &address);
    let tidegate = desk.start(&BOTH.replace("@APP", &address), &[]);
    let ca = format!("--ssl-ca={here}/ca.pem");
    let version = mariadb(&tidegate, &["--ssl", &ca]);
    assert!(version.as_deref().is_ok_and(|version| version.starts_with("Ssl_version\tTLSv1.")), "{version:?}");
    let refused = mariadb(&tidegate, &["--skip-ssl"]).expect_err("no TLS");
    assert!(refused.contains("3159") && refused.contains("connections need TLS here"), "{refused}");
}
