//! A NIfTI volume, compressed by gzip or not. The first byte selects the image options.

#![no_main]

use libfuzzer_sys::fuzz_target;
use normed_fuzz::decode_image;

fuzz_target!(|input: &[u8]| decode_image(input, |file| {
    file.starts_with(&[0x1f, 0x8b])
        || matches!(file, [92, 1, 0, 0, ..] | [28, 2, 0, 0, ..] | [0, 0, 1 | 2, ..])
}));
