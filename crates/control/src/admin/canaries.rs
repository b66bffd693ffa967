//! Canaries: how they are, and what an operator does to one.

use std::time::{Instant, SystemTime};

use base::units::{Share, print_duration};
use config::spec::{Course, Guard};
use proxy::canary::Variant;
use serde_json::{Map, Value, json};

use super::Desk;
use super::answer::Answer;
use super::ask::Ask;
use super::counters::Recent;
use super::status::time;
use crate::canary::{Command, Entry, Kept, Sample};

/// `GET /api/canaries`
pub(super) fn list(desk: &Desk) -> Answer {
    let plane = desk.process.plane.borrow();
    let (mut recent, now) = (desk.recent.borrow_mut(), Instant::now());
    recent.sweep(now);
    Answer::json(200, &plane.registry.canaries.iter().map(|canary| show_one(canary, &mut recent, now)).collect())
}

/// `GET /api/canaries/LISTENER/ROUTE`
pub(super) fn show(desk: &Desk, listener: &str, route: &str) -> Result<Answer, Answer> {
    let plane = desk.process.plane.borrow();
    let (mut recent, now) = (desk.recent.borrow_mut(), Instant::now());
    recent.sweep(now);
    let mut canaries = plane.registry.canaries.iter();
    let found = canaries.find(|canary| canary.listener == listener && canary.name == route);
    let canary = found.ok_or_else(|| missing(listener, route))?;
    Ok(Answer::json(200, &show_one(canary, &mut recent, now)))
}

/// `PUT /api/canaries/LISTENER/ROUTE`
pub(super) fn change(desk: &Desk, listener: &str, route: &str, ask: &Ask<'_>) -> Result<Answer, Answer> {
    let command = command_of(&ask.json()?)?;
    let by = ask.peer.to_string();
    let done = desk.process.plane.borrow_mut().registry.canaries.command(listener, route, command, &by);
    match done {
        None => Err(missing(listener, route)),
        Some(Err(refused)) => Err(Answer::error(409, refused.0)),
        Some(Ok(())) => show(desk, listener, route),
    }
}

fn missing(listener: &str, route: &str) -> Answer {
    Answer::error(404, format_args!("there is no canary at route `{route}` of listener `{listener}`"))
}

fn command_of(document: &Value) -> Result<Command, Answer> {
    let wrong = |message: String| Answer::error(422, message);
    let members = document.as_object().filter(|members| members.len() == 1);
    let Some((name, value)) = members.and_then(|members| members.iter().next()) else {
        return Err(wrong("the body must be an object with either `action` or `share`".to_owned()));
    };
    match (name.as_str(), value.as_str()) {
        ("action", Some(word)) => {
            let known = ACTIONS.iter().find(|(name, _)| *name == word);
            let names = ACTIONS.map(|(name, _)| format!("`{name}`")).join(", ");
            known
                .map(|(_, command)| *command)
                .ok_or_else(|| wrong(format!("unknown action `{word}`, known are {names}")))
        }
        ("share", Some(text)) => match text.parse::<Share>() {
            Ok(share) => Ok(Command::Set(share.hundredths())),
            Err(error) => Err(wrong(error.to_string())),
        },
        ("action" | "share", None) => Err(wrong(format!("`{name}` must be a text: {value}"))),
        _ => Err(wrong(format!("unknown member `{name}`, the members are `action` and `share`"))),
    }
}

const ACTIONS: [(&str, Command); 5] = [
    ("pause", Command::Pause),
    ("resume", Command::Resume),
    ("abort", Command::Abort),
    ("promote", Command::Promote),
    ("restart", Command::Restart),
];

fn show_one(canary: &Kept, recent: &mut Recent, now: Instant) -> Value {
    let machine = &canary.machine;
    let window = machine.window();
    json!({
        "listener": canary.listener,
        "route": canary.name,
        "state": machine.phase().name(),
        "share": share(machine.share().unwrap_or(0)),
        "for_seconds": now.saturating_duration_since(machine.since()).as_secs(),
        "waits_for": machine.waits(),
        "plan": plan(&canary.plan.course),
        "stable": version(canary, Variant::Stable, window.as_ref().map(|window| &window.stable), recent, now),
        "candidate": version(canary, Variant::Candidate, window.as_ref().map(|window| &window.candidate), recent, now),
        "history": machine.history().map(|one| entry(one, now)).collect::<Value>(),
    })
}

fn plan(course: &Course) -> Value {
    match course {
        Course::Held(held) => json!({ "share": share(*held) }),
        Course::Steps { steps, every, guard: Guard { error_points, p99_ratio, min_requests } } => json!({
            "steps": steps.iter().map(|step| share(*step)).collect::<Value>(),
            "every": print_duration(*every),
            "rollback_if": {
                "error_points": error_points.map(share),
                "p99_ratio": p99_ratio.map(|ratio| f64::from(ratio) / 100.0),
                "min_requests": min_requests,
            },
        }),
    }
}

fn version(canary: &Kept, variant: Variant, window: Option<&Sample>, recent: &mut Recent, now: Instant) -> Value {
    let mut shown = Map::new();
    shown.insert("pool".into(), canary.pool(variant).into());
    shown.insert("diverted".into(), canary.state.diverted(variant).into());
    shown.insert(
        "window".into(),
        window.map_or(
            Value::Null,
            |sample| json!({ "requests": sample.requests, "errors": sample.errors, "p99_us": sample.p99_us() }),
        ),
    );
    shown.extend(recent.show(canary.state.stats(variant), now));
    // Bodies are not counted here, but with the route.
    shown.remove("bytes_in");
    shown.remove("bytes_out");
    shown.into()
}

fn entry(entry: &Entry, now: Instant) -> Value {
    let at = SystemTime::now().checked_sub(now.saturating_duration_since(entry.at));
    json!({
        "time": at.map(time),
        "state": entry.phase.name(),
        "share": share(entry.share),
        "cause": entry.cause.name(),
        "reason": entry.reason,
    })
}

fn share(hundredths: u32) -> String {
    Share::of(hundredths).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_strictly() {
        let command = |document| command_of(&document).ok();
        assert_eq!(command(json!({"action": "pause"})), Some(Command::Pause));
        assert_eq!(command(json!({"share": "12.5%"})), Some(Command::Set(1250)));
        for wrong in [
            json!({}),
            json!([]),
            json!("pause"),
            json!({"action": "stop"}),
            json!({"action": true}),
            json!({"share": 12.5}),
            json!({"share": "12.5"}),
            json!({"share": "101%"}),
            json!({"share": "1%", "action": "pause"}),
            json!({"shares": "1%"}),
        ] {
            assert_eq!(command(wrong.clone()), None, "{wrong}");
        }
    }
}
