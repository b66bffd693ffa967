//! Times of the day and of the week.

use super::Lower;
use crate::shape::{Map, Value};
use crate::spec::{Schedule, Zone};

impl Lower<'_, '_> {
    pub(super) fn schedule(&mut self, map: &Map) -> Option<Schedule> {
        if !map.has("days") && !map.has("hours") {
            self.mistakes.note(&map.span, format!("{} is always, say `days` or `hours`", map.label));
            return None;
        }
        let mut days = if map.has("days") { 0 } else { EVERY_DAY };
        for value in map.list("days") {
            let Some(text) = value.fixed() else { continue };
            match span_of_days(text) {
                Some(these) => days |= these,
                None => self.note(value, format!("`{text}` is no day, write it like `mon` or `mon-fri`")),
            }
        }
        let mut hours = Vec::new();
        for value in map.list("hours") {
            let Some(text) = value.fixed() else { continue };
            match span_of_hours(text) {
                Some((from, to)) if from != to => hours.push((from, to)),
                Some(_) => {
                    self.note(value, format!("`{text}` ends when it begins, write `00:00-24:00` for the whole day"));
                }
                None => self.note(value, format!("`{text}` are no hours, write them like `09:00-17:00`")),
            }
        }
        let zone = self.zone(map.get("zone")?)?;
        (days != 0).then_some(Schedule { days, hours, zone })
    }

    /// Where a clock hangs.
    pub(super) fn zone(&mut self, value: &Value) -> Option<Zone> {
        let text = value.fixed()?;
        let zone = zone(text);
        if zone.is_none() {
            let message = format!(
                "there is no zone `{text}`, write `UTC`, an offset such as `+01:00` or a name such as `Europe/Berlin`"
            );
            self.note(value, message);
        }
        zone
    }
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const EVERY_DAY: u8 = 0b111_1111;

/// Bits for a day, or from one to another, over the end of the week if need be.
fn span_of_days(text: &str) -> Option<u8> {
    let day = |text: &str| DAYS.iter().position(|day| *day == text);
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (day(from)?, day(to)?);
    let length = (to + 7 - from) % 7;
    Some((0..=length).fold(0, |days, next| days | 1 << ((from + next) % 7)))
}

/// Minutes of the day. Midnight at the end of a day is its last minute's end.
fn span_of_hours(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-')?;
    Some((minute(from).filter(|minute| *minute < DAY)?, minute(to)?))
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse::<u16>().ok())?
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    (minute < 60).then_some(hour * 60 + minute).filter(|minute| *minute <= DAY)
}

const DAY: u16 = 24 * 60;

fn zone(text: &str) -> Option<Zone> {
    if text == "UTC" || text == "Z" {
        return Some(Zone::Fixed(0));
    }
    if let Some((sign, offset)) =
        text.strip_prefix('+').map(|rest| (1, rest)).or(text.strip_prefix('-').map(|rest| (-1, rest)))
    {
        return minute(offset)
            .filter(|minute| *minute < DAY)
            .map(|minutes| Zone::Fixed(sign * 60 * i32::from(minutes)));
    }
    jiff::tz::TimeZone::get(text).is_ok().then(|| Zone::Named(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_go_round() {
        assert_eq!(span_of_days("mon-fri"), Some(0b001_1111));
        assert_eq!(span_of_days("sat"), Some(0b010_0000));
        assert_eq!(span_of_days("fri-mon"), Some(0b111_0001));
        assert_eq!(span_of_days("tue-mon"), Some(EVERY_DAY));
        for wrong in ["", "Mon", "mon-", "mon-fri-sat", "monday"] {
            assert_eq!(span_of_days(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn hours_and_zones_are_read() {
        assert_eq!(span_of_hours("09:00-17:30"), Some((540, 1050)));
        assert_eq!(span_of_hours("22:00-06:00"), Some((1320, 360)));
        assert_eq!(span_of_hours("00:00-24:00"), Some((0, 1440)));
        for wrong in ["9:00-17:00", "09:00", "24:00-01:00", "09:60-10:00", "24:01-25:00", "09:00-+1:00"] {
            assert_eq!(span_of_hours(wrong), None, "{wrong}");
        }
        assert_eq!((zone("UTC"), zone("-03:30")), (Some(Zone::Fixed(0)), Some(Zone::Fixed(-12_600))));
        assert_eq!(zone("Europe/Berlin"), Some(Zone::Named("Europe/Berlin".to_owned())));
        for wrong in ["", "+1", "+24:00", "Mars/Olympus", "../etc/passwd"] {
            assert_eq!(zone(wrong), None, "{wrong}");
        }
    }
}
