//! Periods: of the calendar in a zone, or so long from the first request on.

use jiff::civil::{Date, Weekday};
use jiff::{Timestamp, ToSpan as _, ZonedDateTime};

use crate::route::Zone;

/// A period. Moments are seconds of Unix time.
#[derive(Clone, Debug)]
pub enum Period {
    /// From the hour on.
    Hour(Zone),
    /// From midnight on.
    Day(Zone),
    /// From Monday's midnight on.
    Week(Zone),
    /// From the midnight of the first on.
    Month(Zone),
    /// So many seconds from the first request on.
    Rolling(u64),
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const SET_BACK: u64 = 3 * HOUR;

impl Period {
    /// The first moment that is not in the period of this one any more; it is always later.
    pub fn end(&self, now: u64) -> u64 {
        let end = match self {
            Period::Hour(zone) => local(now, zone).and_then(|at| next_hour(&at)),
            Period::Day(zone) => local(now, zone).and_then(|at| day_in(1, &at)),
            Period::Week(zone) => {
                local(now, zone).and_then(|at| day_in(7 - i64::from(at.weekday().since(Weekday::Monday)), &at))
            }
            Period::Month(zone) => local(now, zone).and_then(|at| next_month(&at)),
            Period::Rolling(_) => None,
        };
        let end = end.and_then(|end| u64::try_from(end.timestamp().as_second()).ok());
        // Beyond the end of the calendar, years from now, and where none is asked.
        end.filter(|end| *end > now).unwrap_or(now.saturating_add(self.nominal()))
    }

    /// Whether a period that is under way now may end so: by the calendar there is one such end.
    pub fn is_present(&self, until: u64, now: u64) -> bool {
        match self {
            Period::Rolling(seconds) => now < until && until - now <= *seconds,
            _ => until == self.end(now),
        }
    }

    /// No period is longer than this: what ends later was counted by another clock, or another period.
    pub(super) fn longest(&self) -> u64 {
        match self {
            Period::Hour(_) | Period::Rolling(_) => self.nominal(),
            // Clocks are set back by hours at most, and not twice in a month.
            _ => self.nominal() + SET_BACK,
        }
    }

    fn nominal(&self) -> u64 {
        match self {
            Period::Hour(_) => HOUR,
            Period::Day(_) => DAY,
            Period::Week(_) => 7 * DAY,
            Period::Month(_) => 31 * DAY,
            Period::Rolling(seconds) => *seconds,
        }
    }
}

fn local(now: u64, zone: &Zone) -> Option<ZonedDateTime> {
    let now = Timestamp::from_second(i64::try_from(now).ok()?).ok()?;
    Some(now.to_zoned_datetime(zone.0.clone()))
}

/// The next full hour of the local clock.
fn next_hour(at: &ZonedDateTime) -> Option<ZonedDateTime> {
    let past = i64::from(at.minute()) * 60 + i64::from(at.second());
    at.checked_add((3600 - past).seconds()).ok()
}

/// The first moment of a day that comes so many days later: not every day begins at midnight.
fn day_in(days: i64, at: &ZonedDateTime) -> Option<ZonedDateTime> {
    begin(at.date().checked_add(days.days()).ok()?, at)
}

fn next_month(at: &ZonedDateTime) -> Option<ZonedDateTime> {
    begin(at.date().first_of_month().checked_add(1.month()).ok()?, at)
}

fn begin(day: Date, at: &ZonedDateTime) -> Option<ZonedDateTime> {
    day.to_zoned_datetime(at.time_zone().clone()).ok()?.start_of_day().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> u64 {
        text.parse::<Timestamp>().expect("a time").as_second() as u64
    }

    fn utc() -> Zone {
        Zone::fixed(0).expect("a zone")
    }

    fn berlin() -> Zone {
        Zone::named("Europe/Berlin").expect("a zone")
    }

    #[test]
    fn periods_of_the_calendar_end_when_the_next_ones_begin() {
        // 2026-11-30 is a Monday.
        for (period, now, end) in [
            (Period::Hour(utc()), "2026-11-30T08:59:59Z", "2026-11-30T09:00:00Z"),
            (Period::Hour(utc()), "2026-11-30T09:00:00Z", "2026-11-30T10:00:00Z"),
            (Period::Day(utc()), "2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z"),
            (Period::Day(utc()), "2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z"),
            (Period::Day(berlin()), "2026-11-30T22:59:59Z", "2026-11-30T23:00:00Z"),
            (Period::Day(berlin()), "2026-11-30T23:00:00Z", "2026-12-01T23:00:00Z"),
            (Period::Week(utc()), "2026-11-30T00:00:00Z", "2026-12-07T00:00:00Z"),
            (Period::Week(utc()), "2026-12-06T23:59:59Z", "2026-12-07T00:00:00Z"),
            (Period::Month(utc()), "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
            (Period::Month(utc()), "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            (Period::Month(berlin()), "2026-11-30T23:00:00Z", "2026-12-31T23:00:00Z"),
        ] {
            assert_eq!(period.end(at(now)), at(end), "{period:?} {now}");
        }
    }

    #[test]
    fn days_have_their_summers_and_hours_their_zones() {
        // 25 hours and 23, and an hour of a zone that is a quarter off.
        let autumn = "2026-10-24T22:00:00Z";
        assert_eq!(Period::Day(berlin()).end(at(autumn)), at("2026-10-25T23:00:00Z"));
        assert_eq!(Period::Day(berlin()).end(at("2026-03-28T23:00:00Z")), at("2026-03-29T22:00:00Z"));
        let nepal = Zone::named("Asia/Kathmandu").expect("a zone");
        assert_eq!(Period::Hour(nepal).end(at("2026-01-15T00:00:00Z")), at("2026-01-15T00:15:00Z"));
        // Midnight is left out on this day.
        let cairo = Zone::named("Africa/Cairo").expect("a zone");
        assert_eq!(Period::Day(cairo).end(at("2026-04-23T12:00:00Z")), at("2026-04-23T22:00:00Z"));
    }

    #[test]
    fn others_begin_when_somebody_does_and_every_end_is_later() {
        assert_eq!(Period::Rolling(60).end(1000), 1060);
        let zones = [utc(), berlin()];
        for zone in zones {
            let periods = [
                Period::Hour(zone.clone()),
                Period::Day(zone.clone()),
                Period::Week(zone.clone()),
                Period::Month(zone),
                Period::Rolling(1),
            ];
            for period in periods {
                for now in [0, at("2026-03-29T00:59:59Z"), at("2026-10-25T00:30:00Z"), 1 << 40, u64::MAX - 1] {
                    let end = period.end(now);
                    assert!(end > now, "{period:?} {now}");
                    assert!(end - now <= period.longest(), "{period:?} {now} {end}");
                }
            }
        }
    }
}
