//! VQA-RAD (Lau et al., Scientific Data 5:180251, 2018) in its native layout: 1,797 questions to
//! train with and 451 to test, about 314 pictures.
//!
//! The official split is `phrase_type`'s: `test_freeform` and `test_para` are the test. 202 of the 203
//! test pictures are also in the training split (synpic23571.jpg is not).

use std::path::Path;

use super::read_options::ReadOptions;
use super::rows::{CheckedRow, Fields, gather, json_rows, root};
use super::{Example, ImageSource, OpenedDataset, Split};
use crate::Result;

/// Opens `root`, or `$NORMED_DATA/vqa-rad`.
pub(super) fn open(directory: Option<&Path>, reading: ReadOptions) -> Result<OpenedDataset> {
    let directory = root(directory, "vqa-rad")?;
    let images = directory.join("VQA_RAD Image Folder");
    let rows = json_rows(&directory.join("VQA_RAD Dataset Public.json"))?;
    let rows: Vec<CheckedRow> =
        rows.into_iter().map(|row| row.check(|fields| example(fields, &images))).collect();
    gather(rows, reading, Vec::new())
}

fn example(fields: &Fields<'_>, images: &Path) -> Result<Example, String> {
    let phrase_type = fields.text("phrase_type")?;
    let split = match phrase_type.trim() {
        "freeform" | "para" => Split::Train,
        "test_freeform" | "test_para" => Split::Test,
        _ => return Err(format!("`phrase_type` is `{phrase_type}`, which is in no split")),
    };
    let image_name = fields.text("image_name")?;
    Ok(Example {
        id: format!("vqarad-{}", fields.text("qid")?.trim()),
        images: vec![ImageSource::File(images.join(&image_name))],
        image_name,
        question: fields.text("question")?,
        answer: fields.text("answer")?,
        answer_type: fields.answer_type()?,
        split,
        group: None,
        attributes: fields
            .attributes([("organ", "image_organ"), ("question_type", "question_type")]),
    })
}
