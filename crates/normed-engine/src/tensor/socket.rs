//! Sockets: where the parameters that a tuning method adds act on a model, which knows nothing of them.
//!
//! A linear layer's socket is its weight. A layer asks the parameters whether something is plugged in
//! there, and computes with it: so every model takes every method. What is added is declared among the
//! parameters, under the names that PEFT gives it, and counted, trained and saved as they are.

use super::{AddedKind, Module, ParamId, ParamKind, Parameter, Parameters, Role};

/// The largest rank, bottleneck width or number of virtual tokens that recipes and adapter files may ask for.
pub const MAX_ADDED_SIZE: usize = 1 << 14;

/// What is plugged into a linear layer `y = x Wᵀ + b`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Plug {
    /// A side path of low rank.
    LowRank(LowRank),
    /// A factor for each channel.
    ChannelScale(ChannelScale),
    /// A small network behind or beside the sublayer that the layer ends.
    Bottleneck(Bottleneck),
}

/// LoRA (Hu et al. 2021, arXiv 2106.09685, eq. 3): `y += s (x Aᵀ) Bᵀ`; and with a magnitude, DoRA (Liu et
/// al. 2024, arXiv 2402.09353, eq. 5).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LowRank {
    /// `A [r, in]`, or a kernel as the weight is one.
    pub a: ParamId,
    /// `B [out, r]`.
    pub b: ParamId,
    /// `[out]`: what the norms of the rows of `W + s B A` are set to, if to anything.
    pub magnitude: Option<ParamId>,
    /// `s`.
    pub scale: f32,
    /// What PEFT calls it: `s` is this over `r`, or over its root.
    pub alpha: f32,
    /// Whether over its root.
    pub use_rslora: bool,
    /// At what rate elements of `x` are dropped in training on their way through `A`.
    pub dropout: f32,
}

/// IA3 (Liu et al. 2022, arXiv 2205.05638, section 3.3): channels of the input or the output, its bias
/// included, are multiplied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelScale {
    /// `[1, in]` or `[out, 1]`.
    pub vector: ParamId,
    /// Whether the input's channels are multiplied.
    pub input: bool,
}

/// An adapter (Houlsby et al. 2019, arXiv 1902.00751, section 2.1): `y += gelu(z Dᵀ + d) Uᵀ + u`, where `z`
/// is `y` itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bottleneck {
    /// `D [r, C]` and `d`.
    pub down: [ParamId; 2],
    /// `U [C, r]` and `u`.
    pub up: [ParamId; 2],
    /// Whether `z` is what goes into the sublayer instead.
    pub parallel: bool,
}

/// What a [`LowRank`] is to be like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LowRankConfig {
    /// `r`.
    pub rank: usize,
    /// See [`LowRank::alpha`].
    pub alpha: f32,
    /// See [`LowRank::use_rslora`].
    pub use_rslora: bool,
    /// See [`LowRank::dropout`].
    pub dropout: f32,
    /// Whether it has a magnitude.
    pub has_magnitude: bool,
}

impl LowRankConfig {
    /// `s`.
    pub fn scale(self) -> f32 {
        let rank = self.rank as f32;
        self.alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }
}

impl Parameters {
    /// What is plugged into the linear layer with this weight.
    pub fn plug(&self, weight: ParamId) -> Option<Plug> {
        self.plugs.get(&weight).copied()
    }

    /// All that is plugged in, by the layers' weights.
    pub fn plugs(&self) -> impl ExactSizeIterator<Item = (ParamId, Plug)> {
        self.plugs.iter().map(|(&weight, &delta)| (weight, delta))
    }

    /// Plugs a side path of low rank into the linear layer with this weight, in whose socket there must be
    /// nothing. Its parameters have no values yet.
    pub fn plug_low_rank(&mut self, weight: ParamId, shape: LowRankConfig) -> LowRank {
        let LowRankConfig { rank, alpha, use_rslora, dropout, has_magnitude } = shape;
        let scale = shape.scale();
        let (out, inner) = self.get(weight).shape.split_at(1);
        let (out, kernel) = (out[0], inner.len() > 1);
        let a_shape = [&[rank], inner].concat();
        // A convolution's side path is one of two convolutions, the second over single points.
        let b_shape = if kernel { vec![out, rank, 1, 1] } else { vec![out, rank] };
        let delta = LowRank {
            a: self.add(weight, "lora_A.weight", &a_shape, AddedKind::LoraA),
            b: self.add(weight, "lora_B.weight", &b_shape, AddedKind::LoraB),
            magnitude: has_magnitude
                .then(|| self.add(weight, "lora_magnitude_vector", &[out], AddedKind::Magnitude)),
            scale,
            alpha,
            use_rslora,
            dropout,
        };
        self.insert_plug(weight, Plug::LowRank(delta));
        delta
    }

    /// Plugs factors of the input's or the output's channels into the linear layer with this weight, in
    /// whose socket there must be nothing. They have no values yet.
    pub fn plug_channel_scale(&mut self, weight: ParamId, input: bool) -> ChannelScale {
        let shape = &self.get(weight).shape;
        let shape = if input { [1, shape[1..].iter().product()] } else { [shape[0], 1] };
        let vector = self.add(weight, "ia3_l", &shape, AddedKind::Ia3);
        let delta = ChannelScale { vector, input };
        self.insert_plug(weight, Plug::ChannelScale(delta));
        delta
    }

    /// Plugs an adapter with `bottleneck` channels inside into the linear layer with this weight, in whose
    /// socket there must be nothing. Its parameters have no values yet.
    pub fn plug_bottleneck(&mut self, weight: ParamId, bottleneck: usize, parallel: bool) {
        let width = self.get(weight).shape[0];
        let mut layer = |name: &str, [out, inner]: [usize; 2]| {
            let part = AddedKind::Bottleneck;
            let bias = format!("adapter.{name}.bias");
            let matrix = self.add(weight, &format!("adapter.{name}.weight"), &[out, inner], part);
            let bias = self.add(weight, &bias, &[out], part);
            self.get_mut(bias).role.kind = ParamKind::Bias;
            [matrix, bias]
        };
        let down = layer("down_proj", [bottleneck, width]);
        let up = layer("up_proj", [width, bottleneck]);
        self.insert_plug(weight, Plug::Bottleneck(Bottleneck { down, up, parallel }));
    }

    /// Takes everything out of all sockets, and away what methods added.
    pub fn unplug(&mut self) {
        self.plugs.clear();
        self.prefixes.clear();
        self.soft_prompts.clear();
        // They were declared last.
        let first = self.list.iter().position(Parameter::is_added).unwrap_or(self.list.len());
        self.list.truncate(first);
    }

    fn insert_plug(&mut self, weight: ParamId, delta: Plug) {
        let before = self.plugs.insert(weight, delta);
        assert!(before.is_none(), "{} is taken", self.get(weight).name);
    }

    /// Declares a parameter beside `weight`, in the module that has it.
    fn add(&mut self, weight: ParamId, name: &str, shape: &[usize], part: AddedKind) -> ParamId {
        let Parameter { name: beside, role, .. } = self.get(weight);
        let module = beside.strip_suffix(".weight").unwrap_or(beside);
        let role = Role { module: Module::Added(part), kind: ParamKind::Weight, ..*role };
        let parameter = Parameter::new(format!("{module}.{name}"), shape, role);
        self.push(parameter)
    }
}
