//! Opens a data set by its specification. Each data set is one arm of the match below.

use std::sync::Arc;

use super::read_options::{Answers, ReadOptions};
use super::{
    DataSpec, ImageOptions, OnBadExample, OpenedDataset, Task, jsonl, open_i, path_vqa, phantom,
    r2gen, slake, tables, vqa_rad,
};
use crate::Result;

/// Opens a data set for its default task: reads and checks its rows.
///
/// Images must exist, but are decoded only if broken ones are to be skipped.
/// [`DataSection`](super::DataSection) opens a data set for another task, some of its rows, or with
/// image options.
///
/// # Errors
///
/// If a file is missing or cannot be parsed; if a row is broken and is not to be skipped, or if all rows
/// are broken.
///
/// # Examples
///
/// ```
/// use normed::data::{DataSpec, OnBadExample, Split, open};
///
/// let dir = tempfile::tempdir()?;
/// let file = dir.path().join("rows.jsonl");
/// std::fs::write(&file, r#"{"id": 1, "image": "scan.png", "question": "Is it normal?", "answer": "no", "answer_type": "CLOSED", "split": "test"}"#)?;
/// image::RgbImage::new(8, 8).save(dir.path().join("scan.png"))?;
///
/// let spec = DataSpec::Jsonl { file, image_root: None, on_bad_example: OnBadExample::Stop };
/// let example = open(&spec)?.dataset.get(0)?;
/// assert_eq!((example.expect_answer()?.text.as_str(), example.split), ("no", Split::Test));
/// assert_eq!(example.images[0].load()?.width, 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open(spec: &DataSpec) -> Result<OpenedDataset> {
    open_for(spec, &spec.tasks().0, ImageOptions::default(), Answers::Required)
}

/// Opens a data set for `task`; DICOM files and NIfTI volumes are read with the options `image`.
pub(super) fn open_for(
    spec: &DataSpec,
    task: &Task,
    image: ImageOptions,
    answers: Answers,
) -> Result<OpenedDataset> {
    let opened = open_set(spec, task, image, answers)?;
    Ok(OpenedDataset { dataset: task.apply(opened.dataset), ..opened })
}

fn open_set(
    spec: &DataSpec,
    task: &Task,
    image: ImageOptions,
    answers: Answers,
) -> Result<OpenedDataset> {
    let reading = |&on_bad_example: &OnBadExample| ReadOptions { on_bad_example, image, answers };
    match spec {
        DataSpec::VqaRad { root, on_bad_example } => {
            vqa_rad::open(root.as_deref(), reading(on_bad_example))
        }
        DataSpec::Slake { root, lang, on_bad_example } => {
            slake::open(root.as_deref(), lang.as_deref(), reading(on_bad_example))
        }
        DataSpec::Jsonl { file, image_root, on_bad_example } => {
            jsonl::open(file, image_root.as_deref(), reading(on_bad_example), task)
        }
        DataSpec::PathVqa { root, on_bad_example } => {
            path_vqa::open(root.as_deref(), reading(on_bad_example))
        }
        DataSpec::Parquet { root, columns, image_root, on_bad_example } => {
            let (image_root, options) = (image_root.as_deref(), reading(on_bad_example));
            tables::open(root, tables::ReadTables { columns, image_root, task, options })
        }
        DataSpec::IuXray { root, on_bad_example } => {
            r2gen::open(r2gen::Cleaning::Iu, root.as_deref(), reading(on_bad_example))
        }
        DataSpec::MimicCxr { root, on_bad_example } => {
            r2gen::open(r2gen::Cleaning::Mimic, root.as_deref(), reading(on_bad_example))
        }
        DataSpec::OpenI { root, impression, split_seed, on_bad_example } => {
            let (impression, split_seed) = (*impression, *split_seed);
            let options =
                open_i::Options { impression, split_seed, reading: reading(on_bad_example) };
            open_i::open(root.as_deref(), &options)
        }
        DataSpec::Phantom { domain, train, validate, test, seed } => {
            let mut phantom = phantom::Phantom::new(*domain, [*train, *validate, *test], *seed)?;
            if !task.is_vqa() {
                phantom = phantom.with_reports();
            }
            Ok(OpenedDataset {
                dataset: Arc::new(phantom),
                skipped: Vec::new(),
                warnings: Vec::new(),
                decoding_bytes: 0,
            })
        }
    }
}
