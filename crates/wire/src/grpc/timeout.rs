//! How long a call may take: `grpc-timeout`, at most eight digits and a unit.

use std::time::Duration;

use crate::head::Head;

/// A `grpc-timeout` that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTimeout;

/// The time that the request gives its call, if it limits it.
///
/// # Errors
/// It is said in a way that two readers could understand in two ways.
pub fn timeout(request: &Head) -> Result<Option<Duration>, NoTimeout> {
    let mut values = request.values(b"grpc-timeout");
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(NoTimeout);
    }
    let (unit, digits) = value.split_last().ok_or(NoTimeout)?;
    if digits.is_empty() || digits.len() > MOST_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NoTimeout);
    }
    let number = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Ok(Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return Err(NoTimeout),
    }))
}

/// The value of a `grpc-timeout` that says this much, or less by no more than eight digits can say.
pub fn write_timeout(time: Duration) -> String {
    let most = 10_u128.pow(MOST_DIGITS as u32);
    let units = [(time.as_micros(), 'u'), (time.as_millis(), 'm'), (u128::from(time.as_secs()), 'S')];
    match units.into_iter().find(|(number, _)| *number < most) {
        Some((number, unit)) => format!("{number}{unit}"),
        None => format!("{}H", (u128::from(time.as_secs()) / 3600).min(most - 1)),
    }
}

const MOST_DIGITS: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(value: &str) -> Result<Option<Duration>, NoTimeout> {
        let mut head = Head::default();
        head.start_request(b"POST", b"a", b"/", None);
        head.add(b"Grpc-Timeout", value.as_bytes());
        timeout(&head)
    }

    #[test]
    fn every_unit_is_read() {
        for (value, nanos) in
            [("1n", 1), ("2u", 2_000), ("3m", 3_000_000), ("4S", 4_000_000_000), ("5M", 300_000_000_000)]
        {
            assert_eq!(read(value), Ok(Some(Duration::from_nanos(nanos))), "{value}");
        }
        assert_eq!(read("99999999H"), Ok(Some(Duration::from_secs(99_999_999 * 3600))));
        assert_eq!(read("0m"), Ok(Some(Duration::ZERO)));
    }

    #[test]
    fn what_is_no_timeout_is_refused() {
        for value in ["", "1", "S", "1s", "1h", "123456789S", "-1S", "1.5S", "1 S", "+1S"] {
            assert_eq!(read(value), Err(NoTimeout), "{value}");
        }
        let mut head = Head::default();
        head.start_request(b"POST", b"a", b"/", None);
        assert_eq!(timeout(&head), Ok(None));
        head.add(b"grpc-timeout", b"1S");
        head.add(b"grpc-timeout", b"1S");
        assert_eq!(timeout(&head), Err(NoTimeout));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_never_more(secs in 0_u64..1_000_000_000_000, nanos in 0_u32..1_000_000_000) {
            let time = Duration::new(secs, nanos);
            let read = read(&write_timeout(time)).expect("a timeout").expect("one");
            prop_assert!(read <= time);
            prop_assert!(secs > 99_999_999 * 3600 || time - read <= time / 10_000 + Duration::from_micros(1));
        }
    }
}
