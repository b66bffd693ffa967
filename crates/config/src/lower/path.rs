//! Patterns of paths, in the one form that requests have when they are matched.

use crate::spec::PathPattern;

/// `/a`, `/a/*`: exact, or everything at and below.
///
/// # Errors
/// A pattern that no normalized path can match names the form that can.
pub(super) fn pattern(text: &str) -> Result<PathPattern, String> {
    if !text.starts_with('/') {
        return Err(format!("`{text}` is no path, a path begins with `/`"));
    }
    let (stem, is_prefix) = match text.strip_suffix("/*") {
        Some(stem) => (stem, true),
        None => (text, false),
    };
    if stem.contains('*') {
        return Err(format!(
            "`{text}`: a `*` may only end a path, as in `/a/*`, use a regular expression such as `~^/a/[^/]+/b$` for more"
        ));
    }
    if text.contains('?') {
        return Err(format!("`{text}`: the query is no part of the path, match it with `query`"));
    }
    // The stem of `/*` is empty and normal.
    let normal = if stem.is_empty() { String::new() } else { normalize(stem)? };
    if normal != stem {
        let star = if is_prefix { "/*" } else { "" };
        let shown = format!("{}{star}", normal.trim_end_matches(if is_prefix { '/' } else { '\0' }));
        return Err(format!("`{text}` can never match, because requests are compared in their normal form: `{shown}`"));
    }
    Ok(if is_prefix { PathPattern::Prefix(normal) } else { PathPattern::Exact(normal) })
}

/// The normal form: unreserved escapes decoded, other escapes in upper case, dot segments removed; `%2F`, `%5C` and `//` stay.
fn normalize(path: &str) -> Result<String, String> {
    let mut decoded = String::new();
    let mut rest = path;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '%' {
            let byte = rest.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
            let byte = byte.filter(|_| !rest.starts_with('+')).ok_or_else(|| {
                format!(
                    "`{path}`: `%` must be followed by two hexadecimal digits, write `%25` for the character itself"
                )
            })?;
            rest = &rest[2..];
            match byte {
                0 => return Err(format!("`{path}` can never match: requests with NUL are refused")),
                _ if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => decoded.push(char::from(byte)),
                _ => decoded += &format!("%{byte:02X}"),
            }
        } else if matches!(c, '!'..='~') && !matches!(c, '#' | '\\' | '<' | '>' | '"') {
            decoded.push(c);
        } else if c == '#' || c == '\\' || c.is_ascii_control() {
            return Err(format!("`{path}` can never match: requests with such a character are refused"));
        } else {
            let mut bytes = [0; 4];
            c.encode_utf8(&mut bytes).bytes().for_each(|byte| decoded += &format!("%{byte:02X}"));
        }
    }
    remove_dot_segments(&decoded).ok_or_else(|| format!("`{path}` climbs above the root"))
}

fn remove_dot_segments(path: &str) -> Option<String> {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop()?;
                }
                if is_last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    Some(format!("/{}", kept.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_the_form_of_requests() {
        let exact = |path: &str| Ok(PathPattern::Exact(path.to_owned()));
        let prefix = |path: &str| Ok(PathPattern::Prefix(path.to_owned()));
        assert_eq!(pattern("/"), exact("/"));
        assert_eq!(pattern("/a//b/"), exact("/a//b/"));
        assert_eq!(pattern("/a%2Fb%5C"), exact("/a%2Fb%5C"));
        assert_eq!(pattern("/*"), prefix(""));
        assert_eq!(pattern("/a/b/*"), prefix("/a/b"));
        assert_eq!(pattern("/.well-known/*"), prefix("/.well-known"));
    }

    #[test]
    fn what_can_never_match_names_the_form_that_can() {
        for (text, normal) in [
            ("/a/../b", "`/b`"),
            ("/a/./b/*", "`/a/b/*`"),
            ("/%61dmin/*", "`/admin/*`"),
            ("/a%2fb", "`/a%2Fb`"),
            ("/é", "`/%C3%A9`"),
            ("/a b", "`/a%20b`"),
            ("/a/%2e%2e/b", "`/b`"),
        ] {
            let why = pattern(text).expect_err(text);
            assert!(why.contains("can never match") && why.ends_with(normal), "{why}");
        }
        for text in
            ["a", "", "*", "/a*", "/a/*/b", "/a?b=c", "/../a", "/a%zz", "/a%", "/a%+1", "/a#b", "/a\\b", "/a%00"]
        {
            assert!(pattern(text).is_err(), "{text}");
        }
    }
}
