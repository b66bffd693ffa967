//! `${env.NAME}`, `${env.NAME:-default}` and `${file.PATH}` inside of scalar values.
//!
//! What comes from outside may be a secret: it is kept apart from what was written, never read again for `${…}`, and never
//! printed. Other `${…}` are selectors of a live request and pass through.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A scalar, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Text {
    /// As written, with the names of secrets instead of their values.
    pub(crate) written: String,
    pub(crate) pieces: Vec<Piece>,
}

/// A piece of a scalar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    /// As written, with `$${` already `${`.
    Literal(String),
    /// From the environment or a file.
    Injected(String),
    /// What stands between `${` and `}` and is no source.
    Live(String),
}

impl Text {
    /// The whole text, or the first selector where only a fixed text can stand.
    pub(crate) fn fixed(&self) -> Result<String, &str> {
        let mut whole = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) | Piece::Injected(text) => whole += text,
                Piece::Live(selector) => return Err(selector),
            }
        }
        Ok(whole)
    }

    /// Whether any of it came from outside.
    pub(crate) fn has_secret(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Injected(_)))
    }
}

/// Where values from outside come from.
pub(crate) struct Sources<'a> {
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    /// The folder of the first file.
    pub(crate) base_dir: PathBuf,
    /// The folders of all files, by the names in their spans.
    pub(crate) dirs: HashMap<Arc<str>, PathBuf>,
    /// Every file that was read.
    pub(crate) read: RefCell<Vec<PathBuf>>,
}

impl Sources<'_> {
    /// The folder to which paths in that file are relative.
    pub(crate) fn dir_of(&self, file: &Arc<str>) -> &Path {
        self.dirs.get(file).unwrap_or(&self.base_dir)
    }

    /// Takes a scalar apart.
    ///
    /// # Errors
    /// Says which source is missing, and never what one holds.
    pub(crate) fn interpolate(&self, file: &Arc<str>, raw: &str) -> Result<Text, String> {
        let mut text = Text { written: String::new(), pieces: Vec::new() };
        let mut literal = String::new();
        let mut rest = raw;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                literal += &rest[..at - 1];
                literal += "${";
                text.written += &rest[..at + 2];
                rest = &rest[at + 2..];
                continue;
            }
            let inner = &rest[at + 2..];
            let Some(end) = inner.find('}') else {
                return Err("`${` is never closed, write `$${` for the two characters themselves".to_owned());
            };
            literal += &rest[..at];
            text.written += &rest[..at];
            push_literal(&mut text.pieces, &mut literal);
            let (written, piece) = self.piece(file, &inner[..end])?;
            text.written += &format!("${{{written}}}");
            text.pieces.push(piece);
            rest = &inner[end + 1..];
        }
        literal += rest;
        text.written += rest;
        push_literal(&mut text.pieces, &mut literal);
        Ok(text)
    }

    /// What `${name}` stands for, and how its name is printed.
    fn piece(&self, file: &Arc<str>, name: &str) -> Result<(String, Piece), String> {
        if let Some(variable) = name.strip_prefix("env.") {
            let (variable, default) = match variable.split_once(":-") {
                Some((variable, default)) => (variable, Some(default)),
                None => (variable, None),
            };
            let value = (self.env)(variable).filter(|value| default.is_none() || !value.is_empty());
            return match (value, default) {
                (Some(value), _) => Ok((name.to_owned(), Piece::Injected(value))),
                // It stands in the file for all to see.
                (None, Some(default)) => Ok((name.to_owned(), Piece::Literal(default.to_owned()))),
                (None, None) => Err(format!(
                    "the environment variable `{variable}` is not set, set it or give a default: `${{env.{variable}:-…}}`"
                )),
            };
        }
        if let Some(path) = name.strip_prefix("file.") {
            let path = self.dir_of(file).join(path);
            let value = self.file(&path)?;
            return Ok((format!("file.{}", path.display()), Piece::Injected(value)));
        }
        Ok((name.to_owned(), Piece::Live(name.to_owned())))
    }

    /// A file's text without its last line end.
    fn file(&self, path: &Path) -> Result<String, String> {
        let cannot = |why: String| format!("the file `{}` cannot be read: {why}", path.display());
        let mut text = String::new();
        // Opening a pipe would wait for whoever writes to it.
        if !std::fs::metadata(path).map_err(|error| cannot(error.to_string()))?.is_file() {
            return Err(cannot("it is not a regular file".to_owned()));
        }
        let opened = std::fs::File::open(path).map_err(|error| cannot(error.to_string()))?;
        opened.take(LARGEST_VALUE + 1).read_to_string(&mut text).map_err(|error| cannot(error.to_string()))?;
        if text.len() as u64 > LARGEST_VALUE {
            return Err(cannot(format!("it is larger than {LARGEST_VALUE} bytes")));
        }
        self.read.borrow_mut().push(path.to_owned());
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }
}

fn push_literal(pieces: &mut Vec<Piece>, literal: &mut String) {
    if !literal.is_empty() {
        pieces.push(Piece::Literal(std::mem::take(literal)));
    }
}

/// A value is a word or a key, not a document.
const LARGEST_VALUE: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Sources<'static> {
        Sources {
            env: &|name| match name {
                "SET" => Some("${client_ip}".to_owned()),
                "EMPTY" => Some(String::new()),
                _ => None,
            },
            base_dir: "/nowhere".into(),
            dirs: HashMap::new(),
            read: RefCell::default(),
        }
    }

    fn fixed(raw: &str) -> Result<String, String> {
        let text = sources().interpolate(&"f".into(), raw)?;
        text.fixed().map_err(|selector| format!("selector {selector}"))
    }

    #[test]
    fn sources_are_replaced_once_and_literals_stay() {
        assert_eq!(fixed("a ${env.SET} b").as_deref(), Ok("a ${client_ip} b"));
        assert_eq!(fixed("${env.UNSET:-x:-y}${env.EMPTY:-z}").as_deref(), Ok("x:-yz"));
        assert_eq!(fixed("[${env.EMPTY}]").as_deref(), Ok("[]"));
        assert_eq!(fixed("$${env.UNSET} $5 $").as_deref(), Ok("${env.UNSET} $5 $"));
        assert_eq!(fixed("a${header.x}b"), Err("selector header.x".to_owned()));
        assert!(fixed("${env.UNSET}").is_err_and(|error| error.contains("`UNSET` is not set")));
        assert!(fixed("${file.no-such}").is_err_and(|error| error.contains("`/nowhere/no-such` cannot be read")));
        assert!(fixed("${env.SET").is_err_and(|error| error.contains("never closed")));
    }

    #[test]
    fn what_is_printed_is_what_was_written() {
        let text = sources().interpolate(&"f".into(), "a ${env.SET} $${b} ${host}").expect("all set");
        assert_eq!(text.written, "a ${env.SET} $${b} ${host}");
        assert!(text.has_secret());
    }
}
