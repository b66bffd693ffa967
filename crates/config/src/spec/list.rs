//! Lists of sites.

use wire::list::Format;

use super::NamedFile;
use crate::span::Span;

/// A list of sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Its key under `lists`.
    pub name: String,
    /// Where its name was written.
    pub span: Span,
    /// The files, at least one.
    pub files: Vec<NamedFile>,
    /// How they are written.
    pub format: Format,
}

/// An index into [`Spec::lists`](super::Spec::lists).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListId(pub usize);
