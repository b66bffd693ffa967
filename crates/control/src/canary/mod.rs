//! Canaries: what moves the candidate's share, and why.
//!
//! - [`sample`]: what was counted of the two versions
//! - [`window`]: what was counted of them lately
//! - [`verdict`]: whether the candidate does worse, and whether that may be chance
//! - [`machine`]: the states of a canary, its steps and what an operator can do; without IO, driven by readings and a clock
//! - [`keeper`]: all canaries, by identity: reads the counters, drives the machines, moves the shares, tells the log

pub mod keeper;
pub mod machine;
pub mod sample;
pub mod verdict;
pub mod window;

pub use keeper::{Canaries, Kept, Plan};
pub use machine::{Cause, Command, Entry, Machine, Phase};
pub use sample::{Pair, Sample};
