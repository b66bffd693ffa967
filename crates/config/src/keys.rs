//! The one description of every key: what the parser knows, the schema says, the reference prints and defaults come from.
//!
//! A [`Section`] is a map with fixed keys, a [`Key`] one of them. Planned keys are known by name only: using one is a mistake
//! with its own words, and neither schema nor reference mention it.

mod balance;
mod filter;
mod health;
mod intercept;
mod listener;
mod matching;
mod policy;
mod pool;
mod roles;
mod route;
mod tls;
mod top;
mod users;
mod walk;

pub(crate) use matching::is_of_match;
pub(crate) use pool::{POOL, SERVER};
#[cfg(test)]
pub(crate) use roles::OF_SOME;
pub(crate) use roles::instead;
pub(crate) use tls::DIRECTORY;
pub(crate) use top::TOP;
pub use walk::{KeyPath, all_keys};
pub(crate) use walk::{holders, sections};

/// A map with fixed keys.
pub(crate) struct Section {
    /// What one is called in messages and in the schema: `pool`.
    pub(crate) noun: &'static str,
    /// What it is for, in sentences of the reference.
    pub(crate) doc: &'static str,
    /// Its keys, in the order of the reference.
    pub(crate) keys: &'static [Key],
    /// The key for which a scalar or list stands.
    pub(crate) short: Option<&'static str>,
    /// Words that stand for several keys.
    pub(crate) presets: &'static [Preset],
    /// Whether exactly one key must be there.
    pub(crate) choice: bool,
}

impl Section {
    /// The key of that name, live or planned.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The keys that work.
    pub(crate) fn live(&self) -> impl Iterator<Item = &'static Key> {
        self.keys.iter().filter(|key| !key.planned)
    }

    const fn new(noun: &'static str, doc: &'static str, keys: &'static [Key]) -> Self {
        Self { noun, doc, keys, short: None, presets: &[], choice: false }
    }

    const fn short(mut self, key: &'static str) -> Self {
        self.short = Some(key);
        self
    }

    const fn presets(mut self, presets: &'static [Preset]) -> Self {
        self.presets = presets;
        self
    }

    const fn choice(mut self) -> Self {
        self.choice = true;
        self
    }
}

/// One key of a section.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) ty: Type,
    pub(crate) default: Default,
    /// What it does, in one or two sentences of the reference.
    pub(crate) doc: &'static str,
    /// Known, but not working yet.
    pub(crate) planned: bool,
    /// Must be there.
    pub(crate) required: bool,
    /// Never inherited: not allowed under `defaults`.
    pub(crate) own: bool,
}

impl Key {
    const fn new(name: &'static str, ty: Type, doc: &'static str) -> Self {
        Self { name, ty, default: Default::None, doc, planned: false, required: false, own: false }
    }

    const fn planned(name: &'static str) -> Self {
        Self { planned: true, ..Self::new(name, Type::Text("text"), "") }
    }

    const fn default(mut self, text: &'static str) -> Self {
        self.default = Default::Text(text);
        self
    }

    const fn inherited(mut self, text: &'static str) -> Self {
        self.default = Default::Farther(text);
        self
    }

    const fn filled(mut self) -> Self {
        self.default = Default::Keys;
        self
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn own(mut self) -> Self {
        self.own = true;
        self
    }
}

/// What holds where a key is not written.
#[derive(Clone, Copy)]
pub(crate) enum Default {
    /// Nothing.
    None,
    /// This text, as if it were written.
    Text(&'static str),
    /// What a farther level says, and this text if none does (the listener's own keys carry it).
    Farther(&'static str),
    /// The section with the defaults of its keys.
    Keys,
}

/// What a value is.
#[derive(Clone, Copy)]
pub(crate) enum Type {
    /// Text, of the form that is named here for readers; lowering gives it its meaning.
    Text(&'static str),
    /// Text with `${selector}`.
    Template,
    /// A path or URL with `*` and `$1`.
    PathTemplate,
    /// `true` or `false`.
    Bool,
    /// A whole number in a range.
    Integer(u64, u64),
    /// A number with at most two decimals, in a range of whole numbers.
    Decimal(u32, u32),
    /// A time.
    Duration,
    /// A number of bytes.
    Size,
    /// A percentage.
    Share,
    /// One of these words.
    Word(&'static [Word]),
    /// A map with fixed keys.
    Section(&'static Section),
    /// A text of that form, or a map with fixed keys.
    TextOr(&'static str, &'static Section),
    /// The keys of a section that may be inherited.
    Defaults(&'static Section),
    /// A map from names to values.
    Named(&'static str, &'static Type),
    /// A text of that form, or a map from names to values.
    TextOrNamed(&'static str, &'static str, &'static Type),
    /// A list; one element may stand for a list of one.
    List(&'static Type),
    /// A list, or a map from names to values.
    ListOrNamed(&'static Type),
}

/// One word of a closed set.
pub(crate) struct Word {
    pub(crate) name: &'static str,
    pub(crate) planned: bool,
}

/// A word that stands for several keys.
pub(crate) struct Preset {
    pub(crate) word: &'static str,
    pub(crate) sets: &'static [(&'static str, &'static str)],
}

const fn live(name: &'static str) -> Word {
    Word { name, planned: false }
}

const fn planned(name: &'static str) -> Word {
    Word { name, planned: true }
}
