#![no_main]

#[path = "../bodies/first_boot.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| body::run(bytes));
