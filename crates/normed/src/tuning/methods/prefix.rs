//! Prefix-tuning (Li & Liang 2021, arXiv 2101.00190): virtual tokens, to whose keys and values every
//! self-attention attends.

use crate::Range;
use crate::tensor::{
    AddedTraining, MAX_ADDED_SIZE, Parameters, Role, Tensor, random_normal, random_uniform,
};
use crate::tuning::{
    AddedParameter, AddedPiece, Additions, Form, Key, KeyDefault, KeyKind, Method,
    MethodDescription, Options,
};

/// The key for the number of virtual tokens of a prefix.
pub(super) const LENGTH: Key = Key {
    name: "length",
    kind: KeyKind::Integer(Range::from_to(1, MAX_ADDED_SIZE)),
    default: KeyDefault::Integer(10),
    omit_default: false,
    meaning: "Virtual tokens before those of the sequence.",
};

const PROJECTION: Key = Key {
    name: "projection",
    kind: KeyKind::Boolean,
    default: KeyDefault::Boolean(true),
    omit_default: false,
    meaning: "Whether a small network makes keys and values from the tokens (PEFT's prefix_projection).",
};

impl Method {
    /// Prefix-tuning: keys and values prepended in every self-attention, made by a small network.
    pub const PREFIX: Self = Self::new(&MethodDescription {
        name: "prefix",
        summary: "Prepends learned keys and values in every self-attention, produced by a small network.",
        keys: &[LENGTH, PROJECTION],
        default_lr: 1e-2,
        trains: |_, _| false,
        adds: Some(Additions { form, initial_value, training }),
        keep: None,
        adapter_types: &["PREFIX_TUNING", "NORMED"],
    });
}

fn form(role: &Role, options: &Options) -> Option<Form> {
    let (length, projection) = (options.integer(&LENGTH), options.boolean(&PROJECTION));
    role.is_key_weight().then_some(Form::Prefix { length, projection })
}

/// PyTorch's initial values, which PEFT uses for prefixes: a table is normal with standard deviation 1, a linear
/// layer uniform within `1 / sqrt(in)`.
pub(super) fn initial_value(params: &Parameters, added: &AddedParameter, seed: u64) -> Tensor {
    let parameter = params.get(added.id);
    let values = match added.piece {
        AddedPiece::PrefixTable => random_normal(parameter.len(), 1.0, seed, parameter.name()),
        _ => {
            let bound = 1.0 / (added.fan_in as f32).sqrt();
            random_uniform(parameter.len(), bound, seed, parameter.name())
        }
    };
    Tensor::new(parameter.shape(), values)
}

/// Tables and weights decay, biases do not.
pub(super) fn training(added: &AddedParameter) -> AddedTraining {
    let decays = added.piece != AddedPiece::ProjectionBias;
    AddedTraining { decays, starts_without_gradient: false }
}
