//! Text to [`Spec`]: reads configuration files and says everything that is wrong with them at once.
//!
//! The rooms stand in the order in which a document walks:
//!
//! 1. `tree`: YAML or JSON to nodes that know their place; hostile input is bounded.
//! 2. `arguments`, `include`, `set`: what a command line says, further files and overrides merge into the tree.
//! 3. `shape`: the table in `keys` gives nodes their form; `interpolate` fills in the environment; defaults come last.
//! 4. `lower`: shaped values become a [`Spec`], which cannot be wrong in itself.
//!
//! The same table makes [`schema`], [`reference`](reference()), [`effective`] and [`all_keys`]. Nothing here opens a socket, resolves a name or
//! knows the data plane.

pub mod spec;

mod arguments;
mod bypass;
mod content;
mod diagnostics;
mod effective;
mod effective_json;
mod idle;
mod include;
mod interpolate;
mod keys;
mod load;
mod loops;
mod lower;
mod reference;
mod schema;
mod servers;
mod set;
mod shape;
mod span;
mod tree;
mod unread;

pub use arguments::Argument;
pub use content::content;
pub use diagnostics::{Mistake, Mistakes};
pub use effective::effective;
pub use effective_json::effective_json;
pub use keys::{KeyPath, all_keys};
pub use load::{LoadOptions, Loaded, load, load_arguments, load_text};
pub use reference::reference;
pub use schema::schema;
pub use servers::load_servers;
pub use span::{Span, Spanned};
pub use spec::Spec;

#[cfg(test)]
mod tests;
