//! The laws of the language, each with a test that can fail.

use std::path::{Path, PathBuf};

use crate::{Loaded, Mistakes, load_text};

mod bypass;
mod examples;
mod files;
mod form;
mod golden;
mod hostile;
mod nat;
mod pools;
mod roles;
mod routes;
mod unread;
mod ways_out;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn load(text: &str) -> Result<Loaded, Mistakes> {
    load_text("t.yaml", text, Path::new("/nowhere"), &|name| (name == "SET").then(|| "s3cret".to_owned()))
}

fn said(result: Result<Loaded, Mistakes>) -> Vec<String> {
    match result {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.0.iter().map(ToString::to_string).collect(),
    }
}

/// What a text means that has no mistakes.
fn ok(text: &str) -> crate::Spec {
    load(text).unwrap_or_else(|mistakes| panic!("{mistakes}")).spec
}

/// The only mistake of a text.
fn mistake(text: &str) -> String {
    let said = said(load(text));
    assert_eq!(said.len(), 1, "{text}: {said:#?}");
    said.concat()
}

/// A model without its places, for comparing two ways of writing the same.
fn placeless(spec: &crate::Spec) -> String {
    let span = regex::Regex::new(r#"Span \{ file: "[^"]*", line: \d+, col: \d+ \}"#).expect("a pattern");
    span.replace_all(&format!("{spec:?}"), "_").into_owned()
}
