//! BitFit: tuning of all biases (Ben Zaken et al. 2021, arXiv 2106.10199).

use crate::tensor::ParamKind;
use crate::tuning::{Method, MethodDescription};

impl Method {
    /// BitFit: tuning of all biases (Ben Zaken et al. 2021, arXiv 2106.10199).
    pub const BITFIT: Self = Self::new(&MethodDescription {
        name: "bitfit",
        summary: "Trains all biases, those of norms included.",
        keys: &[],
        default_lr: 3e-3,
        trains: |role, _| role.kind == ParamKind::Bias,
        adds: None,
        keep: None,
        adapter_types: &["LORA"],
    });
}
