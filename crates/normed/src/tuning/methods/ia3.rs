//! IA3 (Liu et al. 2022, arXiv 2205.05638): learned scaling vectors for keys, values and the hidden states of
//! feed-forward networks.

use crate::tensor::{AddedTraining, AttentionProjection, Module, Parameters, Role, Tensor};
use crate::tuning::{
    AddedParameter, Additions, Form, Key, KeyDefault, KeyKind, Method, MethodDescription, Options,
    Target,
};

/// The default is the paper's: keys, values, and the input of `fc2`.
const TARGETS: Key = Key {
    name: "targets",
    kind: KeyKind::SomeOf(&Target::NAMES),
    default: KeyDefault::Names(&["key", "value", "fc2"]),
    omit_default: false,
    meaning: "The linear layers to scale: the input channels of output and fc2, the output channels of all others.",
};

impl Method {
    /// IA3: scaling vectors for channels of linear layers, whose own weights stay frozen.
    pub const IA3: Self = Self::new(&MethodDescription {
        name: "ia3",
        summary: "Adds scaling vectors for keys, values and feed-forward states and trains them.",
        keys: &[TARGETS],
        default_lr: 5e-3,
        trains: |_, _| false,
        adds: Some(Additions { form, initial_value: ones, training }),
        keep: None,
        adapter_types: &["IA3"],
    });
}

fn form(role: &Role, options: &Options) -> Option<Form> {
    use AttentionProjection::Output;
    let selected = Target::any_selects(&options.names(&TARGETS), role);
    let input = matches!(
        role.module,
        Module::Fc2 | Module::Down | Module::Attention(Output) | Module::CrossAttention(Output)
    );
    selected.then_some(Form::Scaling { input })
}

/// Ones, so that the model's output does not change.
fn ones(params: &Parameters, added: &AddedParameter, _: u64) -> Tensor {
    let parameter = params.get(added.id);
    Tensor::new(parameter.shape(), vec![1.0; parameter.len()])
}

/// Scales are near 1: weight decay would pull them to 0.
fn training(_: &AddedParameter) -> AddedTraining {
    AddedTraining { decays: false, starts_without_gradient: false }
}
