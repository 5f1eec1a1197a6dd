//! No tuning: every parameter keeps its value.

use crate::tuning::{Method, MethodDescription};

impl Method {
    /// No tuning: every parameter keeps its value.
    pub const NONE: Self = Self::new(&MethodDescription {
        name: "none",
        summary: "Trains nothing.",
        keys: &[],
        default_lr: 3e-4,
        trains: |_, _| false,
        adds: None,
        keep: None,
        adapter_types: &[],
    });
}
