//! Layers, named as in the checkpoint. They declare parameters with their roles and call [`crate::ops`].

mod attention;
mod block;
mod embedding;
mod linear;
mod mlp;
mod noise;
mod norm;
mod residual;

pub use attention::{Attention, FusedAttention, Seen};
pub use block::{BlockCache, PostNormBlock, PreNormBlock, Widths};
pub use embedding::TextEmbedding;
pub use linear::Linear;
pub use mlp::Mlp;
pub use noise::{Drops, Mode, Noise, Place};
pub use norm::LayerNorm;
