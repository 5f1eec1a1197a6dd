//! What is asked of a data set: its own questions, or a report of each study.

use std::sync::Arc;

use serde::Serialize;

use super::{Dataset, Example};
use crate::Result;

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// The data set's questions about its pictures.
    #[default]
    Vqa,
    /// A report of each study, of one picture or several.
    Report {
        /// What a model is asked for it: the question of a model with an encoder for questions, the
        /// user's turn of a language model. The same for every study.
        prompt: String,
    },
}

impl Task {
    /// What is asked for a report where nothing else is said.
    pub const DEFAULT_REPORT_PROMPT: &str = "describe the findings of this study.";

    /// A report, asked for by [`Task::DEFAULT_REPORT_PROMPT`].
    pub fn report() -> Self {
        Self::Report { prompt: Self::DEFAULT_REPORT_PROMPT.to_owned() }
    }

    /// Whether it is the data set's questions.
    pub fn is_vqa(&self) -> bool {
        *self == Self::Vqa
    }

    /// `dataset` with its prompt, where it has one.
    pub(super) fn ask(&self, dataset: Arc<dyn Dataset>) -> Arc<dyn Dataset> {
        match self {
            Self::Vqa => dataset,
            Self::Report { prompt } => Arc::new(Asked { dataset, prompt: prompt.clone() }),
        }
    }
}

/// Studies, each asked about by the same prompt.
struct Asked {
    dataset: Arc<dyn Dataset>,
    prompt: String,
}

impl Dataset for Asked {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn get(&self, i: usize) -> Result<Example> {
        Ok(Example { question: self.prompt.clone(), ..self.dataset.get(i)? })
    }
}
