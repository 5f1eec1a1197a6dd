//! An image file: DICOM, NIfTI or one of the common formats. The first byte selects the image options.

#![no_main]

use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use normed::data::{Axis, Image, ImageOptions, SliceIndex, Window};

static HOOK: Once = Once::new();

fuzz_target!(|input: &[u8]| {
    // The library turns a decoder's panic into an error, and libFuzzer's hook would end the process at it.
    // A panic in normed's own code is a crash, although the library catches it too.
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            if panic.location().is_some_and(|at| at.file().contains("crates/normed")) {
                std::process::abort();
            }
        }));
    });
    let Some((how, file)) = input.split_first() else { return };
    if file.ends_with(b"panic on purpose") {
        return; // what the tests of the guard use
    }
    let slice_index = |bit: u8| if how & bit == 0 { SliceIndex::Middle } else { SliceIndex::At(1) };
    let options = ImageOptions {
        window: match how & 3 {
            0 => Window::Header,
            1 => Window::Range,
            2 => Window::Percentiles,
            _ => Window::At { center: 40.0, width: 400.0 },
        },
        frame: slice_index(4),
        axis: match (how >> 3) & 3 {
            0 | 3 => Axis::Axial,
            1 => Axis::Coronal,
            _ => Axis::Sagittal,
        },
        slice: slice_index(32),
    };
    if let Ok(image) = Image::from_bytes(file, &options) {
        assert_eq!(image.rgb.len(), 3 * image.width * image.height);
    }
});
