//! Patterns of paths, in the one form that requests have when they are matched.

use wire::uri::{self, BadPath};

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

/// The normal form of requests. What no request may hold as it is, but for what is refused whole, is meant escaped.
fn normalize(path: &str) -> Result<String, String> {
    let mut escaped = String::new();
    for c in path.chars() {
        if c.is_ascii_control() || matches!(c, '#' | '\\') || u8::try_from(c).is_ok_and(uri::is_target_byte) {
            escaped.push(c);
        } else {
            let mut bytes = [0; 4];
            c.encode_utf8(&mut bytes).bytes().for_each(|byte| escaped += &format!("%{byte:02X}"));
        }
    }
    match uri::normalize(escaped.as_bytes()) {
        Ok(normal) => Ok(String::from_utf8_lossy(&normal).into_owned()),
        Err(BadPath::Escape) => Err(format!(
            "`{path}`: `%` must be followed by two hexadecimal digits, write `%25` for the character itself"
        )),
        Err(bad) => Err(format!("`{path}` can never match, such requests are refused: {}", bad.reason())),
    }
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
        let hopeless = "a * /a* /a/*/b /a?b=c /../a /a%zz /a% /a%+1 /a#b /a\\b /a%00 /a/..;x/b".split(' ');
        for text in hopeless.chain(["", "/a\tb"]) {
            assert!(pattern(text).is_err(), "{text}");
        }
    }
}
