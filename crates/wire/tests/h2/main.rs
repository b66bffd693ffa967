//! HTTP/2 connections against each other, against attackers, and at the mercy of how bytes arrive.

mod attacks;
mod frames;
mod heads;
mod hpack;
mod late;
mod opinions;
mod pair;
mod properties;
mod raw;
mod talk;
mod translated;

#[path = "../shared/mod.rs"]
#[allow(dead_code, reason = "each test binary uses its part of what is shared")]
mod shared;
