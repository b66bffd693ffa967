//! The laws of the language, each with a test that can fail.

use std::path::{Path, PathBuf};

use crate::{Loaded, Mistakes, load_text};

mod examples;

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
