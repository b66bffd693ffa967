//! From when until when a certificate is valid. The library judges that and does not tell.

use super::der::{INTEGER, SEQUENCE, VERSION, element};

/// The first and the last second of a certificate's validity, in Unix time: of DER, as far as it must be read (RFC 5280
/// section 4.1).
pub(super) fn validity(certificate: &[u8]) -> Option<(u64, u64)> {
    let (whole, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(whole, SEQUENCE)?;
    if let Some((_, after)) = element(rest, VERSION) {
        rest = after;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        // The serial number, the algorithm of the signature, the issuer.
        rest = element(rest, tag)?.1;
    }
    let (period, _) = element(rest, SEQUENCE)?;
    let (from, rest) = time(period)?;
    Some((from, time(rest)?.0))
}

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// A time and what follows it: RFC 5280 section 4.1.2.5 allows two forms, both in UTC and with seconds.
fn time(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (text, century, rest) = match element(bytes, UTC_TIME) {
        Some((text, rest)) => (text, if text.first()? < &b'5' { "20" } else { "19" }, rest),
        None => element(bytes, GENERALIZED_TIME).map(|(text, rest)| (text, "", rest))?,
    };
    let digits = [century.as_bytes(), text.strip_suffix(b"Z")?].concat();
    let number =
        |from: usize, to: usize| -> Option<u64> { std::str::from_utf8(digits.get(from..to)?).ok()?.parse().ok() };
    if digits.len() != 14 {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let seconds = number(8, 10)? * 3600 + number(10, 12)? * 60 + number(12, 14)?;
    Some(((days(year, month, day)?) * 86_400 + seconds, rest))
}

/// Days since 1970 of a Gregorian date. Years begin in March here, so that the leap day is a year's last.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = year - u64::from(month <= 2);
    let from_march = (month + 9) % 12;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * from_march + 2) / 5 + day - 1;
    days.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_time_are_read() {
        let of =
            |tag: u8, text: &str| time(&[&[tag, text.len() as u8], text.as_bytes()].concat()).map(|(time, _)| time);
        assert_eq!(of(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(of(UTC_TIME, "261123185318Z"), Some(1_795_459_998));
        assert_eq!(of(GENERALIZED_TIME, "20240229235959Z"), Some(1_709_251_199));
        assert_eq!(of(GENERALIZED_TIME, "99991231235959Z"), Some(253_402_300_799));
        for bad in ["", "Z", "2611231853Z", "26112318531xZ", "261123185318+0100"] {
            assert_eq!(of(UTC_TIME, bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_cut_or_no_certificate_has_no_validity() {
        let certificate = [
            &[
                0x30, 0x2e, 0x30, 0x2c, 0xa0, 0x03, 0x02, 0x01, 0x02, 0x02, 0x01, 0x07, 0x30, 0x00, 0x30, 0x00, 0x30,
                0x1e,
            ][..],
            &[0x17, 0x0d],
            b"700101000000Z",
            &[0x17, 0x0d],
            b"700101000001Z",
        ]
        .concat();
        assert_eq!(validity(&certificate), Some((0, 1)));
        for length in 0..certificate.len() {
            assert_eq!(validity(&certificate[..length]), None, "{length}");
        }
    }
}
