#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| twitcher_fuzz::to_keeper::run(data));
