//! Text to [`Spec`]: reads configuration files and says everything that is wrong with them at once.

pub mod spec;

mod diagnostics;
mod interpolate;
mod keys;
mod shape;
mod span;
mod tree;

pub use diagnostics::{Mistake, Mistakes};
pub use span::{Span, Spanned};
pub use spec::Spec;
