//! Layers: linear layers, norms, embeddings, attention, feed-forward networks, transformer blocks. Their
//! parameters are named as in the checkpoint.
//!
//! A layer declares its parameters, each with its role in the model, and computes with operations of
//! [`crate::ops`]. Most layers have two outputs: `forward` gives f32, for the residual stream and the norms;
//! `forward_autocast` gives the run's precision (bf16 in a bf16 run), for products that would round to it
//! anyway. Where a tuning method has plugged something in (LoRA, IA3, an adapter, a prefix, a prompt), the
//! layer computes with it, and the model need not know of it.

mod attention;
mod block;
mod bottleneck;
mod clip_block;
mod embedding;
mod linear;
mod llama_block;
mod mlp;
mod noise;
mod norm;
mod plug;
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
