//! How much may go through in a period, by user or client or whatever else tells requests apart, over all workers.
//!
//! - [`period`]: when a period ends
//! - [`ledger`]: what was used of it
//!
//! Who a request is counted for is found out once; from then on bodies, tunnels and datagrams count without a lock. A tunnel that is
//! read counts by the requests inside of it alone.

mod ledger;
mod period;

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use base::xxh64::hash;
use base::{Fault, Kind};

pub use ledger::{Ledger, Most, Row, Subject};
pub use period::Period;

use crate::exchange::Exchange;
use crate::policy::{Selector, View};
use crate::snapshot::Route;
use crate::users::neighbourhood;
use ledger::Used;

/// A limit of how much goes through.
#[derive(Debug)]
pub struct Quota {
    /// How much there is for each.
    pub most: Most,
    /// Who has it: the first that is there, with its name in the configuration; else the client's address.
    pub by: Box<[(Box<str>, Selector)]>,
    /// Whether bytes from clients count, and those to them.
    pub up: bool,
    /// See `up`.
    pub down: bool,
    /// Whether what is under way is cut when it is used up.
    pub cuts: bool,
    /// The status by which requests are refused then.
    pub status: u16,
    /// What everybody has used.
    pub ledger: Arc<Ledger>,
}

/// What an exchange is counted by.
#[derive(Debug)]
pub(crate) struct Meter {
    parts: Box<[Part]>,
    /// The quota that has ended it.
    over: Cell<Option<usize>>,
}

#[derive(Debug)]
struct Part {
    quota: Arc<Quota>,
    subject: Arc<Subject>,
}

/// What a client is told of a quota that is used up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over {
    pub(crate) status: u16,
    /// How long it takes until there is another one.
    pub(crate) seconds: u64,
}

pub(crate) const NO_BYTES: &str = "no more bytes until the period ends";

/// Names of subjects are no longer than about this.
const LONGEST: usize = 128;

/// Counts a request whose route leads to a server, and sees to it that its body is counted.
///
/// # Errors
/// Whoever asks has used up one of the route's quotas.
pub(crate) fn begin(x: &mut Exchange, route: &Route) -> Result<(), Fault> {
    if route.quotas.is_empty() {
        return Ok(());
    }
    let now = now();
    let view = x.facts.view(&x.request);
    let part = |quota: &Arc<Quota>| {
        let subject = quota.ledger.subject(&subject(&quota.by, &view), now);
        Part { quota: Arc::clone(quota), subject }
    };
    let meter = Rc::new(Meter { parts: route.quotas.iter().map(part).collect(), over: Cell::new(None) });
    x.meter = Some(Rc::clone(&meter));
    if let Err(used) = meter.request(now) {
        x.notes.reason = used.reason();
        return Err(Fault::client(Kind::Quota));
    }
    if meter.counts(true) {
        // Of its body this has come already.
        let is_left = meter.took(true, x.prefix.len() as u64);
        x.upload.toll.get_or_insert_default().tap = Some(Tap { meter, up: true });
        if !is_left {
            return Err(spent(x));
        }
    }
    Ok(())
}

/// What ends an exchange whose bytes are used up.
pub(crate) fn spent(x: &mut Exchange) -> Fault {
    x.notes.reason = NO_BYTES;
    Fault::client(Kind::Quota)
}

/// It has become a tunnel that is read, and what is asked for in there counts; or it leads nowhere.
pub(crate) fn give_back(meter: Option<Rc<Meter>>) {
    if let Some(meter) = meter {
        meter.parts.iter().for_each(Part::give_back);
    }
}

/// What counts the bytes of an exchange in one direction, if any quota wants to know them.
pub(crate) fn tap(x: &Exchange, up: bool) -> Option<Tap> {
    let meter = x.meter.as_ref().filter(|meter| meter.counts(up))?;
    Some(Tap { meter: Rc::clone(meter), up })
}

/// What counts bytes in one direction.
#[derive(Debug)]
pub(crate) struct Tap {
    meter: Rc<Meter>,
    up: bool,
}

impl Tap {
    /// So many bytes have passed; says whether there were so many left.
    pub(crate) fn took(&self, bytes: u64) -> bool {
        self.meter.took(self.up, bytes)
    }
}

impl Meter {
    /// What a client is told, once a quota was found to be used up.
    pub(crate) fn over(&self) -> Option<Over> {
        let part = self.parts.get(self.over.get()?)?;
        Some(Over { status: part.quota.status, seconds: part.subject.left(now()) })
    }

    /// So many bytes have passed; says whether it may go on.
    pub(crate) fn took(&self, up: bool, bytes: u64) -> bool {
        if bytes == 0 {
            return true;
        }
        let now = now();
        let mut goes_on = true;
        for (at, Part { quota, subject }) in self.parts.iter().enumerate() {
            if !quota.counts(up) {
                continue;
            }
            let is_left = subject.bytes(bytes, quota.most, &quota.ledger, now);
            quota.ledger.note_moved();
            if !is_left && quota.cuts {
                goes_on = false;
                if self.over.get().is_none() {
                    self.over.set(Some(at));
                    quota.ledger.note_cut();
                }
            }
        }
        goes_on
    }

    /// All of the quotas, or none.
    fn request(&self, now: u64) -> Result<(), Used> {
        for (at, Part { quota, subject }) in self.parts.iter().enumerate() {
            let taken = subject.request(quota.most, &quota.ledger, now);
            quota.ledger.note_moved();
            if let Err(used) = taken {
                self.over.set(Some(at));
                quota.ledger.note_refused();
                self.parts[..at].iter().for_each(Part::give_back);
                return Err(used);
            }
        }
        Ok(())
    }

    fn counts(&self, up: bool) -> bool {
        self.parts.iter().any(|part| part.quota.counts(up))
    }
}

impl Part {
    fn give_back(&self) {
        self.subject.give_back();
        self.quota.ledger.note_moved();
    }
}

impl Quota {
    fn counts(&self, up: bool) -> bool {
        self.most.bytes.is_some() && if up { self.up } else { self.down }
    }
}

impl Used {
    fn reason(self) -> &'static str {
        match self {
            Used::Bytes => NO_BYTES,
            Used::Requests => "no more requests until the period ends",
        }
    }
}

/// Who it is that a request is counted for: `user=ann`.
fn subject(by: &[(Box<str>, Selector)], view: &View<'_>) -> String {
    let found = by.iter().find_map(|(word, selector)| {
        let text = match selector {
            Selector::ClientIp | Selector::PeerIp => return Some((word, None)),
            other => other.find(view).filter(|text| !text.is_empty())?,
        };
        Some((word, Some(text)))
    });
    match found {
        Some((word, Some(text))) if text.len() > LONGEST => {
            let start = String::from_utf8_lossy(&text[..LONGEST - 24]).into_owned();
            format!("{word}={start}#{:016x}", hash(0, &text))
        }
        Some((word, Some(text))) => format!("{word}={}", String::from_utf8_lossy(&text)),
        Some((word, None)) if **word == *"peer_ip" => format!("peer_ip={}", household(view.peer)),
        _ => format!("client_ip={}", household(view.client)),
    }
}

/// An address of IPv4; of IPv6 its network, for each host has as many addresses there as it likes (RFC 4291 section 2.5.4, RFC 8981).
fn household(address: IpAddr) -> String {
    match neighbourhood(address) {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(network) => format!("{network}/64"),
    }
}

/// Seconds of Unix time. A period of the calendar is about what everybody's clock says.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::household;

    #[test]
    fn clients_are_told_apart_by_what_they_cannot_choose() {
        for (address, told) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
            ("::1", "::/64"),
        ] {
            assert_eq!(household(address.parse().expect("an address")), told);
        }
    }
}
