//! Times of the day and of the week, in a zone.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

/// Some hours of some days.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The days, Monday first: the lowest bit.
    pub days: u8,
    /// Minutes of the day, from and up to, without the latter. Those that end before they begin end on the next day. None at all is the
    /// whole day.
    pub hours: Box<[(u16, u16)]>,
    /// Where the clock hangs.
    pub zone: Zone,
}

/// Where a clock hangs.
#[derive(Clone, Debug)]
pub struct Zone(pub(crate) TimeZone);

impl Zone {
    /// So many seconds east of Greenwich, all year round; nothing if that is more than a day.
    pub fn fixed(seconds: i32) -> Option<Zone> {
        Offset::from_seconds(seconds).ok().map(|offset| Zone(TimeZone::fixed(offset)))
    }

    /// By its name in the IANA database, whose rules are inside of the program; nothing if there is none.
    pub fn named(name: &str) -> Option<Zone> {
        TimeZone::get(name).ok().map(Zone)
    }
}

impl Schedule {
    /// Whether it is so at a second of Unix time.
    pub(super) fn holds(&self, now: u64) -> bool {
        let Some(timestamp) = i64::try_from(now).ok().and_then(|now| Timestamp::from_second(now).ok()) else {
            return false;
        };
        let local = timestamp.as_second() + i64::from(self.zone.0.to_offset(timestamp).seconds());
        let (day, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        // The first day of Unix time was a Thursday.
        let weekday = (day + 3).rem_euclid(7);
        let is_on = |weekday: i64| self.days >> weekday & 1 == 1;
        let (today, yesterday) = (is_on(weekday), is_on((weekday + 6) % 7));
        let minute = (second / 60) as u16;
        if self.hours.is_empty() {
            return today;
        }
        self.hours.iter().any(|(from, to)| {
            if from < to {
                today && (*from..*to).contains(&minute)
            } else {
                // Over midnight, it is of the day on which it began.
                (today && minute >= *from) || (yesterday && minute < *to)
            }
        })
    }
}

const DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    /// A second of Unix time by a date in UTC.
    fn at(text: &str) -> u64 {
        text.parse::<Timestamp>().expect("a time").as_second() as u64
    }

    fn schedule(days: u8, hours: &[(u16, u16)], zone: Zone) -> Schedule {
        Schedule { days, hours: hours.into(), zone }
    }

    const WORKDAYS: u8 = 0b001_1111;
    const FRIDAY: u8 = 0b001_0000;

    #[test]
    fn hours_are_of_days_and_end_before_their_end() {
        let utc = schedule(WORKDAYS, &[(540, 720), (780, 1020)], Zone::fixed(0).expect("a zone"));
        // 2026-11-30 is a Monday.
        for (time, holds) in [
            ("2026-11-30T08:59:59Z", false),
            ("2026-11-30T09:00:00Z", true),
            ("2026-11-30T11:59:59Z", true),
            ("2026-11-30T12:00:00Z", false),
            ("2026-12-04T16:59:59Z", true),
            ("2026-12-04T17:00:00Z", false),
            ("2026-12-05T10:00:00Z", false),
            ("2026-12-06T10:00:00Z", false),
            ("1970-01-01T10:00:00Z", true),
        ] {
            assert_eq!(utc.holds(at(time)), holds, "{time}");
        }
        let all_day = schedule(FRIDAY, &[], Zone::fixed(3600).expect("a zone"));
        assert!(all_day.holds(at("2026-12-03T23:00:00Z")) && !all_day.holds(at("2026-12-04T23:00:00Z")));
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let night = schedule(FRIDAY, &[(1320, 360)], Zone::fixed(0).expect("a zone"));
        for (time, holds) in [
            ("2026-12-04T21:59:00Z", false),
            ("2026-12-04T22:00:00Z", true),
            ("2026-12-05T05:59:00Z", true),
            ("2026-12-05T06:00:00Z", false),
            ("2026-12-04T03:00:00Z", false),
            ("2026-12-05T22:30:00Z", false),
        ] {
            assert_eq!(night.holds(at(time)), holds, "{time}");
        }
        // Sunday's night ends on Monday.
        let sunday = schedule(0b100_0000, &[(1320, 360)], Zone::fixed(0).expect("a zone"));
        assert!(sunday.holds(at("2026-12-07T01:00:00Z")));
    }

    #[test]
    fn zones_have_their_summers() {
        let berlin = schedule(WORKDAYS, &[(540, 541)], Zone::named("Europe/Berlin").expect("a zone"));
        assert!(berlin.holds(at("2026-01-15T08:00:30Z")) && !berlin.holds(at("2026-01-15T07:00:30Z")));
        assert!(berlin.holds(at("2026-07-15T07:00:30Z")) && !berlin.holds(at("2026-07-15T08:00:30Z")));
        let kathmandu = schedule(WORKDAYS, &[(345, 346)], Zone::named("Asia/Kathmandu").expect("a zone"));
        assert!(kathmandu.holds(at("2026-01-15T00:00:00Z")));
        assert!(Zone::named("Mars/Olympus").is_none() && Zone::fixed(100_000_000).is_none());
    }
}
