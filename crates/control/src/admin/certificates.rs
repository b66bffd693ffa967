//! Certificates: whom they are for, until when, and what is wrong with them.

use std::time::{Duration, UNIX_EPOCH};

use base::hex;
use observe::metrics::Certificate;
use serde_json::{Value, json};

use super::Desk;
use super::answer::Answer;
use super::status::time;
use crate::certificates::Shown;
use crate::plane::Plane;

/// `GET /api/certificates`
pub(super) fn list(desk: &Desk) -> Answer {
    let plane = desk.process.plane.borrow();
    Answer::json(200, &plane.keyring.shown.iter().map(|shown| show(&plane, shown)).collect())
}

fn show(plane: &Plane, shown: &Shown) -> Value {
    let identity = shown.identity.as_ref();
    let (from, until) = identity.and_then(|identity| identity.validity()).unzip();
    let date = |at: Option<u64>| at.map(|at| time(UNIX_EPOCH + Duration::from_secs(at)));
    let fingerprint =
        identity.map(|identity| identity.fingerprint().iter().flat_map(|byte| hex::pair(*byte)).collect());
    json!({
        "name": shown.name,
        "source": shown.source,
        "hosts": hosts(shown),
        "file": shown.file.as_ref().map(|file| file.display().to_string()),
        "not_before": date(from),
        "not_after": date(until),
        "sha256": fingerprint.map(|bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned()),
        "error": error(plane, shown),
    })
}

/// The same for a scrape: a row for each host.
pub(super) fn measured(plane: &Plane) -> impl Iterator<Item = Certificate<'_>> {
    plane.keyring.shown.iter().flat_map(|shown| {
        let until = shown.identity.as_ref().and_then(|identity| identity.validity()).map(|(_, until)| until);
        // One that names no host ends all the same.
        let nobody = hosts(shown).is_empty().then_some("");
        let hosts = hosts(shown).iter().map(String::as_str).chain(nobody);
        hosts.map(move |host| Certificate { certificate: &shown.name, host, until })
    })
}

/// Whom it is for; who it will be for, where there is none yet.
fn hosts(shown: &Shown) -> &[String] {
    match (&shown.identity, &shown.asked) {
        (Some(identity), _) => identity.names(),
        (None, Some((_, domain))) => std::slice::from_ref(domain),
        (None, None) => &[],
    }
}

fn error(plane: &Plane, shown: &Shown) -> Option<String> {
    let (storage, domain) = shown.asked.as_ref()?;
    plane.vault.acme.error(storage, domain)
}
