//! YAML text to a tree of nodes that know their place.
//!
//! Scalars stay as written: what a field's type is decides what its text means. Hostile input is bounded in size, depth and
//! number of nodes (aliases count each time they are used), and never trusted to be well formed.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput};

use crate::diagnostics::Mistakes;
use crate::span::Span;

mod traps;

/// A piece of a document and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) data: Data,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    /// Text as written.
    Scalar(String),
    /// No value at all, or `~`.
    Empty,
    List(Vec<Node>),
    /// Entries in file order, each key once.
    Map(Vec<Entry>),
}

/// One entry of a map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) span: Span,
    pub(crate) value: Node,
}

/// Reads one document. `None` if it is not YAML at all or bounds are broken; an empty document is [`Data::Empty`].
pub(crate) fn parse(file: &Arc<str>, bytes: &[u8], mistakes: &mut Mistakes) -> Option<Node> {
    let whole = Span::whole(file.clone());
    if bytes.len() > LARGEST_FILE {
        mistakes.note(&whole, format!("the file is larger than {LARGEST_FILE} bytes, split it with `include`"));
        return None;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            let span = Span::new(file.clone(), u32::try_from(line).unwrap_or(u32::MAX), 1);
            mistakes.note(&span, "the file is not UTF-8, save it in that encoding");
            return None;
        }
    };
    let mut builder =
        Builder { file, text, parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, mistakes };
    builder.document().ok()
}

/// Reading cannot go on; the mistake that says why is already noted.
struct Stop;

struct Builder<'a> {
    file: &'a Arc<str>,
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    mistakes: &'a mut Mistakes,
}

/// A node that an alias may repeat, and what each repetition costs.
struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Node, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::DocumentStart(_) if root.is_some() => {
                    self.mistakes.note(&span, "a second document begins here, a configuration is one document");
                    return Err(Stop);
                }
                Event::DocumentStart(_) => {}
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        let start = Span::new(self.file.clone(), 1, 1);
        Ok(root.unwrap_or(Node { span: start, data: Data::Empty }))
    }

    /// The node that begins with `event`.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Stop> {
        self.nodes += 1;
        self.check_bounds(&span, depth)?;
        let before = self.nodes;
        let (anchor, tag, data) = match event {
            Event::Alias(id) => return self.alias(id, span, depth),
            Event::Scalar(text, style, anchor, tag) => {
                let empty = style == ScalarStyle::Plain && (text.is_empty() || text == "~");
                (anchor, tag, if empty { Data::Empty } else { Data::Scalar(text.into_owned()) })
            }
            Event::SequenceStart(anchor, tag) => (anchor, tag, Data::List(self.list(depth)?)),
            Event::MappingStart(anchor, tag) => (anchor, tag, Data::Map(self.map(depth)?)),
            _ => {
                self.mistakes.note(&span, "a value is missing here");
                return Err(Stop);
            }
        };
        if tag.is_some() && !self.mistakes.is_full() {
            self.mistakes.note(&span, traps::tag(self.text, &span));
        }
        let node = Node { span, data };
        if anchor != 0 {
            let nodes = self.nodes - before + 1;
            // The copy that is kept for aliases counts too, so that nested anchors cannot multiply memory.
            self.nodes += nodes;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, depth: height(&node) });
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut places: HashMap<String, Span> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let key = self.key(event, &span, depth)?;
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span, depth + 1)?;
            let Some(key) = key else { continue };
            if key == "<<" {
                self.mistakes.note(
                    &span,
                    "merge keys `<<` are not part of the language, write the entries out or use `defaults`",
                );
                continue;
            }
            if let Some(first) = places.get(&key) {
                let message = format!("`{key}` is written twice, first at line {}, remove one", first.line);
                self.mistakes.note(&span, message);
                continue;
            }
            places.insert(key.clone(), span.clone());
            entries.push(Entry { key, span, value });
        }
    }

    /// A map's key, or nothing where it is no text (which is noted).
    fn key(&mut self, event: Event<'a>, span: &Span, depth: usize) -> Result<Option<String>, Stop> {
        let node = self.node(event, span.clone(), depth + 1)?;
        match node.data {
            Data::Scalar(text) => Ok(Some(text)),
            Data::Empty | Data::List(_) | Data::Map(_) => {
                self.mistakes.note(span, traps::odd_key(self.text, span));
                Ok(None)
            }
        }
    }

    fn alias(&mut self, id: usize, span: Span, depth: usize) -> Result<Node, Stop> {
        let Some(anchored) = self.anchors.get(&id) else {
            self.mistakes.note(&span, "the alias stands inside of what it repeats, or its anchor is missing");
            return Err(Stop);
        };
        self.nodes += anchored.nodes;
        let (height, node) = (anchored.depth, &anchored.node);
        if self.nodes > MOST_NODES || depth + height > DEEPEST {
            self.mistakes.note(&span, "aliases repeat too much, write less or split the file");
            return Err(Stop);
        }
        // Mistakes inside of what is repeated point at where it was written.
        Ok(node.clone())
    }

    fn check_bounds(&mut self, span: &Span, depth: usize) -> Result<(), Stop> {
        if depth > DEEPEST {
            self.mistakes.note(span, format!("nested deeper than {DEEPEST} levels"));
            return Err(Stop);
        }
        if self.nodes > MOST_NODES {
            self.mistakes.note(span, format!("more than {MOST_NODES} values in one file"));
            return Err(Stop);
        }
        Ok(())
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok((event, at))) => Ok((event, self.place(at.start.line(), at.start.col()))),
            Some(Err(error)) => Err(self.broken(&error)),
            None => Ok((Event::StreamEnd, self.place(1, 0))),
        }
    }

    fn broken(&mut self, error: &ScanError) -> Stop {
        let span = self.place(error.marker().line(), error.marker().col());
        self.mistakes.note(&span, traps::explain(self.text, &span, error.info()));
        Stop
    }

    fn place(&self, line: usize, col_from_zero: usize) -> Span {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span::new(self.file.clone(), number(line), number(col_from_zero.saturating_add(1)))
    }
}

fn height(node: &Node) -> usize {
    match &node.data {
        Data::Scalar(_) | Data::Empty => 0,
        Data::List(items) => 1 + items.iter().map(height).max().unwrap_or(0),
        Data::Map(entries) => 1 + entries.iter().map(|entry| height(&entry.value)).max().unwrap_or(0),
    }
}

impl Node {
    /// What it is, for a message about something else being expected.
    pub(crate) fn what(&self) -> &'static str {
        match self.data {
            Data::Scalar(_) => "a single value",
            Data::Empty => "nothing",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
        }
    }
}

/// Enough for tens of thousands of routes.
const LARGEST_FILE: usize = crate::content::LARGEST;
/// With some hundred bytes a node, the tree of one file stays below a hundred megabytes.
const MOST_NODES: usize = 500_000;
/// Deeper than any sensible nesting of routes, far from the end of a stack.
const DEEPEST: usize = 64;

#[cfg(test)]
mod tests;
