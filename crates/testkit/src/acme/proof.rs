//! Proofs as an authority looks for them, and what it reads in a request for a certificate.

use std::collections::HashMap;
use std::net::TcpStream;

use super::Parts;
use crate::client::Client;
use crate::tls::ClientTls;

/// RFC 8555 section 8.3.
pub(super) fn by_request(port: u16, domain: &str, token: &str, wanted: &str) -> Result<(), String> {
    let address = format!("127.0.0.1:{port}");
    TcpStream::connect(&address).map_err(|error| format!("no connection to port {port}: {error}"))?;
    let mut client = Client::connect(&address);
    let path = format!("/.well-known/acme-challenge/{token}");
    let said = client.ask(format!("GET {path} HTTP/1.1\r\nHost: {domain}\r\nConnection: close\r\n\r\n"));
    match (said.status, said.text()) {
        (200, text) if text == wanted => Ok(()),
        (status, text) => Err(format!("{status} with {text:?} for {path}")),
    }
}

/// RFC 8737 section 3.
pub(super) fn by_handshake(port: u16, domain: &str, digest: &[u8]) -> Result<(), String> {
    let tls = ClientTls::of_anybody(domain, &["acme-tls/1"]);
    let client = Client::try_secured(&format!("127.0.0.1:{port}"), &tls).map_err(|error| error.to_string())?;
    let agreed = client.agreed();
    // The extension: its name, that it is critical, and the digest in an OCTET STRING in another.
    let extension =
        [&[0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 1, 0x1f, 0x01, 0x01, 0xff, 0x04, 0x22, 0x04, 0x20][..], digest].concat();
    let holds = |part: &[u8]| agreed.shown.windows(part.len()).any(|window| window == part);
    match agreed.alpn.as_deref() {
        Some("acme-tls/1") if holds(&extension) && holds(domain.as_bytes()) => Ok(()),
        other => Err(format!("no proof in the certificate for {domain}, by {other:?}")),
    }
}

/// What is signed, by which key, and how (RFC 2986 section 4.2).
pub(super) fn request_parts(csr: &[u8]) -> Option<Parts<'_>> {
    let (_, whole, _) = element(csr)?;
    let (_, info, rest) = element(whole)?;
    let info_whole = &whole[..whole.len() - rest.len()];
    let (_, _, rest) = element(rest)?;
    let (_, signature, _) = element(rest)?;
    let (_, _, rest) = element(info)?;
    let (_, _, rest) = element(rest)?;
    let (_, key, _) = element(rest)?;
    let (_, _, rest) = element(key)?;
    let (_, point, _) = element(rest)?;
    // Both are BIT STRINGs, whose first byte counts bits that are not used.
    Some(HashMap::from([("info", info_whole), ("point", &point[1..]), ("signature", &signature[1..])]))
}

/// An element of DER: its tag, its content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (long, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (long.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}
