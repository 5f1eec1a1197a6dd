//! The socket of keys and values: what stands before those of a self-attention.
//!
//! An attention's socket is the weight that makes its keys. Keys and values of all blocks come from one
//! table of virtual tokens where a projection makes them (Li & Liang 2021, arXiv 2101.00190, section 4.3;
//! PEFT's `PrefixEncoder`), whose last layer lies here in parts, a block's in each; without a projection
//! each block has its part of the table (Liu et al. 2021, arXiv 2110.07602, section 3).

use super::{AddedKind, Module, ParamId, ParamKind, Parameter, Parameters, Role};

/// Where the keys and values of a prefix come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PrefixKv {
    /// A table `[P, 2C]`: a block's keys, and its values beside them.
    Table(ParamId),
    /// `tanh(E W₁ᵀ + b₁) W₂ᵀ + b₂`, `[P, 2C]`.
    Projected {
        /// `E [P, C]`, of all blocks.
        table: ParamId,
        /// `W₁ [C, C]` and `b₁`, of all blocks.
        first: [ParamId; 2],
        /// `W₂ [2C, C]` and `b₂`, of this one.
        second: [ParamId; 2],
    },
}

impl PrefixKv {
    /// The table of virtual tokens.
    pub fn table(self) -> ParamId {
        match self {
            Self::Table(table) | Self::Projected { table, .. } => table,
        }
    }

    /// All its parameters; of several blocks, some are the same.
    pub fn parameters(self) -> Vec<ParamId> {
        match self {
            Self::Table(table) => vec![table],
            Self::Projected { table, first, second } => {
                [&[table], &first[..], &second[..]].concat()
            }
        }
    }
}

impl Parameters {
    /// What stands before the keys that this weight makes, and their values.
    pub fn prefix(&self, key: ParamId) -> Option<PrefixKv> {
        self.prefixes.get(&key).copied()
    }

    /// All prefixes, by the keys' weights.
    pub fn prefixes(&self) -> impl ExactSizeIterator<Item = (ParamId, PrefixKv)> {
        self.prefixes.iter().map(|(&key, &prefix)| (key, prefix))
    }

    /// Plugs `length` virtual tokens into the attentions with these keys, all of one tower and width,
    /// where there must be none yet. What that adds has no values yet.
    pub fn plug_prefix(&mut self, keys: &[ParamId], length: usize, projection: bool) {
        let Some(&some) = keys.first() else { return };
        let (role, width) = (self.get(some).role, self.get(some).shape[0]);
        let shared = Role { layer: None, ..role };
        let name = |part: &str| format!("prefix_encoder.{}.{part}", role.tower);
        let both = |params: &mut Self, role: Role, part: &str, [out, inner]: [usize; 2]| {
            let weight = (AddedKind::PrefixProjection, ParamKind::Weight);
            let bias = (AddedKind::PrefixProjection, ParamKind::Bias);
            [
                params.add_prefix(name(&format!("{part}.weight")), &[out, inner], role, weight),
                params.add_prefix(name(&format!("{part}.bias")), &[out], role, bias),
            ]
        };
        let table = (AddedKind::PrefixTable, ParamKind::Weight);
        let beginning = projection.then(|| {
            let tokens = self.add_prefix(name("embedding.weight"), &[length, width], shared, table);
            (tokens, both(self, shared, "transform.0", [width, width]))
        });
        for (i, &key) in keys.iter().enumerate() {
            let role = Role { ..self.get(key).role };
            let prefix = match beginning {
                Some((table, first)) => {
                    let part = format!("transform.2.{i}");
                    let second = both(self, role, &part, [2 * width, width]);
                    PrefixKv::Projected { table, first, second }
                }
                None => {
                    let part = name(&format!("embedding.{i}.weight"));
                    PrefixKv::Table(self.add_prefix(part, &[length, 2 * width], role, table))
                }
            };
            let before = self.prefixes.insert(key, prefix);
            assert!(before.is_none(), "{} has a prefix", self.get(key).name);
        }
    }

    fn add_prefix(
        &mut self,
        name: String,
        shape: &[usize],
        role: Role,
        (part, term): (AddedKind, ParamKind),
    ) -> ParamId {
        self.push(Parameter::new(
            name,
            shape,
            Role { module: Module::Added(part), kind: term, ..role },
        ))
    }
}
