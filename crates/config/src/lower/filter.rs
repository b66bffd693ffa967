//! `filter`.

use super::Lower;
use crate::shape::Map;
use crate::spec::{Deny, Filter, MediaType, Words};

/// Memory is bounded, and so should be how long a worker takes to hand a text on.
const MOST_HELD: u64 = 4 * 1024 * 1024;

impl Lower<'_, '_> {
    pub(super) fn filter(&mut self, map: &Map) -> Option<Filter> {
        let refusal = map.map("deny")?;
        let [reason, contact] = ["reason", "contact"].map(|key| refusal.fixed(key).map(str::to_owned));
        let filter = Filter {
            types: self.media_types(map, "types", true),
            except: self.media_types(map, "except", true),
            over: map.size("over"),
            words: map.map("words").and_then(|words| self.words(words)),
            deny: Deny { status: refusal.tiny("status")?, reason, contact, reset: false },
        };
        if !["types", "over", "words"].iter().any(|key| map.has(key)) {
            let message = format!("{} does nothing, give it `types`, `over` or `words`", map.label);
            self.mistakes.note(&map.span, message);
        }
        if let (Some(except), false) = (map.item("except"), map.has("types")) {
            let message = format!("`except` of {} does nothing without `types`", map.label);
            self.mistakes.note(&except.span, message);
        }
        Some(filter)
    }

    fn words(&mut self, map: &Map) -> Option<Words> {
        let lists = map.list("list").iter().filter_map(|value| self.list_of(value, true)).collect();
        let types = self.media_types(map, "types", false);
        if types.contains(&MediaType::Exact("text/event-stream".to_owned())) {
            let message =
                format!("`types` of {} has `text/event-stream`, which never ends and cannot be held", map.label);
            self.mistakes.note(&map.span, message);
        }
        if let (Some(value), Some(hold)) = (map.get("hold"), map.size("hold"))
            && !(1..=MOST_HELD).contains(&hold)
        {
            self.note(value, format!("`hold` of {} is from 1B to 4MiB", map.label));
        }
        let wait = self.time(map, "wait");
        Some(Words {
            lists,
            score: map.small("score")?,
            types,
            hold: map.size("hold")?,
            wait: wait?,
            refuses_unread: map.fixed("unread")? == "refuse",
            at_once: map.small("at_once")?,
        })
    }
}
