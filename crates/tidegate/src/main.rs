//! The binary: flags, signals, demo. It holds no logic of its own.

fn main() {}
