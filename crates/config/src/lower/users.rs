//! Policies that find out who a client is.

use super::Lower;
use crate::shape::{Map, Shape};
use crate::spec::{BasicAuth, Groups};

impl Lower<'_, '_> {
    pub(super) fn basic_auth(&mut self, map: &Map) -> Option<BasicAuth> {
        let users = map.get("users").and_then(|value| self.file(value));
        let realm = self.realm(map);
        let groups = self.groups(map);
        Some(BasicAuth { users: users?, realm: realm?, groups: groups?, forward: map.boolean("forward")? })
    }

    /// It stands in a field between quotes.
    fn realm(&mut self, map: &Map) -> Option<String> {
        let value = map.get("realm")?;
        let text = value.fixed()?;
        if text.is_empty() || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            self.note(value, format!("`realm` of {} is no text in ASCII: `{}`", map.label, text.escape_debug()));
            return None;
        }
        Some(text.to_owned())
    }

    fn groups(&mut self, map: &Map) -> Option<Groups> {
        let Some(value) = map.get("groups") else { return Some(Groups::None) };
        let Shape::Map(said) = &value.data else { return self.file(value).map(Groups::File) };
        let mut groups = Vec::new();
        for item in &said.items {
            let users = item.value.items().iter().filter_map(|value| value.fixed().map(str::to_owned));
            groups.push((item.key.clone(), users.collect()));
        }
        Some(Groups::Said(groups))
    }
}
