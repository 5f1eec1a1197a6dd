//! Images of the test split that are also in the training split: as the same pixels, or changed a little.

use std::collections::{BTreeMap, HashMap, HashSet};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::image_identity::hash_of_pixels;
use super::image_look::{Change, Look, LookHashes};
use super::{Dataset, ImageSource};
use crate::Result;

/// How many pairs of a training image and a change are tried for a test image: those with the nearest hashes.
const MAX_CANDIDATES: usize = 32;
/// How many pairs are reported by name.
const MAX_PAIRS: usize = 20;

/// Images of the test split that are also in the training split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOverlap {
    /// Images of the test split that are read from files.
    #[serde(rename = "test_pictures")]
    pub test_images: usize,
    /// How many of these are also in the training split, byte by byte or pixel by pixel.
    #[serde(rename = "same")]
    pub identical: usize,
    /// How many others look like an image there: encoded anew, scaled, mirrored, turned, inverted, cropped by a
    /// few per cent, or a neighboring slice.
    #[serde(rename = "alike")]
    pub similar: usize,
    /// How many of the similar images were changed in which way, such as "mirrored, cropped".
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changes: BTreeMap<String, usize>,
    /// Up to 20 of them: the name in the test split, and the name in the training split.
    pub pairs: Vec<(String, String)>,
}

impl ImageOverlap {
    /// Compares the images of the examples `train` and `test`, each an index of `dataset`.
    ///
    /// Images are identical if the SHA-256 of their content or of their decoded pixels is the same. They are
    /// similar if they correlate once they are laid over one another ([`Look::compare`]). Images that a
    /// generator draws are left out; the result is `None` if there is no other image in the test split.
    ///
    /// Every image is decoded once, which is most of the cost. The training images that come near a test image,
    /// at most 32 for each, are decoded a second time.
    ///
    /// # Errors
    ///
    /// If an example cannot be read.
    pub fn find(dataset: &dyn Dataset, train: &[usize], test: &[usize]) -> Result<Option<Self>> {
        let train = fingerprints(dataset, train, |_| ())?;
        let test = fingerprints(dataset, test, Look::clone)?;
        if test.is_empty() {
            return Ok(None);
        }
        let mut twins = find_identical(&train, &test);
        let identical = twins.iter().flatten().count();
        find_similar(&train, &test, &mut twins);
        let similar = twins.iter().flatten().count() - identical;
        let mut changes = BTreeMap::new();
        for change in twins.iter().flatten().filter_map(|twin| twin.change) {
            *changes.entry(change.to_string()).or_insert(0) += 1;
        }
        let pair = |(test, twin): (&Fingerprint<Look>, &Option<Twin>)| {
            Some((test.name.clone(), train[twin.as_ref()?.train].name.clone()))
        };
        let pairs = test.iter().zip(&twins).filter_map(pair).take(MAX_PAIRS).collect();
        Ok(Some(Self { test_images: test.len(), identical, similar, changes, pairs }))
    }

    /// How many test images are also in the training split, in one clause; none if there are none.
    pub fn headline(&self) -> Option<String> {
        let both = self.identical + self.similar;
        let verb = if both == 1 { "is" } else { "are" };
        (both > 0).then(|| {
            format!("{both} of {} test images {verb} also in the training split", self.test_images)
        })
    }

    /// A warning for the user, if any image is in both splits: the headline, then the details.
    pub fn warning(&self) -> Option<String> {
        let (headline, (test, train)) = (self.headline()?, self.pairs.first()?);
        let mut kinds = vec![format!("{} identical", self.identical)];
        kinds.extend(self.changes.iter().map(|(change, n)| format!("{n} {change}")));
        let example = match test == train {
            true => test.clone(),
            false => format!("{test} and {train}"),
        };
        Some(format!(
            "{headline}: scores may count what was learned by heart ({}; for example {example})",
            kinds.join(", ")
        ))
    }
}

/// What identifies an image: its content, its pixels, and how it looks. `L` is what is kept of its look.
#[derive(Clone)]
pub(super) struct Fingerprint<L> {
    pub name: String,
    source: ImageSource,
    content: [u8; 32],
    pixels: [u8; 32],
    /// None if the image is blank: such images resemble each other by chance.
    hashes: Option<LookHashes>,
    look: L,
}

/// An image of the training split that a test image equals, or was made of by a change.
#[derive(Clone, Copy)]
pub(super) struct Twin {
    pub train: usize,
    change: Option<Change>,
}

/// The fingerprints of the different images of some examples; `keep` says what is kept of a look.
///
/// Images that cannot be read are left out: where one is needed it is an error there, and where its
/// features are cached it is not needed.
pub(super) fn fingerprints<L: Send>(
    dataset: &dyn Dataset,
    examples: &[usize],
    keep: impl Fn(&Look) -> L + Sync,
) -> Result<Vec<Fingerprint<L>>> {
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
    let fingerprint = |(name, source): (String, ImageSource)| {
        let (content, image) = (source.content_hash().ok()?, source.load().ok()?);
        let look = Look::new(&image);
        let hashes = (!look.is_blank()).then(|| look.hashes());
        let (pixels, look) = (hash_of_pixels(&image), keep(&look));
        Some(Fingerprint { name, source, content, pixels, hashes, look })
    };
    Ok(images.into_par_iter().filter_map(fingerprint).collect())
}

/// The twin of each test image with the same content or pixels.
fn find_identical(train: &[Fingerprint<()>], test: &[Fingerprint<Look>]) -> Vec<Option<Twin>> {
    let mut known: HashMap<[u8; 32], usize> = HashMap::new();
    for (i, image) in train.iter().enumerate() {
        known.entry(image.content).or_insert(i);
        known.entry(image.pixels).or_insert(i);
    }
    let twin = |image: &Fingerprint<Look>| {
        let train = known.get(&image.content).or_else(|| known.get(&image.pixels))?;
        Some(Twin { train: *train, change: None })
    };
    test.iter().map(twin).collect()
}

/// Finds twins that look alike for the test images that have none.
pub(super) fn find_similar(
    train: &[Fingerprint<()>],
    test: &[Fingerprint<Look>],
    twins: &mut [Option<Twin>],
) {
    let left: Vec<usize> = (0..test.len()).filter(|&i| twins[i].is_none()).collect();
    let near: Vec<_> = left.par_iter().map(|&i| candidates(train, &test[i])).collect();
    // Sorted by the training image, each of which is decoded once.
    let mut trials: BTreeMap<usize, Vec<(usize, Change)>> = BTreeMap::new();
    for (&i, near) in left.iter().zip(near) {
        for (j, change) in near {
            trials.entry(j).or_default().push((i, change));
        }
    }
    let compare = |(j, trials): (usize, Vec<(usize, Change)>)| -> Vec<(usize, f32, Twin)> {
        // What cannot be read any more looks like nothing.
        let Ok(image) = train[j].source.load() else { return Vec::new() };
        let look = Look::new(&image);
        let compare = |(i, change): (usize, Change)| {
            let (detail, change) = test[i].look.compare(&look, change)?;
            Some((i, detail, Twin { train: j, change: Some(change) }))
        };
        trials.into_iter().filter_map(compare).collect()
    };
    let found: Vec<_> = trials.into_par_iter().flat_map_iter(compare).collect();
    let mut best = vec![0.0; test.len()];
    for (i, detail, twin) in found {
        if detail > best[i] {
            (best[i], twins[i]) = (detail, Some(twin));
        }
    }
}

/// The training images and changes whose hashes are nearest to those of a test image.
fn candidates(train: &[Fingerprint<()>], test: &Fingerprint<Look>) -> Vec<(usize, Change)> {
    if test.hashes.is_none() {
        return Vec::new();
    }
    let changed = Change::ALL.map(|change| test.look.under(change).hashes());
    let mut near: Vec<(u32, usize, usize)> = Vec::new();
    for (j, image) in train.iter().enumerate() {
        let Some(hashes) = &image.hashes else { continue };
        near.extend(
            changed.iter().enumerate().map(|(change, own)| (own.distance(hashes), j, change)),
        );
        if near.len() > 64 * MAX_CANDIDATES {
            keep_nearest(&mut near);
        }
    }
    keep_nearest(&mut near);
    near.into_iter().map(|(_, j, change)| (j, Change::ALL[change])).collect()
}

fn keep_nearest(near: &mut Vec<(u32, usize, usize)>) {
    near.sort_unstable();
    near.truncate(MAX_CANDIDATES);
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
        assert_eq!(found.changes, BTreeMap::from([("nearly the same".to_owned(), 2)]));
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let want =
            [pair("copy.png", "1.png"), pair("encoded.jpg", "2.png"), pair("small.png", "3.png")];
        assert_eq!(found.pairs, want);
        let headline = "3 of 7 test images are also in the training split";
        assert_eq!(found.headline().unwrap(), headline);
        assert_eq!(
            found.warning().unwrap(),
            format!(
                "{headline}: scores may count what was learned by heart (1 identical, 2 nearly the same; for example \
                 copy.png and 1.png)"
            )
        );
        assert_eq!(overlap(dir.path(), &train, &["5.png"]).warning(), None);
    }

    #[test]
    fn changed_images_are_found_and_copies_in_another_format_however_blank() {
        let dir = tempfile::tempdir().unwrap();
        let save =
            |name: &str, picture: &DynamicImage| picture.save(dir.path().join(name)).unwrap();
        for seed in 1..8 {
            save(&format!("{seed}.png"), &drawn(seed));
        }
        let blank: DynamicImage = RgbImage::from_pixel(30, 30, image::Rgb([7; 3])).into();
        save("blank.png", &blank);
        save("blank.bmp", &blank);
        let mut inverted = drawn(5);
        inverted.invert();
        for (name, picture, change) in [
            ("a.png", drawn(1).fliph(), "mirrored"),
            ("b.png", drawn(2).flipv(), "mirrored top to bottom"),
            ("c.png", drawn(3).rotate90(), "rotated by 90 degrees"),
            ("d.png", drawn(4).rotate180(), "rotated by 180 degrees"),
            ("e.png", drawn(5).rotate270(), "rotated by 270 degrees"),
            ("f.png", inverted, "inverted"),
            ("g.png", drawn(6).crop_imm(3, 2, 114, 92), "cropped"),
            ("h.jpg", drawn(7).crop_imm(3, 2, 114, 92).fliph(), "mirrored, cropped"),
        ] {
            save(name, &picture);
            let train = ["1.png", "2.png", "3.png", "4.png", "5.png", "6.png", "7.png"];
            let found = overlap(dir.path(), &train, &[name]);
            assert_eq!((found.identical, found.similar), (0, 1), "{name}");
            assert_eq!(found.changes.keys().next().unwrap(), change, "{name}");
            assert!(found.warning().unwrap().contains(change));
        }
        let found = overlap(dir.path(), &["1.png", "blank.png"], &["blank.bmp", "2.png"]);
        assert_eq!((found.identical, found.similar), (1, 0), "{found:?}");
    }

    #[test]
    fn drawn_images_are_left_out() {
        let picture = crate::data::Image { width: 1, height: 1, rgb: vec![0; 3] };
        let mut row = example("a", "a");
        row.images = vec![ImageSource::Drawn(picture.into())];
        assert_eq!(ImageOverlap::find(&vec![row], &[0], &[0]).unwrap(), None);
    }
}
