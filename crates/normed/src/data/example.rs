//! An example: one question about an image, or one study and its report; and data sets of examples.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ImageSource;
use super::yes_no::yes_or_no;
use crate::{Error, Result};

/// The kind of an answer: open or closed, as the data set's `answer_type` says, or a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AnswerType {
    /// An answer in free text.
    Open,
    /// Yes or no, or one of the options that the question names.
    Closed,
    /// A report of a study. The question is the prompt that asks for it.
    Report,
}

impl AnswerType {
    /// The type of an answer whose row states none: yes and no are closed ([`yes_or_no`]), all others open.
    pub(super) fn derived(answer: &str) -> Self {
        if yes_or_no(answer).is_some() { Self::Closed } else { Self::Open }
    }
}

/// The true answer to a question, or the report of a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The text as written. It may be empty: published data sets have some empty answers, and score them.
    pub text: String,
    /// Open, closed or a report.
    pub answer_type: AnswerType,
}

impl Answer {
    /// An answer with this text and type.
    pub fn new(text: impl Into<String>, answer_type: AnswerType) -> Self {
        Self { text: text.into(), answer_type }
    }

    /// An answer of a data set that has no types ([`AnswerType::derived`]).
    pub(super) fn with_derived_type(text: String) -> Self {
        Self { answer_type: AnswerType::derived(&text), text }
    }
}

/// The part of a data set that an example belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The training split.
    Train,
    /// The validation split, by which the best checkpoint is chosen.
    #[serde(alias = "val", alias = "valid", alias = "validation")]
    Validate,
    /// The test split, whose scores are reported.
    Test,
}

impl Split {
    /// The split with this name: `train` (or `training`), `validate` (`val`, `valid`, `validation`, `dev`) or `test` (`testing`).
    /// Case and surrounding blanks do not matter.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Self::Train),
            "validate" | "val" | "valid" | "validation" | "dev" => Some(Self::Validate),
            "test" | "testing" => Some(Self::Test),
            _ => None,
        }
    }

    /// The name of the split in files: `train`, `validate` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validate => "validate",
            Self::Test => "test",
        }
    }
}

/// One question about an image, or one study and its report.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Unique within the data set. The random streams of the example are derived from it.
    pub id: String,
    /// The image that the question is about, or the images (views) of a study or a conversation, which may have none.
    pub images: Vec<ImageSource>,
    /// The name of the image, or of all images together. Confidence intervals cluster by it, unless `group`
    /// is set.
    pub image_name: String,
    /// The question as written; for a report, the prompt.
    pub question: String,
    /// The true answer; `None` if it is not known, so that the model can be asked and nothing can be scored.
    pub answer: Option<Answer>,
    /// The split that the data set assigns.
    pub split: Split,
    /// The patient or the study. No group is in two splits, and confidence intervals cluster by it.
    pub group: Option<String>,
    /// What was said before the question, in order; empty if the question is the first turn. Models without a
    /// conversation read the question alone.
    pub history: Vec<Turn>,
    /// The file and the row that it was read from, which errors name; empty if it was read from no file.
    pub place: String,
    /// Further attributes by name, such as `modality`, `organ`, `question_type`.
    pub attributes: Attributes,
}

impl Example {
    /// The error of one of the example's images, with the row that names the image.
    pub(crate) fn name_row(&self, error: Error) -> Error {
        if self.place.is_empty() {
            return error;
        }
        let cause = format!("image {}: {}", error.place(), error.cause());
        Error::new(error.kind(), &self.place, cause)
            .with_remedy("correct the row, or skip broken rows: on_bad_example = \"skip\"")
    }
}

/// A turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// The text, without places of images.
    pub text: String,
    /// How many of the example's images are shown in this turn, in order; the question shows those that are left.
    pub images: usize,
}

impl Turn {
    /// A turn of the user, in which this many images are shown.
    pub fn user(text: impl Into<String>, images: usize) -> Self {
        Self { role: Role::User, text: text.into(), images }
    }
}

/// Who speaks in a turn of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions before the conversation.
    System,
    /// The user, who asks.
    User,
    /// The assistant, who answers.
    Assistant,
}

impl Role {
    /// The name in chat templates: `system`, `user` or `assistant`.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

impl Example {
    /// The true answer, which training and scoring need.
    ///
    /// # Errors
    ///
    /// If the example has none.
    pub fn expect_answer(&self) -> Result<&Answer> {
        self.answer.as_ref().ok_or_else(|| self.lacks_answer())
    }

    /// The error that the example has no answer.
    pub(crate) fn lacks_answer(&self) -> Error {
        Error::invalid(self.name(), "it has no answer, which training and scoring need")
            .with_remedy("add `answer`; without it a model can only be asked: normed predict")
    }

    /// The conversation up to its answer: the earlier turns, and the question with the images that are left.
    pub fn turns(&self) -> Vec<Turn> {
        let shown: usize = self.history.iter().map(|turn| turn.images).sum();
        let question = Turn::user(self.question.as_str(), self.images.len().saturating_sub(shown));
        self.history.iter().cloned().chain([question]).collect()
    }

    /// What errors call the example: its row and its id.
    pub fn name(&self) -> String {
        match self.place.as_str() {
            "" => format!("example `{}`", self.id),
            place => format!("{place}: example `{}`", self.id),
        }
    }
}

/// Attributes of an example: names and values.
pub type Attributes = BTreeMap<String, String>;

/// A data set: examples by index.
pub trait Dataset: Send + Sync {
    /// The number of examples.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Reads example `i`. Its images are sources: nothing is decoded or drawn.
    ///
    /// # Errors
    ///
    /// If there is no example `i`.
    fn get(&self, i: usize) -> Result<Example>;
}

/// Examples in memory.
impl Dataset for Vec<Example> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn get(&self, i: usize) -> Result<Example> {
        let missing =
            || Error::invalid("data", format!("no example {i}; there are {}", self.len()));
        self.as_slice().get(i).cloned().ok_or_else(missing)
    }
}

/// Some examples of another data set, in a given order.
pub struct Subset {
    dataset: Arc<dyn Dataset>,
    indices: Vec<usize>,
}

impl Subset {
    /// A data set whose example `i` is example `indices[i]` of `dataset`.
    pub fn new(dataset: Arc<dyn Dataset>, indices: Vec<usize>) -> Self {
        Self { dataset, indices }
    }
}

impl Dataset for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn get(&self, i: usize) -> Result<Example> {
        self.dataset.get(self.indices[i])
    }
}

/// The indices of the examples of `split`, in order.
///
/// # Errors
///
/// If an example cannot be read.
pub fn indices_of(dataset: &dyn Dataset, split: Split) -> Result<Vec<usize>> {
    let mut indices = Vec::new();
    for i in 0..dataset.len() {
        if dataset.get(i)?.split == split {
            indices.push(i);
        }
    }
    Ok(indices)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A closed question about the image file `image`.
    pub fn example(id: &str, image: &str) -> Example {
        Example {
            id: id.into(),
            images: vec![ImageSource::File(image.into())],
            image_name: image.into(),
            question: "Is it normal?".into(),
            answer: Some(Answer::new("no", AnswerType::Closed)),
            split: Split::Test,
            group: None,
            history: Vec::new(),
            place: String::new(),
            attributes: Attributes::new(),
        }
    }

    #[test]
    fn a_subset_keeps_its_order() {
        let mut rows = vec![example("a", "1"), example("b", "1"), example("c", "2")];
        rows[1].split = Split::Train;
        let dataset: Arc<dyn Dataset> = Arc::new(rows);
        assert_eq!(indices_of(&*dataset, Split::Test).unwrap(), [0, 2]);
        let subset = Subset::new(dataset.clone(), vec![2, 0]);
        assert_eq!((subset.len(), subset.get(0).unwrap().id), (2, "c".into()));
        assert!(dataset.get(3).is_err());
    }

    #[test]
    fn names_of_splits() {
        for split in [Split::Train, Split::Validate, Split::Test] {
            assert_eq!(Split::from_name(split.name()), Some(split));
        }
        assert_eq!(Split::from_name("val"), Some(Split::Validate));
        assert_eq!(Split::from_name("Test"), Some(Split::Test));
        assert_eq!(Split::from_name("dev2"), None);
    }
}
