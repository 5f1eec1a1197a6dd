//! Decoded images against Pillow's, pixel values against transformers' `BlipImageProcessorPil`
//! (goldens by reference/make_image_goldens.py).

use std::fs;
use std::path::Path;

use normed::data::{Image, ImageOptions, ImageProcessor};
use normed::models::{Fit, SquareProcessor};
use safetensors::{SafeTensors, tensor::TensorView};

#[path = "data_common/mod.rs"]
mod common;
use common::golden;

fn picture(view: &TensorView<'_>) -> Image {
    let &[height, width, 3] = view.shape() else { panic!("{:?}", view.shape()) };
    Image { width, height, rgb: view.data().to_vec() }
}

fn floats(view: &TensorView<'_>) -> Vec<f32> {
    view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The largest difference in levels of 255, before normalization.
fn difference(rule: &SquareProcessor, ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let plane = ours.len() / 3;
    let off = |i: usize| (ours[i] - theirs[i]).abs() * rule.image_std[i / plane] * 255.0;
    (0..ours.len()).map(off).fold(0.0, f32::max)
}

#[test]
fn pixel_values_are_blip_image_processors() {
    let bytes = fs::read(golden("image_rule.safetensors")).unwrap();
    let goldens = SafeTensors::deserialize(&bytes).unwrap();
    for n in 0..7 {
        let source = picture(&goldens.tensor(&format!("{n}.picture")).unwrap());
        let expected = goldens.tensor(&format!("{n}.pixel_values")).unwrap();
        let rule = SquareProcessor { size: expected.shape()[1], ..SquareProcessor::blip() };
        let worst = difference(&rule, &rule.apply(&source), &floats(&expected));
        assert!(worst < 1e-3, "{}x{}: off by {worst} of 255", source.width, source.height);
    }
}

#[test]
fn pixel_values_are_clips_and_llavas() {
    let bytes = fs::read(golden("clip_rule.safetensors")).unwrap();
    let goldens = SafeTensors::deserialize(&bytes).unwrap();
    for n in 0..11 {
        let source = picture(&goldens.tensor(&format!("{n}.picture")).unwrap());
        for (name, fit) in [("crop", Fit::Crop), ("pad", Fit::Pad)] {
            let expected = goldens.tensor(&format!("{n}.{name}")).unwrap();
            let rule =
                SquareProcessor { size: expected.shape()[1], fit, ..SquareProcessor::clip() };
            let worst = difference(&rule, &rule.apply(&source), &floats(&expected));
            assert!(worst < 1e-3, "{n}, {name}: off by {worst} of 255");
        }
    }
}

/// The image that reference/make_image_goldens.py draws by formula.
fn drawn(height: usize, width: usize) -> Image {
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            rgb.extend((0..3).map(|c| (x * x / 7 + y * (c + 3) + ((x * y) >> 5) + 31 * c) as u8));
        }
    }
    Image { width, height, rgb }
}

#[test]
fn a_large_image_at_384_pixels() {
    let bytes = fs::read(golden("image_rule.safetensors")).unwrap();
    let goldens = SafeTensors::deserialize(&bytes).unwrap();
    let rule = SquareProcessor::blip();
    let values = rule.apply(&drawn(701, 533));
    let mut every_16th = Vec::new();
    for c in 0..3 {
        for y in (0..384).step_by(16) {
            every_16th.extend((0..384).step_by(16).map(|x| values[(c * 384 + y) * 384 + x]));
        }
    }
    let expected = floats(&goldens.tensor("drawn.pixel_values").unwrap());
    let worst = difference(&rule, &every_16th, &expected);
    assert!(worst < 1e-3, "off by {worst} of 255");
}

#[test]
fn all_formats_and_modes_become_rgb() {
    let bytes = fs::read(golden("image_files.safetensors")).unwrap();
    let goldens = SafeTensors::deserialize(&bytes).unwrap();
    let mut names = goldens.names();
    names.sort_unstable();
    assert_eq!(names.len(), 14);
    for name in names {
        let expected = picture(&goldens.tensor(name).unwrap());
        let ours =
            Image::decode(&golden("image_files").join(name), &ImageOptions::default()).unwrap();
        assert_eq!((ours.width, ours.height), (expected.width, expected.height), "{name}");
        let off = ours.rgb.iter().zip(&expected.rgb).map(|(a, b)| a.abs_diff(*b));
        let worst = off.max().unwrap();
        eprintln!("{name}: off by {worst} of 255");
        // JPEG decoders may round the inverse cosine transform and the colors differently.
        let lossy = name.ends_with(".jpg") && name != "a_png_called.jpg";
        assert!(worst <= if lossy { 4 } else { 0 }, "{name}: off by {worst} of 255");
    }
}

fn refused(path: &Path) -> String {
    let error = Image::decode(path, &ImageOptions::default()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    assert!(text.starts_with(path.to_str().unwrap()), "{text}");
    text
}

#[test]
fn broken_files_are_errors_with_path_and_cause() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scan.png");
    assert!(refused(&path).contains("no such file"));
    for (content, cause) in [
        (b"".as_slice(), "not a supported image"),
        (b"<html>404</html>", "not a supported image"),
        (b"GIF89a\x01\0\x01\0\0\0\0;", "cannot be decoded"),
    ] {
        fs::write(&path, content).unwrap();
        assert!(refused(&path).contains(cause), "{}", refused(&path));
    }
    // Cut short, in every format.
    for name in [
        "rgb.jpg",
        "gray.jpg",
        "progressive.jpg",
        "cmyk.jpg",
        "palette.png",
        "deep.png",
        "rgb.bmp",
        "gray.tiff",
    ] {
        let whole = fs::read(golden("image_files").join(name)).unwrap();
        // All pixels of a PNG may be there without its last 21 bytes, the end chunk and checksums.
        for keep in [whole.len() / 3, whole.len() * 3 / 4, whole.len() - 24] {
            fs::write(&path, &whole[..keep]).unwrap();
            let decoded = Image::decode(&path, &ImageOptions::default());
            assert!(decoded.is_err(), "{name}: {keep} of {} bytes", whole.len());
        }
    }
}

#[test]
fn a_small_file_cannot_fill_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bomb.png");
    // A PNG header that claims 100,000 x 100,000 pixels; its checksum is right.
    let mut header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    header.extend([0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0, 8, 2, 0, 0, 0]);
    header.extend(crc32(&header[12..]).to_be_bytes());
    fs::write(&path, header).unwrap();
    assert!(refused(&path).contains("limit"), "{}", refused(&path));
    assert!(Image::check_header(&path, &ImageOptions::default()).is_err());
}

/// PNG's checksum.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[test]
fn damaged_files_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("damaged");
    let mut state = 1_u64;
    for file in fs::read_dir(golden("image_files")).unwrap() {
        let whole = fs::read(file.unwrap().path()).unwrap();
        for _ in 0..60 {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = (state >> 25) as u8;
            }
            fs::write(&path, bytes).unwrap();
            let _ = Image::decode(&path, &ImageOptions::default());
        }
    }
}
