//! Adapters (Houlsby et al. 2019, arXiv 1902.00751): small networks behind attention and feed-forward
//! network, or beside them (He et al. 2021, arXiv 2110.04366, section 3.3).

use serde::Serialize;

use crate::tensor::{Bottleneck, Parameters, Tensor, random_normal};

/// What `method = "adapter"` can be told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdapterOptions {
    /// Channels between its two layers.
    pub bottleneck: usize,
    /// Whether it reads what the sublayer reads, and not what that makes of it.
    pub parallel: bool,
}

impl Default for AdapterOptions {
    fn default() -> Self {
        Self { bottleneck: 64, parallel: false }
    }
}

/// The paper's near-identity (section 3.2), and exactly one: the first layer starts at normal numbers of
/// deviation 0.02, the second at 0.
pub(super) fn initialize(params: &mut Parameters, adapter: Bottleneck, seed: u64) {
    let [down, others] = [&adapter.down[..1], &[adapter.down[1], adapter.up[0], adapter.up[1]]];
    for &id in down {
        let p = params.get_mut(id);
        let values = random_normal(p.len(), 0.02, seed, &p.name);
        p.set(Tensor::new(&p.shape.clone(), values));
    }
    for &id in others {
        let p = params.get_mut(id);
        p.set(Tensor::zeros(&p.shape.clone()));
    }
}
