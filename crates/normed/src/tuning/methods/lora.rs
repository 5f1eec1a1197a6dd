//! LoRA (Hu et al. 2021, arXiv 2106.09685) and its variants rsLoRA (Kalajdzievski 2023, arXiv 2312.03732) and
//! DoRA (Liu et al. 2024, arXiv 2402.09353). The keys have PEFT's names.

use crate::Range;
use crate::ops;
use crate::tensor::{
    AddedTraining, Graph, LowRankConfig, MAX_ADDED_SIZE, Parameters, Plug, Role, Tensor,
    random_uniform,
};
use crate::tuning::{
    AddedParameter, AddedPiece, Additions, Form, Key, KeyDefault, KeyKind, Method,
    MethodDescription, OptionValue, Options, Target,
};

const RANK: Key = Key {
    name: "rank",
    kind: KeyKind::Integer(Range::from_to(1, MAX_ADDED_SIZE)),
    default: KeyDefault::Integer(8),
    omit_default: false,
    meaning: "The rank r of the added matrices.",
};

const ALPHA: Key = Key {
    name: "alpha",
    kind: KeyKind::Number(Range::above(0.0)),
    default: KeyDefault::Computed {
        text: "2 × rank",
        compute: |options| OptionValue::Number(2.0 * options.integer(&RANK) as f32),
    },
    omit_default: false,
    meaning: "The product of the added matrices is scaled by alpha / r.",
};

const DROPOUT: Key = Key {
    name: "dropout",
    kind: KeyKind::Number(Range::from_to_less_than(0.0, 1.0)),
    default: KeyDefault::Number(0.0),
    omit_default: false,
    meaning: "Dropout rate of the input of the added matrices, in training.",
};

const TARGETS: Key = Key {
    name: "targets",
    kind: KeyKind::SomeOf(&Target::NAMES),
    default: KeyDefault::Names(&["query", "value"]),
    omit_default: false,
    meaning: "The linear layers that get low-rank matrices.",
};

const USE_RSLORA: Key = Key {
    name: "use_rslora",
    kind: KeyKind::Boolean,
    default: KeyDefault::Boolean(false),
    omit_default: false,
    meaning: "Whether the scale is alpha / sqrt(r) instead (rsLoRA).",
};

const USE_DORA: Key = Key {
    name: "use_dora",
    kind: KeyKind::Boolean,
    default: KeyDefault::Boolean(false),
    omit_default: false,
    meaning: "Whether the norms of the weight's rows are trained as magnitudes (DoRA).",
};

impl Method {
    /// LoRA: low-rank matrices added to linear layers, whose own weights stay frozen.
    pub const LORA: Self = Self::new(&MethodDescription {
        name: "lora",
        summary: "Adds low-rank matrices to linear layers and trains them.",
        keys: &[RANK, ALPHA, DROPOUT, TARGETS, USE_RSLORA, USE_DORA],
        default_lr: 1e-3,
        trains: |_, _| false,
        adds: Some(Additions { form, initial_value, training }),
        keep: None,
        adapter_types: &["LORA"],
    });
}

fn form(role: &Role, options: &Options) -> Option<Form> {
    let shape = || LowRankConfig {
        rank: options.integer(&RANK),
        alpha: options.number(&ALPHA),
        use_rslora: options.boolean(&USE_RSLORA),
        dropout: options.number(&DROPOUT),
        has_magnitude: options.boolean(&USE_DORA),
    };
    Target::any_selects(&options.names(&TARGETS), role).then(|| Form::LowRank(shape()))
}

/// `A` is uniform within `1 / sqrt(in)`, as PyTorch starts a linear layer. `B` is 0, and magnitudes are the norms
/// of the weight's rows, so that the model's output does not change.
fn initial_value(params: &Parameters, added: &AddedParameter, seed: u64) -> Tensor {
    let parameter = params.get(added.id);
    match (added.piece, params.plug(added.socket)) {
        (AddedPiece::LowRankA, _) => {
            let bound = 1.0 / (added.fan_in as f32).sqrt();
            let values = random_uniform(parameter.len(), bound, seed, parameter.name());
            Tensor::new(parameter.shape(), values)
        }
        (AddedPiece::Magnitude, Some(Plug::LowRank(path))) => {
            let norms = ops::merged_row_norms(&Graph::inference(params), added.socket, path);
            Tensor::new(parameter.shape(), norms)
        }
        _ => Tensor::zeros(parameter.shape()),
    }
}

/// `A` has no gradient while `B` is 0. Magnitudes are norms of rows, which weight decay would pull to 0.
fn training(added: &AddedParameter) -> AddedTraining {
    AddedTraining {
        decays: added.piece != AddedPiece::Magnitude,
        starts_without_gradient: added.piece == AddedPiece::LowRankA,
    }
}
