#![no_main]

#[allow(dead_code, reason = "each target uses its part of what is shared")]
#[path = "../../crates/wire/tests/shared/mod.rs"]
mod shared;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shared::list::text(bytes));
