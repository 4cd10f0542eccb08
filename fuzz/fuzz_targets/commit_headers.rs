#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| twitcher_fuzz::commit_headers::run(data));
