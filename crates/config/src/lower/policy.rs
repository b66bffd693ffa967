//! Policies and their uses.

use super::template::Needs;
use super::{Lower, template};
use crate::diagnostics::did_you_mean;
use crate::keys::{Key, TOP, Type};
use crate::shape::{Map, Shape, Value};
use crate::spec::{
    Cookies, HeaderEdits, Headers, Mirror, Part, Policy, PolicyId, PolicyKind, Privacy, Referer, Rewrite, Template,
    UserAgent,
};

impl<'a> Lower<'a, '_> {
    pub(super) fn named_policies(&mut self) {
        for item in self.top.named("policies") {
            let mut ids = Vec::new();
            for (n, value) in item.value.items().iter().enumerate() {
                let name = if n == 0 { item.key.clone() } else { format!("{}#{}", item.key, n + 1) };
                ids.extend(value.map().and_then(|map| self.policy(map, Some(name))));
            }
            self.policy_ids.insert(&item.key, ids);
        }
    }

    /// The policies that an owner uses, in order; `path` is what its path gives to templates.
    pub(super) fn uses(&mut self, owner: &Map, path: Needs) -> Vec<PolicyId> {
        let mut uses = Vec::new();
        for value in owner.list("use") {
            let ids = match &value.data {
                Shape::Map(map) => self.policy(map, None).into_iter().collect(),
                _ => self.named_policy(value),
            };
            for id in &ids {
                if let Some(needs) = self.policies.get(id.0).map(|(_, needs)| *needs) {
                    self.check_needs(needs, path, value);
                }
            }
            uses.extend(ids);
        }
        uses
    }

    /// Reports a template that needs more than the path of its route gives.
    pub(super) fn check_needs(&mut self, needs: Needs, path: Needs, value: &Value) {
        if needs.star && !path.star {
            self.note(value, "`*` stands for nothing here, the route must match a `path` that ends with `/*`");
        }
        if needs.groups > path.groups {
            let message =
                format!("`${}` stands for nothing here, the `path` of the route has no such group", needs.groups);
            self.note(value, message);
        }
    }

    fn named_policy(&mut self, value: &Value) -> Vec<PolicyId> {
        let Some(name) = value.fixed() else { return Vec::new() };
        if let Some(ids) = self.policy_ids.get(name) {
            return ids.clone();
        }
        let hint = match kind(name) {
            Some(kind) if kind.planned => ", the kind of this name is planned and does not work yet".to_owned(),
            Some(kind) => format!(", a kind is written as a map: {}", written(kind)),
            None => did_you_mean(name, self.policy_ids.keys().copied()),
        };
        self.note(value, format!("there is no policy `{name}`{hint}"));
        Vec::new()
    }

    fn policy(&mut self, map: &Map, name: Option<String>) -> Option<PolicyId> {
        let (kind, needs) = match map.items.first()? {
            item if item.key == "headers" => (PolicyKind::Headers(self.headers(item.value.map()?)), Needs::default()),
            item if item.key == "rewrite" => {
                let (rewrite, needs) = self.rewrite(item.value.map()?)?;
                (PolicyKind::Rewrite(rewrite), needs)
            }
            item if item.key == "mirror" => (PolicyKind::Mirror(self.mirror(item.value.map()?)?), Needs::default()),
            item if item.key == "compress" => {
                (PolicyKind::Compress(self.compress(item.value.map()?)?), Needs::default())
            }
            item if item.key == "privacy" => (PolicyKind::Privacy(self.privacy(item.value.map()?)?), Needs::default()),
            item if item.key == "basic_auth" => {
                (PolicyKind::BasicAuth(self.basic_auth(item.value.map()?)?), Needs::default())
            }
            item if item.key == "bearer_auth" => {
                (PolicyKind::BearerAuth(self.bearer_auth(item.value.map()?)?), Needs::default())
            }
            item if item.key == "cert_auth" => {
                (PolicyKind::CertAuth(self.cert_auth(item.value.map()?)?), Needs::default())
            }
            item if item.key == "bandwidth" => {
                (PolicyKind::Bandwidth(self.bandwidth(item.value.map()?)?), Needs::default())
            }
            item if item.key == "quota" => (PolicyKind::Quota(self.quota(item.value.map()?)?), Needs::default()),
            item if item.key == "capture" => (PolicyKind::Capture(self.capture(item.value.map()?)?), Needs::default()),
            item if item.key == "filter" => (PolicyKind::Filter(self.filter(item.value.map()?)?), Needs::default()),
            item if item.key == "grpc_web" => (PolicyKind::GrpcWeb, Needs::default()),
            _ => return None,
        };
        let id = PolicyId(self.policies.len());
        self.policies.push((Policy { name, span: map.span.clone(), kind }, needs));
        Some(id)
    }

    fn mirror(&mut self, map: &Map) -> Option<Mirror> {
        let to = self.destination(map.get("to")?);
        let timeout = self.time(map, "timeout");
        Some(Mirror {
            to: to?,
            share: map.share("share")?,
            limit: map.size("limit")?,
            at_once: map.small("at_once")?,
            timeout: timeout?,
        })
    }

    fn privacy(&mut self, map: &Map) -> Option<Privacy> {
        let referer = match map.fixed("referer")? {
            "origin" => Referer::Origin,
            "same_origin" => Referer::SameOrigin,
            "origin_when_cross_origin" => Referer::OriginWhenCrossOrigin,
            "remove" => Referer::Remove,
            _ => Referer::Keep,
        };
        let cookies = match map.fixed("cookies")? {
            "first_party" => Cookies::FirstParty,
            "remove" => Cookies::Remove,
            _ => Cookies::Keep,
        };
        let user_agent = match map.fixed("user_agent")? {
            "keep" => UserAgent::Keep,
            "remove" => UserAgent::Remove,
            text => UserAgent::Text(text.to_owned()),
        };
        if let (UserAgent::Text(text), Some(value)) = (&user_agent, map.get("user_agent")) {
            self.check_field_value(text, value);
        }
        if (referer, cookies, &user_agent) == (Referer::Keep, Cookies::Keep, &UserAgent::Keep) {
            let message = format!("{} does nothing, give it `referer`, `cookies` or `user_agent`", map.label);
            self.mistakes.note(&map.span, message);
        }
        Some(Privacy { referer, cookies, user_agent })
    }

    fn headers(&mut self, map: &Map) -> Headers {
        if map.items.is_empty() {
            self.mistakes.note(&map.span, format!("{} does nothing, give it `request` or `response`", map.label));
        }
        Headers {
            request: map.map("request").map(|edits| self.edits(edits)).unwrap_or_default(),
            response: map.map("response").map(|edits| self.edits(edits)).unwrap_or_default(),
        }
    }

    fn edits(&mut self, map: &Map) -> HeaderEdits {
        if map.items.is_empty() {
            self.mistakes
                .note(&map.span, format!("{} does nothing, give it `set`, `add`, `default` or `remove`", map.label));
        }
        let mut remove = Vec::new();
        for value in map.list("remove") {
            remove.extend(value.fixed().and_then(|name| self.free_field_name(name, &value.span)));
        }
        HeaderEdits {
            remove,
            set: self.field_templates(map, "set"),
            add: self.field_templates(map, "add"),
            default: self.field_templates(map, "default"),
        }
    }

    fn field_templates(&mut self, map: &Map, key: &str) -> Vec<(String, Template)> {
        let items = map.named(key);
        self.refuse_same_name(items, "field");
        let mut fields = Vec::new();
        for item in items {
            let name = self.free_field_name(&item.key, &item.span);
            let template = self.template(&item.value);
            let (Some(name), Some(template)) = (name, template) else { continue };
            for part in &template.parts {
                if let Part::Literal(text) = part {
                    self.check_field_value(text, &item.value);
                }
            }
            fields.push((name, template));
        }
        fields
    }

    fn rewrite(&mut self, map: &Map) -> Option<(Rewrite, template::Needs)> {
        let value = map.get("path")?;
        let (path, needs) = self.path_template(value)?;
        if !matches!(path.parts.first(), Some(Part::Literal(text)) if text.starts_with('/')) {
            self.note(value, format!("`path` of {} must begin with `/`", map.label));
            return None;
        }
        Some((Rewrite { path }, needs))
    }
}

/// The kind of policy that has this name, live or planned.
fn kind(name: &str) -> Option<&'static Key> {
    match TOP.key("policies").map(|key| key.ty) {
        Some(Type::Named(_, Type::List(Type::Section(section)))) => section.key(name),
        _ => None,
    }
}

/// How a policy of a kind is written with the least that it needs.
fn written(kind: &Key) -> String {
    let Type::Section(section) = kind.ty else { return format!("`{{ {}: … }}`", kind.name) };
    let needed: Vec<_> = section.live().filter(|key| key.required).map(|key| format!("{}: …", key.name)).collect();
    if !needed.is_empty() {
        return format!("`{{ {}: {{ {} }} }}`", kind.name, needed.join(", "));
    }
    if NEED_NOTHING.contains(&kind.name) {
        return format!("`{{ {}: {{}} }}`", kind.name);
    }
    let keys: Vec<_> = section.live().map(|key| format!("`{}`", key.name)).collect();
    format!("`{{ {}: {{ … }} }}` with {}", kind.name, keys.join(" or "))
}

/// The kinds that do something without a word.
const NEED_NOTHING: [&str; 3] = ["compress", "grpc_web", "cert_auth"];
