//! `cargo fuzz run requests`, see docs/fuzzing.md.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| adit_fuzz::requests(data));
