//! Unix seconds as dates of the calendar, in UTC.

/// A second of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the calendar's own words")]
pub struct Civil {
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
    pub hour: u64,
    pub minute: u64,
    pub second: u64,
    /// 0 is Sunday.
    pub weekday: u64,
}

/// The months' English names, three letters each.
pub const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
const WEEKDAYS: &[u8; 21] = b"SunMonTueWedThuFriSat";

impl Civil {
    /// The Gregorian date of a Unix second. Years begin in March here, so that the leap day is a year's last.
    pub fn of(unix: u64) -> Civil {
        let days = unix / 86_400 + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Civil {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            hour: unix / 3_600 % 24,
            minute: unix / 60 % 60,
            second: unix % 60,
            weekday: (unix / 86_400 + 4) % 7,
        }
    }

    /// The date as RFC 3339 writes it: `1994-11-06T08:49:37Z`.
    pub fn rfc3339(self) -> String {
        let Civil { year, month, day, hour, minute, second, .. } = self;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// The date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7).
    pub fn http(self) -> [u8; 29] {
        let mut text = *b"---, 00 --- 0000 00:00:00 GMT";
        let weekday = self.weekday as usize * 3;
        text[0..3].copy_from_slice(&WEEKDAYS[weekday..weekday + 3]);
        digits(&mut text[5..7], self.day);
        let month = (self.month as usize - 1) * 3;
        text[8..11].copy_from_slice(&MONTHS[month..month + 3]);
        digits(&mut text[12..16], self.year);
        digits(&mut text[17..19], self.hour);
        digits(&mut text[20..22], self.minute);
        digits(&mut text[23..25], self.second);
        text
    }
}

/// Fills the place with the number's last decimal digits.
pub fn digits(place: &mut [u8], number: u64) {
    let mut rest = number;
    for slot in place.iter_mut().rev() {
        *slot = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(&Civil::of(784_111_777).http(), b"Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn leap_days_and_the_first_second() {
        assert_eq!(&Civil::of(0).http(), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&Civil::of(1_709_164_800).http(), b"Thu, 29 Feb 2024 00:00:00 GMT");
    }
}
