//! JSON Lines: one row a line.
//!
//! A question has `id`, `image`, `question`, `answer`, `answer_type`, and optionally `split` and `group`. A study
//! has `id`, `images` (a list) or `image`, `report`, and optionally `split` and `group`. Other keys whose values
//! are texts or numbers are attributes, by which rows can be chosen.

use std::path::Path;
use std::sync::Arc;

use super::image_survey::ImageSurvey;
use super::json_rows::json_rows;
use super::read_options::ReadOptions;
use super::row::{CheckedRow, Fields, Row};
use super::rows::{collect_examples, study_example};
use super::{Dataset, Example, ImageSource, OpenedDataset, Split, Subset, Task, indices_of};
use crate::files::open_descriptor;
use crate::{Error, Result};

/// Opens `file`; image paths are relative to `image_root`, or to the file's directory.
///
/// A row without `split` is a test row: such a file can be evaluated, and training on it is an error.
pub(super) fn open(
    file: &Path,
    image_root: Option<&Path>,
    reading: ReadOptions,
    task: &Task,
) -> Result<OpenedDataset> {
    let images = image_directory(file, image_root);
    let rows = json_rows(file)?;
    let has_split = |row: &&Row| {
        row.fields().is_some_and(|fields| matches!(fields.optional_text("split"), Ok(Some(_))))
    };
    let (all, without) = (rows.len(), rows.len() - rows.iter().filter(has_split).count());
    let mut warnings = Vec::new();
    if (1..all).contains(&without) {
        let place = file.display();
        warnings.push(format!(
            "{place}: {without} of {all} rows have no `split`; they are used as test rows"
        ));
    }
    let example = if task.is_vqa() { example } else { report };
    let rows: Vec<CheckedRow> =
        rows.into_iter().map(|row| row.check(|fields| example(fields, images))).collect();
    collect_examples(rows, reading, warnings, ImageSurvey::default())
}

/// What the paths of images in `file` are relative to: `image_root`, or the file's directory. What a process
/// hands over has no place of its own, so that the current directory takes its place.
pub(super) fn image_directory<'a>(file: &'a Path, image_root: Option<&'a Path>) -> &'a Path {
    let parent = file.parent().filter(|_| open_descriptor(file).is_none());
    image_root.or(parent).unwrap_or(Path::new(""))
}

/// The keys of a question; others whose values are texts or numbers are its attributes.
const KEYS: [&str; 7] = ["id", "image", "question", "answer", "answer_type", "split", "group"];

fn example(fields: &Fields<'_>, images: &Path) -> Result<Example, String> {
    fields.require(&["id", "image", "question", "answer", "answer_type"])?;
    let image_name = fields.text("image")?;
    Ok(Example {
        id: fields.text("id")?,
        images: vec![ImageSource::File(images.join(&image_name))],
        image_name,
        question: fields.text("question")?,
        answer: fields.answer("answer")?,
        answer_type: fields.answer_type()?,
        split: fields.split()?,
        group: fields.group()?,
        history: Vec::new(),
        place: String::new(),
        attributes: fields.other_attributes(&KEYS),
    })
}

/// The keys of a study and its report.
const REPORT_KEYS: [&str; 6] = ["id", "image", "images", "report", "split", "group"];

fn report(fields: &Fields<'_>, images: &Path) -> Result<Example, String> {
    fields.require(&["id", "image|images", "report"])?;
    let views = fields.views()?;
    Ok(Example {
        group: fields.group()?,
        attributes: fields.other_attributes(&REPORT_KEYS),
        ..study_example(
            fields.text("id")?,
            images,
            &views,
            fields.answer("report")?,
            fields.split()?,
        )
    })
}

/// Opens the questions in `file` for predictions: those of `split`, or all.
///
/// # Errors
///
/// If the file cannot be read or a row is broken: predictions for a part of a file would pass for all of
/// it. If no row is in `split`.
pub fn open_jsonl_to_predict(
    file: &Path,
    image_root: Option<&Path>,
    split: Option<Split>,
) -> Result<OpenedDataset> {
    let mut opened = open(file, image_root, ReadOptions::default(), &Task::Vqa)?;
    if let Some(split) = split {
        let indices = indices_of(&*opened.dataset, split)?;
        if indices.is_empty() {
            let cause = format!("no row is in the split `{}`", split.name());
            return Err(Error::invalid(file.display(), cause));
        }
        let dataset: Arc<dyn Dataset> = opened.dataset;
        opened.dataset = Arc::new(Subset::new(dataset, indices));
    }
    Ok(opened)
}
