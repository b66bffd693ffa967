//! YAML's own traps, said in words that hold the way out.

use crate::span::Span;

/// What a syntax error means, from what stands at its place.
pub(super) fn explain(text: &str, span: &Span, info: &str) -> String {
    let line = line_of(text, span);
    let here: String = line.chars().skip(span.col.saturating_sub(1) as usize).take(LONGEST_SHOWN).collect();
    if info.contains("recursion limit") {
        return "nested too deep".to_owned();
    }
    if info.contains("unprintable") {
        return "a control character stands here, remove it or write it as an escape in double quotes".to_owned();
    }
    if here.starts_with('*') && (info.contains("anchor") || info.contains("alias")) {
        return format!("a leading `*` is an alias in YAML, quote the text: {}", quoted(&word(&here)));
    }
    if info.contains("unexpected character")
        && let Some(first) = here.chars().next()
    {
        return format!("a leading `{first}` is reserved in YAML, quote the text: {}", quoted(&word(&here)));
    }
    if line.trim_start_matches(' ').starts_with('%') {
        return "a leading `%` is a directive in YAML, quote the text".to_owned();
    }
    if info.contains("tab") || line.trim_start_matches(' ').starts_with('\t') || next_line_has_tab(text, span) {
        return "a tab indents here, YAML indents with spaces only".to_owned();
    }
    if let Some(address) = bracketed_address(line) {
        return format!("`[` begins a list in YAML, quote the address: {}", quoted(address));
    }
    if info.contains("mapping values are not allowed") {
        return "a second `: ` stands on this line, quote the value if the colon belongs to it".to_owned();
    }
    if info.contains("unknown escape") {
        return "an unknown escape in double quotes, use single quotes for regular expressions".to_owned();
    }
    if info.contains("Unicode character escape") {
        return "an escape here is no character, write the character itself instead of a pair of `\\u` escapes"
            .to_owned();
    }
    if info.contains("block sequence entries") {
        return "a `- ` cannot stand here, begin the list on a line of its own or write it as `[a, b]`".to_owned();
    }
    if info.contains("flow mapping") || info.contains("flow sequence") {
        return "a `,` or the closing bracket is missing before this, quote text that holds brackets or commas"
            .to_owned();
    }
    if info.contains("trailing content") {
        return "something follows the closing quote, quote the whole value".to_owned();
    }
    if info.contains("did not find expected key") || info.contains("expected '-'") {
        return "the indentation does not fit the lines above, or something follows a closed value".to_owned();
    }
    if info.contains("end of stream") {
        return "the quote that opens here is never closed".to_owned();
    }
    format!("this is not valid YAML: {info}")
}

/// A tag, which is refused by name.
pub(super) fn tag(text: &str, span: &Span) -> String {
    let line = line_of(text, span);
    let here: String = line.chars().skip(span.col.saturating_sub(1) as usize).take(LONGEST_SHOWN).collect();
    let word = word(&here);
    if word.starts_with('!') {
        return format!(
            "a leading `!` is a tag in YAML and tags are not part of the language, quote the text: {}",
            quoted(&word)
        );
    }
    "tags are not part of the language, remove it".to_owned()
}

/// A key that is no text.
pub(super) fn odd_key(text: &str, span: &Span) -> String {
    let line = line_of(text, span);
    match bracketed_address(line) {
        Some(address) => format!("`[` begins a list in YAML, quote the address: {}", quoted(address)),
        None => "a key must be text, quote it".to_owned(),
    }
}

/// In double quotes, or in single ones where that needs no escapes.
fn quoted(text: &str) -> String {
    if text.contains(['"', '\\']) { format!("'{}'", text.replace('\'', "''")) } else { format!("\"{text}\"") }
}

/// The unquoted text at the start of `here`, as far as its writer probably meant it.
fn word(here: &str) -> String {
    here.chars().take_while(|c| !c.is_whitespace() && !matches!(c, ',' | ']' | '}')).collect()
}

/// `[v6]:port` as it stands in a line.
fn bracketed_address(line: &str) -> Option<&str> {
    let (start, _) = line.match_indices('[').find(|(at, _)| {
        let inner = &line[at + 1..];
        inner.find("]:").is_some_and(|end| inner[..end].contains(':') && inner[..end].bytes().all(is_address_byte))
    })?;
    let rest = &line[start..];
    let close = rest.find("]:")?;
    let digits = rest[close + 2..].bytes().take_while(u8::is_ascii_digit).count();
    Some(&rest[..close + 2 + digits])
}

fn is_address_byte(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || byte == b':' || byte == b'.'
}

fn line_of<'a>(text: &'a str, span: &Span) -> &'a str {
    line_number(text, span.line)
}

/// The scanner reports a tab at the value above it.
fn next_line_has_tab(text: &str, span: &Span) -> bool {
    line_number(text, span.line.saturating_add(1)).trim_start_matches(' ').starts_with('\t')
}

fn line_number(text: &str, line: u32) -> &str {
    text.lines().nth(line.saturating_sub(1) as usize).unwrap_or_default()
}

const LONGEST_SHOWN: usize = 80;
