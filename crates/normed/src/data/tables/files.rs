//! The files of a data set and their splits.

use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::data::Split;
use crate::files::read_json;
use crate::{Error, Result};

/// How many levels of directories are searched.
const MAX_DEPTH: usize = 4;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Parquet,
    /// A stream of Arrow, as `datasets` saves it.
    Arrow,
}

/// A file of a data set.
#[derive(Debug)]
pub(super) struct DataFile {
    pub split: Split,
    pub path: PathBuf,
    pub format: Format,
}

/// The paths of the parquet and Arrow files in `root`, or the file `root`.
///
/// # Errors
///
/// If there is none, or a file's split is not known.
pub(in crate::data) fn row_files(root: &Path) -> Result<Vec<PathBuf>> {
    Ok(find_files(root)?.into_iter().map(|file| file.path).collect())
}

/// The parquet and Arrow files in `root`, or the file `root`, ordered by split and name.
pub(super) fn find_files(root: &Path) -> Result<Vec<DataFile>> {
    let mut paths = Vec::new();
    if fs::metadata(root).map_err(|e| Error::io(root, &e))?.is_file() {
        // A file that is named is parquet, whatever its name.
        paths.push((root.to_owned(), format_of(root).unwrap_or(Format::Parquet)));
    } else {
        search(root, MAX_DEPTH, &mut paths)?;
    }
    if paths.is_empty() {
        return Err(Error::invalid(root.display(), "it contains no parquet file")
            .with_remedy("files of data sets are named *.parquet or, by save_to_disk, *.arrow"));
    }
    let mut files: Vec<DataFile> = Vec::new();
    for (path, format) in paths {
        let split = split_of(root, &path)?.ok_or_else(|| {
            Error::invalid(path.display(), "its name contains no split").with_remedy(
                "rename it: train, validation or test must be a part of the name, as in train-00000.parquet",
            )
        })?;
        let other = |other: &&DataFile| {
            other.split == split && (other.path.parent() != path.parent() || other.format != format)
        };
        if let Some(other) = files.iter().find(other) {
            let place = match other.format == format {
                true => "which is in another directory",
                false => "which has another format",
            };
            let cause = format!(
                "it belongs to the split `{}`, as does {}, {place}",
                split.name(),
                other.path.display()
            );
            return Err(Error::invalid(path.display(), cause).with_remedy(
                "if these are two data sets, set data.root to the directory or the file of one",
            ));
        }
        files.push(DataFile { split, path, format });
    }
    files.sort_by(|a, b| (a.split as u8, &a.path).cmp(&(b.split as u8, &b.path)));
    Ok(files)
}

/// The warning that a split lacks some of its files, by the count in their names, as in `train-00000-of-00003`.
pub(super) fn missing_files_warning(files: &[DataFile]) -> Option<String> {
    let counted = files.iter().filter_map(|file| {
        let name = file.path.file_name()?.to_str()?;
        let (before, after) = name.split_once("-of-")?;
        let digits = after.split(|c: char| !c.is_ascii_digit()).next()?;
        Some((before.trim_end_matches(|c: char| c.is_ascii_digit()), digits.parse().ok()?, file))
    });
    let counted: Vec<(&str, usize, &DataFile)> = counted.collect();
    counted.iter().find_map(|(prefix, count, file)| {
        let there =
            counted.iter().filter(|(other, _, of)| other == prefix && of.split == file.split);
        let there = there.count();
        (there < *count).then(|| {
            format!(
                "{}: only {there} of the {count} files of the split `{}` are there",
                file.path.display(),
                file.split.name()
            )
        })
    })
}

fn format_of(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "parquet" => Some(Format::Parquet),
        "arrow" => Some(Format::Arrow),
        _ => None,
    }
}

fn search(directory: &Path, depth: usize, paths: &mut Vec<(PathBuf, Format)>) -> Result<()> {
    if let Some(state) = State::read(directory)? {
        paths
            .extend(state.files.iter().map(|file| (directory.join(&file.filename), Format::Arrow)));
        return Ok(());
    }
    let at = |e| Error::io(directory, &e);
    for entry in fs::read_dir(directory).map_err(at)? {
        let entry = entry.map_err(at)?;
        let path = entry.path();
        let name = entry.file_name();
        // The datasets library keeps results of `map` and unfinished files beside a data set.
        let is_left_over = [&b"."[..], b"cache-", b"tmp"];
        if is_left_over.iter().any(|start| name.as_encoded_bytes().starts_with(start)) {
            continue;
        }
        if path.is_dir() {
            if depth > 1 {
                search(&path, depth - 1, paths)?;
            }
        } else if let Some(format) = format_of(&path) {
            paths.push((path, format));
        }
    }
    Ok(())
}

/// What `save_to_disk` of the datasets library writes about a split: state.json.
#[derive(Deserialize)]
struct State {
    #[serde(rename = "_data_files")]
    files: Vec<StateFile>,
    #[serde(rename = "_split")]
    split: Option<String>,
}

#[derive(Deserialize)]
struct StateFile {
    filename: PathBuf,
}

impl State {
    fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join("state.json");
        if !path.is_file() || !directory.join("dataset_info.json").is_file() {
            return Ok(None);
        }
        let state: Self = read_json(&path)?;
        let is_name = |file: &StateFile| {
            let mut components = file.filename.components();
            matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
        };
        if !state.files.iter().all(is_name) {
            let cause = "it names files outside of its directory";
            return Err(Error::invalid(path.display(), cause));
        }
        Ok(Some(state))
    }
}

/// The split of the file `path` in `root`, as the `datasets` library finds it: in the file's name, or else in the
/// names of its directories. After these, in what `save_to_disk` wrote, or in the name of `root`.
fn split_of(root: &Path, path: &Path) -> Result<Option<Split>> {
    let below = path.strip_prefix(root).unwrap_or(path);
    let below = if below.as_os_str().is_empty() {
        Path::new(root.file_name().unwrap_or_default())
    } else {
        below
    };
    if let Some(split) = split_in(below) {
        return Ok(Some(split));
    }
    if let Some(state) = path.parent().map(State::read).transpose()?.flatten()
        && let Some(split) = state.split.as_deref().and_then(split_of_word)
    {
        return Ok(Some(split));
    }
    Ok(root.file_name().and_then(|name| split_in(Path::new(name))))
}

/// The split that is named in a path: the last component that names one.
fn split_in(path: &Path) -> Option<Split> {
    path.components().rev().find_map(|component| {
        let Component::Normal(name) = component else { return None };
        name.to_string_lossy().split(|c: char| !c.is_alphanumeric()).find_map(split_of_word)
    })
}

fn split_of_word(word: &str) -> Option<Split> {
    match word.to_lowercase().as_str() {
        "train" | "training" => Some(Split::Train),
        "validation" | "validate" | "valid" | "val" | "dev" => Some(Split::Validate),
        "test" | "testing" | "eval" | "evaluation" => Some(Split::Test),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The files in `root`, below it.
    fn names(root: &Path) -> Vec<(Split, String)> {
        let files = find_files(root).unwrap();
        let name = |file: &DataFile| {
            (file.split, file.path.strip_prefix(root).unwrap().to_str().unwrap().to_owned())
        };
        files.iter().map(name).collect()
    }

    #[test]
    fn the_split_is_in_the_name() {
        for (path, split) in [
            ("data/train-00000-of-00001-eb8844602202be60.parquet", Some(Split::Train)),
            ("data/validation-00001-of-00002.parquet", Some(Split::Validate)),
            ("default/test/0000.parquet", Some(Split::Test)),
            ("train/test.parquet", Some(Split::Test)),
            ("VQA_dev.parquet", Some(Split::Validate)),
            ("valid.parquet", Some(Split::Validate)),
            ("trainable.parquet", None),
            ("0000.parquet", None),
        ] {
            assert_eq!(split_in(Path::new(path)), split, "{path}");
        }
    }

    #[test]
    fn a_split_is_in_one_directory() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/train-0.parquet", "a/train-1.parquet", "a/test.parquet", ".b/train.parquet"]
        {
            write(dir.path(), path, "");
        }
        let found: Vec<_> = names(dir.path()).into_iter().map(|(_, name)| name).collect();
        assert_eq!(found, ["a/train-0.parquet", "a/train-1.parquet", "a/test.parquet"]);
        assert_eq!(find_files(&dir.path().join("a/test.parquet")).unwrap()[0].split, Split::Test);

        write(dir.path(), "c/train.parquet", "");
        let error = find_files(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("belongs to the split `train`") && error.contains("data.root"),
            "{error}"
        );
        fs::rename(dir.path().join("c/train.parquet"), dir.path().join("c/x.parquet")).unwrap();
        let error = find_files(dir.path()).unwrap_err().to_string();
        assert!(error.contains("x.parquet: its name contains no split"), "{error}");
        fs::rename(dir.path().join("c/x.parquet"), dir.path().join("a/test.arrow")).unwrap();
        let error = find_files(dir.path()).unwrap_err().to_string();
        assert!(error.contains("another format"), "{error}");
    }

    #[test]
    fn a_directory_that_is_a_split_names_it() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "val/0000.parquet", "");
        assert_eq!(names(&dir.path().join("val")), [(Split::Validate, "0000.parquet".to_owned())]);
    }

    #[test]
    fn save_to_disk_says_which_files_are_the_data() {
        let dir = tempfile::tempdir().unwrap();
        for (split, name) in [("train", "\"train\""), ("rest", "\"test\"")] {
            let state = format!(
                r#"{{"_data_files": [{{"filename": "data-00000-of-00001.arrow"}}], "_split": {name}}}"#
            );
            write(dir.path(), &format!("{split}/state.json"), &state);
            write(dir.path(), &format!("{split}/dataset_info.json"), "{}");
            write(dir.path(), &format!("{split}/data-00000-of-00001.arrow"), "");
            write(dir.path(), &format!("{split}/cache-1.arrow"), "");
            write(dir.path(), &format!("{split}/old.arrow"), "");
        }
        let name = |split: &str| format!("{split}/data-00000-of-00001.arrow");
        assert_eq!(names(dir.path()), [(Split::Train, name("train")), (Split::Test, name("rest"))]);
        let state = r#"{"_data_files": [{"filename": "../a.arrow"}], "_split": null}"#;
        write(dir.path(), "rest/state.json", state);
        assert!(find_files(dir.path()).unwrap_err().cause().contains("outside"));
    }

    #[test]
    fn files_that_are_missing_are_warned_about() {
        let file = |name: &str| DataFile {
            split: Split::Train,
            path: name.into(),
            format: Format::Parquet,
        };
        let whole = [file("train-00000-of-00002.parquet"), file("train-00001-of-00002-a1.parquet")];
        assert_eq!(missing_files_warning(&whole), None);
        let warning = missing_files_warning(&whole[1..]).unwrap();
        assert!(warning.contains("only 1 of the 2 files of the split `train`"), "{warning}");
        assert_eq!(missing_files_warning(&[file("train.parquet")]), None);
    }
}
