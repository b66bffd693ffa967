//! Nodes in the shape that the table of keys gives them: short forms expanded, scalars read, defaults filled in.
//!
//! What is unknown, planned or of the wrong form is reported here; what the values mean together is the business of
//! [`crate::lower`]. A value that was reported stays as [`Shape::Faulty`], so that nobody reports it as missing too.

use crate::diagnostics::{Mistakes, did_you_mean};
use crate::interpolate::Sources;
use crate::keys::{Key, POOL, SERVER, Section, TOP, Type, holders, instead, is_of_match};
use crate::span::Span;
use crate::spec::Role;
use crate::tree::{Data, Entry, Node};

mod defaults;
mod scalar;
mod value;

pub(crate) use value::{Item, Map, Meaning, Shape, Value};

/// A document in its shape.
pub(crate) struct Shaped {
    pub(crate) top: Map,
    /// A pool of which nothing is written: what a literal `host:port` in `to` stands for, but for its server.
    pub(crate) bare_pool: Map,
}

/// Shapes a whole document, with what is inherited and every default.
pub(crate) fn shape(root: &Node, sources: &Sources<'_>, mistakes: &mut Mistakes) -> Shaped {
    let mut shaper = Shaper { sources, mistakes, role: None };
    let shaped = match &root.data {
        Data::Empty => shaper.section(&TOP, &Node { span: root.span.clone(), data: Data::Map(Vec::new()) }, TOP_LABEL),
        _ => shaper.section(&TOP, root, TOP_LABEL),
    };
    let empty = |label: &str| Map { span: root.span.clone(), label: label.to_owned(), items: Vec::new() };
    let mut top = match shaped.data {
        Shape::Map(top) => top,
        _ => empty(TOP_LABEL),
    };
    let mut bare_pool = empty("pool");
    defaults::inherit(&mut top, &mut bare_pool);
    shaper.silences(&mut top);
    shaper.fill(&TOP, &mut top);
    shaper.fill(&POOL, &mut bare_pool);
    Shaped { top, bare_pool }
}

/// The role that a listener says it has, or has without a word; nothing for one that is none, which is reported elsewhere.
fn role_of(entries: &[Entry]) -> Option<Role> {
    match entries.iter().find(|entry| entry.key == "role").map(|entry| &entry.value.data) {
        None => Some(Role::default()),
        Some(Data::Scalar(word)) => Role::of(word),
        Some(_) => None,
    }
}

/// Shapes a document that is a list of servers, as a pool that has nothing else.
pub(crate) fn shape_servers(root: &Node, label: &str, sources: &Sources<'_>, mistakes: &mut Mistakes) -> Map {
    let mut shaper = Shaper { sources, mistakes, role: None };
    let mut map = Map { span: root.span.clone(), label: label.to_owned(), items: Vec::new() };
    if let Some(key) = POOL.key(SERVERS) {
        let mut value = shaper.value(&key.ty, root, label);
        shaper.fill_value(&key.ty, &mut value);
        map.items.push(Item { key: SERVERS.to_owned(), span: root.span.clone(), value });
    }
    map
}

const SERVERS: &str = "servers";

pub(crate) const TOP_LABEL: &str = "the configuration";

struct Shaper<'a, 'b> {
    sources: &'a Sources<'b>,
    mistakes: &'a mut Mistakes,
    /// The role of the listener whose keys are read.
    role: Option<Role>,
}

impl Shaper<'_, '_> {
    fn value(&mut self, ty: &'static Type, node: &Node, label: &str) -> Value {
        if node.data == Data::Empty {
            return self.faulty(&node.span, format!("{label} is empty, give it a value or remove the key"));
        }
        match ty {
            Type::Section(section) => self.section(section, node, label),
            Type::TextOr(form, section) => match &node.data {
                Data::Scalar(_) => self.scalar(&Type::Text(form), node, label),
                _ => self.section(section, node, label),
            },
            Type::Defaults(section) => self.inheritable(section, node, label),
            Type::Named(noun, inner) => self.named(noun, inner, node, label),
            Type::TextOrNamed(form, noun, inner) => match &node.data {
                Data::Scalar(_) => self.scalar(&Type::Text(form), node, label),
                _ => self.named(noun, inner, node, label),
            },
            Type::List(inner) => self.list(inner, node, label),
            Type::ListOrNamed(inner) => match &node.data {
                Data::Map(_) if !is_short_section(inner, node) => self.named("server", inner, node, label),
                _ => self.list(inner, node, label),
            },
            _ => self.scalar(ty, node, label),
        }
    }

    fn section(&mut self, section: &'static Section, node: &Node, label: &str) -> Value {
        match &node.data {
            Data::Map(entries) => {
                let outer = self.role;
                if section.key("role").is_some() {
                    self.role = role_of(entries);
                }
                let map = self.entries(section, entries, node, label);
                self.role = outer;
                self.check_complete(section, entries, &map);
                Value { span: node.span.clone(), data: Shape::Map(map) }
            }
            Data::Scalar(word)
                if section.presets.iter().any(|preset| section.short.is_none() || preset.word == word) =>
            {
                self.preset(section, word, node, label)
            }
            Data::Scalar(_) | Data::List(_) => {
                let Some(key) = section.short.and_then(|short| section.key(short)) else {
                    let out = way_out(section, node);
                    return self.faulty(&node.span, format!("{label} is {}, it must be a map{out}", node.what()));
                };
                if let (Type::Integer(..), Data::Scalar(text), Some(other)) = (key.ty, &node.data, for_texts(section))
                    && text.parse::<u64>().is_err()
                    && !text.contains("${")
                {
                    let (noun, short) = (section.noun, key.name);
                    let message =
                        format!("{label}: `{text}` is no {short}, a text is written `{noun}: {{ {other}: … }}`");
                    return self.faulty(&node.span, message);
                }
                if matches!(node.data, Data::List(_)) && !takes_list(&key.ty) {
                    return self.faulty(&node.span, format!("{label} is a list, it must be a single value or a map"));
                }
                let long = Entry { key: key.name.to_owned(), span: node.span.clone(), value: node.clone() };
                let map = self.entries(section, &[long], node, label);
                Value { span: node.span.clone(), data: Shape::Map(map) }
            }
            Data::Empty => self.faulty(&node.span, format!("{label} is empty, give it a value or remove the key")),
        }
    }

    /// A section's keys as they are written.
    fn entries(&mut self, section: &'static Section, entries: &[Entry], node: &Node, label: &str) -> Map {
        let mut map = Map { span: node.span.clone(), label: label.to_owned(), items: Vec::new() };
        for entry in entries {
            if is_ignored(section, entry) {
                continue;
            }
            let Some(key) = section.key(&entry.key) else {
                self.unknown_key(section, entry, label);
                // Something was said, if not what.
                let value = Value { span: entry.span.clone(), data: Shape::Faulty };
                map.items.push(Item { key: entry.key.clone(), span: entry.span.clone(), value });
                continue;
            };
            if let Some(role) = self.role.filter(|role| !role.has(section.noun, key.name)) {
                let name = key.name;
                let out = instead(section.noun, name, role).unwrap_or("remove it");
                let message = format!("`{name}` in {label} does not exist with `role: {}`, {out}", role.word());
                let value = self.faulty(&entry.span, message);
                map.items.push(Item { key: entry.key.clone(), span: entry.span.clone(), value });
                continue;
            }
            let value = if key.planned {
                let message =
                    format!("`{}` in {label} is planned and does not work yet in this version, remove it", key.name);
                self.faulty(&entry.span, message)
            } else {
                self.value(&key.ty, &entry.value, &inner_label(key, label))
            };
            map.items.push(Item { key: entry.key.clone(), span: entry.span.clone(), value });
        }
        map
    }

    fn unknown_key(&mut self, section: &'static Section, entry: &Entry, label: &str) {
        if self.mistakes.is_full() {
            return;
        }
        let key = &entry.key;
        if let (Data::Empty, Some((name, value))) = (&entry.value.data, key.split_once(':')) {
            let message = format!("`{key}` in {label} is one word in YAML, write it with a space: `{name}: {value}`");
            self.mistakes.note(&entry.span, message);
            return;
        }
        let hint = match (meant(section, key), did_you_mean(key, section.live().map(|key| key.name))) {
            (Some(name), _) => format!(", here it is `{name}`"),
            (None, hint) if hint.is_empty() => belongs(section, key),
            (None, hint) => hint,
        };
        self.mistakes.note(&entry.span, format!("unknown key `{key}` in {label}{hint}"));
    }

    fn check_complete(&mut self, section: &'static Section, entries: &[Entry], map: &Map) {
        // A misspelt key is one mistake, not also a missing one.
        let is_unknown = |entry: &&Entry| section.key(&entry.key).is_none() && !is_ignored(section, entry);
        let is_for = |key: &str, name| meant(section, key) == Some(name) || !did_you_mean(key, [name]).is_empty();
        let misspelt = |name| entries.iter().filter(is_unknown).any(|entry| is_for(&entry.key, name));
        for key in section.live().filter(|key| key.required && !map.has(key.name) && !misspelt(key.name)) {
            self.mistakes.note(&map.span, format!("`{}` is missing in {}", key.name, map.label));
        }
        if section.choice && entries.len() != 1 {
            let kinds: Vec<_> = section.live().map(|key| format!("`{}`", key.name)).collect();
            let message = format!("{} must have exactly one key, its kind: {}", map.label, kinds.join(" or "));
            self.mistakes.note(&map.span, message);
        }
    }

    fn preset(&mut self, section: &'static Section, word: &str, node: &Node, label: &str) -> Value {
        let Some(preset) = section.presets.iter().find(|preset| preset.word == word) else {
            let words = section.presets.iter().map(|preset| preset.word);
            let all: Vec<_> = words.clone().map(|word| format!("`{word}`")).collect();
            let hint = did_you_mean(word, words);
            return self.faulty(&node.span, format!("{label} is {}, or a map, but not `{word}`{hint}", all.join(", ")));
        };
        let long = |(key, text): &(&str, &str)| Entry {
            key: (*key).to_owned(),
            span: node.span.clone(),
            value: Node { span: node.span.clone(), data: Data::Scalar((*text).to_owned()) },
        };
        let entries: Vec<Entry> = preset.sets.iter().map(long).collect();
        Value { span: node.span.clone(), data: Shape::Map(self.entries(section, &entries, node, label)) }
    }

    /// The keys of a section that may stand under `defaults`.
    fn inheritable(&mut self, section: &'static Section, node: &Node, label: &str) -> Value {
        let Data::Map(entries) = &node.data else {
            return self.faulty(&node.span, format!("{label} is {}, it must be a map", node.what()));
        };
        let (own, shared): (Vec<Entry>, Vec<Entry>) = entries
            .iter()
            .cloned()
            .partition(|entry| section.key(&entry.key).is_some_and(|key| key.own && !key.planned));
        for entry in own {
            let message = format!("`{}` cannot be inherited, write it in each {}", entry.key, section.noun);
            self.mistakes.note(&entry.span, message);
        }
        Value { span: node.span.clone(), data: Shape::Map(self.entries(section, &shared, node, label)) }
    }

    fn named(&mut self, noun: &str, inner: &'static Type, node: &Node, label: &str) -> Value {
        let Data::Map(entries) = &node.data else {
            return self
                .faulty(&node.span, format!("{label} is {}, it must be a map of names, `{{ NAME: … }}`", node.what()));
        };
        let mut map = Map { span: node.span.clone(), label: label.to_owned(), items: Vec::new() };
        for entry in entries {
            let value = self.value(inner, &entry.value, &format!("{noun} `{}`", entry.key));
            map.items.push(Item { key: entry.key.clone(), span: entry.span.clone(), value });
        }
        Value { span: node.span.clone(), data: Shape::Map(map) }
    }

    fn list(&mut self, inner: &'static Type, node: &Node, label: &str) -> Value {
        let Data::List(nodes) = &node.data else {
            let only = self.value(inner, node, &item_label(inner, node, label, None));
            return Value { span: node.span.clone(), data: Shape::List(vec![only]) };
        };
        if nodes.is_empty() {
            let out = match inner {
                Type::Section(section) if std::ptr::eq(*section, &SERVER) => {
                    "name a server, such as `\"127.0.0.1:9001\"`, or where servers come from by `file:` or `srv:`"
                }
                _ => "fill it or remove the key",
            };
            return self.faulty(&node.span, format!("{label} is an empty list, {out}"));
        }
        let items = nodes.iter().enumerate();
        let values =
            items.map(|(n, item)| self.value(inner, item, &item_label(inner, item, label, Some(n + 1)))).collect();
        Value { span: node.span.clone(), data: Shape::List(values) }
    }

    fn faulty(&mut self, span: &Span, message: String) -> Value {
        self.mistakes.note(span, message);
        Value { span: span.clone(), data: Shape::Faulty }
    }
}

/// The key of a section for which another name is known elsewhere.
fn meant(section: &Section, key: &str) -> Option<&'static str> {
    const ELSEWHERE: [(&str, &str); 8] = [
        ("listen", "bind"),
        ("proxy_pass", "to"),
        ("upstream", "to"),
        ("backend", "to"),
        ("ssl", "tls"),
        ("backends", "servers"),
        ("upstreams", "pools"),
        ("clusters", "pools"),
    ];
    let here = ELSEWHERE.iter().filter(|(name, _)| *name == key).map(|(_, here)| *here);
    here.into_iter().find(|here| section.live().any(|key| key.name == *here))
}

/// Where a key belongs that does not belong here.
fn belongs(section: &Section, key: &str) -> String {
    if std::ptr::eq(section, &POOL) && SERVER.live().any(|known| known.name == key) {
        let pools =
            if key == "max_connections" { ", or for all of them together `circuit_breaker.connections`" } else { "" };
        return format!(", it belongs to each server: `servers: [{{ address: \"HOST:PORT\", {key}: … }}]`{pools}");
    }
    if section.noun == "listener tls" && matches!(key, "cert" | "key") {
        return ", certificates have names: `certificates: { main: { cert: …, key: … } }` and `tls: main`".to_owned();
    }
    if matches!(section.noun, "listener" | "site" | "route") && is_of_match(key) {
        let of = if section.noun == "route" { "" } else { " of a route" };
        return format!(", it belongs to `match`{of}: `match: {{ {key}: … }}`");
    }
    match holders(key).next() {
        Some("policy") => format!(", it is a policy: `use: [{{ {key}: … }}]`"),
        Some(noun) => format!(", it belongs to a {noun}"),
        None => String::new(),
    }
}

/// What to write in the place of a word, where a section has no short form.
fn way_out(section: &Section, node: &Node) -> String {
    let Data::Scalar(word) = &node.data else { return String::new() };
    let needed: Vec<_> = section.live().filter(|key| key.required).map(|key| format!("`{}`", key.name)).collect();
    match word.as_str() {
        "false" | "off" | "no" => ", remove it for none".to_owned(),
        "true" | "on" | "yes" if needed.is_empty() && !section.choice => {
            ", write `{}` for one that is as by default".to_owned()
        }
        number if needed.is_empty() && number.parse::<u64>().is_ok() => {
            let counts = |key: &&Key| matches!(key.ty, Type::Integer(..));
            section.live().find(counts).map_or(String::new(), |key| format!(", such as `{{ {}: {number} }}`", key.name))
        }
        _ if needed.is_empty() => String::new(),
        _ => format!(" with {}", needed.join(" and ")),
    }
}

/// The key of a section that is a text, where its short form is a number.
fn for_texts(section: &Section) -> Option<&'static str> {
    ["body", "reason"].into_iter().find(|name| section.key(name).is_some())
}

/// How messages name the value of a key.
fn inner_label(key: &Key, label: &str) -> String {
    if label == TOP_LABEL { format!("`{}`", key.name) } else { format!("`{}` of {label}", key.name) }
}

/// How messages name an element of a list.
fn item_label(inner: &Type, node: &Node, label: &str, number: Option<usize>) -> String {
    let (Type::Section(section) | Type::TextOr(_, section)) = inner else { return label.to_owned() };
    if let Data::Map(entries) = &node.data {
        let name = entries.iter().find(|entry| entry.key == "name" && section.key("name").is_some());
        if let Some(Data::Scalar(name)) = name.map(|entry| &entry.value.data) {
            return format!("{} `{name}`", section.noun);
        }
    }
    // `routes` needs no mention beside `route 2`.
    let label = label.strip_prefix("`routes` of ").unwrap_or(label);
    match number {
        Some(number) => format!("{} {number} of {label}", section.noun),
        None => label.to_owned(),
    }
}

/// Whether a key is only a place for anchors.
fn is_ignored(section: &'static Section, entry: &Entry) -> bool {
    std::ptr::eq(section, &TOP) && entry.key.starts_with("x-")
}

fn takes_list(ty: &Type) -> bool {
    matches!(ty, Type::List(_) | Type::ListOrNamed(_))
}

/// Whether a map that could be a map of names is a single element in its long form.
fn is_short_section(inner: &Type, node: &Node) -> bool {
    let (Type::Section(section), Data::Map(entries)) = (inner, &node.data) else { return false };
    section.live().filter(|key| key.required).all(|key| entries.iter().any(|entry| entry.key == key.name))
}
