//! The images that a run was begun with, so that it is not continued with others.
//!
//! A record next to the checkpoint has the SHA-256 of every image of the run and the stamp of its file. A resumed
//! run reads only the images whose stamps differ.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::directory::RunDirectory;
use super::splits::Splits;
use crate::data::{ImageKey, ImageSource};
use crate::files::{FileStamp, TABLE_LIMIT, hex, read_text, write_atomically};
use crate::{Error, Result};

/// The images of a run.
pub(super) struct ImageRecord {
    /// The data set's fingerprint: the numbers of images are those of this data.
    data: String,
    /// By the number of the image in the data set, in the order in which examples first show it.
    images: HashMap<usize, RecordedImage>,
}

/// An image as it was when the run began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct RecordedImage {
    number: usize,
    name: String,
    sha256: String,
    /// None where the image has no file of its own, or had changed a moment before.
    stamp: Option<FileStamp>,
}

/// An image of the run that is to be recorded.
struct Needed {
    number: usize,
    source: ImageSource,
    /// Whether the image is trained on, or chooses the best checkpoint.
    is_learned_from: bool,
}

impl ImageRecord {
    /// Records the images of the run in `directory`, and returns the SHA-256, in hexadecimal, over those that it
    /// learns from. Test images are recorded if the run `evaluates_test`.
    ///
    /// # Errors
    ///
    /// If the run has a checkpoint and an image has changed since it began; if an image cannot be read, or the
    /// record cannot be written.
    pub fn update(
        splits: &Splits,
        evaluates_test: bool,
        directory: &RunDirectory,
    ) -> Result<String> {
        let path = directory.image_record();
        let needed = needed_images(splits, evaluates_test)?;
        let new = || Self { data: splits.fingerprint.clone(), images: HashMap::new() };
        let before = Self::read(&path)?;
        // Where the rows have changed, the checkpoint is refused, and its record stays.
        let is_kept = before.as_ref().is_some_and(|record| record.data != splits.fingerprint)
            && directory.checkpoint().exists();
        let mut record =
            before.filter(|record| record.data == splits.fingerprint).unwrap_or_else(new);
        let now = needed.par_iter().map(|image| record.look_at(image));
        let now = now.collect::<Result<Vec<RecordedImage>>>()?;
        if directory.checkpoint().exists()
            && let Some(image) = now.iter().find(|image| record.is_changed(image))
        {
            let cause =
                format!("the run was made with other data: the image {} has changed", image.name);
            return Err(Error::invalid(directory.path().display(), cause)
                .with_remedy("restore the image, or choose another --output"));
        }
        let mut hash = Sha256::new();
        for (image, _) in now.iter().zip(&needed).filter(|(_, needed)| needed.is_learned_from) {
            hash.update(&image.sha256);
        }
        record.images.extend(now.into_iter().map(|image| (image.number, image)));
        if !is_kept {
            record.write(&path)?;
        }
        Ok(hex(&hash.finalize()))
    }

    /// An image as it is now. Its file is read only if its stamp is not the recorded one.
    fn look_at(&self, Needed { number, source, .. }: &Needed) -> Result<RecordedImage> {
        // The stamp is taken first: what changes the file while it is read changes the next stamp.
        let stamp = source.file().map(FileStamp::of).transpose()?.flatten();
        let known = self.images.get(number).filter(|known| stamp.is_some() && known.stamp == stamp);
        let sha256 = match known {
            Some(known) => known.sha256.clone(),
            None => hex(&source.content_hash()?),
        };
        Ok(RecordedImage { number: *number, name: source.name(), sha256, stamp })
    }

    /// Whether an image was recorded with other bytes.
    fn is_changed(&self, image: &RecordedImage) -> bool {
        self.images.get(&image.number).is_some_and(|before| before.sha256 != image.sha256)
    }

    /// Reads the record at `path`; none if there is none, or it is not whole.
    fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = read_text(path, TABLE_LIMIT)?;
        let mut lines = text.lines();
        let Some(data) = lines.next().and_then(|line| serde_json::from_str(line).ok()) else {
            return Ok(None);
        };
        let images = lines.map(|line| serde_json::from_str(line).ok());
        let images: Option<Vec<RecordedImage>> = images.collect();
        let images = images.map(|images| images.into_iter().map(|image| (image.number, image)));
        Ok(images.map(|images| Self { data, images: images.collect() }))
    }

    /// Writes the data's fingerprint and the images, one JSON value a line.
    fn write(&self, path: &Path) -> Result<()> {
        let mut images: Vec<&RecordedImage> = self.images.values().collect();
        images.sort_unstable_by_key(|image| image.number);
        write_atomically(path, |mut out| {
            serde_json::to_writer(&mut out, &self.data)?;
            out.write_all(b"\n")?;
            images.iter().try_for_each(|image| {
                serde_json::to_writer(&mut out, image)?;
                out.write_all(b"\n")
            })
        })
    }
}

/// The images of the run's examples, except drawn ones, which depend on the recipe alone.
fn needed_images(splits: &Splits, evaluates_test: bool) -> Result<Vec<Needed>> {
    let mut numbers: HashMap<ImageKey, usize> = HashMap::new();
    let mut images = Vec::new();
    for i in 0..splits.dataset.len() {
        for image in splits.dataset.get(i)?.images {
            if !image.is_drawn() {
                let next = numbers.len();
                if *numbers.entry(image.key()).or_insert(next) == next {
                    images.push(image);
                }
            }
        }
    }
    // Whether an image is learned from; none if the run does not use it.
    let mut uses: Vec<Option<bool>> = vec![None; images.len()];
    let test = splits.test.iter().filter(|_| evaluates_test).map(|&i| (i, false));
    let learned = splits.train.iter().chain(&splits.validate).map(|&i| (i, true));
    for (i, is_learned_from) in test.chain(learned) {
        for image in splits.dataset.get(i)?.images {
            if let Some(&number) = numbers.get(&image.key()) {
                uses[number] = Some(is_learned_from);
            }
        }
    }
    let needed = |(number, (source, is_learned_from)): (usize, (ImageSource, Option<bool>))| {
        Some(Needed { number, source, is_learned_from: is_learned_from? })
    };
    Ok(images.into_iter().zip(uses).enumerate().filter_map(needed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_only_if_its_stamp_differs() {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let source = ImageSource::File(path.to_owned());
        let needed = Needed { number: 3, source: source.clone(), is_learned_from: true };
        let stamp = FileStamp::of(path).unwrap().expect("an old file");
        let image = RecordedImage {
            number: 3,
            name: source.name(),
            sha256: "not read".to_owned(),
            stamp: Some(stamp),
        };
        let mut record =
            ImageRecord { data: "rows".to_owned(), images: HashMap::from([(3, image.clone())]) };
        assert_eq!(record.look_at(&needed).unwrap(), image);
        record.images.get_mut(&3).unwrap().stamp = None;
        let read = record.look_at(&needed).unwrap();
        assert_eq!(read.sha256, hex(&source.content_hash().unwrap()));
        assert!(record.is_changed(&read));

        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("images.jsonl");
        assert!(ImageRecord::read(&file).unwrap().is_none());
        record.write(&file).unwrap();
        let again = ImageRecord::read(&file).unwrap().unwrap();
        assert_eq!((again.data, again.images), (record.data, record.images));
        std::fs::write(&file, "\"rows\"\n{\"number\":").unwrap();
        assert!(ImageRecord::read(&file).unwrap().is_none(), "a damaged record is none");
    }

    #[test]
    fn a_file_that_changed_a_moment_ago_has_no_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "new").unwrap();
        assert_eq!(FileStamp::of(&path).unwrap(), None);
        assert!(FileStamp::of(&dir.path().join("none")).is_err());
    }
}
