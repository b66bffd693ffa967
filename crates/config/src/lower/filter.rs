//! `filter`.

use super::Lower;
use crate::shape::Map;
use crate::spec::{Deny, Filter};

impl Lower<'_, '_> {
    pub(super) fn filter(&mut self, map: &Map) -> Option<Filter> {
        let refusal = map.map("deny")?;
        let [reason, contact] = ["reason", "contact"].map(|key| refusal.fixed(key).map(str::to_owned));
        let filter = Filter {
            types: self.media_types(map, "types", true),
            except: self.media_types(map, "except", true),
            over: map.size("over"),
            deny: Deny { status: refusal.tiny("status")?, reason, contact, reset: false },
        };
        if !map.has("types") && !map.has("over") {
            self.mistakes.note(&map.span, format!("{} does nothing, give it `types` or `over`", map.label));
        }
        if let (Some(except), false) = (map.item("except"), map.has("types")) {
            let message = format!("`except` of {} does nothing without `types`", map.label);
            self.mistakes.note(&except.span, message);
        }
        Some(filter)
    }
}
