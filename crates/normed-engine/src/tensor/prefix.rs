//! The sockets of self-attentions, for prefix tuning: virtual keys and values before an attention's
//! own. [`plug`](super::plug) explains sockets.

use super::parameter::{ParamId, Parameter};
use super::parameters::Parameters;
use super::plug::PrefixKv;
use super::role::{AddedKind, Module, ParamKind, Role};

impl Parameters {
    /// The virtual keys and values of the self-attention whose key projection has this weight.
    pub fn prefix(&self, key: ParamId) -> Option<PrefixKv> {
        self.prefixes.get(&key).copied()
    }

    /// All virtual keys and values, with the weights of the key projections.
    pub fn prefixes(&self) -> impl ExactSizeIterator<Item = (ParamId, PrefixKv)> {
        self.prefixes.iter().map(|(&key, &prefix)| (key, prefix))
    }

    /// Plugs `length` virtual tokens into the self-attentions whose key projections have the weights
    /// `keys`, which are of one tower and one width. The new parameters have no values yet.
    ///
    /// # Panics
    /// If one of the attentions has a prefix already.
    pub fn plug_prefix(&mut self, keys: &[ParamId], length: usize, projection: bool) {
        let Some(&some) = keys.first() else { return };
        let (role, width) = (self.get(some).role(), self.get(some).shape()[0]);
        let shared = Role { layer: None, ..role };
        let name = |part: &str| format!("prefix_encoder.{}.{part}", role.tower);
        let linear = |params: &mut Self, role: Role, part: &str, [out, inner]: [usize; 2]| {
            let mut add = |what: &str, shape: &[usize], kind| {
                let name = name(&format!("{part}.{what}"));
                params.add_prefix(name, shape, role, AddedKind::PrefixProjection, kind)
            };
            [add("weight", &[out, inner], ParamKind::Weight), add("bias", &[out], ParamKind::Bias)]
        };
        let table = |params: &mut Self, name: String, role: Role, shape: [usize; 2]| {
            params.add_prefix(name, &shape, role, AddedKind::PrefixTable, ParamKind::Weight)
        };
        let shared_part = projection.then(|| {
            let tokens = table(self, name("embedding.weight"), shared, [length, width]);
            (tokens, linear(self, shared, "transform.0", [width, width]))
        });
        for (i, &key) in keys.iter().enumerate() {
            let role = self.get(key).role();
            let prefix = match shared_part {
                Some((table, first)) => {
                    let part = format!("transform.2.{i}");
                    let second = linear(self, role, &part, [2 * width, width]);
                    PrefixKv::Projected { table, first, second }
                }
                None => {
                    let name = name(&format!("embedding.{i}.weight"));
                    PrefixKv::Table(table(self, name, role, [length, 2 * width]))
                }
            };
            let before = self.prefixes.insert(key, prefix);
            assert!(
                before.is_none(),
                "the attention of {} has a prefix already",
                self.get(key).name()
            );
        }
    }

    fn add_prefix(
        &mut self,
        name: String,
        shape: &[usize],
        role: Role,
        added: AddedKind,
        kind: ParamKind,
    ) -> ParamId {
        let role = Role { module: Module::Added(added), kind, ..role };
        self.push(Parameter::new(name, shape, role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::role::{AttentionProjection, Tower};

    fn keys() -> (Parameters, [ParamId; 2]) {
        let mut params = Parameters::new();
        let mut scope = params.scope(Tower::Decoder, "");
        let keys = [0, 1].map(|i| {
            let key = Module::Attention(AttentionProjection::Key);
            scope.layer("layer", i).declare("key.weight", &[4, 4], key, ParamKind::Weight)
        });
        (params, keys)
    }

    fn added(params: &Parameters) -> Vec<(&str, &[usize], Option<usize>)> {
        params.iter().skip(2).map(|(_, p)| (p.name(), p.shape(), p.role().layer)).collect()
    }

    #[test]
    fn each_block_has_a_table_of_its_own() {
        let (mut params, keys) = keys();
        params.plug_prefix(&keys, 3, false);
        assert_eq!(
            added(&params),
            [
                ("prefix_encoder.decoder.embedding.0.weight", &[3, 8][..], Some(0)),
                ("prefix_encoder.decoder.embedding.1.weight", &[3, 8], Some(1)),
            ]
        );
        let tables = keys.map(|key| params.prefix(key).unwrap().table().index());
        assert_eq!(tables, [2, 3]);
    }

    #[test]
    fn a_projection_shares_its_table_and_first_layer() {
        let (mut params, keys) = keys();
        params.plug_prefix(&keys, 3, true);
        assert_eq!(
            added(&params),
            [
                ("prefix_encoder.decoder.embedding.weight", &[3, 4][..], None),
                ("prefix_encoder.decoder.transform.0.weight", &[4, 4], None),
                ("prefix_encoder.decoder.transform.0.bias", &[4], None),
                ("prefix_encoder.decoder.transform.2.0.weight", &[8, 4], Some(0)),
                ("prefix_encoder.decoder.transform.2.0.bias", &[8], Some(0)),
                ("prefix_encoder.decoder.transform.2.1.weight", &[8, 4], Some(1)),
                ("prefix_encoder.decoder.transform.2.1.bias", &[8], Some(1)),
            ]
        );
        let indices = |key| -> Vec<_> {
            params.prefix(key).unwrap().parameters().into_iter().map(ParamId::index).collect()
        };
        assert_eq!(indices(keys[0]), [2, 3, 4, 5, 6]);
        assert_eq!(indices(keys[1]), [2, 3, 4, 7, 8]);
    }

    #[test]
    #[should_panic(expected = "the attention of layer.1.key.weight has a prefix already")]
    fn an_attention_takes_one_prefix() {
        let (mut params, keys) = keys();
        params.plug_prefix(&keys[1..], 3, false);
        params.plug_prefix(&keys[1..], 3, true);
    }
}
