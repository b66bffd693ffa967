//! What a route does: exactly one ending.

use super::template::Needs;
use super::{Lower, name};
use crate::shape::{Map, Value};
use crate::spec::{Deny, Ending, Part, Portion, Redirect, RedirectTarget, Respond, Role, Scheme};

impl<'a> Lower<'a, '_> {
    /// The ending of a route, or of a listener or site as its only route; `path` is what its path gives to templates.
    pub(super) fn ending(&mut self, owner: &'a Map, path: Needs) -> Option<Ending> {
        let written: Vec<_> = owner.items.iter().filter(|item| ENDINGS.contains(&item.key.as_str())).collect();
        let item = match written.as_slice() {
            [item] => *item,
            [] => {
                let message = format!(
                    "{} has no ending, give it one of `to`, `split`, `canary`, `redirect`, `respond`, `deny` or `routes`",
                    owner.label
                );
                self.mistakes.note(&owner.span, message);
                return None;
            }
            [first, .., last] => {
                let message = format!("{} has two endings, `{}` and `{}`, keep one", owner.label, first.key, last.key);
                self.mistakes.note(&last.span, message);
                return None;
            }
        };
        let value = &item.value;
        match item.key.as_str() {
            "to" if self.role == Role::Forward => self.ways(value),
            "to" => self.only(value).and_then(|value| self.destination(value)).map(Ending::To),
            "split" => self.split(value).map(Ending::Split),
            "canary" => self.canary(value.map()?).map(Ending::Canary),
            "redirect" => self.redirect(value.map()?, path).map(Ending::Redirect),
            "respond" => self.respond(value.map()?).map(Ending::Respond),
            "deny" => {
                let map = value.map()?;
                let reset = map.fixed("flow") == Some("reset");
                let [reason, contact] = ["reason", "contact"].map(|key| map.fixed(key).map(str::to_owned));
                self.check_flow_end(map);
                // A flow has no status.
                let status = if self.role.has_requests() { map.tiny("status")? } else { 0 };
                Some(Ending::Deny(Deny { status, reason, contact, reset }))
            }
            "routes" => Some(Ending::Routes(self.routes(value, path))),
            _ => None,
        }
    }

    /// A connection has an end that its client sees, a flow of UDP has none.
    fn check_flow_end(&mut self, deny: &Map) {
        let Some(value) = deny.get("flow").filter(|_| !deny.has_faulty()) else { return };
        let drops = value.fixed() == Some("drop");
        if self.role == Role::Udp && !drops {
            self.note(value, format!("{} says how a connection ends, with `role: udp` write `deny: drop`", deny.label));
        } else if self.role == Role::Tcp && drops {
            self.note(value, format!("{} is `drop`, with `role: tcp` use `close` or `reset`", deny.label));
        }
    }

    fn split(&mut self, value: &Value) -> Option<Vec<Portion>> {
        let mut portions: Vec<Portion> = Vec::new();
        let mut complete = !value.items().is_empty();
        for value in value.items() {
            let portion = value.map().and_then(|map| {
                let to = self.destination(map.get("to")?);
                Some(Portion { to: to?, share: map.share("share")? })
            });
            complete &= portion.is_some();
            if let Some(portion) = portion {
                if portions.iter().any(|known| known.to == portion.to) {
                    self.note(value, "the same pool stands twice in `split`, add up its shares");
                }
                portions.push(portion);
            }
        }
        let total: u64 = portions.iter().map(|portion| u64::from(portion.share)).sum();
        let whole = u64::from(base::units::Share::WHOLE);
        if complete && total != whole {
            let written = format!("{}.{:02}", total / 100, total % 100);
            let written = written.trim_end_matches('0').trim_end_matches('.');
            self.note(value, format!("the shares of `split` total {written}%, they must total 100%"));
        }
        complete.then_some(portions)
    }

    fn redirect(&mut self, map: &Map, path: Needs) -> Option<Redirect> {
        let status = map.tiny("status")?;
        if ![301, 302, 303, 307, 308].contains(&status) {
            self.note(map.get("status")?, format!("{status} does not redirect, use 301, 302, 303, 307 or 308"));
        }
        let parts = ["scheme", "host", "port"].into_iter().find(|key| map.has(key));
        let target = match (map.get("location"), parts) {
            (Some(location), Some(part)) => {
                self.note(location, format!("`location` and `{part}` of {} exclude each other, keep one", map.label));
                return None;
            }
            (None, None) if map.has_faulty() => return None,
            (None, None) => {
                self.mistakes.note(
                    &map.span,
                    format!("{} names no place, give it `location`, `scheme`, `host` or `port`", map.label),
                );
                return None;
            }
            (Some(location), None) => self.location(location, path)?,
            (None, Some(_)) => RedirectTarget::Parts {
                scheme: map.fixed("scheme").map(|scheme| if scheme == "http" { Scheme::Http } else { Scheme::Https }),
                host: match map.get("host") {
                    Some(host) => Some(self.redirect_host(host)?),
                    None => None,
                },
                port: map.tiny("port"),
            },
        };
        Some(Redirect { status, target })
    }

    fn location(&mut self, value: &Value, path: Needs) -> Option<RedirectTarget> {
        let (template, needs) = self.path_template(value)?;
        let absolute =
            |text: &str| text.starts_with('/') || text.starts_with("http://") || text.starts_with("https://");
        if !matches!(template.parts.first(), Some(Part::Literal(text)) if absolute(text)) {
            let scheme = match template.parts.first() {
                Some(Part::Literal(text)) if matches!(text.as_str(), "http" | "https") => {
                    format!(", another scheme alone is `redirect: {{ scheme: {text} }}`")
                }
                _ => String::new(),
            };
            self.note(value, format!("`location` must begin with `/`, `http://` or `https://`{scheme}"));
            return None;
        }
        self.check_needs(needs, path, value);
        Some(RedirectTarget::Location(template))
    }

    fn redirect_host(&mut self, value: &Value) -> Option<String> {
        match name::host(value.fixed()?) {
            Ok(host) => Some(host),
            Err(why) => {
                self.note(value, why);
                None
            }
        }
    }

    fn respond(&mut self, map: &Map) -> Option<Respond> {
        let status = map.tiny("status")?;
        let body = map.fixed("body").unwrap_or_default().to_owned();
        if !body.is_empty() && [204, 205, 304].contains(&status) {
            self.note(map.get("body")?, format!("an answer with {status} has no content, remove `body`"));
        }
        let items = map.named("headers");
        self.refuse_same_name(items, "field");
        let mut headers = Vec::new();
        for item in items {
            let name = self.free_field_name(&item.key, &item.span);
            let (Some(name), Some(text)) = (name, item.value.fixed()) else { continue };
            self.check_field_value(text, &item.value);
            headers.push((name, text.to_owned()));
        }
        Some(Respond { status, body, headers })
    }
}

/// Every ending.
pub(super) const ENDINGS: [&str; 7] = ["to", "split", "canary", "redirect", "respond", "deny", "routes"];
