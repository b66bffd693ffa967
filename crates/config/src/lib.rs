//! Text to [`Spec`]: reads configuration files and says everything that is wrong with them at once.

pub mod spec;

mod span;

pub use span::{Span, Spanned};
pub use spec::Spec;
