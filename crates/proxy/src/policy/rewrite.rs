//! Changes what the server is asked for.

use wire::{Head, uri};

use super::Template;
use crate::exchange::Facts;

/// A new path.
#[derive(Debug)]
pub struct Rewrite {
    /// The path; the request's query is kept unless the text has a `?`.
    pub path: Template,
}

impl Rewrite {
    pub(crate) fn apply(&self, head: &mut Head, facts: &Facts) {
        let filled = self.path.fill(&facts.view(head));
        let (path, query) = match filled.iter().position(|byte| *byte == b'?') {
            Some(mark) => (&filled[..mark], Some(&filled[mark + 1..])),
            None => (&filled[..], None),
        };
        // What came from the request is normal already; together with the template's own text it could climb again, or
        // hold a byte that a path must escape.
        let escaped = escape(path);
        if let Ok(normal) = uri::normalize(&escaped) {
            let normal = normal.into_owned();
            head.set_path(&normal);
            if query.is_some() {
                head.set_query(query);
            }
        }
    }
}

/// Escapes what may not stand in a path, and makes it begin with one slash.
fn escape(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len() + 1);
    if path.first() != Some(&b'/') {
        out.push(b'/');
    }
    for byte in path {
        if uri::is_target_byte(*byte) && *byte != b'?' {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}
