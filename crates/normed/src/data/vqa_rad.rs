//! VQA-RAD (Lau et al., Scientific Data 5:180251, 2018) in its native layout: 1,797 training and 451 test questions
//! about 314 images.
//!
//! The official test split are the rows whose `phrase_type` is `test_freeform` or `test_para`. 202 of the 203 test
//! images are also in the training split (synpic23571.jpg is not).

use std::path::Path;

use super::image_survey::ImageSurvey;
use super::json_rows::json_rows;
use super::read_options::ReadOptions;
use super::row::{CheckedRow, Fields};
use super::rows::{collect_examples, dataset_directory};
use super::{Example, ImageSource, OpenedDataset, Split};
use crate::Result;

/// The file with the rows.
pub(super) const ROWS: &str = "VQA_RAD Dataset Public.json";

/// Opens `root`, or `$NORMED_DATA/vqa-rad`.
pub(super) fn open(directory: Option<&Path>, reading: ReadOptions) -> Result<OpenedDataset> {
    let directory = dataset_directory(directory, "vqa-rad")?;
    let images = directory.join("VQA_RAD Image Folder");
    let rows = json_rows(&directory.join(ROWS))?;
    let rows: Vec<CheckedRow> =
        rows.into_iter().map(|row| row.check(|fields| example(fields, &images))).collect();
    collect_examples(rows, reading, Vec::new(), ImageSurvey::default())
}

fn example(fields: &Fields<'_>, images: &Path) -> Result<Example, String> {
    fields.require(&["qid", "phrase_type", "image_name", "question", "answer"])?;
    let phrase_type = fields.text("phrase_type")?;
    let split = match phrase_type.trim() {
        "freeform" | "para" => Split::Train,
        "test_freeform" | "test_para" => Split::Test,
        _ => return Err(format!("`phrase_type` is `{phrase_type}`, which belongs to no split")),
    };
    let image_name = fields.text("image_name")?;
    let answer = fields.answer("answer")?;
    Ok(Example {
        id: format!("vqarad-{}", fields.text("qid")?.trim()),
        images: vec![ImageSource::File(images.join(&image_name))],
        image_name,
        question: fields.text("question")?,
        answer: Some(fields.typed(answer)?),
        split,
        group: None,
        history: Vec::new(),
        place: String::new(),
        attributes: fields
            .attributes([("organ", "image_organ"), ("question_type", "question_type")]),
    })
}
