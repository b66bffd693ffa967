//! Durations, sizes, rates and shares as operators write them, and back.
//!
//! All are whole numbers with a unit: `500us 30s 1h30m`, `64KiB 8GiB 1KB`, `100/s 10/m`, `10% 2.5%`. A number without its
//! unit is never guessed at.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a text is not a quantity, and what would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError(String);

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnitError {}

/// Reads a duration: numbers with `us`, `ms`, `s`, `m`, `h` or `d`, the larger units first (`1h30m`).
///
/// # Errors
/// Says what is missing or too large.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let mut rest = text;
    let mut micros: u64 = 0;
    let mut smaller_than = u64::MAX;
    while !rest.is_empty() || text.is_empty() {
        let (count, after) = leading_number(rest).ok_or_else(|| not_a("duration", text, "30s"))?;
        let name_len = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (name, next) = after.split_at(name_len);
        if name.is_empty() {
            return Err(UnitError(format!("`{text}` has no unit, write `{text}s`, `{text}ms` or `{text}us`")));
        }
        let Some(&(_, unit)) = DURATION_UNITS.iter().find(|(known, _)| *known == name) else {
            let way_out = match () {
                () if name.starts_with('.') => ": write whole numbers, `1h30m`",
                () if name.starts_with(' ') => ": write number and unit without a space, `5m`",
                () => ", one of us, ms, s, m, h, d",
            };
            return Err(UnitError(format!("`{name}` is no unit of time{way_out}")));
        };
        if unit >= smaller_than {
            return Err(UnitError(format!("`{text}` is not in order, write the larger units first")));
        }
        smaller_than = unit;
        micros = count
            .checked_mul(unit)
            .and_then(|part| micros.checked_add(part))
            .filter(|total| *total <= LONGEST_MICROS)
            .ok_or_else(|| UnitError(format!("`{text}` is longer than a hundred years")))?;
        rest = next;
    }
    Ok(Duration::from_micros(micros))
}

/// Prints a duration so that [`parse_duration`] reads it back; below a microsecond it is cut.
pub fn print_duration(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, unit) in DURATION_UNITS {
        if left >= unit {
            text += &format!("{}{name}", left / unit);
            left %= unit;
        }
    }
    text
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = UnitError;

    /// Reads a number with `B`, `KiB`, `MiB`, `GiB`, `TiB` or the decimal `KB`, `MB`, `GB`, `TB`.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (count, name) = leading_number(text).ok_or_else(|| not_a("size", text, "64KiB"))?;
        if name.is_empty() {
            return Err(UnitError(format!("`{text}` has no unit, write `{text}B` or `{text}KiB`")));
        }
        let Some(&(_, unit)) = SIZE_UNITS.iter().find(|(known, _)| *known == name) else {
            let way_out = match () {
                () if name.starts_with('.') => ": write whole numbers, `1536KiB`",
                () if name.starts_with(' ') => ": write number and unit without a space, `10MB`",
                () => ", one of B, KiB, MiB, GiB, TiB, KB, MB, GB, TB",
            };
            return Err(UnitError(format!("`{name}` is no unit of size{way_out}")));
        };
        count.checked_mul(unit).map(Self).ok_or_else(|| UnitError(format!("`{text}` is too large")))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Binary units come first in the table, so that 1024 is `1KiB` and 1000 is `1KB`.
        for (name, unit) in SIZE_UNITS {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// So many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many, at least one.
    pub count: u64,
    /// In which time: a second, a minute, an hour or a day.
    pub per: Duration,
}

impl FromStr for Rate {
    type Err = UnitError;

    /// Reads a count over `s`, `m`, `h` or `d`.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || not_a("rate", text, "100/s");
        let (count, rest) = leading_number(text).ok_or_else(wrong)?;
        let name = rest.strip_prefix('/').ok_or_else(wrong)?;
        let &(_, seconds) = RATE_UNITS.iter().find(|(known, _)| *known == name).ok_or_else(wrong)?;
        if count == 0 {
            return Err(UnitError(format!("`{text}` lets nothing through")));
        }
        Ok(Self { count, per: Duration::from_secs(seconds) })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match RATE_UNITS.iter().find(|(_, seconds)| Duration::from_secs(*seconds) == self.per) {
            Some((name, _)) => write!(f, "{}/{name}", self.count),
            None => write!(f, "{}/{}", self.count, print_duration(self.per)),
        }
    }
}

/// A part of a whole in hundredths of a percent: 0 to 10000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// The whole.
    pub const WHOLE: u32 = 10_000;

    /// So many hundredths of a percent, and no more than the whole.
    pub fn of(hundredths: u32) -> Share {
        Share(hundredths.min(Self::WHOLE))
    }

    /// In hundredths of a percent.
    pub fn hundredths(self) -> u32 {
        self.0
    }
}

impl FromStr for Share {
    type Err = UnitError;

    /// Reads a percentage with at most two decimals.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || not_a("share", text, "10%");
        if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
            return Err(UnitError(format!("`{text}` has no unit, write `{text}%`")));
        }
        let number = text.strip_suffix('%').ok_or_else(wrong)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let (whole, rest) = leading_number(whole).ok_or_else(wrong)?;
        let decimals_are_digits = !decimals.is_empty() && decimals.bytes().all(|b| b.is_ascii_digit());
        if !rest.is_empty() || !decimals_are_digits || decimals.len() > 2 {
            return Err(wrong());
        }
        let fraction: u64 = format!("{decimals:0<2}").parse().map_err(|_| wrong())?;
        let total = whole.checked_mul(100).and_then(|hundredths| hundredths.checked_add(fraction));
        total
            .and_then(|total| u32::try_from(total).ok())
            .filter(|total| *total <= Self::WHOLE)
            .map(Self)
            .ok_or_else(|| UnitError(format!("`{text}` is more than 100%")))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, tenths) if tenths.is_multiple_of(10) => write!(f, "{whole}.{}%", tenths / 10),
            (whole, hundredths) => write!(f, "{whole}.{hundredths:02}%"),
        }
    }
}

/// The number that a text begins with, and what follows; none without a digit, with a leading zero, or beyond 64 bits.
fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    digits.parse().ok().map(|number| (number, rest))
}

fn not_a(what: &str, text: &str, example: &str) -> UnitError {
    UnitError(format!("`{text}` is no {what}, write it like `{example}`"))
}

/// Larger units first, which is the order of writing.
const DURATION_UNITS: [(&str, u64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// Beyond this, sums of deadlines could overflow a clock.
const LONGEST_MICROS: u64 = 100 * 365 * 86_400_000_000;

/// In the order in which printing prefers them.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

const RATE_UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print() {
        for (text, micros) in [
            ("500us", 500),
            ("0s", 0),
            ("10ms", 10_000),
            ("30s", 30_000_000),
            ("1h30m", 5_400_000_000),
            ("2d", 172_800_000_000),
        ] {
            let duration = parse_duration(text).expect("a duration");
            assert_eq!(duration, Duration::from_micros(micros));
            assert_eq!(print_duration(duration), text);
        }
        for text in
            ["", "10", "010s", "1.5s", "-1s", "s", "30m1h", "1s1s", "1 s", "10S", "99999999999999999999s", "36501d"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_way_out_is_told() {
        let of = |text: &str| parse_duration(text).expect_err("no duration").to_string();
        assert!(of("1.5h").contains("whole numbers"), "{}", of("1.5h"));
        assert!(of("5 minutes").contains("without a space"), "{}", of("5 minutes"));
        assert!(of("200").contains("`200us`") && of("5y").contains("one of us"));
        let of = |text: &str| text.parse::<Size>().expect_err("no size").to_string();
        assert!(of("10 MB").contains("without a space") && of("1.5MiB").contains("whole numbers"));
    }

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes) in
            [("0B", 0), ("64KiB", 65_536), ("512MiB", 512 << 20), ("8GiB", 8 << 30), ("1KB", 1_000), ("7B", 7)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)));
            assert_eq!(Size(bytes).to_string(), text);
        }
        for text in ["", "64", "064KiB", "64kib", "1.5MiB", "-1B", "99999999999TiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn rates_read_and_print() {
        for text in ["100/s", "10/m", "1/h", "5/d"] {
            assert_eq!(text.parse::<Rate>().expect("a rate").to_string(), text);
        }
        for text in ["", "100", "100/", "0/s", "/s", "100/w", "01/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn shares_read_and_print() {
        for (text, hundredths) in
            [("10%", 1000), ("0%", 0), ("100%", 10_000), ("2.5%", 250), ("0.01%", 1), ("33.33%", 3333)]
        {
            let share: Share = text.parse().expect("a share");
            assert_eq!(share.hundredths(), hundredths);
            assert_eq!(share.to_string(), text);
        }
        for text in ["", "10", "%", "101%", "100.01%", "1.234%", "-1%", "1.%", ".5%", "010%"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }
}
