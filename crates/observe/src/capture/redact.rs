//! What is not told: values of fields, of cookies and of parameters, by their names. The names stay.

use std::borrow::Cow;

use memchr::memmem;
use wire::form::{decoded, pairs, split};

/// Fields whose values prove who somebody is, and are not told unless that is wanted.
pub const USUAL_FIELDS: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "authentication-info",
    "proxy-authentication-info",
    "cookie",
    "set-cookie",
    "x-api-key",
    "x-auth-token",
];
/// The same of parameters, in queries and in forms.
pub const USUAL_PARAMETERS: [&str; 8] =
    ["access_token", "api_key", "apikey", "client_secret", "id_token", "password", "refresh_token", "token"];

/// What stands in the place of what is not told.
pub(super) const REDACTED: &[u8] = b"[redacted]";

/// Schemes of authentication that may be told, because what follows them is not (RFC 9110 section 11.6.2).
const SCHEMES: [&[u8]; 7] = [b"basic", b"bearer", b"digest", b"dpop", b"hoba", b"negotiate", b"ntlm"];

/// Names of what is not told, all in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redact {
    /// Fields of heads.
    pub fields: Vec<String>,
    /// Parameters of queries and forms.
    pub parameters: Vec<String>,
}

impl Redact {
    /// Whether the values of a field are not told.
    pub(super) fn has_field(&self, name: &[u8]) -> bool {
        self.fields.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }

    fn has_parameter(&self, name: &[u8]) -> bool {
        let name = decoded(name);
        self.parameters.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(&name))
    }

    /// What may be told of a field's value.
    pub(super) fn field<'a>(&self, name: &[u8], value: &'a [u8]) -> Cow<'a, [u8]> {
        if self.has_field(name) {
            return redacted(name, value).into();
        }
        let is_url =
            [&b"referer"[..], b"location", b"content-location"].iter().any(|url| url.eq_ignore_ascii_case(name));
        if !is_url && !name.eq_ignore_ascii_case(b"origin") {
            return value.into();
        }
        let value = self.without_user(value);
        match value.iter().position(|byte| matches!(byte, b'?' | b'#')) {
            None => value,
            Some(mark) => {
                let (before, query) = value.split_at(mark + 1);
                // OAuth gives tokens in fragments, too (RFC 6749 section 4.2.2).
                let parts = query.split(|byte| *byte == b'#').map(|part| self.query(part));
                [before, &parts.collect::<Vec<_>>().join(&b'#')].concat().into()
            }
        }
    }

    /// A URL without who uses it (RFC 3986 section 3.2.1), which is another form of `Authorization`.
    fn without_user<'a>(&self, url: &'a [u8]) -> Cow<'a, [u8]> {
        let start = memmem::find(url, b"//").map(|at| at + 2).filter(|_| self.has_field(b"authorization"));
        let Some(start) = start else { return url.into() };
        let end =
            url[start..].iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).map_or(url.len(), |at| start + at);
        match url[start..end].iter().rposition(|byte| *byte == b'@') {
            None => url.into(),
            Some(at) => [&url[..start], REDACTED, &url[start + at..]].concat().into(),
        }
    }

    /// What may be told of a form in parts (RFC 7578), which this stands between.
    pub(super) fn parts<'a>(&self, form: &'a [u8], boundary: &[u8]) -> Cow<'a, [u8]> {
        let boundary = [b"--", boundary].concat();
        let (mut out, mut at) = (Vec::new(), 0);
        let ends = memmem::find_iter(form, &boundary).map(|end| end + boundary.len()).chain([form.len()]);
        for end in ends {
            let part = &form[at..end];
            let head = memmem::find(part, b"\r\n\r\n").map(|end| end + 4).filter(|end| self.has_part(&part[..*end]));
            if let Some(head) = head {
                let is_last = !part.ends_with(&boundary);
                out.extend_from_slice(&part[..head]);
                out.extend_from_slice(REDACTED);
                out.extend_from_slice(if is_last { b"" } else { b"\r\n" });
                out.extend_from_slice(if is_last { b"" } else { &boundary });
            } else {
                out.extend_from_slice(part);
            }
            at = end;
        }
        out.into()
    }

    /// Whether the head of a part names a parameter that is not told.
    fn has_part(&self, head: &[u8]) -> bool {
        let said = head.split(|byte| matches!(byte, b';' | b'\r' | b'\n')).map(split);
        let names = said.filter(|(key, _)| key.trim_ascii().eq_ignore_ascii_case(b"name")).filter_map(|(_, name)| name);
        names.into_iter().any(|name| {
            let name = name.trim_ascii();
            self.has_parameter(name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name))
        })
    }

    /// What may be told of a query or a form: `a=1&token=[redacted]`.
    pub(super) fn query<'a>(&self, query: &'a [u8]) -> Cow<'a, [u8]> {
        if !pairs(query).any(|(name, _)| self.has_parameter(name)) {
            return query.into();
        }
        let mut out = Vec::with_capacity(query.len());
        for (number, pair) in query.split(|byte| *byte == b'&').enumerate() {
            if number > 0 {
                out.push(b'&');
            }
            let (name, value) = split(pair);
            if value.is_some() && self.has_parameter(name) {
                out.extend_from_slice(name);
                out.push(b'=');
                out.extend_from_slice(REDACTED);
            } else {
                out.extend_from_slice(pair);
            }
        }
        out.into()
    }
}

/// A credential keeps its scheme, which often is what somebody wants to know.
fn redacted(name: &[u8], value: &[u8]) -> Vec<u8> {
    let is_credential =
        [&b"authorization"[..], b"proxy-authorization"].iter().any(|one| one.eq_ignore_ascii_case(name));
    let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    let is_scheme = SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)) && scheme.len() < value.len();
    match is_credential && is_scheme {
        true => [scheme, b" ", REDACTED].concat(),
        false => REDACTED.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> Redact {
        Redact {
            fields: USUAL_FIELDS.map(str::to_owned).to_vec(),
            parameters: USUAL_PARAMETERS.map(str::to_owned).to_vec(),
        }
    }

    fn field(name: &str, value: &str) -> String {
        String::from_utf8(usual().field(name.as_bytes(), value.as_bytes()).into_owned()).expect("UTF-8")
    }

    #[test]
    fn secrets_of_fields_are_not_told() {
        assert_eq!(field("Authorization", "Basic dTpw"), "Basic [redacted]");
        assert_eq!(field("proxy-authorization", "bearer x y"), "bearer [redacted]");
        assert_eq!(field("AUTHORIZATION", "secret words"), "[redacted]");
        assert_eq!(field("authorization", "Basic"), "[redacted]");
        assert_eq!(field("Cookie", "a=1"), "[redacted]");
        assert_eq!(field("Set-Cookie", "basic a"), "[redacted]");
        assert_eq!(field("Accept", "a"), "a");
    }

    #[test]
    fn secrets_of_urls_and_forms_are_not_told() {
        let query = |text: &str| String::from_utf8(usual().query(text.as_bytes()).into_owned()).expect("UTF-8");
        assert_eq!(query("a=1&token=x&b&TOKEN=&token"), "a=1&token=[redacted]&b&TOKEN=[redacted]&token");
        assert_eq!(query("%74oken=x=y"), "%74oken=[redacted]", "an escape hides no name");
        assert_eq!(query("tokens=1&&a"), "tokens=1&&a");
        let location = field("Location", "https://a.test/?a=1&access_token=x#token=y");
        assert_eq!(location, "https://a.test/?a=1&access_token=[redacted]#token=[redacted]");
        assert_eq!(field("Location", "/a#token=y"), "/a#token=[redacted]");
        assert_eq!(field("Referer", "https://a.test/?token"), "https://a.test/?token");
        assert_eq!(field("Referer", "https://u:secret@a.test/u@x"), "https://[redacted]@a.test/u@x");
        assert_eq!(field("Origin", "http://u:se@cret@a.test"), "http://[redacted]@a.test");
        assert_eq!(field("Location", "/x@y"), "/x@y");
    }

    #[test]
    fn secrets_of_forms_in_parts_are_not_told() {
        let parts = |text: &str| String::from_utf8(usual().parts(text.as_bytes(), b"x").into_owned()).expect("UTF-8");
        let part =
            |name: &str, value: &str| format!("--x\r\nContent-Disposition: form-data; {name}\r\n\r\n{value}\r\n");
        let form = |password: &str| {
            [part("name=\"a\"", "1"), part("name=\"PASSWORD\"", password), part("filename=\"token\"; name=b", "--y")]
                .concat()
                + "--x--\r\n"
        };
        assert_eq!(parts(&form("secret\r\n\r\nsecret")), form("[redacted]"));
        // One that was cut off.
        assert_eq!(parts(&part("name=token", "sec")), part("name=token", "[redacted]").trim_end());
        assert_eq!(parts("no form"), "no form");
    }

    #[test]
    fn escapes_are_read_or_left() {
        assert_eq!(decoded(b"a+b%20c%zz%4"), &b"a b c%zz%4"[..]);
    }
}
