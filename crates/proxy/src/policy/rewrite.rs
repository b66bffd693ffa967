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
    /// Puts the new path in place.
    ///
    /// # Errors
    /// What the request filled in makes the path climb, or makes it one that no request may have: a spelling that the
    /// route's own match has not seen.
    pub(crate) fn apply(&self, head: &mut Head, facts: &Facts) -> Result<(), Climbs> {
        let filled = self.path.fill(&facts.view(head));
        let (path, query) = match filled.iter().position(|byte| *byte == b'?') {
            Some(mark) => (&filled[..mark], Some(&filled[mark + 1..])),
            None => (&filled[..], None),
        };
        let escaped = escape(path);
        let normal = uri::normalize(&escaped).map_err(|_| Climbs)?;
        let segments = |path: &[u8]| path.iter().filter(|byte| **byte == b'/').count();
        if segments(&normal) != segments(&escaped) {
            return Err(Climbs);
        }
        let normal = normal.into_owned();
        head.set_path(&normal);
        if query.is_some() {
            head.set_query(query);
        }
        Ok(())
    }
}

/// A path that the request's own text would lead elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Climbs;

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
