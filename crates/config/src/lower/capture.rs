//! `capture`.

use std::path::{Path, PathBuf};

use super::{Lower, fields};
use crate::shape::Map;
use crate::span::Span;
use crate::spec::{Capture, LogSink, PolicyKind};

/// Memory is bounded, and so should an entry be.
const MOST_BODIES: u64 = 16 * 1024 * 1024;
/// Smaller archives would hold no entry.
const LEAST_SIZE: u64 = 4 * 1024;

impl Lower<'_, '_> {
    pub(super) fn capture(&mut self, map: &Map) -> Option<Capture> {
        let har = map.get("har")?;
        let path = har.fixed()?;
        if Path::new(path).file_name().is_none() || path.ends_with('/') {
            self.note(har, format!("`har` of {} must name a file: `{path}`", map.label));
        }
        if let (Some(bodies), Some(size)) = (map.get("bodies"), map.size("bodies"))
            && size > MOST_BODIES
        {
            self.note(bodies, format!("`bodies` of {} is at most 16MiB", map.label));
        }
        if let (Some(max_size), Some(size)) = (map.get("max_size"), map.size("max_size"))
            && size < LEAST_SIZE
        {
            self.note(max_size, format!("`max_size` of {} is at least 4KiB", map.label));
        }
        let redact = map.map("redact")?;
        let mut names = Vec::new();
        for value in redact.list("fields") {
            let Some(name) = value.fixed() else { continue };
            if fields::is_token(name) {
                names.push(name.to_ascii_lowercase());
            } else {
                self.note(value, format!("`{name}` cannot be the name of a field"));
            }
        }
        let parameters = redact.list("parameters").iter().filter_map(|value| value.fixed());
        Some(Capture {
            har: PathBuf::from(path),
            bodies: map.size("bodies")?,
            max_size: map.size("max_size")?,
            keep: map.small("keep")?,
            fields: names,
            parameters: parameters.map(str::to_ascii_lowercase).collect(),
            usual: redact.boolean("usual")?,
        })
    }

    /// Two who write into one file would each spoil what the other has written.
    pub(super) fn refuse_shared_files(&mut self, log: Option<&LogSink>) {
        let captures: Vec<(PathBuf, Span)> = self
            .policies
            .iter()
            .filter_map(|(policy, _)| match &policy.kind {
                PolicyKind::Capture(capture) => Some((lexical(&capture.har), policy.span.clone())),
                _ => None,
            })
            .collect();
        for (number, (path, span)) in captures.iter().enumerate() {
            let shown = path.display();
            if let Some((_, other)) = captures[..number].iter().find(|(other, _)| other == path) {
                let message = format!(
                    "two policies capture into the same file, the other at {other}: give one a name under `policies` and `use` that \
                     name: `{shown}`"
                );
                self.mistakes.note(span, message);
            }
            if matches!(log, Some(LogSink::File(log)) if lexical(log) == *path) {
                self.mistakes.note(span, format!("the access log has this file already, name another one: `{shown}`"));
            }
        }
    }
}

/// A path without detours that can be seen.
fn lexical(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != std::path::Component::CurDir).collect()
}
