//! The sockets of linear layers: putting plugs in, and finding them. [`plug`](super::plug) explains
//! both words.

use super::parameter::{ParamId, Parameter};
use super::parameters::Parameters;
use super::plug::{Bottleneck, ChannelScale, LowRank, LowRankConfig, Plug};
use super::role::{AddedKind, Module, ParamKind, Role};

impl Parameters {
    /// The plug of the linear layer with this weight.
    pub fn plug(&self, weight: ParamId) -> Option<Plug> {
        self.plugs.get(&weight).copied()
    }

    /// Every plug of a linear layer, with the layer's weight.
    pub fn plugs(&self) -> impl ExactSizeIterator<Item = (ParamId, Plug)> {
        self.plugs.iter().map(|(&weight, &plug)| (weight, plug))
    }

    /// Plugs LoRA or DoRA into the linear layer with this weight. The new parameters have no values
    /// yet.
    ///
    /// # Panics
    /// If the layer has a plug already.
    pub fn plug_low_rank(&mut self, weight: ParamId, config: LowRankConfig) -> LowRank {
        let LowRankConfig { rank, alpha, use_rslora, dropout, has_magnitude } = config;
        let scale = config.scale();
        let (out, inner) = self.get(weight).shape().split_at(1);
        let (out, kernel) = (out[0], inner.len() > 1);
        let a_shape = [&[rank], inner].concat();
        // A convolution's low-rank path is two convolutions, the second with a kernel of one point.
        let b_shape = if kernel { vec![out, rank, 1, 1] } else { vec![out, rank] };
        let plug = LowRank {
            a: self.add(weight, "lora_A.weight", &a_shape, AddedKind::LoraA, ParamKind::Weight),
            b: self.add(weight, "lora_B.weight", &b_shape, AddedKind::LoraB, ParamKind::Weight),
            magnitude: has_magnitude.then(|| {
                let (name, added) = ("lora_magnitude_vector", AddedKind::Magnitude);
                self.add(weight, name, &[out], added, ParamKind::Weight)
            }),
            scale,
            alpha,
            use_rslora,
            dropout,
        };
        self.insert_plug(weight, Plug::LowRank(plug));
        plug
    }

    /// Plugs IA3 into the linear layer with this weight: a factor for each channel of its input, or of
    /// its output. The new parameter has no value yet.
    ///
    /// # Panics
    /// If the layer has a plug already.
    pub fn plug_channel_scale(&mut self, weight: ParamId, input: bool) -> ChannelScale {
        let shape = self.get(weight).shape();
        let shape = if input { [1, shape[1..].iter().product()] } else { [shape[0], 1] };
        let vector = self.add(weight, "ia3_l", &shape, AddedKind::Ia3, ParamKind::Weight);
        let plug = ChannelScale { vector, input };
        self.insert_plug(weight, Plug::ChannelScale(plug));
        plug
    }

    /// Plugs an adapter with `bottleneck` inner channels into the linear layer with this weight, which
    /// ends a sublayer. The new parameters have no values yet.
    ///
    /// # Panics
    /// If the layer has a plug already.
    pub fn plug_bottleneck(&mut self, weight: ParamId, bottleneck: usize, parallel: bool) {
        let width = self.get(weight).shape()[0];
        let mut layer = |name: &str, [out, inner]: [usize; 2]| {
            let mut add = |what: &str, shape: &[usize], kind| {
                let name = format!("adapter.{name}.{what}");
                self.add(weight, &name, shape, AddedKind::Bottleneck, kind)
            };
            [add("weight", &[out, inner], ParamKind::Weight), add("bias", &[out], ParamKind::Bias)]
        };
        let down = layer("down_proj", [bottleneck, width]);
        let up = layer("up_proj", [width, bottleneck]);
        self.insert_plug(weight, Plug::Bottleneck(Bottleneck { down, up, parallel }));
    }

    /// Empties all sockets, and removes every parameter that a tuning method added.
    pub fn unplug_all(&mut self) {
        self.plugs.clear();
        self.prefixes.clear();
        self.soft_prompts.clear();
        // Added parameters are declared after all others.
        let first = self.iter().position(|(_, p)| p.is_added()).unwrap_or(self.len());
        self.truncate(first);
    }

    fn insert_plug(&mut self, weight: ParamId, plug: Plug) {
        let before = self.plugs.insert(weight, plug);
        assert!(before.is_none(), "the layer of {} has a plug already", self.get(weight).name());
    }

    /// Declares a parameter in the module that has `weight`.
    fn add(
        &mut self,
        weight: ParamId,
        name: &str,
        shape: &[usize],
        added: AddedKind,
        kind: ParamKind,
    ) -> ParamId {
        let sibling = self.get(weight);
        let module = sibling.name().strip_suffix(".weight").unwrap_or(sibling.name());
        let role = Role { module: Module::Added(added), kind, ..sibling.role() };
        let parameter = Parameter::new(format!("{module}.{name}"), shape, role);
        self.push(parameter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::role::Tower;

    const CONFIG: LowRankConfig =
        LowRankConfig { rank: 4, alpha: 8.0, use_rslora: false, dropout: 0.0, has_magnitude: true };

    fn layer(shape: &[usize]) -> (Parameters, ParamId) {
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Text, "encoder.fc");
        let weight = scope.declare("weight", shape, Module::Fc1, ParamKind::Weight);
        (params, weight)
    }

    fn names_and_shapes(params: &Parameters) -> Vec<(&str, &[usize])> {
        params.iter().skip(1).map(|(_, p)| (p.name(), p.shape())).collect()
    }

    #[test]
    fn added_parameters_have_names_and_shapes_of_peft() {
        let (mut params, weight) = layer(&[3, 5]);
        let plug = params.plug_low_rank(weight, CONFIG);
        assert_eq!((params.plug(weight), plug.scale), (Some(Plug::LowRank(plug)), 2.0));
        assert_eq!(
            names_and_shapes(&params),
            [
                ("encoder.fc.lora_A.weight", &[4, 5][..]),
                ("encoder.fc.lora_B.weight", &[3, 4]),
                ("encoder.fc.lora_magnitude_vector", &[3]),
            ]
        );
        assert!(params.iter().skip(1).all(|(_, p)| p.is_added() && !p.is_trained()));

        params.unplug_all();
        assert_eq!((params.len(), params.plugs().len()), (1, 0));
        params.plug_channel_scale(weight, false);
        assert_eq!(names_and_shapes(&params), [("encoder.fc.ia3_l", &[3, 1][..])]);

        params.unplug_all();
        params.plug_bottleneck(weight, 2, true);
        assert_eq!(
            names_and_shapes(&params),
            [
                ("encoder.fc.adapter.down_proj.weight", &[2, 3][..]),
                ("encoder.fc.adapter.down_proj.bias", &[2]),
                ("encoder.fc.adapter.up_proj.weight", &[3, 2]),
                ("encoder.fc.adapter.up_proj.bias", &[3]),
            ]
        );
        let kinds: Vec<_> = params.iter().skip(1).map(|(_, p)| p.role().kind).collect();
        use ParamKind::{Bias, Weight};
        assert_eq!(kinds, [Weight, Bias, Weight, Bias]);
    }

    #[test]
    fn the_low_rank_path_of_a_convolution_is_convolutions() {
        let (mut params, weight) = layer(&[6, 3, 2, 2]);
        params.plug_low_rank(weight, LowRankConfig { has_magnitude: false, ..CONFIG });
        assert_eq!(
            names_and_shapes(&params),
            [
                ("encoder.fc.lora_A.weight", &[4, 3, 2, 2][..]),
                ("encoder.fc.lora_B.weight", &[6, 4, 1, 1]),
            ]
        );
        params.unplug_all();
        params.plug_channel_scale(weight, true);
        assert_eq!(names_and_shapes(&params), [("encoder.fc.ia3_l", &[1, 12][..])]);
    }

    #[test]
    fn scale_divides_by_the_rank_or_by_its_root() {
        assert_eq!(CONFIG.scale(), 2.0);
        assert_eq!(LowRankConfig { use_rslora: true, ..CONFIG }.scale(), 4.0);
    }

    #[test]
    #[should_panic(expected = "the layer of encoder.fc.weight has a plug already")]
    fn a_socket_takes_one_plug() {
        let (mut params, weight) = layer(&[3, 5]);
        params.plug_channel_scale(weight, true);
        params.plug_low_rank(weight, CONFIG);
    }
}
