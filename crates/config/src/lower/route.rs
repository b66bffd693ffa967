//! Routes, in order and nested.

use super::levels::Levels;
use super::template::Needs;
use super::{Lower, matching, name, reach};
use crate::shape::{Map, Value};
use crate::spec::{Ending, Route};

impl<'a> Lower<'a, '_> {
    /// A list of routes; `outer` is what the paths around it give to templates.
    pub(super) fn routes(&mut self, value: &'a Value, outer: Needs) -> Vec<Route> {
        let mut routes = Vec::new();
        let mut labels = Vec::new();
        let mut seen = std::collections::HashMap::new();
        for map in value.items().iter().filter_map(Value::map) {
            self.route_name(map, &mut seen);
            if let Some(route) = self.route(map, outer) {
                routes.push(route);
                labels.push(map.label.as_str());
            }
        }
        for (route, earlier) in reach::unreachable(&routes) {
            let message = format!(
                "{} can never be reached, {} before it ({}) matches all that it matches",
                labels[route], labels[earlier], routes[earlier].span
            );
            self.mistakes.note(&routes[route].span, message);
        }
        routes
    }

    /// A listener's or site's own ending as its only route.
    pub(super) fn only_route(&mut self, owner: &'a Map) -> Option<Route> {
        let ending = self.ending(owner, Needs::default())?;
        let Levels { priority, timeouts, retries, limits } = Levels::default();
        let span = owner.span.clone();
        Some(Route {
            name: None,
            span,
            matches: None,
            uses: Vec::new(),
            subset: Vec::new(),
            ending,
            source: None,
            priority,
            timeouts,
            retries,
            limits,
        })
    }

    /// A listener's or site's routes; nothing if there are none to be had.
    pub(super) fn own_routes(&mut self, owner: &'a Map) -> Vec<Route> {
        match self.only_route(owner) {
            Some(Route { ending: Ending::Routes(routes), .. }) => routes,
            Some(route) => vec![route],
            None => Vec::new(),
        }
    }

    fn route(&mut self, map: &'a Map, outer: Needs) -> Option<Route> {
        let matches = map.map("match").and_then(|map| self.predicate(map));
        let own = matches.as_ref().map(matching::captures).unwrap_or_default();
        let path = if own.star || own.groups > 0 { own } else { outer };
        let uses = self.uses(map, path);
        let Levels { priority, timeouts, retries, limits } = self.near_levels(map);
        let ending = self.ending(map, path)?;
        let subset = self.subset(map, &ending);
        let source = self.source_of(map, &ending);
        // A faulty `match` must not look like one that matches everything.
        if map.has("match") && matches.is_none() {
            return None;
        }
        let name = map.fixed("name").map(str::to_owned);
        Some(Route {
            name,
            span: map.span.clone(),
            matches,
            uses,
            subset,
            ending,
            source,
            priority,
            timeouts,
            retries,
            limits,
        })
    }

    fn route_name(&mut self, map: &'a Map, seen: &mut std::collections::HashMap<&'a str, u32>) {
        let Some(value) = map.get("name") else { return };
        let Some(text) = value.fixed() else { return };
        if let Err(why) = name::check(text) {
            self.note(value, why);
        }
        if let Some(line) = seen.insert(text, value.span.line) {
            self.note(value, format!("`{text}` is the name of two routes of one list, first at line {line}"));
        }
    }
}
