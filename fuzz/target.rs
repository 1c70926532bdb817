//! Every target: it hands the bytes to the function that has its name in `src/fuzz.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pollen::fuzz::run(env!("CARGO_BIN_NAME"), data));
