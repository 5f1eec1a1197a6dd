//! DICOM and NIfTI files as images: against pixels computed from what pydicom and nibabel wrote
//! (reference/make_medical_image_goldens.py), and against files that lie.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use normed::data::{Axis, Image, ImageOptions, SliceIndex, Window};
use safetensors::SafeTensors;
use serde_json::Value;

#[path = "data_common/mod.rs"]
mod common;
use common::golden;

/// How a case of medical.json is looked at.
fn view(case: &Value) -> ImageOptions {
    let pick =
        |key: &str| case[key].as_u64().map_or(SliceIndex::Middle, |n| SliceIndex::At(n as usize));
    let number = |value: &Value| value.as_f64().unwrap() as f32;
    ImageOptions {
        window: match &case["window"] {
            Value::Null => Window::Header,
            Value::Array(at) => Window::At { center: number(&at[0]), width: number(&at[1]) },
            name => Window::NAMED.iter().find(|(known, _)| name == known).unwrap().1,
        },
        frame: pick("frame"),
        axis: match case["axis"].as_str() {
            None | Some("axial") => Axis::Axial,
            Some("coronal") => Axis::Coronal,
            Some("sagittal") => Axis::Sagittal,
            Some(other) => panic!("{other}"),
        },
        slice: pick("slice"),
        ..ImageOptions::default()
    }
}

fn file(name: &str) -> Vec<u8> {
    fs::read(golden("medical").join(name)).unwrap()
}

/// Decodes the cases of the folder `name`, `count` of them, and compares their pixels with the expected ones.
fn check_cases(folder: &str, name: &str, count: usize) {
    let read = |file: String| fs::read(golden(folder).join(file)).unwrap();
    let cases: BTreeMap<String, Value> =
        serde_json::from_slice(&read(format!("{name}.json"))).unwrap();
    let expected = read(format!("{name}.safetensors"));
    let expected = SafeTensors::deserialize(&expected).unwrap();
    assert_eq!(cases.len(), count);
    let mut wrong = Vec::new();
    for (name, case) in &cases {
        let path = golden(folder).join(case["file"].as_str().unwrap());
        let (view, expected) = (view(case), expected.tensor(name).unwrap());
        let header = Image::check_header(&path, &view);
        let (header, picture) = match header.and_then(|h| Ok((h, Image::decode(&path, &view)?))) {
            Ok(both) => both,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        // In memory there is no second file.
        if !is_half(&path) {
            let of_memory = Image::from_bytes(&fs::read(&path).unwrap(), &view).unwrap();
            assert_eq!(picture, of_memory, "{name}");
        }
        assert_eq!([picture.height, picture.width], expected.shape()[..2], "{name}");
        assert_eq!([picture.height, picture.width], [header.height, header.width], "{name}");
        let channels = expected.shape().get(2).copied().unwrap_or(1);
        let levels = picture.rgb.chunks_exact(3).flat_map(|pixel| match channels {
            1 => {
                assert!(pixel[0] == pixel[1] && pixel[1] == pixel[2], "{name} is gray");
                &pixel[..1]
            }
            _ => pixel,
        });
        let worst = levels.zip(expected.data()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        eprintln!("{name}: off by {worst} of 255");
        if worst > tolerance(name) {
            wrong.push(format!("{name}: off by {worst} of 255"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// By how many levels a case may differ: JPEG decoders may round the inverse cosine transform differently.
fn tolerance(case: &str) -> u8 {
    match case {
        "baseline" | "jfif_called_rgb" | "jfif_called_ybr" | "ybr_without_markers" => 2,
        "sampled_called_rgb" | "sampled_called_rgb_without_markers" => 3,
        "ybr_jpeg" => 4,
        _ => 1,
    }
}

#[test]
fn pixels_are_those_of_the_formulas() {
    check_cases("medical", "medical", 84);
}

#[test]
fn files_as_programs_write_them_are_read() {
    check_cases("medical_variants", "variants", 155);
}

#[track_caller]
fn refused(bytes: &[u8], cause: &str) {
    refused_as(bytes, &ImageOptions::default(), cause);
}

#[track_caller]
fn refused_as(bytes: &[u8], view: &ImageOptions, cause: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scan");
    fs::write(&path, bytes).unwrap();
    let error = Image::decode(&path, view).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    assert!(text.starts_with(path.to_str().unwrap()) && text.contains(cause), "{text}");
}

/// The file `name` with its element `tag` of explicit length holding `value` instead, which is as long.
fn with(name: &str, tag: [u8; 4], value: &[u8]) -> Vec<u8> {
    let mut bytes = file(name);
    // A length of 2 and a value of 16 look like a tag; what follows them does not look like a kind of value.
    let is_element = |w: &[u8]| w[..4] == tag && w[4..].iter().all(u8::is_ascii_uppercase);
    let at = bytes.windows(6).rposition(is_element).unwrap();
    let length = u16::from_le_bytes([bytes[at + 6], bytes[at + 7]]);
    assert_eq!(usize::from(length), value.len());
    bytes[at + 8..][..value.len()].copy_from_slice(value);
    bytes
}

const ROWS: [u8; 4] = [0x28, 0, 0x10, 0];
const COLUMNS: [u8; 4] = [0x28, 0, 0x11, 0];

#[test]
fn a_dicom_file_with_a_false_header_is_an_error() {
    refused(&with("ct.dcm", ROWS, &[0, 0]), "has 26 x 0 pixels");
    refused(&with("ct.dcm", ROWS, &[0xff, 0xff]), "beyond the limit of 16384 a side");
    refused(
        &with("ct.dcm", COLUMNS, &[0, 0x10]),
        "is cut short: its pixels should have 172032 bytes, and 1092 are left",
    );
    for (name, cause) in [
        ("rle.dcm", "RLE frame is cut short"),
        ("lossless_16.dcm", "another size than the file's header states"),
        ("j2k.dcm", "another size than the file's header states"),
    ] {
        let mut bytes = with(name, ROWS, &[0, 0x20]);
        let at = bytes.windows(4).rposition(|window| window == COLUMNS).unwrap();
        bytes[at + 8..at + 10].copy_from_slice(&[0, 0x20]);
        refused(&bytes, cause);
    }
    // 10^9 frames, and as many bytes of text as the file had before.
    let frames = with("frames.dcm", [0x28, 0, 8, 0], b"5 ");
    refused(
        &with("frames.dcm", [0x28, 0, 8, 0], b"9 "),
        "is cut short: its pixels should have 864 bytes, and 480 are left",
    );
    let at = frames.windows(4).rposition(|window| window == [0x28, 0, 8, 0]).unwrap();
    let mut more = frames[..at + 6].to_vec();
    more.extend([10, 0]);
    more.extend(b"1000000000");
    more.extend(&frames[at + 10..]);
    refused(&more, "claims 1000000000 frames");
    refused(&with("frames.dcm", [0x28, 0, 8, 0], b"x "), "NumberOfFrames is `x`, not a number");
    let view = ImageOptions { frame: SliceIndex::At(5), ..ImageOptions::default() };
    refused_as(&file("frames.dcm"), &view, "has no frame 5: its frames are 0 to 4");

    // An element that claims four gigabytes.
    let whole = file("ct.dcm");
    let mut bytes = whole.clone();
    let at = bytes.windows(4).rposition(|window| window == [0xe0, 0x7f, 0x10, 0]).unwrap();
    bytes[at + 8..at + 12].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff]);
    refused(&bytes, "(7fe0,0010) should have 4294967294 bytes, and 1092 are left");
    refused(&whole[..whole.len() - 1], "is cut short");
    refused(&whole[..at + 3], "ends early");
    refused(&whole[..at], "has no pixels");
    refused(&whole[..132], "has no pixels");
    for name in ["rle.dcm", "baseline.dcm", "lossless_12.dcm", "j2k.dcm", "fragments.dcm"] {
        let whole = file(name);
        for keep in 132..whole.len() {
            let decoded = Image::from_bytes(&whole[..keep], &ImageOptions::default());
            assert!(decoded.is_err(), "{name}: {keep} of {} bytes", whole.len());
        }
    }
}

#[test]
fn what_is_not_read_of_dicom_is_named_with_a_remedy() {
    let syntax = |uid: &[u8]| with("j2k.dcm", [2, 0, 0x10, 0], uid);
    refused(&syntax(b"1.2.840.10008.1.2.4.99"), "compressed by JPEG 2000 Part 2");
    refused(&syntax(b"1.2.840.10008.1.2.4.99"), "gdcmconv --raw");
    refused(&syntax(b"1.2.840.10008.1.2.4.80"), "it does not start as JPEG does");
    let bytes = file("palette_8.dcm");
    let at = bytes.windows(4).rposition(|window| window == [0x28, 0, 2, 0x12]).unwrap();
    let mut without = bytes.clone();
    without[at + 2] = 9; // the green table is called something else
    refused(&without, "is PALETTE COLOR, but has no color tables");
    refused(
        &with("eight.dcm", [0x28, 0, 4, 0], b"MONOCHROMEX "),
        "PhotometricInterpretation is MONOCHROMEX",
    );
    refused(&with("eight.dcm", [0x28, 0, 2, 0], &[3, 0]), "is MONOCHROME2 with 3 samples a pixel");
    refused(&with("ct.dcm", [0x28, 0, 0, 1], &[12, 0]), "take 12 bits");
    refused(&with("ct.dcm", [0x28, 0, 1, 1], &[13, 0]), "BitsStored 13 and HighBit 11");
    refused(&with("sigmoid.dcm", [0x28, 0, 0x56, 0x10], b"SIGMOID2"), "VOILUTFunction is SIGMOID2");
}

#[test]
fn video_colors_without_compression_are_refused_by_name() {
    let mut bytes = fs::read(golden("medical_variants").join("ybr_partial_422.dcm")).unwrap();
    let at = bytes.windows(15).position(|window| window == b"YBR_PARTIAL_422").unwrap();
    bytes[at + 14] = b'0';
    refused(
        &bytes,
        "is YBR_PARTIAL_420 without compression, which is not supported; convert it to RGB",
    );
}

/// A DICOM file of the class `uid` without pixels: its class in the file meta information, in the data set, or both.
fn without_pixels(uid: &str, [in_meta, in_data_set]: [bool; 2], elements: &[u8]) -> Vec<u8> {
    let element = |tag: [u8; 4], kind: &[u8; 2], text: &str| {
        let padded = format!("{text}{}", if text.len() % 2 == 1 { "\0" } else { "" });
        let length = (padded.len() as u16).to_le_bytes();
        [tag.as_slice(), kind, &length, padded.as_bytes()].concat()
    };
    let class = |tag, is_there: bool| if is_there { element(tag, b"UI", uid) } else { Vec::new() };
    [
        [0; 128].as_slice(),
        b"DICM",
        &class([2, 0, 2, 0], in_meta),
        &element([2, 0, 0x10, 0], b"UI", "1.2.840.10008.1.2.1"),
        &class([8, 0, 0x16, 0], in_data_set),
        elements,
    ]
    .concat()
}

#[test]
fn dicom_objects_without_pixels_are_named() {
    let modality = b"\x08\0\x60\0CS\x02\0OT";
    for (uid, kind) in [
        ("1.2.840.10008.1.3.10", "a DICOMDIR, which lists other files"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "a key object selection"),
        ("1.2.840.10008.5.1.4.1.1.88.11", "a structured report"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "a structured report"),
        ("1.2.840.10008.5.1.4.1.1.481.3", "an RT structure set"),
        ("1.2.840.10008.5.1.4.1.1.481.5", "an RT plan"),
        ("1.2.840.10008.5.1.4.1.1.481.4", "an RT object"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "an encapsulated PDF"),
        ("1.2.840.10008.5.1.4.1.1.104.2", "an encapsulated document"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "a presentation state"),
        ("1.2.840.10008.5.1.4.1.1.9.1.1", "a waveform"),
        ("1.2.840.10008.5.1.4.1.1.4.2", "MR spectroscopy"),
        ("1.2.840.10008.5.1.4.1.1.66.1", "a spatial registration"),
        ("1.2.840.10008.5.1.4.1.1.66.2", "spatial fiducials"),
        ("1.2.840.10008.5.1.4.1.1.66.5", "a surface segmentation"),
        ("1.2.840.10008.5.1.4.1.1.66", "raw data"),
    ] {
        for places in [[true, true], [true, false], [false, true]] {
            let cause = format!("is no image, but {kind}; name the file of an image in its row");
            refused(&without_pixels(uid, places, modality), &cause);
        }
    }
    // Nothing but the records of a DICOMDIR tell what it is.
    let records = b"\x04\0\x20\x12SQ\0\0\0\0\0\0";
    refused(
        &without_pixels("", [false, false], records),
        "but a DICOMDIR, which lists other files",
    );
    refused(
        &without_pixels("1.2.3", [true, true], modality),
        "it is an object of modality OT; name",
    );
    refused(
        &without_pixels("1.2.3", [true, true], b""),
        "has no pixels (7FE0,0010); name the file",
    );
}

/// The file `name` with other bytes from `at` on.
fn changed(name: &str, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file(name);
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

#[test]
fn a_volume_with_a_false_header_is_an_error() {
    refused(&changed("ras.nii", 42, &[0, 0]), "has 0 x 6 x 7 voxels");
    let largest = [0xff, 0x7f, 0xff, 0x7f, 0xff, 0x7f];
    refused(&changed("ras.nii", 42, &largest), "has 32767 x 32767 x 32767 voxels");
    let large = [0, 0x40, 0, 0x40, 0, 0x40];
    refused(&changed("ras.nii", 42, &large), "has slices of 16384 x 16384 pixels");
    // Of this the coronal slice is one row of 16384 pixels.
    let coronal = ImageOptions { axis: Axis::Coronal, ..ImageOptions::default() };
    let flat = [0, 0x40, 0, 0x40, 1, 0];
    let mut bytes = changed("ras.nii", 42, &flat);
    bytes[70..72].copy_from_slice(&[64, 0]); // float64
    refused_as(&bytes, &coronal, "has planes of 16384 x 16384 voxels");
    refused(&changed("ras.nii", 42, &[0, 0x10, 0, 0x10, 0, 0x10]), "is cut short");
    refused(&changed("ras.nii", 42, &[0xff, 0xff]), "has -1 x 6 x 7 voxels");
    refused(&changed("ras.nii", 40, &[9, 0]), "has 9 dimensions");
    refused(&changed("ras.nii", 70, &[32, 0]), "its voxels are complex numbers (datatype 32)");
    refused(&changed("ras.nii", 108, &f32::NAN.to_le_bytes()), "its voxels start at byte NaN");
    refused(&changed("ras.nii", 108, &1e12_f32.to_le_bytes()), "is cut short");
    refused(&changed("ras.nii", 344, b"ni1\0"), "is the header of a pair of files");
    refused(&changed("ras.nii", 280, &[0; 16]), "its affine matrix is singular");
    refused(&changed("ras.nii", 280, &f32::NAN.to_le_bytes()), "its affine matrix is singular");
    refused(&changed("rotated_q.nii", 256, &2.0_f32.to_le_bytes()), "is not a rotation");
    refused(
        &changed("scaled.nii", 116, &f32::INFINITY.to_le_bytes()),
        "scl_inter is not a finite number",
    );
    let whole = file("ras.nii");
    let middle = 352 + 3 * 30 * 2;
    refused(&whole[..middle + 59], "is cut short");
    assert!(Image::from_bytes(&whole[..middle + 60], &ImageOptions::default()).is_ok());
    refused(&whole[..351], "is cut short");
    let view = ImageOptions { slice: SliceIndex::At(7), ..ImageOptions::default() };
    refused_as(&whole, &view, "has no slice 7: its slices are 0 to 6");

    // What follows the slice is not read.
    let gzipped = file("float.nii.gz");
    let whole = Image::from_bytes(&gzipped, &ImageOptions::default());
    for keep in 2..gzipped.len() {
        let cut = Image::from_bytes(&gzipped[..keep], &ImageOptions::default());
        assert!(cut.is_err() || keep > gzipped.len() / 2 && cut == whole, "{keep}");
    }
    // An empty stream.
    let empty = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    refused(&empty, "is cut short");
}

#[test]
fn a_check_finds_what_a_slice_lacks() {
    let check = |name: &str| {
        Image::check_header(&golden("medical_variants").join(name), &ImageOptions::default())
    };
    let remarks =
        |name: &str| check(name).unwrap().remarks.iter().map(|remark| remark.0).collect::<Vec<_>>();
    assert!(remarks("nifti_nan.nii")[0].contains("NaN or infinite"));
    assert!(remarks("nifti_two.nii").is_empty());
    assert!(remarks("window_0.dcm")[0].contains("a window that is not valid"));
    assert!(remarks("jfif_called_rgb.dcm")[0].contains("that their JPEG data contradict"));
    assert!(remarks("bare_explicit.dcm")[0].contains("no transfer syntax"));
    // Volumes that are not compressed are measured; so are frames.
    let dir = tempfile::tempdir().unwrap();
    // So are compressed ones, of whole numbers too.
    let half = file("uint16.nii.gz").len() / 2;
    for (name, keep) in
        [("ras.nii", 500), ("uint16.nii.gz", half), ("rle.dcm", 900), ("fragments.dcm", 1200)]
    {
        let path = dir.path().join(name);
        fs::write(&path, &file(name)[..keep]).unwrap();
        let cause = Image::check_header(&path, &ImageOptions::default()).unwrap_err();
        assert!(cause.to_string().contains("cut short"), "{cause}");
    }
}

#[test]
fn damaged_files_never_panic() {
    let mut state = 1_u64;
    let folders =
        ["medical", "medical_variants"].map(|folder| fs::read_dir(golden(folder)).unwrap());
    for entry in folders.into_iter().flatten() {
        let path = entry.unwrap().path();
        if !is_picture(&path) {
            continue;
        }
        let whole = fs::read(path).unwrap();
        for round in 0..60 {
            let mut bytes = whole.clone();
            for _ in 0..1 + round % 4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = (state >> 25) as u8;
            }
            let _ = Image::from_bytes(&bytes, &ImageOptions::default());
        }
    }
}

/// Whether a file is one of a pair.
fn is_half(path: &Path) -> bool {
    let name = path.to_str().unwrap();
    [".hdr", ".img", ".hdr.gz", ".img.gz"].iter().any(|end| name.ends_with(end))
}

fn is_picture(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "dcm" || end == "nii" || end == "gz")
}
