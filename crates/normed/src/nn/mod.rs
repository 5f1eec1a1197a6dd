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

pub use attention::{Attention, AttentionMask, FusedAttention};
pub use block::{BlockCache, BlockConfig, PostNormBlock, PreNormBlock};
pub use clip_block::ClipBlock;
pub use embedding::TextEmbedding;
pub use linear::Linear;
pub use llama_block::{LlamaBlock, LlamaBlockConfig};
pub use mlp::{GatedMlp, Mlp};
pub use noise::{DropoutSite, DropoutStreams, Mode, Noise};
pub use norm::{LayerNorm, RmsNorm};
pub use prompt::{prepend_prompt, prompt_length};
pub use self_attention::{AttentionShape, SelfAttention};
