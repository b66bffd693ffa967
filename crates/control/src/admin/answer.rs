//! What is sent back. Every answer says that it is not to be kept, framed or guessed at.

use std::fmt::Display;
use std::time::SystemTime;

use base::civil::Civil;
use serde_json::{Value, json};
use wire::{Framing, Head, h1};

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    /// An answer with this content.
    pub(super) fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, fields: vec![("Content-Type", kind.to_owned())], body: body.into() }
    }

    /// A line of text, for people and probes.
    pub(super) fn text(status: u16, text: &str) -> Answer {
        Answer::new(status, "text/plain; charset=utf-8", format!("{text}\n"))
    }

    /// A JSON document, laid out to be read.
    pub(super) fn json(status: u16, value: &Value) -> Answer {
        Answer::new(status, "application/json", format!("{value:#}\n"))
    }

    /// What went wrong.
    pub(super) fn error(status: u16, message: impl Display) -> Answer {
        Answer::json(status, &json!({ "error": message.to_string() }))
    }

    /// The same with one more field, whose value is valid.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.fields.push((name, value.into()));
        self
    }

    /// Appends the head of an answer that ends with its connection.
    pub(super) fn begin(&self, out: &mut Vec<u8>) {
        self.head(true, Framing::UntilClose, out);
    }

    /// Appends the answer as HTTP/1.1; to a HEAD request without its content.
    pub(super) fn write(&self, to_head: bool, close: bool, out: &mut Vec<u8>) {
        self.head(close, Framing::Length(self.body.len() as u64), out);
        if !to_head {
            out.extend_from_slice(&self.body);
        }
    }

    fn head(&self, close: bool, framing: Framing, out: &mut Vec<u8>) {
        let mut head = Head::default();
        head.start_response(self.status);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        head.add(b"Date", &Civil::of(now.as_secs()).http());
        for (name, value) in &self.fields {
            head.add(name.as_bytes(), value.as_bytes());
        }
        for (name, value) in ALWAYS {
            head.add(name.as_bytes(), value.as_bytes());
        }
        if close {
            head.add(b"Connection", b"close");
        }
        head.set_framing(framing);
        h1::response_head(&head, out);
    }
}

/// What a browser is told about every answer, so that no other site can show it, read it or take it for something else.
const ALWAYS: [(&str, &str); 5] = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
];
