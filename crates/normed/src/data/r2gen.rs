//! IU X-Ray and MIMIC-CXR in the layout of R2Gen (Chen et al. 2020, arXiv 2010.16056).
//!
//! `annotation.json` holds `{"train": [..], "val": [..], "test": [..]}`. Each study has an `id`, an `image_path` (a
//! list) and a `report`; images are in the directory `images` next to the file. IU X-Ray has 2,069 training, 296
//! validation and 590 test studies of two images.
//!
//! Reports are cleaned by R2Gen's rules, as published scores assume: in lower case, without most punctuation,
//! sentences separated by ` . `. `XXXX`, which replaces text that was removed to protect patients, stays (as
//! `xxxx`).

use std::path::Path;

use super::image_survey::ImageSurvey;
use super::json_rows::json_lists;
use super::read_options::ReadOptions;
use super::row::{CheckedRow, Fields, Row};
use super::rows::{collect_examples, dataset_directory, study_example};
use super::{Example, OpenedDataset, Split};
use crate::{Error, Result};

/// How the reports of one of the two data sets are cleaned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleaning {
    /// IU X-Ray's.
    Iu,
    /// MIMIC-CXR's: the blanks in place of names are shortened first.
    Mimic,
}

impl Cleaning {
    /// The name of the data set's directory.
    fn name(self) -> &'static str {
        match self {
            Self::Iu => "iu_xray",
            Self::Mimic => "mimic_cxr",
        }
    }

    /// Cleans a report; its tokens are separated by blanks.
    fn clean(self, report: &str) -> String {
        let mut text = report.to_owned();
        if self == Self::Mimic {
            text = text.replace('\n', " ");
            replace_repeatedly(&mut text, "__", "_", 7);
            replace_repeatedly(&mut text, "  ", " ", 6);
            replace_repeatedly(&mut text, "..", ".", 8);
        } else {
            replace_repeatedly(&mut text, "..", ".", 3);
        }
        text = text.replace("1. ", "");
        for number in 2..=5 {
            text = text.replace(&format!(". {number}. "), ". ");
        }
        for number in 2..=5 {
            text = text.replace(&format!(" {number}. "), ". ");
        }
        let text = text.trim().to_lowercase();
        let sentences = text.split(". ").map(|sentence| sentence.replace(is_dropped, ""));
        let text = sentences.collect::<Vec<_>>().join(" . ") + " .";
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

fn replace_repeatedly(text: &mut String, from: &str, to: &str, times: usize) {
    for _ in 0..times {
        *text = text.replace(from, to);
    }
}

/// Whether cleaning removes `c`: quotes, slashes and R2Gen's regular expression, in which `:-[` is a range.
fn is_dropped(c: char) -> bool {
    "\"/\\'.,?;*!%^&_+()]{}".contains(c) || (':'..='[').contains(&c)
}

/// The file with the rows.
pub(super) const ANNOTATION: &str = "annotation.json";

/// Opens `annotation.json` in `directory`, or in the data set's directory in `$NORMED_DATA`.
pub(super) fn open(
    cleaning: Cleaning,
    directory: Option<&Path>,
    reading: ReadOptions,
) -> Result<OpenedDataset> {
    let directory = dataset_directory(directory, cleaning.name())?;
    let (path, images) = (directory.join(ANNOTATION), directory.join("images"));
    let mut annotation = json_lists(&path)?;
    let mut rows: Vec<CheckedRow> = Vec::new();
    for (key, split) in [("train", Split::Train), ("val", Split::Validate), ("test", Split::Test)] {
        let studies = take_studies(&path, &mut annotation, key)?.into_iter();
        rows.extend(studies.map(|row| row.check(|f| example(f, cleaning, &images, split))));
    }
    collect_examples(rows, reading, Vec::new(), ImageSurvey::default())
}

fn take_studies(
    path: &Path,
    annotation: &mut Vec<(String, Vec<Row>)>,
    key: &str,
) -> Result<Vec<Row>> {
    let found = annotation.iter().position(|(name, _)| name == key);
    found.map(|i| annotation.swap_remove(i).1).ok_or_else(|| {
        Error::invalid(path.display(), format!("it has no list `{key}`"))
            .with_remedy("the expected layout is R2Gen's: {\"train\": [{\"id\", \"image_path\": [..], \"report\"}], \"val\": .., \"test\": ..}")
    })
}

fn example(
    fields: &Fields<'_>,
    cleaning: Cleaning,
    images: &Path,
    split: Split,
) -> Result<Example, String> {
    fields.require(&["id", "image_path", "report"])?;
    let report = cleaning.clean(&fields.answer("report")?);
    if !report.contains(char::is_alphanumeric) {
        return Err("`report` has no words left after cleaning".to_owned());
    }
    let views = fields.texts("image_path")?;
    // The patient, in MIMIC-CXR.
    let group = fields.optional_text("subject_id")?.map(|group| group.trim().to_owned());
    Ok(Example { group, ..study_example(fields.text("id")?, images, &views, Some(report), split) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goldens by reference/make_report_text_goldens.py, which runs R2Gen's own code.
    #[test]
    fn reports_are_cleaned_as_r2gen_does() {
        let cases = include_str!("../../tests/golden/report_texts.json");
        let cases: Vec<[String; 3]> = serde_json::from_str(cases).unwrap();
        assert!(cases.len() > 15);
        for [report, iu, mimic] in cases {
            assert_eq!(Cleaning::Iu.clean(&report), iu, "{report:?}");
            assert_eq!(Cleaning::Mimic.clean(&report), mimic, "{report:?}");
        }
    }
}
