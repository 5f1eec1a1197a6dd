//! Layers, named as in the checkpoint. They declare parameters with their roles and call [`crate::ops`].

mod attention;
mod block;
mod bottleneck;
mod clip_block;
mod delta;
mod embedding;
mod linear;
mod llama_block;
mod mlp;
mod noise;
mod norm;
mod prefix;
mod prompt;
mod residual;
mod self_attention;

pub use attention::{Attention, FusedAttention, Seen};
pub use block::{BlockCache, PostNormBlock, PreNormBlock, Widths};
pub use clip_block::ClipBlock;
pub use embedding::TextEmbedding;
pub use linear::Linear;
pub use llama_block::{LlamaBlock, LlamaWidths};
pub use mlp::{GatedMlp, Mlp};
pub use noise::{Drops, Mode, Noise, Place};
pub use norm::{LayerNorm, RmsNorm};
pub use prompt::{prompt_length, prompted};
pub use self_attention::{Heads, SelfAttention};
