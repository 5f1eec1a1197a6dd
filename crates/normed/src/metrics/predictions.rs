//! The file predictions.jsonl: one JSON object per line.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::AnswerType;
use crate::data::read_objects;
use crate::files::write_atomically;
use crate::metrics::text_field::{optional_text, text};
use crate::{Error, Result};

/// What a model generated for one example: a line of predictions.jsonl.
///
/// Only a prediction with its true answer can be scored. Of an example without an answer there is an
/// [`UnscoredPrediction`], which no metric takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction<T = Target> {
    /// The example's id.
    #[serde(deserialize_with = "text")]
    pub id: String,
    /// The name of the image as the row has it, or of all images, separated by blanks; `None` if it has no image.
    #[serde(default, deserialize_with = "optional_text")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The question, as written.
    #[serde(deserialize_with = "text")]
    pub question: String,
    /// What the model generated.
    #[serde(deserialize_with = "text")]
    pub prediction: String,
    /// The probability that the model gives to the generated tokens, its end token included. Neither the
    /// temperature nor a penalty is part of it. `None` in files that were written without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// The true answer; in a line the fields of [`Target`].
    #[serde(flatten)]
    pub target: T,
    /// Whether the model read the question without its last tokens, which it has no room for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub question_cut: bool,
    /// The cluster for intervals: the example's group, else its image. Lines without this field are all in
    /// one cluster, so that they get no interval.
    #[serde(default, deserialize_with = "text")]
    pub cluster: String,
    /// The seed of the run it is from, where the predictions of several runs are scored as one set.
    #[serde(skip)]
    pub run: u64,
    /// The attributes by which scores can be broken down.
    #[serde(flatten)]
    pub attributes: ExampleAttributes,
}

/// A prediction whose true answer may be unknown. Its line then has no field of [`Target`].
pub type UnscoredPrediction = Prediction<Option<Target>>;

/// The true answer, and the likelihood that the model gives to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The answer, as written.
    #[serde(rename = "target", deserialize_with = "text")]
    pub text: String,
    /// `OPEN`, `CLOSED` or `REPORT`.
    pub answer_type: AnswerType,
    /// Summed negative log-likelihood of the true answer's tokens and the end token, in nats.
    pub nll: f64,
    /// The number of tokens summed in `nll`.
    pub num_target_tokens: usize,
    /// Whether `nll` is of the report without its last tokens, which the model has no room for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub target_cut: bool,
}

impl Prediction {
    /// Whether it is a report rather than an answer.
    pub fn is_report(&self) -> bool {
        self.target.answer_type == AnswerType::Report
    }
}

impl UnscoredPrediction {
    /// The prediction with its true answer, if that is known.
    pub fn scored(self) -> Option<Prediction> {
        let Self { id, image, question, prediction, probability, target, .. } = self;
        let Self { question_cut, cluster, run, attributes, .. } = self;
        let target = target?;
        Some(Prediction {
            id,
            image,
            question,
            prediction,
            probability,
            target,
            question_cut,
            cluster,
            run,
            attributes,
        })
    }
}

impl<T> Prediction<T>
where
    for<'a> &'a T: Into<Option<&'a Target>>,
{
    /// Checks that the loss and the probability are numbers.
    ///
    /// # Errors
    ///
    /// If one is not finite; the error is the cause alone.
    pub fn check_finite(&self) -> Result<(), String> {
        let loss = Into::<Option<&Target>>::into(&self.target).map(|target| target.nll);
        for (what, value) in [("loss", loss), ("probability", self.probability)] {
            if let Some(value) = value.filter(|value| !value.is_finite()) {
                return Err(format!("the {what} is {value}"));
            }
        }
        Ok(())
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Attributes of an example, as far as the data set has them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExampleAttributes {
    /// The type of question, such as `presence`.
    #[serde(default, deserialize_with = "optional_text")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question_type: Option<String>,
    /// The imaging modality, such as `CT`.
    #[serde(default, deserialize_with = "optional_text")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modality: Option<String>,
    /// The organ or body part shown.
    #[serde(default, deserialize_with = "optional_text")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organ: Option<String>,
}

/// Reads predictions from a JSON Lines file, or from a list of them.
///
/// # Errors
/// If the file cannot be read, or a line is not a prediction.
pub fn read_predictions(path: &Path) -> Result<Vec<Prediction>> {
    read_rows(
        path,
        "normed predict writes such files; each row must be {id, question, prediction, target, answer_type: OPEN or CLOSED, nll, \
         num_target_tokens, cluster}",
    )
}

/// Reads the rows of a JSON Lines file or a JSON list. `hint` describes a row, for errors.
pub(super) fn read_rows<T: DeserializeOwned>(path: &Path, hint: &str) -> Result<Vec<T>> {
    let rows = read_objects(path).map_err(|error| match error.remedy() {
        Some(_) => error,
        None => error.with_remedy(hint),
    })?;
    let row = |(place, fields)| {
        serde_json::from_value(Value::Object(fields))
            .map_err(|error| Error::invalid(place, error).with_remedy(hint))
    };
    rows.into_iter().map(row).collect()
}

/// Writes predictions, one JSON object a line: `path` holds all of them or is untouched.
///
/// # Errors
///
/// If a loss or a probability is not finite, or the file cannot be written.
pub fn write_predictions<T>(path: &Path, predictions: &[Prediction<T>]) -> Result<()>
where
    T: Serialize,
    for<'a> &'a T: Into<Option<&'a Target>>,
{
    for p in predictions {
        p.check_finite().map_err(|cause| {
            Error::failed(format!("{}, example `{}`", path.display(), p.id), cause)
        })?;
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
            image: Some("b.png".into()),
            question: "Is the \"lung\" clear?\n".into(),
            prediction: "nö".into(),
            probability: Some(0.25),
            target: Target {
                text: String::new(),
                answer_type: AnswerType::Closed,
                nll: 0.1 + 0.2,
                num_target_tokens: 3,
                target_cut: false,
            },
            question_cut: false,
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
            ("{", ":3: the row is not JSON: column 1: EOF while parsing an object"),
            ("{\"id\": [7]}", ":3: [7] is a list, not a text or a number"),
            ("{\"id\": null}", ":3: null is where a text or a number is expected"),
            ("{\"id\": 7}", ":3: missing field `question`"),
            (&good.replace("CLOSED", "YESNO"), "unknown variant `YESNO`"),
            (&good.replace("0.30000000000000004", "NaN"), ":3: `nll` is NaN"),
        ] {
            std::fs::write(&path, format!("{good}\n\n{bad}\n")).expect("written");
            let error = read_predictions(&path).expect_err("a broken line").to_string();
            assert!(error.contains(want) && error.contains("hint:"), "{error}");
        }
        std::fs::write(&path, b"\xff\xfe\n").expect("written");
        assert!(read_predictions(&path).is_err());
    }

    #[test]
    fn ids_may_be_numbers_and_the_rows_a_list() {
        let dir = directory();
        let path = dir.path().join("predictions.json");
        let good = serde_json::to_string(&prediction("7")).expect("json");
        let numbered = good.replace("\"id\":\"7\"", "\"id\":7").replace("\"a.png\"", "7.0");
        assert_ne!(numbered, good);
        let other = good.replace("\"7\"", "\"8\"");
        for text in [format!("[{numbered},\n{other}]"), format!("{numbered}\n\n{other}\n")] {
            std::fs::write(&path, text).expect("written");
            let read = read_predictions(&path).expect("read");
            assert_eq!(
                read,
                [Prediction { cluster: "7".into(), ..prediction("7") }, prediction("8")]
            );
        }
    }

    #[test]
    fn a_loss_that_is_not_finite_is_not_written() {
        let dir = directory();
        let path = dir.path().join("predictions.jsonl");
        let target = Target { nll: f64::NAN, ..prediction("17").target };
        let lossless = Prediction { target, ..prediction("17") };
        let improbable = Prediction { probability: Some(f64::NAN), ..prediction("17") };
        for (broken, what) in
            [(lossless, "the loss is NaN"), (improbable, "the probability is NaN")]
        {
            let error = write_predictions(&path, &[broken]).expect_err("a NaN");
            let text = error.to_string();
            assert!(text.contains("`17`") && text.contains(what), "{text}");
            assert_eq!(error.exit_code(), 1);
        }
        assert!(!path.exists());
    }

    /// A line without a true answer has no field of one, and is no line that can be scored.
    #[test]
    fn a_line_without_an_answer_is_not_scored() {
        let dir = directory();
        let path = dir.path().join("predictions.jsonl");
        let Prediction { id, image, question, prediction: text, probability, .. } = prediction("1");
        let Prediction { target, question_cut, cluster, run, attributes, .. } = prediction("1");
        let known: UnscoredPrediction = Prediction {
            id,
            image,
            question,
            prediction: text,
            probability,
            target: Some(target),
            question_cut,
            cluster,
            run,
            attributes,
        };
        assert_eq!(known.clone().scored(), Some(prediction("1")));
        let unknown = Prediction { target: None, ..known.clone() };
        assert_eq!(unknown.clone().scored(), None);
        write_predictions(&path, &[known, unknown]).expect("written");
        let lines = std::fs::read_to_string(&path).expect("read");
        let (known, unknown) = lines.split_once('\n').expect("two lines");
        assert_eq!(known, serde_json::to_string(&prediction("1")).expect("json"));
        for key in ["target", "answer_type", "nll"] {
            assert!(known.contains(key) && !unknown.contains(key), "{unknown}");
        }
        let error = read_predictions(&path).expect_err("no answer").to_string();
        assert!(error.contains(":2: missing field `target`"), "{error}");
    }

    #[test]
    fn a_missing_directory_leaves_an_error_and_no_file() {
        let dir = directory();
        let path = dir.path().join("absent").join("predictions.jsonl");
        assert_eq!(
            write_predictions::<Target>(&path, &[]).expect_err("no directory").exit_code(),
            2
        );
        assert_eq!(read_predictions(&path).expect_err("no file").exit_code(), 2);
    }
}
