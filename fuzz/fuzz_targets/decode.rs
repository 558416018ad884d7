//! Any bytes through the decoder: no panic, no record read otherwise than `serde_json` does, no byte lost.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../compactor/tests/it/oracle.rs"]
mod oracle;

fuzz_target!(|object: &[u8]| oracle::check(object));
