//! Instants as text, in UTC, with the part that changes once a second kept.

use std::time::{SystemTime, UNIX_EPOCH};

use base::civil::{Civil, MONTHS, digits};

/// Prints instants and remembers the last second it printed.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    second: u64,
    rfc3339: [u8; 19],
    clf: [u8; 26],
}

impl Default for Stamp {
    fn default() -> Stamp {
        let mut stamp = Stamp { second: 0, rfc3339: *b"0000-00-00T00:00:00", clf: *b"00/---/0000:00:00:00 +0000" };
        stamp.render();
        stamp
    }
}

impl Stamp {
    /// Appends `2026-11-23T12:00:00.123Z` (RFC 3339). Instants before 1970 print as 1970.
    pub(crate) fn rfc3339(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        let millis = self.turn_to(time);
        out.extend_from_slice(&self.rfc3339);
        let digit = |value: u32| b'0' + (value % 10) as u8;
        out.extend_from_slice(&[b'.', digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
    }

    /// Appends `23/Nov/2026:12:00:00 +0000`, the form of the Common Log Format.
    pub(crate) fn clf(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        self.turn_to(time);
        out.extend_from_slice(&self.clf);
    }

    /// Makes the kept texts those of the instant's second, and answers its milliseconds.
    fn turn_to(&mut self, time: SystemTime) -> u32 {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if since.as_secs() != self.second {
            self.second = since.as_secs();
            self.render();
        }
        since.subsec_millis()
    }

    fn render(&mut self) {
        let at = Civil::of(self.second);
        digits(&mut self.rfc3339[0..4], at.year);
        digits(&mut self.rfc3339[5..7], at.month);
        digits(&mut self.rfc3339[8..10], at.day);
        digits(&mut self.rfc3339[11..13], at.hour);
        digits(&mut self.rfc3339[14..16], at.minute);
        digits(&mut self.rfc3339[17..19], at.second);
        digits(&mut self.clf[0..2], at.day);
        let name = (at.month as usize - 1) * 3;
        self.clf[3..6].copy_from_slice(&MONTHS[name..name + 3]);
        digits(&mut self.clf[7..11], at.year);
        digits(&mut self.clf[12..14], at.hour);
        digits(&mut self.clf[15..17], at.minute);
        digits(&mut self.clf[18..20], at.second);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn both(seconds: u64, millis: u64) -> (String, String) {
        let time = UNIX_EPOCH + Duration::from_millis(seconds * 1000 + millis);
        let mut stamp = Stamp::default();
        let (mut rfc3339, mut clf) = (Vec::new(), Vec::new());
        stamp.rfc3339(time, &mut rfc3339);
        stamp.clf(time, &mut clf);
        (String::from_utf8(rfc3339).expect("ascii"), String::from_utf8(clf).expect("ascii"))
    }

    #[test]
    fn known_instants() {
        // The dates are those that `date -u -d @N` prints.
        for (seconds, millis, rfc3339, clf) in [
            (0, 0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
            (951_782_400, 7, "2000-02-29T00:00:00.007Z", "29/Feb/2000:00:00:00 +0000"),
            (951_868_799, 999, "2000-02-29T23:59:59.999Z", "29/Feb/2000:23:59:59 +0000"),
            (951_868_800, 0, "2000-03-01T00:00:00.000Z", "01/Mar/2000:00:00:00 +0000"),
            (1_795_435_200, 123, "2026-11-23T12:00:00.123Z", "23/Nov/2026:12:00:00 +0000"),
            (4_107_542_400, 50, "2100-03-01T00:00:00.050Z", "01/Mar/2100:00:00:00 +0000"),
        ] {
            assert_eq!(both(seconds, millis), (rfc3339.to_owned(), clf.to_owned()));
        }
    }

    #[test]
    fn a_time_before_the_epoch_is_the_epoch() {
        let mut out = Vec::new();
        Stamp::default().rfc3339(UNIX_EPOCH - Duration::from_secs(5), &mut out);
        assert_eq!(out, b"1970-01-01T00:00:00.000Z");
    }
}
