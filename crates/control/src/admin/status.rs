//! The process: whether it lives, whether it should be sent requests, and how it is.

use std::path::Path;
use std::time::SystemTime;

use base::civil::Civil;
use observe::metrics::Process;
use serde_json::{Value, json};

use super::Desk;
use super::answer::Answer;
use crate::process::Source;

/// `GET /healthz`: whoever can answer lives.
pub(super) fn health() -> Answer {
    Answer::text(200, "ok")
}

/// `GET /readyz`
pub(super) fn ready(desk: &Desk) -> Answer {
    if desk.process.is_ready() { Answer::text(200, "ready") } else { Answer::text(503, "draining") }
}

/// `GET /api/status`
pub(super) fn status(desk: &Desk) -> Answer {
    let plane = desk.process.plane.borrow();
    let (started, begin) = desk.started;
    let process = Process::read(started);
    let workers = plane.fleet.peers().iter().enumerate().map(|(number, worker)| {
        json!({
            "worker": number,
            "connections": worker.connections(),
            "longest_turn_us": u64::try_from(worker.turns.longest().as_micros()).unwrap_or(u64::MAX),
            "slow_turns": worker.turns.slow(),
        })
    });
    let generation = plane.snapshot.generation;
    let (source, place) = if desk.generation_put.get() == Some(generation) {
        ("api", None)
    } else {
        match &desk.process.options.source {
            Source::File(file) => ("file", Some(shown(file))),
            Source::Text { name, .. } => ("command", Some(name.clone())),
        }
    };
    Answer::json(
        200,
        &json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "ready": desk.process.is_ready(),
            "started": time(started),
            "uptime_seconds": begin.elapsed().as_secs(),
            "config": {
                "generation": generation,
                "applied": time(plane.applied),
                "source": source,
                "name": place,
                "reloads": { "ok": plane.reloads.0, "failed": plane.reloads.1 },
            },
            "memory_bytes": process.map(|process| process.resident_bytes()),
            "cpu_seconds": process.map(|process| process.cpu().as_secs_f64()),
            "open_fds": process.map(|process| process.open_fds()),
            "log_lines_dropped": plane.dropped_lines(),
            "connections": plane.fleet.connections(),
            "workers": workers.collect::<Value>(),
        }),
    )
}

fn shown(file: &Path) -> String {
    file.display().to_string()
}

/// A moment as RFC 3339 writes it, in UTC.
pub(super) fn time(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Civil::of(since.as_secs()).rfc3339()
}
