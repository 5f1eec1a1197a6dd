//! The parameters of a model: what each is called, what it is for, whether it is trained.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Meter, Plug, Precision, PrefixKv, Quantization, Tensor};

/// The part of a model that a parameter stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tower {
    /// The image encoder.
    Vision,
    /// What makes a language model's tokens of the image encoder's states.
    Projector,
    /// The question encoder, with cross-attention to the image.
    Text,
    /// The answer decoder; a language model, where one does all that text needs.
    Decoder,
}

impl Tower {
    /// Every tower, in the order of a table's columns.
    pub const ALL: [Tower; 4] = [Tower::Vision, Tower::Projector, Tower::Text, Tower::Decoder];

    /// The name that recipes use.
    pub fn name(self) -> &'static str {
        match self {
            Tower::Vision => "vision",
            Tower::Projector => "projector",
            Tower::Text => "text",
            Tower::Decoder => "decoder",
        }
    }
}

impl fmt::Display for Tower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a norm normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormPosition {
    /// The embeddings.
    Embedding,
    /// The input (pre-norm) or output (post-norm) of self-attention.
    Attention,
    /// The output of cross-attention.
    CrossAttention,
    /// The input (pre-norm) or output (post-norm) of the feed-forward network.
    Ffn,
    /// The output of the tower.
    Final,
    /// The prediction head's transform.
    Head,
}

impl NormPosition {
    /// Every place, from a tower's beginning to its end.
    pub const ALL: [NormPosition; 6] = [
        NormPosition::Embedding,
        NormPosition::Attention,
        NormPosition::CrossAttention,
        NormPosition::Ffn,
        NormPosition::Final,
        NormPosition::Head,
    ];

    /// What a table calls it.
    pub fn name(self) -> &'static str {
        match self {
            NormPosition::Embedding => "embedding",
            NormPosition::Attention => "attention",
            NormPosition::CrossAttention => "cross_attention",
            NormPosition::Ffn => "ffn",
            NormPosition::Final => "final",
            NormPosition::Head => "head",
        }
    }
}

/// A projection of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AttentionProjection {
    /// Queries.
    Query,
    /// Keys.
    Key,
    /// Values.
    Value,
    /// All three, stacked in one matrix.
    QueryKeyValue,
    /// The output projection.
    Output,
}

/// An embedding table or what stands for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbeddingKind {
    /// Of word pieces.
    Token,
    /// Of positions.
    Position,
    /// Of image patches.
    Patch,
    /// Of the class token.
    Class,
}

/// The layer that a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Module {
    /// A LayerNorm or an RMSNorm.
    Norm(NormPosition),
    /// A projection of self-attention.
    Attention(AttentionProjection),
    /// A projection of cross-attention.
    CrossAttention(AttentionProjection),
    /// The feed-forward network's first projection.
    Fc1,
    /// The feed-forward network's second projection.
    Fc2,
    /// The projection of a gated feed-forward network that goes through the activation.
    Gate,
    /// The projection of a gated feed-forward network that the gate multiplies.
    Up,
    /// The projection of a gated feed-forward network that leads back.
    Down,
    /// A layer of what stands between the image encoder and a language model.
    Projector,
    /// An embedding.
    Embedding(EmbeddingKind),
    /// The prediction head.
    Head,
    /// What a tuning method added to a layer.
    Added(AddedKind),
}

/// A parameter that a tuning method adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AddedKind {
    /// LoRA's first factor.
    LoraA,
    /// Its second.
    LoraB,
    /// DoRA's magnitudes.
    Magnitude,
    /// IA3's factors.
    Ia3,
    /// Virtual tokens, of which attentions see keys and values.
    PrefixTable,
    /// A layer that makes keys and values of them.
    PrefixProjection,
    /// Virtual tokens, which stand before a tower's own.
    Prompt,
    /// A layer of an adapter.
    Bottleneck,
}

/// Whether a parameter multiplies or is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    /// A matrix, a table, a norm's gain.
    Weight,
    /// A bias.
    Bias,
}

/// What a parameter is for. Given by the layer that declares it, never read out of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Role {
    /// Where it stands.
    pub tower: Tower,
    /// The block, counted from 0; none outside the blocks.
    pub layer: Option<usize>,
    /// The layer it belongs to.
    pub module: Module,
    /// Weight or bias.
    pub kind: ParamKind,
}

impl Role {
    /// Whether it is a factor of matrix products, or a table that is one.
    pub fn is_matmul_operand(&self) -> bool {
        use EmbeddingKind::{Patch, Token};
        let matrix = matches!(
            self.module,
            Module::Attention(_)
                | Module::CrossAttention(_)
                | Module::Fc1
                | Module::Fc2
                | Module::Gate
                | Module::Up
                | Module::Down
                | Module::Projector
                | Module::Head
                | Module::Embedding(Token | Patch)
        );
        matrix && self.kind == ParamKind::Weight
    }

    /// Whether products alone read it: it is a factor, and no table in which rows are looked up.
    pub fn is_linear_weight(&self) -> bool {
        self.is_matmul_operand() && !self.is_token_embedding()
    }

    /// Whether it makes the keys of a self-attention, apart from queries and values.
    pub fn is_key_weight(&self) -> bool {
        self.module == Module::Attention(AttentionProjection::Key) && self.kind == ParamKind::Weight
    }

    /// Whether it is the table that embeds a tower's tokens.
    pub fn is_token_embedding(&self) -> bool {
        self.module == Module::Embedding(EmbeddingKind::Token)
    }

    /// Whether it is the matrix that ends a self-attention or a feed-forward network.
    pub fn is_sublayer_output(&self) -> bool {
        let ends = matches!(
            self.module,
            Module::Attention(AttentionProjection::Output) | Module::Fc2 | Module::Down
        );
        ends && self.kind == ParamKind::Weight
    }

    /// Whether it is the matrix of a linear layer that is quantized where a model is: of any but the
    /// prediction head.
    pub fn is_quantizable(&self) -> bool {
        self.is_matmul_operand() && !matches!(self.module, Module::Embedding(_) | Module::Head)
    }
}

/// A parameter's place in [`Parameters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub(crate) usize);

impl ParamId {
    /// The position in [`Parameters::iter`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// One tensor of a model.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Hugging Face's name.
    pub name: String,
    /// `[out, in]` for a linear layer, `[C]` for a norm or a bias.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// Whether this run trains it.
    pub trained: bool,
    /// Why no loss can move it, if none can: it is never trained then.
    pub inert: Option<&'static str>,
    /// How it trains, where a tuning method added it and said so.
    added_training: Option<AddedTraining>,
    /// How its value will be quantized, as far as is known without it.
    expected: Option<Quantization>,
    value: Option<Tensor>,
}

/// How a parameter that a tuning method added trains: the method states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddedTraining {
    /// Whether weight decay applies to it.
    pub decays: bool,
    /// Whether its gradient is zero until another parameter of the same socket has changed: LoRA's `A`, for
    /// example, while `B` is zero.
    pub starts_without_gradient: bool,
}

impl Parameter {
    /// One without a value, frozen.
    pub(super) fn new(name: String, shape: &[usize], role: Role) -> Self {
        let shape = shape.to_vec();
        Self {
            name,
            shape,
            role,
            trained: false,
            inert: None,
            added_training: None,
            expected: None,
            value: None,
        }
    }

    /// Whether a tuning method added it.
    pub fn is_added(&self) -> bool {
        matches!(self.role.module, Module::Added(_))
    }

    /// How it trains, where a tuning method added it and said so.
    pub fn added_training(&self) -> Option<AddedTraining> {
        self.added_training
    }

    /// States how it trains, on behalf of the method that added it.
    pub fn set_added_training(&mut self, training: AddedTraining) {
        self.added_training = Some(training);
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How its value is quantized, or would be if it had one.
    pub fn quantization(&self) -> Option<Quantization> {
        match &self.value {
            Some(value) => value.quantization(),
            None => self.expected,
        }
    }

    /// Says how its value will be quantized.
    pub fn expect_quantized(&mut self, to: Quantization) {
        self.expected = Some(to);
    }

    /// What its elements are kept in where products round their factors to `precision`.
    fn kept_in(&self, precision: Precision) -> Precision {
        if self.role.is_matmul_operand() && !self.trained { precision } else { Precision::F32 }
    }

    /// The value. Panics on a model that was built for inspection only and never loaded.
    pub fn value(&self) -> &Tensor {
        match &self.value {
            Some(value) => value,
            None => panic!("{} was declared but not loaded", self.name),
        }
    }

    /// The value for writing.
    pub fn value_mut(&mut self) -> &mut Tensor {
        match &mut self.value {
            Some(value) => value,
            None => panic!("{} was declared but not loaded", self.name),
        }
    }

    /// Sets the value; its shape must be the declared one.
    pub fn set(&mut self, value: Tensor) {
        assert_eq!(value.shape(), self.shape, "{}", self.name);
        self.value = Some(value);
    }
}

/// Every parameter of a model, in the order of declaration.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    pub(super) list: Vec<Parameter>,
    /// What is plugged in, by the weights of the layers.
    pub(super) plugs: BTreeMap<ParamId, Plug>,
    /// What stands before the keys that these weights make.
    pub(super) prefixes: BTreeMap<ParamId, PrefixKv>,
    /// What stands before the tokens that these tables embed.
    pub(super) soft_prompts: BTreeMap<ParamId, ParamId>,
    precision: Precision,
}

impl Parameters {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One parameter.
    pub fn get(&self, id: ParamId) -> &Parameter {
        &self.list[id.0]
    }

    /// One parameter, for writing.
    pub fn get_mut(&mut self, id: ParamId) -> &mut Parameter {
        &mut self.list[id.0]
    }

    /// By name.
    pub fn find(&self, name: &str) -> Option<ParamId> {
        self.list.iter().position(|p| p.name == name).map(ParamId)
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ParamId, &Parameter)> {
        self.list.iter().enumerate().map(|(i, p)| (ParamId(i), p))
    }

    /// All of them, for writing.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (ParamId, &mut Parameter)> {
        self.list.iter_mut().enumerate().map(|(i, p)| (ParamId(i), p))
    }

    /// Those that this run trains.
    pub fn trained(&self) -> impl Iterator<Item = (ParamId, &Parameter)> {
        self.iter().filter(|(_, p)| p.trained)
    }

    /// What products round their factors to.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Chooses the precision of products: frozen matrices are kept in it, once; what is trained and
    /// all vectors are f32 in either case. QuantizedMatrix matrices stay as they are, and so do those in
    /// half precision where bf16 would take as much. To be called again when another choice is
    /// trained.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
        for p in &mut self.list {
            let Some(value) = p.value.take() else { continue };
            let kept_in = p.kept_in(precision);
            let half = value.is_f16() && kept_in == Precision::Bf16 && p.role.is_linear_weight();
            let stays = half || value.quantization().is_some();
            p.value = Some(if stays { value } else { value.into_precision(kept_in) });
        }
    }

    /// Gives every parameter a planned value, in the precision that [`Parameters::set_precision`]
    /// would give it, or quantized.
    pub fn plan(&mut self, precision: Precision, meter: &Meter) {
        self.precision = precision;
        for p in &mut self.list {
            p.value = Some(match p.quantization() {
                Some(to) => Tensor::planned_quantized(&p.shape, to, meter),
                None => Tensor::planned(&p.shape, p.kept_in(precision), meter),
            });
        }
    }

    /// Declares one more.
    pub(super) fn push(&mut self, parameter: Parameter) -> ParamId {
        self.list.push(parameter);
        ParamId(self.list.len() - 1)
    }

    /// The number of parameters.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The number of elements of all parameters.
    pub fn element_count(&self) -> usize {
        self.list.iter().map(Parameter::len).sum()
    }

    /// The number of elements that this run trains.
    pub fn trained_element_count(&self) -> usize {
        self.trained().map(|(_, p)| p.len()).sum()
    }

    /// Where a model's layers declare their parameters.
    pub fn scope(&mut self, tower: Tower, prefix: &str) -> Scope<'_> {
        Scope { params: self, prefix: prefix.to_owned(), tower, layer: None }
    }
}

/// A place in the tree of layers: a name prefix, a tower, a block.
pub struct Scope<'a> {
    params: &'a mut Parameters,
    prefix: String,
    tower: Tower,
    layer: Option<usize>,
}

impl Scope<'_> {
    /// The place `name` below this one.
    pub fn sub(&mut self, name: &str) -> Scope<'_> {
        let prefix = if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.prefix)
        };
        Scope { params: self.params, prefix, tower: self.tower, layer: self.layer }
    }

    /// Block `i` of the list `name`.
    pub fn layer(&mut self, name: &str, i: usize) -> Scope<'_> {
        let mut scope = self.sub(&format!("{name}.{i}"));
        scope.layer = Some(i);
        scope
    }

    /// Declares a parameter called `name` here.
    pub fn declare(
        &mut self,
        name: &str,
        shape: &[usize],
        module: Module,
        kind: ParamKind,
    ) -> ParamId {
        let Scope { params, prefix, tower, layer } = self.sub(name);
        params.push(Parameter::new(prefix, shape, Role { tower, layer, module, kind }))
    }

    /// Says of all that `declare` declares here that no loss can move it, and why.
    pub fn all_inert(&mut self, why: &'static str, declare: impl FnOnce(&mut Scope<'_>)) {
        let first = self.params.list.len();
        declare(self);
        for parameter in &mut self.params.list[first..] {
            parameter.inert = Some(why);
        }
    }

    /// Says that no loss can move `id`, and why.
    pub fn mark_inert(&mut self, id: ParamId, why: &'static str) {
        self.params.get_mut(id).inert = Some(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_frozen_matrices_are_narrow() {
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Text, "");
        let mut declare = |name, part, term| scope.declare(name, &[2, 2], part, term);
        let frozen = declare("frozen", Module::Fc1, ParamKind::Weight);
        let trained = declare("trained", Module::Fc2, ParamKind::Weight);
        let bias = declare("bias", Module::Fc1, ParamKind::Bias);
        let norm = declare("norm", Module::Norm(NormPosition::Ffn), ParamKind::Weight);
        let table = declare("table", Module::Embedding(EmbeddingKind::Position), ParamKind::Weight);
        for (_, p) in params.iter_mut() {
            p.set(Tensor::new(&[2, 2], vec![1.0, 1.0 / 3.0, -2.0, 0.0]));
        }
        params.get_mut(trained).trained = true;
        params.set_precision(Precision::Bf16);
        let precision = |id| params.get(id).value().precision();
        assert_eq!(precision(frozen), Precision::Bf16);
        for wide in [trained, bias, norm, table] {
            assert_eq!(precision(wide), Precision::F32);
        }
        // To train another matrix, or to compute in f32, widens it again.
        params.set_precision(Precision::F32);
        let values = params.get(frozen).value().data();
        assert_eq!(values, [1.0, 0.333_984_38, -2.0, 0.0]);
    }
}
