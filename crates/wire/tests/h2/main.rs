//! HTTP/2 connections against each other, against attackers, and at the mercy of how bytes arrive.

mod attacks;
mod frames;
mod heads;
mod pair;
mod properties;
mod raw;
mod talk;
