//! SLAKE (Liu et al., ISBI 2021) in its native layout: English and Chinese questions about 642 images. In English,
//! 4,919 training, 1,053 validation and 1,061 test questions.
//!
//! Within a language no image is in two splits; across the languages many are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::image_survey::ImageSurvey;
use super::json_rows::json_rows;
use super::read_options::ReadOptions;
use super::row::{CheckedRow, Fields};
use super::rows::{collect_examples, dataset_directory};
use super::{Example, ImageSource, OpenedDataset, Split};
use crate::{Error, Result};

/// The splits, each in a file of its own.
const SPLITS: [Split; 3] = [Split::Train, Split::Validate, Split::Test];

/// The files with the rows.
pub(super) fn row_files(directory: &Path) -> Vec<PathBuf> {
    SPLITS.map(|split| row_file(directory, split)).into()
}

fn row_file(directory: &Path, split: Split) -> PathBuf {
    directory.join(format!("{}.json", split.name()))
}

/// Opens `root`, or `$NORMED_DATA/slake`; rows in another language than `lang` are left out.
pub(super) fn open(
    directory: Option<&Path>,
    lang: Option<&str>,
    reading: ReadOptions,
) -> Result<OpenedDataset> {
    let directory = dataset_directory(directory, "slake")?;
    let images = directory.join("imgs");
    let (mut rows, mut warnings, mut languages) = (Vec::new(), Vec::new(), BTreeSet::new());
    for split in SPLITS {
        for row in json_rows(&row_file(&directory, split))? {
            let language = row.fields().and_then(|fields| fields.text("q_lang").ok());
            if let Some(language) = language {
                let other = lang.is_some_and(|lang| lang != language);
                languages.insert(language);
                if other {
                    continue;
                }
            }
            let prefix = row.prefix.clone();
            let checked = row.check(|fields| example(fields, &images, split));
            warnings.extend(empty_answer(&checked, &prefix));
            rows.push(checked);
        }
    }
    if let Some(lang) = lang.filter(|&lang| !languages.contains(lang)) {
        let there: Vec<_> = languages.into_iter().collect();
        let cause =
            format!("no question is in the language `{lang}`; there are {}", there.join(", "));
        return Err(Error::invalid("data.lang", cause));
    }
    if lang.is_none() && languages.len() > 1 {
        warnings.push(
            "`lang` is not set: questions in all languages are read, and the languages share \
             images across splits. With lang = \"en\" no image is in two splits"
                .into(),
        );
    }
    collect_examples(rows, reading, warnings, ImageSurvey::default())
}

fn example(fields: &Fields<'_>, images: &Path, split: Split) -> Result<Example, String> {
    fields.require(&["qid", "q_lang", "img_name", "question", "answer"])?;
    fields.text("q_lang")?;
    let image_name = fields.text("img_name")?;
    // One published training answer is empty (qid 1622); the official count includes it.
    let answer = fields.answer_or_empty("answer")?;
    Ok(Example {
        id: format!("slake-{}", fields.text("qid")?.trim()),
        images: vec![ImageSource::File(images.join(&image_name))],
        image_name,
        question: fields.text("question")?,
        answer: Some(fields.typed(answer)?),
        split,
        group: None,
        history: Vec::new(),
        place: String::new(),
        attributes: fields.attributes([
            ("modality", "modality"),
            ("organ", "location"),
            ("question_type", "content_type"),
        ]),
    })
}

/// The warning that an answer is empty.
fn empty_answer(row: &CheckedRow, prefix: &str) -> Option<String> {
    let example = row.example.as_ref().ok()?;
    let answer = example.answer.as_ref()?;
    answer.text.trim().is_empty().then(|| {
        format!(
            "{}: {prefix}`answer` is empty. The row is kept, as in the official split",
            row.place
        )
    })
}
