//! Canaries, end to end: who sees which version, and who decides it when.

mod cohorts;
mod course;
