//! MariaDB itself and its own client, where Debian's packages are installed (`scripts/install`).

use std::process::{Command, Stdio};

use testkit::{Process, Tidegate, is_root, tool, until};

use super::{BEHIND, BOTH, IN_FRONT};
use crate::tcp::real::free_port;
use crate::tls::Desk;

/// What a client is answered, once the user is there, who comes when the server has started.
fn mariadb(tidegate: &Tidegate, user: &str, how: &[&str]) -> Result<String, String> {
    let mut answer = Err(String::new());
    until("the server is ready", || {
        answer = once(tidegate, user, how);
        !matches!(&answer, Err(why) if why.contains("Access denied"))
    });
    answer
}

fn once(tidegate: &Tidegate, user: &str, how: &[&str]) -> Result<String, String> {
    let address = tidegate.address("web");
    let (host, port) = address.rsplit_once(':').expect("a port");
    let said = Command::new("mariadb")
        .args(["--no-defaults", "-BN", "-h", host, "-P", port, "-u", user, "-psecret"])
        .args(how)
        .args(["-e", "show status like 'Ssl_version'"])
        .output()
        .expect("mariadb");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if said.status.success() { Ok(text(&said.stdout)) } else { Err(text(&said.stderr)) }
}

#[test]
fn its_client_logs_in_with_tls_on_both_sides_or_one() {
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
    let users = "CREATE USER anna@'%' IDENTIFIED BY 'secret' REQUIRE SSL;\n\
                 CREATE USER bob@'%' IDENTIFIED BY 'secret';\n";
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
    let version = mariadb(&tidegate, "anna", &["--ssl", &ca]);
    assert!(version.as_deref().is_ok_and(|version| version.starts_with("Ssl_version\tTLSv1.")), "{version:?}");
    let refused = mariadb(&tidegate, "anna", &["--skip-ssl"]).expect_err("no TLS");
    assert!(refused.contains("3159") && refused.contains("connections need TLS here"), "{refused}");
    let in_front = desk.start(&IN_FRONT.replace("@APP", &address), &[]);
    assert_eq!(mariadb(&in_front, "bob", &["--ssl", &ca]).as_deref(), Ok("Ssl_version"), "the server knows of no TLS");
    let refused = once(&in_front, "bob", &["--ssl", &ca, "-pwrong"]).expect_err("a wrong password");
    assert!(refused.contains("1045"), "{refused}");
    let behind = desk.start(&BEHIND.replace("@APP", &address), &[]);
    let version = mariadb(&behind, "anna", &["--skip-ssl"]);
    assert!(version.as_deref().is_ok_and(|version| version.starts_with("Ssl_version\tTLSv1.")), "{version:?}");
}
