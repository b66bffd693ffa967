//! Quotas: what each of those who have one has used, and giving one of them a new one.

use std::time::SystemTime;

use base::civil::Civil;
use base::units::print_duration;
use config::spec::{Per, Zone};
use observe::metrics;
use proxy::quota::Row;
use serde_json::{Value, json};
use wire::form;

use super::Desk;
use super::answer::Answer;
use super::ask::Ask;
use super::place::decode;
use crate::plane::Plane;
use crate::quotas::Known;

/// Subjects in one answer, unless less or more is asked for, and at most.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;

/// `GET /api/quotas`
pub(super) fn list(desk: &Desk) -> Answer {
    let plane = desk.process.plane.borrow();
    Answer::json(200, &plane.registry.quotas.iter().map(|(name, known)| one(name, known)).collect())
}

/// `GET /api/quotas/NAME`: with a page of its subjects, by their names, those behind `after`.
pub(super) fn show(desk: &Desk, name: &str, query: Option<&[u8]>) -> Result<Answer, Answer> {
    let (after, limit) = page(query.unwrap_or_default())?;
    let plane = desk.process.plane.borrow();
    let known = find(&plane, name)?;
    let mut rows = known.ledger.rows(now());
    rows.retain(|row| after.as_deref().is_none_or(|after| &*row.name > after));
    let is_more = rows.len() > limit;
    if is_more {
        // All the others need no order.
        rows.select_nth_unstable_by(limit, |one, other| one.name.cmp(&other.name));
        rows.truncate(limit);
    }
    rows.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let mut shown = one(name, known);
    shown["next"] = rows.last().filter(|_| is_more).map(|row| &*row.name).into();
    shown["subjects"] = rows.iter().map(|row| subject(row, known)).collect();
    Ok(Answer::json(200, &shown))
}

/// `GET /api/quotas/NAME/subjects/SUBJECT`
pub(super) fn show_subject(desk: &Desk, name: &str, who: &str) -> Result<Answer, Answer> {
    let plane = desk.process.plane.borrow();
    let known = find(&plane, name)?;
    let row = known.ledger.row(who, now()).ok_or_else(|| nobody(name, who))?;
    Ok(Answer::json(200, &subject(&row, known)))
}

/// `PUT /api/quotas/NAME/subjects/SUBJECT`
pub(super) fn change(desk: &Desk, name: &str, who: &str, ask: &Ask<'_>) -> Result<Answer, Answer> {
    let document = ask.json()?;
    if document != json!({ "action": "reset" }) {
        return Err(Answer::error(422, "the body must be the object `{ \"action\": \"reset\" }`"));
    }
    {
        let plane = desk.process.plane.borrow();
        if !find(&plane, name)?.ledger.reset(who, now()) {
            return Err(nobody(name, who));
        }
    }
    observe::log::info(format_args!("quota `{name}`: `{}` was reset by {}", who.escape_debug(), ask.peer));
    show_subject(desk, name, who)
}

/// The same for a scrape.
pub(super) fn measured(plane: &Plane) -> impl Iterator<Item = metrics::Quota<'_>> {
    plane.registry.quotas.iter().map(|(name, known)| metrics::Quota {
        quota: name,
        subjects: known.ledger.len() as u64,
        refused: known.ledger.refused(),
        cut: known.ledger.cut(),
    })
}

fn find<'a>(plane: &'a Plane, name: &str) -> Result<&'a Known, Answer> {
    let found = plane.registry.quotas.iter().find(|(known, _)| *known == name);
    let missing = || Answer::error(404, format_args!("there is no quota `{name}`"));
    found.map(|(_, known)| known).ok_or_else(missing)
}

fn nobody(name: &str, who: &str) -> Answer {
    Answer::error(404, format_args!("nobody called `{who}` has used anything of quota `{name}`"))
}

fn one(name: &str, known: &Known) -> Value {
    let said = &known.said;
    json!({
        "quota": name,
        "bytes": said.bytes,
        "requests": said.requests,
        "per": match &said.per {
            Per::Hour(_) => "hour".to_owned(),
            Per::Day(_) => "day".to_owned(),
            Per::Week(_) => "week".to_owned(),
            Per::Month(_) => "month".to_owned(),
            Per::Rolling(length) => print_duration(*length),
        },
        "zone": match &said.per {
            Per::Hour(zone) | Per::Day(zone) | Per::Week(zone) | Per::Month(zone) => Some(shown_zone(zone)),
            Per::Rolling(_) => None,
        },
        "subject_count": known.ledger.len(),
        "refused": known.ledger.refused(),
        "cut": known.ledger.cut(),
    })
}

fn subject(row: &Row, known: &Known) -> Value {
    let used =
        |most: Option<u64>, used: u64| json!({ "used": used, "left": most.map(|most| most.saturating_sub(used)) });
    let said = &known.said;
    json!({
        "subject": &*row.name,
        "until": Civil::of(row.until).rfc3339(),
        // Bytes are not counted where they are not limited.
        "bytes": said.bytes.map(|most| used(Some(most), row.bytes)),
        "requests": used(said.requests, row.requests),
    })
}

fn shown_zone(zone: &Zone) -> String {
    match zone {
        Zone::Fixed(0) => "UTC".to_owned(),
        Zone::Fixed(seconds) => {
            let (sign, minutes) = (if *seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
            format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
        }
        Zone::Named(name) => name.clone(),
    }
}

/// Behind which subject a page begins, and how many are on it.
fn page(query: &[u8]) -> Result<(Option<String>, usize), Answer> {
    let (mut after, mut limit) = (None, PAGE);
    for (name, value) in form::pairs(query) {
        let value = decode(value).ok_or_else(|| Answer::error(400, "the query is not valid percent-encoded UTF-8"))?;
        match name {
            b"after" => after = Some(value),
            b"limit" => {
                let number = value.parse().ok().filter(|number| (1..=LARGEST_PAGE).contains(number));
                let wrong =
                    || Answer::error(400, format_args!("`limit` is a number from 1 to {LARGEST_PAGE}: `{value}`"));
                limit = number.ok_or_else(wrong)?;
            }
            other => {
                let other = String::from_utf8_lossy(other);
                return Err(Answer::error(
                    400,
                    format_args!("unknown parameter `{other}`, the parameters are `after` and `limit`"),
                ));
            }
        }
    }
    Ok((after, limit))
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_asked_for_strictly() {
        assert_eq!(page(b"").ok(), Some((None, PAGE)));
        assert_eq!(page(b"after=user%3Dann&limit=2").ok(), Some((Some("user=ann".to_owned()), 2)));
        for wrong in [&b"limit=0"[..], b"limit=1001", b"limit=x", b"after=%zz", b"page=2"] {
            assert!(page(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn zones_are_shown_as_they_are_written() {
        assert_eq!([0, 3600, -12_600].map(|seconds| shown_zone(&Zone::Fixed(seconds))), ["UTC", "+01:00", "-03:30"]);
    }
}
