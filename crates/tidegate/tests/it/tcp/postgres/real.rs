//! PostgreSQL itself and its own client, where Debian's packages are installed (`scripts/install`).

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::{Folder, Process, Tidegate, is_root, skip, tool, until};

use super::{BACK, FRONT, ROUTES};
use crate::support::start;
use crate::tcp::real::free_port;
use crate::tls::Desk;

/// A server that runs as long as this lives. Its folder goes with it.
struct Postgres {
    _process: Process,
    address: String,
    _folder: Folder,
}

impl Postgres {
    /// One that shows a certificate, and whom by TCP only those get in who satisfy this line of `pg_hba.conf`; none where it is not
    /// installed.
    fn start(desk: &Desk, hba: &str) -> Option<Postgres> {
        let programs = programs()?;
        let folder = Folder::new();
        let data = folder.path().join("data");
        // It does not run as root.
        let user = is_root().then(postgres_user).flatten();
        if is_root() && user.is_none() {
            skip("there is no user postgres");
            return None;
        }
        let own = |path: &Path| {
            if let Some((uid, gid)) = user {
                chown(path, Some(uid), Some(gid)).expect("a folder for it");
            }
        };
        let run = |program: &str| {
            let mut command = Command::new(programs.join(program));
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        own(folder.path());
        let secret = folder.write("secret", "secret\n");
        own(&secret);
        let made = run("initdb")
            .arg("-D")
            .arg(&data)
            .args(["-U", "anna", "--auth=scram-sha-256", "--no-sync"])
            .arg("--pwfile")
            .arg(&secret)
            .status();
        assert!(made.expect("initdb").success());
        desk.issue("postgres", &["127.0.0.1"]);
        for file in ["postgres.pem", "postgres.key"] {
            let copy = data.join(file);
            fs::copy(desk.folder.path().join(file), &copy).expect("a copy");
            fs::set_permissions(&copy, Permissions::from_mode(0o600)).expect("permissions");
            own(&copy);
        }
        fs::write(data.join("pg_hba.conf"), format!("{hba}\n")).expect("a written file");
        let port = free_port();
        let settings = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "fsync=off".to_owned(),
            "ssl=on".to_owned(),
            "ssl_cert_file=postgres.pem".to_owned(),
            "ssl_key_file=postgres.key".to_owned(),
        ];
        let mut server = run("postgres");
        server.arg("-D").arg(&data);
        for setting in &settings {
            server.args(["-c", setting]);
        }
        let address = format!("127.0.0.1:{port}");
        Some(Postgres { _process: Process::listening(&mut server, &address), address, _folder: folder })
    }
}

/// Where its programs are.
fn programs() -> Option<PathBuf> {
    tool("psql")?;
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|entry| entry.path().join("bin")).find(|path| path.join("initdb").is_file());
    if found.is_none() {
        skip("there is no postgresql");
    }
    found
}

fn postgres_user() -> Option<(u32, u32)> {
    Some((number(&["-u", "postgres"])?, number(&["-g", "postgres"])?))
}

fn number(of: &[&str]) -> Option<u32> {
    let said = Command::new("id").args(of).output().ok()?;
    String::from_utf8(said.stdout).ok()?.trim().parse().ok()
}

/// What a client is answered; else what it complains of. A server that is still starting is asked again.
fn psql(tidegate: &Tidegate, how: &str) -> Result<String, String> {
    let address = tidegate.address("web");
    let (host, port) = address.rsplit_once(':').expect("a port");
    let mut answer = Err(String::new());
    until("the server is ready", || {
        let asked = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        let said = Command::new("psql")
            .args(["-XAtw", "-c", asked])
            .arg(format!(
                "host={host} hostaddr={host} port={port} user=anna dbname=postgres password=secret connect_timeout=10 {how}"
            ))
            .output()
            .expect("psql");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        answer = if said.status.success() { Ok(text(&said.stdout)) } else { Err(text(&said.stderr)) };
        !matches!(&answer, Err(why) if why.contains("starting up"))
    });
    answer
}

#[test]
fn its_client_begins_tls_with_us_and_the_server_is_spoken_to_in_plain() {
    let desk = Desk::new();
    let Some(server) = Postgres::start(&desk, "hostnossl all all 127.0.0.1/32 scram-sha-256") else { return };
    let tidegate = desk.start(&FRONT.replace("@APP", &server.address), &[]);
    let ca = desk.folder.path().join("ca.pem");
    let verified = format!("host=example.com sslmode=verify-full sslrootcert={}", ca.display());
    assert_eq!(psql(&tidegate, &verified).as_deref(), Ok("f"), "TLS as far as here, no farther");
    assert_eq!(psql(&tidegate, "sslmode=prefer").as_deref(), Ok("f"));
    let refused = psql(&tidegate, "sslmode=disable").expect_err("no TLS");
    assert!(refused.contains("connections need TLS here"), "{refused}");
    let other = format!("host=other.test sslmode=verify-full sslrootcert={}", ca.display());
    assert!(psql(&tidegate, &other).is_err());
}

#[test]
fn tls_is_begun_with_the_server_for_a_client_that_has_none() {
    let desk = Desk::new();
    let Some(server) = Postgres::start(&desk, "hostssl all all 127.0.0.1/32 scram-sha-256") else { return };
    let tidegate = desk.start(&BACK.replace("@APP", &server.address), &[]);
    assert_eq!(psql(&tidegate, "sslmode=disable").as_deref(), Ok("t"), "TLS from here on");
    assert_eq!(psql(&tidegate, "sslmode=prefer").as_deref(), Ok("t"));
    let refused = psql(&tidegate, "sslmode=require").expect_err("there is no TLS with us");
    assert!(refused.contains("server does not support SSL"), "{refused}");
}

#[test]
fn with_tls_on_both_sides_the_client_must_not_bind_its_password_to_one() {
    let desk = Desk::new();
    let Some(server) = Postgres::start(&desk, "hostssl all all 127.0.0.1/32 scram-sha-256") else { return };
    let pool = "app: { servers: [@APP], tls: { ca: '@DIR/ca.pem', starttls: postgres }, health: { probe: postgres, every: 50ms } }";
    let text = FRONT.replace("app: [@APP]", pool).replace("@APP", &server.address);
    let tidegate = desk.start(&text, &[]);
    assert_eq!(psql(&tidegate, "sslmode=require channel_binding=disable").as_deref(), Ok("t"));
    let refused = psql(&tidegate, "sslmode=require channel_binding=require").expect_err("two connections, not one");
    assert!(refused.contains("channel binding"), "{refused}");
}

#[test]
fn its_client_is_routed_by_user_and_database() {
    let desk = Desk::new();
    let Some(server) = Postgres::start(&desk, "host all all 127.0.0.1/32 scram-sha-256") else { return };
    let text = ["SHOP", "OTHERS", "REST"]
        .iter()
        .fold(ROUTES.to_owned(), |text, name| text.replace(&format!("@{name}"), "127.0.0.1:1"));
    let tidegate = start(&text.replace("@ANNA", &server.address), &[]);
    // It asks for TLS first, and goes on without.
    assert_eq!(psql(&tidegate, "sslmode=prefer").as_deref(), Ok("f"));
    assert!(psql(&tidegate, "user=root").is_err());
    assert!(psql(&tidegate, "dbname=shop_1").is_err());
}
