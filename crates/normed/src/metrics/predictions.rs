//! The file predictions.jsonl: one JSON object per line.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::data::AnswerType;
use crate::files::{TABLE_LIMIT, read_once, write_atomically};
use crate::{Error, Result};

/// A prediction for one example: a line of predictions.jsonl.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The example's id.
    pub id: String,
    /// The question, as written.
    pub question: String,
    /// What the model generated.
    pub prediction: String,
    /// The answer, as written.
    pub target: String,
    /// `OPEN`, `CLOSED` or `REPORT`.
    pub answer_type: AnswerType,
    /// Summed negative log-likelihood of the true answer's tokens and the end token, in nats.
    pub nll: f64,
    /// The number of tokens summed in `nll`.
    pub num_target_tokens: usize,
    /// Whether the model read the question without its last tokens, which it has no room for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub question_cut: bool,
    /// Whether `nll` is of the report without its last tokens, which the model has no room for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub target_cut: bool,
    /// The cluster for intervals: the example's group, else its image. Lines without this field are all in
    /// one cluster, so that they get no interval.
    #[serde(default)]
    pub cluster: String,
    /// The seed of the run it is from, where the predictions of several runs are scored as one set.
    #[serde(skip)]
    pub run: u64,
    /// The attributes by which scores can be broken down.
    #[serde(flatten)]
    pub attributes: ExampleAttributes,
}

impl Prediction {
    /// Whether it is a report rather than an answer.
    pub fn is_report(&self) -> bool {
        self.answer_type == AnswerType::Report
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Attributes of an example, as far as the data set has them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExampleAttributes {
    /// The type of question, such as `presence`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question_type: Option<String>,
    /// The imaging modality, such as `CT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modality: Option<String>,
    /// The organ or body part shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organ: Option<String>,
}

/// Reads predictions from a JSON Lines file; blank lines are skipped.
///
/// # Errors
/// If the file cannot be read, or a line is not a prediction.
pub fn read_predictions(path: &Path) -> Result<Vec<Prediction>> {
    read_json_lines(
        path,
        "each line must be {id, question, prediction, target, answer_type: OPEN or CLOSED, nll, \
         num_target_tokens, cluster}",
    )
}

/// Reads one JSON object per line; blank lines are skipped. `hint` describes a line, for errors.
pub(super) fn read_json_lines<T: DeserializeOwned>(path: &Path, hint: &str) -> Result<Vec<T>> {
    let bytes = read_once(path, TABLE_LIMIT)?;
    let mut lines = Vec::new();
    for (i, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        // The parser sees one line, so its "line 1" would mislead: only its column is kept.
        lines.push(serde_json::from_slice(line).map_err(|e| {
            let (cause, column) = (e.to_string(), e.column());
            let cause = cause.split(" at line ").next().unwrap_or(&cause);
            Error::invalid(format!("{}:{}:{column}", path.display(), i + 1), cause)
                .with_remedy(hint)
        })?);
    }
    Ok(lines)
}

/// Writes predictions, one JSON object a line: `path` holds all of them or is untouched.
///
/// # Errors
///
/// If a loss is not finite, or the file cannot be written.
pub fn write_predictions(path: &Path, predictions: &[Prediction]) -> Result<()> {
    if let Some(p) = predictions.iter().find(|p| !p.nll.is_finite()) {
        let place = format!("{}, example `{}`", path.display(), p.id);
        return Err(Error::failed(place, format!("the loss is {}", p.nll)));
    }
    write_atomically(path, |mut out| {
        predictions.iter().try_for_each(|prediction| {
            serde_json::to_writer(&mut out, prediction)?;
            out.write_all(b"\n")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(id: &str) -> Prediction {
        Prediction {
            id: id.into(),
            question: "Is the \"lung\" clear?\n".into(),
            prediction: "nö".into(),
            target: String::new(),
            answer_type: AnswerType::Closed,
            nll: 0.1 + 0.2,
            num_target_tokens: 3,
            question_cut: false,
            target_cut: false,
            cluster: "a.png".into(),
            run: 0,
            attributes: ExampleAttributes {
                organ: Some("Lung".into()),
                ..ExampleAttributes::default()
            },
        }
    }

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    #[test]
    fn predictions_are_read_back_as_written() {
        let dir = directory();
        let path = dir.path().join("predictions.jsonl");
        let written = [prediction("1"), prediction("2")];
        write_predictions(&path, &written[..1]).expect("written");
        write_predictions(&path, &written).expect("overwritten");
        assert_eq!(read_predictions(&path).expect("read"), written);
        // No temporary file is left.
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1);
    }

    #[test]
    fn an_error_names_the_broken_line() {
        let dir = directory();
        let path = dir.path().join("predictions.jsonl");
        let good = serde_json::to_string(&prediction("1")).expect("json");
        for (bad, want) in [
            ("{", ":3:1: EOF while parsing an object"),
            ("{\"id\": 7}", ":3:8: invalid type: integer `7`"),
            ("{\"id\": \"7\"}", ":3:11: missing field `question`"),
            (&good.replace("CLOSED", "YESNO"), "unknown variant `YESNO`"),
        ] {
            std::fs::write(&path, format!("{good}\n\n{bad}\n")).expect("written");
            let error = read_predictions(&path).expect_err("a broken line").to_string();
            assert!(error.contains(want) && error.contains("hint:"), "{error}");
        }
        std::fs::write(&path, b"\xff\xfe\n").expect("written");
        assert!(read_predictions(&path).is_err());
    }

    #[test]
    fn a_loss_that_is_not_finite_is_not_written() {
        let dir = directory();
        let path = dir.path().join("predictions.jsonl");
        let broken = Prediction { nll: f64::NAN, ..prediction("17") };
        let error = write_predictions(&path, &[broken]).expect_err("a NaN");
        assert!(error.to_string().contains("`17`") && error.exit_code() == 1, "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_missing_directory_leaves_an_error_and_no_file() {
        let dir = directory();
        let path = dir.path().join("absent").join("predictions.jsonl");
        assert_eq!(write_predictions(&path, &[]).expect_err("no directory").exit_code(), 2);
        assert_eq!(read_predictions(&path).expect_err("no file").exit_code(), 2);
    }
}
