//! Text with places to fill in.

use super::Lower;
use crate::diagnostics::did_you_mean;
use crate::interpolate::Piece;
use crate::shape::{Shape, Value};
use crate::spec::{Part, Selector, Template};

/// What a template needs from the path of the route where it is used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Needs {
    pub(super) star: bool,
    /// The highest `$n`.
    pub(super) groups: usize,
}

impl Lower<'_, '_> {
    /// A text with `${selector}`.
    pub(super) fn template(&mut self, value: &Value) -> Option<Template> {
        let Shape::Scalar(text, _) = &value.data else { return None };
        let mut parts = Vec::new();
        for piece in &text.pieces {
            match piece {
                Piece::Literal(text) | Piece::Injected(text) => push_text(&mut parts, text),
                Piece::Live(name) => match selector(name) {
                    Ok(selector) if selector.is_of_flows_alone() => {
                        self.note(value, format!("`${{{name}}}` is of flows of TCP, requests have none, remove it"));
                        return None;
                    }
                    Ok(selector) => parts.push(Part::Selector(selector)),
                    Err(why) => {
                        self.note(value, why);
                        return None;
                    }
                },
            }
        }
        Some(Template { parts })
    }

    /// A path or URL with `*` and `$1`.
    pub(super) fn path_template(&mut self, value: &Value) -> Option<(Template, Needs)> {
        let Shape::Scalar(text, _) = &value.data else { return None };
        let mut parts = Vec::new();
        for piece in &text.pieces {
            match piece {
                Piece::Literal(text) => path_parts(&mut parts, text),
                Piece::Injected(text) => push_text(&mut parts, text),
                Piece::Live(name) => {
                    self.note(value, format!("`${{{name}}}` cannot stand in a path, only `*` and `$1` can"));
                    return None;
                }
            }
        }
        let mut needs = Needs::default();
        for part in &parts {
            match part {
                Part::Star => needs.star = true,
                Part::Group(number) => needs.groups = needs.groups.max(*number),
                Part::Literal(text) => {
                    if let Some(bad) = text.chars().find(|c| !matches!(c, '!'..='~') || "#\\<>\"".contains(*c)) {
                        self.note(
                            value,
                            format!(
                                "the character {bad:?} cannot stand in a path, write it as an escape such as `%20`"
                            ),
                        );
                        return None;
                    }
                }
                Part::Selector(_) => {}
            }
        }
        Some((Template { parts }, needs))
    }
}

impl Lower<'_, '_> {
    /// A list of selectors without `${}`, as `by` takes it.
    pub(super) fn selectors(&mut self, value: &Value) -> Option<Vec<Selector>> {
        value.items().iter().map(|item| self.selector(item)).collect()
    }

    /// The same for requests alone.
    pub(super) fn request_selectors(&mut self, value: &Value) -> Option<Vec<Selector>> {
        value.items().iter().map(|item| self.request_selector(item)).collect()
    }

    /// One selector without `${}` that requests can have.
    pub(super) fn request_selector(&mut self, value: &Value) -> Option<Selector> {
        let selector = self.selector(value)?;
        if selector.is_of_flows_alone() {
            let name = value.fixed().unwrap_or_default();
            self.note(value, format!("`{name}` is of flows of TCP, requests have none, remove it"));
            return None;
        }
        Some(selector)
    }

    /// One selector without `${}`.
    pub(super) fn selector(&mut self, value: &Value) -> Option<Selector> {
        match selector(value.fixed()?) {
            Ok(selector) => Some(selector),
            Err(why) => {
                self.note(value, why);
                None
            }
        }
    }
}

/// Splits at `*` and `$1`; `$$` is a dollar sign.
fn path_parts(parts: &mut Vec<Part>, text: &str) {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek().copied()) {
            ('*', _) => parts.push(Part::Star),
            ('$', Some('$')) => {
                chars.next();
                push_text(parts, "$");
            }
            ('$', Some('1'..='9')) => {
                let mut number = 0;
                // Two digits are more groups than any path needs.
                for _ in 0..2 {
                    let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) else { break };
                    number = number * 10 + digit as usize;
                    chars.next();
                }
                parts.push(Part::Group(number));
            }
            _ => push_text(parts, c.encode_utf8(&mut [0; 4])),
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Literal(literal)) => *literal += text,
        _ if text.is_empty() => {}
        _ => parts.push(Part::Literal(text.to_owned())),
    }
}

fn selector(name: &str) -> Result<Selector, String> {
    match name {
        "client_ip" => return Ok(Selector::ClientIp),
        "peer_ip" => return Ok(Selector::PeerIp),
        "host" => return Ok(Selector::Host),
        "path" => return Ok(Selector::Path),
        "uri" => return Ok(Selector::Uri),
        "method" => return Ok(Selector::Method),
        "request_id" => return Ok(Selector::RequestId),
        "sni" | "tls.sni" => return Ok(Selector::Sni),
        "tls.version" => return Ok(Selector::TlsVersion),
        "tls.cipher" => return Ok(Selector::TlsCipher),
        "tls.alpn" => return Ok(Selector::Alpn),
        "tls.client_fingerprint" => return Ok(Selector::ClientFingerprint),
        "postgres.user" => return Ok(Selector::PostgresUser),
        "postgres.database" => return Ok(Selector::PostgresDatabase),
        "mqtt.client_id" => return Ok(Selector::MqttClient),
        "user" => return Ok(Selector::User),
        "group" => return Ok(Selector::Groups),
        _ => {}
    }
    if name.starts_with("claim.") {
        return Err(format!("`${{{name}}}` is planned and does not work yet in this version, remove it"));
    }
    match name.split_once('.') {
        Some(("header", field)) if super::fields::is_token(field) => Ok(Selector::Header(field.to_ascii_lowercase())),
        Some(("cookie", cookie)) if super::fields::is_token(cookie) => Ok(Selector::Cookie(cookie.to_owned())),
        Some(("query", parameter)) if !parameter.is_empty() => Ok(Selector::Query(parameter.to_owned())),
        _ => {
            let known = [
                "client_ip",
                "peer_ip",
                "host",
                "path",
                "uri",
                "method",
                "request_id",
                "sni",
                "tls.version",
                "tls.cipher",
                "tls.alpn",
                "tls.client_fingerprint",
                "postgres.user",
                "postgres.database",
                "mqtt.client_id",
                "user",
                "group",
                "header.NAME",
                "cookie.NAME",
                "query.NAME",
            ];
            let hint = did_you_mean(name, known);
            let all = if hint.is_empty() { format!(", known are {}", known.join(", ")) } else { hint };
            Err(format!("unknown selector `${{{name}}}`{all}"))
        }
    }
}
