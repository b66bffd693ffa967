//! Content codings (RFC 9110 section 8.4): which one a client would have, and what a head says of content that was coded.

use crate::head::{Framing, Head};
use crate::hop::options;
use crate::known::Known;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Coding {
    /// RFC 8878, in a window of at most 8 MiB (RFC 9659).
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

/// A weight in thousandths (RFC 9110 section 12.4.2).
type Weight = u16;

impl Coding {
    /// Every coding.
    pub const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        }
    }

    fn is_called(self, name: &[u8]) -> bool {
        // RFC 9110 section 8.4.1.3: "x-gzip" is the same.
        name.eq_ignore_ascii_case(self.name().as_bytes())
            || (self == Coding::Gzip && name.eq_ignore_ascii_case(b"x-gzip"))
    }
}

/// What the request would have (RFC 9110 section 12.5.3): of these codings the one with the highest weight, and of several with
/// the same the first. A request without `Accept-Encoding` would take anything, and is given content as it is, because who
/// sends one knows no codings.
pub fn wish(request: &Head, preference: &[Coding]) -> Option<Coding> {
    let mut weights: [Option<Weight>; Coding::ALL.len()] = [None; Coding::ALL.len()];
    let (mut identity, mut any) = (None, None);
    for element in request.values(b"accept-encoding").flat_map(options) {
        let (name, weight) = weighted(element);
        // What cannot be understood is as if it were not there.
        let Some(weight) = weight else { continue };
        let known = Coding::ALL.iter().position(|coding| coding.is_called(name));
        match known {
            Some(number) => weights[number] = weights[number].max(Some(weight)),
            None if name == b"*" => any = any.max(Some(weight)),
            None if name.eq_ignore_ascii_case(b"identity") => identity = identity.max(Some(weight)),
            None => {}
        }
    }
    let mut best = None;
    for coding in preference {
        let weight = weights[*coding as usize].or(any).unwrap_or(0);
        if weight > best.map_or(0, |(_, best)| best) {
            best = Some((*coding, weight));
        }
    }
    best.filter(|(_, weight)| identity.is_none_or(|identity| identity <= *weight)).map(|(coding, _)| coding)
}

/// The coding that a response is said to be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// One that we write as well.
    Coding(Coding),
    /// RFC 1951, which we only read.
    Deflate,
}

impl Said {
    fn of(name: &[u8]) -> Option<Said> {
        match Coding::ALL.into_iter().find(|coding| coding.is_called(name)) {
            Some(coding) => Some(Said::Coding(coding)),
            None => name.eq_ignore_ascii_case(b"deflate").then_some(Said::Deflate),
        }
    }
}

/// The coding of a response's content: `Some(None)` if it is in none, nothing if it is in one that is not known here, or in several.
pub fn said(response: &Head) -> Option<Option<Said>> {
    let mut names = response.values(b"content-encoding").flat_map(options);
    let mut names = names.by_ref().filter(|name| !name.eq_ignore_ascii_case(b"identity"));
    match (names.next(), names.next()) {
        (None, _) => Some(None),
        (Some(name), None) => Said::of(name).map(Some),
        (Some(_), Some(_)) => None,
    }
}

/// Leaves in `Accept-Encoding` what can be read here.
pub fn accept_what_is_read(request: &mut Head) {
    let mut known: Vec<&[u8]> = Vec::new();
    let mut left_out = false;
    for element in request.values(b"accept-encoding").flat_map(options) {
        let (name, _) = weighted(element);
        let is_known = Said::of(name).is_some() || name.eq_ignore_ascii_case(b"identity");
        if is_known { known.push(element) } else { left_out = true }
    }
    if left_out {
        let value = if known.is_empty() { b"identity".to_vec() } else { known.join(&b", "[..]) };
        request.set(b"Accept-Encoding", &value);
    }
}

/// Whether a `Cache-Control` of this message forbids to code what is not coded (RFC 9111 sections 5.2.1.6 and 5.2.2.6).
pub fn is_final(head: &Head) -> bool {
    head.values(b"cache-control").flat_map(options).any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

/// Says that the answer would be another one to another `Accept-Encoding` (RFC 9110 section 12.5.5).
pub fn vary(response: &mut Head) {
    let says = |name: &[u8]| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding");
    if !response.values(b"vary").flat_map(options).any(says) {
        response.add(b"Vary", b"Accept-Encoding");
    }
}

/// Says that the content of this response is in a coding from here on. What was said of the bytes that came no longer holds: their
/// length, their ranges, and that their validator stands for just these bytes (RFC 9110 section 8.8.1). The framing is
/// the caller's.
pub fn encoded(response: &mut Head, coding: Coding) {
    response.add(b"Content-Encoding", coding.name().as_bytes());
    response.remove(b"Accept-Ranges");
    response.remove_known(Known::ContentLength);
    weaken(response);
}

/// Makes the validator one that holds for all codings of the content.
pub fn weaken(response: &mut Head) {
    let Some(tag) = response.value(b"etag") else { return };
    if !tag.starts_with(b"W/") {
        let weak = [b"W/", tag].concat();
        response.set(b"ETag", &weak);
    }
}

/// Whether the request asks after the weak form of this validator: one that [`weaken`] has made for it.
pub fn asks_weakly(request: &Head, tag: &[u8]) -> bool {
    let is_it = |asked: &[u8]| asked.strip_prefix(b"W/") == Some(tag);
    request.values(b"if-none-match").flat_map(options).any(is_it)
}

/// The length of the content that the head speaks of, be it that the content follows or not.
pub fn said_length(response: &Head) -> Option<u64> {
    match response.framing() {
        Framing::Length(length) => Some(length),
        Framing::Unknown | Framing::UntilClose => None,
        // The answer to a HEAD.
        Framing::None => std::str::from_utf8(response.value_of(Known::ContentLength)?).ok()?.parse().ok(),
    }
}

/// An element and its weight: nothing where the weight is none.
fn weighted(element: &[u8]) -> (&[u8], Option<Weight>) {
    let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default();
    let weight = match parts.next() {
        None => Some(1000),
        Some(parameter) => parameter
            .split_first_chunk::<2>()
            .filter(|(start, _)| start.eq_ignore_ascii_case(b"q="))
            .and_then(|(_, text)| weight(text)),
    };
    (name, weight)
}

fn weight(text: &[u8]) -> Option<Weight> {
    let (whole, decimals) = text.split_first()?;
    let decimals = match decimals.split_first() {
        None => decimals,
        Some((b'.', decimals)) => decimals,
        Some(_) => return None,
    };
    if decimals.len() > 3 || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let thousandths = (0..3).fold(0, |sum, at| sum * 10 + decimals.get(at).map_or(0, |digit| u16::from(digit - b'0')));
    match (whole, thousandths) {
        (b'0', thousandths) => Some(thousandths),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Coding; 3] = Coding::ALL;

    fn request(lines: &[&str]) -> Head {
        let mut head = Head::default();
        head.start_request(b"GET", b"a", b"/", None);
        for line in lines {
            head.add(b"accept-encoding", line.as_bytes());
        }
        head
    }

    fn wished(line: &str) -> Option<Coding> {
        wish(&request(&[line]), &ALL)
    }

    #[test]
    fn what_a_response_is_in_is_one_coding_or_none() {
        let of = |lines: &[&str]| {
            let mut head = Head::default();
            head.start_response(200);
            lines.iter().for_each(|line| head.add(b"Content-Encoding", line.as_bytes()));
            said(&head)
        };
        assert_eq!(of(&[]), Some(None));
        assert_eq!(of(&["identity", ""]), Some(None));
        assert_eq!(of(&["X-GZIP"]), Some(Some(Said::Coding(Coding::Gzip))));
        assert_eq!(of(&["deflate"]), Some(Some(Said::Deflate)));
        assert_eq!(of(&["identity, br"]), Some(Some(Said::Coding(Coding::Brotli))));
        for unknown in [&["gzip, br"][..], &["gzip", "gzip"], &["dcz"]] {
            assert_eq!(of(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn only_what_can_be_read_is_accepted() {
        for (before, after) in [
            ("gzip, deflate, br, zstd", "gzip, deflate, br, zstd"),
            ("gzip;q=0.5, dcb, zstd", "gzip;q=0.5, zstd"),
            ("dcb, *", "identity"),
            ("identity;q=0, br", "identity;q=0, br"),
        ] {
            let mut head = request(&[before]);
            accept_what_is_read(&mut head);
            assert_eq!(head.value(b"accept-encoding"), Some(after.as_bytes()));
        }
        let mut head = request(&[]);
        accept_what_is_read(&mut head);
        assert_eq!(head.value(b"accept-encoding"), None);
    }

    #[test]
    fn the_highest_weight_wins_and_then_our_order() {
        assert_eq!(wished("gzip, deflate, br, zstd"), Some(Coding::Zstd));
        assert_eq!(wished("gzip, deflate, br"), Some(Coding::Brotli));
        assert_eq!(wished("gzip;q=1.0, br;q=0.9, zstd;q=0.999"), Some(Coding::Gzip));
        assert_eq!(wished("GZIP;Q=0.5"), Some(Coding::Gzip));
        assert_eq!(wished("x-gzip"), Some(Coding::Gzip));
        assert_eq!(wished("deflate, compress"), None);
        assert_eq!(wish(&request(&["gzip", "br ; q=0.1"]), &ALL), Some(Coding::Gzip));
        assert_eq!(wish(&request(&["gzip, br"]), &[Coding::Gzip]), Some(Coding::Gzip));
        assert_eq!(wish(&request(&["br"]), &[Coding::Gzip]), None);
    }

    #[test]
    fn nothing_and_an_empty_field_are_content_as_it_is() {
        assert_eq!(wish(&request(&[]), &ALL), None);
        assert_eq!(wish(&request(&[""]), &ALL), None);
        assert_eq!(wish(&request(&["identity"]), &ALL), None);
    }

    #[test]
    fn a_weight_of_nothing_is_a_refusal() {
        assert_eq!(wished("gzip;q=0"), None);
        assert_eq!(wished("gzip;q=0.000, br;q=0.001"), Some(Coding::Brotli));
        assert_eq!(wished("zstd;q=0, *"), Some(Coding::Brotli));
        assert_eq!(wished("*"), Some(Coding::Zstd));
        assert_eq!(wished("*;q=0, gzip"), Some(Coding::Gzip));
        assert_eq!(wished("*;q=0"), None);
    }

    #[test]
    fn content_as_it_is_may_be_liked_better() {
        assert_eq!(wished("identity, gzip;q=0.5"), None);
        assert_eq!(wished("identity;q=0.5, gzip"), Some(Coding::Gzip));
        assert_eq!(wished("identity, gzip"), Some(Coding::Gzip));
    }

    #[test]
    fn what_is_no_weight_is_not_there() {
        for line in ["gzip;q=2", "gzip;q=1.001", "gzip;q=0.0001", "gzip;q=", "gzip;q=-1", "gzip;level=1", "gzip;q=.5"] {
            assert_eq!(wished(line), None, "{line}");
        }
    }

    #[test]
    fn coded_content_has_no_length_no_ranges_and_a_weak_validator() {
        let mut head = Head::default();
        head.start_response(200);
        head.add(b"Content-Length", b"9");
        head.add(b"accept-ranges", b"bytes");
        head.add(b"etag", b"\"a\"");
        encoded(&mut head, Coding::Brotli);
        vary(&mut head);
        vary(&mut head);
        let fields: Vec<_> = head.fields().map(|field| [field.name, b"=", field.value].concat()).collect();
        assert_eq!(fields, [&b"etag=W/\"a\""[..], b"Content-Encoding=br", b"Vary=Accept-Encoding"]);
    }

    #[test]
    fn a_vary_that_says_it_stays_what_it_is() {
        for said in ["accept-encoding", "Origin, Accept-Encoding", "*"] {
            let mut head = Head::default();
            head.start_response(200);
            head.add(b"Vary", said.as_bytes());
            vary(&mut head);
            assert_eq!(head.values(b"vary").collect::<Vec<_>>(), [said.as_bytes()]);
        }
    }

    #[test]
    fn a_weak_question_is_known_again() {
        let mut head = request(&[]);
        head.add(b"If-None-Match", b"\"b\", W/\"a\"");
        assert!(asks_weakly(&head, b"\"a\""));
        assert!(!asks_weakly(&head, b"\"b\""));
    }

    proptest! {
        #[test]
        fn a_coding_that_is_chosen_was_never_refused(line in "((gzip|br|zstd|identity|\\*)(;q=(0|1|0\\.[0-9]{1,3}))?, ?){0,5}") {
            if let Some(coding) = wished(&line) {
                let named = |name: &str| line.split(',').map(str::trim).filter(|element| {
                    element.split(';').next() == Some(name)
                }).map(|element| weighted(element.as_bytes()).1.unwrap_or(0)).max();
                let weight = named(coding.name()).or(named("*"));
                prop_assert!(weight.is_some_and(|weight| weight > 0), "{line}: {coding:?}");
            }
        }

        #[test]
        fn no_field_makes_it_panic(line in "\\PC{0,40}") {
            let _ = wished(&line);
        }
    }
}
