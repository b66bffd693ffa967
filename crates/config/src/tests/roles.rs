//! LANGUAGE, "Listeners": which key exists under which role is one table, and this walks all of it.

use super::{load, said};
use crate::keys::{OF_SOME, sections};
use crate::spec::Role;

/// A listener with one key at that place; what it says may be nonsense, its key may not.
fn document(role: Role, place: &str, key: &str) -> String {
    let inner = place.split('.').skip(2).fold((String::new(), String::new()), |(open, close), part| match part {
        "*" => (open + "[", "]".to_owned() + &close),
        key => (format!("{open}{{ {key}: "), " }".to_owned() + &close),
    });
    let said = format!("{}{{ {key}: x }}{}", inner.0, inner.1);
    // The listener's own keys stand among its others.
    let own = said.strip_prefix("{ ").and_then(|said| said.strip_suffix(" }")).expect("a map");
    let bind = if place.starts_with("listeners.*.bind") { "" } else { "bind: ':1', " };
    format!("listeners: {{ web: {{ {bind}role: {}, {own} }} }}", role.word())
}

#[test]
fn what_a_role_does_not_have_is_refused_by_those_that_have_it_not_and_by_them_alone() {
    let sections = sections();
    for (owners, noun, keys) in OF_SOME {
        // What stands in a site stands in a route, too.
        let places: Vec<_> = sections
            .iter()
            .filter(|(section, _)| section.noun == noun)
            .map(|(section, place)| (section, place.replace("sites.*", "listeners.*.routes.*")))
            .filter(|(_, place)| place.starts_with("listeners."))
            .collect();
        assert!(!places.is_empty(), "no {noun} stands below listeners");
        for (key, (section, place)) in keys.iter().flat_map(|key| places.iter().map(move |place| (key, place))) {
            assert!(section.key(key).is_some_and(|key| !key.planned), "{noun} has no `{key}`");
            for role in Role::ALL {
                let text = document(role, place, key);
                let said = said(load(&text));
                let refusal = format!("does not exist with `role: {}`, ", role.word());
                // A role that does not have what is around a key looks no further.
                let around = place.split('.').nth(2).filter(|around| !role.has("listener", around));
                let refused_key = around.unwrap_or(key);
                let refused = said
                    .iter()
                    .any(|said| said.starts_with(&format!("`{refused_key}` in ")) && said.contains(&refusal));
                let exists = around.is_none() && owners.contains(&role);
                assert_eq!(refused, !exists, "{text}: {said:#?}");
            }
        }
    }
}
