//! Predicates of a request's body: members of a JSON document, fields of a form, or the whole as text.

use wire::{Framing, Head, form};

use super::facts::{Body, Facts};
use super::json;
use super::json_path::JsonPath;
use super::judge::Truth;
use super::text::{Text, any_holds, one_holds};

/// A condition on a request's body. All that is asked must hold; an empty list asks nothing.
///
/// A body that is not what is asked for (a content coding, another character set than UTF-8, invalid UTF-8, no strict
/// JSON, a member named twice, not a form) answers neither yes nor no: it satisfies neither the condition nor its
/// opposite.
#[derive(Clone, Debug, Default)]
pub struct BodyCondition {
    /// Places in a JSON document and the values that each may have: a string by its text, a number, `true`, `false` and
    /// `null` as written. Objects and arrays are just present.
    pub json: Vec<(JsonPath, Vec<Text>)>,
    /// Fields of an `application/x-www-form-urlencoded` body and the values that each may have.
    pub form: Vec<(String, Vec<Text>)>,
    /// What the whole body may be, as text.
    pub text: Vec<Text>,
    /// The longest body that is looked at, in bytes.
    pub limit: usize,
    /// Whether a longer body is refused; if not, it satisfies nothing.
    pub reject_over_limit: bool,
}

impl BodyCondition {
    pub(super) fn judge(&self, facts: &Facts<'_>) -> Truth {
        // What the head alone decides is decided before a byte is read.
        if !is_plain(facts.head) || (!self.form.is_empty() && !is_form(facts.head)) {
            return Truth::Unknown;
        }
        match self.extent(facts) {
            Extent::Whole(bytes) => self.judge_whole(bytes),
            Extent::Open => Truth::Undecided(self.limit),
            Extent::OverLimit if self.reject_over_limit => Truth::TooLarge,
            Extent::OverLimit => Truth::Unknown,
        }
    }

    fn extent<'a>(&self, facts: &Facts<'a>) -> Extent<'a> {
        let framing = facts.head.framing();
        match facts.body {
            _ if matches!(framing, Framing::Length(length) if length > self.limit as u64) => Extent::OverLimit,
            Body::Prefix { bytes, complete: true } if bytes.len() <= self.limit => Extent::Whole(bytes),
            Body::Prefix { complete: true, .. } => Extent::OverLimit,
            _ if framing == Framing::None => Extent::Whole(b""),
            Body::Prefix { bytes, complete: false } if bytes.len() > self.limit => Extent::OverLimit,
            Body::Prefix { .. } | Body::Unread => Extent::Open,
        }
    }

    fn judge_whole(&self, bytes: &[u8]) -> Truth {
        let Ok(text) = std::str::from_utf8(bytes) else { return Truth::Unknown };
        let whole = Truth::from(self.text.is_empty() || one_holds(&self.text, bytes));
        if whole == Truth::False {
            return whole;
        }
        whole.and(self.judge_form(bytes)).and(self.judge_json(text))
    }

    fn judge_form(&self, bytes: &[u8]) -> Truth {
        if self.form.is_empty() {
            return Truth::True;
        }
        if !form::is_sound(bytes) {
            return Truth::Unknown;
        }
        let mut fields = self.form.iter();
        fields.all(|(name, values)| any_holds(values, form::values(bytes, name.as_bytes()))).into()
    }

    fn judge_json(&self, text: &str) -> Truth {
        if self.json.is_empty() {
            return Truth::True;
        }
        let paths: Vec<&JsonPath> = self.json.iter().map(|(path, _)| path).collect();
        let Some(found) = json::locate(text, &paths) else { return Truth::Unknown };
        let mut asked = self.json.iter().zip(&found);
        asked.all(|((_, values), found)| json_holds(values, found.as_ref())).into()
    }
}

/// How much of a body is there.
enum Extent<'a> {
    /// All of it, within the limit.
    Whole(&'a [u8]),
    /// Less than could decide.
    Open,
    /// More than may be looked at.
    OverLimit,
}

fn json_holds(values: &[Text], found: Option<&json::Value<'_>>) -> bool {
    match found {
        Some(json::Value::Scalar(text)) => any_holds(values, [text.as_bytes()]),
        Some(json::Value::Composite) => values.iter().any(|value| matches!(value, Text::Present)),
        None => any_holds(values, [b""; 0]),
    }
}

/// Whether the body's bytes are its text: no content coding, and no other character set than UTF-8.
fn is_plain(head: &Head) -> bool {
    let codings = head.values(b"content-encoding").flat_map(|field| field.split(|byte| *byte == b','));
    let mut codings = codings.map(<[u8]>::trim_ascii);
    codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")) && is_utf8(head)
}

/// Whether no `charset` parameter of the content type says anything else (RFC 9110 section 8.3.2).
fn is_utf8(head: &Head) -> bool {
    let parameters = head.values(b"content-type").flat_map(|field| field.split(|byte| *byte == b';').skip(1));
    let mut charsets = parameters.filter_map(|parameter| {
        let equals = memchr::memchr(b'=', parameter)?;
        parameter[..equals].trim_ascii().eq_ignore_ascii_case(b"charset").then(|| parameter[equals + 1..].trim_ascii())
    });
    charsets.all(|charset| {
        let charset = charset.strip_prefix(b"\"").and_then(|charset| charset.strip_suffix(b"\"")).unwrap_or(charset);
        charset.eq_ignore_ascii_case(b"utf-8") || charset.eq_ignore_ascii_case(b"us-ascii")
    })
}

/// Whether the one content type is that of forms.
fn is_form(head: &Head) -> bool {
    let mut types = head.values(b"content-type");
    let (Some(field), None) = (types.next(), types.next()) else { return false };
    let media_type = field.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}
