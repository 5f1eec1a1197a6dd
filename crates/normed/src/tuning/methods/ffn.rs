//! Tuning of the feed-forward networks, without the norms around them.

use crate::tensor::Module;
use crate::tuning::{Method, MethodDescription};

impl Method {
    /// Tuning of the feed-forward networks, without the norms around them.
    pub const FFN: Self = Self::new(&MethodDescription {
        name: "ffn",
        summary: "Trains the linear layers of the feed-forward networks.",
        keys: &[],
        default_lr: 3e-4,
        trains: |role, _| {
            matches!(
                role.module,
                Module::Fc1 | Module::Fc2 | Module::Gate | Module::Up | Module::Down
            )
        },
        adds: None,
        keep: None,
        adapter_types: &["LN_TUNING"],
    });
}
