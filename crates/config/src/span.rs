//! Where in which file something was written.

use std::fmt;
use std::sync::Arc;

/// A place in a configuration file: both numbers count from one, columns count characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The file's path as it was named on the command line or by `include`, or an argument such as `--set workers`.
    pub file: Arc<str>,
    /// The line, from 1; 0 where a source has no lines (`--set`, defaults).
    pub line: u32,
    /// The column in characters, from 1; 0 where a source has no lines.
    pub col: u32,
}

impl Span {
    /// A place in `file`.
    pub fn new(file: Arc<str>, line: u32, col: u32) -> Self {
        Self { file, line, col }
    }

    /// A source as a whole: a flag, or a file that could not be read.
    pub fn whole(file: impl Into<Arc<str>>) -> Self {
        Self { file: file.into(), line: 0, col: 0 }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return f.write_str(&self.file);
        }
        write!(f, "{}:{}:{}", self.file, self.line, self.col)
    }
}

/// A value and the place where it was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spanned<T> {
    /// What was written.
    pub value: T,
    /// Where.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// `value` as written at `span`.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}
