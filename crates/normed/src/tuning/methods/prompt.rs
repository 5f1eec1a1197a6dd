//! Prompt tuning (Lester et al. 2021, arXiv 2104.08691): learned embeddings before those of a tower's tokens.

use crate::Range;
use crate::tensor::{AddedTraining, MAX_ADDED_SIZE, Parameters, Role, Tensor, random_uniform};
use crate::tuning::{
    AddedParameter, Additions, Form, Key, KeyDefault, KeyKind, Method, MethodDescription, Options,
};

/// In the paper, more than 20 virtual tokens gain little (section 3.2).
const LENGTH: Key = Key {
    name: "length",
    kind: KeyKind::Integer(Range::from_to(1, MAX_ADDED_SIZE)),
    default: KeyDefault::Integer(20),
    omit_default: false,
    meaning: "Virtual tokens before those of the sequence.",
};

impl Method {
    /// Prompt tuning: learned embeddings before those of a tower's tokens.
    pub const PROMPT: Self = Self::new(&MethodDescription {
        name: "prompt",
        summary: "Prepends learned token embeddings to the sequences of a tower.",
        keys: &[LENGTH],
        default_lr: 3e-2,
        trains: |_, _| false,
        adds: Some(Additions { form, initial_value: sampled_tokens, training }),
        keep: None,
        adapter_types: &["PROMPT_TUNING", "NORMED"],
    });
}

fn form(role: &Role, options: &Options) -> Option<Form> {
    role.is_token_embedding().then(|| Form::Prompt { length: options.integer(&LENGTH) })
}

/// Each virtual token starts as a token of the vocabulary (section 2.1), drawn from all of it (PEFT's
/// `SAMPLE_VOCAB`).
fn sampled_tokens(params: &Parameters, added: &AddedParameter, seed: u64) -> Tensor {
    let (words, prompt) = (params.get(added.socket), params.get(added.id));
    let (vocab_size, width) = (words.shape()[0], words.shape()[1]);
    let drawn = random_uniform(prompt.shape()[0], 0.5, seed, prompt.name());
    let mut values = vec![0.0; prompt.len()];
    for (row, x) in values.chunks_exact_mut(width).zip(drawn) {
        let token = ((x + 0.5) * vocab_size as f32) as usize;
        words.value().factor().copy_to_f32(token.min(vocab_size - 1) * width, row);
    }
    Tensor::new(prompt.shape(), values)
}

/// A table decays.
fn training(_: &AddedParameter) -> AddedTraining {
    AddedTraining { decays: true, starts_without_gradient: false }
}
