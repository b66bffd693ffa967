//! `include`: further files whose maps are merged into the first.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::content::content;
use crate::diagnostics::Mistakes;
use crate::interpolate::Sources;
use crate::span::Span;
use crate::tree::{self, Data, Entry, Node};

mod glob;

/// Merges into `root` what its `include` names, and what that names in turn. Each file is read once.
pub(crate) fn include(root: &mut Node, sources: &mut Sources<'_>, mistakes: &mut Mistakes) {
    let Some(mut waiting) = take_includes(root, sources, mistakes) else { return };
    let mut seen: HashSet<PathBuf> = sources.read.borrow().iter().filter_map(|path| path.canonicalize().ok()).collect();
    while !waiting.is_empty() {
        let wanted = waiting.remove(0);
        for found in files(&wanted, sources, mistakes) {
            let Some(mut node) = read(&found, &wanted.span, &mut seen, sources, mistakes) else { continue };
            waiting.extend(take_includes(&mut node, sources, mistakes).unwrap_or_default());
            merge(root, node, mistakes);
        }
    }
}

/// One entry of an `include`.
struct Wanted {
    pattern: String,
    span: Span,
}

/// Takes `include` out of a document. `None` if the document is no map.
fn take_includes(node: &mut Node, sources: &Sources<'_>, mistakes: &mut Mistakes) -> Option<Vec<Wanted>> {
    let Data::Map(entries) = &mut node.data else { return None };
    let Some(at) = entries.iter().position(|entry| entry.key == "include") else { return Some(Vec::new()) };
    let value = entries.remove(at).value;
    let items = match value.data {
        Data::List(items) => items,
        _ => vec![value],
    };
    let mut wanted = Vec::new();
    for item in items {
        let Data::Scalar(raw) = &item.data else {
            mistakes.note(&item.span, format!("`include` is a list of files, and this is {}", item.what()));
            continue;
        };
        match sources.interpolate(&item.span.file, raw).and_then(|text| text.fixed().map_err(str::to_owned)) {
            Ok(pattern) => wanted.push(Wanted { pattern, span: item.span }),
            Err(why) => mistakes.note(&item.span, format!("`include`: {why}")),
        }
    }
    Some(wanted)
}

/// The files that a pattern names, relative to the file that names them, in order of their names.
fn files(wanted: &Wanted, sources: &Sources<'_>, mistakes: &mut Mistakes) -> Vec<String> {
    if !glob::is_pattern(&wanted.pattern) {
        return vec![wanted.pattern.clone()];
    }
    let dir = sources.dir_of(&wanted.span.file);
    if let Some(folder) =
        Path::new(&wanted.pattern).parent().filter(|folder| !glob::is_pattern(&folder.to_string_lossy()))
        && dir.join(folder).is_dir()
    {
        // A file that appears there changes the folder.
        sources.read.borrow_mut().push(dir.join(folder));
    }
    match glob::matches(dir, &wanted.pattern) {
        Ok(found) => found,
        Err(why) => {
            mistakes.note(&wanted.span, format!("`include`: {why}"));
            Vec::new()
        }
    }
}

fn read(
    found: &str,
    named_at: &Span,
    seen: &mut HashSet<PathBuf>,
    sources: &mut Sources<'_>,
    mistakes: &mut Mistakes,
) -> Option<Node> {
    let path = sources.dir_of(&named_at.file).join(found);
    // One file has many spellings (`a/../b`), and a circle of includes would find ever longer ones.
    if !seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
        return None;
    }
    if sources.read.borrow().len() >= MOST_FILES {
        mistakes.note(named_at, format!("more than {MOST_FILES} files are included"));
        return None;
    }
    let bytes = match content(&path) {
        Ok(bytes) => bytes,
        Err(error) => {
            mistakes.note(named_at, format!("the file `{}` cannot be read: {error}", path.display()));
            return None;
        }
    };
    // Messages name files as seen from where the first was named.
    let name = Path::new(&*named_at.file).parent().unwrap_or(Path::new("")).join(found);
    let name: Arc<str> = name.to_string_lossy().into();
    let dir = path.parent().map(Path::to_owned).unwrap_or_default();
    sources.read.borrow_mut().push(path);
    sources.dirs.insert(name.clone(), dir);
    tree::parse(&name, &bytes, mistakes)
}

/// Maps are merged, nothing else is; one name in two files is a mistake that names both places.
fn merge(root: &mut Node, other: Node, mistakes: &mut Mistakes) {
    let Data::Map(entries) = &mut root.data else { return };
    let others = match other.data {
        Data::Map(others) => others,
        Data::Empty => return,
        Data::Scalar(_) | Data::List(_) => {
            mistakes.note(&other.span, "an included file must be a map");
            return;
        }
    };
    for other in others.into_iter().filter(|entry| !entry.key.starts_with("x-")) {
        match entries.iter_mut().find(|entry| entry.key == other.key) {
            None => entries.push(other),
            Some(Entry { value: Node { data: Data::Map(known), .. }, .. })
                if matches!(other.value.data, Data::Map(_)) =>
            {
                let Data::Map(names) = other.value.data else { continue };
                for name in names {
                    match known.iter().find(|entry| entry.key == name.key) {
                        None => known.push(name),
                        Some(first) => {
                            let message = format!(
                                "`{}` in `{}` is also written at {}, remove one",
                                name.key, other.key, first.span
                            );
                            mistakes.note(&name.span, message);
                        }
                    }
                }
            }
            Some(first) => {
                let message =
                    format!("`{}` is also written at {}, and only maps are merged, remove one", other.key, first.span);
                mistakes.note(&other.span, message);
            }
        }
    }
}

/// Enough for a file for each site of a large host.
const MOST_FILES: usize = 10_000;
