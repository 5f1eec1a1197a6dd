//! The vision transformer (Dosovitskiy et al. 2020, arXiv 2010.11929) as BLIP has it: norms before each
//! sublayer, a class token, and all tokens passed on.

use crate::Result;
use crate::models::config_keys::{check_multiple, check_rates, check_sizes};
use crate::nn::{BlockConfig, DropoutStreams, LayerNorm, Linear, PreNormBlock};
use crate::ops::{self, Activation};
use crate::tensor::{
    EmbeddingKind, Graph, Module, NormPosition, ParamId, ParamKind, Scope, Tensor, Var,
};

/// The configuration of a vision transformer: the keys of transformers' `BlipVisionConfig`.
#[derive(Debug, Clone, PartialEq)]
pub struct VitConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward networks.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Attention heads of each block.
    pub num_attention_heads: usize,
    /// Height and width of an image in pixels.
    pub image_size: usize,
    /// Height and width of a patch in pixels.
    pub patch_size: usize,
    /// Epsilon of the norms.
    pub layer_norm_eps: f64,
    /// The activation inside the feed-forward networks.
    pub hidden_act: Activation,
    /// Dropout rate of attention probabilities.
    pub attention_dropout: f64,
}

impl VitConfig {
    /// The config of BLIP's ViT-B/16 for images of this size, as its own code has it.
    pub fn base(image_size: usize) -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            image_size,
            patch_size: 16,
            layer_norm_eps: 1e-6,
            hidden_act: Activation::Gelu,
            attention_dropout: 0.0,
        }
    }

    /// The number of patches of an image.
    pub fn num_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// The number of states that an image has: the class token's and one for each patch.
    pub fn num_states(&self) -> usize {
        1 + self.num_patches()
    }

    /// The sizes of a block.
    pub fn block_config(&self) -> BlockConfig {
        BlockConfig {
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            heads: self.num_attention_heads,
            eps: self.layer_norm_eps as f32,
            activation: self.hidden_act,
        }
    }

    /// Checks that a tower of these sizes can exist; `place` names the config file in errors.
    ///
    /// # Errors
    /// If a size or a rate is out of range, or sizes do not divide as they must.
    pub(in crate::models) fn check(&self, place: &str) -> Result<()> {
        let place = &format!("{place}: vision_config");
        check_sizes(
            place,
            &[
                ("hidden_size", self.hidden_size, 1 << 16),
                ("intermediate_size", self.intermediate_size, 1 << 20),
                ("num_hidden_layers", self.num_hidden_layers, 1000),
                ("num_attention_heads", self.num_attention_heads, 1 << 16),
                ("image_size", self.image_size, 1 << 14),
                ("patch_size", self.patch_size, 1 << 14),
            ],
        )?;
        let heads = ("num_attention_heads", self.num_attention_heads);
        check_multiple(place, ("hidden_size", self.hidden_size), heads)?;
        let patch = ("patch_size", self.patch_size);
        check_multiple(place, ("image_size", self.image_size), patch)?;
        let eps = ("layer_norm_eps", self.layer_norm_eps);
        check_rates(place, eps, &[("attention_dropout", self.attention_dropout)])
    }
}

/// The image encoder: its layers, without their values.
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
    /// Declares the parameters `embeddings`, `encoder.layers` and `post_layernorm`.
    pub fn declare(scope: &mut Scope<'_>, config: &VitConfig) -> Self {
        let (width, patch_size) = (config.hidden_size, config.patch_size);
        let embeddings = &mut scope.sub("embeddings");
        let mut table = |name, shape: &[usize], part| {
            embeddings.declare(name, shape, Module::Embedding(part), ParamKind::Weight)
        };
        let class = table("class_embedding", &[1, 1, width], EmbeddingKind::Class);
        let rows = config.num_states();
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

    /// `pixels [P, 3, H, W]` to states `[P, 1 + patches, C]`, f32. Stochastic depth grows linearly from rate 0
    /// in the first block to `drop_path` in the last.
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
