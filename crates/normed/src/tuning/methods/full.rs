//! Full fine-tuning.

use crate::tuning::{Method, MethodDescription};

impl Method {
    /// Full fine-tuning.
    pub const FULL: Self = Self::new(&MethodDescription {
        name: "full",
        summary: "Trains every parameter.",
        keys: &[],
        default_lr: 3e-4,
        trains: |_, _| true,
        adds: None,
        keep: None,
        adapter_types: &["LN_TUNING"],
    });
}
