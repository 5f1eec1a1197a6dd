//! PyTorch's files: a zip archive of a pickle and raw storages.

#![no_main]

use libfuzzer_sys::fuzz_target;
use normed::weights::read_torch;
use normed_fuzz::{HERE, read_all, write};

fuzz_target!(|input: &[u8]| {
    let path = HERE.path().join("weights");
    write(&path, input);
    if let Ok(checkpoint) = read_torch(&path) {
        read_all(&checkpoint);
    }
});
