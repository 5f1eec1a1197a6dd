//! Predictions in, numbers out. Nothing here knows of tensors or models.

use serde::{Deserialize, Serialize};

use crate::data::AnswerType;

/// A line of predictions.jsonl.
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
    /// `OPEN` or `CLOSED`.
    pub answer_type: AnswerType,
    /// Summed negative log-likelihood in nats of the answer's tokens and the closing one.
    pub nll: f64,
    /// The number of tokens that `nll` sums over.
    pub num_target_tokens: usize,
    /// What intervals cluster by: the example's group, else its image.
    #[serde(default)]
    pub cluster: String,
}
