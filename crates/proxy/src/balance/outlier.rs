//! Outliers: which answers speak against a server, how many servers may be out, and for how long (sans-IO).
//!
//! The rules are Envoy's (its manual, "Outlier detection"): errors in a row eject at once; an ejection lasts `eject_for` times
//! the number of ejections, up to a most; only a part of a pool may be out. What differs: 501 and 505 are no errors in a row, since
//! a client can ask for them; the last server is never ejected; and a server is forgiven one ejection for each `eject_for` that
//! it has been well.

use std::time::{Duration, Instant};

use base::{Fault, Kind, Side};

/// What a finished try says of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has answered.
    Good,
    /// It has failed.
    Bad(Misdeed),
    /// Nothing: the try ended for reasons of others.
    Nothing,
}

/// What a server did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdeed {
    /// It answered with this status.
    Status(u16),
    /// It could not be asked, or did not answer.
    Fault(Kind),
}

/// Ejections of one server: how long the next one lasts, and when the past ones are forgiven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    times: u32,
    /// Since when it has been well, or since when the last ejection was forgiven.
    well_since: Option<Instant>,
}

/// How long ejections last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The first.
    pub eject_for: Duration,
    /// The longest.
    pub eject_for_max: Duration,
}

impl Verdict {
    /// The verdict on a try with this status (0 if there was none) and this fault. A connection that was idle before may have
    /// been closed while the request was on its way: that says nothing.
    pub fn of(status: u16, fault: Option<Fault>, reused: bool) -> Verdict {
        match fault {
            Some(Fault { side: Side::Server, kind: Kind::Reset, .. }) if reused => Verdict::Nothing,
            Some(Fault { side: Side::Server, kind, .. }) if kind != Kind::BadStatus => {
                Verdict::Bad(Misdeed::Fault(kind))
            }
            _ => match status {
                0 => Verdict::Nothing,
                500 | 502..=504 | 506..=599 => Verdict::Bad(Misdeed::Status(status)),
                _ => Verdict::Good,
            },
        }
    }
}

impl Misdeed {
    /// As one number, for an atomic.
    pub(crate) fn pack(self) -> u32 {
        match self {
            Misdeed::Status(status) => u32::from(status),
            Misdeed::Fault(kind) => FAULTS + kind as u32,
        }
    }

    /// Back from its number.
    pub(crate) fn unpack(packed: u32) -> Misdeed {
        match packed.checked_sub(FAULTS).and_then(|index| Kind::ALL.get(index as usize)) {
            Some(kind) => Misdeed::Fault(*kind),
            None => Misdeed::Status(packed as u16),
        }
    }
}

impl std::fmt::Display for Misdeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Misdeed::Status(status) => status.fmt(f),
            Misdeed::Fault(kind) => f.write_str(kind.code()),
        }
    }
}

/// Statuses are below this.
const FAULTS: u32 = 1000;

/// How many of so many servers may be out, by a share in hundredths of a percent: at least one, and never all.
pub fn most_ejected(servers: usize, share: u32) -> u32 {
    let servers = u32::try_from(servers).unwrap_or(u32::MAX);
    let most = u64::from(servers) * u64::from(share) / u64::from(base::units::Share::WHOLE);
    u32::try_from(most).unwrap_or(u32::MAX).max(1).min(servers.saturating_sub(1))
}

impl Record {
    /// It is ejected: for how long.
    pub fn eject(&mut self, terms: &Terms) -> Duration {
        self.times = self.times.saturating_add(1);
        self.well_since = None;
        terms.eject_for.saturating_mul(self.times).min(terms.eject_for_max.max(terms.eject_for))
    }

    /// It has come back.
    pub fn come_back(&mut self, now: Instant) {
        self.well_since = Some(now);
    }

    /// Forgives what is long enough ago.
    pub fn forgive(&mut self, terms: &Terms, now: Instant) {
        while let Some(since) = self.well_since
            && now.saturating_duration_since(since) >= terms.eject_for
        {
            self.times = self.times.saturating_sub(1);
            self.well_since = (self.times > 0).then(|| since + terms.eject_for);
        }
    }
}

#[cfg(test)]
mod tests {
    use base::Retry;

    use super::*;

    #[test]
    fn what_speaks_against_a_server() {
        let fault = |kind| Some(Fault::server(kind, Retry::Never));
        for status in [200, 204, 304, 404, 429, 501, 505] {
            assert_eq!(Verdict::of(status, None, false), Verdict::Good, "{status}");
        }
        for status in [500, 502, 503, 504, 507, 599] {
            assert_eq!(Verdict::of(status, None, false), Verdict::Bad(Misdeed::Status(status)));
        }
        assert_eq!(Verdict::of(503, fault(Kind::BadStatus), false), Verdict::Bad(Misdeed::Status(503)));
        for kind in [Kind::Connect, Kind::ConnectTimeout, Kind::Reset, Kind::ResponseTimeout, Kind::BadResponse] {
            assert_eq!(Verdict::of(0, fault(kind), false), Verdict::Bad(Misdeed::Fault(kind)));
        }
        assert_eq!(Verdict::of(200, fault(Kind::Truncated), true), Verdict::Bad(Misdeed::Fault(Kind::Truncated)));
        assert_eq!(Verdict::of(0, fault(Kind::Reset), true), Verdict::Nothing);
        assert_eq!(Verdict::of(0, Some(Fault::client(Kind::ClientGone)), false), Verdict::Nothing);
        assert_eq!(Verdict::of(0, Some(Fault::proxy(Kind::TotalTimeout)), false), Verdict::Nothing);
    }

    #[test]
    fn misdeeds_fit_a_number() {
        for kind in Kind::ALL {
            assert_eq!(Misdeed::unpack(Misdeed::Fault(kind).pack()), Misdeed::Fault(kind));
        }
        for status in [500, 502, 599] {
            assert_eq!(Misdeed::unpack(Misdeed::Status(status).pack()), Misdeed::Status(status));
        }
    }

    #[test]
    fn at_least_one_may_be_out_and_never_all() {
        for (servers, share, most) in [
            (0, 5000, 0),
            (1, 10_000, 0),
            (2, 5000, 1),
            (3, 5000, 1),
            (4, 5000, 2),
            (10, 1000, 1),
            (10, 0, 1),
            (3, 10_000, 2),
        ] {
            assert_eq!(most_ejected(servers, share), most, "{servers} {share}");
        }
    }

    #[test]
    fn ejections_grow_to_a_most_and_are_forgiven() {
        let second = Duration::from_secs;
        let terms = Terms { eject_for: second(30), eject_for_max: second(75) };
        let (mut record, start) = (Record::default(), Instant::now());
        assert_eq!(record.eject(&terms), second(30));
        record.come_back(start + second(30));
        record.forgive(&terms, start + second(40));
        assert_eq!(record.eject(&terms), second(60));
        record.come_back(start + second(100));
        assert_eq!(record.eject(&terms), second(75));
        record.come_back(start + second(200));
        // Three times 30 s, and nothing is left.
        record.forgive(&terms, start + second(259));
        assert_eq!(record.times, 2);
        record.forgive(&terms, start + second(1000));
        assert_eq!(record, Record::default());
        assert_eq!(record.eject(&terms), second(30));
    }
}
