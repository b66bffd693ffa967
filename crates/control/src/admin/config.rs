//! The configuration: what is in force, and how another is put in force.

use std::cell::Cell;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use ::config::{Loaded, Mistake, Mistakes, Span, effective_json, load_text};
use serde_json::{Value, json};

use super::Desk;
use super::answer::Answer;
use super::ask::{Ask, Match};
use crate::plane::Plane;
use crate::process::Source;

/// How mistakes name the document that was sent.
const DOCUMENT: &str = "request";

/// `GET /api/config`
pub(super) fn show(desk: &Desk) -> Result<Answer, Answer> {
    let plane = desk.process.plane.borrow();
    let Some(loaded) = &plane.loaded else { return Err(Answer::error(503, "no configuration is in force yet")) };
    let document = effective_json(loaded);
    let tag = tag(plane.snapshot.generation, &document);
    Ok(Answer::json(200, &document).with("ETag", tag))
}

/// `PUT /api/config`: the document takes the place of the whole configuration. The file stays as it is, and takes it
/// back when it changes or the process is told to read it.
pub(super) async fn put(desk: &Desk, ask: &Ask<'_>) -> Result<Answer, Answer> {
    let wanted = ask.if_match();
    if wanted == Match::Unsaid {
        let way_out = "send `If-Match` with the `ETag` of the configuration that you have read, or `*`";
        return Err(Answer::error(428, way_out));
    }
    let stale = || Answer::error(412, "the configuration has changed since, read it again").with("ETag", current(desk));
    if !wanted.holds(&current(desk)) {
        return Err(stale());
    }
    ask.json()?;
    let text = std::str::from_utf8(ask.body).map_err(|_| Answer::error(400, "the body is not UTF-8"))?;
    let overtaken = Cell::new(false);
    let mut warnings = Vec::new();
    let why = format!("PUT /api/config by {}", ask.peer);
    let replaced = desk.process.replace(&why, || {
        // Another change may have come while this one waited for its turn.
        if !wanted.holds(&current(desk)) {
            overtaken.set(true);
            let message = "the configuration has changed meanwhile";
            return Err(Mistakes(vec![Mistake::new(Span::whole(DOCUMENT), message)]));
        }
        let loaded = load(desk, text)?;
        warnings.clone_from(&loaded.warnings);
        Ok(loaded)
    });
    match replaced.await {
        Ok(generation) => {
            desk.generation_put.set(Some(generation));
            let accepted = json!({
                "generation": generation,
                "warnings": mistakes(&warnings),
                "note": note(&desk.process.options.source),
            });
            Ok(Answer::json(200, &accepted).with("ETag", current(desk)))
        }
        Err(_) if overtaken.get() => Err(stale()),
        Err(Mistakes(all)) => {
            let error = format!("the configuration has mistakes, the one in force stays: {}", all.len());
            Err(Answer::json(422, &json!({ "error": error, "mistakes": mistakes(&all) })))
        }
    }
}

/// Reads the document. It stands where the file stands, as far as relative paths go, and the files that were watched
/// still are: a change of one of them puts the file back in force.
fn load(desk: &Desk, text: &str) -> Result<Loaded, Mistakes> {
    let file = match &desk.process.options.source {
        Source::File(file) => Some(file.canonicalize().unwrap_or_else(|_| file.clone())),
        Source::Text { .. } => None,
    };
    let folder = file.as_deref().and_then(Path::parent).map_or_else(|| PathBuf::from("."), Path::to_owned);
    let mut loaded = load_text(DOCUMENT, text, &folder, &|name| std::env::var(name).ok())?;
    let plane = desk.process.plane.borrow();
    let watched = plane.loaded.iter().flat_map(|loaded| &loaded.files).chain(&file);
    for file in watched {
        if !loaded.files.contains(file) {
            loaded.files.push(file.clone());
        }
    }
    Ok(loaded)
}

fn note(source: &Source) -> String {
    let restored = match source {
        Source::File(file) => format!("`{}` is unchanged: SIGHUP, or a change of it,", file.display()),
        Source::Text { name, .. } => format!("{name} is unchanged: SIGHUP"),
    };
    format!("{restored} puts it back in force, and so does a restart")
}

fn mistakes(all: &[Mistake]) -> Value {
    let show = |mistake: &Mistake| {
        let Span { file, line, col } = &mistake.span;
        json!({ "message": mistake.message, "file": **file, "line": line, "column": col })
    };
    all.iter().map(show).collect()
}

/// The entity tag of what is in force.
fn current(desk: &Desk) -> String {
    let plane: &Plane = &desk.process.plane.borrow();
    let document = plane.loaded.as_ref().map(effective_json).unwrap_or_default();
    tag(plane.snapshot.generation, &document)
}

/// The generation tells changes of one process apart, the content those of two.
fn tag(generation: u64, document: &Value) -> String {
    let mut hash = std::hash::DefaultHasher::new();
    document.hash(&mut hash);
    format!("\"{generation}-{:016x}\"", hash.finish())
}
