//! The vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929) as BLIP has it: pre-norm, a
//! class token, all tokens given on.

use crate::models::miss::VisionConfig;
use crate::nn::{DropoutStreams, LayerNorm, Linear, PreNormBlock};
use crate::ops;
use crate::tensor::{
    EmbeddingKind, Graph, Module, NormPosition, ParamId, ParamKind, Scope, Tensor, Var,
};

/// The image encoder.
#[derive(Debug, Clone)]
pub struct Vit {
    class: ParamId,
    positions: ParamId,
    patch: Linear,
    patch_size: usize,
    blocks: Vec<PreNormBlock>,
    norm: LayerNorm,
}

impl Vit {
    /// Declares `embeddings`, `encoder.layers`, `post_layernorm`.
    pub fn declare(scope: &mut Scope<'_>, config: &VisionConfig) -> Self {
        let (width, patch_size) = (config.hidden_size, config.patch_size);
        let embeddings = &mut scope.sub("embeddings");
        let mut table = |name, shape: &[usize], part| {
            embeddings.declare(name, shape, Module::Embedding(part), ParamKind::Weight)
        };
        let class = table("class_embedding", &[1, 1, width], EmbeddingKind::Class);
        let rows = config.num_patches() + 1;
        let positions = table("position_embedding", &[1, rows, width], EmbeddingKind::Position);
        // A convolution whose stride is its kernel's size; the checkpoint keeps the kernel's shape.
        let patch = {
            let scope = &mut embeddings.sub("patch_embedding");
            let part = Module::Embedding(EmbeddingKind::Patch);
            let kernel = [width, 3, patch_size, patch_size];
            Linear {
                weight: scope.declare("weight", &kernel, part, ParamKind::Weight),
                bias: Some(scope.declare("bias", &[width], part, ParamKind::Bias)),
            }
        };
        let blocks = (0..config.num_hidden_layers)
            .map(|i| {
                let mut encoder = scope.sub("encoder");
                PreNormBlock::declare(&mut encoder.layer("layers", i), config.block_config())
            })
            .collect();
        let (eps, place) = (config.layer_norm_eps as f32, NormPosition::Final);
        let norm = LayerNorm::declare(scope, "post_layernorm", width, eps, place);
        Self { class, positions, patch, patch_size, blocks, norm }
    }

    /// `pixels [B, 3, H, W] -> [B, 1 + patches, C]`. Branches are dropped at a rate that grows
    /// linearly from 0 in the first block to `drop_path` in the last.
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        pixels: &Tensor,
        dropout: &DropoutStreams,
        drop_path: f32,
    ) -> Var {
        let x = Var::constant(ops::extract_patches(pixels, self.patch_size));
        let x = self.patch.forward(g, &x);
        let mut x = ops::prepend_class_and_add_positions(g, &x, self.class, self.positions);
        let last = self.blocks.len().saturating_sub(1).max(1) as f32;
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(g, &x, &dropout.at_layer(i, drop_path * i as f32 / last));
        }
        self.norm.forward(g, &x)
    }
}
