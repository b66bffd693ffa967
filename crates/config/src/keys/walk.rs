//! Every key, in order, each section once.

use super::{Key, Section, TOP, Type};

/// The place of a key: `pools.*.queue.length`. `*` is a name or a number.
pub type KeyPath = String;

/// Every live key, once for each section that holds it, at the place where that section first stands.
///
/// Sections that stand in several places (nested `routes`, `match` under `not`) are not repeated.
pub fn all_keys() -> Vec<KeyPath> {
    let mut paths = Vec::new();
    walk(&mut |_, key, path| {
        if let Some(key) = key {
            paths.push(if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) });
        }
    });
    paths
}

/// Every section that can be reached by live keys, with the place where it first stands.
pub(crate) fn sections() -> Vec<(&'static Section, KeyPath)> {
    let mut found = Vec::new();
    walk(&mut |section, key, path| {
        if key.is_none() {
            found.push((section, path.to_owned()));
        }
    });
    found
}

/// What has a key of this name, of what has a name in a document or stands in its lists.
pub(crate) fn holders(name: &str) -> impl Iterator<Item = &'static str> {
    const NAMED: [&str; 7] = ["listener", "bind", "site", "route", "policy", "pool", "server"];
    let has = move |section: &&Section| section.live().any(|key| key.name == name);
    sections()
        .into_iter()
        .map(|(section, _)| section)
        .filter(has)
        .map(|section| section.noun)
        .filter(|noun| NAMED.contains(noun))
}

/// Calls for each section (without a key), then for each of its live keys.
fn walk(visit: &mut dyn FnMut(&'static Section, Option<&'static Key>, &str)) {
    let mut queue = std::collections::VecDeque::from([(&TOP, String::new())]);
    let mut seen: Vec<&'static Section> = vec![&TOP];
    while let Some((section, path)) = queue.pop_front() {
        visit(section, None, &path);
        for key in section.live() {
            visit(section, Some(key), &path);
            let place = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
            if let Some((inner, place)) = inner_section(&key.ty, place)
                && !seen.iter().any(|known| std::ptr::eq(*known, inner))
            {
                seen.push(inner);
                queue.push_back((inner, place));
            }
        }
    }
}

fn inner_section(ty: &'static Type, place: String) -> Option<(&'static Section, String)> {
    match ty {
        Type::Section(section) | Type::TextOr(_, section) => Some((section, place)),
        Type::Named(_, inner) | Type::TextOrNamed(_, _, inner) | Type::List(inner) | Type::ListOrNamed(inner) => {
            inner_section(inner, format!("{place}.*"))
        }
        // These keys are those of the section itself.
        Type::Defaults(_) => None,
        Type::Text(_)
        | Type::Template
        | Type::PathTemplate
        | Type::Bool
        | Type::Integer(..)
        | Type::Duration
        | Type::Size
        | Type::Share
        | Type::Decimal(..)
        | Type::Word(_) => None,
    }
}
