//! Files of many formats and kinds against Pillow, tifffile and numpy (goldens by
//! reference/make_image_format_goldens.py).

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use normed::data::{Image, ImageOptions, OrientationUse, SliceIndex, Window};
use safetensors::SafeTensors;
use serde_json::Value;

#[path = "data_common/mod.rs"]
mod common;
use common::golden;

/// The options of a case.
fn options(case: &Value) -> ImageOptions {
    let number = |value: &Value| value.as_f64().unwrap() as f32;
    ImageOptions {
        window: match &case["window"] {
            Value::Null => Window::Header,
            Value::Array(at) => Window::At { center: number(&at[0]), width: number(&at[1]) },
            name => Window::NAMED.iter().find(|(known, _)| name == known).unwrap().1,
        },
        frame: case["frame"].as_u64().map_or(SliceIndex::Middle, |n| SliceIndex::At(n as usize)),
        orientation: match case["orientation"].as_str() {
            None => OrientationUse::Apply,
            Some(_) => OrientationUse::Ignore,
        },
        ..ImageOptions::default()
    }
}

/// Calls `check` with each entry of the metadata under `key`: its name and its value.
fn for_each(key: &str, mut check: impl FnMut(&SafeTensors<'_>, &str, &Value)) {
    let bytes = fs::read(golden("image_formats.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let goldens = SafeTensors::deserialize(&bytes).unwrap();
    let entries: Value = serde_json::from_str(&header.metadata().as_ref().unwrap()[key]).unwrap();
    for (name, entry) in entries.as_object().unwrap() {
        check(&goldens, name, entry);
    }
}

#[test]
fn pixels_are_those_of_the_reference() {
    let dir = tempfile::tempdir().unwrap();
    let mut count = 0;
    for_each("cases", |goldens, name, case| {
        let file = goldens.tensor(&format!("{}.file", case["file"].as_str().unwrap())).unwrap();
        let expected = goldens.tensor(&format!("{name}.rgb")).unwrap();
        let path = dir.path().join("file");
        fs::write(&path, file.data()).unwrap();
        let options = options(case);
        let header = Image::check_header(&path, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        let image = Image::decode(&path, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!([image.height, image.width, 3], expected.shape(), "{name}");
        assert_eq!((header.width, header.height), (image.width, image.height), "{name}");
        assert_eq!(!header.remarks.is_empty(), is_remarked(name), "{name}: {:?}", header.remarks);
        let off = image.rgb.iter().zip(expected.data()).map(|(a, b)| a.abs_diff(*b));
        let worst = u64::from(off.max().unwrap());
        assert!(worst <= case["off"].as_u64().unwrap(), "{name}: off by {worst} of 255");
        count += 1;
    });
    assert!(count > 100, "{count} cases");
}

/// Whether the user is told how a file is read: turned by EXIF, or stretched to its smallest and largest value.
fn is_remarked(name: &str) -> bool {
    let turned = name.starts_with("turned_") && !name.ends_with(".tiff") && name != "turned_1.jpg";
    let stretched = ["float_", "int_", "not_a_number"];
    turned || stretched.iter().any(|start| name.starts_with(start))
}

/// What cannot be decoded is refused by its header already.
#[test]
fn files_that_are_not_read_are_refused_by_their_header() {
    let dir = tempfile::tempdir().unwrap();
    for_each("refused", |goldens, name, cause| {
        let file = goldens.tensor(&format!("{name}.file")).unwrap();
        let path = dir.path().join("file");
        fs::write(&path, file.data()).unwrap();
        let options = ImageOptions::default();
        for error in [
            Image::check_header(&path, &options).unwrap_err(),
            Image::decode(&path, &options).unwrap_err(),
        ] {
            assert_eq!(error.exit_code(), 2);
            assert!(error.cause().contains(cause.as_str().unwrap()), "{name}: {error}");
        }
    });
}

/// Files with some bytes changed, and files cut short, are images or errors, never panics of this library.
///
/// A panic of a decoder crate becomes an error of the file.
#[test]
fn damaged_files_never_panic() {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.location().is_some_and(|at| at.file().contains("crates/normed")) {
            PANICKED.store(true, Ordering::Relaxed);
            hook(panic);
        }
    }));
    let mut state = 1_u64;
    let mut random = move |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % n
    };
    for_each("cases", |goldens, name, case| {
        let file = goldens.tensor(&format!("{}.file", case["file"].as_str().unwrap())).unwrap();
        let options = options(case);
        for round in 0..40 {
            let mut bytes = file.data().to_vec();
            if round % 4 == 0 {
                bytes.truncate(random(bytes.len()));
            } else {
                for _ in 0..3 {
                    // Headers are where a change tells most.
                    let end = if round % 4 == 1 { bytes.len() } else { bytes.len().min(300) };
                    bytes[random(end)] = random(256) as u8;
                }
            }
            if let Ok(image) = Image::from_bytes(&bytes, &options) {
                assert_eq!(image.rgb.len(), 3 * image.width * image.height, "{name}");
            }
            assert!(!PANICKED.load(Ordering::Relaxed), "{name}: {bytes:?}");
        }
    });
}
