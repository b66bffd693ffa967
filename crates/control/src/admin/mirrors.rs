//! Mirrors: what came of copies beside the real requests.

use observe::stats::{Class, Histogram};
use proxy::mirror::{Difference, Dropped, Report};
use serde_json::{Map, Value, json};

use super::Desk;
use super::answer::Answer;
use super::status::time;

/// `GET /api/mirrors`
pub(super) fn list(desk: &Desk) -> Answer {
    let plane = desk.process.plane.borrow();
    Answer::json(200, &plane.registry.mirrors().map(|report| show(report)).collect())
}

fn show(report: &Report) -> Value {
    let compared = report.compared();
    let pairs = Class::ALL.into_iter().zip(&compared.pairs).flat_map(|(real, row)| {
        let seen = Class::ALL.into_iter().zip(row).filter(|(_, count)| **count > 0);
        seen.map(move |(shadow, count)| json!({ "real": real.name(), "shadow": shadow.name(), "count": count }))
    });
    json!({
        "name": report.name,
        "sent": report.sent(),
        "under_way": report.copies(),
        "dropped": Dropped::ALL.iter().map(|why| (why.name().to_owned(), report.dropped_for(*why).into())).collect::<Map<_, _>>(),
        "same_status": compared.same,
        "pairs": pairs.collect::<Value>(),
        "real": latency(&compared.real),
        "shadow": latency(&compared.shadow),
        "slower": latency(&compared.slower),
        "faster": latency(&compared.faster),
        "differences": compared.differences.iter().map(difference).collect::<Value>(),
    })
}

fn latency(latency: &Histogram) -> Value {
    json!({ "count": latency.count(), "p50_us": latency.quantile(0.5), "p99_us": latency.quantile(0.99) })
}

fn difference(one: &Difference) -> Value {
    json!({
        "time": time(one.time),
        "id": String::from_utf8_lossy(&one.id.hex()),
        "method": String::from_utf8_lossy(&one.method),
        "path": String::from_utf8_lossy(&one.path),
        "real": one.real,
        "shadow": one.shadow,
    })
}
