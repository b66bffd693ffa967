//! Why one side of a handshake does not believe the other.

use std::borrow::Cow;
use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use super::Unshaken;

/// Why a server could not be spoken with by TLS, in words for whoever wanted to.
pub fn of_server(error: &io::Error) -> &'static str {
    match said(error) {
        Some(Error::InvalidCertificate(certificate)) => of_certificate(certificate),
        Some(Error::AlertReceived(_)) => "the server has refused the handshake of TLS",
        Some(Error::PeerIncompatible(_)) => "the server speaks no version or algorithm of TLS that we speak",
        _ if error.kind() == io::ErrorKind::InvalidData => "what the server says is not TLS",
        _ => "the server has broken off the handshake of TLS",
    }
}

/// The same for whoever runs us.
pub fn told(error: &io::Error) -> String {
    match said(error) {
        Some(Error::InvalidCertificate(certificate)) if is_of_authority(certificate) => {
            format!("{}: if it is the right one, name it in `ca` or `upstream_ca`", of_certificate(certificate))
        }
        _ => error.to_string(),
    }
}

/// Why hands could not be shaken with a client, for whoever runs us.
pub fn of_client(unshaken: &Unshaken) -> Cow<'static, str> {
    let Unshaken { error, name, is_known } = unshaken;
    let unknown = match name {
        Some(name) if !is_known => format!(", and there is no certificate for `{name}`"),
        _ => String::new(),
    };
    match said(error) {
        None if NotTls::is(error) => error.to_string().into(),
        None if error.kind() == io::ErrorKind::InvalidData => "what the client says is broken TLS".into(),
        None => format!("the client has broken off the handshake{unknown}").into(),
        Some(Error::AlertReceived(alert)) => {
            let believes = if is_clients(error) { ", for it does not believe our certificate" } else { "" };
            format!("the client has broken off the handshake{believes}{unknown}: {}", name_of(*alert)).into()
        }
        Some(Error::NoCertificatesPresented) => "the client shows no certificate, and has to".into(),
        Some(Error::InvalidCertificate(certificate)) => of_clients_certificate(certificate).into(),
        Some(Error::PeerIncompatible(why)) => of_client_that_cannot(why),
        Some(Error::NoApplicationProtocol) => "the client offers no protocol that is spoken here (ALPN)".into(),
        // What the library says where the resolver has found nothing.
        Some(Error::General(_)) if unknown.is_empty() => "there is no certificate to show yet".into(),
        Some(Error::General(_)) => "there is no certificate for the name that the client asks for".into(),
        Some(other) => other.to_string().into(),
    }
}

fn of_clients_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the client's certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the client's certificate is not valid yet"
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the client's certificate is signed by no authority of `client_cert`"
        }
        CertificateError::Revoked => "the client's certificate was revoked",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the client's certificate is none for clients"
        }
        error if is_of_authority(error) => "the client's certificate is an authority's (`CA:TRUE`)",
        _ => "the client's certificate is broken",
    }
}

fn of_client_that_cannot(why: &PeerIncompatible) -> Cow<'static, str> {
    match why {
        PeerIncompatible::NoCipherSuitesInCommon => "there is no cipher suite that both speak".into(),
        PeerIncompatible::NoKxGroupsInCommon => "there is no group for the exchange of keys that both speak".into(),
        PeerIncompatible::NoSignatureSchemesInCommon => "the client takes no signature of our certificates".into(),
        PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::Tls13RequiredForQuic => "there is no version of TLS that both speak".into(),
        other => format!("the client speaks TLS in a way that is not spoken here: {other:?}").into(),
    }
}

/// An alert as RFC 8446 section 6 writes it.
fn name_of(alert: AlertDescription) -> String {
    let mut name = String::new();
    let mut was_upper = true;
    for symbol in format!("{alert:?}").chars() {
        if symbol.is_ascii_uppercase() && !was_upper {
            name.push('_');
        }
        was_upper = symbol.is_ascii_uppercase();
        name.push(symbol.to_ascii_lowercase());
    }
    name
}

/// Something else is spoken where a handshake should begin.
#[derive(Debug)]
pub struct NotTls(Option<&'static str>);

impl NotTls {
    /// Says of bytes that are no record what they are, if they begin with what is known. It is known where hands are shaken that this
    /// is so.
    pub(super) fn of(bytes: &[u8], error: Error) -> io::Error {
        let kind = io::ErrorKind::InvalidData;
        match error {
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                let known = KNOWN.iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, name)| *name);
                io::Error::new(kind, NotTls(known))
            }
            error => io::Error::new(kind, error),
        }
    }

    fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<NotTls>())
    }
}

impl fmt::Display for NotTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "{name} where TLS should begin"),
            None => f.write_str("something else than TLS where TLS should begin"),
        }
    }
}

impl std::error::Error for NotTls {}

const HTTP: &str = "plain HTTP";
const INTRODUCED: &str = "a header of the PROXY protocol, which `accept_proxy` reads,";

/// What peers say who speak something else.
const KNOWN: [(&[u8], &str); 13] = [
    (b"GET ", HTTP),
    (b"POST ", HTTP),
    (b"PUT ", HTTP),
    (b"HEAD ", HTTP),
    (b"DELETE ", HTTP),
    (b"PATCH ", HTTP),
    (b"OPTIONS ", HTTP),
    (b"CONNECT ", HTTP),
    (b"PRI * HTTP/2", "plain HTTP/2"),
    (b"HTTP/", HTTP),
    (b"SSH-", "SSH"),
    (b"PROXY ", INTRODUCED),
    (b"\r\n\r\n\0\r\nQUIT\n", INTRODUCED),
];

fn of_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the server's certificate has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another name"
        }
        // One that only calls itself as one that we believe has not made its signature.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is signed by no authority that we believe"
        }
        CertificateError::Revoked => "the server's certificate was revoked",
        error if is_of_authority(error) => {
            "the server's certificate is an authority's (`CA:TRUE`), and of none that we believe"
        }
        _ => "the server's certificate is not one of a server, or broken",
    }
}

/// Whether it is an authority's, which signs those of servers and is none.
pub(super) fn is_of_authority(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)))
}

/// Whether a client has broken off a handshake because it does not believe us: by an alert that says so, or, as some do, without a word.
pub fn is_clients(error: &io::Error) -> bool {
    match said(error) {
        Some(Error::AlertReceived(alert)) => matches!(
            alert,
            AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
        ),
        Some(_) => false,
        None => matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        ),
    }
}

fn said(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}
