//! Adapters (Houlsby et al. 2019, arXiv 1902.00751): small networks after attention and feed-forward network,
//! or parallel to them (He et al. 2021, arXiv 2110.04366, section 3.3).

use crate::Range;
use crate::tensor::{AddedTraining, MAX_ADDED_SIZE, Parameters, Role, Tensor, random_normal};
use crate::tuning::{
    AddedParameter, AddedPiece, Additions, Form, Key, KeyDefault, KeyKind, Method,
    MethodDescription, Options,
};

const BOTTLENECK: Key = Key {
    name: "bottleneck",
    kind: KeyKind::Integer(Range::from_to(1, MAX_ADDED_SIZE)),
    default: KeyDefault::Integer(64),
    omit_default: false,
    meaning: "Channels between the two layers of each adapter.",
};

const PARALLEL: Key = Key {
    name: "parallel",
    kind: KeyKind::Boolean,
    default: KeyDefault::Boolean(false),
    omit_default: false,
    meaning: "Whether an adapter reads the input of the sublayer and not its output.",
};

impl Method {
    /// Adapters: small networks after, or parallel to, attention and feed-forward network.
    pub const ADAPTER: Self = Self::new(&MethodDescription {
        name: "adapter",
        summary: "Adds small bottleneck networks to attentions and feed-forward networks and trains them.",
        keys: &[BOTTLENECK, PARALLEL],
        default_lr: 1e-3,
        trains: |_, _| false,
        adds: Some(Additions { form, initial_value, training }),
        keep: None,
        adapter_types: &["NORMED"],
    });
}

fn form(role: &Role, options: &Options) -> Option<Form> {
    let channels = options.integer(&BOTTLENECK);
    let parallel = options.boolean(&PARALLEL);
    role.is_sublayer_output().then_some(Form::Bottleneck { channels, parallel })
}

/// The paper's near-identity (section 3.2), made exact: the first layer's weight is normal with deviation 0.02,
/// all else is 0.
fn initial_value(params: &Parameters, added: &AddedParameter, seed: u64) -> Tensor {
    let parameter = params.get(added.id);
    match added.piece {
        AddedPiece::DownWeight => {
            let values = random_normal(parameter.len(), 0.02, seed, parameter.name());
            Tensor::new(parameter.shape(), values)
        }
        _ => Tensor::zeros(parameter.shape()),
    }
}

/// The first layer has no gradient while the second layer's weight is 0.
fn training(added: &AddedParameter) -> AddedTraining {
    use AddedPiece::{DownBias, DownWeight, UpWeight};
    AddedTraining {
        decays: matches!(added.piece, DownWeight | UpWeight),
        starts_without_gradient: matches!(added.piece, DownWeight | DownBias),
    }
}
