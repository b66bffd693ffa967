//! What openssl agrees on with the program.

use std::process::Output;

use super::{Edge, run};

/// One handshake.
fn shake(edge: &Edge, extra: &[&str]) -> Option<Output> {
    let (address, ca) = (edge.address(), edge.ca());
    let around = ["s_client", "-connect", &address, "-servername", "example.com", "-CAfile", &ca];
    run("openssl", &[&around[..], &["-verify_return_error"], extra].concat())
}

/// What is expected of a handshake with these options; none if openssl does not know them.
fn agreed(edge: &Edge, extra: &[&str]) -> Option<String> {
    let output = shake(edge, extra)?;
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    let unknown =
        said.contains("SSL_CONF_cmd") || said.contains("Unknown option") || said.contains("Error with command");
    if unknown {
        testkit::skip(&format!("this openssl does not know {extra:?}"));
        return None;
    }
    assert!(output.status.success() && said.contains("Verify return code: 0 (ok)"), "{extra:?}: {said}");
    Some(said)
}

#[test]
fn openssl_agrees_on_groups() {
    let edge = Edge::new();
    // In 1.2 the curve of a certificate must be among the groups, too (RFC 8422 section 5.1.1). What is post-quantum is so in 1.3.
    for (version, groups, wanted) in [
        ("-tls1_3", "X25519", "X25519"),
        ("-tls1_3", "P-256", "prime256v1"),
        ("-tls1_3", "P-384", "secp384r1"),
        ("-tls1_3", "P-521:X25519", "X25519"),
        ("-tls1_3", "X25519MLKEM768", "X25519MLKEM768"),
        ("-tls1_2", "X25519:P-256", "X25519"),
        ("-tls1_2", "P-256", "prime256v1"),
        ("-tls1_2", "P-384:P-256", "secp384r1"),
    ] {
        let Some(said) = agreed(&edge, &[version, "-groups", groups]) else { continue };
        let line = said.lines().find(|line| line.contains("Temp Key") || line.contains("group:")).unwrap_or_default();
        // OpenSSL names the curves of NIST in two ways.
        let wanted = [wanted, &wanted.replace("prime256v1", "P-256").replace("secp384r1", "P-384")].map(str::to_owned);
        assert!(wanted.iter().any(|name| line.contains(name.as_str())), "{version} {groups}: {said}");
    }
}

#[test]
fn openssl_agrees_on_protocols() {
    let edge = Edge::new();
    for (offered, wanted) in [
        ("h2,http/1.1", "ALPN protocol: h2"),
        ("http/1.1,h2", "ALPN protocol: h2"),
        ("http/1.1", "ALPN protocol: http/1.1"),
    ] {
        let Some(said) = agreed(&edge, &["-alpn", offered]) else { return };
        assert!(said.contains(wanted), "{offered}: {said}");
    }
    let Some(output) = shake(&edge, &["-alpn", "imap"]) else { return };
    assert!(!output.status.success(), "nothing in common is no reason to go on (RFC 7301 section 3.2)");
}

#[test]
fn openssl_resumes_its_session() {
    let edge = Edge::new();
    let kept = edge.desk.folder.path().join("session").display().to_string();
    // Of 1.3 the ticket comes behind the handshake, with the first answer: other tests resume that.
    let Some(first) = agreed(&edge, &["-tls1_2", "-sess_out", &kept]) else { return };
    assert!(first.contains("New, "), "{first}");
    let again = agreed(&edge, &["-tls1_2", "-sess_in", &kept]).expect("the same openssl");
    assert!(again.contains("Reused, "), "{again}");
}
