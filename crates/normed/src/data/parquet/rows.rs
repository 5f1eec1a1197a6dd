//! The rows of a data set in parquet files.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::shard::{Column, ParquetImage, Shard};
use crate::data::content_hash::hash_of_file;
use crate::data::image_survey::ImageSurvey;
use crate::data::read_options::ReadOptions;
use crate::data::row::{CheckedRow, Row};
use crate::data::rows::{collect_examples, derived_types_warning, empty_answers_warning};
use crate::data::{
    AnswerType, Attributes, Example, Image, ImageSource, OnBadExample, OpenedDataset, Split,
};
use crate::files::hex;
use crate::{Error, Result};

/// How many levels of directories are searched.
const MAX_DEPTH: usize = 4;

/// Opens the parquet files in `root`, or the file `root`. The split of each file is in its name.
///
/// Rows are read, images are hashed and their headers checked. An image is read again from its file when it is
/// needed.
pub(in crate::data) fn open(root: &Path, options: ReadOptions) -> Result<OpenedDataset> {
    let mut rows = RowReader { options, ..RowReader::default() };
    for (split, path) in find_shards(root)? {
        rows.read(split, &Arc::new(Shard::open(&path)?))?;
    }
    let (all, closed) = rows.derived;
    let warnings = derived_types_warning(all, closed)
        .into_iter()
        .chain(empty_answers_warning(&rows.checked))
        .collect();
    collect_examples(rows.checked, rows.options, warnings, rows.survey)
}

/// The rows read so far.
#[derive(Default)]
struct RowReader {
    options: ReadOptions,
    checked: Vec<CheckedRow>,
    /// Number of rows of each split.
    counts: HashMap<Split, usize>,
    /// Each image where it was found first, or why it cannot be used.
    images: HashMap<[u8; 32], Result<Arc<ParquetImage>, String>>,
    /// The headers of the images.
    survey: ImageSurvey,
    /// How many answer types are derived, and how many of these are closed.
    derived: (usize, usize),
}

impl RowReader {
    fn read(&mut self, split: Split, shard: &Arc<Shard>) -> Result<()> {
        let image = shard.require(&["image.bytes", "image"])?;
        let question = shard.require(&["question"])?;
        let answer = shard.require(&["answer"])?;
        let answer_type = shard.find(&["answer_type"])?;
        let group = shard.find(&["group"])?;
        for row_group in shard.row_groups() {
            let mut texts = vec![Map::new(); row_group.rows];
            for (key, column) in [
                ("question", Some(&question)),
                ("answer", Some(&answer)),
                ("answer_type", answer_type.as_ref()),
                ("group", group.as_ref()),
            ] {
                let Some(column) = column else { continue };
                shard.for_each(&row_group, column, |i, value| {
                    let text = value.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                    texts[i].insert(key.to_owned(), text.map_or(Value::Null, Value::String));
                })?;
            }
            let mut images = Vec::with_capacity(row_group.rows);
            shard.for_each(&row_group, &image, |i, value| {
                images
                    .push(value.map(|bytes| self.image(shard, &image, row_group.index, i, bytes)));
            })?;
            for (i, (fields, hash)) in texts.into_iter().zip(images).enumerate() {
                let place = shard.place(row_group.first + i);
                self.check(split, Row::new(place, fields), hash, answer_type.is_some());
            }
        }
        Ok(())
    }

    /// The hash of the image in `bytes`, which is checked if it is new.
    fn image(
        &mut self,
        shard: &Arc<Shard>,
        column: &Column,
        group: usize,
        row: usize,
        bytes: &[u8],
    ) -> [u8; 32] {
        let hash = hash_of_file(bytes);
        self.images.entry(hash).or_insert_with(|| {
            let header = Image::check_bytes(bytes, &self.options.image)?;
            if self.options.on_bad_example == OnBadExample::Skip {
                Image::from_bytes(bytes, &self.options.image)?;
            }
            let image =
                Arc::new(ParquetImage::new(shard.clone(), column.clone(), (group, row), hash));
            self.survey.add(&ImageSource::Parquet(image.clone()), &header);
            Ok(image)
        });
        hash
    }

    fn check(&mut self, split: Split, row: Row, image: Option<[u8; 32]>, typed: bool) {
        let count = self.counts.entry(split).or_default();
        let id = format!("{}-{count}", split.name());
        *count += 1;
        let image = match image {
            None => Err("`image` is missing".to_owned()),
            Some(hash) => match &self.images[&hash] {
                Ok(image) => Ok((image.clone(), hex(&hash))),
                Err(cause) => Err(format!("`image` {cause}")),
            },
        };
        let checked = row.check(|fields| {
            let (image, image_name) = image?;
            let answer = fields.answer_or_empty("answer")?;
            Ok(Example {
                id,
                images: vec![ImageSource::Parquet(image)],
                image_name,
                question: fields.text("question")?,
                answer_type: if typed {
                    fields.answer_type()?
                } else {
                    AnswerType::derived(&answer)
                },
                // Published data sets have some empty answers, and score them.
                answer,
                split,
                group: fields.optional_text("group")?,
                history: Vec::new(),
                place: String::new(),
                attributes: Attributes::new(),
            })
        });
        if let (Ok(example), false) = (&checked.example, typed) {
            self.derived.0 += 1;
            self.derived.1 += usize::from(example.answer_type == AnswerType::Closed);
        }
        self.checked.push(checked);
    }
}

/// The parquet files in `root` and their splits, ordered by split and name.
fn find_shards(root: &Path) -> Result<Vec<(Split, PathBuf)>> {
    let mut paths = Vec::new();
    if fs::metadata(root).map_err(|e| Error::io(root, &e))?.is_file() {
        paths.push(root.to_owned());
    } else {
        find_files(root, MAX_DEPTH, &mut paths)?;
    }
    if paths.is_empty() {
        return Err(Error::invalid(root.display(), "it contains no parquet file"));
    }
    let mut shards: Vec<(Split, PathBuf)> = Vec::new();
    for path in paths {
        let below = path.strip_prefix(root).unwrap_or(&path);
        let below = if below.as_os_str().is_empty() {
            Path::new(root.file_name().unwrap_or_default())
        } else {
            below
        };
        let split = split_of(below).ok_or_else(|| {
            Error::invalid(path.display(), "its name contains no split").with_remedy(
                "rename it: train, validation or test must be a part of the name, as in train-00000.parquet",
            )
        })?;
        let other =
            |(known, other): &&(Split, PathBuf)| *known == split && other.parent() != path.parent();
        if let Some((_, other)) = shards.iter().find(other) {
            let cause = format!(
                "it belongs to the split `{}`, as does {}, which is in another directory",
                split.name(),
                other.display()
            );
            return Err(Error::invalid(path.display(), cause)
                .with_remedy("if these are two data sets, set data.root to the directory of one"));
        }
        shards.push((split, path));
    }
    shards.sort_by(|(a, x), (b, y)| (*a as u8, x).cmp(&(*b as u8, y)));
    Ok(shards)
}

fn find_files(directory: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<()> {
    let at = |e| Error::io(directory, &e);
    for entry in fs::read_dir(directory).map_err(at)? {
        let entry = entry.map_err(at)?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            if depth > 1 {
                find_files(&path, depth - 1, paths)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            paths.push(path);
        }
    }
    Ok(())
}

/// The split that is named in a path, as the `datasets` library finds it: in the file's name, or else in the names
/// of its directories.
fn split_of(path: &Path) -> Option<Split> {
    let word = |word: &str| match word.to_lowercase().as_str() {
        "train" | "training" => Some(Split::Train),
        "validation" | "validate" | "valid" | "val" | "dev" => Some(Split::Validate),
        "test" | "testing" | "eval" | "evaluation" => Some(Split::Test),
        _ => None,
    };
    path.components().rev().find_map(|component| {
        let Component::Normal(name) = component else { return None };
        name.to_string_lossy().split(|c: char| !c.is_alphanumeric()).find_map(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_is_in_the_name() {
        for (path, split) in [
            ("data/train-00000-of-00001-eb8844602202be60.parquet", Some(Split::Train)),
            ("data/validation-00001-of-00002.parquet", Some(Split::Validate)),
            ("default/test/0000.parquet", Some(Split::Test)),
            ("train/test.parquet", Some(Split::Test)),
            ("VQA_dev.parquet", Some(Split::Validate)),
            ("trainable.parquet", None),
            ("0000.parquet", None),
        ] {
            assert_eq!(split_of(Path::new(path)), split, "{path}");
        }
    }

    #[test]
    fn a_split_is_in_one_directory() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/train-0.parquet", "a/train-1.parquet", "a/test.parquet", ".b/train.parquet"]
        {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = find_shards(dir.path()).unwrap();
        let names: Vec<_> =
            found.iter().map(|(_, path)| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["train-0.parquet", "train-1.parquet", "test.parquet"]);
        assert_eq!(find_shards(&dir.path().join("a/test.parquet")).unwrap()[0].0, Split::Test);

        fs::create_dir(dir.path().join("c")).unwrap();
        fs::write(dir.path().join("c/train.parquet"), "").unwrap();
        let error = find_shards(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("belongs to the split `train`") && error.contains("data.root"),
            "{error}"
        );
        fs::rename(dir.path().join("c/train.parquet"), dir.path().join("c/x.parquet")).unwrap();
        let error = find_shards(dir.path()).unwrap_err().to_string();
        assert!(error.contains("x.parquet: its name contains no split"), "{error}");
    }
}
