#![no_main]

#[path = "../../crates/config/tests/shared/mod.rs"]
mod shared;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shared::document(bytes));
