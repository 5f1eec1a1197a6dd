//! Pictures of the test split that are in the training split, too: as the same file, or encoded anew.

use std::collections::HashSet;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Dataset, Image, ImageSource};
use crate::Result;

/// Pictures whose looks differ in no more bits are taken for one.
const ALIKE: u32 = 8;
/// Looks with fewer bits are those of empty pictures, which tell nothing.
const FEWEST_BITS: u32 = 16;
/// How many levels of grey a place must be lighter than its neighbour: less is noise.
const MARGIN: f64 = 2.0;
/// Places of a look, across and down.
const ACROSS: usize = 17;
const DOWN: usize = 16;
/// Pairs that are named.
const NAMED: usize = 20;

/// Test pictures that are also among those trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOverlap {
    /// Pictures of the test split that are read from files.
    pub test_pictures: usize,
    /// Of these, those that are also in training, byte by byte.
    pub same: usize,
    /// Those that look like one in training: encoded anew, scaled, or a neighbouring slice.
    pub alike: usize,
    /// Some of them: the name in the test split, and that in training.
    pub pairs: Vec<(String, String)>,
}

impl ImageOverlap {
    /// Compares the pictures of the examples `train` and `test` by the SHA-256 of their content, and by
    /// what they look like: a difference hash of 256 bits (Krawetz 2013), of which 8 may differ.
    /// None where no picture of the test split is read from a file.
    pub fn find(dataset: &dyn Dataset, train: &[usize], test: &[usize]) -> Result<Option<Self>> {
        let (train, test) = (prints(dataset, train)?, prints(dataset, test)?);
        if test.is_empty() {
            return Ok(None);
        }
        let twins: Vec<(&Print, &Print)> = test
            .par_iter()
            .filter_map(|of| {
                let same = train.iter().find(|print| print.content == of.content);
                let alike = || train.iter().find(|print| print.look.is_like(&of.look));
                Some((of, same.or_else(alike)?))
            })
            .collect();
        let same = twins.iter().filter(|(test, train)| test.content == train.content).count();
        let pairs = twins.iter().take(NAMED);
        Ok(Some(Self {
            test_pictures: test.len(),
            same,
            alike: twins.len() - same,
            pairs: pairs.map(|(test, train)| (test.name.clone(), train.name.clone())).collect(),
        }))
    }

    /// What a user should know of it, if anything.
    pub fn warning(&self) -> Option<String> {
        let Self { test_pictures, same, alike, pairs } = self;
        let (test, train) = pairs.first()?;
        Some(format!(
            "{same} of {test_pictures} test pictures are also in the training split, and {alike} look \
             like one there ({test} like {train}): what is learnt of a picture in training can answer a \
             question about it in the test"
        ))
    }
}

/// What a picture can be told by.
struct Print {
    name: String,
    content: [u8; 32],
    look: Look,
}

/// The different pictures of some examples, but for those that cannot be read: where such a one is needed
/// it is an error, and where states of it are cached it is not needed.
fn prints(dataset: &dyn Dataset, which: &[usize]) -> Result<Vec<Print>> {
    let mut seen = HashSet::new();
    let mut pictures: Vec<(String, ImageSource)> = Vec::new();
    for &i in which {
        let example = dataset.get(i)?;
        for image in example.images {
            if !image.is_drawn() && seen.insert(image.key()) {
                pictures.push((example.image_name.clone(), image));
            }
        }
    }
    let print = |(name, image): (String, ImageSource)| {
        let (content, picture) = (image.content_hash().ok()?, image.load().ok()?);
        Some(Print { name, content, look: Look::of(&picture) })
    };
    Ok(pictures.into_par_iter().filter_map(print).collect())
}

/// Which places are lighter than their left neighbours.
#[derive(Clone, Copy)]
struct Look([u64; 4]);

impl Look {
    fn of(picture: &Image) -> Self {
        let place = |i: usize, of: usize, side: usize| {
            let start = i * side / of;
            start..((i + 1) * side / of).max(start + 1)
        };
        let mean = |x: usize, y: usize| {
            let (columns, rows) = (place(x, ACROSS, picture.width), place(y, DOWN, picture.height));
            let n = columns.len() * rows.len();
            let pixels = rows.flat_map(|row| {
                let at = |column: usize| 3 * (row * picture.width + column);
                picture.rgb[at(columns.start)..at(columns.end)].chunks_exact(3)
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
        for y in 0..DOWN {
            let row: Vec<f64> = (0..ACROSS).map(|x| mean(x, y)).collect();
            for (x, pair) in row.windows(2).enumerate() {
                let bit = (ACROSS - 1) * y + x;
                bits[bit / 64] |= u64::from(pair[1] > pair[0] + MARGIN) << (bit % 64);
            }
        }
        Self(bits)
    }

    fn is_like(&self, other: &Self) -> bool {
        let count = |bits: &mut dyn Iterator<Item = u64>| bits.map(u64::count_ones).sum::<u32>();
        count(&mut self.0.iter().copied()) >= FEWEST_BITS
            && count(&mut self.0.iter().zip(other.0).map(|(a, b)| a ^ b)) <= ALIKE
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use image::{DynamicImage, ImageFormat, RgbImage};

    use super::*;
    use crate::data::example::tests::example;

    /// Blots of grey, others for every seed.
    fn drawn(seed: u32) -> DynamicImage {
        let wave = |v: u32, k: u32| (f64::from(v * (k + 3)) / 40.0 + f64::from(seed * k)).sin();
        let grey = |x: u32, y: u32| {
            let sum: f64 = (1..4).map(|k| wave(x, k) * wave(y, seed % 5 + k)).sum();
            (128.0 + 40.0 * sum) as u8
        };
        RgbImage::from_fn(120, 96, |x, y| image::Rgb([grey(x, y); 3])).into()
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
    fn copies_are_found_whatever_they_are_called_and_however_they_are_encoded() {
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
        assert_eq!((found.test_pictures, found.same, found.alike), (7, 1, 2), "{found:?}");
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let want =
            [pair("copy.png", "1.png"), pair("encoded.jpg", "2.png"), pair("small.png", "3.png")];
        assert_eq!(found.pairs, want);
        assert!(found.warning().unwrap().starts_with("1 of 7 test pictures are also in"));
        assert_eq!(overlap(dir.path(), &train, &["5.png"]).warning(), None);
    }

    #[test]
    fn drawn_pictures_are_no_files() {
        let picture = Image { width: 1, height: 1, rgb: vec![0; 3] };
        let mut row = example("a", "a");
        row.images = vec![ImageSource::Drawn(picture.into())];
        assert_eq!(ImageOverlap::find(&vec![row], &[0], &[0]).unwrap(), None);
    }
}
