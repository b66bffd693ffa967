//! Clients that stay with their server, and the secret behind what they keep for us.

use std::time::Duration;

use super::Lower;
use super::fields::is_token;
use crate::interpolate::Piece;
use crate::shape::{Map, Shape};
use crate::spec::{Secret, Sticky};

/// How long a client is remembered in a table, and how many are.
const LASTS: Duration = Duration::from_secs(30 * 60);
const MOST: usize = 100_000;

impl Lower<'_, '_> {
    pub(super) fn sticky(&mut self, map: &Map) -> Option<Sticky> {
        let by = map.get("by")?;
        let is_cookie = |text: Option<&str>| text == Some("cookie");
        let lasts = map.has("for").then(|| self.time(map, "for"));
        if matches!(by.items(), [only] if is_cookie(only.fixed())) {
            let name = map.get("cookie");
            if let Some(value) = map.get("max") {
                self.note(value, format!("`max` of {} does nothing with `by: cookie`, remove it", map.label));
            }
            if let Some(value) = name.filter(|value| value.fixed().is_some_and(|name| !is_token(name))) {
                self.note(value, format!("`cookie` of {} is no name of a cookie", map.label));
            }
            let name = name.and_then(|value| value.fixed()).map(str::to_owned);
            return Some(Sticky::Cookie { name, lasts: lasts.flatten() });
        }
        if let Some(cookie) = by.items().iter().find(|one| is_cookie(one.fixed())) {
            self.note(cookie, "`cookie` stands alone in `by`, a cookie of your own is `cookie.NAME`");
            return None;
        }
        if let Some(name) = map.get("cookie") {
            self.note(name, format!("`cookie` of {} does nothing without `by: cookie`, remove it", map.label));
        }
        let most = map.integer("max").and_then(|most| usize::try_from(most).ok());
        Some(Sticky::Table {
            by: self.keys_of_requests(by)?,
            lasts: lasts.flatten().unwrap_or(LASTS),
            most: most.unwrap_or(MOST),
        })
    }

    /// A secret comes from the environment or a file alone: so it never stands in what is printed of a configuration.
    pub(super) fn secret(&mut self) -> Option<Secret> {
        const LEAST: usize = 16;
        let value = self.top.get("secret")?;
        let text = value.fixed()?;
        let Shape::Scalar(written, _) = &value.data else { return None };
        if written.pieces.iter().any(|piece| !matches!(piece, Piece::Injected(_))) {
            self.mistakes.note(&value.span, "`secret` must come from outside, write `${file.PATH}` or `${env.NAME}`");
        } else if text.len() < LEAST {
            self.mistakes.note(&value.span, format!("`secret` is too short, use at least {LEAST} bytes of chance"));
        }
        Some(Secret(text.to_owned()))
    }
}
