//! Lists of sites, and what is looked for in them.

use wire::list::Format;

use super::Lower;
use crate::diagnostics::did_you_mean;
use crate::shape::{Map, Value};
use crate::spec::{List, ListId, Listed, Predicate};

impl Lower<'_, '_> {
    pub(super) fn lists(&mut self) -> Vec<List> {
        let named = self.top.named("lists");
        if let Some(one_more) = named.get(MOST) {
            self.mistakes
                .note(&one_more.span, format!("there may be {MOST} lists at most, join some by naming several files"));
        }
        named.iter().filter_map(|item| self.list(&item.key, &item.span, item.value.map()?)).collect()
    }

    fn list(&mut self, name: &str, span: &crate::span::Span, map: &Map) -> Option<List> {
        let files = map.list("file").iter().filter_map(|value| self.file(value)).collect();
        let format = match map.fixed("format")? {
            "hosts" => Format::Hosts,
            "domains" => Format::Domains,
            "adblock" => Format::Adblock,
            "words" => Format::Words,
            _ => Format::Rpz,
        };
        Some(List { name: name.to_owned(), span: span.clone(), files, format })
    }

    /// `{ list: … }`: something is on one of these.
    pub(super) fn listed(&mut self, map: &Map, of: Listed) -> Option<Predicate> {
        if map.items.len() > 1 {
            self.mistakes.note(
                &map.span,
                format!("`list` stands alone in {}, put other tests into a value of their own", map.label),
            );
        }
        let lists: Vec<ListId> = map.list("list").iter().filter_map(|value| self.list_of(value, false)).collect();
        (!lists.is_empty()).then_some(Predicate::Listed { of, lists })
    }

    /// A list of words, or of sites.
    pub(super) fn list_of(&mut self, value: &Value, of_words: bool) -> Option<ListId> {
        let text = value.fixed()?;
        let all = self.top.named("lists");
        let found = all.iter().position(|item| item.key == text);
        if found.is_none() {
            let hint = did_you_mean(text, all.iter().map(|item| item.key.as_str()));
            self.note(value, format!("there is no list `{text}`{hint}"));
        }
        let form = found.and_then(|at| all.get(at)?.value.map()?.fixed("format"));
        match form {
            Some("words") if !of_words => {
                self.note(value, format!("list `{text}` has `format: words` and names no sites, use it in a `filter`"));
            }
            Some(other) if of_words && other != "words" => {
                self.note(
                    value,
                    format!("list `{text}` has `format: {other}`, words stand in lists with `format: words`"),
                );
            }
            _ => {}
        }
        found.map(ListId)
    }
}

/// What the data plane can tell apart.
const MOST: usize = 255;
