//! Rules about more than a host, by the engine of ad blockers: patterns of URLs, kinds of resources, who asks.

use std::fmt;

use adblock::filters::network::NetworkFilter;
use adblock::lists::{ParseOptions, ParsedLine, RuleTypes, parse_filter};
use adblock::request::Request;
use adblock::{Engine, FilterSet};
use regex::bytes::RegexBuilder;
use wire::Head;

use crate::route::{Facts, Kind};

/// The rules of one list that ask for more than the host.
pub struct Patterns {
    engine: Engine,
    count: usize,
    everywhere: usize,
    has_exceptions: bool,
    bytes: usize,
}

/// Lines of which no engine was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// The numbers of those that are no rule, from 0.
    pub wrong: Vec<usize>,
    /// Those that a proxy can do nothing about.
    pub foreign: usize,
}

/// One engine for all workers.
const _: fn() = || {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Engine>();
};

/// What the rules of one list say of a request.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) block: Option<Box<str>>,
    pub(super) is_important: bool,
    pub(super) is_exception: bool,
}

impl Patterns {
    /// Makes an engine of these lines; those that it does not understand, or that no proxy can do anything about, are left out and counted.
    pub fn of(lines: &str) -> (Option<Patterns>, LeftOut) {
        let options = ParseOptions { rule_types: RuleTypes::NetworkOnly, ..ParseOptions::default() };
        let (mut text, mut left_out, mut has_exceptions) = (String::new(), LeftOut::default(), false);
        let (mut count, mut everywhere) = (0, 0);
        for (number, line) in lines.lines().enumerate() {
            match parse_filter(line, false, options) {
                Ok(ParsedLine::Network(rule)) if is_for_pages(&rule) => {
                    left_out.foreign += 1;
                    continue;
                }
                Ok(ParsedLine::Network(_)) if is_small(line) => {}
                _ => {
                    left_out.wrong.push(number);
                    continue;
                }
            }
            count += 1;
            everywhere += usize::from(expression(line).is_some() && !line.contains("domain="));
            has_exceptions |= line.starts_with("@@");
            text += line;
            text.push('\n');
        }
        if count == 0 {
            return (None, left_out);
        }
        // What it says of a match is the line: without, nobody could be told why.
        let mut filters = FilterSet::new(true);
        filters.add_filter_list(text, options);
        // Rules that were fused would be told as one, and their regular expressions compiled as one.
        let engine = Engine::new_with_filter_set_no_optimize(filters);
        let bytes = engine.serialize().len();
        (Some(Patterns { engine, count, everywhere, has_exceptions, bytes }), left_out)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many of them every request is tried on: regular expressions for any page. The engine finds all others by words that are in them.
    pub fn everywhere(&self) -> usize {
        self.everywhere
    }

    /// How much memory they take, without the regular expressions that are in use.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What they say of a request. Where it is blocked anyway, only what could change that is looked for.
    pub(super) fn say(&self, request: &Request, is_blocked: bool) -> Said {
        let result = self.engine.check_network_request_subset(request, is_blocked, self.has_exceptions);
        let rule = result.filter.filter(|_| result.important || !is_blocked);
        Said {
            block: rule.map(|rule| rule.raw_line.unwrap_or_default().into()),
            is_important: result.important,
            is_exception: result.exception.is_some(),
        }
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patterns").field("count", &self.count).finish_non_exhaustive()
    }
}

/// Whether a rule changes what a page does, and blocks nothing.
fn is_for_pages(rule: &NetworkFilter<'_>) -> bool {
    rule.is_csp()
        || rule.is_removeparam()
        || rule.is_generic_hide()
        || (rule.is_redirect() && !rule.also_block_redirect())
}

/// Whether a rule that is a regular expression is one, and small: it is compiled by a worker, when it is first needed.
fn is_small(line: &str) -> bool {
    let rule = line.strip_prefix("@@").unwrap_or(line);
    if !rule.starts_with('/') {
        // With these, another rule becomes one as well.
        let pattern = rule.split('$').next().unwrap_or_default();
        return pattern.len() <= LONGEST_PATTERN || !pattern.contains(['*', '^']);
    }
    let Some(pattern) = expression(line) else { return true };
    let pattern = pattern.replace("\\/", "/");
    RegexBuilder::new(&pattern).unicode(false).size_limit(LARGEST_REGEX).build().is_ok()
}

/// What stands between the slashes of a rule that is a regular expression.
fn expression(line: &str) -> Option<&str> {
    let inner = line.strip_prefix("@@").unwrap_or(line).strip_prefix('/')?;
    let end = inner.rfind("/$").or(inner.strip_suffix('/').map(str::len))?;
    (end > 0).then(|| &inner[..end])
}

/// Bytes of a compiled expression: less than a millisecond's work.
const LARGEST_REGEX: usize = 64 * 1024;

/// Bytes of a pattern that is written without being one.
const LONGEST_PATTERN: usize = 2048;

/// A request as ad blockers see it; nothing if it is none that they could have made.
pub(super) fn request(facts: &Facts<'_>) -> Option<Request> {
    let url = url(facts)?;
    let head = facts.head;
    // Whoever asks for a page by itself is its own source.
    let source = field(head, b"referer").or(field(head, b"origin")).filter(|text| text.contains("://")).unwrap_or(&url);
    let method = std::str::from_utf8(head.method_text()).unwrap_or_default();
    let mut request = Request::new(&url, source, resource(facts), method).ok()?;
    match field(head, b"sec-fetch-site") {
        Some("cross-site") => request.is_third_party = true,
        Some("same-origin" | "same-site" | "none") => request.is_third_party = false,
        _ => {}
    }
    Some(request)
}

fn field<'a>(head: &'a Head, name: &'static [u8]) -> Option<&'a str> {
    std::str::from_utf8(head.value(name)?).ok()
}

fn url(facts: &Facts<'_>) -> Option<String> {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let (scheme, standard) = if facts.secure { ("https", 443) } else { ("http", 80) };
    let mut url = format!("{scheme}://{}", text(facts.host)?);
    if let Some(port) = wire::uri::port(facts.head.authority()).filter(|port| *port != standard) {
        url += &format!(":{port}");
    }
    url += text(facts.path)?;
    if let Some(query) = facts.head.query() {
        url.push('?');
        url += text(query)?;
    }
    Some(url)
}

/// What kind of resource is asked for, by the words of the engine: as browsers say it, else as `Accept` and the name make likely.
fn resource(facts: &Facts<'_>) -> &'static str {
    let head = facts.head;
    if facts.kind == Kind::Websocket {
        return "websocket";
    }
    if let Some(said) = head.value(b"sec-fetch-dest") {
        return match said {
            b"document" => "document",
            b"iframe" | b"frame" | b"fencedframe" => "subdocument",
            b"script" | b"worker" | b"sharedworker" | b"serviceworker" | b"audioworklet" | b"paintworklet" => "script",
            b"style" | b"xslt" => "stylesheet",
            b"image" => "image",
            b"font" => "font",
            b"audio" | b"video" | b"track" => "media",
            b"object" | b"embed" => "object",
            b"report" => "ping",
            // What `fetch` and `XMLHttpRequest` ask for.
            b"empty" => "xmlhttprequest",
            _ => "other",
        };
    }
    if head.value(b"x-requested-with").is_some_and(|said| said.eq_ignore_ascii_case(b"xmlhttprequest")) {
        return "xmlhttprequest";
    }
    match first_accepted(head) {
        b"text/html" | b"application/xhtml+xml" => return "document",
        b"text/css" => return "stylesheet",
        said if said.starts_with(b"image/") => return "image",
        said if said.starts_with(b"video/") || said.starts_with(b"audio/") => return "media",
        _ => {}
    }
    let name = facts.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    match name.rsplit(|byte| *byte == b'.').next().filter(|ending| ending.len() < name.len()) {
        Some(b"js" | b"mjs") => "script",
        Some(b"css") => "stylesheet",
        Some(b"gif" | b"png" | b"jpg" | b"jpeg" | b"webp" | b"svg" | b"avif" | b"ico" | b"bmp") => "image",
        Some(b"woff" | b"woff2" | b"ttf" | b"otf") => "font",
        Some(b"mp4" | b"webm" | b"mp3" | b"ogg" | b"m3u8") => "media",
        _ => "other",
    }
}

fn first_accepted(head: &Head) -> &[u8] {
    let accept = head.value(b"accept").unwrap_or_default();
    let first = accept.split(|byte| matches!(byte, b',' | b';')).next().unwrap_or_default();
    first.trim_ascii()
}
