//! The forms in which a method can add parameters to a model, and the parameters that each form has.
//!
//! The set of forms is fixed: each is an operation of the engine, with a backward pass. A method chooses a
//! form, its size and its initial values. A method that needs another form needs work in the engine first.

use crate::tensor::{LowRankConfig, ParamId, Parameters, Plug, PrefixKv};

/// What a method plugs into the socket of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// Two matrices of low rank, added to the weight of a linear layer.
    LowRank(LowRankConfig),
    /// A scaling vector over the channels of a linear layer.
    Scaling {
        /// Whether the channels of the input are multiplied; of the output otherwise.
        input: bool,
    },
    /// A small network of two layers after the linear layer that ends a sublayer.
    Bottleneck {
        /// Channels between its two layers.
        channels: usize,
        /// Whether it reads the input of the sublayer and not its output.
        parallel: bool,
    },
    /// Virtual tokens: self-attentions attend to their keys and values. The socket is the weight that makes
    /// the keys; all blocks of a tower share one prefix.
    Prefix {
        /// Number of virtual tokens.
        length: usize,
        /// Whether a network makes keys and values from the tokens; they are trained directly otherwise.
        projection: bool,
    },
    /// Virtual tokens before those of a tower. The socket is the table that embeds its tokens.
    Prompt {
        /// Number of virtual tokens.
        length: usize,
    },
}

/// Which of its form's parameters an added parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddedPiece {
    /// `A [r, in]` of a low-rank form.
    LowRankA,
    /// `B [out, r]` of a low-rank form.
    LowRankB,
    /// The magnitudes `[out]` of a low-rank form.
    Magnitude,
    /// The scaling vector, `[1, in]` or `[out, 1]`.
    Scale,
    /// The first layer's weight `[r, C]` in a bottleneck.
    DownWeight,
    /// The first layer's bias `[r]` in a bottleneck.
    DownBias,
    /// The second layer's weight `[C, r]` in a bottleneck.
    UpWeight,
    /// The second layer's bias `[C]` in a bottleneck.
    UpBias,
    /// A prefix's table of virtual tokens: `[P, C]` with a projection, `[P, 2C]` a block without.
    PrefixTable,
    /// The weight of a layer that makes a prefix's keys and values.
    ProjectionWeight,
    /// The bias of a layer that makes a prefix's keys and values.
    ProjectionBias,
    /// A prompt's table of virtual tokens `[P, C]`.
    PromptTable,
}

/// A parameter that a method added to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddedParameter {
    /// The parameter.
    pub id: ParamId,
    /// What it is in its form.
    pub piece: AddedPiece,
    /// The model's parameter whose socket it is plugged into.
    pub socket: ParamId,
    /// The number of inputs of the linear layer that it belongs to; 0 for a table or a vector.
    pub fan_in: usize,
}

impl Form {
    /// Whether it comes before all blocks of a tower and not in one of them.
    pub fn precedes_blocks(self) -> bool {
        self.is_prefix() || matches!(self, Self::Prompt { .. })
    }

    /// Whether it adds keys and values to self-attentions.
    pub(super) fn is_prefix(self) -> bool {
        matches!(self, Self::Prefix { .. })
    }

    /// Declares the parameters of this form in these sockets: one socket, or for a prefix those of all blocks of
    /// a tower. They have no values yet.
    pub(super) fn plug(self, params: &mut Parameters, sockets: &[ParamId]) {
        for &socket in sockets {
            match self {
                Self::LowRank(shape) => _ = params.plug_low_rank(socket, shape),
                Self::Scaling { input } => _ = params.plug_channel_scale(socket, input),
                Self::Bottleneck { channels, parallel } => {
                    params.plug_bottleneck(socket, channels, parallel);
                }
                Self::Prompt { length } => _ = params.plug_soft_prompt(socket, length),
                Self::Prefix { length, projection } => {
                    return params.plug_prefix(sockets, length, projection);
                }
            }
        }
    }

    /// The parameters of this form that are plugged into the socket of `socket`. (Blocks share some of a prefix.)
    pub(super) fn added(self, params: &Parameters, socket: ParamId) -> Vec<AddedParameter> {
        use AddedPiece as P;
        let inputs = |id: ParamId| params.get(id).shape()[1..].iter().product::<usize>();
        let added = |(id, piece, fan_in)| AddedParameter { id, piece, socket, fan_in };
        let list: Vec<(ParamId, P, usize)> = match self {
            Self::Prompt { .. } => {
                params.soft_prompt(socket).map(|id| (id, P::PromptTable, 0)).into_iter().collect()
            }
            Self::Prefix { .. } => match params.prefix(socket) {
                None => Vec::new(),
                Some(PrefixKv::Table(table)) => vec![(table, P::PrefixTable, 0)],
                Some(PrefixKv::Projected { table, first, second }) => {
                    let layer = |[weight, bias]: [ParamId; 2]| {
                        let inputs = inputs(weight);
                        [(weight, P::ProjectionWeight, inputs), (bias, P::ProjectionBias, inputs)]
                    };
                    let layers = [first, second].into_iter().flat_map(layer);
                    [(table, P::PrefixTable, 0)].into_iter().chain(layers).collect()
                }
            },
            Self::LowRank(_) | Self::Scaling { .. } | Self::Bottleneck { .. } => {
                match params.plug(socket) {
                    None => Vec::new(),
                    Some(Plug::LowRank(path)) => {
                        let rank = params.get(path.a).shape()[0];
                        let matrices =
                            [(path.a, P::LowRankA, inputs(path.a)), (path.b, P::LowRankB, rank)];
                        let magnitude = path.magnitude.map(|id| (id, P::Magnitude, 0));
                        matrices.into_iter().chain(magnitude).collect()
                    }
                    Some(Plug::ChannelScale(scaled)) => vec![(scaled.vector, P::Scale, 0)],
                    Some(Plug::Bottleneck(network)) => {
                        let ([down, up], [d, u]) = ([network.down, network.up], {
                            [inputs(network.down[0]), inputs(network.up[0])]
                        });
                        vec![
                            (down[0], P::DownWeight, d),
                            (down[1], P::DownBias, d),
                            (up[0], P::UpWeight, u),
                            (up[1], P::UpBias, u),
                        ]
                    }
                }
            }
        };
        list.into_iter().map(added).collect()
    }
}
