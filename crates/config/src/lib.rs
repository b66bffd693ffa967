//! Text to Spec with spans and diagnostics.
