//! A safetensors file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use normed::weights::read_safetensors;
use normed_fuzz::{HERE, read_all, write};

fuzz_target!(|input: &[u8]| {
    let path = HERE.path().join("weights");
    write(&path, input);
    if let Ok(checkpoint) = read_safetensors(&path) {
        read_all(&checkpoint);
    }
});
