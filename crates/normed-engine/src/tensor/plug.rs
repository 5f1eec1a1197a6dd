//! Plugs: the extra parameters of a parameter-efficient tuning method, and where they act.
//!
//! A *socket* is a position of a model into which a tuning method may put parameters of its own; what
//! it puts there is a *plug*. There are three kinds of socket, each identified by a parameter that
//! every model of the kind has:
//!
//! | socket | identified by | plug | methods |
//! |---|---|---|---|
//! | a linear layer | its weight | [`Plug`] | LoRA, DoRA, IA3, bottleneck adapters |
//! | a self-attention | the weight of its key projection | [`PrefixKv`] | prefix tuning |
//! | a tower's input | its token embedding | virtual tokens, one parameter | prompt tuning |
//!
//! A layer asks the [`Graph`](super::Graph) whether its socket holds a plug, and computes with it. So
//! every model takes every method, and no model knows of any. The parameters of a plug are declared
//! among the model's own, under the names that the Python library PEFT gives them, so that adapters
//! are exchanged with PEFT without translation. They are counted, trained, planned and saved as any
//! others.
//!
//! `Parameters::plug_*` put a plug into a socket, [`Parameters::unplug_all`] empties all sockets.
//!
//! [`Parameters::unplug_all`]: super::Parameters::unplug_all

use super::parameter::ParamId;

/// The largest rank, bottleneck width or number of virtual tokens that recipes and adapter files may ask
/// for.
pub const MAX_ADDED_SIZE: usize = 1 << 14;

/// A plug of a linear layer `y = x Wᵀ + b`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Plug {
    /// A low-rank path parallel to the layer: LoRA or DoRA.
    LowRank(LowRank),
    /// A factor for each input or output channel: IA3.
    ChannelScale(ChannelScale),
    /// A small network after, or parallel to, the sublayer that ends with this layer: an adapter.
    Bottleneck(Bottleneck),
}

/// LoRA (Hu et al. 2021, arXiv 2106.09685, eq. 3): `y += s (x Aᵀ) Bᵀ`. With a magnitude it is DoRA
/// (Liu et al. 2024, arXiv 2402.09353, eq. 5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LowRank {
    /// `A [r, in]`; for a convolution, the kernel of a convolution with `r` output channels.
    pub a: ParamId,
    /// `B [out, r]`; for a convolution `[out, r, 1, 1]`.
    pub b: ParamId,
    /// DoRA's magnitudes `[out]`: the norms that the rows of `W + s B A` are scaled to.
    pub magnitude: Option<ParamId>,
    /// Scale `s` of the low-rank path: `alpha / r`, or `alpha / sqrt(r)` with `use_rslora`.
    pub scale: f32,
    /// PEFT's `lora_alpha`.
    pub alpha: f32,
    /// Whether the scale divides by `sqrt(r)` (rsLoRA) rather than by `r`.
    pub use_rslora: bool,
    /// The probability with which an element of `x` is dropped before `A` in training.
    pub dropout: f32,
}

/// IA3 (Liu et al. 2022, arXiv 2205.05638, section 3.3): each channel of the layer's input, or of its
/// output with the bias, is multiplied by a learned factor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelScale {
    /// The factors: `[1, in]` for the input, `[out, 1]` for the output.
    pub vector: ParamId,
    /// Whether the input's channels are multiplied rather than the output's.
    pub input: bool,
}

/// A bottleneck adapter (Houlsby et al. 2019, arXiv 1902.00751, section 2.1):
/// `y += gelu(z Dᵀ + d) Uᵀ + u`, where `z` is `y` itself, or the sublayer's input if `parallel`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bottleneck {
    /// `D [r, C]` and `d [r]`.
    pub down: [ParamId; 2],
    /// `U [C, r]` and `u [C]`.
    pub up: [ParamId; 2],
    /// Whether `z` is the sublayer's input (He et al. 2022, arXiv 2110.04366).
    pub parallel: bool,
}

/// The hyperparameters of a [`LowRank`] plug.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LowRankConfig {
    /// The rank `r`.
    pub rank: usize,
    /// See [`LowRank::alpha`].
    pub alpha: f32,
    /// See [`LowRank::use_rslora`].
    pub use_rslora: bool,
    /// See [`LowRank::dropout`].
    pub dropout: f32,
    /// Whether there is a magnitude vector (DoRA).
    pub has_magnitude: bool,
}

impl LowRankConfig {
    /// The scale `s` of the low-rank path: `alpha / r`, or `alpha / sqrt(r)` with rsLoRA.
    pub fn scale(self) -> f32 {
        let rank = self.rank as f32;
        self.alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }
}

/// The virtual keys and values before those of one self-attention.
///
/// With a projection, all blocks share one table of virtual tokens and the first layer of a network
/// (Li & Liang 2021, arXiv 2101.00190, section 4.3; PEFT's `PrefixEncoder`); its last layer is kept in
/// one part a block. Without, each block has a table of its own (Liu et al. 2021, arXiv 2110.07602,
/// section 3). `P` is the number of virtual tokens, `C` the width of keys.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PrefixKv {
    /// A table `[P, 2C]`: the block's keys, then its values.
    Table(ParamId),
    /// `tanh(E W₁ᵀ + b₁) W₂ᵀ + b₂`, of shape `[P, 2C]`.
    Projected {
        /// `E [P, C]`, shared by all blocks.
        table: ParamId,
        /// `W₁ [C, C]` and `b₁ [C]`, shared by all blocks.
        first: [ParamId; 2],
        /// `W₂ [2C, C]` and `b₂ [2C]` of this block.
        second: [ParamId; 2],
    },
}

impl PrefixKv {
    /// The table of virtual tokens.
    pub fn table(self) -> ParamId {
        match self {
            Self::Table(table) | Self::Projected { table, .. } => table,
        }
    }

    /// All its parameters. Blocks with a projection have some in common.
    pub fn parameters(self) -> Vec<ParamId> {
        match self {
            Self::Table(table) => vec![table],
            Self::Projected { table, first, second } => {
                [&[table], &first[..], &second[..]].concat()
            }
        }
    }
}
