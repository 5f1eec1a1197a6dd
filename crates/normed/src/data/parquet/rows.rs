//! The rows of a data set in parquet files.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::shard::{Column, ParquetImage, Shard};
use crate::data::content_hash::hash_of_file;
use crate::data::read_options::ReadOptions;
use crate::data::rows::{
    CheckedRow, Row, collect_examples, derived_types_warning, empty_answers_warning,
};
use crate::data::{
    AnswerType, Attributes, Example, Image, ImageSource, OnBadExample, OpenedDataset, Split,
};
use crate::files::hex;
use crate::{Error, Result};

/// How deep directories are looked into.
const DEPTH: usize = 4;

/// Opens the parquet files in `root`, or `root` itself, each in the split that its name says.
///
/// Rows are read, pictures are hashed, and their headers looked at: a picture is read again from its
/// file when it is needed.
pub(in crate::data) fn open(root: &Path, reading: ReadOptions) -> Result<OpenedDataset> {
    let mut rows = Rows { reading, ..Rows::default() };
    for (split, path) in shards(root)? {
        rows.read(split, &Arc::new(Shard::open(&path)?))?;
    }
    let (all, closed) = rows.derived;
    let warnings = derived_types_warning(all, closed)
        .into_iter()
        .chain(empty_answers_warning(&rows.checked))
        .collect();
    collect_examples(rows.checked, rows.reading, warnings)
}

/// What is read so far.
#[derive(Default)]
struct Rows {
    reading: ReadOptions,
    checked: Vec<CheckedRow>,
    /// Rows of each split.
    counts: HashMap<Split, usize>,
    /// Each picture where it was seen first, or why it cannot be used.
    pictures: HashMap<[u8; 32], Result<Arc<ParquetImage>, String>>,
    /// Rows whose answer type is derived: all of them, and those that are closed.
    derived: (usize, usize),
}

impl Rows {
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
                shard.each(&row_group, column, |i, value| {
                    let text = value.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                    texts[i].insert(key.to_owned(), text.map_or(Value::Null, Value::String));
                })?;
            }
            let mut images = Vec::with_capacity(row_group.rows);
            shard.each(&row_group, &image, |i, value| {
                images.push(
                    value.map(|bytes| self.picture(shard, &image, row_group.index, i, bytes)),
                );
            })?;
            for (i, (fields, hash)) in texts.into_iter().zip(images).enumerate() {
                let place = shard.place(row_group.first + i);
                self.check(split, Row::new(place, fields), hash, answer_type.is_some());
            }
        }
        Ok(())
    }

    /// The hash of the picture in `bytes`, which is looked at if it is new.
    fn picture(
        &mut self,
        shard: &Arc<Shard>,
        column: &Column,
        group: usize,
        row: usize,
        bytes: &[u8],
    ) -> [u8; 32] {
        let hash = hash_of_file(bytes);
        self.pictures.entry(hash).or_insert_with(|| {
            match self.reading.on_bad_example {
                OnBadExample::Stop => Image::check_bytes(bytes, &self.reading.image)?,
                OnBadExample::Skip => Image::from_bytes(bytes, &self.reading.image).map(drop)?,
            }
            Ok(Arc::new(ParquetImage::new(shard.clone(), column.clone(), (group, row), hash)))
        });
        hash
    }

    fn check(&mut self, split: Split, row: Row, image: Option<[u8; 32]>, typed: bool) {
        let count = self.counts.entry(split).or_default();
        let id = format!("{}-{count}", split.name());
        *count += 1;
        let picture = match image {
            None => Err("`image` is missing".to_owned()),
            Some(hash) => match &self.pictures[&hash] {
                Ok(picture) => Ok((picture.clone(), hex(&hash))),
                Err(cause) => Err(format!("`image` {cause}")),
            },
        };
        let checked = row.check(|fields| {
            let (picture, image_name) = picture?;
            let answer = fields.text_or_empty("answer")?;
            Ok(Example {
                id,
                images: vec![ImageSource::Parquet(picture)],
                image_name,
                question: fields.text("question")?,
                answer_type: if typed {
                    fields.answer_type()?
                } else {
                    AnswerType::derived(&answer)
                },
                // Published sets have some empty ones, and count them.
                answer,
                split,
                group: fields.optional_text("group")?,
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

/// The parquet files in `root` and the split of each, in the order of splits and names.
fn shards(root: &Path) -> Result<Vec<(Split, PathBuf)>> {
    let mut paths = Vec::new();
    if fs::metadata(root).map_err(|e| Error::io(root, &e))?.is_file() {
        paths.push(root.to_owned());
    } else {
        walk(root, DEPTH, &mut paths)?;
    }
    if paths.is_empty() {
        return Err(Error::invalid(root.display(), "there is no parquet file in it"));
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
            Error::invalid(path.display(), "its name says no split").with_remedy(
                "train, validation or test is to be a part of it, as in train-00000.parquet",
            )
        })?;
        let other =
            |(known, other): &&(Split, PathBuf)| *known == split && other.parent() != path.parent();
        if let Some((_, other)) = shards.iter().find(other) {
            let cause = format!("is of the split `{}`, as is {}", split.name(), other.display());
            return Err(Error::invalid(path.display(), cause).with_remedy(
                "if these are two data sets, name the directory of one in data.root",
            ));
        }
        shards.push((split, path));
    }
    shards.sort_by(|(a, x), (b, y)| (*a as u8, x).cmp(&(*b as u8, y)));
    Ok(shards)
}

fn walk(directory: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<()> {
    let at = |e| Error::io(directory, &e);
    for entry in fs::read_dir(directory).map_err(at)? {
        let entry = entry.map_err(at)?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            if depth > 1 {
                walk(&path, depth - 1, paths)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            paths.push(path);
        }
    }
    Ok(())
}

/// The split that a path's words name, the file's own before those of its directories: what the
/// `datasets` library goes by.
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
    fn names_say_the_split() {
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
        let found = shards(dir.path()).unwrap();
        let names: Vec<_> =
            found.iter().map(|(_, path)| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["train-0.parquet", "train-1.parquet", "test.parquet"]);
        assert_eq!(shards(&dir.path().join("a/test.parquet")).unwrap()[0].0, Split::Test);

        fs::create_dir(dir.path().join("c")).unwrap();
        fs::write(dir.path().join("c/train.parquet"), "").unwrap();
        let error = shards(dir.path()).unwrap_err().to_string();
        assert!(error.contains("of the split `train`") && error.contains("data.root"), "{error}");
        fs::rename(dir.path().join("c/train.parquet"), dir.path().join("c/x.parquet")).unwrap();
        let error = shards(dir.path()).unwrap_err().to_string();
        assert!(error.contains("x.parquet: its name says no split"), "{error}");
    }
}
