//! What is not written: inherited from `defaults`, or the table's own default.

use super::{Item, Map, Shape, Shaper, Value, inner_label};
use crate::keys::{Default, Key, Section, Type};
use crate::spec::{Role, Transport};
use crate::tree::{Data, Node};

/// Gives pools, listeners and outermost routes what `defaults` says, field by field.
///
/// Nested routes take from the route around them when levels are folded; giving them defaults would beat what it says.
pub(super) fn inherit(top: &mut Map, bare_pool: &mut Map) {
    let Some(defaults) = top.map("defaults").cloned() else { return };
    if let Some(pool) = defaults.map("pool") {
        each(top, "pools", &mut |map| merge(map, pool));
        merge(bare_pool, pool);
    }
    if let Some(listener) = defaults.map("listener") {
        each(top, "listeners", &mut |map| merge(map, listener));
    }
    if let Some(route) = defaults.map("route") {
        for owners in ["listeners", "sites"] {
            each(top, owners, &mut |owner| routes(owner, route));
        }
    }
}

fn each(top: &mut Map, key: &str, visit: &mut dyn FnMut(&mut Map)) {
    let Some(item) = top.items.iter_mut().find(|item| item.key == key) else { return };
    let Shape::Map(named) = &mut item.value.data else { return };
    for item in &mut named.items {
        if let Shape::Map(map) = &mut item.value.data {
            visit(map);
        }
    }
}

fn routes(owner: &mut Map, defaults: &Map) {
    let Some(item) = owner.items.iter_mut().find(|item| item.key == "routes") else { return };
    let Shape::List(list) = &mut item.value.data else { return };
    for value in list {
        if let Shape::Map(route) = &mut value.data {
            merge(route, defaults);
        }
    }
}

/// Adds what is missing, map by map.
fn merge(near: &mut Map, far: &Map) {
    for item in &far.items {
        match near.items.iter_mut().find(|known| known.key == item.key) {
            None => near.items.push(item.clone()),
            Some(Item { value: Value { data: Shape::Map(near), .. }, .. }) => {
                if let Shape::Map(far) = &item.value.data {
                    merge(near, far);
                }
            }
            Some(_) => {}
        }
    }
}

/// How long flows of a listener may be silent where nobody says it; nothing where it has none, or two kinds of them.
fn silence(listener: &Map) -> Option<&'static str> {
    let role = listener.fixed("role").and_then(Role::of)?;
    let is_of = |transport: Transport| {
        let mut binds = listener.list("bind").iter();
        let text = |bind: &Value| match bind.map() {
            Some(map) => map.fixed("address").map(str::to_owned),
            None => bind.fixed().map(str::to_owned),
        };
        binds.all(|bind| text(bind).is_some_and(|text| text.ends_with(&format!("/{}", transport.word()))))
    };
    match role {
        Role::Udp | Role::Forward => Some(Transport::Udp.idle_word()),
        Role::Nat => [Transport::Tcp, Transport::Udp].into_iter().find(|of| is_of(*of)).map(Transport::idle_word),
        Role::Http | Role::Tcp => None,
    }
}

impl Shaper<'_, '_> {
    /// Fills in how long flows may be silent, which no key says by itself: it depends on what they are.
    pub(super) fn silences(&mut self, top: &mut Map) {
        each(top, "listeners", &mut |listener| {
            let Some(silence) = silence(listener) else { return };
            let span = listener.span.clone();
            if !listener.has("timeouts") {
                let label = format!("`timeouts` of {}", listener.label);
                let timeouts = Map { span: span.clone(), label, items: Vec::new() };
                let value = Value { span: span.clone(), data: Shape::Map(timeouts) };
                listener.items.push(Item { key: "timeouts".to_owned(), span: span.clone(), value });
            }
            let timeouts = listener.items.iter_mut().find(|item| item.key == "timeouts");
            let Some(Shape::Map(timeouts)) = timeouts.map(|item| &mut item.value.data) else { return };
            if !timeouts.has("flow") {
                let label = format!("`flow` of {}", timeouts.label);
                let node = Node { span: span.clone(), data: Data::Scalar(silence.to_owned()) };
                let value = self.value(&Type::Duration, &node, &label);
                timeouts.items.push(Item { key: "flow".to_owned(), span, value });
            }
        });
    }

    /// Fills in the table's defaults, all the way down, and puts keys in the table's order.
    pub(super) fn fill(&mut self, section: &'static Section, map: &mut Map) {
        let outer = self.role;
        if section.key("role").is_some() {
            self.role = map.fixed("role").map_or(Some(Role::default()), Role::of);
        }
        let exists = |key: &str| self.role.is_none_or(|role| role.has(section.noun, key));
        // What was written and is another role's was reported, and stays as a mistake; what is inherited is for those that have it.
        map.items.retain(|item| exists(&item.key) || item.value.is_faulty());
        let keys: Vec<_> = section.live().filter(|key| exists(key.name)).collect();
        for key in keys {
            match map.items.iter_mut().find(|item| item.key == key.name) {
                Some(item) => self.fill_value(&key.ty, &mut item.value),
                None => self.fill_missing(key, map),
            }
        }
        map.items.sort_by_key(|item| section.keys.iter().position(|key| key.name == item.key));
        self.role = outer;
    }

    fn fill_missing(&mut self, key: &'static Key, map: &mut Map) {
        let span = map.span.clone();
        let label = inner_label(key, &map.label);
        let value = match (key.default, &key.ty) {
            (Default::Text(text), ty @ Type::List(_)) => {
                let scalar = |text: &str| Node { span: span.clone(), data: Data::Scalar(text.to_owned()) };
                let node = Node { span: span.clone(), data: Data::List(text.split(", ").map(scalar).collect()) };
                self.value(ty, &node, &label)
            }
            (Default::Text(text), ty) => {
                let node = Node { span: span.clone(), data: Data::Scalar(text.to_owned()) };
                self.value(ty, &node, &label)
            }
            (Default::Keys, Type::Section(inner)) => {
                let mut filled = Map { span: span.clone(), label, items: Vec::new() };
                self.fill(inner, &mut filled);
                Value { span: span.clone(), data: Shape::Map(filled) }
            }
            _ => return,
        };
        map.items.push(Item { key: key.name.to_owned(), span, value });
    }

    pub(super) fn fill_value(&mut self, ty: &'static Type, value: &mut Value) {
        match (ty, &mut value.data) {
            (Type::Section(section) | Type::TextOr(_, section), Shape::Map(map)) => self.fill(section, map),
            (Type::Named(_, inner) | Type::TextOrNamed(_, _, inner) | Type::ListOrNamed(inner), Shape::Map(map)) => {
                for item in &mut map.items {
                    self.fill_value(inner, &mut item.value);
                }
            }
            (Type::List(inner) | Type::ListOrNamed(inner), Shape::List(list)) => {
                for item in list {
                    self.fill_value(inner, item);
                }
            }
            _ => {}
        }
    }
}
