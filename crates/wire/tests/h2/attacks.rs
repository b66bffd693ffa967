//! What peers do to us, and where it ends.
