//! What happens during a run. The library is silent: whoever runs it is told, and prints or not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Way;
use crate::data::ImageOverlap;
use crate::metrics::{Metric, Scores};
use crate::recipe::ByteSize;

/// What happened. A line of events.jsonl, but for [`Event::Progress`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Model and data are open; nothing has been trained yet.
    Started {
        /// The run directory.
        output: PathBuf,
        /// The step after which a resumed run goes on; absent if it starts afresh.
        #[serde(skip_serializing_if = "Option::is_none")]
        resumed_at: Option<usize>,
        /// Examples trained on.
        train: usize,
        /// Examples by which the best checkpoint is chosen.
        validate: usize,
        /// Examples that the reported figures are of.
        test: usize,
        /// Optimizer steps in all, unless patience ends first.
        steps: usize,
        /// Passes over the training examples.
        epochs: usize,
    },
    /// The steps will be made so, to stay inside the recipe's memory.
    Planned {
        /// The memory.
        memory: ByteSize,
        /// How.
        #[serde(flatten)]
        way: Box<Way>,
    },
    /// The parameters to train were chosen.
    Tuned {
        /// Elements trained.
        trained: usize,
        /// Elements in all.
        total: usize,
        /// Parameters asked for that no loss can move, with the reason.
        inert: Vec<(String, String)>,
    },
    /// Of the norms only those were left to train that matter most to the data.
    Ranked {
        /// Norms compared.
        norms: usize,
        /// Norms left.
        kept: usize,
        /// Training examples by which their Fisher information was estimated.
        examples: usize,
    },
    /// Rows of the data set that were left out: file, line and cause of each.
    Skipped {
        /// One line a row.
        rows: Vec<String>,
    },
    /// Reports that are longer than what is learnt of them: their ends are left out, in training and in
    /// losses. Generated ones are held against them as they were written.
    Truncated {
        /// How many.
        reports: usize,
        /// Reports in all.
        of: usize,
        /// Tokens that are left, the closing one included, where the model has room for as many.
        tokens: usize,
    },
    /// Something a user should know.
    Warning {
        /// What.
        message: String,
    },
    /// What the frozen prefix makes of the run's pictures is at hand, and batches carry it.
    Cached {
        /// Different pictures.
        pictures: usize,
        /// How many of them were computed now; the others had been before.
        computed: usize,
        /// What they take on disk.
        bytes: u64,
        /// Where they are.
        directory: PathBuf,
        /// What it took.
        seconds: f64,
    },
    /// An optimizer step.
    StepDone {
        /// Counted from 1.
        step: usize,
        /// Steps in all.
        of: usize,
        /// Counted from 1.
        epoch: usize,
        /// Mean over the step's target tokens in nats, label smoothing included.
        loss: f64,
        /// The learning rate it was made with.
        lr: f32,
        /// The gradient's norm before clipping.
        grad_norm: f64,
        /// In this step, the wait for its batches included.
        examples_per_second: f64,
        /// Spent on the run so far, by all its processes.
        seconds: f64,
    },
    /// How far something is that takes its time. Not written to events.jsonl.
    Progress {
        /// What is under way.
        of: Subject,
        /// Examples, pictures or steps done.
        done: usize,
        /// Examples, pictures or steps in all.
        examples: usize,
    },
    /// An evaluation.
    Evaluated {
        /// What was evaluated.
        of: Subject,
        /// After this step.
        step: usize,
        /// After this epoch.
        epoch: usize,
        /// Mean negative log-likelihood of the target tokens in nats, without label smoothing.
        loss: f64,
        /// Of generated texts: the part of answers that are right, or every score of reports; nothing where
        /// none were generated.
        #[serde(flatten)]
        scores: BTreeMap<Metric, f64>,
        /// Examples that texts were generated for.
        generated: usize,
        /// Whether it is the best checkpoint so far.
        best: bool,
        /// What it took.
        seconds: f64,
    },
    /// A checkpoint from which a killed run goes on was written.
    Saved {
        /// After this step.
        step: usize,
        /// The file.
        path: PathBuf,
    },
    /// The run was asked to stop, and can go on later.
    Stopped {
        /// After this step.
        step: usize,
        /// Steps in all.
        of: usize,
        /// The run directory, from which it goes on.
        output: PathBuf,
    },
    /// The run is over.
    Finished {
        /// What came out.
        outcome: Box<Outcome>,
    },
}

/// What an evaluation, or what else takes its time, is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The validation examples, with the parameters as they are.
    Validation,
    /// The test split, with the base as it came.
    TestBefore,
    /// The test split, with the best checkpoint.
    TestAfter,
    /// The test split with its images shuffled among the questions, with the best checkpoint.
    TestBlind,
    /// The pictures that a frozen prefix sees once.
    Pictures,
    /// Training examples, by which norms are compared.
    Norms,
    /// Learning rates, each for a step.
    Rates,
}

/// What came out of a run: metrics.json.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The run directory; not part of the file in it.
    #[serde(skip)]
    pub output: PathBuf,
    /// Elements trained.
    pub trained: usize,
    /// Elements in all.
    pub total: usize,
    /// Optimizer steps made.
    pub steps: usize,
    /// Whether patience ended the run before its last epoch.
    pub stopped_early: bool,
    /// The epoch whose parameters were kept, counted from 1; 0 if nothing was trained.
    pub best_epoch: usize,
    /// What the choice went by there on the validation examples, as `train.metric` says; absent where
    /// the last parameters were kept whatever they are worth.
    pub best_value: Option<f64>,
    /// The test split, where the data has one and the run was asked to look.
    pub test: Option<TestScores>,
    /// Of this and, if it was resumed, all earlier processes.
    pub seconds: f64,
    /// The largest resident set of this process, where the system tells.
    pub peak_memory_bytes: Option<u64>,
}

/// How the test split was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestScores {
    /// By the base as it came; absent where the run made its own base.
    pub before: Option<Scores>,
    /// By the best checkpoint.
    pub after: Scores,
    /// By the best checkpoint, the images shuffled among the questions: what can be had without
    /// looking. Absent where there is only one image.
    pub blind: Option<Scores>,
    /// What is of it in training, too; absent where its pictures are not read from files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<ImageOverlap>,
}
