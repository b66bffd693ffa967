//! Documents that a command line stands for: what was said there shows as it was said, and not by its place in a text that nobody has seen.

use std::sync::Arc;

use crate::span::Span;
use crate::tree::{Data, Node};

/// One argument of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Itself, as it was said: `--bind :80`. A scalar of just this text stands for its value.
    pub said: String,
    /// Its value.
    pub value: String,
}

impl Argument {
    /// The argument of a flag.
    pub fn of(flag: &str, value: &str) -> Argument {
        Argument { said: format!("{flag} {value}"), value: value.to_owned() }
    }
}

/// Puts the values of arguments where they stand for them.
pub(crate) fn fill_in(node: &mut Node, name: &Arc<str>, arguments: &[Argument]) {
    node.span = Span::whole(Arc::clone(name));
    match &mut node.data {
        Data::Scalar(text) => {
            if let Some(argument) = arguments.iter().find(|argument| argument.said == *text) {
                node.span = Span::whole(argument.said.as_str());
                text.clone_from(&argument.value);
            }
        }
        Data::Empty => {}
        Data::List(nodes) => nodes.iter_mut().for_each(|node| fill_in(node, name, arguments)),
        Data::Map(entries) => {
            for entry in entries {
                entry.span = Span::whole(Arc::clone(name));
                fill_in(&mut entry.value, name, arguments);
            }
        }
    }
}
