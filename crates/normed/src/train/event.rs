//! Events of a run. The library prints nothing: the caller of a run receives its events and decides
//! what to show.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::plan::CostEstimate;
use super::provenance::Provenance;
use crate::data::ImageOverlap;
use crate::metrics::{Metric, Scores};
use crate::recipe::ByteSize;
use crate::tensor::{ChangedValues, Precision};

/// Something that happened during a run.
///
/// Each event but [`Event::Progress`] is also a line of the run's `events.jsonl`, where `event` names
/// its kind in snake case.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The model and the data are open; nothing has been trained yet.
    Started {
        /// The version of normed, with its commit and the commit's date where they are known.
        version: String,
        /// The run directory.
        output: PathBuf,
        /// The last step that an earlier process of this run completed; absent if the run starts
        /// from the beginning.
        #[serde(skip_serializing_if = "Option::is_none")]
        resumed_at: Option<usize>,
        /// Number of training examples.
        train: usize,
        /// Number of validation examples, which choose the best checkpoint.
        validate: usize,
        /// Number of test examples.
        test: usize,
        /// Total optimizer steps, unless early stopping ends the run before.
        steps: usize,
        /// Passes over the training examples.
        epochs: usize,
        /// Label smoothing, which the losses of training steps include and those of evaluations do not.
        label_smoothing: f32,
        /// The date that the chat template gets for today's, on every day the same; absent if it asks for none.
        #[serde(skip_serializing_if = "Option::is_none")]
        prompt_date: Option<String>,
    },
    /// The batch size and the recomputation level were chosen so that the run stays inside the
    /// recipe's memory limit.
    Planned {
        /// The memory limit.
        memory: ByteSize,
        /// The chosen setting and its estimated cost.
        #[serde(flatten)]
        estimate: Box<CostEstimate>,
    },
    /// The parameters to train were selected.
    #[serde(rename = "tuned")]
    ParametersSelected {
        /// Trained elements.
        trained: usize,
        /// All elements of the model.
        total: usize,
        /// Selected parameters that cannot affect the loss and are therefore not trained: name and
        /// reason.
        inert: Vec<(String, String)>,
    },
    /// Of the selected norms, only those with the largest Fisher information will be trained
    /// (`tuning.keep`).
    #[serde(rename = "ranked")]
    NormsSelected {
        /// Number of norms compared.
        norms: usize,
        /// Number of norms that will be trained.
        kept: usize,
        /// Number of training examples that the Fisher information was estimated from.
        examples: usize,
    },
    /// Rows of the data set were left out.
    Skipped {
        /// File, line and cause of each row, one string a row.
        rows: Vec<String>,
    },
    /// Some training reports are longer than `generate.max_new_tokens` or than the model's positions.
    /// Training uses their first tokens only. Evaluations use whole reports.
    Truncated {
        /// Number of truncated reports.
        reports: usize,
        /// Number of all training reports.
        #[serde(rename = "of")]
        total: usize,
        /// Tokens that are kept at most, the end token included.
        tokens: usize,
    },
    /// Something that the user should know.
    Warning {
        /// The text.
        message: String,
    },
    /// The output of the frozen image encoder is in the cache for every image of the run; batches
    /// carry it in place of pixels from now on.
    Cached {
        /// Number of distinct images.
        #[serde(rename = "pictures")]
        images: usize,
        /// Number of images that were encoded now; the others were in the cache before.
        computed: usize,
        /// Size of the cached features in bytes.
        bytes: u64,
        /// The cache's directory.
        directory: PathBuf,
        /// Seconds spent on it.
        seconds: f64,
    },
    /// An optimizer step was made.
    StepDone {
        /// Number of the step, counted from 1.
        step: usize,
        /// Total optimizer steps.
        #[serde(rename = "of")]
        total: usize,
        /// Number of the epoch, counted from 1.
        epoch: usize,
        /// Mean loss over the step's target tokens, in nats, with label smoothing.
        loss: f64,
        /// Learning rate of the step.
        lr: f32,
        /// Euclidean norm of the gradient before clipping.
        grad_norm: f64,
        /// Examples per second in this step, the wait for its batches included.
        examples_per_second: f64,
        /// Seconds spent on the run so far, by all its processes.
        seconds: f64,
    },
    /// Progress within a long task. Not written to `events.jsonl`.
    Progress {
        /// The task.
        #[serde(rename = "of")]
        subject: Subject,
        /// Examples, images or steps that are done.
        done: usize,
        /// Total examples, images or steps.
        #[serde(rename = "examples")]
        total: usize,
    },
    /// An evaluation is complete.
    Evaluated {
        /// The examples and the parameters that were evaluated.
        #[serde(rename = "of")]
        subject: Subject,
        /// Optimizer steps made before the evaluation.
        step: usize,
        /// Epochs after which the evaluated weights were taken: on the test split those of the best checkpoint.
        epoch: usize,
        /// Mean negative log-likelihood of the target tokens in nats, without label smoothing.
        loss: f64,
        /// Scores of the generated texts: exact match of answers, or every score of reports. Empty
        /// if nothing was generated.
        #[serde(flatten)]
        scores: BTreeMap<Metric, f64>,
        /// Number of examples that texts were generated for.
        generated: usize,
        /// Whether this is the best checkpoint so far.
        best: bool,
        /// The epoch of the best checkpoint before, if it has the same score of generated texts. Then the lower
        /// loss decides, or the earlier epoch.
        #[serde(skip_serializing_if = "Option::is_none")]
        tied_with: Option<usize>,
        /// Seconds spent on it.
        seconds: f64,
    },
    /// A checkpoint was written, from which the run can be resumed.
    Saved {
        /// Optimizer steps made so far.
        step: usize,
        /// The checkpoint file.
        path: PathBuf,
    },
    /// The model that the run made from an existing one was written.
    ModelSaved {
        /// Its directory.
        path: PathBuf,
        /// The number format of its weights.
        precision: Precision,
        /// The values that differ from those of the existing model, and those that still do in this format.
        values: ChangedValues,
    },
    /// The run stopped on request and can be resumed.
    Stopped {
        /// Optimizer steps made so far.
        step: usize,
        /// Total optimizer steps.
        #[serde(rename = "of")]
        total: usize,
        /// The run directory.
        output: PathBuf,
    },
    /// The run is complete.
    Finished {
        /// Its results.
        outcome: Box<Outcome>,
    },
}

/// The task that an [`Event::Progress`] or [`Event::Evaluated`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Evaluation on the validation examples, with the current parameters.
    Validation,
    /// Evaluation on the test split, with the untrained base model.
    TestBefore,
    /// Evaluation on the test split, with the best checkpoint.
    TestAfter,
    /// Evaluation on the test split with images shuffled between examples, with the best checkpoint.
    TestBlind,
    /// Encoding images for the cache of image features.
    #[serde(rename = "pictures")]
    Images,
    /// Estimating the Fisher information of norms on training examples.
    Norms,
    /// Trying learning rates, one step each.
    #[serde(rename = "rates")]
    LearningRates,
}

/// Results of a run, the contents of its `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The run directory; not part of the file in it.
    #[serde(skip)]
    pub output: PathBuf,
    /// Trained elements.
    pub trained: usize,
    /// All elements of the model.
    pub total: usize,
    /// Optimizer steps made.
    pub steps: usize,
    /// Whether early stopping (`train.patience`) ended the run before its last epoch.
    pub stopped_early: bool,
    /// The epoch whose parameters were kept, counted from 1; 0 if nothing was trained.
    pub best_epoch: usize,
    /// Why that epoch was kept, in words; absent if nothing was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_because: Option<String>,
    /// Validation value of `train.metric` at that epoch; absent if the last parameters were kept
    /// without comparison.
    pub best_value: Option<f64>,
    /// Scores on the test split; absent if the data has none or the run did not evaluate it.
    pub test: Option<TestScores>,
    /// Seconds spent on the run by all its processes.
    pub seconds: f64,
    /// Largest resident set of the last process in bytes; absent if the system does not report it.
    pub peak_memory_bytes: Option<u64>,
    /// What the scores mean, in sentences.
    #[serde(default)]
    pub finding: String,
    /// The program, the machine and the data files; absent in files of earlier versions.
    #[serde(default)]
    pub provenance: Option<Provenance>,
}

/// Scores on the test split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestScores {
    /// Scores of the untrained base model; absent if the run made its own base model.
    pub before: Option<Scores>,
    /// Scores of the best checkpoint.
    pub after: Scores,
    /// Image-shuffled ("blind") scores: the best checkpoint answers with the images shuffled between
    /// examples, which shows how much it answers without looking. Absent if there is only one image.
    pub blind: Option<Scores>,
    /// Test images that are also in the training split; absent if images are not read from files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<ImageOverlap>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(event: &Event) -> String {
        serde_json::to_string(event).unwrap()
    }

    #[test]
    fn events_keep_their_names_in_json() {
        let subject = Subject::LearningRates;
        assert_eq!(
            json(&Event::Progress { subject, done: 1, total: 2 }),
            r#"{"event":"progress","of":"rates","done":1,"examples":2}"#
        );
        assert_eq!(
            json(&Event::Stopped { step: 1, total: 2, output: "o".into() }),
            r#"{"event":"stopped","step":1,"of":2,"output":"o"}"#
        );
        assert_eq!(
            json(&Event::Truncated { reports: 1, total: 2, tokens: 3 }),
            r#"{"event":"truncated","reports":1,"of":2,"tokens":3}"#
        );
        let selected = Event::ParametersSelected { trained: 1, total: 2, inert: vec![] };
        assert_eq!(json(&selected), r#"{"event":"tuned","trained":1,"total":2,"inert":[]}"#);
        let selected = Event::NormsSelected { norms: 3, kept: 2, examples: 1 };
        assert_eq!(json(&selected), r#"{"event":"ranked","norms":3,"kept":2,"examples":1}"#);
        let (directory, seconds) = ("d".into(), 0.5);
        let cached = Event::Cached { images: 3, computed: 2, bytes: 1, directory, seconds };
        let start = r#"{"event":"cached","pictures":3,"computed":2,"bytes":1,"directory":"d""#;
        assert!(json(&cached).starts_with(start));
        let values = ChangedValues { changed: 3, surviving: 2 };
        assert_eq!(
            json(&Event::ModelSaved { path: "m".into(), precision: Precision::Bf16, values }),
            r#"{"event":"model_saved","path":"m","precision":"bf16","values":{"changed":3,"surviving":2}}"#
        );
        assert_eq!(serde_json::to_string(&Subject::Images).unwrap(), r#""pictures""#);
    }
}
