//! CLIP's vision transformer (Radford et al. 2021, arXiv 2103.00020, section 2.4), up to the layer whose states
//! a language model reads.

use serde_json::{Value, json};

use crate::models::activation_names::{activation_name, read_activation};
use crate::models::config_keys::{ConfigKeys, check_multiple, check_rates, check_sizes};
use crate::nn::{BlockConfig, ClipBlock, DropoutStreams, LayerNorm, Linear};
use crate::ops::{self, Activation};
use crate::tensor::{
    EmbeddingKind, Graph, Module, NormPosition, ParamId, ParamKind, Parameter, Parameters, Scope,
    Tensor, Tower, Var,
};
use crate::{Error, Result};

/// Why parameters above the feature layer are never trained.
const ABOVE: &str = "it is above the layer whose states the language model reads";

/// The configuration of a CLIP image encoder: the keys of transformers' `CLIPVisionConfig`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipConfig {
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

impl ClipConfig {
    /// The config of OpenAI's ViT-L/14 for images of this size: `clip-vit-large-patch14` for 224,
    /// `clip-vit-large-patch14-336` for 336.
    pub fn large(image_size: usize) -> Self {
        Self {
            hidden_size: 1024,
            intermediate_size: 4096,
            num_hidden_layers: 24,
            num_attention_heads: 16,
            image_size,
            patch_size: 14,
            layer_norm_eps: 1e-5,
            hidden_act: Activation::QuickGelu,
            attention_dropout: 0.0,
        }
    }

    /// Reads a `CLIPVisionConfig`; absent keys take its defaults.
    ///
    /// # Errors
    /// If a key has a value that is not supported.
    pub(in crate::models) fn read(keys: &ConfigKeys) -> Result<Self> {
        keys.expect_one_of("model_type", &["clip_vision_model"])?;
        let hidden_act = read_activation(keys, "hidden_act", Activation::QuickGelu)?;
        Ok(Self {
            hidden_size: keys.get_or("hidden_size", 768)?,
            intermediate_size: keys.get_or("intermediate_size", 3072)?,
            num_hidden_layers: keys.get_or("num_hidden_layers", 12)?,
            num_attention_heads: keys.get_or("num_attention_heads", 12)?,
            image_size: keys.get_or("image_size", 224)?,
            patch_size: keys.get_or("patch_size", 32)?,
            layer_norm_eps: keys.get_or("layer_norm_eps", 1e-5)?,
            hidden_act,
            attention_dropout: keys.get_or("attention_dropout", 0.0)?,
        })
    }

    /// The content of a `CLIPVisionConfig`.
    pub(in crate::models) fn to_json(&self) -> Value {
        json!({
            "model_type": "clip_vision_model",
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "image_size": self.image_size,
            "patch_size": self.patch_size,
            "layer_norm_eps": self.layer_norm_eps,
            "hidden_act": activation_name(self.hidden_act),
            "attention_dropout": self.attention_dropout,
        })
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
        if self.patch_size > self.image_size {
            let (patch, image) = (self.patch_size, self.image_size);
            let cause = format!("patch_size {patch} is larger than image_size {image}");
            return Err(Error::invalid(place, cause));
        }
        let eps = ("layer_norm_eps", self.layer_norm_eps);
        check_rates(place, eps, &[("attention_dropout", self.attention_dropout)])
    }

    /// The number of patches of an image. Pixels after the last whole patch are ignored.
    pub fn num_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }
}

/// The image encoder: its layers, without their values.
#[derive(Debug, Clone)]
pub struct Clip {
    class: ParamId,
    positions: ParamId,
    patch: Linear,
    patch_size: usize,
    pre_norm: LayerNorm,
    /// The blocks up to the last feature layer.
    blocks: Vec<ClipBlock>,
    /// The numbers of blocks before the states that are given out.
    layers: Vec<usize>,
    /// Tokens of an image, the class token included.
    tokens: usize,
    with_class: bool,
}

impl Clip {
    /// Declares all parameters of the checkpoint. The output is the states after each of these numbers of blocks,
    /// side by side; the class token's state is part of it if `with_class`.
    pub fn declare(
        scope: &mut Scope<'_>,
        config: &ClipConfig,
        layers: &[usize],
        with_class: bool,
    ) -> Self {
        let (width, patch_size) = (config.hidden_size, config.patch_size);
        let tokens = 1 + config.num_patches();
        let embeddings = &mut scope.sub("embeddings");
        let mut table = |name, shape: &[usize], part| {
            embeddings.declare(name, shape, Module::Embedding(part), ParamKind::Weight)
        };
        let class = table("class_embedding", &[width], EmbeddingKind::Class);
        // A convolution whose stride is its kernel's size; the checkpoint keeps the kernel's shape.
        let kernel = [width, 3, patch_size, patch_size];
        let weight = table("patch_embedding.weight", &kernel, EmbeddingKind::Patch);
        let position = EmbeddingKind::Position;
        let positions = table("position_embedding.weight", &[tokens, width], position);
        let eps = config.layer_norm_eps as f32;
        let pre_norm =
            LayerNorm::declare(scope, "pre_layrnorm", width, eps, NormPosition::Embedding);
        let widths = BlockConfig {
            hidden: width,
            intermediate: config.intermediate_size,
            heads: config.num_attention_heads,
            eps,
            activation: config.hidden_act,
        };
        let mut block = |i| {
            let mut encoder = scope.sub("encoder");
            ClipBlock::declare(&mut encoder.layer("layers", i), widths)
        };
        let computed = layers.iter().copied().max().unwrap_or_default();
        let blocks = (0..computed).map(&mut block).collect();
        scope.all_inert(ABOVE, |scope| {
            for i in computed..config.num_hidden_layers {
                let mut encoder = scope.sub("encoder");
                ClipBlock::declare(&mut encoder.layer("layers", i), widths);
            }
            LayerNorm::declare(scope, "post_layernorm", width, eps, NormPosition::Final);
        });
        let patch = Linear { weight, bias: None };
        let layers = layers.to_vec();
        Self { class, positions, patch, patch_size, pre_norm, blocks, layers, tokens, with_class }
    }

    /// The number of states of an image.
    pub fn states(&self) -> usize {
        if self.with_class { self.tokens } else { self.tokens - 1 }
    }

    /// `pixels [P, 3, H, W]` to states `[P, N, C]` at each feature layer, side by side, f32. Stochastic depth grows
    /// linearly from rate 0 in the first block to `drop_path` in the last.
    pub fn forward(
        &self,
        g: &mut Graph<'_>,
        pixels: &Tensor,
        dropout: &DropoutStreams,
        drop_path: f32,
    ) -> Var {
        let x = Var::constant(ops::extract_patches(pixels, self.patch_size));
        let x = self.patch.forward(g, &x);
        let x = ops::prepend_class_and_add_positions(g, &x, self.class, self.positions);
        let mut x = self.pre_norm.forward(g, &x);
        let last = self.blocks.len().saturating_sub(1).max(1) as f32;
        let mut features = vec![None; self.layers.len()];
        self.keep_features(g, &x, 0, &mut features);
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(g, &x, &dropout.at_layer(i, drop_path * i as f32 / last));
            self.keep_features(g, &x, i + 1, &mut features);
        }
        let features: Vec<Var> = features.into_iter().flatten().collect();
        match features.as_slice() {
            [one] => one.clone(),
            several => ops::concat_channels(g, several),
        }
    }

    /// Keeps the states `x` after `computed` blocks where the output needs them.
    fn keep_features(
        &self,
        g: &mut Graph<'_>,
        x: &Var,
        computed: usize,
        features: &mut [Option<Var>],
    ) {
        for (feature, _) in features.iter_mut().zip(&self.layers).filter(|(_, l)| **l == computed) {
            *feature = Some(if self.with_class {
                x.clone()
            } else {
                let patches = (0..x.value.rows()).filter(|row| row % self.tokens != 0).collect();
                ops::select_rows(g, x, patches, self.states())
            });
        }
    }

    /// The parameters that the output depends on.
    pub fn parameters(params: &Parameters) -> Vec<ParamId> {
        let read =
            |p: &Parameter| p.role().tower == Tower::Vision && p.inert_reason() != Some(ABOVE);
        params.iter().filter(|(_, p)| read(p)).map(|(id, _)| id).collect()
    }
}
