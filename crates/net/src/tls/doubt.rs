//! Why one side of a handshake does not believe the other.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

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
