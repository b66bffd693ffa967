//! Lists of sites: what is in them, since when, and how often they have decided.

use observe::metrics;
use serde_json::{Value, json};

use super::Desk;
use super::answer::Answer;
use super::status::time;
use crate::plane::Plane;

/// `GET /api/lists`
pub(super) fn list(desk: &Desk) -> Answer {
    let plane = desk.process.plane.borrow();
    let lists = plane.library.shown().map(|(list, files, error)| {
        let content = &list.content;
        json!({
            "name": &*list.name,
            "format": list.format.name(),
            "files": files.iter().map(|file| file.display().to_string()).collect::<Value>(),
            "loaded": time(list.loaded),
            "rules": { "hosts": content.hosts, "exceptions": content.exceptions, "patterns": content.patterns },
            "passed_over": { "foreign": content.foreign, "wrong": content.wrong },
            "memory_bytes": bytes(list),
            "hits": list.hits.read(),
            "error": error,
        })
    });
    Answer::json(200, &lists.collect())
}

/// The same for a scrape.
pub(super) fn measured(plane: &Plane) -> impl Iterator<Item = metrics::List<'_>> {
    plane.library.shown().map(|(list, _, error)| metrics::List {
        list: &list.name,
        rules: [("host", list.content.hosts as u64), ("pattern", list.content.patterns as u64)],
        wrong: list.content.wrong as u64,
        bytes: bytes(list) as u64,
        loaded: list.loaded,
        hits: list.hits.read(),
        is_current: error.is_none(),
    })
}

fn bytes(list: &proxy::lists::List) -> usize {
    let of_words = list.words.as_ref().map_or(0, proxy::filter::Words::bytes);
    of_words + list.content.bytes + list.patterns.as_ref().map_or(0, proxy::lists::Patterns::bytes)
}
