//! The families of certificates.

use super::page::{Page, labels};

/// A certificate, for one of its hosts.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    /// Its name in the configuration.
    pub certificate: &'a str,
    /// The host; `*.` in front of a wildcard's.
    pub host: &'a str,
    /// The last second of its validity, in Unix time; absent where there is no certificate yet.
    pub until: Option<u64>,
}

pub(super) fn write(certificates: &[Certificate<'_>], page: &mut Page) {
    let of = |one: &Certificate<'_>| labels(&[("certificate", one.certificate), ("host", one.host)]);
    page.gauge(
        "tidegate_certificate_expiry_seconds",
        "When a certificate ends, in Unix time.",
        certificates.iter().filter_map(|one| Some((of(one), one.until? as f64))),
    );
    page.gauge(
        "tidegate_certificate_missing",
        "Whether there is no certificate for a host yet, so that its handshakes are refused.",
        certificates.iter().map(|one| (of(one), f64::from(u8::from(one.until.is_none())))),
    );
}
