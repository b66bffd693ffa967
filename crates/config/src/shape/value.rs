//! Values in their shape.

use std::time::Duration;

use crate::interpolate::Text;
use crate::span::Span;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Value {
    pub(crate) span: Span,
    pub(crate) data: Shape,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// Already reported: there is something, and it is wrong.
    Faulty,
    Scalar(Text, Meaning),
    List(Vec<Value>),
    Map(Map),
}

/// What a scalar means, by its key's type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Meaning {
    /// A fixed text.
    Fixed(String),
    /// A text with selectors or `*` and `$1`, which its reader takes apart.
    Template,
    Bool(bool),
    Integer(u64),
    /// Hundredths.
    Decimal(u32),
    Duration(Duration),
    Size(u64),
    /// Hundredths of a percent.
    Share(u32),
}

/// A map with fixed keys, or from names.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Map {
    pub(crate) span: Span,
    /// How messages name it: ``pool `api` ``.
    pub(crate) label: String,
    pub(crate) items: Vec<Item>,
}

/// One entry of a map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) key: String,
    pub(crate) span: Span,
    pub(crate) value: Value,
}

impl Value {
    /// The fixed text, if it is one.
    pub(crate) fn fixed(&self) -> Option<&str> {
        match &self.data {
            Shape::Scalar(_, Meaning::Fixed(text)) => Some(text),
            _ => None,
        }
    }

    /// The elements, if it is a list; nothing for a faulty one.
    pub(crate) fn items(&self) -> &[Value] {
        match &self.data {
            Shape::List(items) => items,
            _ => &[],
        }
    }

    /// The map, if it is one.
    pub(crate) fn map(&self) -> Option<&Map> {
        match &self.data {
            Shape::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.data == Shape::Faulty
    }

    fn meaning(&self) -> Option<&Meaning> {
        match &self.data {
            Shape::Scalar(_, meaning) => Some(meaning),
            _ => None,
        }
    }
}

impl Map {
    pub(crate) fn item(&self, key: &str) -> Option<&Item> {
        self.items.iter().find(|item| item.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.item(key).map(|item| &item.value)
    }

    /// Whether the key is there, be it faulty.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.item(key).is_some()
    }

    /// Whether anything in it was reported.
    pub(crate) fn has_faulty(&self) -> bool {
        self.items.iter().any(|item| item.value.is_faulty())
    }

    pub(crate) fn fixed(&self, key: &str) -> Option<&str> {
        self.get(key)?.fixed()
    }

    /// The elements of a list; nothing if it is absent or faulty.
    pub(crate) fn list(&self, key: &str) -> &[Value] {
        self.get(key).map(Value::items).unwrap_or_default()
    }

    pub(crate) fn map(&self, key: &str) -> Option<&Map> {
        self.get(key)?.map()
    }

    /// The entries of a map of names; nothing if it is absent or faulty.
    pub(crate) fn named(&self, key: &str) -> &[Item] {
        self.map(key).map(|map| map.items.as_slice()).unwrap_or_default()
    }

    pub(crate) fn boolean(&self, key: &str) -> Option<bool> {
        match self.get(key)?.meaning()? {
            Meaning::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn integer(&self, key: &str) -> Option<u64> {
        self.get(key)?.integer()
    }

    /// Hundredths of a number with decimals.
    pub(crate) fn decimal(&self, key: &str) -> Option<u32> {
        match self.get(key)?.meaning()? {
            Meaning::Decimal(value) => Some(*value),
            _ => None,
        }
    }

    /// An integer whose range in the table of keys fits 32 bits.
    pub(crate) fn small(&self, key: &str) -> Option<u32> {
        self.integer(key).and_then(|value| u32::try_from(value).ok())
    }

    /// An integer whose range in the table of keys fits 16 bits.
    pub(crate) fn tiny(&self, key: &str) -> Option<u16> {
        self.integer(key).and_then(|value| u16::try_from(value).ok())
    }

    pub(crate) fn duration(&self, key: &str) -> Option<Duration> {
        match self.get(key)?.meaning()? {
            Meaning::Duration(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn size(&self, key: &str) -> Option<u64> {
        match self.get(key)?.meaning()? {
            Meaning::Size(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn share(&self, key: &str) -> Option<u32> {
        self.get(key)?.share()
    }
}

impl Value {
    pub(crate) fn share(&self) -> Option<u32> {
        match self.meaning()? {
            Meaning::Share(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn integer(&self) -> Option<u64> {
        match self.meaning()? {
            Meaning::Integer(value) => Some(*value),
            _ => None,
        }
    }
}
