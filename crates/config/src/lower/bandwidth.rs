//! `bandwidth`.

use base::units::Size;

use super::Lower;
use crate::shape::Map;
use crate::spec::Bandwidth;

impl Lower<'_, '_> {
    pub(super) fn bandwidth(&mut self, map: &Map) -> Option<Bandwidth> {
        let value = map.get("rate")?;
        let text = value.fixed()?;
        let size = text.strip_suffix("/s").and_then(|size| size.parse::<Size>().ok());
        let rate = size.map(|Size(bytes)| bytes).filter(|bytes| *bytes > 0);
        if rate.is_none() {
            self.note(value, format!("`rate` of {} is a size in a second, such as `1MiB/s`: `{text}`", map.label));
        }
        let burst = map.size("burst");
        if let (Some(0), Some(value)) = (burst, map.get("burst")) {
            self.note(value, format!("`burst` of {} would let nothing through", map.label));
        }
        let by = map.get("by").map_or_else(|| Some(Vec::new()), |by| self.request_selectors(by));
        let direction = map.fixed("direction")?;
        let rate = rate?;
        Some(Bandwidth {
            rate,
            // A quarter of a second is nothing that anybody sees, and enough for a page.
            burst: burst.unwrap_or((rate / 4).max(16 * 1024)),
            by: by?,
            up: matches!(direction, "both" | "in"),
            down: matches!(direction, "both" | "out"),
        })
    }
}
