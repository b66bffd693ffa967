//! `config --effective`: the whole document with every default, as YAML that loads to the same [`crate::Spec`].

use crate::interpolate::{Piece, Text};
use crate::load::Loaded;
use crate::shape::{Item, Map, Meaning, Shape, Value};
use crate::spec::Spec;

/// Prints a configuration with includes and overrides merged, short forms expanded and every default filled in.
///
/// What came from the environment or a file is printed as the `${…}` that named it, never as its value.
pub fn effective(loaded: &Loaded) -> String {
    let mut out = String::new();
    // `defaults` stay for the sake of pools that only a literal `host:port` stands for; all others have them already.
    let mut document = loaded.document.clone();
    algorithms(&mut document, &loaded.spec);
    entries(&mut out, &document, 0);
    out
}

/// Says how each pool chooses, where it does not say it itself: that depends on who leads to it.
fn algorithms(document: &mut Map, spec: &Spec) {
    let pools = document.items.iter_mut().find(|item| item.key == "pools");
    let Some(Shape::Map(pools)) = pools.map(|item| &mut item.value.data) else { return };
    for item in &mut pools.items {
        let pool = spec.pools.iter().find(|pool| pool.name == item.key && !pool.implicit);
        let (Some(pool), Shape::Map(map)) = (pool, &mut item.value.data) else { continue };
        let balance = map.items.iter_mut().find(|item| item.key == "balance");
        let Some(Shape::Map(balance)) = balance.map(|item| &mut item.value.data) else { continue };
        if balance.has("algorithm") {
            continue;
        }
        let (span, word) = (balance.span.clone(), pool.balance.algorithm.word().to_owned());
        let text = Text { written: word.clone(), pieces: vec![Piece::Literal(word.clone())] };
        let value = Value { span: span.clone(), data: Shape::Scalar(text, Meaning::Fixed(word)) };
        balance.items.insert(0, Item { key: "algorithm".to_owned(), span, value });
    }
}

fn entry(out: &mut String, key: &str, value: &Value, depth: usize) {
    *out += &"  ".repeat(depth);
    *out += &scalar(key);
    *out += ":";
    block(out, value, depth);
}

/// A value after `key:` or `-`.
fn block(out: &mut String, value: &Value, depth: usize) {
    match &value.data {
        Shape::Scalar(text, _) => *out += &format!(" {}\n", scalar(&text.written)),
        Shape::Map(map) if map.items.is_empty() => *out += " {}\n",
        Shape::Map(map) => {
            *out += "\n";
            entries(out, map, depth + 1);
        }
        Shape::List(items) => {
            *out += "\n";
            for item in items {
                element(out, item, depth + 1);
            }
        }
        // A loaded document has none.
        Shape::Faulty => *out += " ~\n",
    }
}

/// An element of a list; a map begins on the line of its dash.
fn element(out: &mut String, item: &Value, depth: usize) {
    *out += &"  ".repeat(depth);
    *out += "-";
    match &item.data {
        Shape::Map(map) if !map.items.is_empty() => {
            let mut inner = String::new();
            entries(&mut inner, map, depth + 1);
            *out += &format!(" {}", inner.trim_start());
        }
        _ => block(out, item, depth),
    }
}

fn entries(out: &mut String, map: &Map, depth: usize) {
    for item in &map.items {
        entry(out, &item.key, &item.value, depth);
    }
}

/// Plain where nothing in it could be taken for YAML, or else in double quotes.
fn scalar(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-:%*".contains(&byte);
    let begins_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    if begins_plain && !text.ends_with(':') && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    // JSON's escapes are YAML's.
    serde_json::Value::from(text).to_string()
}
