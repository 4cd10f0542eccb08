#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| twitcher_fuzz::from_keeper::run(data));
