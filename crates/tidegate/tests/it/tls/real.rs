//! Clients of another making: curl and openssl. Where they are not installed these tests say so and pass: `scripts/install`.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use testkit::Server;

use super::{ALONE, Desk, EDGE};

/// Runs a program with nothing to read; none if it is not installed.
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(program);
    match command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(child) => Some(child.wait_with_output().expect("an output")),
        Err(_) => {
            // Straight to the terminal: what is skipped should be seen.
            let _ = writeln!(std::io::stderr(), "skipped: there is no {program}");
            None
        }
    }
}

#[test]
fn curl_speaks_both_versions_and_keeps_its_connection() {
    let desk = Desk::new();
    let server = Server::echo();
    let tidegate = desk.start(EDGE, &[("APP", &server)]);
    let connect = format!("::{}", tidegate.address("web"));
    let ca = desk.folder.path().join("ca.pem").display().to_string();
    let body = "x".repeat(300_000);
    let upload = desk.folder.write("upload", &body).display().to_string();
    for version in ["1.2", "1.3"] {
        let arguments = ["-s", "-S", "--cacert", &ca, "--connect-to", &connect, "--tls-max", version, "--data-binary"];
        let file = format!("@{upload}");
        let rest = [&*file, "https://example.com/a", "https://example.com/b", "-w", "|%{num_connects}|"];
        let Some(output) = run("curl", &[&arguments[..], &rest[..]].concat()) else { return };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(said, format!("{body}|1|{body}|0|"), "{version}");
    }
    assert_eq!(tidegate.log_of("/a")["sni"], "example.com");
}

#[test]
fn openssl_agrees_on_what_is_expected() {
    let desk = Desk::new();
    let tidegate = desk.start(ALONE, &[]);
    let ca = desk.folder.path().join("ca.pem").display().to_string();
    let address = tidegate.address("web");
    let around =
        ["s_client", "-connect", &address, "-servername", "example.com", "-CAfile", &ca, "-verify_return_error"];
    for (extra, wanted) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let Some(output) = run("openssl", &[&around[..], &[extra]].concat()) else { return };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains(wanted), "{extra}: {said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{extra}: {said}");
    }
    // What is older is refused, and so is what has no forward secrecy (RFC 9325 section 4.2).
    for extra in
        [&["-tls1_1"][..], &["-tls1_2", "-cipher", "AES128-SHA"], &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"]]
    {
        let Some(output) = run("openssl", &[&around[..], extra].concat()) else { return };
        assert!(!output.status.success(), "{extra:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
}
