//! What a response may be taken for by its `Content-Type`: browsers read it as Fetch says ("extract a MIME type"), others in their own way.

use std::borrow::Cow;

use crate::Head;
use crate::h1::is_token;

/// A type as it is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said<'a> {
    /// `type/subtype`
    pub essence: &'a [u8],
    /// The charset of it.
    pub charset: Option<Cow<'a, [u8]>>,
}

/// The type that browsers read (Fetch, section 2.2.2): of several, be it in one field or in more, the last that is a type at all; nothing
/// where none is, so that they find out by themselves.
pub fn extract(response: &Head) -> Option<Said<'_>> {
    let mut read: Option<Said<'_>> = None;
    elements(response, |element| {
        let Some(mut said) = parse(element).filter(|said| said.essence != b"*/*") else { return };
        let before = read.take().filter(|before| before.essence.eq_ignore_ascii_case(said.essence));
        said.charset = said.charset.or(before.and_then(|before| before.charset));
        read = Some(said);
    });
    read
}

/// Every type that somebody may read, the one of browsers first; an empty one where they would read none.
pub fn readings(response: &Head) -> Vec<&[u8]> {
    let mut readings = vec![extract(response).map_or(&b""[..], |said| said.essence)];
    let mut take = |element| {
        for end in [&b";"[..], b"; \t("] {
            let reading = until(element, end).trim_ascii();
            if reading.contains(&b'/') && !readings.contains(&reading) {
                readings.push(reading);
            }
        }
    };
    elements(response, &mut take);
    for value in response.values(b"content-type").filter(|value| is_quoted_oddly(value)) {
        value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).for_each(&mut take);
    }
    readings
}

/// What commas part that do not stand in quotes (Fetch: "get, decode, and split"). Quotes may go on in the next field.
fn elements<'a>(response: &'a Head, mut take: impl FnMut(&'a [u8])) {
    let mut quoted = false;
    for value in response.values(b"content-type") {
        let (mut begins, mut from, mut at) = (!quoted, 0, 0);
        while let Some(byte) = value.get(at) {
            match byte {
                b'"' => quoted = !quoted,
                b'\\' if quoted => at += 1,
                b',' if !quoted => {
                    if std::mem::replace(&mut begins, true) {
                        take(value[from..at].trim_ascii());
                    }
                    from = at + 1;
                }
                _ => {}
            }
            at += 1;
        }
        if begins {
            take(value[from..].trim_ascii());
        }
    }
}

/// MIME Sniffing, section 4.4: "parse a MIME type".
fn parse(element: &[u8]) -> Option<Said<'_>> {
    let essence = until(element, b";").trim_ascii_end();
    let slash = essence.iter().position(|byte| *byte == b'/')?;
    let is_named = |name: &[u8]| !name.is_empty() && name.iter().all(|byte| is_token(*byte));
    if !is_named(&essence[..slash]) || !is_named(&essence[slash + 1..]) {
        return None;
    }
    let mut rest = &element[until(element, b";").len()..];
    while let Some((_, parameters)) = rest.split_first() {
        let parameters = parameters.trim_ascii_start();
        let name = until(parameters, b";=");
        rest = &parameters[name.len()..];
        if rest.first() != Some(&b'=') {
            continue;
        }
        let (value, used) = parameter(&rest[1..]);
        rest = &rest[1 + used..];
        if name.eq_ignore_ascii_case(b"charset") && !value.is_empty() {
            return Some(Said { essence, charset: Some(value) });
        }
    }
    Some(Said { essence, charset: None })
}

/// The value of a parameter, and up to where it goes.
fn parameter(text: &[u8]) -> (Cow<'_, [u8]>, usize) {
    if text.first() != Some(&b'"') {
        let value = until(text, b";");
        return (value.trim_ascii_end().into(), value.len());
    }
    let (mut value, mut at) = (Vec::new(), 1);
    while let Some(byte) = text.get(at).filter(|byte| **byte != b'"') {
        let escaped = text.get(at + 1).filter(|_| *byte == b'\\');
        value.push(*escaped.unwrap_or(byte));
        at += 1 + usize::from(escaped.is_some());
    }
    let at = at.min(text.len());
    (value.into(), at + until(&text[at..], b";").len())
}

fn until<'a>(text: &'a [u8], ends: &[u8]) -> &'a [u8] {
    let end = text.iter().position(|byte| ends.contains(byte)).unwrap_or(text.len());
    &text[..end]
}

/// Whether readers may differ on where its quotes end.
fn is_quoted_oddly(value: &[u8]) -> bool {
    value.contains(&b'\\') || value.iter().filter(|byte| **byte == b'"').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(values: &[&str]) -> Head {
        let mut head = Head::default();
        head.start_response(200);
        values.iter().for_each(|value| head.add(b"Content-Type", value.as_bytes()));
        head
    }

    fn extracted(values: &[&str]) -> Option<(String, Option<String>)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        extract(&response(values)).map(|said| (text(said.essence), said.charset.map(|charset| text(&charset))))
    }

    #[test]
    fn browsers_read_the_last_that_is_a_type() {
        // The examples of Fetch, and some of the tests of the web platform.
        for (values, essence, charset) in [
            (&["text/plain;charset=gbk, text/html"][..], "text/html", None),
            (&["text/html;charset=gbk;a=b, text/html;x=y"], "text/html", Some("gbk")),
            (&["text/html;charset=gbk;a=b", "text/html;x=y"], "text/html", Some("gbk")),
            (&["text/html;charset=gbk", "x/x", "text/html;x=y"], "text/html", None),
            (&["text/html", "cannot-parse"], "text/html", None),
            (&["text/html", "*/*"], "text/html", None),
            (&["text/html", ""], "text/html", None),
            (&["text/html;x=\"a, video/mp4\""], "text/html", None),
            (&["text/html;x=\"a", "video/mp4\""], "text/html", None),
            (&["text/html;x=\"a\\\", video/mp4"], "text/html", None),
            (&[" \ttext/html ;charset=\"u\\tf-8\"x;charset=gbk"], "text/html", Some("utf-8")),
            (&["text/html;;; charset;Charset=UTF-16 ;"], "text/html", Some("UTF-16")),
            (&["text/html;a=\";charset=x\";charset=y"], "text/html", Some("y")),
            (&["text/html;charset ="], "text/html", None),
            (&["text/html;charset=\""], "text/html", None),
        ] {
            assert_eq!(extracted(values), Some((essence.to_owned(), charset.map(str::to_owned))), "{values:?}");
        }
        for none in [&[][..], &["text"], &["text/"], &["/html"], &["text/ht ml"], &["text/html/x"], &["*/*"], &["té/x"]]
        {
            assert_eq!(extracted(none), None, "{none:?}");
        }
    }

    #[test]
    fn others_may_read_it_otherwise() {
        for (values, all) in [
            (&["text/html; charset=utf-8"][..], &["text/html"][..]),
            (&["text/html, video/mp4"], &["video/mp4", "text/html"]),
            (&["video/mp4 (a film)"], &["", "video/mp4 (a film)", "video/mp4"]),
            (&["text/html;x=\"a,b/c\""], &["text/html"]),
            (&["text/html;x=\"a, video/mp4"], &["text/html", "video/mp4"]),
            (&["text/html;x=\"\\\", video/mp4;y=\""], &["text/html", "video/mp4"]),
            (&["nonsense"], &[""]),
            (&[], &[""]),
        ] {
            let all: Vec<&[u8]> = all.iter().map(|reading| reading.as_bytes()).collect();
            assert_eq!(readings(&response(values)), all, "{values:?}");
        }
    }
}
