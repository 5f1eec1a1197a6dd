//! One question about one image, and a set of them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Result;

/// How a question can be answered, as the data set's `answer_type` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AnswerType {
    /// A free answer.
    Open,
    /// A choice: yes or no, or one of the options that the question names.
    Closed,
}

/// The part of a data set that an example belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// For training.
    Train,
    /// For choosing a checkpoint.
    #[serde(alias = "val", alias = "valid", alias = "validation")]
    Validate,
    /// For the figures that are reported.
    Test,
}

/// Where an example's picture comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageSource {
    /// A file to decode.
    File(PathBuf),
    /// Pixels that a generator drew.
    Drawn(std::sync::Arc<crate::data::Picture>),
}

/// One question about one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Unique within the data set; random streams are keyed by it.
    pub id: String,
    /// The picture asked about.
    pub image: ImageSource,
    /// The name of the picture: intervals cluster by it unless `group` is given.
    pub image_name: String,
    /// The question, as written.
    pub question: String,
    /// The answer, as written.
    pub answer: String,
    /// Open or closed.
    pub answer_type: AnswerType,
    /// The split that the data set assigns.
    pub split: Split,
    /// A patient or a study; splits never share one, and intervals cluster by it.
    pub group: Option<String>,
}

/// Examples that can be had by index.
pub trait Dataset: Send + Sync {
    /// The number of examples.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Example `i`, with its picture as a source, not yet decoded.
    fn get(&self, i: usize) -> Result<Example>;
}
