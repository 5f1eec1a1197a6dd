//! A picture in a file: DICOM, NIfTI or one of the common formats. The first byte says how it is looked
//! at.

#![no_main]

use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use normed::data::{Axis, ImageOptions, SliceIndex, Image, Window};

static QUIET: Once = Once::new();

fuzz_target!(|input: &[u8]| {
    // The library catches the panics of two decoders, and libFuzzer's hook would end the process at
    // them; what nobody catches still ends it.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let Some((how, file)) = input.split_first() else { return };
    let pick = |bit: u8| if how & bit == 0 { SliceIndex::Middle } else { SliceIndex::At(1) };
    let view = ImageOptions {
        window: match how & 3 {
            0 => Window::Header,
            1 => Window::Range,
            2 => Window::Percentiles,
            _ => Window::At { center: 40.0, width: 400.0 },
        },
        frame: pick(4),
        axis: match (how >> 3) & 3 {
            0 | 3 => Axis::Axial,
            1 => Axis::Coronal,
            _ => Axis::Sagittal,
        },
        slice: pick(32),
    };
    if let Ok(picture) = Image::from_bytes(file, &view) {
        assert_eq!(picture.rgb.len(), 3 * picture.width * picture.height);
    }
});
