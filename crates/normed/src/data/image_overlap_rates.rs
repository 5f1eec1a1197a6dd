//! How often changed copies of images are found, and how often images of different patients are taken for copies:
//! measured on SLAKE and VQA-RAD. `results/image_overlap.md` has the table that this prints.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, load_from_memory_with_format};
use serde_json::Value;

use super::example::tests::example;
use super::image_look::Look;
use super::image_overlap::{Fingerprint, Twin, find_similar, fingerprints};
use super::{Example, ImageSource};
use crate::files::{TABLE_LIMIT, read_text};

/// SLAKE's images whose numbers differ by less may be slices of one volume: it does not name patients.
const SAME_VOLUME: usize = 20;
/// Of this many images, one is changed in every way.
const EVERY: usize = 3;

/// An image and what tells its patient from others.
struct Known {
    path: PathBuf,
    /// The data set and the case; of SLAKE, the number of the image.
    patient: Result<String, usize>,
}

impl Known {
    fn is_other_patient(&self, other: &Self) -> bool {
        match (&self.patient, &other.patient) {
            (Ok(a), Ok(b)) => a != b,
            (Err(a), Err(b)) => a.abs_diff(*b) >= SAME_VOLUME,
            _ => true,
        }
    }
}

fn vqa_rad(root: &Path) -> Vec<Known> {
    let rows = read_text(&root.join("VQA_RAD Dataset Public.json"), TABLE_LIMIT).unwrap();
    let rows: Vec<Value> = serde_json::from_str(&rows).unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let cases: HashMap<String, String> =
        rows.iter().map(|row| (text(row, "image_name"), text(row, "image_case_url"))).collect();
    let folder = root.join("VQA_RAD Image Folder");
    let known = |(name, case)| Known { path: folder.join(name), patient: Ok(case) };
    let mut images: Vec<Known> = cases.into_iter().map(known).collect();
    images.sort_by(|a, b| a.path.cmp(&b.path));
    images
}

fn slake(root: &Path) -> Vec<Known> {
    let known = |number: usize| Known {
        path: root.join(format!("imgs/xmlab{number}/source.jpg")),
        patient: Err(number),
    };
    (0..1000).map(known).filter(|image| image.path.is_file()).collect()
}

fn jpeg(image: &DynamicImage, quality: u8) -> DynamicImage {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(&image.to_rgb8()).unwrap();
    load_from_memory_with_format(&bytes, ImageFormat::Jpeg).unwrap()
}

/// Cuts these parts off: left, top, right, bottom.
fn cut(image: &DynamicImage, parts: [f64; 4]) -> DynamicImage {
    let [left, top, right, bottom] = parts;
    let part = |side: u32, part: f64| (f64::from(side) * part).round() as u32;
    let (width, height) = (image.width(), image.height());
    let (x, y) = (part(width, left), part(height, top));
    image.crop_imm(x, y, width - x - part(width, right), height - y - part(height, bottom))
}

fn inverted(mut image: DynamicImage) -> DynamicImage {
    image.invert();
    image
}

/// A change of an image, and its name.
type ImageChange = (&'static str, fn(&DynamicImage) -> DynamicImage);

const CHANGES: [ImageChange; 16] = [
    ("JPEG, quality 75", |image| jpeg(image, 75)),
    ("JPEG, quality 30", |image| jpeg(image, 30)),
    ("half the size", |image| {
        image.resize_exact(image.width() / 2, image.height() / 2, FilterType::Triangle)
    }),
    ("224 x 224", |image| image.resize_exact(224, 224, FilterType::CatmullRom)),
    ("mirrored left to right", DynamicImage::fliph),
    ("mirrored top to bottom", DynamicImage::flipv),
    ("rotated by 90 degrees", DynamicImage::rotate90),
    ("rotated by 180 degrees", DynamicImage::rotate180),
    ("rotated by 270 degrees", DynamicImage::rotate270),
    ("inverted", |image| inverted(image.clone())),
    ("2 % cut off every side", |image| cut(image, [0.02; 4])),
    ("3 % cut off every side", |image| cut(image, [0.03; 4])),
    ("5 % cut off every side", |image| cut(image, [0.05; 4])),
    ("5 % cut off the left", |image| cut(image, [0.05, 0.0, 0.0, 0.0])),
    ("4 % cut off the left and the top", |image| cut(image, [0.04, 0.04, 0.0, 0.0])),
    ("2 % cut off every side, mirrored, JPEG", |image| jpeg(&cut(image, [0.02; 4]).fliph(), 75)),
];

/// One example for each image file.
fn examples(paths: impl Iterator<Item = PathBuf>) -> Vec<Example> {
    let example = |(i, path): (usize, PathBuf)| {
        let mut row = example(&i.to_string(), &path.display().to_string());
        row.images = vec![ImageSource::File(path)];
        row
    };
    paths.enumerate().map(example).collect()
}

fn prints<L: Send>(
    paths: impl Iterator<Item = PathBuf>,
    keep: impl Fn(&Look) -> L + Sync,
) -> Vec<Fingerprint<L>> {
    let rows = examples(paths);
    let all: Vec<usize> = (0..rows.len()).collect();
    let prints = fingerprints(&rows, &all, keep).unwrap();
    assert_eq!(prints.len(), rows.len(), "an image cannot be read");
    prints
}

#[test]
#[ignore = "needs real data: set NORMED_DATA and run with --include-ignored"]
fn rates_of_changed_copies_and_of_false_alarms_real_data() {
    let data = PathBuf::from(std::env::var_os("NORMED_DATA").expect("NORMED_DATA is not set"));
    let sets = [("VQA-RAD", vqa_rad(&data.join("vqa-rad"))), ("SLAKE", slake(&data.join("slake")))];
    let all: Vec<&Known> = sets.iter().flat_map(|(_, images)| images).collect();
    let began = Instant::now();
    let train = prints(all.iter().map(|image| image.path.clone()), |_| ());
    let milliseconds = 1e3 * began.elapsed().as_secs_f64() / all.len() as f64;
    println!("{} images, {milliseconds:.1} ms each to decode and hash", all.len());

    let dir = tempfile::tempdir().unwrap();
    for (name, change) in CHANGES {
        let mut shares = Vec::new();
        for (_, images) in &sets {
            let chosen: Vec<&Known> = images.iter().step_by(EVERY).collect();
            let copy = |(i, image): (usize, &&Known)| {
                let path = dir.path().join(format!("{i}.png"));
                change(&image::open(&image.path).unwrap()).save(&path).unwrap();
                path
            };
            let copies: Vec<PathBuf> = chosen.iter().enumerate().map(copy).collect();
            let test = prints(copies.into_iter(), Look::clone);
            let mut twins = vec![None; test.len()];
            find_similar(&train, &test, &mut twins);
            let is_found = |(twin, image): &(&Option<Twin>, &&Known)| {
                twin.is_some_and(|twin| train[twin.train].name == image.path.display().to_string())
            };
            let found = twins.iter().zip(&chosen).filter(is_found).count();
            shares.push(format!(
                "{:.1} % of {}",
                100.0 * found as f64 / chosen.len() as f64,
                chosen.len()
            ));
        }
        println!("| {name} | {} |", shares.join(" | "));
    }

    let looks = prints(all.iter().map(|image| image.path.clone()), Look::clone);
    let (began, mut alarms) = (Instant::now(), vec![0; sets.len()]);
    for (i, look) in looks.into_iter().enumerate() {
        let others = train.iter().zip(&all).filter(|(_, image)| image.is_other_patient(all[i]));
        let others: Vec<Fingerprint<()>> = others.map(|(print, _)| print.clone()).collect();
        let mut twins = [None];
        find_similar(&others, &[look], &mut twins);
        if let [Some(twin)] = twins {
            println!("{} is taken for {}", all[i].path.display(), others[twin.train].name);
            alarms[usize::from(i >= sets[0].1.len())] += 1;
        }
    }
    let milliseconds = 1e3 * began.elapsed().as_secs_f64() / all.len() as f64;
    for ((name, images), alarms) in sets.iter().zip(alarms) {
        println!(
            "| {name}: taken for an image of another patient | {alarms} of {} |",
            images.len()
        );
    }
    println!("{milliseconds:.1} ms each to compare with the others");
}
