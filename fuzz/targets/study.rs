//! A study file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use normed::study::Study;
use normed_fuzz::{HERE, abort_at_own_panics, write};

fuzz_target!(|input: &[u8]| {
    abort_at_own_panics();
    let path = HERE.path().join("study.toml");
    write(&path, input);
    let _ = Study::open(&path, &[]);
});
