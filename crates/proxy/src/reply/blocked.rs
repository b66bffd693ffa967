//! What people are told whose request a list has refused: what has refused it, and by which rule.

use base::Kind;
use wire::Head;

use crate::lists::{Hit, Source};
use crate::snapshot::Deny;

/// Whether the client shows pages to somebody: it would rather have HTML than plain text, and says so.
pub(super) fn wants_page(request: &Head) -> bool {
    let (mut page, mut text) = (0, 0);
    for range in request.values(b"accept").flat_map(|value| value.split(|byte| *byte == b',')) {
        let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let kind = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix(b"q=")).map_or(1000, thousandths);
        if kind.eq_ignore_ascii_case(b"text/html") || kind.eq_ignore_ascii_case(b"application/xhtml+xml") {
            page = page.max(quality);
        } else if kind.eq_ignore_ascii_case(b"text/plain") {
            text = text.max(quality);
        }
    }
    page > 0 && page >= text
}

/// A quality (RFC 9110 section 12.4.2) in thousandths; one that is none counts as nothing.
fn thousandths(text: &[u8]) -> u32 {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let quality: f32 = text.parse().unwrap_or_default();
    (quality.clamp(0.0, 1.0) * 1000.0) as u32
}

/// What a route refuses with, in a line.
pub(super) fn line(deny: &Deny, hit: Option<&Hit>) -> String {
    let otherwise = if hit.is_some() { "blocked" } else { Kind::Denied.code() };
    let mut line = format!("{}: {}", deny.status, deny.reason.as_deref().unwrap_or(otherwise));
    if let Some(hit) = hit {
        line += &format!(": rule `{}` of {} `{}`", hit.rule, hit.source.noun(), hit.name);
    }
    if let Some(contact) = &deny.contact {
        line += &format!("; ask {contact}");
    }
    line + "\n"
}

/// What a list has refused, as a page. There is nothing from elsewhere in it: whoever is blocked may reach nothing else.
pub(super) fn page(deny: &Deny, host: &[u8], hit: &Hit) -> String {
    let reason = escaped(deny.reason.as_deref().unwrap_or(match hit.source {
        Source::List(_) => "It is on a list of what is not shown here.",
        Source::Filter => "It is of a kind that is not shown here.",
    }));
    let host = escaped(&String::from_utf8_lossy(host));
    let (rule, name, status) = (escaped(&hit.rule), escaped(&hit.name), deny.status);
    let noun = match hit.source {
        Source::List(_) => "List",
        Source::Filter => "Filter",
    };
    let whom = deny.contact.as_deref().map_or("whoever runs this network".to_owned(), linked);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Blocked: {host}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>This page is blocked</h1>\n<p class=\"reason\">{reason}</p>\n<dl>\n\
         <dt>Site</dt><dd>{host}</dd>\n<dt>{noun}</dt><dd>{name}</dd>\n<dt>Rule</dt><dd><code>{rule}</code></dd>\n\
         <dt>Status</dt><dd>{status}</dd>\n</dl>\n\
         <p class=\"ask\">Is this a mistake, or do you need the page? Ask {whom}, and name the {} and the rule.</p>\n\
         </main>\n</body>\n</html>\n",
        hit.source.noun()
    )
}

/// Whom to ask, as a link if it is an address: of a page, or of mail.
fn linked(contact: &str) -> String {
    let scheme = match contact {
        words if words.contains(char::is_whitespace) => None,
        page if page.starts_with("https://") || page.starts_with("http://") => Some(""),
        mail if mail.contains('@') => Some("mailto:"),
        _ => None,
    };
    let text = escaped(contact);
    scheme.map_or(text.clone(), |scheme| format!("<a href=\"{scheme}{text}\">{text}</a>"))
}

const STYLE: &str = ":root { color-scheme: light dark; --back: #f6f6f4; --card: #fff; --text: #1d1f21; --soft: #595e64; --line: #d9dbdd; \
    --link: #0b57b0 }\n\
    @media (prefers-color-scheme: dark) { :root { --back: #16181a; --card: #1f2225; --text: #e8e9ea; --soft: #a9afb5; --line: #363b40; \
    --link: #8ab8ff } }\n\
    body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--back); color: var(--text); \
    font: 1rem/1.5 system-ui, sans-serif }\n\
    main { box-sizing: border-box; width: min(36rem, 100% - 2rem); margin: 1rem 0; padding: clamp(1.25rem, 5vw, 2rem); \
    background: var(--card); border: 1px solid var(--line); border-radius: .5rem; overflow-wrap: anywhere }\n\
    h1 { margin: 0; font-size: 1.5rem; line-height: 1.25 }\np { margin: .5rem 0 0 }\n\
    dl { margin: 1.5rem 0; padding: 1rem 0; display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.25rem; \
    border-block: 1px solid var(--line); font-size: .9375rem }\n\
    dt, .ask { color: var(--soft) }\ndd { margin: 0 }\ncode { font-size: .875rem }\n.ask { font-size: .9375rem }\na { display: inline-block; color: var(--link) }\n";

/// Text as HTML shows it. Hosts and rules are others' words.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(accept: &[&str]) -> bool {
        let mut head = Head::default();
        head.start_request(b"GET", b"a", b"/", None);
        accept.iter().for_each(|value| head.add(b"Accept", value.as_bytes()));
        wants_page(&head)
    }

    #[test]
    fn browsers_get_a_page_and_others_a_line() {
        assert!(wants(&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"]));
        assert!(wants(&["text/plain;q=0.5, text/html"]));
        assert!(wants(&["*/*", "text/html"]));
        for not in [&["*/*"][..], &[], &["application/json"], &["text/html;q=0"], &["text/plain, text/html;q=0.9"]] {
            assert!(!wants(not), "{not:?}");
        }
        assert!(!wants(&["text/html;q=NaN"]));
    }

    #[test]
    fn who_may_be_asked_is_a_link_where_it_is_an_address() {
        for (contact, shown) in [
            ("it@example.com", "<a href=\"mailto:it@example.com\">it@example.com</a>"),
            (
                "https://desk.example/?a&b",
                "<a href=\"https://desk.example/?a&amp;b\">https://desk.example/?a&amp;b</a>",
            ),
            ("Ann, room 7 (@ann)", "Ann, room 7 (@ann)"),
            ("javascript:alert(1)", "javascript:alert(1)"),
            ("\"><b>@x", "<a href=\"mailto:&quot;&gt;&lt;b&gt;@x\">&quot;&gt;&lt;b&gt;@x</a>"),
        ] {
            assert_eq!(linked(contact), shown);
        }
    }

    #[test]
    fn nothing_that_a_request_holds_becomes_markup() {
        assert_eq!(escaped("<a href='x' title=\"y\">&"), "&lt;a href=&#39;x&#39; title=&quot;y&quot;&gt;&amp;");
    }
}
