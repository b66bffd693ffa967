#![no_main]

#[path = "../../crates/net/tests/shared/mod.rs"]
mod shared;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shared::datagrams(bytes));
