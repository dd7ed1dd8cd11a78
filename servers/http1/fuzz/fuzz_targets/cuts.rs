#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| varvel_http1_fuzz::cuts(data));
