//! A TIFF file, BigTIFF included. The first byte selects the image options.

#![no_main]

use libfuzzer_sys::fuzz_target;
use normed_fuzz::decode_image;

fuzz_target!(
    |input: &[u8]| decode_image(input, |file| file.starts_with(b"II") || file.starts_with(b"MM"))
);
