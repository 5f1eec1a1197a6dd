//! What a command reads, so that its outputs can be checked before it begins, and directories as outputs.

use std::path::{Path, PathBuf};

use normed::Result;
use normed::data::{DataSection, Dataset};
use normed::files::{Inputs, NewDirectory};

/// Extensions of the files that make a model or an adapter.
const MODEL_FILES: &[&str] = &[
    "json",
    "safetensors",
    "bin",
    "pth",
    "pt",
    "ckpt",
    "txt",
    "model",
    "jinja",
    "md",
    "py",
    "toml",
];

/// Extensions of the files that hold the rows of a data set in a layout of its own.
const TABLES: &[&str] = &["json", "parquet", "arrow", "csv", "tsv", "pkl", "txt", "xml", "zip"];

/// Adds the files of a model or an adapter; `what` names it.
pub fn add_model(inputs: &mut Inputs, what: &'static str, path: &Path) {
    inputs.add_directory(what, path, MODEL_FILES);
}

/// Adds the files that hold the rows and the images of a data set.
pub fn add_data(inputs: &mut Inputs, section: &DataSection, dataset: &dyn Dataset) -> Result<()> {
    match section.set.location()? {
        Some(path) if path.is_dir() => inputs.add_directory("the data set", &path, TABLES),
        Some(path) => inputs.add("the data file", &path),
        None => {}
    }
    for i in 0..dataset.len() {
        for image in &dataset.get(i)?.images {
            if let Some(path) = image.file() {
                inputs.add("an image of the data", path);
            }
        }
    }
    Ok(())
}

/// A directory that a command writes. It is there when it is complete, or not at all.
pub struct OutputDirectory(NewDirectory);

impl OutputDirectory {
    /// Checks `output` against what the command reads, and starts it. What is in it is replaced in the end
    /// if `overwrite` is set.
    pub fn start(output: &Path, overwrite: bool, inputs: &Inputs) -> Result<Self> {
        inputs.check_directory(output, overwrite)?;
        let new = match overwrite {
            true => NewDirectory::replace(output),
            false => NewDirectory::create(output),
        };
        new.map(Self)
    }

    /// Where to write it: an empty directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Gives the directory its name.
    pub fn commit(self) -> Result<()> {
        self.0.commit()
    }
}

/// The file for the image-shuffled answers: `answers_blind.jsonl` next to `answers.jsonl`.
pub fn blind_path(out: &Path) -> PathBuf {
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!("{stem}_blind.jsonl"))
}
