//! Names and values of header fields.

use super::Lower;
use crate::shape::{Item, Value};
use crate::span::Span;

impl Lower<'_, '_> {
    /// A field's name in lower case.
    pub(super) fn field_name(&mut self, name: &str, span: &Span) -> Option<String> {
        if is_token(name) {
            return Some(name.to_ascii_lowercase());
        }
        self.mistakes.note(span, format!("`{name}` is no name of a header field"));
        None
    }

    /// A field's name that a configuration may write or remove.
    pub(super) fn free_field_name(&mut self, name: &str, span: &Span) -> Option<String> {
        let name = self.field_name(name, span)?;
        if !FRAMING.contains(&name.as_str()) {
            return Some(name);
        }
        let way_out = if name == "host" { ", use `host` of the pool" } else { "" };
        self.mistakes
            .note(span, format!("`{name}` belongs to the connection or to framing and cannot be edited{way_out}"));
        None
    }

    /// The name of a field that may be removed, or the beginning of such names and a `*`.
    pub(super) fn free_field_names(&mut self, text: &str, span: &Span) -> Option<String> {
        let Some(beginning) = text.strip_suffix('*') else { return self.free_field_name(text, span) };
        let beginning = self.field_name(beginning, span)?;
        let Some(name) = FRAMING.iter().find(|name| name.starts_with(&beginning)) else {
            return Some(beginning + "*");
        };
        let message = format!(
            "`{text}` is also `{name}`, which belongs to the connection or to framing, write more of the names"
        );
        self.mistakes.note(span, message);
        None
    }

    /// Reports names that only differ in case, where case does not count.
    pub(super) fn refuse_same_name(&mut self, items: &[Item], what: &str) {
        let mut seen = std::collections::HashMap::new();
        for item in items {
            if let Some(first) = seen.insert(item.key.to_ascii_lowercase(), &item.key) {
                let message = format!("`{first}` and `{}` are the same {what}, remove one", item.key);
                self.mistakes.note(&item.span, message);
            }
        }
    }

    /// Whether a text can stand in a field's value.
    pub(super) fn check_field_value(&mut self, text: &str, value: &Value) {
        let is_bad = |c: char| c != '\t' && c.is_control();
        if text.contains(is_bad) {
            self.note(value, "a header field holds no line ends or other control characters");
        }
    }
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Fields of framing (RFC 9112 section 6), of one hop (RFC 9110 section 7.6.1), and Host, which pools decide.
const FRAMING: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];
