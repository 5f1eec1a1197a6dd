//! Questions with generated answers, and the file they are read from.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use crate::data::AnswerType;
use crate::metrics::predictions::{ExampleAttributes, read_rows};
use crate::metrics::text_field::text;
use crate::{Error, Result};

/// A question with its generated and its true answer. A line of predictions.jsonl is one; fewer fields
/// are required here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct AnsweredQuestion {
    /// The id of the question.
    #[serde(deserialize_with = "text")]
    pub id: String,
    /// What the model generated.
    #[serde(deserialize_with = "text")]
    pub prediction: String,
    /// The true answer, as written.
    #[serde(deserialize_with = "text")]
    pub target: String,
    /// `OPEN` or `CLOSED`.
    pub answer_type: AnswerType,
    /// The cluster for intervals; lines without this field are all in one cluster.
    #[serde(default, deserialize_with = "text")]
    pub cluster: String,
    /// Summed negative log-likelihood of the true answer in nats; needed for calibration only.
    pub nll: Option<f64>,
    /// The attributes by which scores can be broken down.
    #[serde(flatten)]
    pub attributes: ExampleAttributes,
}

/// Reads answers from a JSON Lines file.
///
/// # Errors
///
/// If the file cannot be read or has no lines, a line is a report, or an id occurs twice.
pub fn read_answers(path: &Path) -> Result<Vec<AnsweredQuestion>> {
    let hint = "normed predict writes such files; each row must be {id, prediction, target, answer_type: OPEN or CLOSED, cluster}; question_type, \
                modality and organ are optional";
    let answers: Vec<AnsweredQuestion> = read_rows(path, hint)?;
    if answers.is_empty() {
        return Err(Error::invalid(path.display(), "the file has no lines").with_remedy(hint));
    }
    if let Some(report) = answers.iter().find(|answer| answer.answer_type == AnswerType::Report) {
        let place = format!("{}, `{}`", path.display(), report.id);
        return Err(Error::invalid(place, "it is a report, not an answer to a question")
            .with_remedy("score reports with --protocol coco"));
    }
    let mut ids = BTreeSet::new();
    match answers.iter().find(|answer| !ids.insert(&answer.id)) {
        None => Ok(answers),
        Some(duplicate) => {
            let place = format!("{}, `{}`", path.display(), duplicate.id);
            Err(Error::invalid(place, "the id occurs twice")
                .with_remedy("a file must hold one answer to each question"))
        }
    }
}
