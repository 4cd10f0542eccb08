#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| twitcher_fuzz::values::run(data));
