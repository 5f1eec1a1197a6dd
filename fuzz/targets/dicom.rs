//! A DICOM file. The first byte selects the image options.

#![no_main]

use libfuzzer_sys::fuzz_target;
use normed_fuzz::decode_image;

fuzz_target!(|input: &[u8]| decode_image(input, |file| file.get(128..132) == Some(b"DICM")
    || file.starts_with(&[8, 0])));
