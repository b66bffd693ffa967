//! `*` and `?` in paths: the two of which a list of files needs, and no more.

use std::path::Path;

/// Whether a path has wildcards at all.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// The files under `dir` that a pattern matches, relative to `dir` (or absolute, as the pattern is), in order of their names.
///
/// `*` is any part of one segment, but not a leading dot, and `?` is one character.
pub(super) fn matches(dir: &Path, pattern: &str) -> Result<Vec<String>, String> {
    let mut found = vec![if pattern.starts_with('/') { "/".to_owned() } else { String::new() }];
    let mut segments = pattern.split('/').filter(|segment| !segment.is_empty()).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let mut next = Vec::new();
        for prefix in found {
            if is_pattern(segment) {
                next.extend(names(&dir.join(&prefix), segment).into_iter().map(|name| join(&prefix, &name)));
            } else {
                next.push(join(&prefix, segment));
            }
        }
        next.retain(|path| if is_last { dir.join(path).is_file() } else { dir.join(path).is_dir() });
        if next.len() > MOST_MATCHES {
            return Err(format!("`{pattern}` matches more than {MOST_MATCHES} files"));
        }
        found = next;
    }
    Ok(found)
}

/// Names in a folder that match one segment; a folder that cannot be read has none.
fn names(dir: &Path, segment: &str) -> Vec<String> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let visible = |name: &String| !name.starts_with('.') || segment.starts_with('.');
    let mut names: Vec<String> =
        names.filter(|name| visible(name) && fits(segment.as_bytes(), name.as_bytes())).collect();
    names.sort();
    names
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() || prefix.ends_with('/') { format!("{prefix}{name}") } else { format!("{prefix}/{name}") }
}

/// Goes back only to the last `*`, so that the time is bounded by the product of the lengths.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                last_star = Some((at, in_name));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((star, from)) = last_star else { return false };
                last_star = Some((star, from + 1));
                at = star + 1;
                in_name = from + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

const MOST_MATCHES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_fit() {
        for (pattern, name) in
            [("*.yaml", "a.yaml"), ("*", ""), ("a?c", "abc"), ("*a*b", "xaayb"), ("a*", "a"), ("**", "x")]
        {
            assert!(fits(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in [("*.yaml", "a.yml"), ("a?c", "ac"), ("", "a"), ("*a*b", "xbya"), ("?", "")] {
            assert!(!fits(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
    }
}
