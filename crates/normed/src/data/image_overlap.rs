//! Images of the test split that are also in the training split: as the same file, or encoded anew.

use std::collections::HashSet;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Dataset, Image, ImageSource};
use crate::Result;

/// Two difference hashes that differ in at most this many bits are of similar images.
const MAX_DIFFERENT_BITS: u32 = 8;
/// Difference hashes with fewer bits set are of blank images, which resemble each other by chance.
const MIN_SET_BITS: u32 = 16;
/// Gray levels by which a cell must be lighter than its left neighbor: less is noise.
const MIN_DIFFERENCE: f64 = 2.0;
/// The grid of a difference hash.
const COLUMNS: usize = 17;
const ROWS: usize = 16;
/// How many pairs are reported by name.
const MAX_PAIRS: usize = 20;

/// Images of the test split that are also in the training split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOverlap {
    /// Images of the test split that are read from files.
    #[serde(rename = "test_pictures")]
    pub test_images: usize,
    /// How many of these are also in the training split, byte by byte.
    #[serde(rename = "same")]
    pub identical: usize,
    /// How many others look like an image there: encoded anew, scaled, or a neighboring slice.
    #[serde(rename = "alike")]
    pub similar: usize,
    /// Up to 20 of them: the name in the test split, and the name in the training split.
    pub pairs: Vec<(String, String)>,
}

impl ImageOverlap {
    /// Compares the images of the examples `train` and `test`, each an index of `dataset`.
    ///
    /// Images are identical if the SHA-256 of their content is the same. They are similar if their
    /// difference hashes of 256 bits (Krawetz 2013) differ in at most 8 bits. Images that a generator
    /// draws are left out; the result is `None` if there is no other image in the test split.
    ///
    /// # Errors
    ///
    /// If an example cannot be read.
    pub fn find(dataset: &dyn Dataset, train: &[usize], test: &[usize]) -> Result<Option<Self>> {
        let (train, test) = (fingerprints(dataset, train)?, fingerprints(dataset, test)?);
        if test.is_empty() {
            return Ok(None);
        }
        let twins: Vec<(&Fingerprint, &Fingerprint)> = test
            .par_iter()
            .filter_map(|of| {
                let identical = train.iter().find(|other| other.content == of.content);
                let similar =
                    || train.iter().find(|other| other.difference.is_similar(&of.difference));
                Some((of, identical.or_else(similar)?))
            })
            .collect();
        let identical = twins.iter().filter(|(test, train)| test.content == train.content).count();
        let pairs = twins.iter().take(MAX_PAIRS);
        Ok(Some(Self {
            test_images: test.len(),
            identical,
            similar: twins.len() - identical,
            pairs: pairs.map(|(test, train)| (test.name.clone(), train.name.clone())).collect(),
        }))
    }

    /// A warning for the user, if any image is in both splits.
    pub fn warning(&self) -> Option<String> {
        let Self { test_images, identical, similar, pairs } = self;
        let (test, train) = pairs.first()?;
        Some(format!(
            "{identical} of {test_images} test images are also in the training split, and {similar} \
             look like one there ({test} like {train}). What a model learned about an image in training \
             can answer a test question about it"
        ))
    }
}

/// What identifies an image: its content, and how it looks.
struct Fingerprint {
    name: String,
    content: [u8; 32],
    difference: DifferenceHash,
}

/// The fingerprints of the different images of some examples.
///
/// Images that cannot be read are left out: where one is needed it is an error there, and where its
/// features are cached it is not needed.
fn fingerprints(dataset: &dyn Dataset, examples: &[usize]) -> Result<Vec<Fingerprint>> {
    let mut seen = HashSet::new();
    let mut images: Vec<(String, ImageSource)> = Vec::new();
    for &i in examples {
        let example = dataset.get(i)?;
        for image in example.images {
            if !image.is_drawn() && seen.insert(image.key()) {
                images.push((example.image_name.clone(), image));
            }
        }
    }
    let fingerprint = |(name, image): (String, ImageSource)| {
        let (content, image) = (image.content_hash().ok()?, image.load().ok()?);
        Some(Fingerprint { name, content, difference: DifferenceHash::new(&image) })
    };
    Ok(images.into_par_iter().filter_map(fingerprint).collect())
}

/// Which cells of a grid are lighter than their left neighbors.
#[derive(Clone, Copy)]
struct DifferenceHash([u64; 4]);

impl DifferenceHash {
    fn new(image: &Image) -> Self {
        let cell = |i: usize, of: usize, side: usize| {
            let start = i * side / of;
            start..((i + 1) * side / of).max(start + 1)
        };
        let mean = |x: usize, y: usize| {
            let (columns, rows) = (cell(x, COLUMNS, image.width), cell(y, ROWS, image.height));
            let n = columns.len() * rows.len();
            let pixels = rows.flat_map(|row| {
                let at = |column: usize| 3 * (row * image.width + column);
                image.rgb[at(columns.start)..at(columns.end)].chunks_exact(3)
            });
            // ITU-R BT.601's luma.
            let sum: u64 = pixels
                .map(|rgb| {
                    [299, 587, 114].iter().zip(rgb).map(|(w, &v)| w * u64::from(v)).sum::<u64>()
                })
                .sum();
            sum as f64 / (1000 * n) as f64
        };
        let mut bits = [0; 4];
        for y in 0..ROWS {
            let row: Vec<f64> = (0..COLUMNS).map(|x| mean(x, y)).collect();
            for (x, pair) in row.windows(2).enumerate() {
                let bit = (COLUMNS - 1) * y + x;
                bits[bit / 64] |= u64::from(pair[1] > pair[0] + MIN_DIFFERENCE) << (bit % 64);
            }
        }
        Self(bits)
    }

    fn is_similar(&self, other: &Self) -> bool {
        let count = |bits: &mut dyn Iterator<Item = u64>| bits.map(u64::count_ones).sum::<u32>();
        count(&mut self.0.iter().copied()) >= MIN_SET_BITS
            && count(&mut self.0.iter().zip(other.0).map(|(a, b)| a ^ b)) <= MAX_DIFFERENT_BITS
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use image::{DynamicImage, ImageFormat, RgbImage};

    use super::*;
    use crate::data::example::tests::example;

    /// Gray blots, other ones for every seed.
    fn drawn(seed: u32) -> DynamicImage {
        let wave = |v: u32, k: u32| (f64::from(v * (k + 3)) / 40.0 + f64::from(seed * k)).sin();
        let gray = |x: u32, y: u32| {
            let sum: f64 = (1..4).map(|k| wave(x, k) * wave(y, seed % 5 + k)).sum();
            (128.0 + 40.0 * sum) as u8
        };
        RgbImage::from_fn(120, 96, |x, y| image::Rgb([gray(x, y); 3])).into()
    }

    fn overlap(dir: &Path, train: &[&str], test: &[&str]) -> ImageOverlap {
        let rows = train.iter().chain(test).enumerate().map(|(i, name)| {
            let mut row = example(&i.to_string(), name);
            row.images = vec![ImageSource::File(dir.join(name))];
            row
        });
        let rows: Vec<_> = rows.collect();
        let (train, test): (Vec<usize>, Vec<usize>) =
            (0..rows.len()).partition(|i| *i < train.len());
        ImageOverlap::find(&rows, &train, &test).unwrap().unwrap()
    }

    #[test]
    fn copies_are_found_under_other_names_and_encodings() {
        let dir = tempfile::tempdir().unwrap();
        let save = |name: &str, picture: &DynamicImage, format| {
            picture.save_with_format(dir.path().join(name), format).unwrap();
        };
        for seed in 1..8 {
            save(&format!("{seed}.png"), &drawn(seed), ImageFormat::Png);
        }
        std::fs::copy(dir.path().join("1.png"), dir.path().join("copy.png")).unwrap();
        save("encoded.jpg", &drawn(2), ImageFormat::Jpeg);
        let small = drawn(3).resize(60, 48, image::imageops::FilterType::Triangle);
        save("small.png", &small, ImageFormat::Png);
        for name in ["black.png", "dark.png"] {
            let black = RgbImage::from_pixel(30, 30, image::Rgb([name.len() as u8; 3]));
            save(name, &black.into(), ImageFormat::Png);
        }
        let train = ["1.png", "2.png", "3.png", "4.png", "black.png"];
        let test = ["5.png", "copy.png", "encoded.jpg", "small.png", "6.png", "7.png", "dark.png"];
        let found = overlap(dir.path(), &train, &[&test[..], &test[..2]].concat());
        assert_eq!((found.test_images, found.identical, found.similar), (7, 1, 2), "{found:?}");
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let want =
            [pair("copy.png", "1.png"), pair("encoded.jpg", "2.png"), pair("small.png", "3.png")];
        assert_eq!(found.pairs, want);
        assert!(found.warning().unwrap().starts_with("1 of 7 test images are also in"));
        assert_eq!(overlap(dir.path(), &train, &["5.png"]).warning(), None);
    }

    #[test]
    fn drawn_images_are_left_out() {
        let picture = Image { width: 1, height: 1, rgb: vec![0; 3] };
        let mut row = example("a", "a");
        row.images = vec![ImageSource::Drawn(picture.into())];
        assert_eq!(ImageOverlap::find(&vec![row], &[0], &[0]).unwrap(), None);
    }
}
