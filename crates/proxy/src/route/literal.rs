//! The folder that every path below a regular expression shares, so that such rules can be filed by it.

/// The folder, without its last slash, of all texts that an unanchored pattern can match: `/u` of `^/u/([0-9]+)$`.
///
/// Nothing if there is none, or if more than a look at the pattern would be needed to be sure.
pub(super) fn parent(pattern: &str) -> Option<&str> {
    let anchored = pattern.strip_prefix('^')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-');
    let mut end = anchored.bytes().position(|byte| !plain(byte)).unwrap_or(anchored.len());
    let rest = &anchored[end..];
    if rest.starts_with(['*', '+', '?', '{']) {
        end = end.checked_sub(1)?;
    }
    let folder = &anchored[..anchored[..end].rfind('/')?];
    (folder.starts_with('/') && is_one_branch(rest)).then_some(folder)
}

/// Whether it is plain to see that no `|` of a pattern's rest stands outside its groups.
fn is_one_branch(rest: &str) -> bool {
    if !rest.contains('|') {
        return true;
    }
    // Classes may hold unpaired brackets, and flags may change what the rest means.
    if rest.contains('[') || rest.split("(?").skip(1).any(|group| !group.starts_with(':')) {
        return false;
    }
    let mut depth = 0_usize;
    let mut bytes = rest.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => return false,
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use regex::bytes::Regex;

    use super::*;

    #[test]
    fn folders_are_seen() {
        for (pattern, folder) in [
            ("^/u/([0-9]+)$", "/u"),
            ("^/a/b/c", "/a/b"),
            ("^/a/b*", "/a"),
            ("^/a/(x|y)$", "/a"),
            (r"^/a/(?:x|\(y)\|z", "/a"),
            ("^/a//", "/a/"),
            ("^/a/[|]", ""),
            ("^/a/[0-9]", "/a"),
        ] {
            assert_eq!(parent(pattern).unwrap_or_default(), folder, "{pattern}");
        }
    }

    #[test]
    fn doubt_is_no_folder() {
        for pattern in [
            "/u/x",
            "^u/x",
            "^/u",
            "^/?a",
            "^/a/?b",
            "^/a/*",
            "^/a/{0}",
            "^/a/x|/b",
            "^/a/(x)|b",
            "(?i)^/a/b",
            "^(/a/b)",
            r"^/a/\(|/b\)",
            "^/a/(?i)x|y",
            "^/a/[(]|/b[)]",
            "^/a/(?P<n>x|y)",
            "",
            "^",
            "^*",
        ] {
            assert_eq!(parent(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn what_matches_lies_in_the_folder() {
        let paths = ["/a", "/a/", "/a/x", "/a/b", "/a/b/c", "/b", "/", "/ab", "/a/(", "x/a/b", "/a/b/x|y"];
        for pattern in ["^/a/", "^/a/b?", "^/a/b{0,1}$", "^/a/(b|x)", r"^/a/(?:\(|x)", "^/a/b/.*$", "^/a/.|$"] {
            let regex = Regex::new(pattern).expect("a valid pattern");
            for path in paths.iter().filter(|path| regex.is_match(path.as_bytes())) {
                let inside =
                    parent(pattern).is_none_or(|folder| path.strip_prefix(folder).is_some_and(|p| p.starts_with('/')));
                assert!(inside, "{pattern} {path}");
            }
        }
    }
}
