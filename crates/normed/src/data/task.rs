//! The task: answer the questions of a data set, or write a report of each study.

use std::sync::Arc;

use serde::Serialize;

use super::{Dataset, Example};
use crate::Result;

/// What a model is to do with a data set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// Answer the data set's questions about its images.
    #[default]
    Vqa,
    /// Write a report of each study, from its image or images.
    Report {
        /// The prompt that asks for a report, the same for every study: the question of an
        /// encoder-decoder model, the user's message to a language model.
        prompt: String,
    },
}

impl Task {
    /// The default prompt that asks for a report.
    pub const DEFAULT_REPORT_PROMPT: &str = "describe the findings of this study.";

    /// The task to write reports, with the prompt [`Task::DEFAULT_REPORT_PROMPT`].
    pub fn report() -> Self {
        Self::Report { prompt: Self::DEFAULT_REPORT_PROMPT.to_owned() }
    }

    /// Whether the task is to answer questions.
    pub fn is_vqa(&self) -> bool {
        *self == Self::Vqa
    }

    /// `example` with the prompt of this task, if it has one, as its question.
    pub(super) fn ask(&self, example: Example) -> Example {
        match self {
            Self::Vqa => example,
            Self::Report { prompt } => Example { question: prompt.clone(), ..example },
        }
    }

    /// `dataset` with the prompt of this task, if it has one, as the question of each example.
    pub(super) fn apply(&self, dataset: Arc<dyn Dataset>) -> Arc<dyn Dataset> {
        match self {
            Self::Vqa => dataset,
            Self::Report { .. } => Arc::new(Prompted { dataset, task: self.clone() }),
        }
    }
}

/// A data set whose examples all have the same prompt as their question.
struct Prompted {
    dataset: Arc<dyn Dataset>,
    task: Task,
}

impl Dataset for Prompted {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn get(&self, i: usize) -> Result<Example> {
        Ok(self.task.ask(self.dataset.get(i)?))
    }
}
