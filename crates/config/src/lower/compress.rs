//! `compress`.

use wire::coding::Coding;

use super::Lower;
use crate::shape::Map;
use crate::spec::{Compress, MediaType};

impl Lower<'_, '_> {
    pub(super) fn compress(&mut self, map: &Map) -> Option<Compress> {
        let levels = map.map("levels")?;
        let mut codings: Vec<(Coding, u8)> = Vec::new();
        for value in map.list("codings") {
            let Some(word) = value.fixed() else { continue };
            let Some(coding) = Coding::ALL.into_iter().find(|coding| coding.name() == word) else { continue };
            if codings.iter().any(|(known, _)| *known == coding) {
                self.note(value, format!("`{word}` stands twice in `codings`, remove one"));
            }
            let level = levels.integer(word).and_then(|level| u8::try_from(level).ok());
            codings.extend(level.map(|level| (coding, level)));
        }
        for item in levels.items.iter().filter(|item| item.span != levels.span) {
            if !codings.iter().any(|(coding, _)| coding.name() == item.key) && !item.value.is_faulty() {
                let message = format!("`{}` of {} does nothing, `codings` leaves it out", item.key, levels.label);
                self.mistakes.note(&item.span, message);
            }
        }
        Some(Compress {
            codings,
            min_size: map.size("min_size")?,
            types: self.media_types(map, "types", false),
            offload: map.boolean("offload")?,
            at_once: map.small("at_once")?,
        })
    }

    /// Patterns of media types. The type itself is always named but where `any` may be meant: nobody means to compress videos.
    pub(super) fn media_types(&mut self, map: &Map, key: &str, any: bool) -> Vec<MediaType> {
        let mut types = Vec::new();
        for value in map.list(key) {
            let Some(text) = value.fixed() else { continue };
            if any && text == "*/*" {
                types.push(MediaType::All(String::new()));
                continue;
            }
            match media_type(&text.to_ascii_lowercase()) {
                Some(media_type) => types.push(media_type),
                None => self.note(
                    value,
                    format!("`{text}` is no media type, use such as `text/html`, `text/*` or `application/*+json`"),
                ),
            }
        }
        types
    }
}

/// A pattern in lower case.
fn media_type(text: &str) -> Option<MediaType> {
    let (kind, subtype) = text.split_once('/')?;
    if !super::fields::is_token(kind) || kind.contains('*') {
        return None;
    }
    match subtype.strip_prefix('*') {
        Some("") => Some(MediaType::All(format!("{kind}/"))),
        Some(suffix) => (suffix.len() > 1 && suffix.starts_with('+') && is_name(suffix))
            .then(|| MediaType::WithSuffix(format!("{kind}/"), suffix.to_owned())),
        None => is_name(subtype).then(|| MediaType::Exact(text.to_owned())),
    }
}

fn is_name(text: &str) -> bool {
    super::fields::is_token(text) && !text.contains('*')
}
