//! Generation: greedy and beam search.

use serde::{Deserialize, Serialize};

use super::Model;
use crate::data::{Batch, TextRule};
use crate::tensor::Parameters;

/// How answers are generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerateRule {
    /// Beams; 1 is greedy.
    pub num_beams: usize,
    /// The longest answer in tokens, the closing one included.
    pub max_new_tokens: usize,
    /// Exponent of the length by which a beam's score is divided, as in transformers.
    pub length_penalty: f32,
}

impl Default for GenerateRule {
    fn default() -> Self {
        Self { num_beams: 1, max_new_tokens: 10, length_penalty: 1.0 }
    }
}

/// The generated tokens of each example, without start and end tokens.
pub fn generate(
    model: &dyn Model,
    params: &Parameters,
    batch: &Batch,
    rule: &GenerateRule,
    text: &TextRule,
) -> Vec<Vec<u32>> {
    let _ = (model, params, batch, rule, text);
    todo!()
}
