//! What must hold for any text whatever: the fuzz target calls this as it is.

use std::path::Path;

use tidegate_config::{Loaded, Mistakes, Spec, effective, load_text};

/// A text is refused with places, or it loads; then its effective form loads to the same meaning and prints itself.
pub(crate) fn document(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let loaded = match load("document", &text) {
        Ok(loaded) => loaded,
        Err(mistakes) => return are_said(&mistakes, &text),
    };
    let printed = effective(&loaded);
    let again = match load("effective", &printed) {
        Ok(again) => again,
        Err(mistakes) => panic!("the effective document is refused: {mistakes}\n{printed}"),
    };
    assert_eq!(effective(&again), printed);
    assert_eq!(placeless(&again.spec), placeless(&loaded.spec), "{printed}");
}

fn load(name: &str, text: &str) -> Result<Loaded, Mistakes> {
    load_text(name, text, Path::new("/nowhere"), &|name| (name == "SET").then(|| "set".to_owned()))
}

/// There are mistakes, each with words, and at a place in the text.
fn are_said(mistakes: &Mistakes, text: &str) {
    assert!(!mistakes.0.is_empty());
    // YAML takes a lone carriage return for a line end, too, and ends a last line that has none.
    let lines = text.split(['\n', '\r']).count() + 1;
    for mistake in &mistakes.0 {
        assert!(!mistake.message.is_empty() && !mistake.message.ends_with('.'), "{mistake}");
        assert!(mistake.span.line as usize <= lines, "{mistake}");
    }
}

/// What a document means, without the places where it says so.
fn placeless(spec: &Spec) -> String {
    let text = format!("{spec:?}");
    let mut pieces = text.split("Span { file: ");
    let mut meaning = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        meaning += piece.split_once(" }").map_or(piece, |(_, after)| after);
    }
    meaning
}
