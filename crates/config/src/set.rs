//! `--set path=value`: overrides one value of the document.

use crate::diagnostics::{Mistakes, did_you_mean};
use crate::keys::{Section, TOP, Type};
use crate::span::Span;
use crate::tree::{Data, Entry, Node};

/// Puts `value` where `path` says: names with dots between them, numbers for elements of lists, names that hold dots in double
/// quotes. What is not there yet is made; a short form on the way becomes the long one.
pub(crate) fn set(root: &mut Node, path: &str, value: &str, mistakes: &mut Mistakes) {
    // The value is said where it may be: it can be a secret.
    let span = Span::whole(format!("--set {path}"));
    // What is made on a way that leads nowhere must not stay.
    let mut changed = root.clone();
    match put(&mut changed, path, value, &span) {
        Ok(()) => *root = changed,
        Err(why) => mistakes.note(&span, why),
    }
}

fn put(root: &mut Node, path: &str, value: &str, span: &Span) -> Result<(), String> {
    let segments = segments(path)?;
    let mut node = root;
    let mut ty = &TOP_TYPE;
    for segment in &segments {
        (node, ty) = step(node, ty, segment, span)?;
    }
    *node = Node { span: span.clone(), data: Data::Scalar(value.to_owned()) };
    Ok(())
}

/// One segment further into the document.
fn step<'n>(
    node: &'n mut Node,
    ty: &'static Type,
    segment: &str,
    span: &Span,
) -> Result<(&'n mut Node, &'static Type), String> {
    match ty {
        Type::Section(section) | Type::TextOr(_, section) | Type::Defaults(section) => {
            let Some(key) = section.key(segment) else {
                let hint = did_you_mean(segment, section.live().map(|key| key.name));
                return Err(format!("unknown key `{segment}` of {}{hint}", section.noun));
            };
            lengthen(node, section);
            Ok((entry(node, segment, span)?, &key.ty))
        }
        Type::Named(_, inner) | Type::TextOrNamed(_, _, inner) => Ok((entry(node, segment, span)?, inner)),
        Type::ListOrNamed(inner) if matches!(node.data, Data::Map(_)) => Ok((entry(node, segment, span)?, inner)),
        Type::List(inner) | Type::ListOrNamed(inner) => Ok((element(node, segment)?, inner)),
        _ => Err(format!("`{segment}` leads into a single value")),
    }
}

/// A short form as the long one for which it stands.
fn lengthen(node: &mut Node, section: &Section) {
    let Some(short) = section.short else { return };
    if matches!(node.data, Data::Scalar(_) | Data::List(_)) {
        let span = node.span.clone();
        let value = std::mem::replace(node, Node { span: span.clone(), data: Data::Empty });
        node.data = Data::Map(vec![Entry { key: short.to_owned(), span, value }]);
    }
}

fn entry<'n>(node: &'n mut Node, name: &str, span: &Span) -> Result<&'n mut Node, String> {
    if node.data == Data::Empty {
        node.data = Data::Map(Vec::new());
    }
    let what = node.what();
    let Data::Map(entries) = &mut node.data else {
        return Err(format!("there is {what} where `{name}` should be in a map"));
    };
    let at = match entries.iter().position(|entry| entry.key == name) {
        Some(at) => at,
        None => {
            let value = Node { span: span.clone(), data: Data::Empty };
            entries.push(Entry { key: name.to_owned(), span: span.clone(), value });
            entries.len() - 1
        }
    };
    Ok(&mut entries[at].value)
}

/// The element of that number, from 0; one element may stand for a list of one.
fn element<'n>(node: &'n mut Node, number: &str) -> Result<&'n mut Node, String> {
    let index: usize = number.parse().map_err(|_| format!("`{number}` is no number of an element, the first is 0"))?;
    if !matches!(node.data, Data::List(_)) {
        let only = std::mem::replace(node, Node { span: node.span.clone(), data: Data::Empty });
        node.data = Data::List(if only.data == Data::Empty { Vec::new() } else { vec![only] });
    }
    let Data::List(items) = &mut node.data else { return Err("there is no list".to_owned()) };
    let length = items.len();
    items.get_mut(index).ok_or_else(|| format!("there is no element {index}, the list has {length}"))
}

fn segments(path: &str) -> Result<Vec<String>, String> {
    let mut segments = Vec::new();
    let mut rest = path;
    loop {
        let (segment, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or("a quote is never closed")?,
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        if segment.is_empty() {
            return Err("a name is empty, write a path such as `listeners.web.bind`".to_owned());
        }
        segments.push(segment.to_owned());
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(segments),
            None => return Err("a closing quote must be followed by a dot".to_owned()),
        }
    }
}

static TOP_TYPE: Type = Type::Section(&TOP);
